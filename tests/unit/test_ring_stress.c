/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>

/* Built a second time for ThreadSanitizer with every order weakened: it must find the
 * races that the orders prevent (tests/shm.cmake). */
#ifdef PRAAS_TEST_WEAK
#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed
#endif

#include "shm/channel.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Two parties at full speed: threads that share one mapping (so that ThreadSanitizer
 * sees both sides of it), and processes that each map their own. The sender fills
 * buffers with plain stores and pushes; the receiver checks with plain loads and gives
 * back. Both sleep when they have nothing to do: a wake-up that is lost ends in a
 * time-out, which fails. */

#define SLOTS 16u
#define BUFFERS 24u /* more than slots: both kinds of full are met */
#define BUFFER_WORDS 8u
#define RUN_NS 150000000u
#define LOST_NS 10000000000
#define STOP UINT64_MAX

struct party {
	struct praas_segment mine, theirs;
	struct praas_channel channel;
	struct praas_doorbell bell;
	struct praas_waiter waiter;
	const char *failed; /* what went wrong, NULL: nothing */
	uint64_t done;
};

static const struct praas_channel_geometry geometry = { 1, SLOTS, 4096 };

/* The other side of each wait: at least one thing to look at. */
static bool something(const struct party *p)
{
	const struct praas_returns_rx *r = &p->channel.returns_rx;

	return praas_ring_ready(&p->channel.rx) ||
	       atomic_load_explicit(r->head, memory_order_relaxed) != r->next;
}

/* One turn without work. False: it slept and nobody woke it. */
static bool wait_a_turn(struct party *p)
{
	bool lost = false;

	if (praas_waiter_idle(&p->waiter) == PRAAS_WAIT_POLL) {
		(void)sched_yield(); /* there may be one core */
		return true;
	}
	praas_doorbell_prepare(&p->bell);
	if (!something(p))
		lost = praas_doorbell_sleep(&p->bell, NULL, 0, LOST_NS) == -ETIMEDOUT;
	praas_doorbell_awake(&p->bell);
	return !lost;
}

static uint64_t *buffer_at(const struct praas_segment *s, uint64_t offset)
{
	return (void *)(s->base + praas_channel_pool_offset(&geometry) + offset);
}

static void fill(const struct party *p, uint64_t offset, uint64_t n)
{
	for (unsigned i = 0; i < BUFFER_WORDS; i++)
		buffer_at(&p->mine, offset)[i] = n * 7 + i;
}

static const char *check(const struct party *p, const struct praas_desc *d, uint64_t n)
{
	if (d->word[0] != n || d->word[6] != ~n)
		return "descriptors out of order";
	for (unsigned i = 0; i < BUFFER_WORDS; i++) {
		if (buffer_at(&p->theirs, d->word[1])[i] != n * 7 + i)
			return "a buffer is not what was sent";
	}
	return NULL;
}

/* Send until the time is over, then STOP, then wait for all buffers. */
static void *send_all(void *arg)
{
	struct party *p = arg;
	uint64_t free_at[BUFFERS], offset, end = praas_now_ns() + RUN_NS;
	unsigned free_count = BUFFERS;
	bool stopped = false;
	int rc;

	for (unsigned i = 0; i < BUFFERS; i++)
		free_at[i] = i * BUFFER_WORDS * sizeof(uint64_t);
	for (;;) {
		struct praas_desc d = { { p->done, 0, 0, 0, 0, 0, ~p->done } };

		while (praas_channel_take_return(&p->channel, &offset) == 0)
			free_at[free_count++] = offset;
		if (stopped && free_count == BUFFERS)
			return NULL;
		if (free_count == 0 || stopped) {
			if (!wait_a_turn(p)) {
				p->failed = "the sender was not woken";
				return NULL;
			}
			continue;
		}
		praas_waiter_busy(&p->waiter);
		d.word[1] = free_at[free_count - 1];
		fill(p, d.word[1], p->done);
		if (praas_now_ns() > end)
			d.word[0] = STOP;
		rc = praas_channel_push(&p->channel, &d);
		if (rc == -EAGAIN) {
			(void)sched_yield();
			continue;
		}
		if (rc != 0) {
			p->failed = "push";
			return NULL;
		}
		stopped = d.word[0] == STOP;
		free_count--;
		p->done++;
	}
}

