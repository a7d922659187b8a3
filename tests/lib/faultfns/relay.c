/* SPDX-License-Identifier: Apache-2.0
 *
 * A function that calls one of another process, which may call on.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <praas/function.h>

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

/* "PID FUNCTION[/KEY] REST": has that process run the function with the rest, under the key, and gives what came of it;
 * nothing: gives "end". "first …": the same after a while; "later …": it does something else before it waits for it. */
PRAAS_FUNCTION int relay(struct praas_ctx *ctx)
{
	static const struct timespec while_ = { .tv_nsec = 200000000 };
	struct praas_view result;
	struct praas_msg in;
	char text[256] = "", *at = text, *function, *key, *rest;
	bool first, later;
	uint64_t pid, call;
	int status = 0, rc;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes >= sizeof(text))
		return 1;
	if (in.view.bytes != 0)
		memcpy(text, in.view.data, in.view.bytes);
	first = strncmp(text, "first ", 6) == 0;
	later = strncmp(text, "later ", 6) == 0;
	pid = strtoull(first || later ? at + 6 : at, &at, 10);
	if (pid == 0 || *at != ' ')
		return give(ctx, "end", 3);
	function = at + 1;
	rest = strchr(function, ' ');
	if (rest)
		*rest++ = '\0';
	key = strchr(function, '/');
	if (key)
		*key++ = '\0';
	if (first)
		(void)nanosleep(&while_, NULL);
	rc = praas_invoke_async(ctx, pid, function, key, rest, rest ? strlen(rest) : 0,
				&call);
	if (rc == 0 && later)
		(void)nanosleep(&while_, NULL);
	if (rc == 0)
		rc = praas_wait(ctx, call, -1, &status, &result);
	if (rc == -EDEADLK)
		return rc; /* the circle is the text */
	if (rc != 0)
		return praas_fail(ctx, 2, strerror(-rc));
	if (status != 0)
		return praas_fail(ctx, status > 0 ? status : 3,
				  result.bytes ? (const char *)result.data : "");
	return give(ctx, result.data, result.bytes);
}
