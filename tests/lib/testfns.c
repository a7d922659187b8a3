/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that workers are tested with: what honest ones use, and what can go wrong.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <praas/function.h>

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int give(struct praas_ctx *ctx, const void *data, size_t bytes)
{
	void *out;
	int rc = praas_output(ctx, bytes, &out);

	if (rc == 0 && bytes)
		memcpy(out, data, bytes);
	return rc;
}

static int give_number(struct praas_ctx *ctx, uint64_t number)
{
	return give(ctx, &number, sizeof(number));
}

int busy(struct praas_ctx *ctx);

/* The input, copied. */
PRAAS_FUNCTION int echo(struct praas_ctx *ctx)
{
	struct praas_msg in;

	return praas_input(ctx, 0, &in) ? 1 : give(ctx, in.view.data, in.view.bytes);
}

/* The input, as it is. */
PRAAS_FUNCTION int pass(struct praas_ctx *ctx)
{
	struct praas_msg in;

	return praas_input(ctx, 0, &in) ? 1 : praas_output_view(ctx, &in.view);
}

/* Offset of the input in its page, and what is there: the buffer that was received into. */
PRAAS_FUNCTION int where(struct praas_ctx *ctx)
{
	struct praas_msg in;

	if (praas_input(ctx, 0, &in))
		return 1;
	return give_number(ctx, (uint64_t)(uintptr_t)in.view.data);
}

PRAAS_FUNCTION int crash(struct praas_ctx *ctx)
{
	volatile int *volatile nowhere = (volatile int *)(uintptr_t)16;

	(void)ctx;
	*nowhere = 1;
	return 0;
}

/* Crashes after as many ns as the input says. */
PRAAS_FUNCTION int crash_late(struct praas_ctx *ctx)
{
	(void)busy(ctx);
	return crash(ctx);
}

PRAAS_FUNCTION int aborts(struct praas_ctx *ctx)
{
	(void)ctx;
	abort();
}

PRAAS_FUNCTION int exits(struct praas_ctx *ctx)
{
	(void)ctx;
	_exit(7);
}

/* Never returns, whatever it is told. */
PRAAS_FUNCTION int hang(struct praas_ctx *ctx)
{
	(void)ctx;
	for (;;)
		(void)usleep(1000);
}

/* Returns when it is told to. */
PRAAS_FUNCTION int obedient(struct praas_ctx *ctx)
{
	while (!praas_cancelled(ctx))
		(void)usleep(100);
	return praas_fail(ctx, 5, "gave up as asked");
}

/* More memory than there is, all of it written. */
PRAAS_FUNCTION int oom(struct praas_ctx *ctx)
{
	(void)ctx;
	for (;;) {
		char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			raise(SIGKILL); /* as the limit without control groups ends */
		else
			memset(p, 1, 1 << 20);
	}
}

/* So many bytes as the input says, each the low byte of its place / 4096. */
PRAAS_FUNCTION int big(struct praas_ctx *ctx)
{
	struct praas_msg in;
	uint64_t bytes;
	void *out;
	int rc;

	if (praas_input(ctx, 0, &in) || in.view.bytes != sizeof(bytes))
		return 1;
	memcpy(&bytes, in.view.data, sizeof(bytes));
	rc = praas_output(ctx, bytes, &out);
	if (rc != 0)
		return praas_fail(ctx, 9, strerror(-rc));
	for (uint64_t i = 0; i < bytes; i += 4096)
		((uint8_t *)out)[i] = (uint8_t)(i / 4096);
	return 0;
}

PRAAS_FUNCTION int fails(struct praas_ctx *ctx)
{
	(void)praas_state_put(ctx, "failed", "x", 1);
	return praas_fail(ctx, 42, "no such luck");
}

/* State "n" becomes one more; returns the new value. */
PRAAS_FUNCTION int count(struct praas_ctx *ctx)
{
	struct praas_view view;
	uint64_t n = 0, version;
	int rc = praas_state_get(ctx, "n", &view, &version);

	if (rc == 0)
		memcpy(&n, view.data, sizeof(n));
	else if (rc != -ENOENT)
		return 1;
	n++;
	if (praas_state_put(ctx, "n", &n, sizeof(n)) != 0)
		return 2;
	/* Its own write is what it reads. */
	if (praas_state_get(ctx, "n", &view, &version) != 0 || version != 0 ||
	    memcmp(view.data, &n, sizeof(n)) != 0)
		return 3;
	return give_number(ctx, n);
}

