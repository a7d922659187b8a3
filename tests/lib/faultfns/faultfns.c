/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the end-to-end fault tests: some that do as they should, and one for each way in
 * which they may not.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
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

	if (rc != 0)
		return praas_fail(ctx, 9, strerror(-rc));
	if (bytes)
		memcpy(out, data, bytes);
	return 0;
}

/* The input, copied by the function. */
PRAAS_FUNCTION int echo(struct praas_ctx *ctx)
{
	struct praas_msg in;

	return praas_input(ctx, 0, &in) ? 1 : give(ctx, in.view.data, in.view.bytes);
}

/* The input, by reference. */
PRAAS_FUNCTION int pass(struct praas_ctx *ctx)
{
	struct praas_msg in;

	return praas_input(ctx, 0, &in) ? 1 : praas_output_view(ctx, &in.view);
}

/* Where the input and the result lie in this OS process, and what the input begins with. */
PRAAS_FUNCTION int where(struct praas_ctx *ctx)
{
	struct praas_msg in;
	uint64_t *out;
	void *data;

	if (praas_input(ctx, 0, &in) || praas_output(ctx, 3 * sizeof(*out), &data))
		return 1;
	out = data;
	out[0] = (uint64_t)(uintptr_t)in.view.data;
	out[1] = (uint64_t)(uintptr_t)out;
	out[2] = 0;
	memcpy(&out[2], in.view.data, in.view.bytes < 8 ? in.view.bytes : 8);
	return 0;
}

static int number(struct praas_ctx *ctx, const char *key, uint64_t *ret_n)
{
	struct praas_view view;
	int rc = praas_state_get(ctx, key, &view, NULL);

	*ret_n = 0;
	if (rc == 0)
		memcpy(ret_n, view.data, sizeof(*ret_n));
	return rc == -ENOENT ? 0 : rc;
}

/* The state named by the invocation's key, or "n", becomes one more: with compare-and-swap, so that
 * nothing is lost when several run. Gives the new value. */
PRAAS_FUNCTION int count(struct praas_ctx *ctx)
{
	const char *key = praas_info(ctx)->key[0] ? praas_info(ctx)->key : "n";

	for (;;) {
		struct praas_view view;
		uint64_t n = 0, version = 0;
		int rc = praas_state_get(ctx, key, &view, &version);

		if (rc == 0)
			memcpy(&n, view.data, sizeof(n));
		else if (rc != -ENOENT)
			return praas_fail(ctx, 1, strerror(-rc));
		n++;
		rc = praas_state_cas(ctx, key, version, &n, sizeof(n));
		if (rc == 0)
			rc = praas_state_commit(ctx);
		if (rc == 0)
			return give(ctx, &n, sizeof(n));
		if (rc != -ESTALE)
			return praas_fail(ctx, 2, strerror(-rc));
		if (praas_cancelled(ctx))
			return 3;
	}
}

struct appended {
	uint64_t id, epoch;
};

/* Puts the input's number and the epoch behind what the state object of the invocation's key has. Gives the
 * epoch. */
PRAAS_FUNCTION int append(struct praas_ctx *ctx)
{
	const char *key = praas_info(ctx)->key;
	uint64_t version = 0, epoch = praas_info(ctx)->epoch;
	struct praas_view old = { NULL, 0, 0 };
	struct appended *all;
	struct praas_msg in;
	int rc = praas_state_get(ctx, key, &old, &version);

	if (praas_input(ctx, 0, &in) || in.view.bytes != sizeof(all->id) ||
	    (rc != 0 && rc != -ENOENT))
		return praas_fail(ctx, 1, "cannot read");
	if (rc == -ENOENT)
		old.bytes = 0;
	all = malloc(old.bytes + sizeof(*all));
	if (!all)
		return praas_fail(ctx, 1, "no memory");
	if (old.bytes)
		memcpy(all, old.data, old.bytes);
	memcpy(&all[old.bytes / sizeof(*all)].id, in.view.data, sizeof(all->id));
	all[old.bytes / sizeof(*all)].epoch = epoch;
	rc = praas_state_cas(ctx, key, version, all, old.bytes + sizeof(*all));
	free(all);
	if (rc != 0)
		return praas_fail(ctx, 2, strerror(-rc));
	return give(ctx, &epoch, sizeof(epoch));
}

