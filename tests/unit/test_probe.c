/* SPDX-License-Identifier: Apache-2.0
 *
 * What a PROBE may say, and how it is put into words.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/probe.h"
#include "internal/base.h"
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

/* What a peer changes while it is read. */
struct meanwhile {
	_Atomic bool over;
	uint8_t wire[PRAAS_PROBE_HEAD_BYTES + PRAAS_PROBE_STEP_BYTES];
};

static void *change(void *arg)
{
	struct meanwhile *m = arg;

	while (!atomic_load_explicit(&m->over, memory_order_relaxed))
		for (unsigned i = 0; i < 2; i++) {
			atomic_store_explicit((_Atomic uint8_t *)(m->wire + 16),
					      (uint8_t)i, memory_order_relaxed);
			atomic_store_explicit(
				(_Atomic uint8_t *)(m->wire + PRAAS_PROBE_HEAD_BYTES +
						    8 + 20),
				(uint8_t)(i ? 'n' : '\n'), memory_order_relaxed);
		}
	return NULL;
}

/* A peer in shared memory writes while it is read: what is taken was looked at. */
static void test_probe_changed_meanwhile(void **state)
{
	struct praas_probe probe = { .pid = 1, .call = 2, .nonce = 1 }, got;
	struct meanwhile *m = calloc(1, sizeof(*m));
	uint64_t until = praas_now_ns() + 500000000u;
	char name[PRAAS_NAME_MAX + 1];
	pthread_t thread;
	unsigned taken = 0;

	(void)state;
#ifdef __SANITIZE_THREAD__
	free(m);
	skip(); /* that they are there is the test */
#endif
	memset(name, 'n', PRAAS_NAME_MAX);
	name[PRAAS_NAME_MAX] = '\0';
	assert_int_equal(praas_probe_add(&probe, 1, name), 0);
	praas_probe_encode(&probe, m->wire);
	assert_int_equal(pthread_create(&thread, NULL, change, m), 0);
	while (praas_now_ns() < until) {
		if (praas_probe_decode(m->wire, sizeof(m->wire), &got) != 0)
			continue;
		taken++;
		if (got.nonce == 0 || strcmp(got.steps[0].function, name) != 0)
			break;
	}
	atomic_store_explicit(&m->over, true, memory_order_relaxed);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(taken == 0 || got.nonce == 1);
	assert_true(taken == 0 || strcmp(got.steps[0].function, name) == 0);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe_wire),
		cmocka_unit_test(test_probe_text),
		cmocka_unit_test(test_probe_changed_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
