/* SPDX-License-Identifier: Apache-2.0
 * Sealed packets: what was sealed opens, and nothing else does; across changes of the key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "transport/seal.h"

#define HEAD 24u
#define DATA 100u

struct sealed {
	uint8_t head[HEAD], data[DATA], tag[PRAAS_SEAL_TAG_BYTES];
};

static const uint8_t key[PRAAS_SEAL_KEY_BYTES] = { 1, 2, 3 };

static struct praas_seal_packet packet_of(struct sealed *s, uint64_t number)
{
	return (struct praas_seal_packet){ .number = number,
					   .head = s->head,
					   .head_bytes = HEAD,
					   .data = s->data,
					   .bytes = DATA,
					   .tag = s->tag };
}

static struct sealed make(struct praas_seal *seal, uint64_t number)
{
	struct sealed s;
	struct praas_seal_packet p = packet_of(&s, number);

	memset(s.head, 'h', HEAD);
	memset(s.data, 'd', DATA);
	assert_int_equal(praas_seal_close(seal, &p), 0);
	return s;
}

static int open(struct praas_seal *seal, struct sealed s, uint64_t number)
{
	struct praas_seal_packet p = packet_of(&s, number);
	int rc = praas_seal_open(seal, &p);

	for (unsigned i = 0; i < DATA && rc == 0; i++)
		assert_int_equal(s.data[i], 'd');
	return rc;
}

/* Hidden or only authenticated: every bit of head, data, tag and number counts. */
static void test_seal_every_bit_counts(void **state)
{
	static const uint8_t other_key[PRAAS_SEAL_KEY_BYTES] = { 1, 2, 4 };

	(void)state;
	for (unsigned clear = 0; clear < 2; clear++) {
		struct praas_seal *out, *in, *other;
		struct sealed s;

		assert_int_equal(praas_seal_new(key, clear, 24, &out), 0);
		assert_int_equal(praas_seal_new(key, clear, 24, &in), 0);
		assert_int_equal(praas_seal_new(other_key, clear, 24, &other), 0);
		s = make(out, 7);
		assert_int_equal(s.data[0] == 'd' && s.data[1] == 'd', clear);
		for (unsigned bit = 0; bit < 8 * sizeof(s); bit++) {
			((uint8_t *)&s)[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(open(in, s, 7), -EBADMSG);
			((uint8_t *)&s)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		assert_int_equal(open(in, s, 8), -EBADMSG);
		assert_int_equal(open(other, s, 7), -EBADMSG);
		assert_int_equal(open(in, s, 7), 0);
		praas_seal_free(out);
		praas_seal_free(in);
		praas_seal_free(other);
	}
}

/* Whichever library: the same packet, so that both ends may have another. Computed by a third. */
static void test_seal_is_aes_gcm(void **state)
{
	static const uint8_t hidden[] = {
		0x2d, 0xb2, 0x5f, 0x5d, 0x73, 0xb9, 0xec, 0x3f
	};
	static const uint8_t tags[2][PRAAS_SEAL_TAG_BYTES] = {
		{ 0x4a, 0xbb, 0xb4, 0x50, 0xe1, 0x4d, 0xac, 0x29, 0x32, 0x85, 0xde,
		  0xd8, 0x1b, 0x87, 0x5c, 0xae },
		{ 0x38, 0x9e, 0x81, 0xfd, 0xba, 0x0b, 0x25, 0xce, 0x32, 0x9e, 0xdc,
		  0xf7, 0x48, 0xf4, 0xc5, 0xba },
	};

	(void)state;
	for (unsigned clear = 0; clear < 2; clear++) {
		struct praas_seal *seal;
		struct sealed s;

		assert_int_equal(praas_seal_new(key, clear, 24, &seal), 0);
		s = make(seal, 7);
		if (!clear)
			assert_memory_equal(s.data, hidden, sizeof(hidden));
		assert_memory_equal(s.tag, tags[clear], sizeof(s.tag));
		praas_seal_free(seal);
	}
}

/* Two packets with the same content look different. */
static void test_seal_numbers_make_a_difference(void **state)
{
	struct praas_seal *seal;
	struct sealed s, t;

	(void)state;
	assert_int_equal(praas_seal_new(key, false, 24, &seal), 0);
	s = make(seal, 1);
	t = make(seal, 2);
	assert_memory_not_equal(s.data, t.data, DATA);
	assert_memory_not_equal(s.tag, t.tag, sizeof(s.tag));
	praas_seal_free(seal);
}

/* The key changes every 2^n packets at both ends without a word; packets around the change may be
 * late or lost; one of a key that is gone is refused, also when it was genuine. */
static void test_seal_key_changes(void **state)
{
	struct praas_seal *out, *in, *fixed;
	struct sealed held = { 0 }, first;
	uint64_t held_number = 0;

	(void)state;
	assert_int_equal(praas_seal_new(key, false, 6, &out), 0);
	assert_int_equal(praas_seal_new(key, false, 6, &in), 0);
	assert_int_equal(praas_seal_new(key, false, 24, &fixed), 0);
	first = make(out, 1);
	for (uint64_t n = 2; n < 1000; n++) {
		struct sealed s = make(out, n);

		if (n % 64 == 60) {
			held = s; /* comes after the change */
			held_number = n;
		} else if (n % 5 != 0) {
			assert_int_equal(open(in, s, n), 0);
		}
		if (n % 64 == 10 && held_number > 0)
			assert_int_equal(open(in, held, held_number), 0);
		assert_int_equal(open(fixed, s, n) == 0, n < 64);
	}
	assert_int_equal(open(in, first, 1), -EBADMSG);
	assert_int_equal(open(in, first, UINT64_MAX), -EBADMSG);
	praas_seal_free(out);
	praas_seal_free(in);
	praas_seal_free(fixed);
	praas_seal_free(NULL);
}

/* What lies in two places is sealed as if it lay in one, and opened to two. */
static void test_seal_in_parts(void **state)
{
	struct praas_seal *out, *in;
	uint8_t plain[DATA], to[DATA];

	(void)state;
	assert_int_equal(praas_seal_new(key, false, 24, &out), 0);
	assert_int_equal(praas_seal_new(key, false, 24, &in), 0);
	memset(plain, 'd', sizeof(plain));
	for (unsigned here = 0; here <= DATA; here++) {
		struct sealed whole = make(out, here), s = { 0 };
		struct praas_seal_packet p = packet_of(&s, here);

		memset(s.head, 'h', HEAD);
		memset(s.data, 'd', here);
		p.here = here;
		p.from = plain;
		assert_int_equal(praas_seal_close(out, &p), 0);
		assert_memory_equal(&s, &whole, sizeof(s));
		p.from = NULL;
		p.to = to;
		memset(to, 0, sizeof(to));
		assert_int_equal(praas_seal_open(in, &p), 0);
		assert_memory_equal(s.data, plain, here);
		assert_memory_equal(to, plain, DATA - here);
		for (unsigned i = DATA - here; i < DATA; i++)
			assert_int_equal(to[i], 0);
		whole.tag[here % sizeof(whole.tag)] ^= 1;
		p = packet_of(&whole, here);
		p.here = here;
		p.to = to;
		assert_int_equal(praas_seal_open(in, &p), -EBADMSG);
	}
	praas_seal_free(out);
	praas_seal_free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seal_every_bit_counts),
		cmocka_unit_test(test_seal_is_aes_gcm),
		cmocka_unit_test(test_seal_numbers_make_a_difference),
		cmocka_unit_test(test_seal_key_changes),
		cmocka_unit_test(test_seal_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
