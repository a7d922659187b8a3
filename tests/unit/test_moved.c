/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/moved.h"

/* What a client is told of a move: as it was said, or not at all. */

static const uint8_t key[PRAAS_KEY_BYTES] = { 7, 7, 7 };

static struct praas_moved sample(uint32_t count)
{
	struct praas_moved m = { .endpoints_count = count };

	for (unsigned i = 0; i < PRAAS_TICKET_BYTES; i++)
		m.secret.ticket[i] = (uint8_t)(i * 3);
	for (unsigned i = 0; i < PRAAS_KEY_BYTES; i++)
		m.secret.session_key[i] = (uint8_t)(200 - i);
	for (uint32_t i = 0; i < count; i++)
		(void)snprintf(m.endpoints[i], sizeof(m.endpoints[i]),
			       "tcp://10.0.0.%u:70", i);
	return m;
}

static void test_moved_round_trip(void **state)
{
	uint8_t data[PRAAS_MOVED_BYTES_MAX];
	struct praas_moved got;
	uint64_t bytes;

	(void)state;
	for (uint32_t n = 1; n <= PRAAS_MOVED_ENDPOINTS_MAX; n++) {
		const struct praas_moved m = sample(n);

		assert_int_equal(praas_moved_encode(&m, key, data, &bytes), 0);
		assert_int_equal(praas_moved_decode(data, bytes, key, &got), 0);
		assert_int_equal(got.endpoints_count, n);
		assert_memory_equal(&got.secret, &m.secret, sizeof(m.secret));
		for (uint32_t i = 0; i < n; i++)
			assert_string_equal(got.endpoints[i], m.endpoints[i]);
		/* The key is not to be read. */
		for (uint64_t at = 0; at + 16 <= bytes; at++)
			assert_memory_not_equal(data + at, m.secret.session_key, 16);
	}
}

/* The longest that can be fits. */
static void test_moved_longest(void **state)
{
	struct praas_moved m = sample(PRAAS_MOVED_ENDPOINTS_MAX), got;
	uint8_t *data = malloc(PRAAS_MOVED_BYTES_MAX);
	uint64_t bytes;

	(void)state;
	for (uint32_t i = 0; i < PRAAS_MOVED_ENDPOINTS_MAX; i++) {
		memset(m.endpoints[i], 'x', PRAAS_ADDR_MAX - 1);
		memcpy(m.endpoints[i], "shm://", 6);
	}
	assert_int_equal(praas_moved_encode(&m, key, data, &bytes), 0);
	assert_int_equal(bytes, PRAAS_MOVED_BYTES_MAX);
	assert_int_equal(praas_moved_decode(data, bytes, key, &got), 0);
	assert_memory_equal(got.endpoints, m.endpoints, sizeof(m.endpoints));
	free(data);
}

static void test_moved_each_byte_and_length(void **state)
{
	static const uint8_t other[PRAAS_KEY_BYTES] = { 8 };
	const struct praas_moved m = sample(2);
	uint8_t data[PRAAS_MOVED_BYTES_MAX + 1] = { 0 };
	struct praas_moved got;
	uint64_t bytes;

	(void)state;
	assert_int_equal(praas_moved_encode(&m, key, data, &bytes), 0);
	assert_int_equal(praas_moved_decode(data, bytes, other, &got), -EACCES);
	for (uint64_t n = 0; n < bytes; n++) {
		uint8_t *exact = malloc(n + 1);

		memcpy(exact, data, n);
		assert_true(praas_moved_decode(exact, n, key, &got) < 0);
		free(exact);
	}
	assert_true(praas_moved_decode(data, bytes + 1, key, &got) < 0);
	assert_int_equal(praas_moved_decode(data, sizeof(data), key, &got), -EPROTO);
	for (uint64_t at = 0; at < bytes; at++) {
		data[at] ^= 0x10;
		assert_int_equal(praas_moved_decode(data, bytes, key, &got), -EACCES);
		data[at] ^= 0x10;
	}
}

/* Who has the key and says what makes no sense. */
static void test_moved_nonsense(void **state)
{
	static const char *const wrong[] = { "",      "tcp:/x",   "tcp://", "://x",
					     "tcp x", "tcp://\n", "x",      "tcp//:x" };
	uint8_t data[PRAAS_MOVED_BYTES_MAX];
	struct praas_moved m = sample(0), got;
	uint64_t bytes;

	(void)state;
	assert_int_equal(praas_moved_encode(&m, key, data, &bytes), 0);
	assert_int_equal(praas_moved_decode(data, bytes, key, &got), -EPROTO);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		m = sample(2);
		(void)snprintf(m.endpoints[1], sizeof(m.endpoints[1]), "%s", wrong[i]);
		assert_int_equal(praas_moved_encode(&m, key, data, &bytes), 0);
		assert_int_equal(praas_moved_decode(data, bytes, key, &got), -EPROTO);
	}
}

static void test_moved_endpoints(void **state)
{
	struct praas_moved m;
	char text[2 * PRAAS_ADDR_MAX + 64];

	(void)state;
	praas_moved_endpoints("shm:///a\nno\n\ntcp://b:1", &m);
	assert_int_equal(m.endpoints_count, 2);
	assert_string_equal(m.endpoints[0], "shm:///a");
	assert_string_equal(m.endpoints[1], "tcp://b:1");
	praas_moved_endpoints("", &m);
	assert_int_equal(m.endpoints_count, 0);
	memset(text, 'x', sizeof(text));
	memcpy(text, "tcp://", 6);
	text[2 * PRAAS_ADDR_MAX] = '\0';
	praas_moved_endpoints(text, &m);
	assert_int_equal(m.endpoints_count, 0);
	praas_moved_endpoints("a://1\na://2\na://3\na://4\na://5\na://6\na://7\na://8\n"
			      "a://9\n",
			      &m);
	assert_int_equal(m.endpoints_count, PRAAS_MOVED_ENDPOINTS_MAX);
	assert_string_equal(m.endpoints[7], "a://8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moved_round_trip),
		cmocka_unit_test(test_moved_longest),
		cmocka_unit_test(test_moved_each_byte_and_length),
		cmocka_unit_test(test_moved_nonsense),
		cmocka_unit_test(test_moved_endpoints),
	};

	return cmocka_run_group_tests_name("moved", tests, NULL, NULL);
}