/* Puts, crashes: nothing of it may stay. */
PRAAS_FUNCTION int put_crash(struct praas_ctx *ctx)
{
	(void)praas_state_put(ctx, "n", "12345678", 8);
	return crash(ctx);
}

/* Puts and commits explicitly, then fails: the commit stays. */
PRAAS_FUNCTION int put_commit(struct praas_ctx *ctx)
{
	void *data;

	/* Larger than what is copied: it stays in the arena. */
	if (praas_buffer(ctx, 100000, &data) != 0)
		return 1;
	memset(data, 'v', 100000);
	if (praas_state_put(ctx, "large", data, 100000) != 0)
		return 2;
	if (praas_state_commit(ctx) != 0)
		return 3;
	if (praas_state_cas(ctx, "large", 999, "x", 1) != 0 ||
	    praas_state_commit(ctx) != -ESTALE)
		return 4;
	return 42;
}

PRAAS_FUNCTION int cas_conflict(struct praas_ctx *ctx)
{
	return praas_state_cas(ctx, "n", 999, "x", 1);
}

/* Length and first byte of "large". */
PRAAS_FUNCTION int get_large(struct praas_ctx *ctx)
{
	struct praas_view view;
	uint64_t out[2];

	if (praas_state_get(ctx, "large", &view, NULL) != 0)
		return 1;
	out[0] = view.bytes;
	out[1] = *(const uint8_t *)view.data;
	return give(ctx, out, sizeof(out));
}

PRAAS_FUNCTION int list(struct praas_ctx *ctx)
{
	struct praas_state_info infos[4];
	uint32_t found = 0;

	if (praas_state_put(ctx, "list/b", "bb", 2) ||
	    praas_state_put(ctx, "list/a", "a", 1) ||
	    praas_state_put(ctx, "list/c", "ccc", 3) || praas_state_commit(ctx))
		return 1;
	if (praas_state_list(ctx, "list/", "list/a", infos, 4, &found) != 0)
		return 2;
	if (found != 2 || strcmp(infos[0].key, "list/b") != 0 || infos[1].bytes != 3)
		return 3;
	if (praas_state_delete(ctx, "list/a") ||
	    praas_state_delete(ctx, "list/none") != -ENOENT)
		return 4;
	return 0;
}

/* Adds 1 to each of 16 numbers in place; returns the first. */
PRAAS_FUNCTION int update(struct praas_ctx *ctx)
{
	struct praas_update u;
	uint64_t *n;
	int rc = praas_state_update_begin(ctx, "sum", 128, -1, &u);

	if (rc != 0)
		return praas_fail(ctx, 1, strerror(-rc));
	n = u.data;
	for (int i = 0; i < 16; i++)
		n[i]++;
	if (give_number(ctx, n[0]) != 0)
		return 2;
	return praas_state_update_commit(ctx, &u) == 0 &&
			       praas_state_update_commit(ctx, &u) == -EINVAL
		       ? 0
		       : 3;
}

/* As update(), and gives its core away in the middle. */
PRAAS_FUNCTION int busy_update(struct praas_ctx *ctx)
{
	struct praas_update u;
	uint64_t *n;

	if (praas_state_update_begin(ctx, "sum", 128, -1, &u) != 0)
		return 1;
	n = u.data;
	for (int i = 0; i < 16; i++) {
		uint64_t next = n[i] + 1;

		(void)sched_yield();
		n[i] = next;
	}
	return 0; /* the end commits it */
}

/* As update(), but 100 ms long or, with an input, 3 s; returns nothing. */
PRAAS_FUNCTION int slow_update(struct praas_ctx *ctx)
{
	struct timespec pause = { .tv_nsec = 100000000 / 16 };
	struct praas_update u;
	struct praas_msg in;
	uint64_t *n;

	if (praas_input(ctx, 0, &in) == 0 && in.view.bytes != 0)
		pause.tv_nsec = 3000000000 / 16;
	if (praas_state_update_begin(ctx, "sum", 128, -1, &u) != 0)
		return 1;
	n = u.data;
	for (int i = 0; i < 16; i++) {
		n[i]++;
		(void)nanosleep(&pause, NULL);
	}
	return 0; /* the end commits it */
}

