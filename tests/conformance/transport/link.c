/* SPDX-License-Identifier: Apache-2.0
 * The link between two devices goes down in the midst of calls, and comes back: soon, which a connection
 * survives, or late, which ends it with an error. The next connection is served, as often as that happens,
 * and nothing is left behind.
 * Arguments: a scheme; commands that put the link down and up, for a short while and for a long one. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "tests/lib/skip.h"

#define ROUNDS 3u
#define SHORT_MS 300u
#define IN_FLIGHT 8u
#define STALL_NS UINT64_C(2000000000)

static struct rig rig;
static const struct scheme *scheme;
static const char *down, *up, *long_down, *long_up;

static void run(const char *command)
{
	if (system(command) != 0) /* NOLINT(cert-env33-c): a test's own words */
		fail_msg("failed: %s", command);
}

static void start(void)
{
	struct rig_config config = { .stall_timeout_ns = STALL_NS };

	rig_start(&rig, scheme, &config);
	rig.patience_ns = UINT64_C(60000000000);
	rig.server.echo = true;
}

/* Calls under way, of which some have been answered. */
static void keep_busy(struct side *side, unsigned *id, unsigned answers)
{
	unsigned until = side->frames + answers;

	while (side->frames < until && side->closed == 0) {
		while (*id - side->frames < IN_FLIGHT && side->closed == 0 &&
		       rig_invoke(side->conn, *id + 1, *id % 4 ? 64 : 40000) == 0)
			++*id;
		rig_turn(&rig);
	}
}

/* As a client does: once more until the link is there. */
static void connect_to(struct side *side)
{
	uint64_t end_ns = praas_now_ns() + rig.patience_ns;
	unsigned server = rig.server.opened;

	do {
		*side = (struct side){ .rig = &rig };
		rig.server.next_id = 0;
		rig_connect_begin(&rig, side, NULL);
		while (side->opened + side->closed == 0)
			rig_turn(&rig);
		if (side->closed)
			(void)printf("not yet: %s\n", strerror(-side->closed_rc));
	} while (side->closed && praas_now_ns() < end_ns);
	assert_int_equal(side->closed, 0);
	rig_until(&rig, &rig.server.opened, server + 1);
}

static uint64_t used(struct praas_heap *heap)
{
	struct praas_heap_stats stats;

	praas_heap_stats(heap, &stats);
	return stats.bytes_used;
}

/* Ends in order; what both ends had for it comes back. */
static void disconnect(struct side *side, uint64_t client_bytes, uint64_t server_bytes)
{
	uint64_t end_ns = praas_now_ns() + rig.patience_ns;

	if (side->closed == 0)
		side->conn->ops->close(side->conn, true);
	while ((used(rig.client_heap) > client_bytes ||
		used(rig.server_heap) > server_bytes) &&
	       praas_now_ns() < end_ns)
		rig_turn(&rig);
	assert_int_equal(used(rig.client_heap), client_bytes);
	assert_int_equal(used(rig.server_heap), server_bytes);
}

/* A short pause is survived: no frame is lost, doubled or out of order. */
static void test_link_short_pause(void **state)
{
	struct side side;

	(void)state;
	start();
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t client_bytes = used(rig.client_heap);
		uint64_t server_bytes = used(rig.server_heap);
		unsigned id = 0;

		connect_to(&side);
		keep_busy(&side, &id, 20);
		run(down);
		rig_run_ms(&rig, SHORT_MS);
		run(up);
		keep_busy(&side, &id, 40);
		assert_int_equal(side.order_errors + rig.server.order_errors, 0);
		rig_until(&rig, &side.frames, id);
		assert_int_equal(side.closed, 0);
		disconnect(&side, client_bytes, server_bytes);
	}
	rig_stop(&rig);
}

/* A long one: told by an error; after it connections are as before, again and again. */
static void test_link_long_pause(void **state)
{
	struct side side;

	(void)state;
	start();
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t client_bytes = used(rig.client_heap);
		uint64_t server_bytes = used(rig.server_heap);
		uint64_t began_ns;
		unsigned id = 0;

		connect_to(&side);
		keep_busy(&side, &id, 20);
		run(long_down);
		began_ns = praas_now_ns();
		keep_busy(&side, &id, UINT32_MAX / 2);
		assert_int_equal(side.closed, 1);
		(void)printf("told after %.1f s: %s\n",
			     (double)(praas_now_ns() - began_ns) / 1e9,
			     strerror(-side.closed_rc));
		assert_true(side.closed_rc == -ETIMEDOUT ||
			    side.closed_rc == -ECONNRESET || side.closed_rc == -EIO);
		/* Nothing that was sent is still owed. */
		assert_int_equal(side.sent + side.sent_bad, id);
		run(long_up);
		disconnect(&side, client_bytes, server_bytes);
	}
	connect_to(&side);
	rig_invoke_wait(&rig, side.conn, 1, 100000);
	rig_until(&rig, &side.frames, 1);
	rig_stop(&rig);
}

/* Nobody is there while the link is down: an error, and no memory is kept; then it is there. */
static void test_link_connects_when_it_is_back(void **state)
{
	struct side side;
	uint64_t bytes;

	(void)state;
	start();
	bytes = used(rig.client_heap);
	run(long_down);
	side = (struct side){ .rig = &rig };
	rig_connect_begin(&rig, &side, NULL);
	rig_until(&rig, &side.closed, 1);
	assert_true(side.closed_rc < 0);
	assert_int_equal(used(rig.client_heap), bytes);
	run(long_up);
	connect_to(&side);
	rig_invoke_wait(&rig, side.conn, 1, 64);
	rig_until(&rig, &side.frames, 1);
	rig_stop(&rig);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_link_short_pause),
		cmocka_unit_test(test_link_long_pause),
		cmocka_unit_test(test_link_connects_when_it_is_back),
	};
	const char *missing;

	if (argc < 6)
		return 2;
	scheme = scheme_find(argv[1]);
	down = argv[2];
	up = argv[3];
	long_down = argv[4];
	long_up = argv[5];
	assert_non_null(scheme);
	missing = scheme_missing(scheme);
	if (missing)
		return skip_all(missing);
	return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
}
