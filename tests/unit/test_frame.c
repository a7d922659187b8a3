/* SPDX-License-Identifier: Apache-2.0
 * The header: every field travels, every mistake is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "transport/frame.h"

static struct praas_frame frame_full(void)
{
	return (struct praas_frame){ .kind = PRAAS_FRAME_INVOKE,
				     .flags = PRAAS_FRAME_FLAGS,
				     .key_bytes = 255,
				     .function = 0x1234,
				     .epoch = 0xdeadbeef,
				     .status = -1017,
				     .source = 0x0102030405060708,
				     .sequence = UINT64_MAX,
				     .id = 0x1112131415161718,
				     .deadline_ns = 0x2122232425262728,
				     .bytes = 0x3132333435363738,
				     .aux = 0x4142434445464748 };
}

/* Encoding then decoding changes nothing. */
static void test_frame_round_trip(void **state)
{
	struct praas_frame f = frame_full(), g;
	uint8_t wire[PRAAS_FRAME_BYTES];

	(void)state;
	praas_frame_encode(&f, wire);
	assert_int_equal(praas_frame_decode(wire, UINT64_MAX, &g), 0);
	assert_int_equal(g.kind, f.kind);
	assert_int_equal(g.flags, f.flags);
	assert_int_equal(g.key_bytes, f.key_bytes);
	assert_int_equal(g.function, f.function);
	assert_int_equal(g.epoch, f.epoch);
	assert_int_equal(g.status, f.status);
	assert_int_equal(g.source, f.source);
	assert_int_equal(g.sequence, f.sequence);
	assert_int_equal(g.id, f.id);
	assert_int_equal(g.deadline_ns, f.deadline_ns);
	assert_int_equal(g.bytes, f.bytes);
	assert_int_equal(g.aux, f.aux);
}

/* The bytes are those of the page, whatever the host. */
static void test_frame_bytes_as_documented(void **state)
{
	struct praas_frame f = frame_full();
	uint8_t wire[PRAAS_FRAME_BYTES];
	static const uint8_t want[] = { 'P',  'R',  1,    8,    7,    255,
					0x34, 0x12, 0xef, 0xbe, 0xad, 0xde,
					0x07, 0xfc, 0xff, 0xff, 0x08, 0x07 };

	(void)state;
	praas_frame_encode(&f, wire);
	assert_memory_equal(wire, want, sizeof(want));
	assert_int_equal(wire[24], 0xff);
	assert_int_equal(wire[32], 0x18);
	assert_int_equal(wire[40], 0x28);
	assert_int_equal(wire[48], 0x38);
	assert_int_equal(wire[56], 0x48);
	assert_int_equal(wire[63], 0x41);
}

/* Magic, version, every unknown kind and flag, and sizes over the limit are refused. */
static void test_frame_decode_refuses(void **state)
{
	static const uint8_t known[] = { 1,  2,  3,  4,  8,  9,  10, 12, 16,
					 17, 18, 19, 20, 21, 22, 23, 24, 25,
					 26, 27, 32, 33, 34, 35, 40 };
	struct praas_frame f = frame_full(), g;
	uint8_t wire[PRAAS_FRAME_BYTES];

	(void)state;
	f.bytes = 4096;
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			praas_frame_encode(&f, wire);
			wire[i] ^= (uint8_t)(1u << bit);
			assert_int_equal(praas_frame_decode(wire, 4096, &g), -EPROTO);
		}
	}
	for (unsigned kind = 0; kind < 256; kind++) {
		bool ok = memchr(known, (int)kind, sizeof(known)) != NULL;

		praas_frame_encode(&f, wire);
		wire[3] = (uint8_t)kind;
		assert_int_equal(praas_frame_decode(wire, 4096, &g), ok ? 0 : -EPROTO);
	}
	for (unsigned flags = 0; flags < 256; flags++) {
		praas_frame_encode(&f, wire);
		wire[4] = (uint8_t)flags;
		assert_int_equal(praas_frame_decode(wire, 4096, &g),
				 flags <= PRAAS_FRAME_FLAGS ? 0 : -EPROTO);
	}
	praas_frame_encode(&f, wire);
	assert_int_equal(praas_frame_decode(wire, 4095, &g), -EMSGSIZE);
	assert_int_equal(praas_frame_decode(wire, 0, &g), -EMSGSIZE);
	f.bytes = UINT64_MAX;
	praas_frame_encode(&f, wire);
	assert_int_equal(praas_frame_decode(wire, UINT64_MAX, &g), -EMSGSIZE);
	f.bytes = PRAAS_FRAME_PAYLOAD_MAX;
	praas_frame_encode(&f, wire);
	assert_int_equal(praas_frame_decode(wire, UINT64_MAX, &g), 0);
	assert_true(PRAAS_FRAME_BYTES + praas_frame_body_bytes(&g) > g.bytes);
}

