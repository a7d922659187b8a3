/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/doorbell.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Doorbells of one thread, and the waiting policy with a clock that is made to pass.
 * The protocol between threads is in test_ring_stress.c and tests/model/doorbell.pml.
 */

#define MS 1000000

struct fixture {
	struct praas_doorbell_shared shared;
	struct praas_doorbell bell;
	struct praas_bell remote;
};

static int setup(void **state)
{
	struct fixture *f = aligned_alloc(64, sizeof(*f));

	if (!f)
		return -1;
	memset(f, 0, sizeof(*f));
	f->bell = (struct praas_doorbell){
		.shared = &f->shared, .event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
	};
	praas_bell_init(&f->remote, &f->shared, f->bell.event_fd);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)close(f->bell.event_fd);
	free(f);
	return 0;
}

static uint64_t rings(struct fixture *f)
{
	uint64_t count = 0;

	return read(f->bell.event_fd, &count, sizeof(count)) == sizeof(count) ? count
									      : 0;
}

/* Nobody is woken who is awake; a sleeper is woken once, and again in its next sleep.
 */
static void test_doorbell_rings_once_a_sleep(void **state)
{
	struct fixture *f = *state;

	praas_bell_ring(&f->remote);
	assert_int_equal(rings(f), 0);
	for (unsigned i = 0; i < 3; i++) {
		praas_doorbell_prepare(&f->bell);
		praas_bell_ring(&f->remote);
		praas_bell_ring(&f->remote);
		assert_int_equal(rings(f), 1);
		praas_doorbell_awake(&f->bell);
		praas_bell_ring(&f->remote);
		assert_int_equal(rings(f), 0);
	}
}

/* A ring before the sleep ends it at once; without one it lasts until its time. */
static void test_doorbell_sleep_ends_by_ring_or_time(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	praas_doorbell_prepare(&f->bell);
	praas_bell_ring(&f->remote);
	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, -1), 0);
	assert_int_equal(rings(f), 0); /* drained */
	praas_doorbell_awake(&f->bell);

	praas_doorbell_prepare(&f->bell);
	before = praas_now_ns();
	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, 0), -ETIMEDOUT);
	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, MS / 2), -ETIMEDOUT);
	assert_true(praas_now_ns() - before >= MS / 2);
	praas_doorbell_awake(&f->bell);
}

/* Without an announcement a sleep has a limit, or it is a mistake that ends the program. */
static void test_doorbell_sleep_unannounced_needs_a_limit(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, MS / 10), -ETIMEDOUT);
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGABRT, SIG_DFL);
		(void)close(STDERR_FILENO);
		(void)praas_doorbell_sleep(&f->bell, NULL, 0, -1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* As many descriptors as one sleep can watch. */
static void test_doorbell_sleep_watches_its_maximum(void **state)
{
	struct fixture *f = *state;
	int fds[PRAAS_DOORBELL_FDS_MAX];
	uint64_t one = 1;

	for (unsigned i = 0; i < PRAAS_DOORBELL_FDS_MAX; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK);
	praas_doorbell_prepare(&f->bell);
	assert_int_equal(
		praas_doorbell_sleep(&f->bell, fds, PRAAS_DOORBELL_FDS_MAX, MS),
		-ETIMEDOUT);
	assert_int_equal(write(fds[PRAAS_DOORBELL_FDS_MAX - 1], &one, sizeof(one)),
			 sizeof(one));
	assert_int_equal(
		praas_doorbell_sleep(&f->bell, fds, PRAAS_DOORBELL_FDS_MAX, 1000 * MS),
		0);
	praas_doorbell_awake(&f->bell);
	for (unsigned i = 0; i < PRAAS_DOORBELL_FDS_MAX; i++)
		(void)close(fds[i]);
}

/* Other descriptors end the sleep too and are left alone; negative ones are skipped. */
static void test_doorbell_sleep_watches_descriptors(void **state)
{
	struct fixture *f = *state;
	int fds[3] = { -1, eventfd(0, EFD_NONBLOCK), -1 };
	uint64_t one = 1;

	praas_doorbell_prepare(&f->bell);
	assert_int_equal(praas_doorbell_sleep(&f->bell, fds, 3, MS), -ETIMEDOUT);
	assert_int_equal(write(fds[1], &one, sizeof(one)), sizeof(one));
	assert_int_equal(praas_doorbell_sleep(&f->bell, fds, 3, -1), 0);
	assert_int_equal(read(fds[1], &one, sizeof(one)), sizeof(one));
	praas_doorbell_awake(&f->bell);
	(void)close(fds[1]);
}

/* Without membarrier no sleep is longer than a moment, and its end is no time-out. */
static void test_doorbell_sleep_is_short_without_membarrier(void **state)
{
	struct fixture *f = *state;
	bool fences = praas_doorbell_fences;

	praas_doorbell_fences = true;
	praas_doorbell_prepare(&f->bell);
	praas_bell_ring(&f->remote);
	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, -1), 0);
	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, -1), 0);
	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, 1000 * MS), 0);
	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, MS / 10), -ETIMEDOUT);
	praas_doorbell_awake(&f->bell);
	praas_doorbell_fences = fences;
}