/* Writes the state "stored"; it is committed when the function has returned. */
PRAAS_FUNCTION int stores(struct praas_ctx *ctx)
{
	return praas_state_put(ctx, "stored", "value", 5) ? 1 : 0;
}

PRAAS_FUNCTION int total(struct praas_ctx *ctx)
{
	const char *key = praas_info(ctx)->key[0] ? praas_info(ctx)->key : "n";
	uint64_t n;

	return number(ctx, key, &n) ? 1 : give(ctx, &n, sizeof(n));
}

/* Takes as many ns as the input's first number says; gives the input back. */
PRAAS_FUNCTION int busy(struct praas_ctx *ctx)
{
	uint64_t ns, start = now_ns();
	struct praas_msg in;

	if (praas_input(ctx, 0, &in) || in.view.bytes < sizeof(ns))
		return 1;
	memcpy(&ns, in.view.data, sizeof(ns));
	while (now_ns() - start < ns)
		(void)usleep(100);
	return give(ctx, in.view.data, in.view.bytes);
}

/* A result of as many bytes as the input says. */
PRAAS_FUNCTION int large(struct praas_ctx *ctx)
{
	struct praas_msg in;
	uint64_t bytes;
	void *out;
	int rc;

	if (praas_input(ctx, 0, &in) || in.view.bytes < sizeof(bytes))
		return 1;
	memcpy(&bytes, in.view.data, sizeof(bytes));
	rc = praas_output(ctx, bytes, &out);
	if (rc != 0)
		return praas_fail(ctx, 9, strerror(-rc));
	memset(out, 1, bytes);
	return 0;
}

/* The same, and hands the refusal on. */
PRAAS_FUNCTION int too_large(struct praas_ctx *ctx)
{
	void *out;

	return praas_output(ctx, (size_t)1 << 40, &out);
}

/* Says that it runs, and runs until it is told that it may end: message "ended" for each. */
PRAAS_FUNCTION int until_told(struct praas_ctx *ctx)
{
	struct praas_msg msg;

	if (praas_send(ctx, PRAAS_SELF, "runs", "r", 1) != 0)
		return 1;
	return praas_recv(ctx, PRAAS_ANY, "ended", -1, &msg) == 0 ? 0 : 2;
}

/* ---- what goes wrong; each writes state first, which must not stay ---- */

static void spoil_state(struct praas_ctx *ctx)
{
	(void)praas_state_put(ctx, "n", "spoiled!", 8);
}

PRAAS_FUNCTION int crash(struct praas_ctx *ctx)
{
	volatile int *volatile nowhere = (volatile int *)(uintptr_t)16;

	spoil_state(ctx);
	*nowhere = 1;
	return 0;
}

PRAAS_FUNCTION int exits(struct praas_ctx *ctx)
{
	spoil_state(ctx);
	_exit(7);
}

/* As if the kernel had done it. */
PRAAS_FUNCTION int killed(struct praas_ctx *ctx)
{
	spoil_state(ctx);
	for (;;)
		(void)usleep(1000); /* the test sends the signal */
}

PRAAS_FUNCTION int hang(struct praas_ctx *ctx)
{
	spoil_state(ctx);
	for (;;)
		(void)usleep(1000);
}

/* More memory than there is, all of it written. */
PRAAS_FUNCTION int oom(struct praas_ctx *ctx)
{
	spoil_state(ctx);
	for (;;) {
		char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return praas_fail(
				ctx, 12, "no memory, as the limit without groups says");
		memset(p, 1, 1 << 20);
	}
}

/* Overwrites the ranges that the input names (address, bytes; a count before them), over and over,
 * for as many ns as the first number says, then returns as if nothing were. */
