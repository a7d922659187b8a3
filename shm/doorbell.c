/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/doorbell.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Doorbells and the waiting policy. The times below come from measurements
 * (docs/rationale.md): a pause is 27 ns, a yield that finds nobody 0.6 µs, a wake-up of
 * the other core 50 µs. */

#define MEMBARRIER_GLOBAL_EXPEDITED (1 << 1)
#define MEMBARRIER_REGISTER_GLOBAL_EXPEDITED (1 << 2)

#define PAUSES_MAX 32u /* about 1 µs */
#define PAUSES_MIN 1u
#define HITS_MANY 4u /* waits that ended while pausing, to one that did not */
#define PROBE_MISSES 64u
#define PAUSES_BETWEEN_YIELDS 8u /* while nobody else wants the core */
#define SPIN_PAUSES                                                                    \
	256u /* mode SPIN: a yield every 7 µs to see whether we are alone             \
	      */
#define ALONE_NS_MAX 1000u
#define CROWDED_SLACK_NS 300u
#define YIELD_NS_MAX 2000000u
#define YIELD_NS_MIN                                                                   \
	50000u /* a wake-up costs that much: polling shorter saves nothing */
#define FENCED_SLEEP_NS 1000000 /* see praas_doorbell_sleep() */

bool praas_doorbell_fences = true;
static bool cores_short = true; /* one core, or not known yet */

static int membarrier(int cmd)
{
	return (int)syscall(__NR_membarrier, cmd, 0, 0);
}

static void setup(void)
{
	praas_doorbell_fences = membarrier(MEMBARRIER_REGISTER_GLOBAL_EXPEDITED) != 0 ||
				membarrier(MEMBARRIER_GLOBAL_EXPEDITED) != 0;
	/* Of the machine. How many we may run on says nothing: who is pinned to one core waits for
	 * partners on others. Where all of them share one, yields that take long tell it. */
	cores_short = sysconf(_SC_NPROCESSORS_ONLN) == 1;
}

int praas_doorbell_setup(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	return pthread_once(&once, setup); /* cannot fail with these arguments */
}

#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic ignored                                                         \
	"-Wtsan" /* it does not model the fence; nor do we ask it to */
#endif
void praas_doorbell_fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

