/* SPDX-License-Identifier: Apache-2.0
 *
 * Two ends of the reliable protocol in a test's hands, under a clock of its own.
 */
#ifndef PRAAS_TEST_ARQ_PAIR_H
#define PRAAS_TEST_ARQ_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "transport/arq_state.h"
#include "transport/memory.h"

#define SEGMENT 448u
#define ROOM (PRAAS_ARQ_BODY_MIN(SEGMENT) + 32)
#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

struct packet {
	uint64_t number;
	uint32_t bytes;
	uint8_t body[ROOM];
};

static struct praas_heap *heap;
static struct praas_arq *a, *b; /* a sends, b receives */
static uint64_t now_ns, sequence;

static inline int setup(void **state)
{
	struct praas_arq_config config = { .segment_bytes = SEGMENT };

	(void)state;
	assert_int_equal(praas_heap_new(NULL, &heap), 0);
	config.memory = praas_heap_memory(heap);
	now_ns = 5 * SECOND;
	sequence = 0;
	assert_int_equal(praas_arq_new(&config, now_ns, &a), 0);
	assert_int_equal(praas_arq_new(&config, now_ns, &b), 0);
	praas_arq_limit(a, 8u << 20);
	praas_arq_limit(b, 8u << 20);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	praas_arq_free(a);
	praas_arq_free(b);
	praas_heap_free(heap); /* checks that every buffer is back */
	return 0;
}

static inline struct praas_buf *new_frame(uint64_t bytes)
{
	const struct praas_memory *memory = praas_heap_memory(heap);
	struct praas_buf *buf;

	assert_int_equal(memory->alloc(memory->user, bytes, &buf), 0);
	sequence++;
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_SEND,
					  .id = sequence,
					  .sequence = sequence,
					  .bytes = bytes };
	memset(buf->data, (int)sequence, bytes);
	return buf;
}

static inline void push(uint64_t bytes)
{
	praas_arq_push(a, new_frame(bytes), now_ns);
}

static inline bool emit(struct praas_arq *from, struct packet *p)
{
	p->bytes = praas_arq_emit(from, now_ns, p->body, ROOM, &p->number);
	return p->bytes > 0;
}

static inline int give(struct praas_arq *to, const struct packet *p)
{
	struct praas_arq_packet in = { p->number, p->body, p->bytes };

	return praas_arq_input(to, &in, now_ns);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