/* The meta block keeps trace and key, pads with zeros, and refuses NUL and reserved bytes. */
static void test_frame_meta_round_trip(void **state)
{
	uint8_t trace[PRAAS_TRACE_BYTES] = { 1, 2, 3 }, got_trace[PRAAS_TRACE_BYTES];
	uint8_t meta[PRAAS_META_MAX];
	char key[PRAAS_KEY_MAX + 1], got_key[PRAAS_KEY_MAX + 1];

	(void)state;
	memset(key, 'k', sizeof(key));
	for (unsigned n = 0; n <= PRAAS_KEY_MAX; n++) {
		for (unsigned flags = 0; flags <= PRAAS_FRAME_TRACE;
		     flags += PRAAS_FRAME_TRACE) {
			struct praas_frame f = { .kind = PRAAS_FRAME_SEND,
						 .flags = (uint8_t)flags,
						 .key_bytes = (uint8_t)n };
			uint64_t bytes;

			memset(meta, 0xaa, sizeof(meta));
			bytes = praas_frame_meta_encode(&f, trace, key, meta);
			assert_true(bytes <= PRAAS_META_MAX);
			assert_int_equal(bytes % 64, 0);
			assert_int_equal(bytes, praas_frame_meta_bytes(&f));
			assert_int_equal(
				praas_frame_meta_decode(&f, meta, got_trace, got_key),
				0);
			assert_int_equal(strlen(got_key), n);
			if (flags)
				assert_memory_equal(got_trace, trace, sizeof(trace));
			if (n > 0) {
				meta[(flags ? PRAAS_TRACE_BYTES : 0) + n / 2] = 0;
				assert_int_equal(praas_frame_meta_decode(
							 &f, meta, got_trace, got_key),
						 -EPROTO);
			}
			if (flags) {
				bytes = praas_frame_meta_encode(&f, trace, key, meta);
				meta[PRAAS_TRACE_BYTES - 1] = 1;
				assert_int_equal(praas_frame_meta_decode(
							 &f, meta, got_trace, got_key),
						 -EPROTO);
			}
		}
	}
}

/* Descriptor form: all that travels comes back; reserved bits are refused. */
static void test_frame_descriptor_round_trip(void **state)
{
	struct praas_frame f = frame_full(), g;
	struct praas_desc d;
	uint16_t segment;
	uint64_t offset;

	(void)state;
	praas_frame_to_desc(&f, 0xfffe, 1u << 30, &d);
	assert_int_equal(praas_frame_from_desc(&d, &g, &segment, &offset), 0);
	assert_int_equal(segment, 0xfffe);
	assert_int_equal(offset, 1u << 30);
	assert_int_equal(g.kind, f.kind);
	assert_int_equal(g.key_bytes, f.key_bytes);
	assert_int_equal(g.function, f.function);
	assert_int_equal(g.status, f.status);
	assert_int_equal(g.id, f.id);
	assert_int_equal(g.bytes, f.bytes);
	d.word[0] |= UINT64_C(1) << 24;
	assert_int_equal(praas_frame_from_desc(&d, &g, &segment, &offset), -EPROTO);
	praas_frame_to_desc(&f, 1, 0, &d);
	d.word[1] |= UINT64_C(1) << 32;
	assert_int_equal(praas_frame_from_desc(&d, &g, &segment, &offset), -EPROTO);
}

/* The three numbers of a RESULT with TIMING, over the wire and in a ring, up to the largest; more is
 * told as the largest; without the flag there are none. */
static void test_frame_timing_round_trip(void **state)
{
	static const uint64_t values[] = {
		0,         1, 0xffffff, 0x1000000, 0xa5a5a5a5a5, PRAAS_FRAME_TIMING_MAX,
		UINT64_MAX
	};
	const size_t count = sizeof(values) / sizeof(values[0]);

	(void)state;
	for (size_t i = 0; i < count * count; i++) {
		struct praas_frame_timing in = { .queue_ns = values[i % count],
						 .run_ns = i,
						 .state_ns = values[i / count] },
					  out;
		struct praas_frame f = { .kind = PRAAS_FRAME_RESULT, .id = 1 }, g;
		uint8_t wire[PRAAS_FRAME_BYTES];
		struct praas_desc d;
		uint16_t segment;
		uint64_t offset;

		praas_frame_timing_put(&f, &in);
		in.queue_ns = praas_min_u64(in.queue_ns, PRAAS_FRAME_TIMING_MAX);
		in.state_ns = praas_min_u64(in.state_ns, PRAAS_FRAME_TIMING_MAX);
		praas_frame_encode(&f, wire);
		assert_int_equal(praas_frame_decode(wire, 0, &g), 0);
		out = praas_frame_timing_get(&g);
		assert_memory_equal(&out, &in, sizeof(in));
		praas_frame_to_desc(&f, 0, 0, &d);
		assert_int_equal(praas_frame_from_desc(&d, &g, &segment, &offset), 0);
		out = praas_frame_timing_get(&g);
		assert_memory_equal(&out, &in, sizeof(in));
		g.flags = 0;
		out = praas_frame_timing_get(&g);
		assert_int_equal(out.queue_ns + out.run_ns + out.state_ns, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_round_trip),
		cmocka_unit_test(test_frame_bytes_as_documented),
		cmocka_unit_test(test_frame_decode_refuses),
		cmocka_unit_test(test_frame_meta_round_trip),
		cmocka_unit_test(test_frame_descriptor_round_trip),
		cmocka_unit_test(test_frame_timing_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
