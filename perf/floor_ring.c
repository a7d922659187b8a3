/* SPDX-License-Identifier: Apache-2.0
 *
 * Floors in shared memory: the bare descriptor ring between two processes (latency,
 * stream), the same through a third process where all yield, and a futex hand-over.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "perf/bench.h"
#include "perf/clock.h"
#include "perf/floor_peer.h"
#include "shm/ring.h"

#define SLOTS 1024u

/* One direction: slots of the producer, tail of the consumer. */
struct lane {
	struct praas_ring_tail tail;
	struct praas_ring_slot slot[SLOTS];
};

struct shared {
	struct lane lane[4]; /* to the first peer and back; on to the second and back */
	_Atomic uint32_t futex[2];
};

struct floor {
	struct shared *shared;
	struct praas_floor_peer peer;
	/* Parent's ends, then the peers' (used in their own processes). */
	struct praas_ring_tx tx[4];
	struct praas_ring_rx rx[4];
};

static int start_common(struct praas_contender *c, struct floor **ret_f)
{
	struct floor *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	f->shared = praas_floor_shared(sizeof *f->shared);
	if (!f->shared) {
		free(f);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < 4; i++) {
		struct lane *lane = &f->shared->lane[i];

		praas_ring_tx_init(&f->tx[i], lane->slot, &lane->tail, SLOTS);
		praas_ring_rx_init(&f->rx[i], lane->slot, &lane->tail, SLOTS);
	}
	c->data = f;
	*ret_f = f;
	return 0;
}

static void teardown(struct praas_contender *c)
{
	struct floor *f = c->data;

	if (!f)
		return;
	praas_floor_peer_stop(&f->peer);
	(void)munmap(f->shared, sizeof *f->shared);
	free(f);
	c->data = NULL;
}

static void echo_body(void *data, uint64_t n)
{
	struct floor *f = data;
	struct praas_desc d;

	while (n--) {
		praas_floor_pop(&f->rx[0], &d);
		(void)praas_ring_push(&f->tx[1], &d); /* never full: one at a time */
	}
}

static int setup(struct praas_contender *c)
{
	struct floor *f;
	int rc = start_common(c, &f);

	return rc ? rc
		  : praas_floor_peer_start(&f->peer, praas_options.cpu_server,
					   echo_body, f);
}

static int round_trip(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	struct praas_desc d = { { 0 } };
	int rc = praas_floor_peer_go(&f->peer, n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		d.word[0] = i;
		(void)praas_ring_push(&f->tx[0], &d); /* never full: one at a time */
		praas_floor_pop(&f->rx[1], &d);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return rc;
}

void praas_floor_ring(struct praas_contender *c, const char *bench, uint64_t size)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "ring",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "spin",
				       .size = size,
				       .n = 200000,
				       .setup = setup,
				       .round = round_trip,
				       .teardown = teardown };
}

/* ---- three parties ---- */

static void pop_yield(struct praas_ring_rx *rx, struct praas_desc *d)
{
	while (praas_ring_pop(rx, d) != 0)
		(void)sched_yield();
}

static void relay_body(void *data, uint64_t n)
{
	struct floor *f = data;
	struct praas_desc d;

	while (n--) {
		pop_yield(&f->rx[0], &d);
		(void)praas_ring_push(&f->tx[2], &d); /* never full: one at a time */
		pop_yield(&f->rx[3], &d);
		(void)praas_ring_push(&f->tx[1], &d); /* never full: one at a time */
	}
}

static void far_body(void *data, uint64_t n)
{
	struct floor *f = data;
	struct praas_desc d;

	while (n--) {
		pop_yield(&f->rx[2], &d);
		(void)praas_ring_push(&f->tx[3], &d); /* never full: one at a time */
	}
}

