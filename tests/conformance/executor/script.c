/* SPDX-License-Identifier: Apache-2.0
 *
 * A function that does what its input says: one line of input an operation, one line of output its
 * outcome.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <praas/function.h>

struct script {
	struct praas_ctx *ctx;
	char *out;
	size_t at;
};

#define SCRIPT_OUT 60000u

static void say(struct script *s, int rc, const void *data, size_t bytes)
{
	char number[32];
	int n = snprintf(number, sizeof(number), "%d%s", rc, bytes ? " " : "");

	if (n < 0 || s->at + (size_t)n + bytes + 1 > SCRIPT_OUT)
		return;
	memcpy(s->out + s->at, number, (size_t)n);
	s->at += (size_t)n;
	if (bytes)
		memcpy(s->out + s->at, data, bytes);
	s->at += bytes;
	s->out[s->at++] = '\n';
}

static void do_buffer_put(struct script *s, const char *key, const char *text)
{
	void *memory;
	int rc = praas_buffer(s->ctx, strlen(text), &memory);

	if (rc == 0) {
		memcpy(memory, text, strlen(text));
		rc = praas_state_put(s->ctx, key, memory, strlen(text));
	}
	say(s, rc, NULL, 0);
}

static void do_get(struct script *s, const char *key)
{
	struct praas_view view = { 0 };
	uint64_t version;
	int rc = praas_state_get(s->ctx, key, &view, &version);

	say(s, rc, view.data, rc == 0 ? view.bytes : 0);
}

/* A view that was given stays as it was, whatever is put after it. */
static void do_get_put_look(struct script *s, const char *key, const char *text)
{
	struct praas_view view = { 0 };
	int rc = praas_state_get(s->ctx, key, &view, NULL);

	if (rc == 0)
		rc = praas_state_put(s->ctx, key, text, strlen(text));
	if (rc == 0)
		rc = praas_state_commit(s->ctx);
	say(s, rc, view.data, rc == 0 ? view.bytes : 0);
}

static void do_version(struct script *s, const char *key)
{
	struct praas_view view;
	uint64_t version = 0;
	char number[24];
	int rc = praas_state_get(s->ctx, key, &view, &version);
	int n = snprintf(number, sizeof(number), "%llu", (unsigned long long)version);

	say(s, rc, number, rc == 0 ? (size_t)n : 0);
}

/* cas KEY TEXT: against the version that is there; casbad: against another one. */
static void do_cas(struct script *s, const char *key, const char *text, uint64_t wrong)
{
	struct praas_view view;
	uint64_t version = 0;

	(void)praas_state_get(s->ctx, key, &view, &version);
	say(s, praas_state_cas(s->ctx, key, version + wrong, text, strlen(text)), NULL,
	    0);
}

static void do_list(struct script *s, const char *prefix, const char *after)
{
	struct praas_state_info infos[8];
	uint32_t count = 0;
	int rc = praas_state_list(s->ctx, prefix, after, infos, 8, &count);

	say(s, rc ? rc : (int)count, NULL, 0);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		say(s, (int)infos[i].bytes, infos[i].key, strlen(infos[i].key));
}

/* What a listing tells of a key beside its size: the version that reads have, and when it was committed. */
static void do_listed(struct script *s, const char *key)
{
	struct praas_state_info info;
	struct praas_view view;
	struct timespec now;
	uint64_t version = 0;
	uint32_t count = 0;
	int rc = praas_state_list(s->ctx, key, NULL, &info, 1, &count);

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (rc == 0 && count == 1)
		rc = praas_state_get(s->ctx, key, &view, &version);
	if (rc == 0 && (count != 1 || info.version != version || version == 0))
		rc = -1;
	if (rc == 0 && (info.modified_ns / 1000000000u > (uint64_t)now.tv_sec + 1 ||
			info.modified_ns / 1000000000u + 60 < (uint64_t)now.tv_sec))
		rc = -2;
	say(s, rc, NULL, 0);
}

/* Adds one to a number in place; says what it is now. */
static void do_add(struct script *s, const char *key, const char *leave)
{
	struct praas_update update;
	char number[24];
	uint64_t *value;
	int rc = praas_state_update_begin(s->ctx, key, sizeof(*value), 1000000000,
					  &update);
	int n;

	if (rc != 0) {
		say(s, rc, NULL, 0);
		return;
	}
	value = update.data;
	++*value;
	n = snprintf(number, sizeof(number), "%llu", (unsigned long long)*value);
	rc = *leave ? 0 : praas_state_update_commit(s->ctx, &update);
	say(s, rc, number, (size_t)n);
}

static void do_recv(struct script *s, const char *key, const char *how)
{
	struct praas_msg msg = { .source = 0 };
	praas_pid_t source = *how == 's' ? PRAAS_SELF : PRAAS_ANY;
	int64_t timeout = *how == 'w' ? 1000000000 : 0;
	int rc = *how == 'p' ? praas_peek(s->ctx, source, key, &msg)
			     : praas_recv(s->ctx, source, key, timeout, &msg);

	say(s, rc, msg.view.data, rc == 0 ? msg.view.bytes : 0);
	if (rc == 0)
		praas_release(s->ctx, &msg.view);
}