/* A peer that shares the eventfd cannot make us wait in the drain: it made it blocking
 * and empty between our poll and our read (here: it is readable and blocking, and a
 * second read would wait). */
static void test_doorbell_drain_never_waits(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fcntl(f->bell.event_fd, F_SETFL, 0), 0);
	praas_doorbell_prepare(&f->bell);
	praas_bell_ring(&f->remote);
	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, MS), 0);
	assert_int_equal(praas_doorbell_sleep(&f->bell, NULL, 0, MS), -ETIMEDOUT);
	praas_doorbell_awake(&f->bell);
}

/* Through a socket pair: a full one, and one whose other end is gone, neither wait nor
 * kill. */
static void test_doorbell_wakes_through_a_socket(void **state)
{
	struct fixture *f = *state;
	int pair[2];
	struct praas_doorbell bell = { .shared = &f->shared };
	struct praas_bell remote;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair),
			 0);
	bell.event_fd = pair[0];
	praas_bell_init(&remote, &f->shared, pair[1]);
	assert_true(remote.is_socket);
	assert_false(f->remote.is_socket);
	praas_doorbell_prepare(&bell);
	praas_bell_ring(&remote);
	assert_int_equal(praas_doorbell_sleep(&bell, NULL, 0, -1), 0);
	praas_doorbell_awake(&bell);
	for (unsigned i = 0; i < 5000; i++) { /* far more than it holds */
		praas_doorbell_announce(&bell);
		praas_bell_ring(&remote);
	}
	(void)close(pair[0]);
	praas_doorbell_announce(&bell);
	praas_bell_ring(&remote);
	(void)close(pair[1]);

	/* A stream would raise SIGPIPE. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	praas_bell_init(&remote, &f->shared, pair[1]);
	(void)close(pair[0]);
	praas_doorbell_announce(&bell);
	praas_bell_ring(&remote);
	praas_doorbell_awake(&bell);
	(void)close(pair[1]);
}

/* A peer's word of any kind costs a system call at most. */
static void test_doorbell_hostile_word_only_rings(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 1; i <= 1000; i++) {
		atomic_store(&f->shared.sleeping, i * 2654435761u | 1u);
		praas_bell_ring(&f->remote);
	}
	assert_int_equal(rings(f), 1000);
}

/* ---- the waiting policy
 * --------------------------------------------------------------- */

/* Empty turns until it wants to sleep; as if it had polled for so long already. */
static unsigned turns_until_sleep(struct praas_waiter *w)
{
	unsigned turns = 1;

	while (praas_waiter_idle(w) != PRAAS_WAIT_SLEEP) {
		turns++;
		assert_true(turns < 100000000);
	}
	return turns;
}

/* BLOCK sleeps at once, SPIN never, ADAPTIVE after a while, and work starts it anew. */
static void test_waiter_modes(void **state)
{
	struct praas_waiter w;
	uint64_t start;

	(void)state;
	praas_waiter_init(&w, PRAAS_WAIT_MODE_BLOCK);
	assert_int_equal(praas_waiter_idle(&w), PRAAS_WAIT_SLEEP);
	praas_waiter_busy(&w);
	assert_int_equal(praas_waiter_idle(&w), PRAAS_WAIT_SLEEP);
	assert_int_equal(w.sleeps, 2);

	praas_waiter_init(&w, PRAAS_WAIT_MODE_SPIN);
	start = praas_now_ns();
	while (praas_now_ns() - start < 5 * MS)
		assert_int_equal(praas_waiter_idle(&w), PRAAS_WAIT_POLL);
	assert_int_equal(w.sleeps, 0);

	praas_waiter_init(&w, PRAAS_WAIT_MODE_ADAPTIVE);
	start = praas_now_ns();
	assert_true(turns_until_sleep(&w) > 1);
	assert_true(praas_now_ns() - start >= w.yield_ns);
	assert_int_equal(w.sleeps, 1);
	/* Woken for nothing: back to sleep. */
	assert_int_equal(praas_waiter_idle(&w), PRAAS_WAIT_SLEEP);
	praas_waiter_busy(&w);
	assert_int_equal(praas_waiter_idle(&w), PRAAS_WAIT_POLL);
}