PRAAS_FUNCTION int scribble(struct praas_ctx *ctx)
{
	struct {
		uint64_t ns, mode, count, range[64][2];
	} plan = { 0 };
	uint64_t start = now_ns(), random = start | 1;
	struct praas_msg in;

	if (praas_input(ctx, 0, &in) || in.view.bytes > sizeof(plan))
		return 1;
	memcpy(&plan, in.view.data, in.view.bytes);
	spoil_state(ctx);
	do {
		for (uint64_t i = 0; i < plan.count && i < 64; i++) {
			uint64_t *p = (uint64_t *)(uintptr_t)
					      plan.range[i][0]; /* NOLINT: the point */

			for (uint64_t n = 0; n < plan.range[i][1] / 8; n++) {
				random ^= random << 13;
				random ^= random >> 7;
				random ^= random << 17;
				/* Noise, small numbers, zeros, ones: each finds other checks. */
				p[n] = plan.mode == 0   ? random
				       : plan.mode == 1 ? random % 1000
				       : plan.mode == 2 ? 0
							: ~(uint64_t)0;
			}
		}
	} while (now_ns() - start < plan.ns);
	return 0;
}

/* Leaves state for the end to commit, and makes the end name an invocation that is none. */
PRAAS_FUNCTION int mislabels(struct praas_ctx *ctx)
{
	struct praas_call_info *info =
		(struct praas_call_info *)(uintptr_t)praas_info(ctx);
	uint64_t n = 77;

	if (praas_state_put(ctx, "n", &n, sizeof(n)) != 0)
		return 1;
	info->id ^= 1;
	return 0;
}

/* Commits, then crashes. */
PRAAS_FUNCTION int commits(struct praas_ctx *ctx)
{
	uint64_t n = 78;

	if (praas_state_put(ctx, "n", &n, sizeof(n)) != 0 ||
	    praas_state_commit(ctx) != 0)
		return 1;
	return crash(ctx);
}

/* Says its input at the level of its first digit, and answers with its trace and parent span. */
PRAAS_FUNCTION int says(struct praas_ctx *ctx)
{
	const struct praas_call_info *info = praas_info(ctx);
	struct praas_msg in;
	char text[64] = "", *out;
	void *data;
	int at = 0;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes == 0 ||
	    in.view.bytes >= sizeof(text))
		return praas_fail(ctx, 1, "a digit and words, please");
	memcpy(text, in.view.data, in.view.bytes);
	praas_log(ctx, text[0] - '0', text + 1);
	if (praas_output(ctx, 56, &data) != 0)
		return praas_fail(ctx, 1, "no room for an answer");
	out = data;
	for (int i = 0; i < 16; i++)
		at += snprintf(out + at, 3, "%02x", info->trace_id[i]);
	out[at++] = '-';
	for (int i = 0; i < 8; i++)
		at += snprintf(out + at, 3, "%02x", info->span_id[i]);
	at += snprintf(out + at, 4, "-%02x", info->trace_flags);
	return praas_output_resize(ctx, (size_t)at, &data);
}

/* The same through another function of the process. */
PRAAS_FUNCTION int outer(struct praas_ctx *ctx)
{
	struct praas_view result;
	struct praas_msg in;
	int status;

	if (praas_input(ctx, 0, &in) != 0 ||
	    praas_invoke(ctx, PRAAS_SELF, "says", in.view.data, in.view.bytes, &status,
			 &result) != 0 ||
	    status != 0)
		return praas_fail(ctx, 1, "it says nothing");
	return praas_output_view(ctx, &result);
}

/* Sends its input to itself, as the message that its key names. */
PRAAS_FUNCTION int posts(struct praas_ctx *ctx)
{
	struct praas_msg in;

	if (praas_input(ctx, 0, &in) != 0)
		return 1;
	return -praas_send(ctx, PRAAS_SELF, praas_info(ctx)->key, in.view.data,
			   in.view.bytes);
}

/* Takes the message that its key names, and says it in the log. */
PRAAS_FUNCTION int takes(struct praas_ctx *ctx)
{
	struct praas_msg msg;
	char text[64] = "";

	if (praas_recv(ctx, PRAAS_ANY, praas_info(ctx)->key, 0, &msg) != 0 ||
	    msg.view.bytes >= sizeof(text))
		return praas_fail(ctx, 1, "no such message");
	memcpy(text, msg.view.data, msg.view.bytes);
	praas_log(ctx, 6, text);
	return -praas_output_view(ctx, &msg.view);
}