/* Shared is the same memory each time, a copy another; what is built in a buffer and put or sent with
 * PRAAS_COPY stays the function's: written again, neither the object nor the message changes. */
static int copies(struct script *s, const char *key)
{
	struct praas_view one = { 0 }, two = { 0 }, copy = { 0 };
	struct praas_msg msg = { .source = 0 };
	struct praas_ctx *ctx = s->ctx;
	void *memory;

	if (praas_buffer(ctx, 5000, &memory) != 0)
		return 1;
	memset(memory, 'a', 5000);
	if (praas_state_put_flags(ctx, key, memory, 5000, PRAAS_COPY) != 0 ||
	    praas_send_flags(ctx, PRAAS_SELF, key, memory, 5000, PRAAS_COPY) != 0 ||
	    praas_state_commit(ctx) != 0)
		return 2;
	memset(memory, 'b', 5000);
	if (praas_state_get_flags(ctx, key, PRAAS_SHARE, &one, NULL) != 0 ||
	    praas_state_get(ctx, key, &two, NULL) != 0 ||
	    praas_state_get_flags(ctx, key, PRAAS_COPY, &copy, NULL) != 0)
		return 3;
	if (one.data != two.data || copy.data == one.data || one.data == memory)
		return 4;
	if (one.bytes != 5000 || copy.bytes != 5000 ||
	    memcmp(one.data, copy.data, 5000) != 0 || *(const char *)one.data != 'a')
		return 5;
	if (praas_recv_flags(ctx, PRAAS_SELF, key, 0, PRAAS_COPY, &msg) != 0 ||
	    msg.view.bytes != 5000 || memcmp(msg.view.data, one.data, 5000) != 0)
		return 6;
	praas_release(ctx, &msg.view);
	/* Given away for good this time, by reference, and without a copy. */
	if (praas_send(ctx, PRAAS_SELF, key, memory, 5000) != 0 ||
	    praas_recv_flags(ctx, PRAAS_SELF, key, 0, PRAAS_COPY, &msg) != 0 ||
	    msg.view.data == memory || *(const char *)msg.view.data != 'b')
		return 7;
	return 0;
}

/* A flag that is not known is refused by each of the four, and nothing happens. */
static int other_flags(struct script *s, const char *key)
{
	struct praas_msg msg = { .source = 0 };
	struct praas_view view = { 0 };

	if (praas_state_put_flags(s->ctx, key, "x", 1, 2) != -EINVAL ||
	    praas_send_flags(s->ctx, PRAAS_SELF, key, "x", 1, 4) != -EINVAL ||
	    praas_state_get_flags(s->ctx, key, 2, &view, NULL) != -EINVAL ||
	    praas_recv_flags(s->ctx, PRAAS_SELF, key, 0, 3, &msg) != -EINVAL)
		return 1;
	return praas_state_get(s->ctx, key, &view, NULL) == -ENOENT &&
			       praas_recv(s->ctx, PRAAS_SELF, key, 0, &msg) == -EAGAIN
		       ? 0
		       : 2;
}

static void do_invoke(struct script *s, const char *name, const char *text)
{
	struct praas_view view = { 0 };
	int status = 0;
	int rc = praas_invoke(s->ctx, PRAAS_SELF, name, text, strlen(text), &status,
			      &view);

	/* The text of an error ends with a zero. */
	say(s, rc ? rc : status, view.data, rc == 0 ? view.bytes - (status > 0) : 0);
	if (rc == 0)
		praas_release(s->ctx, &view);
}

static void do_member(struct script *s, const char *name)
{
	praas_pid_t pid = 0;
	int rc = praas_member(s->ctx, name, &pid);

	say(s, rc ? rc : (int)pid, NULL, 0);
}

/* All members, and whether there is another list than that of the version in how. */
static void do_members(struct script *s, const char *how)
{
	struct praas_member_info infos[8];
	uint64_t version = 0, now = 0;
	uint32_t count = 0;
	char text[512];
	size_t n = 0;
	int rc = praas_members(s->ctx, infos, 8, &count, &version);

	for (uint32_t i = 0; rc == 0 && i < count && i < 8; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s:%llu:%u:%u ",
				      infos[i].name, (unsigned long long)infos[i].pid,
				      infos[i].state, infos[i].epoch);
	if (rc == 0 && *how != '\0')
		rc = praas_members_wait(s->ctx, strtoull(how, NULL, 10), 0, &now);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "of %u, version %llu", count,
			      (unsigned long long)version);
	say(s, rc, text, n);
}

static void say_trace(struct script *s, int rc, const struct praas_trace_context *trace)
{
	char text[2 * sizeof(*trace) + 3];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(trace->trace_id); i++)
		n += (size_t)snprintf(text + n, 3, "%02x", trace->trace_id[i]);
	text[n++] = '-';
	for (size_t i = 0; i < sizeof(trace->span_id); i++)
		n += (size_t)snprintf(text + n, 3, "%02x", trace->span_id[i]);
	n += (size_t)snprintf(text + n, 4, "/%02x", trace->flags);
	say(s, rc, text, rc == 0 ? n : 0);
}