PRAAS_FUNCTION int update_crash(struct praas_ctx *ctx)
{
	struct praas_update u;

	if (praas_state_update_begin(ctx, "sum", 128, -1, &u) == 0)
		memset(u.data, 0xff, 64);
	return crash(ctx);
}

/* A message to itself, by buffer; peeked, received, and gone. */
PRAAS_FUNCTION int mail(struct praas_ctx *ctx)
{
	struct praas_msg msg;
	void *data;

	if (praas_buffer(ctx, 20000, &data) != 0)
		return 1;
	memset(data, 'm', 20000);
	if (praas_send(ctx, PRAAS_SELF, "to/me", data, 20000) != 0 ||
	    praas_send(ctx, PRAAS_SELF, "to/me", "second", 6) != 0)
		return 2;
	if (praas_peek(ctx, PRAAS_ANY, "to/me", &msg) != 0 || msg.view.bytes != 20000)
		return 3;
	if (praas_recv(ctx, PRAAS_ANY, "to/me", 0, &msg) != 0 ||
	    msg.view.bytes != 20000 || *(const char *)msg.view.data != 'm' ||
	    msg.source != praas_info(ctx)->pid)
		return 4;
	praas_release(ctx, &msg.view);
	if (praas_recv(ctx, PRAAS_ANY, "to/me", -1, &msg) != 0 || msg.view.bytes != 6 ||
	    memcmp(msg.view.data, "second", 6) != 0)
		return 5;
	if (praas_recv(ctx, PRAAS_ANY, "to/me", 0, &msg) != -EAGAIN ||
	    praas_recv(ctx, PRAAS_ANY, "to/me", 1000000, &msg) != -EAGAIN)
		return 6;
	if (praas_send(ctx, PRAAS_CLIENT | 1, "to/me", "x", 1) != -ENOENT ||
	    praas_send(ctx, PRAAS_SELF, "", "x", 1) != -EINVAL)
		return 7;
	return 0;
}

/* Waits for a message that somebody else sends. */
/* Adds 1 to a counter and returns it; before that it does what the input says: nothing (empty),
 * 'w' waits for a message, 's' sleeps, 'c' crashes. */
PRAAS_FUNCTION int act(struct praas_ctx *ctx)
{
	const struct timespec pause = { .tv_nsec = 500000000 };
	struct praas_msg in, msg;
	char what;

	if (praas_input(ctx, 0, &in) != 0)
		return praas_fail(ctx, 1, "no input");
	what = in.view.bytes ? *(const char *)in.view.data : '-';
	if (what == 'w' && praas_recv(ctx, PRAAS_ANY, "go", -1, &msg) != 0)
		return praas_fail(ctx, 2, "no message");
	if (what == 's')
		(void)nanosleep(&pause, NULL);
	if (what == 'c')
		abort();
	return count(ctx);
}

/* Messages too large to be copied, one after the other: each is given back before the next. */
PRAAS_FUNCTION int mail_many(struct praas_ctx *ctx)
{
	enum { MESSAGES = 2000, BYTES = 10240 };

	for (uint32_t i = 0; i < MESSAGES; i++) {
		struct praas_msg msg;
		void *data;
		int rc = praas_buffer(ctx, BYTES, &data);

		if (rc == 0) {
			memset(data, (int)i, BYTES);
			rc = praas_send(ctx, PRAAS_SELF, "large", data, BYTES);
		}
		if (rc == 0)
			rc = praas_recv(ctx, PRAAS_ANY, "large", 0, &msg);
		if (rc != 0)
			return praas_fail(ctx, 100 - rc,
					  "a message got lost on the way");
		if (msg.view.bytes != BYTES ||
		    ((const uint8_t *)msg.view.data)[BYTES - 1] != (uint8_t)i)
			return praas_fail(ctx, 1, "another message");
		praas_release(ctx, &msg.view);
	}
	return 0;
}