static void *receive_all(void *arg)
{
	struct party *p = arg;
	struct praas_desc d[5];
	unsigned count, want = 1;
	bool stopped = false;

	while (!stopped) {
		int rc =
			praas_ring_pop_batch(&p->channel.rx, d, 1 + want++ % 5, &count);

		if (rc == -EAGAIN && !wait_a_turn(p))
			p->failed = "the receiver was not woken";
		else if (rc != 0 && rc != -EAGAIN)
			p->failed = "pop";
		for (unsigned i = 0; i < count; i++) {
			praas_waiter_busy(&p->waiter);
			stopped = d[i].word[0] == STOP;
			if (!stopped && !p->failed)
				p->failed = check(p, &d[i], p->done);
			p->done++;
			/* As many entries as slots, and we hold no more buffers than
			 * BUFFERS. */
			while (praas_channel_return(&p->channel, d[i].word[1]) ==
			       -EAGAIN)
				(void)sched_yield();
			praas_bell_ring(&p->channel.bell);
		}
		if (p->failed)
			return NULL;
	}
	return NULL;
}

/* One descriptor to and fro: there is never a second one to make a lost wake-up good.
 * The pauses move the push over every moment of the other's falling asleep. */
static void *to_and_fro(void *arg)
{
	struct party *p = arg;
	bool first = p->done == 1; /* it begins and ends */
	uint64_t end = praas_now_ns() + RUN_NS;
	struct praas_desc d = { { 0 } };

	for (uint64_t n = 0; !p->failed; n++) {
		d.word[0] = first && praas_now_ns() > end ? STOP : n;
		if ((first || n > 0) && praas_channel_push(&p->channel, &d) != 0)
			p->failed = "push";
		if (first && d.word[0] == STOP)
			break;
		while (!p->failed && praas_ring_pop(&p->channel.rx, &d) != 0) {
			if (!wait_a_turn(p))
				p->failed = "a wake-up was lost";
		}
		if (d.word[0] == STOP)
			break;
		for (uint64_t i = 0; i < n % 97; i++)
			praas_pause();
		p->done++;
	}
	return NULL;
}

static void make_segment(struct praas_segment *s)
{
	uint64_t bytes = praas_channel_segment_bytes(&geometry);

	assert_int_equal(praas_segment_create("stress", bytes, 1, 0, s), 0);
	praas_channel_format(s, &geometry, 0);
}

static int start(struct party *p, int my_event, int peer_event,
		 enum praas_wait_mode mode)
{
	p->bell.shared = praas_channel_doorbell(&p->mine);
	p->bell.event_fd = my_event;
	praas_waiter_init(&p->waiter, mode);
	return praas_channel_init(&p->channel, &p->mine, &geometry, 0, &p->theirs,
				  &geometry, 0, peer_event);
}

static void run_threads(enum praas_wait_mode mode, void *(*one)(void *),
			void *(*other)(void *))
{
	static struct party a, b;
	pthread_t sender, receiver;
	int events[2] = { eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK) };

	a = b = (struct party){ .done = 0 };
	a.done = one == other; /* who begins */
	make_segment(&a.mine);
	make_segment(&b.mine);
	a.theirs = b.mine;
	b.theirs = a.mine;
	assert_int_equal(start(&a, events[0], events[1], mode), 0);
	assert_int_equal(start(&b, events[1], events[0], mode), 0);
	assert_int_equal(pthread_create(&sender, NULL, one, &a), 0);
	assert_int_equal(pthread_create(&receiver, NULL, other, &b), 0);
	(void)pthread_join(sender, NULL);
	(void)pthread_join(receiver, NULL);
	if (a.failed || b.failed)
		fail_msg("%s %s", a.failed ? a.failed : "", b.failed ? b.failed : "");
	assert_int_equal(a.done, one == other ? b.done + 1 : b.done);
	assert_true(a.done > 10);
	print_message("%llu messages, sleeps %llu and %llu\n",
		      (unsigned long long)a.done, (unsigned long long)a.waiter.sleeps,
		      (unsigned long long)b.waiter.sleeps);
	(void)close(events[0]);
	(void)close(events[1]);
	praas_segment_release(&a.mine);
	praas_segment_release(&b.mine);
}

