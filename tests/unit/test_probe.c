/* SPDX-License-Identifier: Apache-2.0
 *
 * What a PROBE may say, and how it is put into words.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/probe.h"
#include "internal/bytes.h"

static int decode(const uint8_t *wire, uint64_t bytes)
{
	struct praas_probe probe;

	return praas_probe_decode(wire, bytes, &probe);
}

static void test_probe_wire(void **state)
{
	struct praas_probe probe = { .pid = 1, .call = 2, .nonce = 3, .latest_ns = 4 },
			   got = { 0 };
	uint8_t wire[PRAAS_PROBE_BYTES_MAX];
	char name[PRAAS_NAME_MAX + 1];
	uint64_t bytes;

	(void)state;
	memset(name, 'n', PRAAS_NAME_MAX);
	name[PRAAS_NAME_MAX] = '\0';
	for (unsigned i = 0; i < PRAAS_CIRCLE_MAX; i++)
		assert_int_equal(praas_probe_add(&probe, UINT64_MAX - i, name), 0);
	assert_int_equal(praas_probe_add(&probe, 1, name), -E2BIG);
	bytes = praas_probe_bytes(&probe);
	assert_int_equal(bytes, PRAAS_PROBE_BYTES_MAX);
	praas_probe_encode(&probe, wire);
	assert_int_equal(praas_probe_decode(wire, bytes, &got), 0);
	assert_memory_equal(&got, &probe, sizeof(got));

	assert_int_equal(decode(wire, 0), -EPROTO);
	assert_int_equal(decode(wire, PRAAS_PROBE_HEAD_BYTES - 1), -EPROTO);
	assert_int_equal(decode(wire, bytes - 1), -EPROTO);
	praas_put_u32(wire + 32, PRAAS_CIRCLE_MAX + 1);
	assert_int_equal(decode(wire, bytes), -EMSGSIZE);
	praas_put_u32(wire + 32, 0);
	assert_int_equal(decode(wire, PRAAS_PROBE_HEAD_BYTES), -EPROTO);
	praas_put_u32(wire + 32, 1);
	bytes = PRAAS_PROBE_HEAD_BYTES + PRAAS_PROBE_STEP_BYTES;
	assert_int_equal(decode(wire, bytes), 0);
	wire[36] = 1;
	assert_int_equal(decode(wire, bytes), -EPROTO);
	wire[36] = 0;
	praas_put_u64(wire + 16, 0);
	assert_int_equal(decode(wire, bytes), -EPROTO);
	praas_put_u64(wire + 16, 1);
	for (unsigned i = 0; i < 3; i++) { /* a name that people should not read */
		wire[PRAAS_PROBE_HEAD_BYTES + 8 + 5] = (uint8_t[]){ 0, 0x1b, 0x7f }[i];
		assert_int_equal(decode(wire, bytes), -EPROTO);
	}
	wire[PRAAS_PROBE_HEAD_BYTES + 8 + 5] = 'n';
	wire[bytes - PRAAS_PROBE_STEP_BYTES + 8 + PRAAS_NAME_MAX] = 'n'; /* no zero */
	assert_int_equal(decode(wire, bytes), -EPROTO);
	wire[bytes - PRAAS_PROBE_STEP_BYTES + 8 + PRAAS_NAME_MAX] = 0;
	memset(wire + PRAAS_PROBE_HEAD_BYTES + 8, 0, PRAAS_NAME_MAX);
	assert_int_equal(decode(wire, bytes), -EPROTO);
}

/* What does not fit is cut, and says so. */
static void test_probe_text(void **state)
{
	struct praas_probe probe = { 0 };
	char text[80];

	(void)state;
	assert_int_equal(praas_probe_add(&probe, 2, "b"), 0);
	assert_int_equal(praas_probe_add(&probe, 1, "a"), 0);
	assert_int_equal(praas_probe_add(&probe, 2, "b"), 0);
	praas_probe_text(&probe, text, sizeof(text));
	assert_string_equal(
		text, "it would wait for itself: a (pid 1) -> b (pid 2) -> a (pid 1)");
	praas_probe_text(&probe, text, 50);
	assert_string_equal(text, "it would wait for itself: a (pid 1) -> b (pid ...");
	for (size_t n = 4; n < sizeof(text); n++) {
		memset(text, 'x', sizeof(text));
		praas_probe_text(&probe, text, n);
		assert_in_range(strlen(text), 3, n - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe_wire),
		cmocka_unit_test(test_probe_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