/* What this invocation was asked with. */
static void do_traced(struct script *s)
{
	const struct praas_call_info *info = praas_info(s->ctx);
	struct praas_trace_context trace;

	memcpy(trace.trace_id, info->trace_id, sizeof(trace.trace_id));
	memcpy(trace.span_id, info->span_id, sizeof(trace.span_id));
	trace.flags = info->trace_flags;
	say_trace(s, 0, &trace);
}

/* What a message was sent in; p: it stays. Of the one before that nothing is known any more. */
static void do_told(struct script *s, const char *key, const char *how)
{
	static struct praas_msg before;
	struct praas_trace_context trace;
	struct praas_msg msg = { .source = 0 };
	int rc = *how == 'p' ? praas_peek(s->ctx, PRAAS_ANY, key, &msg)
			     : praas_recv(s->ctx, PRAAS_ANY, key, 0, &msg);

	if (rc == 0)
		rc = praas_msg_trace(s->ctx, &msg, &trace);
	if (rc == 0 && before.sequence != msg.sequence &&
	    praas_msg_trace(s->ctx, &before, &trace) == 0)
		rc = -1;
	before = msg;
	say_trace(s, rc, &trace);
}

/* A line that is about messages; false: it is not. */
static int message_step(struct script *s, const char *line, const char *key,
			const char *text)
{
	if (strcmp(line, "send") == 0)
		say(s, praas_send(s->ctx, PRAAS_SELF, key, text, strlen(text)), NULL,
		    0);
	else if (strcmp(line, "sendto") == 0)
		say(s, praas_send(s->ctx, 12345, key, text, strlen(text)), NULL, 0);
	else if (strcmp(line, "recv") == 0)
		do_recv(s, key, text);
	else if (strcmp(line, "traced") == 0)
		do_traced(s);
	else if (strcmp(line, "told") == 0)
		do_told(s, key, text);
	else
		return 0;
	return 1;
}

/* One line; false: the script ends here with *ret_code. */
static int step(struct script *s, char *line, int *ret_code)
{
	char *key = strchr(line, ' ');
	char *text = key ? strchr(key + 1, ' ') : NULL;

	if (key)
		*key++ = '\0';
	else
		key = line + strlen(line);
	if (text)
		*text++ = '\0';
	else
		text = key + strlen(key);
	if (strcmp(line, "put") == 0)
		say(s, praas_state_put(s->ctx, key, text, strlen(text)), NULL, 0);
	else if (strcmp(line, "bput") == 0)
		do_buffer_put(s, key, text);
	else if (strcmp(line, "get") == 0)
		do_get(s, key);
	else if (strcmp(line, "getputlook") == 0)
		do_get_put_look(s, key, text);
	else if (strcmp(line, "version") == 0)
		do_version(s, key);
	else if (strcmp(line, "cas") == 0)
		do_cas(s, key, text, 0);
	else if (strcmp(line, "casbad") == 0)
		do_cas(s, key, text, 7);
	else if (strcmp(line, "del") == 0)
		say(s, praas_state_delete(s->ctx, key), NULL, 0);
	else if (strcmp(line, "list") == 0)
		do_list(s, key, text);
	else if (strcmp(line, "listed") == 0)
		do_listed(s, key);
	else if (strcmp(line, "commit") == 0)
		say(s, praas_state_commit(s->ctx), NULL, 0);
	else if (strcmp(line, "add") == 0)
		do_add(s, key, text);
	else if (strcmp(line, "copies") == 0)
		say(s, copies(s, key), NULL, 0);
	else if (strcmp(line, "flags") == 0)
		say(s, other_flags(s, key), NULL, 0);
	else if (strcmp(line, "invoke") == 0)
		do_invoke(s, key, text);
	else if (strcmp(line, "member") == 0)
		do_member(s, key);
	else if (strcmp(line, "members") == 0)
		do_members(s, key);
	else if (strcmp(line, "fail") == 0)
		*ret_code = 7;
	else if (!message_step(s, line, key, text))
		say(s, -999, line, strlen(line));
	return *ret_code == 0;
}

PRAAS_FUNCTION int script(struct praas_ctx *ctx)
{
	struct script s = { .ctx = ctx };
	struct praas_msg in;
	void *memory;
	char line[1024];
	size_t at = 0;
	int code = 0;

	if (praas_input(ctx, 0, &in) != 0 ||
	    praas_output(ctx, SCRIPT_OUT, &memory) != 0)
		return 1;
	s.out = memory;
	while (at < in.view.bytes) {
		const char *from = (const char *)in.view.data + at;
		const char *end = memchr(from, '\n', in.view.bytes - at);
		size_t n = end ? (size_t)(end - from) : in.view.bytes - at;

		if (n >= sizeof(line))
			return 2;
		memcpy(line, from, n);
		line[n] = '\0';
		at += n + 1;
		if (!step(&s, line, &code))
			return praas_fail(ctx, code, "as the script says");
	}
	return praas_output_resize(ctx, s.at, &memory) ? 3 : 0;
}
