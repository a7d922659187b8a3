/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/channel.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

/* Channels: two segments, each mapped read-only by the other side, as two processes
 * have them. */

#define SLOTS 8u

struct side {
	struct praas_channel_geometry geometry;
	struct praas_segment mine;   /* writable */
	struct praas_segment theirs; /* the other side's, read-only */
	struct praas_channel channel;
	int event_fd;
};

struct fixture {
	struct side a, b;
};

#define A_BLOCK 2u /* of a's segment: the block for b */
#define B_BLOCK 0u
/* docs/shm-layout.md: 512, returns of 8 bytes rounded up to 128, slots of 64 bytes. */
#define BLOCK_BYTES (512u + 128u + SLOTS * 64u)

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	if (!f)
		return -1;
	f->a.geometry = (struct praas_channel_geometry){ 5, SLOTS, 8192 };
	f->b.geometry = (struct praas_channel_geometry){ 1, SLOTS, 0 };
	for (struct side *s = &f->a; s; s = s == &f->a ? &f->b : NULL) {
		struct side *other = s == &f->a ? &f->b : &f->a;
		uint64_t bytes = praas_channel_segment_bytes(&s->geometry);

		if (praas_segment_create("channel", bytes, 1, 0, &s->mine) != 0 ||
		    praas_segment_read_only_fd(&s->mine, &fd) != 0 ||
		    praas_segment_attach(fd, bytes, 1, false, &other->theirs) != 0)
			return -1;
		s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		praas_channel_format(&s->mine, &s->geometry, 1);
	}
	if (praas_channel_init(&f->a.channel, &f->a.mine, &f->a.geometry, A_BLOCK,
			       &f->a.theirs, &f->b.geometry, B_BLOCK,
			       f->b.event_fd) != 0 ||
	    praas_channel_init(&f->b.channel, &f->b.mine, &f->b.geometry, B_BLOCK,
			       &f->b.theirs, &f->a.geometry, A_BLOCK,
			       f->a.event_fd) != 0)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (struct side *s = &f->a; s; s = s == &f->a ? &f->b : NULL) {
		praas_segment_release(&s->mine);
		praas_segment_release(&s->theirs);
		(void)close(s->event_fd);
	}
	free(f);
	return 0;
}

/* Descriptors go both ways, each side writing its own segment only (theirs is
 * read-only). */
static void test_channel_carries_both_ways(void **state)
{
	struct fixture *f = *state;
	struct praas_desc d = { { 1, 2, 3, 4, 5, 6, 7 } }, got;

	for (unsigned lap = 0; lap < 5 * SLOTS; lap++) {
		d.word[0] = lap;
		assert_int_equal(praas_channel_push(&f->a.channel, &d), 0);
		assert_int_equal(praas_ring_pop(&f->b.channel.rx, &got), 0);
		assert_memory_equal(&d, &got, sizeof(d));
		d.word[6] = ~d.word[0];
		assert_int_equal(praas_channel_push(&f->b.channel, &d), 0);
		assert_int_equal(praas_ring_pop(&f->a.channel.rx, &got), 0);
		assert_memory_equal(&d, &got, sizeof(d));
	}
}

/* Blocks do not overlap: filling all of one leaves the others as they were. */
static void test_channel_blocks_are_apart(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes = f->a.mine.bytes;
	uint64_t pool_at = praas_channel_pool_offset(&f->a.geometry);
	struct praas_channel_header header;
	uint8_t *before = malloc(bytes);
	struct praas_desc d = { { 0 } };
	uint64_t first = bytes, last = 0;

	assert_non_null(before);
	memcpy(before, f->a.mine.base, bytes);
	for (unsigned i = 0; i < SLOTS; i++) {
		memset(&d, 0xff, sizeof(d));
		assert_int_equal(praas_channel_push(&f->a.channel, &d), 0);
		assert_int_equal(praas_channel_return(&f->a.channel, 64 * i), 0);
	}
	for (uint64_t i = 0; i < bytes; i++) {
		if (before[i] == f->a.mine.base[i])
			continue;
		first = first < i ? first : i;
		last = i;
	}
	assert_true(first >= 4096 + A_BLOCK * BLOCK_BYTES);
	assert_true(last < 4096 + (A_BLOCK + 1) * BLOCK_BYTES);
	assert_true(pool_at >= 4096 + 5 * BLOCK_BYTES);
	memcpy(&header, f->a.mine.base, sizeof(header));
	assert_int_equal(header.magic, PRAAS_CHANNEL_MAGIC);
	assert_int_equal(header.blocks, 5);
	assert_int_equal(header.pool_offset, pool_at);
	free(before);
}