/* ---- between processes ------------------------------------------------------------------ */

/* The input as a text; false: there is no room for it. */
static bool input_text(struct praas_ctx *ctx, char *ret_text, size_t room)
{
	struct praas_msg in;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes >= room)
		return false;
	if (in.view.bytes != 0)
		memcpy(ret_text, in.view.data, in.view.bytes);
	ret_text[in.view.bytes] = '\0';
	return true;
}

/* "PID FIRST COUNT": so many numbered messages to that process, one after the other, as far as there is room for
 * them. Returns how many there were, in decimal. */
PRAAS_FUNCTION int send_many(struct praas_ctx *ctx)
{
	unsigned long long pid, first, count, sent = 0;
	char text[64], *rest;
	int rc = 0;

	if (!input_text(ctx, text, sizeof(text)))
		return 1;
	pid = strtoull(text, &rest, 10);
	first = strtoull(rest, &rest, 10);
	count = strtoull(rest, &rest, 10);
	while (rc == 0 && sent < count) {
		(void)snprintf(text, sizeof(text), "%llu", first + sent);
		rc = praas_send(ctx, pid, "k", text, strlen(text));
		sent += rc == 0;
	}
	if (rc != 0 && rc != -ENOBUFS)
		return praas_fail(ctx, 2, strerror(-rc));
	(void)snprintf(text, sizeof(text), "%llu", sent);
	return give(ctx, text, strlen(text));
}

/* "PID BYTES": one message of that size, of which each byte is 'x'. */
PRAAS_FUNCTION int send_large(struct praas_ctx *ctx)
{
	unsigned long long pid, bytes;
	char text[64], *rest;
	void *data;
	int rc;

	if (!input_text(ctx, text, sizeof(text)))
		return 1;
	pid = strtoull(text, &rest, 10);
	bytes = strtoull(rest, &rest, 10);
	rc = praas_buffer(ctx, bytes, &data);
	if (rc == 0) {
		memset(data, 'x', bytes);
		rc = praas_send(ctx, pid, "k", data, bytes);
	}
	return rc ? praas_fail(ctx, 2, strerror(-rc)) : 0;
}

#define LOG_MORE (1u << 20) /* that it may grow by at a time */
#define LOG_LINE 64u /* the longest line has 20 digits, a blank, 20 bytes and LF */

/* Takes all messages, as far as there is room for them, into the state "log", a line each: "SOURCE TEXT" (of a long
 * one its length). The input, if any, is how many milliseconds to wait for the first. */
PRAAS_FUNCTION int drain(struct praas_ctx *ctx)
{
	struct praas_view old = { .bytes = 0 };
	char *log;
	void *data;
	struct praas_msg in, msg;
	char text[16] = "";
	int64_t wait_ns;
	size_t at, room;

	if (praas_input(ctx, 0, &in) == 0 && in.view.bytes != 0 &&
	    in.view.bytes < sizeof(text))
		memcpy(text, in.view.data, in.view.bytes);
	wait_ns = INT64_C(1000000) * strtol(text, NULL, 10);
	if (praas_state_get(ctx, "log", &old, NULL) != 0)
		old.bytes = 0;
	at = old.bytes;
	room = at + LOG_MORE;
	if (praas_buffer(ctx, room, &data) != 0)
		return praas_fail(ctx, 3, "no memory for the log");
	log = data;
	if (at != 0)
		memcpy(log, old.data, at);
	while (room - at >= LOG_LINE &&
	       praas_recv(ctx, PRAAS_ANY, "k", wait_ns, &msg) == 0) {
		wait_ns = 0;
		if (msg.view.bytes > 20)
			at += (size_t)snprintf(log + at, room - at, "%llu #%zu\n",
					       (unsigned long long)msg.source,
					       msg.view.bytes);
		else
			at += (size_t)snprintf(log + at, room - at, "%llu %.*s\n",
					       (unsigned long long)msg.source,
					       (int)msg.view.bytes,
					       (const char *)msg.view.data);
		praas_release(ctx, &msg.view);
	}
	if (praas_state_put_flags(ctx, "log", log, at, PRAAS_COPY) != 0)
		return praas_fail(ctx, 3, "the log cannot be kept");
	return give(ctx, log, at);
}

