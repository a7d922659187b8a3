/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions that executors are tested with. Each says in a comment what it promises.
 */
#include <errno.h>
#include <string.h>

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

/* Who sent each input. */
PRAAS_FUNCTION int senders(struct praas_ctx *ctx)
{
	uint64_t *out;
	void *memory;

	if (praas_output(ctx, praas_info(ctx)->inputs * sizeof(*out), &memory) != 0)
		return 1;
	out = memory;
	for (uint32_t i = 0; i < praas_info(ctx)->inputs; i++) {
		struct praas_msg in;

		if (praas_input(ctx, i, &in) != 0)
			return 2;
		out[i] = in.source;
	}
	return 0;
}

/* 0 when there is no second input. */
PRAAS_FUNCTION int input_bounds(struct praas_ctx *ctx)
{
	struct praas_msg in;

	return praas_input(ctx, 1, &in) == -ENOENT ? 0 : 1;
}
