/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that start functions and wait for them. Each start is followed by a look, so that the
 * controller has it: the last one started would else run in place without its knowledge.
 */
#include <praas/function.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int give(struct praas_ctx *ctx, uint64_t number)
{
	void *out;

	if (praas_output(ctx, sizeof(number), &out) != 0)
		return praas_fail(ctx, 90, "no memory for the result");
	memcpy(out, &number, sizeof(number));
	return 0;
}

static uint64_t input_number(struct praas_ctx *ctx)
{
	struct praas_msg in;
	uint64_t n = 0;

	if (praas_input(ctx, 0, &in) == 0 && in.view.bytes == sizeof(n))
		memcpy(&n, in.view.data, sizeof(n));
	return n;
}

/* 0 and the number that it gave; the negative errno of start or wait; a status that is not 0. */
static int start_and_wait(struct praas_ctx *ctx, const char *name, const char *key,
			  uint64_t n, uint64_t *ret_n)
{
	struct praas_view view = { 0 };
	uint64_t call;
	int status = 0;
	int rc = praas_invoke_async(ctx, PRAAS_SELF, name, key, &n, sizeof(n), &call);

	if (rc == 0)
		rc = praas_wait(ctx, call, 0, &status, &view);
	if (rc == -EAGAIN)
		rc = praas_wait(ctx, call, -1, &status, &view);
	if (rc != 0 || status != 0)
		return rc ? rc : status;
	*ret_n = 0;
	if (view.bytes == sizeof(*ret_n))
		memcpy(ret_n, view.data, sizeof(*ret_n));
	praas_release(ctx, &view);
	return 0;
}

/* A tree of calls, two from each node; gives the number of nodes. */
PRAAS_FUNCTION int tree(struct praas_ctx *ctx)
{
	uint64_t depth = input_number(ctx), below = depth - 1, sum = 1, calls[2];

	for (int i = 0; depth != 0 && i < 2; i++)
		if (praas_invoke_async(ctx, PRAAS_SELF, "tree", NULL, &below,
				       sizeof(below), &calls[i]) != 0)
			return praas_fail(ctx, 91, "cannot start");
	for (int i = 0; depth != 0 && i < 2; i++) {
		struct praas_view view;
		uint64_t n;
		int status, rc = praas_wait(ctx, calls[i], -1, &status, &view);

		if (rc != 0 || status != 0 || view.bytes != sizeof(n))
			return praas_fail(ctx, 92, "a branch failed");
		memcpy(&n, view.data, sizeof(n));
		sum += n;
	}
	return give(ctx, sum);
}

/* A chain of calls; gives the number of those that ran. */
PRAAS_FUNCTION int chain(struct praas_ctx *ctx)
{
	uint64_t depth = input_number(ctx), n = 0;
	int rc = depth ? start_and_wait(ctx, "chain", NULL, depth - 1, &n) : 0;

	if (rc != 0 && rc != -EDEADLK)
		return praas_fail(ctx, 93, "the chain broke");
	return give(ctx, n + 1);
}

/* 0 when its own kind can be waited for; serial, that is never. */
PRAAS_FUNCTION int selfish(struct praas_ctx *ctx)
{
	uint64_t n = 0;

	if (input_number(ctx) != 0)
		return give(ctx, 7);
	return give(ctx, (uint64_t)-start_and_wait(ctx, "selfish", NULL, 1, &n));
}

/* Two serial functions that want each other. */
PRAAS_FUNCTION int left(struct praas_ctx *ctx)
{
	uint64_t n = 0;
	int rc = start_and_wait(ctx, "right", NULL, 0, &n);

	return rc < 0 ? give(ctx, (uint64_t)-rc) : give(ctx, n);
}

PRAAS_FUNCTION int right(struct praas_ctx *ctx)
{
	uint64_t n = 0;
	int rc = start_and_wait(ctx, "left", NULL, 0, &n);

	return rc < 0 ? give(ctx, (uint64_t)-rc) : give(ctx, n);
}

/* As a function that leaves it to its caller. */
PRAAS_FUNCTION int confused(struct praas_ctx *ctx)
{
	uint64_t n = 0;

	return start_and_wait(ctx, "confused", NULL, 0, &n);
}