static int reopen(const struct praas_segment *s, int fd, bool writable,
		  struct praas_segment *ret_segment)
{
	return praas_segment_attach(fd, s->bytes, 1, writable, ret_segment);
}

/* The child's life: nothing of the parent's mappings is there, only descriptors. */
static int receive_in_child(const struct praas_segment segment[2], const int fds[2],
			    const int events[2], enum praas_wait_mode mode)
{
	static struct party b;

	if (praas_doorbell_setup() != 0 ||
	    reopen(&segment[0], fds[0], false, &b.theirs) != 0 ||
	    reopen(&segment[1], fds[1], true, &b.mine) != 0)
		return 2;
	if (start(&b, events[1], events[0], mode) != 0)
		return 3;
	(void)receive_all(&b);
	return b.failed ? 4 : 0;
}

static void run_processes(enum praas_wait_mode mode)
{
	static struct party a;
	struct praas_segment segment[2];
	int events[2] = { eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK) };
	int fds[2], status, fd;
	pid_t pid;

	a = (struct party){ .done = 0 };
	make_segment(&segment[0]);
	make_segment(&segment[1]);
	assert_int_equal(praas_segment_read_only_fd(&segment[0], &fds[0]), 0);
	fds[1] = dup(segment[1].fd);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(receive_in_child(segment, fds, events, mode));
	a.mine = segment[0];
	assert_int_equal(praas_segment_read_only_fd(&segment[1], &fd), 0);
	assert_int_equal(reopen(&segment[1], fd, false, &a.theirs), 0);
	assert_int_equal(start(&a, events[0], events[1], mode), 0);
	(void)send_all(&a);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_null(a.failed);
	assert_int_equal(status, 0);
	assert_true(a.done > 10);
	print_message("%llu messages, sleeps of the sender %llu\n",
		      (unsigned long long)a.done, (unsigned long long)a.waiter.sleeps);
	for (unsigned i = 0; i < 2; i++) {
		(void)close(events[i]);
		(void)close(fds[i]);
	}
	praas_segment_release(&segment[0]);
	praas_segment_release(&segment[1]);
	praas_segment_release(&a.theirs);
}

/* Two threads, all three ways of waiting: every message and buffer arrives whole, in
 * order. */
static void test_stress_two_threads(void **state)
{
	(void)state;
	run_threads(PRAAS_WAIT_MODE_ADAPTIVE, send_all, receive_all);
	run_threads(PRAAS_WAIT_MODE_BLOCK, send_all, receive_all);
	run_threads(PRAAS_WAIT_MODE_SPIN, send_all, receive_all);
}

/* No wake-up is lost, whenever the push comes. */
static void test_stress_every_wake_arrives(void **state)
{
	(void)state;
	run_threads(PRAAS_WAIT_MODE_BLOCK, to_and_fro, to_and_fro);
}

/* A stream without membarrier: the producers fence themselves. */
static void test_stress_two_threads_with_fences(void **state)
{
	bool fences = praas_doorbell_fences;

	(void)state;
	praas_doorbell_fences = true;
	run_threads(PRAAS_WAIT_MODE_BLOCK, send_all, receive_all);
	praas_doorbell_fences = fences;
}

/* Two processes, each with its own map of both segments, the other's read-only. */
static void test_stress_two_processes(void **state)
{
	(void)state;
	run_processes(PRAAS_WAIT_MODE_ADAPTIVE);
	run_processes(PRAAS_WAIT_MODE_BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stress_two_threads),
		cmocka_unit_test(test_stress_every_wake_arrives),
		cmocka_unit_test(test_stress_two_threads_with_fences),
		cmocka_unit_test(test_stress_two_processes),
	};

	if (praas_doorbell_setup() != 0)
		return 1;
	return cmocka_run_group_tests_name("ring_stress", tests, NULL, NULL);
}
