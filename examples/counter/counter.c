/* SPDX-License-Identifier: Apache-2.0
 *
 * State that outlives a call, and a swap: counters, one for each key.
 *
 *   praas invoke counter add -k apples -d 3
 *   praas invoke counter get -k apples
 *
 * Several workers may add at the same time. Nobody's addition is lost, because the new
 * value is committed only if the version is still the one that was read; else we read
 * again.
 */
#include <praas/function.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS_MAX 1000

/* The name of the state object of the counter that the caller means. */
static void counter_name(struct praas_ctx *ctx, char *ret_name, size_t bytes)
{
	(void)snprintf(ret_name, bytes, "counter/%s",
		       praas_info(ctx)->key); /* cut if long */
}

/* The value now, and its version: 0 and 0 for a counter that does not exist yet. */
static int read_counter(struct praas_ctx *ctx, const char *name, int64_t *ret_value,
			uint64_t *ret_version)
{
	struct praas_view view;
	int rc = praas_state_get(ctx, name, &view, ret_version);

	*ret_value = 0;
	if (rc == -ENOENT) {
		*ret_version = 0;
		return 0;
	}
	if (rc == 0 && view.bytes == sizeof(*ret_value))
		memcpy(ret_value, view.data, sizeof(*ret_value));
	return rc;
}

static int give_number(struct praas_ctx *ctx, int64_t value)
{
	char text[24];
	int bytes = snprintf(text, sizeof(text), "%" PRId64, value);
	void *out;

	if (praas_output(ctx, (size_t)bytes, &out) != 0)
		return praas_fail(ctx, 2, "no memory for the result");
	memcpy(out, text, (size_t)bytes);
	return 0;
}

/* The input as a number; an empty input is 1. */
static int input_number(struct praas_ctx *ctx, int64_t *ret_number)
{
	struct praas_msg in;
	char text[24] = "1";
	char *end;

	if (praas_input(ctx, 0, &in) == 0 && in.view.bytes > 0) {
		if (in.view.bytes >= sizeof(text))
			return -EINVAL;
		memcpy(text, in.view.data, in.view.bytes);
		text[in.view.bytes] = '\0';
	}
	errno = 0;
	*ret_number = strtoll(text, &end, 10);
	return errno != 0 || end == text || (*end != '\0' && *end != '\n') ? -EINVAL
									   : 0;
}

PRAAS_FUNCTION int add(struct praas_ctx *ctx)
{
	char name[PRAAS_KEY_MAX + 1];
	int64_t step;
	int64_t value;
	uint64_t version;

	if (input_number(ctx, &step) != 0)
		return praas_fail(ctx, 1, "the input must be a whole number");
	counter_name(ctx, name, sizeof(name));
	for (int i = 0; i < ATTEMPTS_MAX && !praas_cancelled(ctx); i++) {
		int rc = read_counter(ctx, name, &value, &version);

		if (rc == 0 && __builtin_add_overflow(value, step, &value))
			return praas_fail(ctx, 3, "the counter would overflow");
		if (rc == 0)
			rc = praas_state_cas(ctx, name, version, &value, sizeof(value));
		if (rc == 0)
			rc = praas_state_commit(ctx);
		if (rc == 0)
			return give_number(ctx, value);
		if (rc != -ESTALE) /* -ESTALE: somebody else was quicker */
			return praas_fail(ctx, 2, "the state cannot be written");
	}
	return praas_fail(ctx, 4, "others change this counter all the time; try again");
}

PRAAS_FUNCTION int get(struct praas_ctx *ctx)
{
	char name[PRAAS_KEY_MAX + 1];
	int64_t value;
	uint64_t version;

	counter_name(ctx, name, sizeof(name));
	if (read_counter(ctx, name, &value, &version) != 0)
		return praas_fail(ctx, 2, "the state cannot be read");
	return give_number(ctx, value);
}