/* A message from one that it has started. */
PRAAS_FUNCTION int hears(struct praas_ctx *ctx)
{
	struct praas_msg msg;
	uint64_t n = 0;
	int rc = praas_recv(ctx, PRAAS_ANY, "word", -1, &msg);

	if (rc != 0 || msg.view.bytes != sizeof(n))
		return praas_fail(ctx, 94, "nothing was heard");
	memcpy(&n, msg.view.data, sizeof(n));
	return give(ctx, n);
}

PRAAS_FUNCTION int tells(struct praas_ctx *ctx)
{
	uint64_t n = 77;

	return praas_send(ctx, PRAAS_SELF, "word", &n, sizeof(n)) == 0
		       ? 0
		       : praas_fail(ctx, 95, "cannot send");
}

PRAAS_FUNCTION int asks(struct praas_ctx *ctx)
{
	uint64_t call, other;

	if (praas_invoke_async(ctx, PRAAS_SELF, "tells", NULL, NULL, 0, &call) != 0 ||
	    praas_invoke_async(ctx, PRAAS_SELF, "tells", NULL, NULL, 0, &other) != 0)
		return praas_fail(ctx, 96, "cannot start");
	return hears(ctx);
}

PRAAS_FUNCTION int dies(struct praas_ctx *ctx)
{
	(void)ctx;
	abort();
}

PRAAS_FUNCTION int waits_for_death(struct praas_ctx *ctx)
{
	uint64_t n = 0;

	return start_and_wait(ctx, "dies", NULL, 0, &n) == PRAAS_CRASHED ? give(ctx, 1)
									 : 97;
}

/* Writes under the key of its call; fails when its input is not 0. */
PRAAS_FUNCTION int writes(struct praas_ctx *ctx)
{
	uint64_t fails = input_number(ctx);

	if (praas_state_put(ctx, praas_info(ctx)->key, "x", 1) != 0)
		return praas_fail(ctx, 98, "cannot write");
	return fails ? praas_fail(ctx, 5, "as asked") : 0;
}

/* Its own writes are lost, those of the one that succeeded stay. */
PRAAS_FUNCTION int loses(struct praas_ctx *ctx)
{
	uint64_t n = 0;

	if (praas_state_put(ctx, "mine", "x", 1) != 0 ||
	    start_and_wait(ctx, "writes", "good", 0, &n) != 0 ||
	    start_and_wait(ctx, "writes", "bad", 1, &n) != 5)
		return praas_fail(ctx, 99, "not as expected");
	return praas_fail(ctx, 6, "on purpose");
}

PRAAS_FUNCTION int has(struct praas_ctx *ctx)
{
	struct praas_view view;
	uint64_t bits = 0;

	bits |= praas_state_get(ctx, "mine", &view, NULL) == 0 ? 1 : 0;
	bits |= praas_state_get(ctx, "good", &view, NULL) == 0 ? 2 : 0;
	bits |= praas_state_get(ctx, "bad", &view, NULL) == 0 ? 4 : 0;
	return give(ctx, bits);
}

/* Results and messages that it holds stay what they were while others run on top. */
PRAAS_FUNCTION int keeps(struct praas_ctx *ctx)
{
	struct praas_view first = { 0 };
	struct praas_msg word;
	uint64_t call, n = 0, two = 2;
	int status = 0;

	if (tells(ctx) != 0 || praas_recv(ctx, PRAAS_ANY, "word", 0, &word) != 0 ||
	    praas_invoke_async(ctx, PRAAS_SELF, "tree", NULL, &two, sizeof(two),
			       &call) != 0 ||
	    praas_wait(ctx, call, 0, &status, &first) != -EAGAIN ||
	    praas_wait(ctx, call, -1, &status, &first) != 0 || status != 0)
		return praas_fail(ctx, 89, "cannot begin");
	for (int i = 0; i < 20; i++)
		if (start_and_wait(ctx, "tree", "key", 2, &n) != 0 || n != 7)
			return praas_fail(ctx, 88, "a tree failed");
	memcpy(&n, first.data, sizeof(n));
	memcpy(&two, word.view.data, sizeof(two));
	return give(ctx,
		    n == 7 && two == 77 && strcmp(praas_info(ctx)->key, "outer") == 0);
}

/* Until it is told to stop. */
PRAAS_FUNCTION int long_one(struct praas_ctx *ctx)
{
	while (!praas_cancelled(ctx))
		;
	return 0;
}

PRAAS_FUNCTION int waits_long(struct praas_ctx *ctx)
{
	uint64_t n = 0;

	(void)start_and_wait(ctx, "long_one", NULL, 0, &n);
	return praas_cancelled(ctx) ? 11 : 12;
}