PRAAS_FUNCTION int wait_mail(struct praas_ctx *ctx)
{
	struct praas_msg msg;
	int rc = praas_recv(ctx, PRAAS_ANY, "mail", -1, &msg);

	if (rc == -ECANCELED)
		return praas_fail(ctx, 8, "cancelled while it waited");
	return rc ? 1 : give(ctx, msg.view.data, msg.view.bytes);
}

/* Calls echo in place, then two through the controller at once, then one that fails. */
PRAAS_FUNCTION int nested(struct praas_ctx *ctx)
{
	struct praas_view view;
	uint64_t a, b;
	int status = -1;

	if (praas_invoke(ctx, PRAAS_SELF, "echo", "inner", 5, &status, &view) != 0 ||
	    status != 0 || view.bytes != 5 || memcmp(view.data, "inner", 5) != 0)
		return 1;
	praas_release(ctx, &view);
	if (praas_invoke_async(ctx, PRAAS_SELF, "echo", NULL, "first", 5, &a) != 0 ||
	    praas_invoke_async(ctx, PRAAS_SELF, "echo", "k", "second", 6, &b) != 0)
		return 2;
	if (praas_wait(ctx, b, -1, &status, &view) != 0 || status != 0 ||
	    view.bytes != 6)
		return 3;
	if (praas_wait(ctx, a, -1, &status, &view) != 0 || status != 0 ||
	    memcmp(view.data, "first", 5) != 0)
		return 4;
	if (praas_wait(ctx, a, 0, &status, &view) != -EINVAL)
		return 5;
	if (praas_invoke(ctx, PRAAS_SELF, "fails", NULL, 0, &status, &view) != 0 ||
	    status != 42 || strcmp(view.data, "no such luck") != 0)
		return 6;
	if (praas_invoke_async(ctx, PRAAS_SELF, "nothing", NULL, NULL, 0, &a) !=
	    -ENOENT)
		return 7;
	return 0;
}

PRAAS_FUNCTION int logs(struct praas_ctx *ctx)
{
	praas_log(ctx, 3, "a line of the log");
	return 0;
}

PRAAS_FUNCTION int member(struct praas_ctx *ctx)
{
	praas_pid_t pid = 0;

	if (praas_member(ctx, "nobody", &pid) != -ENOENT ||
	    praas_member(ctx, "peer", &pid) != 0)
		return 1;
	return give_number(ctx, pid);
}

/* Busy for as many ns as the input says. */
PRAAS_FUNCTION int busy(struct praas_ctx *ctx)
{
	struct praas_msg in;
	uint64_t ns = 0, start = now_ns();

	if (praas_input(ctx, 0, &in) == 0 && in.view.bytes == sizeof(ns))
		memcpy(&ns, in.view.data, sizeof(ns));
	while (now_ns() - start < ns)
		(void)usleep(100);
	return 0;
}

/* Takes all of the CPU that it gets for two seconds, and says how many ns that were. */
PRAAS_FUNCTION int burn(struct praas_ctx *ctx)
{
	uint64_t start = now_ns();
	struct timespec cpu;

	while (now_ns() - start < 2000000000u)
		; /* that is the point */
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	return give_number(ctx,
			   (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec);
}

/* Fills everything that this process can write with noise, but what its own code needs: the
 * shared mappings, found by trying. */
PRAAS_FUNCTION int scribble(struct praas_ctx *ctx)
{
	struct praas_msg in;
	uint8_t *at;
	void *out;

	if (praas_output(ctx, 4096, &out) != 0 || praas_input(ctx, 0, &in) != 0)
		return 1;
	/* The arena is a mapping between guard pages around this buffer. mincore says -ENOMEM
	 * where nothing is mapped; writing goes on until there. */
	at = (uint8_t *)((uintptr_t)out & ~(uintptr_t)4095);
	while (msync(at - 4096, 4096, MS_ASYNC) == 0 &&
	       mprotect(at - 4096, 4096, PROT_READ | PROT_WRITE) == 0)
		at -= 4096;
	for (uint64_t i = 0; msync(at, 4096, MS_ASYNC) == 0 && i < 4096;
	     i++, at += 4096)
		if (mprotect(at, 4096, PROT_READ | PROT_WRITE) == 0)
			memset(at, (int)(0x5a + i), 4096);
	return 0;
}
