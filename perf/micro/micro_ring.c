/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/micro/micro.h"
#include "shm/channel.h"
#include "shm/counters.h"

/* The ring and the channel, both ends in one thread. */

#define SLOTS 64u
#define BATCH 16u

static struct praas_ring_slot slot[SLOTS];
static struct praas_ring_tail tail;
static struct praas_ring_tx tx;
static struct praas_ring_rx rx;

static void start(void)
{
	praas_ring_tx_init(&tx, slot, &tail, SLOTS);
	praas_ring_rx_init(&rx, slot, &tail, SLOTS);
}

static void check(int rc)
{
	if (rc != 0)
		abort();
}

static void push_pop(uint64_t count)
{
	struct praas_desc d = { { 1 } };

	start();
	for (uint64_t i = 0; i < count; i++) {
		praas_micro_keep(&d);
		check(praas_ring_push(&tx, &d));
		check(praas_ring_pop(&rx, &d));
	}
}

static void pop_empty(uint64_t count)
{
	struct praas_desc d = { { 1 } };

	start();
	for (uint64_t i = 0; i < count; i++) {
		praas_micro_keep(&d);
		if (praas_ring_pop(&rx, &d) != -EAGAIN)
			abort();
	}
}

static void ready_empty(uint64_t count)
{
	start();
	for (uint64_t i = 0; i < count; i++) {
		praas_micro_keep(&rx);
		if (praas_ring_ready(&rx))
			abort();
	}
}

/* Per message. */
static void batch(uint64_t count)
{
	struct praas_desc d[BATCH] = { 0 };
	unsigned done;

	start();
	for (uint64_t i = 0; i < count; i += BATCH) {
		praas_micro_keep(d);
		check(praas_ring_push_batch(&tx, d, BATCH, &done));
		check(praas_ring_pop_batch(&rx, d, BATCH, &done));
	}
}

/* As a caller and a worker use it: push with a look at the doorbell, pop, return a buffer. */
static const struct praas_channel_geometry geometry = { 1, SLOTS, 0 };
static struct praas_segment segment[2];
static struct praas_channel channel[2];

static void start_channels(void)
{
	for (unsigned i = 0; i < 2; i++) {
		check(praas_segment_create("micro",
					   praas_channel_segment_bytes(&geometry), 1, 0,
					   &segment[i]));
	}
	check(praas_doorbell_setup());
	for (unsigned i = 0; i < 2; i++) {
		check(praas_channel_init(&channel[i], &segment[i], &geometry, 0,
					 &segment[1 - i], &geometry, 0, -1));
	}
}

static void channel_push_pop(uint64_t count)
{
	struct praas_desc d = { { 1 } };

	start_channels();
	for (uint64_t i = 0; i < count; i++) {
		praas_micro_keep(&d);
		check(praas_channel_push(&channel[0], &d));
		check(praas_ring_pop(&channel[1].rx, &d));
	}
}

static void channel_return(uint64_t count)
{
	uint64_t offset = 64;

	start_channels();
	for (uint64_t i = 0; i < count; i++) {
		check(praas_channel_return(&channel[0], offset));
		check(praas_channel_take_return(&channel[1], &offset));
	}
}

static void counter(uint64_t count)
{
	static _Atomic uint64_t value;
	struct praas_counter c = { .value = &value };

	for (uint64_t i = 0; i < count; i++) {
		praas_micro_keep(&value);
		praas_counter_count(c, 1);
	}
}

int main(int argc, char **argv)
{
	static const struct praas_micro table[] = {
		{ "push_pop", push_pop },
		{ "pop_empty", pop_empty },
		{ "ready_empty", ready_empty },
		{ "batch", batch },
		{ "channel_push_pop", channel_push_pop },
		{ "channel_return", channel_return },
		{ "counter", counter },
	};

	return praas_micro_main(argc, argv, table, sizeof(table) / sizeof(table[0]));
}