/* As if the sleep that was wanted had lasted until now, and began ns ago. */
static void slept(struct praas_waiter *w, uint64_t ns)
{
	(void)turns_until_sleep(w);
	w->idle_since_ns = praas_now_ns() - ns;
	praas_waiter_busy(w);
}

/* Long sleeps shorten the polling before them, down to what a wake-up costs; a sleep
 * that ended soon lengthens it again, up to 2 ms. */
static void test_waiter_learns_how_long_to_poll(void **state)
{
	struct praas_waiter w;
	uint64_t first, least, last;

	(void)state;
	praas_waiter_init(&w, PRAAS_WAIT_MODE_ADAPTIVE);
	first = w.yield_ns;
	assert_int_equal(first, 2 * MS);
	for (unsigned i = 0; i < 20; i++) {
		last = w.yield_ns;
		slept(&w, 1000 * MS);
		assert_true(w.yield_ns <= last);
	}
	least = w.yield_ns;
	assert_int_equal(least, 50000);
	slept(&w, 300000);
	assert_true(w.yield_ns >= 300000);
	for (unsigned i = 0; i < 10; i++)
		slept(&w, 300000);
	assert_int_equal(w.yield_ns, first);
}

/* Who is told that another needs the core more sleeps sooner where it is taken, and only there. */
static void test_waiter_gives_way_where_it_is_crowded(void **state)
{
	struct praas_waiter w;
	uint64_t waited;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		praas_waiter_init(&w, PRAAS_WAIT_MODE_ADAPTIVE);
		w.crowded_ns = i == 0 ? 0 : UINT64_MAX;
		w.pauses = 0;
		w.alone_ns =
			0; /* a yield that takes more than 0.3 us gave the core away */
		while (praas_waiter_idle(&w) == PRAAS_WAIT_POLL)
			assert_true(i != 0 || !w.crowded);
		waited = w.last_ns - w.idle_since_ns;
		assert_true(waited >= w.yield_ns || (i == 0 && w.crowded));
	}
}

/* Where somebody else wants the core the pauses before a yield become few, else they
 * stay. */
static void test_waiter_learns_how_long_to_pause(void **state)
{
	struct praas_waiter w;
	uint32_t first;

	(void)state;
	praas_waiter_init(&w, PRAAS_WAIT_MODE_ADAPTIVE);
	first = w.pauses;
	for (unsigned i = 0; i < 10; i++) {
		w.idle_since_ns = w.last_ns = praas_now_ns();
		w.crowded = true;
		praas_waiter_busy(&w);
		assert_int_equal(w.idle, 0);
	}
	assert_true(w.pauses <= 1);
	for (unsigned i = 0; i < 100; i++) {
		w.idle_since_ns = w.last_ns = praas_now_ns();
		w.crowded = false;
		praas_waiter_busy(&w);
	}
	assert_int_equal(w.pauses, first);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_doorbell_rings_once_a_sleep),
		TEST(test_doorbell_sleep_ends_by_ring_or_time),
		TEST(test_doorbell_sleep_unannounced_needs_a_limit),
		TEST(test_doorbell_sleep_watches_its_maximum),
		TEST(test_doorbell_sleep_watches_descriptors),
		TEST(test_doorbell_sleep_is_short_without_membarrier),
		TEST(test_doorbell_drain_never_waits),
		TEST(test_doorbell_wakes_through_a_socket),
		TEST(test_doorbell_hostile_word_only_rings),
		cmocka_unit_test(test_waiter_modes),
		cmocka_unit_test(test_waiter_learns_how_long_to_poll),
		cmocka_unit_test(test_waiter_gives_way_where_it_is_crowded),
		cmocka_unit_test(test_waiter_learns_how_long_to_pause),
	};

	if (praas_doorbell_setup() != 0)
		return 1;
	return cmocka_run_group_tests_name("doorbell", tests, NULL, NULL);
}
