/* SPDX-License-Identifier: Apache-2.0
 *
 * A reduction whose sum stays in the process: each call of add() brings a vector of
 * 64-bit integers, which is added to the accumulator in place, in the memory where it
 * lives. Nothing is read from or written to a store, and the accumulator is never
 * copied (paper, section 6.4).
 *
 *   praas invoke reduce add -d @vector.bin   # little-endian int64, always as many
 *   praas invoke reduce result > sum.bin
 *
 * The key of the invocation names the accumulator, so that one process can hold many.
 */
#include <praas/function.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>

static void accumulator_name(struct praas_ctx *ctx, char *ret_name, size_t bytes)
{
	(void)snprintf(ret_name, bytes, "sum/%s",
		       praas_info(ctx)->key); /* cut if long */
}

/* Unsigned, so that a sum that is too large wraps around instead of being undefined. */
static void add_vector(uint64_t *restrict sum, const uint64_t *restrict vector,
		       size_t count)
{
	for (size_t i = 0; i < count; i++)
		sum[i] += vector[i];
}

PRAAS_FUNCTION int add(struct praas_ctx *ctx)
{
	char name[PRAAS_KEY_MAX + 1];
	struct praas_msg in;
	struct praas_update update;
	int rc;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes == 0 ||
	    in.view.bytes % sizeof(uint64_t) != 0)
		return praas_fail(ctx, 1,
				  "the input must be a vector of 64-bit integers");
	accumulator_name(ctx, name, sizeof(name));
	/* Created as zeros by the first call. While we hold it, others' additions wait. */
	rc = praas_state_update_begin(ctx, name, in.view.bytes, -1, &update);
	if (rc == -ESTALE)
		return praas_fail(ctx, 2, "the vectors must all have the same length");
	if (rc == -EIO)
		return praas_fail(ctx, 3, "an addition was interrupted; reset the sum");
	if (rc != 0)
		return praas_fail(ctx, 4, "the accumulator cannot be had");
	add_vector(update.data, in.view.data, in.view.bytes / sizeof(uint64_t));
	if (praas_state_update_commit(ctx, &update) != 0)
		return praas_fail(ctx, 5, "the sum cannot be committed");
	return 0;
}

PRAAS_FUNCTION int result(struct praas_ctx *ctx)
{
	char name[PRAAS_KEY_MAX + 1];
	struct praas_view sum;

	accumulator_name(ctx, name, sizeof(name));
	if (praas_state_get(ctx, name, &sum, NULL) != 0)
		return praas_fail(ctx, 1, "nothing has been added yet");
	if (praas_output_view(ctx, &sum) != 0)
		return praas_fail(ctx, 2, "no memory for the result");
	return 0;
}

PRAAS_FUNCTION int reset(struct praas_ctx *ctx)
{
	char name[PRAAS_KEY_MAX + 1];
	int rc;

	accumulator_name(ctx, name, sizeof(name));
	rc = praas_state_delete(ctx, name);
	if (rc != 0 && rc != -ENOENT)
		return praas_fail(ctx, 1, "the sum cannot be deleted");
	return 0;
}