/* "PID COUNT FUNCTION PAYLOAD": starts the function in that process so often, waits for each, and returns a line
 * each: "STATUS RESULT"; eight bytes as a number. */
PRAAS_FUNCTION int calls(struct praas_ctx *ctx)
{
	char text[128], out[4096], function[64] = "", *rest, *payload;
	uint64_t pid, count, count_of, call[32];
	size_t at = 0;
	int rc = 0;

	if (!input_text(ctx, text, sizeof(text)))
		return 1;
	pid = strtoull(text, &rest, 10);
	count = strtoull(rest, &rest, 10);
	payload = strchr(rest + 1, ' ');
	if (!payload || payload - rest > 60 || count > 32)
		return praas_fail(ctx, 1, "PID COUNT FUNCTION PAYLOAD");
	memcpy(function, rest + 1, (size_t)(payload - rest) - 1);
	for (uint64_t i = 0; rc == 0 && i < count; i++)
		rc = praas_invoke_async(ctx, pid, function, NULL, payload + 1,
					strlen(payload + 1), &call[i]);
	for (uint64_t i = 0; rc == 0 && i < count; i++) {
		struct praas_view result;
		int status;

		rc = praas_wait(ctx, call[i], -1, &status, &result);
		if (rc == 0 && result.bytes == sizeof(uint64_t)) {
			memcpy(&count_of, result.data, sizeof(count_of));
			at += (size_t)snprintf(out + at, sizeof(out) - at,
					       "%d %" PRIu64 "\n", status, count_of);
		} else if (rc == 0) {
			at += (size_t)snprintf(out + at, sizeof(out) - at, "%d %.*s\n",
					       status, (int)(result.bytes % 100),
					       result.bytes ? (const char *)result.data
							    : "");
		}
	}
	return rc ? praas_fail(ctx, 2, strerror(-rc)) : give(ctx, out, at);
}

/* The version of the list of members, then a line for each: number, name, state, epoch. */
PRAAS_FUNCTION int members(struct praas_ctx *ctx)
{
	static struct praas_member_info infos[2000];
	static char out[200000];
	uint64_t version;
	uint32_t count;
	int n, rc = praas_members(ctx, infos, 2000, &count, &version);

	if (rc != 0)
		return praas_fail(ctx, 2, strerror(-rc));
	n = snprintf(out, sizeof(out), "%" PRIu64 "\n", version);
	for (uint32_t i = 0; i < count && i < 2000; i++)
		n += snprintf(out + n, sizeof(out) - (size_t)n,
			      "%" PRIu64 " %s %u %u\n", infos[i].pid, infos[i].name,
			      infos[i].state, infos[i].epoch);
	return give(ctx, out, (size_t)n);
}

/* "VERSION MS": waits so long for another list than that; what came of it, and its version. */
PRAAS_FUNCTION int other_members(struct praas_ctx *ctx)
{
	char text[64], *rest;
	uint64_t version;
	int rc;

	if (!input_text(ctx, text, sizeof(text)))
		return 1;
	version = strtoull(text, &rest, 10);
	rc = praas_members_wait(ctx, version, strtoll(rest, NULL, 10) * 1000000,
				&version);
	(void)snprintf(text, sizeof(text), "%d %" PRIu64, rc, version);
	return give(ctx, text, strlen(text));
}

/* The number of the member of that name; or why it is not known. */
PRAAS_FUNCTION int knows(struct praas_ctx *ctx)
{
	praas_pid_t pid = 0;
	char text[80];
	int rc;

	if (!input_text(ctx, text, sizeof(text)))
		return 1;
	rc = praas_member(ctx, text, &pid);
	(void)snprintf(text, sizeof(text), "%lld", rc ? (long long)rc : (long long)pid);
	return give(ctx, text, strlen(text));
}