static int setup_3party(struct praas_contender *c)
{
	struct floor *f;
	int rc = start_common(c, &f);

	if (rc == 0)
		rc = praas_floor_peer_start(&f->peer, praas_options.cpu_server,
					    relay_body, f);
	if (rc == 0)
		rc = praas_floor_peer_start(&f->peer, praas_options.cpu_client,
					    far_body, f);
	return rc;
}

static int round_3party(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	struct praas_desc d = { { 0 } };
	int rc = praas_floor_peer_go(&f->peer, n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		(void)praas_ring_push(&f->tx[0], &d); /* never full: one at a time */
		pop_yield(&f->rx[1], &d);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return rc;
}

void praas_floor_ring_3party(struct praas_contender *c, const char *bench,
			     uint64_t size)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "ring-3party-yield",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "yield",
				       .size = size,
				       .n = 20000,
				       .setup = setup_3party,
				       .round = round_3party,
				       .teardown = teardown };
}

/* ---- stream: request out, reply back, 64 under way; time is per message ---- */

#define WINDOW 64u

static int round_stream(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	struct praas_desc d = { { 0 } };
	uint64_t sent = 0, got = 0, t0;
	int rc;

	n = (n + WINDOW - 1) / WINDOW * WINDOW;
	rc = praas_floor_peer_go(&f->peer, n);
	t0 = praas_perf_ticks();
	while (rc == 0 && got < n) {
		while (sent < n && sent - got < WINDOW &&
		       praas_ring_push(&f->tx[0], &d) == 0)
			sent++;
		while (praas_ring_pop(&f->rx[1], &d) == 0)
			got++;
	}
	/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a round has calls */
	praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0) * 1000u / n);
	return rc;
}

void praas_floor_ring_stream(struct praas_contender *c, const char *bench)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "ring",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "spin",
				       .size = 64,
				       .n = 1000000,
				       .scale = 0.001,
				       .setup = setup,
				       .round = round_stream,
				       .teardown = teardown };
}

/* ---- futex ---- */

static void futex_wait_for(_Atomic uint32_t *word, uint32_t want)
{
	uint32_t v;

	/* futex.A0, pairs with futex.R0: what the other side did before is visible. */
	while ((v = atomic_load_explicit(word, memory_order_acquire)) != want)
		(void)syscall(SYS_futex, word, FUTEX_WAIT, v, NULL, NULL,
			      0); /* looked at again */
}

static void futex_set(_Atomic uint32_t *word, uint32_t value)
{
	/* futex.R0, pairs with futex.A0: what we did before is visible with it. */
	atomic_store_explicit(word, value, memory_order_release);
	(void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL,
		      0); /* nobody waits: 0 */
}

static void futex_body(void *data, uint64_t n)
{
	struct floor *f = data;

	for (uint32_t i = 1; i <= n; i++) {
		futex_wait_for(&f->shared->futex[0], i);
		futex_set(&f->shared->futex[1], i);
	}
	atomic_store_explicit(&f->shared->futex[0], 0, memory_order_relaxed);
}

static int setup_futex(struct praas_contender *c)
{
	struct floor *f;
	int rc = start_common(c, &f);

	return rc ? rc
		  : praas_floor_peer_start(&f->peer, praas_options.cpu_server,
					   futex_body, f);
}

static int round_futex(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	int rc = praas_floor_peer_go(&f->peer, n);

	for (uint32_t i = 1; rc == 0 && i <= n; i++) {
		uint64_t t0 = praas_perf_ticks();

		futex_set(&f->shared->futex[0], i);
		futex_wait_for(&f->shared->futex[1], i);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	while (rc == 0 &&
	       atomic_load_explicit(&f->shared->futex[0], memory_order_relaxed))
		(void)sched_yield();
	atomic_store_explicit(&f->shared->futex[1], 0, memory_order_relaxed);
	return rc;
}

void praas_floor_futex(struct praas_contender *c, const char *bench, uint64_t size)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "futex",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "block",
				       .size = size,
				       .n = 5000,
				       .setup = setup_futex,
				       .round = round_futex,
				       .teardown = teardown };
}
