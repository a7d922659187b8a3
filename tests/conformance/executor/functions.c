/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions that executors are tested with. Each says in a comment what it promises.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <praas/function.h>

/* Nothing in, nothing out. */
PRAAS_FUNCTION int noop(struct praas_ctx *ctx)
{
	(void)ctx;
	return 0;
}

/* The input, copied. */
PRAAS_FUNCTION int echo(struct praas_ctx *ctx)
{
	struct praas_msg in;
	void *out;
	int rc = praas_input(ctx, 0, &in);

	if (rc != 0)
		return -rc;
	rc = praas_output(ctx, in.view.bytes, &out);
	if (rc != 0)
		return -rc;
	if (in.view.bytes)
		memcpy(out, in.view.data, in.view.bytes);
	return 0;
}

/* The input, by view. */
PRAAS_FUNCTION int echo_view(struct praas_ctx *ctx)
{
	struct praas_msg in;

	(void)praas_input(ctx, 0, &in);
	return -praas_output_view(ctx, &in.view);
}

/* By the first byte of the input: a view of it as the result, and then another mind. */
PRAAS_FUNCTION int view_then(struct praas_ctx *ctx)
{
	struct praas_msg in;
	const char *text;
	void *out;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes < 2)
		return 1;
	text = in.view.data;
	if (praas_output_view(ctx, &in.view) != 0)
		return 2;
	switch (text[0]) {
	case 'f':
		return praas_fail(ctx, 9, "no view");
	case 'r': /* longer, and written to: the input stays what it is */
		if (praas_output_resize(ctx, in.view.bytes + 1, &out) != 0)
			return 3;
		((char *)out)[0] = '!';
		((char *)out)[in.view.bytes] = '.';
		return text[0] == 'r' ? 0 : 4;
	case 'o': /* a result of its own, of what is still there */
		if (praas_output(ctx, in.view.bytes - 1, &out) != 0)
			return 5;
		memcpy(out, text + 1, in.view.bytes - 1);
		return 0;
	default: /* the same twice, then a part */
		if (praas_output_view(ctx, &in.view) != 0)
			return 6;
		in.view.bytes--;
		return -praas_output_view(ctx, &in.view);
	}
}

/* The address of the input as this function sees it, and its first 8 bytes. */
PRAAS_FUNCTION int where(struct praas_ctx *ctx)
{
	struct praas_msg in;
	void *out;

	if (praas_input(ctx, 0, &in) != 0 ||
	    praas_output(ctx, sizeof(in.view.data), &out) != 0)
		return 1;
	memcpy(out, &in.view.data, sizeof(in.view.data));
	return 0;
}

/* Fails with its own code and text, after it has made a result. */
PRAAS_FUNCTION int fail(struct praas_ctx *ctx)
{
	void *out;

	(void)praas_output(ctx, 100, &out);
	return praas_fail(ctx, 42, "it does not please me");
}

/* Passes a negative errno on. */
PRAAS_FUNCTION int negative(struct praas_ctx *ctx)
{
	(void)ctx;
	return -EINVAL;
}

/* Writes 10 bytes, grows to 100000, shrinks to 12: "0123456789" and two more. */
PRAAS_FUNCTION int resize(struct praas_ctx *ctx)
{
	void *out;

	if (praas_output(ctx, 10, &out) != 0)
		return 1;
	memcpy(out, "0123456789", 10);
	if (praas_output_resize(ctx, 100000, &out) != 0)
		return 2;
	memset((char *)out + 10, '!', 99990);
	return praas_output_resize(ctx, 12, &out) ? 3 : 0;
}

/* More than any limit: the error is said, the function goes on. */
PRAAS_FUNCTION int too_large(struct praas_ctx *ctx)
{
	void *out;

	return praas_output(ctx, (size_t)1 << 60, &out) == -EMSGSIZE ? 0 : 1;
}

/* id, source, pid, epoch, inputs as text of fixed form; then function and key. */
PRAAS_FUNCTION int info(struct praas_ctx *ctx)
{
	const struct praas_call_info *i = praas_info(ctx);
	uint64_t n[5] = { i->id, i->source, i->pid, i->epoch, i->inputs };
	void *out;

	if (praas_output(ctx, sizeof(n) + 400, &out) != 0)
		return 1;
	memset(out, 0, sizeof(n) + 400);
	memcpy(out, n, sizeof(n));
	strcpy((char *)out + sizeof(n), i->function);
	strcpy((char *)out + sizeof(n) + 100, i->key);
	memcpy((char *)out + sizeof(n) + 368, i->trace_id, 16);
	memcpy((char *)out + sizeof(n) + 384, i->span_id, 8);
	return 0;
}

/* Calls the function that the input names ("name" or "name payload") in this process and
 * gives its result; its status becomes the code. */