/* Each part lies where docs/shm-layout.md says. */
static void test_channel_parts_are_where_the_page_says(void **state)
{
	struct fixture *f = *state;
	const struct praas_channel *ch = &f->a.channel;
	const uint8_t *ours = f->a.mine.base + 4096 + A_BLOCK * BLOCK_BYTES;
	const uint8_t *theirs = f->a.theirs.base + 4096;

	assert_ptr_equal(ch->rx.tail, ours);
	assert_ptr_equal(ch->returns_rx.tail, ours + 128);
	assert_ptr_equal(praas_channel_log_tail(&f->a.mine, &f->a.geometry, A_BLOCK),
			 ours + 256);
	assert_ptr_equal(ch->returns_tx.head, ours + 384);
	assert_ptr_equal(ch->returns_tx.slot, ours + 512);
	assert_ptr_equal(ch->tx.slot, ours + 512 + 128);
	assert_ptr_equal(ch->tx.tail, theirs);
	assert_ptr_equal(ch->returns_tx.tail, theirs + 128);
	assert_ptr_equal(ch->returns_rx.head, theirs + 384);
	assert_ptr_equal(ch->returns_rx.slot, theirs + 512);
	assert_ptr_equal(ch->rx.slot, theirs + 512 + 128);
	assert_ptr_equal(ch->bell.shared, f->a.theirs.base + 64);
}

/* Buffers given back arrive in order, as many as the ring has slots, then again. */
static void test_channel_returns_buffers(void **state)
{
	struct fixture *f = *state;
	uint64_t offset;

	assert_int_equal(praas_channel_take_return(&f->b.channel, &offset), -EAGAIN);
	for (unsigned lap = 0; lap < 3; lap++) {
		for (uint64_t i = 0; i < SLOTS; i++)
			assert_int_equal(praas_channel_return(&f->a.channel, i * 64),
					 0);
		assert_int_equal(praas_channel_return(&f->a.channel, 1), -EAGAIN);
		for (uint64_t i = 0; i < SLOTS; i++) {
			assert_int_equal(
				praas_channel_take_return(&f->b.channel, &offset), 0);
			assert_int_equal(offset, i * 64);
		}
		assert_int_equal(praas_channel_take_return(&f->b.channel, &offset),
				 -EAGAIN);
	}
}

/* A count of returns that cannot be, an entry never written, a position that cannot be.
 */
static void test_channel_hostile_returns_are_refused(void **state)
{
	struct fixture *f = *state;
	_Atomic uint64_t *head = f->a.channel.returns_tx.head;
	struct praas_ring_tail *tail = f->b.channel.returns_rx.tail;
	uint64_t offset = 5;

	atomic_store(head, SLOTS + 1);
	assert_int_equal(praas_channel_take_return(&f->b.channel, &offset), -EPROTO);
	atomic_store(head, UINT64_MAX);
	assert_int_equal(praas_channel_take_return(&f->b.channel, &offset), -EPROTO);
	atomic_store(head, 1); /* counted, but there is none */
	assert_int_equal(praas_channel_take_return(&f->b.channel, &offset), -EPROTO);
	assert_int_equal(offset, 5);
	atomic_store(head, 0);
	assert_int_equal(praas_channel_return(&f->a.channel, 64), 0);
	assert_int_equal(praas_channel_take_return(&f->b.channel, &offset), 0);
	atomic_store(head, 0); /* back */
	assert_int_equal(praas_channel_take_return(&f->b.channel, &offset), -EPROTO);
	atomic_store(head, 1);

	for (uint64_t i = 0; i < SLOTS; i++)
		assert_int_equal(praas_channel_return(&f->a.channel, i), 0);
	atomic_store(head,
		     1 + SLOTS + 1); /* more than there are, and none of them empty */
	assert_int_equal(praas_channel_take_return(&f->b.channel, &offset), -EPROTO);
	atomic_store(head, 1 + SLOTS);
	atomic_store(&tail->read, SLOTS + 2);
	assert_int_equal(praas_channel_return(&f->a.channel, 0), -EPROTO);
	atomic_store(&tail->read, 0); /* back */
	assert_int_equal(praas_channel_return(&f->a.channel, 0), -EPROTO);
	atomic_store(&tail->read, 1);
	assert_int_equal(praas_channel_return(&f->a.channel, 0), -EAGAIN);
}

