/* SPDX-License-Identifier: Apache-2.0
 *
 * When a thread of HTTP looks on without sleeping, and how many connections one address may have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/rest/http_threads.h"
#include "control/rest/peers.h"

#define US 1000ull

/* A request, then looks each microsecond until the next one comes or the thread sleeps. How many ns it looked. */
static uint64_t one(struct praas_linger *l, uint64_t *now, uint64_t next_after_ns)
{
	uint64_t looked = 0;

	praas_linger_work(l, *now);
	while (looked < next_after_ns && praas_linger_idle(l, *now + looked))
		looked += US;
	*now += next_after_ns;
	return looked;
}

static void test_soon(void **state)
{
	struct praas_linger l = { 0 };
	uint64_t now = 1000 * US;

	(void)state;
	assert_false(praas_linger_idle(&l, now)); /* nothing was ever asked */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(one(&l, &now, 60 * US), 60 * US); /* never slept */
}

/* Who asks once a millisecond is not waited for: of 1,000 gaps at most a few are looked through. */
static void test_seldom(void **state)
{
	struct praas_linger l = { 0 };
	uint64_t now = 1000 * US, looked = 0, most = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t took = one(&l, &now, 1000 * US);

		looked += took;
		most = took > most ? took : most;
	}
	assert_true(most <= 160 * US);
	assert_true(looked < 1000 * 1000 * US / 100); /* 1 % of the time */
	/* It is tried again now and then, and learned again when it pays. */
	looked = 0;
	for (int i = 0; i < 1000; i++)
		looked += one(&l, &now, 60 * US);
	assert_true(looked > 1000 * 60 * US * 8 / 10);
}

/* Half and half pays. */
static void test_mixed(void **state)
{
	struct praas_linger l = { 0 };
	uint64_t now = 1000 * US, slept = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		slept += one(&l, &now, i % 2 ? 60 * US : 1000 * US) < 60 * US;
	assert_int_equal(slept, 0);
}

static void look(void *user, uint64_t now_ns)
{
	(void)user;
	(void)now_ns;
}

static void test_addresses(void **state)
{
	const struct praas_peers_config config = { .max = 8,
						   .per_address = 3,
						   .head_ns = 1000000000u,
						   .idle_ns = 1000000000u,
						   .rate = 1,
						   .look = look };
	struct praas_peers_stats stats;
	struct praas_peers *peers;
	struct praas_peer *p[4];

	(void)state;
	assert_int_equal(praas_peers_new(&config, &peers), 0);
	for (int i = 0; i < 3; i++) {
		assert_true(praas_peers_room(peers, "10.0.0.1"));
		p[i] = praas_peer_add(peers, 1000 + i, "10.0.0.1");
		assert_non_null(p[i]);
	}
	assert_false(praas_peers_room(peers, "10.0.0.1"));
	assert_true(praas_peers_room(peers, "10.0.0.2")); /* others may come */
	p[3] = praas_peer_add(peers, 1003, "10.0.0.2");
	praas_peers_stats(peers, &stats);
	assert_int_equal(stats.open, 4);
	assert_int_equal(stats.refused, 1);
	praas_peer_drop(peers, p[1]); /* from the middle of its chain */
	assert_true(praas_peers_room(peers, "10.0.0.1"));
	p[1] = praas_peer_add(peers, 1004, "10.0.0.1");
	assert_false(praas_peers_room(peers, "10.0.0.1"));
	for (int i = 0; i < 4; i++)
		praas_peer_drop(peers, p[i]);
	for (int i = 0; i < 3; i++)
		assert_true(praas_peers_room(peers, "10.0.0.1"));
	praas_peers_free(peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_soon),
					    cmocka_unit_test(test_seldom),
					    cmocka_unit_test(test_mixed),
					    cmocka_unit_test(test_addresses) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