PRAAS_FUNCTION int call(struct praas_ctx *ctx)
{
	struct praas_msg in;
	struct praas_view result;
	const char *payload;
	char name[64] = { 0 };
	size_t n;
	int status = 0;
	int rc;

	(void)praas_input(ctx, 0, &in);
	payload = memchr(in.view.data, ' ', in.view.bytes);
	n = payload ? (size_t)(payload - (const char *)in.view.data) : in.view.bytes;
	memcpy(name, in.view.data, n < 63 ? n : 63);
	rc = praas_invoke(ctx, PRAAS_SELF, name, payload ? payload + 1 : NULL,
			  payload ? in.view.bytes - n - 1 : 0, &status, &result);
	if (rc != 0)
		return -rc;
	if (praas_output_view(ctx, &result) != 0)
		return 2;
	praas_release(ctx, &result);
	return status < 0 ? 1000 : status;
}

/* Calls itself as often as the input's first byte says, adds one each time. */
PRAAS_FUNCTION int deep(struct praas_ctx *ctx)
{
	struct praas_msg in;
	struct praas_view result;
	uint8_t left;
	uint8_t *out;
	void *memory;
	int status = 0;
	int rc;

	(void)praas_input(ctx, 0, &in);
	left = *(const uint8_t *)in.view.data;
	if (praas_output(ctx, 1, &memory) != 0)
		return 1;
	out = memory;
	*out = 0;
	if (left == 0)
		return 0;
	left--;
	rc = praas_invoke(ctx, PRAAS_SELF, "deep", &left, 1, &status, &result);
	if (rc != 0)
		return praas_fail(ctx, -rc, "not that deep");
	if (status != 0)
		return status;
	*out = (uint8_t)(*(const uint8_t *)result.data + 1);
	return 0;
}

/* Starts two, then waits for both: their results, one behind the other. */
PRAAS_FUNCTION int forks(struct praas_ctx *ctx)
{
	struct praas_view parts[2];
	uint64_t calls[2];
	void *out;

	for (int i = 0; i < 2; i++)
		if (praas_invoke_async(ctx, PRAAS_SELF, "echo", NULL, i ? "two" : "one",
				       3, &calls[i]) != 0)
			return 1;
	for (int i = 0; i < 2; i++) {
		int status = 0;

		if (praas_wait(ctx, calls[i], -1, &status, &parts[i]) != 0 ||
		    status != 0)
			return 2;
	}
	if (praas_output(ctx, 6, &out) != 0)
		return 3;
	memcpy(out, parts[0].data, 3);
	memcpy((char *)out + 3, parts[1].data, 3);
	return 0;
}

/* All inputs, one after the other, a comma between them. */
PRAAS_FUNCTION int gather(struct praas_ctx *ctx)
{
	uint8_t *out;
	void *memory;
	size_t at = 0;

	if (praas_output(ctx, 4096, &memory) != 0)
		return 1;
	out = memory;
	for (uint32_t i = 0; i < praas_info(ctx)->inputs; i++) {
		struct praas_msg in;

		if (praas_input(ctx, i, &in) != 0 || at + in.view.bytes + 1 > 4096)
			return 2;
		if (i)
			out[at++] = ',';
		if (in.view.bytes)
			memcpy(out + at, in.view.data, in.view.bytes);
		at += in.view.bytes;
	}
	return praas_output_resize(ctx, at, &memory) ? 3 : 0;
}

/* 0 when there is no second input. */
PRAAS_FUNCTION int input_bounds(struct praas_ctx *ctx)
{
	struct praas_msg in;

	return praas_input(ctx, 1, &in) == -ENOENT ? 0 : 1;
}

/* ---- a script: one line of input an operation, one line of output its outcome ---- */

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
	    praas_send_flags(s->ctx, PRAAS_SELF, key, "x", 1, 2) != -EINVAL ||
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
	else if (strcmp(line, "send") == 0)
		say(s, praas_send(s->ctx, PRAAS_SELF, key, text, strlen(text)), NULL,
		    0);
	else if (strcmp(line, "sendto") == 0)
		say(s, praas_send(s->ctx, 12345, key, text, strlen(text)), NULL, 0);
	else if (strcmp(line, "recv") == 0)
		do_recv(s, key, text);
	else if (strcmp(line, "copies") == 0)
		say(s, copies(s, key), NULL, 0);
	else if (strcmp(line, "flags") == 0)
		say(s, other_flags(s, key), NULL, 0);
	else if (strcmp(line, "invoke") == 0)
		do_invoke(s, key, text);
	else if (strcmp(line, "member") == 0)
		do_member(s, key);
	else if (strcmp(line, "fail") == 0)
		*ret_code = 7;
	else
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
