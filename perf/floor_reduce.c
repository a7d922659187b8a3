/* SPDX-License-Identifier: Apache-2.0
 *
 * Floors of the reduction: a vector is copied in and added to a sum, by one core alone; or written by one core and
 * added by another, which is told and tells by the bare ring. The second does what no call between two processes
 * can do without.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "perf/bench.h"
#include "perf/clock.h"
#include "perf/floor_peer.h"
#include "shm/ring.h"

#define BYTES_MAX (1u << 20)
#define SLOTS 64u

/* Apart, so that the compiler knows that nothing else changes meanwhile. As functions/functions.c has it. */
static void add_vector(int64_t *restrict to, const int64_t *restrict from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] += from[i];
}

/* ---- one core ---- */

static int round_copy_add(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	static int64_t from[BYTES_MAX / 8], in[BYTES_MAX / 8], sum[BYTES_MAX / 8];

	for (uint64_t i = 0; i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		from[0] = (int64_t)i;
		memcpy(in, from, c->size);
		add_vector(sum, in, c->size / 8);
		__asm__ __volatile__("" : : "r"(sum) : "memory");
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return 0;
}

/* ---- two cores ---- */

struct shared {
	struct praas_ring_tail tail[2];
	struct praas_ring_slot slot[2][SLOTS]; /* there, back */
	_Alignas(4096) int64_t in[BYTES_MAX / 8];
};

struct floor {
	struct shared *shared;
	struct praas_floor_peer peer;
	struct praas_ring_tx tx[2];
	struct praas_ring_rx rx[2];
	int64_t *from, *sum; /* each of one side */
	uint64_t size;
};

static void add_body(void *data, uint64_t n)
{
	struct floor *f = data;
	struct praas_desc d;

	while (n--) {
		praas_floor_pop(&f->rx[0], &d);
		add_vector(f->sum, f->shared->in, f->size / 8);
		(void)praas_ring_push(&f->tx[1], &d); /* never full: one at a time */
	}
}

static void teardown(struct praas_contender *c)
{
	struct floor *f = c->data;

	if (!f)
		return;
	praas_floor_peer_stop(&f->peer);
	if (f->shared)
		(void)munmap(f->shared, sizeof *f->shared);
	free(f->from);
	free(f->sum);
	free(f);
	c->data = NULL;
}

static int setup(struct praas_contender *c)
{
	struct floor *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	c->data = f;
	f->size = c->size;
	f->shared = praas_floor_shared(sizeof *f->shared);
	f->from = calloc(1, BYTES_MAX);
	f->sum = calloc(1, BYTES_MAX);
	if (!f->shared || !f->from || !f->sum || c->size > BYTES_MAX)
		return -ENOMEM;
	for (unsigned i = 0; i < 2; i++) {
		praas_ring_tx_init(&f->tx[i], f->shared->slot[i], &f->shared->tail[i],
				   SLOTS);
		praas_ring_rx_init(&f->rx[i], f->shared->slot[i], &f->shared->tail[i],
				   SLOTS);
	}
	return praas_floor_peer_start(&f->peer, praas_options.cpu_server, add_body, f);
}

static int round_two_cores(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	struct praas_desc d = { { 0 } };
	int rc = praas_floor_peer_go(&f->peer, n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		memcpy(f->shared->in, f->from, f->size);
		d.word[0] = i;
		(void)praas_ring_push(&f->tx[0], &d); /* never full: one at a time */
		praas_floor_pop(&f->rx[1], &d);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return rc;
}

void praas_floor_reduce(struct praas_contender *c, uint64_t size, bool two_cores)
{
	*c = (struct praas_contender){
		.bench = "reduce",
		.variant = two_cores ? "copy-add-2cores" : "copy-add",
		.role = PRAAS_ROLE_FLOOR,
		.waits = "spin",
		.size = size,
		.n = size < 65536 ? 20000 : 1000,
		.setup = two_cores ? setup : NULL,
		.round = two_cores ? round_two_cores : round_copy_add,
		.teardown = two_cores ? teardown : NULL
	};
}