void praas_bell_init(struct praas_bell *bell,
		     const struct praas_doorbell_shared *shared, int event_fd)
{
	struct stat st;

	*bell = (struct praas_bell){ .shared = shared, .event_fd = event_fd };
	bell->is_socket = fstat(event_fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

void praas_bell_wake(struct praas_bell *bell, uint32_t sleeping)
{
	const uint64_t one = 1;

	if (bell->rung == sleeping)
		return;
	bell->rung = sleeping;
	/* EAGAIN: it is readable already. ECONNRESET, EPIPE: the peer is gone, which
	 * others notice. Neither is ours to handle. */
	if (bell->is_socket)
		(void)send(bell->event_fd, &one, sizeof(one),
			   MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (write(bell->event_fd, &one, sizeof(one)) < 0)
		return;
}

/* Eat the rings. The descriptor may be shared with a hostile peer, who can read it
 * before us and change its flags: O_NONBLOCK alone does not keep us from waiting. */
static void drain(int fd)
{
	uint64_t rings;
	struct iovec iov = { .iov_base = &rings, .iov_len = sizeof(rings) };

	if (preadv2(fd, &iov, 1, -1, RWF_NOWAIT) < 0 &&
	    (errno == EOPNOTSUPP || errno == ENOSYS) && /* before Linux 5.8 */
	    read(fd, &rings, sizeof(rings)) < 0)
		return;
}

void praas_doorbell_announce(struct praas_doorbell *bell)
{
	/* Private to us: the low bit makes it never 0, the rest counts. A peer that
	 * rings an old number costs one look for nothing. */
	static _Atomic uint32_t sleeps;
	uint32_t n = atomic_fetch_add_explicit(&sleeps, 2, memory_order_relaxed) | 1u;

	/* doorbell.R0, pairs with doorbell.A0: the fence after it makes it visible
	 * before our last look at the rings. */
	atomic_store_explicit(&bell->shared->sleeping, n, memory_order_relaxed);
}

void praas_doorbell_fence_producers(void)
{
	/* The system call is a full fence for us; and for every running thread of a
	 * registered process (membarrier(2)). A thread that does not run had one when
	 * it was switched. */
	if (praas_doorbell_fences || membarrier(MEMBARRIER_GLOBAL_EXPEDITED) != 0)
		praas_doorbell_fence();
}

void praas_doorbell_prepare(struct praas_doorbell *bell)
{
	praas_doorbell_announce(bell);
	praas_doorbell_fence_producers();
}

void praas_doorbell_awake(struct praas_doorbell *bell)
{
	/* No order needed: who sees the old value rings for nothing. */
	atomic_store_explicit(&bell->shared->sleeping, 0, memory_order_relaxed);
}

static int wait_for(struct pollfd *fds, nfds_t count, int64_t timeout_ns)
{
	struct timespec ts = { .tv_sec = timeout_ns / 1000000000,
			       .tv_nsec = timeout_ns % 1000000000 };
	int n = ppoll(fds, count, timeout_ns < 0 ? NULL : &ts, NULL);

	if (n < 0)
		return errno == EINTR ? -EINTR : 0; /* ENOMEM: look again */
	return n > 0 ? 0 : -ETIMEDOUT;
}

int praas_doorbell_sleep(struct praas_doorbell *bell, const int *fds,
			 unsigned fds_count, int64_t timeout_ns)
{
	struct pollfd p[PRAAS_DOORBELL_FDS_MAX + 1];
	bool capped = false;
	int rc;

	praas_check(fds_count <= PRAAS_DOORBELL_FDS_MAX);
	/* Not announced, nobody rings: only a limit ends it. */
	praas_check(timeout_ns >= 0 || atomic_load_explicit(&bell->shared->sleeping,
							    memory_order_relaxed) != 0);
	/* We cannot fence the others, and a process that was allowed membarrier does
	 * not fence itself: never trust a ring alone, look now and then. */
	if (praas_doorbell_fences && (timeout_ns < 0 || timeout_ns > FENCED_SLEEP_NS)) {
		timeout_ns = FENCED_SLEEP_NS;
		capped = true;
	}
	p[0] = (struct pollfd){ .fd = bell->event_fd, .events = POLLIN };
	for (unsigned i = 0; i < fds_count; i++)
		p[i + 1] = (struct pollfd){ .fd = fds[i], .events = POLLIN };

	rc = wait_for(p, fds_count + 1, timeout_ns);
	if (rc == 0 && (p[0].revents & POLLIN) != 0)
		drain(bell->event_fd);
	return rc == -ETIMEDOUT && capped ? 0 : rc;
}

void praas_waiter_init(struct praas_waiter *w, enum praas_wait_mode mode)
{
	*w = (struct praas_waiter){ .mode = mode,
				    .pauses = PAUSES_MAX,
				    .alone_ns = ALONE_NS_MAX,
				    .yield_ns = YIELD_NS_MAX,
				    .crowded_ns = YIELD_NS_MAX };
	if (mode == PRAAS_WAIT_MODE_SPIN)
		w->pauses = SPIN_PAUSES;
	if (mode == PRAAS_WAIT_MODE_BLOCK || cores_short)
		w->pauses = 0;
}

/* A wait has gone on to yield. When somebody took the core, pausing is cut short, unless it
 * was the way that most waits ended: then the partner runs elsewhere, and the other wants the
 * core only now and then. Who is down to few pauses tries many of them once in a while, to see
 * whether the partner has moved: 2 us a PROBE_MISSES waits. */
static void learn_pauses(struct praas_waiter *w)
{
	w->misses++;
	if (!w->crowded)
		w->pauses += w->pauses < PAUSES_MAX;
	else if (w->misses % PROBE_MISSES == 0)
		w->pauses = PAUSES_MAX;
	else if (w->hits < HITS_MANY)
		w->pauses = w->pauses / 2 > PAUSES_MIN ? w->pauses / 2 : PAUSES_MIN;
}

/* What the wait that is over teaches. */
void praas_waiter_busy_slow(struct praas_waiter *w)
{
	uint64_t waited = (w->asleep ? praas_now_ns() : w->last_ns) - w->idle_since_ns;

	w->idle_since_ns = 0;
	if (w->asleep && waited > 2 * YIELD_NS_MAX)
		w->yield_ns = praas_max_u64(w->yield_ns / 2, YIELD_NS_MIN);
	else if (w->asleep) /* a little longer and we had not slept */
		w->yield_ns = praas_min_u64(praas_max_u64(w->yield_ns, waited) * 2,
					    YIELD_NS_MAX);
	w->asleep = false;
	if (w->mode != PRAAS_WAIT_MODE_ADAPTIVE || cores_short)
		return;
	learn_pauses(w);
	w->hits = 0;
}

/* Give the core away and note whether anybody took it. */
static void yield(struct praas_waiter *w)
{
	uint64_t start = praas_now_ns();
	uint64_t took;

	(void)sched_yield(); /* cannot fail on Linux */
	w->last_ns = praas_now_ns();
	took = w->last_ns - start;
	w->alone_ns = praas_min_u64(w->alone_ns, took);
	w->crowded = took > 2 * w->alone_ns + CROWDED_SLACK_NS;
	if (w->idle_since_ns == 0)
		w->idle_since_ns = start;
}

enum praas_wait_step praas_waiter_idle_slow(struct praas_waiter *w)
{
	uint64_t limit_ns;

	if (w->mode == PRAAS_WAIT_MODE_BLOCK) {
		w->sleeps++;
		return PRAAS_WAIT_SLEEP;
	}
	yield(w);
	if (w->mode == PRAAS_WAIT_MODE_SPIN) {
		/* The next stretch of pauses, unless the core is wanted by others. */
		w->idle = w->crowded ? w->pauses : 0;
		return PRAAS_WAIT_POLL;
	}
	limit_ns = w->crowded ? praas_min_u64(w->yield_ns, w->crowded_ns) : w->yield_ns;
	if (w->last_ns - w->idle_since_ns >= limit_ns) {
		w->asleep = true;
		w->sleeps++;
		return PRAAS_WAIT_SLEEP;
	}
	if (!w->crowded && w->pauses >= PAUSES_BETWEEN_YIELDS)
		w->idle = w->pauses - PAUSES_BETWEEN_YIELDS;
	return PRAAS_WAIT_POLL;
}