static bool rings(int event_fd)
{
	struct pollfd p = { .fd = event_fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* A push wakes who sleeps, once a sleep, and costs nobody a system call otherwise. */
static void test_channel_push_wakes_a_sleeper(void **state)
{
	struct fixture *f = *state;
	struct praas_doorbell bell = { .shared = praas_channel_doorbell(&f->b.mine),
				       .event_fd = f->b.event_fd };
	struct praas_desc d = { { 0 } };
	uint64_t count;

	assert_int_equal(praas_channel_push(&f->a.channel, &d), 0);
	assert_false(rings(f->b.event_fd));
	for (unsigned sleep = 0; sleep < 2; sleep++) {
		praas_doorbell_prepare(&bell);
		assert_int_equal(praas_channel_push(&f->a.channel, &d), 0);
		assert_int_equal(praas_channel_push(&f->a.channel, &d), 0);
		assert_int_equal(read(f->b.event_fd, &count, sizeof(count)),
				 sizeof(count));
		assert_int_equal(count, 1);
		praas_doorbell_awake(&bell);
		assert_int_equal(praas_channel_push(&f->a.channel, &d), 0);
		assert_false(rings(f->b.event_fd));
	}
}

/* Numbers that a peer may say are checked one by one. */
static void test_channel_geometry_is_checked(void **state)
{
	const struct praas_channel_geometry good[] = { { 1, 4, 0 },
						       { 64, 65536, 1ull << 46 } };
	const struct praas_channel_geometry bad[] = {
		{ 0, 8, 0 },          { 65, 8, 0 },  { UINT32_MAX, 8, 0 },
		{ 1, 2, 0 },          { 1, 0, 0 },   { 1, 12, 0 },
		{ 1, 131072, 0 },     { 1, 8, 100 }, { 1, 8, (1ull << 46) + 4096 },
		{ 1, 8, UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(praas_channel_geometry_check(&good[i]), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(praas_channel_geometry_check(&bad[i]), -EINVAL);
}

/* Segments and blocks that do not fit what was agreed make no channel. */
static void test_channel_init_refuses_what_does_not_fit(void **state)
{
	struct fixture *f = *state;
	struct side *a = &f->a, *b = &f->b;
	struct praas_channel_geometry g;
	struct praas_channel ch;

	assert_int_equal(praas_channel_init(&ch, &a->mine, &a->geometry, 5, &a->theirs,
					    &b->geometry, 0, -1),
			 -EINVAL);
	assert_int_equal(praas_channel_init(&ch, &a->mine, &a->geometry, 0, &a->theirs,
					    &b->geometry, 1, -1),
			 -EINVAL);
	g = a->geometry;
	g.blocks = 64; /* more than the segment has */
	assert_int_equal(praas_channel_init(&ch, &a->mine, &g, 0, &a->theirs,
					    &b->geometry, 0, -1),
			 -EINVAL);
	g = b->geometry;
	g.pool_bytes = 1ull << 30;
	assert_int_equal(praas_channel_init(&ch, &a->mine, &a->geometry, 0, &a->theirs,
					    &g, 0, -1),
			 -EINVAL);
	g = b->geometry;
	g.ring_slots = 4; /* not what we have */
	assert_int_equal(praas_channel_init(&ch, &a->mine, &a->geometry, 0, &a->theirs,
					    &g, 0, -1),
			 -EINVAL);
	g.ring_slots = 7;
	assert_int_equal(praas_channel_init(&ch, &a->mine, &a->geometry, 0, &a->theirs,
					    &g, 0, -1),
			 -EINVAL);
	/* Ours must be ours to write. */
	assert_int_equal(praas_channel_init(&ch, &a->theirs, &b->geometry, 0,
					    &a->theirs, &b->geometry, 0, -1),
			 -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_channel_carries_both_ways),
		TEST(test_channel_blocks_are_apart),
		TEST(test_channel_parts_are_where_the_page_says),
		TEST(test_channel_returns_buffers),
		TEST(test_channel_hostile_returns_are_refused),
		TEST(test_channel_push_wakes_a_sleeper),
		TEST(test_channel_init_refuses_what_does_not_fit),
		cmocka_unit_test(test_channel_geometry_is_checked),
	};

	if (praas_doorbell_setup() != 0)
		return 1;
	return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
