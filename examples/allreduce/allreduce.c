/* SPDX-License-Identifier: Apache-2.0
 *
 * All members of an application sum up a number that each of them has, and all know the sum.
 *
 *   praas invoke allreduce set -p ann -d 3
 *   praas invoke allreduce set -p bob -d 4
 *   praas invoke allreduce sum -p bob            # 7 of 2 members
 *
 * Who is asked for the sum looks who the members are, and has each take part: also those that rest, which are
 * woken. They hand on what they have along a tree, in as many steps as the number of members has
 * binary digits, and then the sum back. The list goes along with the call: so all have the same, though it
 * may change meanwhile.
 */
#include <praas/function.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS 3000000000 /* for another member, which may have been deleted */
#define MEMBERS_MAX 63u /* calls of one function that may be under way, and one less */

struct group {
	uint64_t round; /* names the messages of this sum */
	uint32_t count;
	uint32_t reserved;
	praas_pid_t members[MEMBERS_MAX];
};

/* Keeps the number of the input for this process. */
PRAAS_FUNCTION int set(struct praas_ctx *ctx)
{
	char text[32] = "";
	struct praas_msg in;
	int64_t value;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes >= sizeof(text))
		return praas_fail(ctx, 1, "a number, please");
	if (in.view.bytes != 0)
		memcpy(text, in.view.data, in.view.bytes);
	value = strtoll(text, NULL, 10);
	if (praas_state_put(ctx, "value", &value, sizeof(value)) != 0)
		return praas_fail(ctx, 2, "no memory for the number");
	return 0;
}

static int64_t own_value(struct praas_ctx *ctx)
{
	struct praas_view view;
	int64_t value = 0;

	if (praas_state_get(ctx, "value", &view, NULL) == 0 &&
	    view.bytes == sizeof(value))
		memcpy(&value, view.data, sizeof(value));
	return value;
}

static int send_number(struct praas_ctx *ctx, praas_pid_t to, const char *key,
		       int64_t value)
{
	return praas_send(ctx, to, key, &value, sizeof(value));
}

static int take_number(struct praas_ctx *ctx, praas_pid_t from, const char *key,
		       int64_t *ret_value)
{
	struct praas_msg msg;
	int rc = praas_recv(ctx, from, key, PATIENCE_NS, &msg);

	if (rc != 0)
		return rc == -EAGAIN ? -ETIMEDOUT : rc;
	if (msg.view.bytes == sizeof(*ret_value))
		memcpy(ret_value, msg.view.data, sizeof(*ret_value));
	else
		rc = -EINVAL;
	praas_release(ctx, &msg.view);
	return rc;
}

/* Of the member at that place: *value is its own, then the sum of all. */
static int all_reduce(struct praas_ctx *ctx, const struct group *g, uint32_t place,
		      int64_t *value)
{
	char up[32], down[32];
	uint32_t step = 1;
	int64_t other;
	int rc = 0;

	(void)snprintf(up, sizeof(up), "up/%" PRIx64, g->round);
	(void)snprintf(down, sizeof(down), "down/%" PRIx64, g->round);
	for (; rc == 0 && step < g->count && !(place & step); step *= 2) {
		if (place + step >= g->count)
			continue;
		rc = take_number(ctx, g->members[place + step], up, &other);
		if (rc == 0)
			*value += other;
	}
	if (rc == 0 && place != 0)
		rc = send_number(ctx, g->members[place - step], up, *value);
	if (rc == 0 && place != 0)
		rc = take_number(ctx, g->members[place - step], down, value);
	for (step /= 2; rc == 0 && step > 0; step /= 2)
		if (place + step < g->count)
			rc = send_number(ctx, g->members[place + step], down, *value);
	return rc;
}

/* One member's part in a sum; the result is the sum. */
PRAAS_FUNCTION int take_part(struct praas_ctx *ctx)
{
	int64_t value = own_value(ctx);
	struct group g;
	struct praas_msg in;
	uint32_t place = 0;
	void *out;
	int rc;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes != sizeof(g))
		return praas_fail(ctx, 1, "called by sum alone");
	memcpy(&g, in.view.data, sizeof(g));
	while (place < g.count && place < MEMBERS_MAX &&
	       g.members[place] != praas_info(ctx)->pid)
		place++;
	if (place >= g.count || g.count > MEMBERS_MAX)
		return praas_fail(ctx, 1, "not a member of that group");
	rc = all_reduce(ctx, &g, place, &value);
	if (rc != 0)
		return praas_fail(ctx, 2, strerror(-rc));
	if (praas_output(ctx, sizeof(value), &out) != 0)
		return praas_fail(ctx, 2, "no memory for the result");
	memcpy(out, &value, sizeof(value));
	return 0;
}

/* The members as they are now. Those that were killed or lost are woken as others are. */
static int find_group(struct praas_ctx *ctx, struct group *g)
{
	struct praas_member_info infos[MEMBERS_MAX];
	int rc = praas_members(ctx, infos, MEMBERS_MAX, &g->count, NULL);

	if (rc == 0 && g->count > MEMBERS_MAX)
		rc = -E2BIG;
	for (uint32_t i = 0; rc == 0 && i < g->count; i++)
		g->members[i] = infos[i].pid;
	return rc;
}

static int give_sum(struct praas_ctx *ctx, int64_t sum, uint32_t count)
{
	char text[64];
	int bytes =
		snprintf(text, sizeof(text), "%" PRId64 " of %u members\n", sum, count);
	void *out;

	if (praas_output(ctx, (size_t)bytes, &out) != 0)
		return praas_fail(ctx, 2, "no memory for the result");
	memcpy(out, text, (size_t)bytes);
	return 0;
}

/* Asked of any member. */
PRAAS_FUNCTION int sum(struct praas_ctx *ctx)
{
	struct group g = { .round = praas_info(ctx)->id };
	uint64_t calls[MEMBERS_MAX];
	int64_t result = 0, first = 0;
	int rc = find_group(ctx, &g), status = 0;

	for (uint32_t i = 0; rc == 0 && i < g.count; i++)
		rc = praas_invoke_async(ctx, g.members[i], "take_part", NULL, &g,
					sizeof(g), &calls[i]);
	for (uint32_t i = 0; rc == 0 && status == 0 && i < g.count; i++) {
		struct praas_view view;

		rc = praas_wait(ctx, calls[i], -1, &status, &view);
		if (rc == 0 && status == 0 && view.bytes == sizeof(result))
			memcpy(&result, view.data, sizeof(result));
		if (i == 0)
			first = result;
		if (rc == 0 && status == 0 && result != first)
			return praas_fail(ctx, 3, "members have another sum");
	}
	if (rc != 0)
		return praas_fail(ctx, 2, strerror(-rc));
	if (status != 0)
		return praas_fail(ctx, 2, "a member could not take part");
	return give_sum(ctx, result, g.count);
}
