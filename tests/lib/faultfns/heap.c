/* SPDX-License-Identifier: Apache-2.0
 *
 * A lot of state: written, read back and checked, updated in place, removed. The input is numbers as text.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <praas/function.h>

#define KEY_BYTES 32u

struct wish {
	unsigned long first, count, bytes, seed;
};

static int read_wish(struct praas_ctx *ctx, struct wish *ret_wish)
{
	struct praas_msg in;
	char text[128];

	*ret_wish = (struct wish){ 0 };
	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes >= sizeof(text))
		return -EINVAL;
	memcpy(text, in.view.data, in.view.bytes);
	text[in.view.bytes] = '\0';
	return sscanf(text, "%lu %lu %lu %lu", &ret_wish->first, &ret_wish->count,
		      &ret_wish->bytes, &ret_wish->seed) == 4
		       ? 0
		       : -EINVAL;
}

static const char *key_of(unsigned long n, char key[KEY_BYTES])
{
	(void)snprintf(key, KEY_BYTES, "h%05lu", n);
	return key;
}

/* Content by number and seed. Words, since it is done over megabytes. */
static uint64_t word_of(unsigned long n, unsigned long seed, size_t at)
{
	return (n + 1) * 0x9e3779b97f4a7c15ull + seed * 0x2545f4914f6cdd1dull +
	       at * 0x100000001b3ull;
}

static void fill(uint64_t *data, size_t bytes, unsigned long n, unsigned long seed)
{
	for (size_t i = 0; i < bytes / 8; i++)
		data[i] = word_of(n, seed, i);
}

static int same(const uint64_t *data, size_t bytes, unsigned long n, unsigned long seed)
{
	for (size_t i = 0; i < bytes / 8; i++)
		if (data[i] != word_of(n, seed, i))
			return 0;
	return 1;
}

static int say(struct praas_ctx *ctx, unsigned long a, unsigned long b, int rc)
{
	char text[64];
	void *out;
	int n = snprintf(text, sizeof(text), "%lu %lu %d", a, b, rc);

	if (praas_output(ctx, (size_t)n, &out) != 0)
		return 9;
	memcpy(out, text, (size_t)n);
	return 0;
}

/* Puts objects first … first + count - 1, of that many bytes (a multiple of 8). */
PRAAS_FUNCTION int heap_put(struct praas_ctx *ctx)
{
	char key[KEY_BYTES];
	struct wish w;
	void *data;

	if (read_wish(ctx, &w) != 0)
		return 1;
	for (unsigned long n = w.first; n < w.first + w.count; n++) {
		int rc = praas_buffer(ctx, w.bytes, &data);

		if (rc != 0)
			return praas_fail(ctx, 2, strerror(-rc));
		fill(data, w.bytes, n, w.seed);
		rc = praas_state_put_flags(ctx, key_of(n, key), data, w.bytes,
					   PRAAS_SHARE);
		if (rc != 0)
			return praas_fail(ctx, 3, strerror(-rc));
	}
	return 0;
}

/* "right wrong errno": how many of them are as they were put, how many are not, and the last error of those that could
 * not be read, which are neither. */
PRAAS_FUNCTION int heap_check(struct praas_ctx *ctx)
{
	unsigned long right = 0, wrong = 0;
	char key[KEY_BYTES];
	struct wish w;
	int failed = 0;

	if (read_wish(ctx, &w) != 0)
		return 1;
	for (unsigned long n = w.first; n < w.first + w.count; n++) {
		struct praas_view view;
		int rc = praas_state_get(ctx, key_of(n, key), &view, NULL);

		if (rc != 0)
			failed = rc;
		else if (view.bytes == w.bytes &&
			 same(view.data, view.bytes, n, w.seed))
			right++;
		else
			wrong++;
	}
	return say(ctx, right, wrong, failed);
}

/* Updates each in place, to another seed. */
PRAAS_FUNCTION int heap_update(struct praas_ctx *ctx)
{
	char key[KEY_BYTES];
	struct wish w;

	if (read_wish(ctx, &w) != 0)
		return 1;
	for (unsigned long n = w.first; n < w.first + w.count; n++) {
		struct praas_update u;
		int rc = praas_state_update_begin(ctx, key_of(n, key), 0, -1, &u);

		if (rc == 0) {
			fill(u.data, u.bytes, n, w.seed);
			rc = praas_state_update_commit(ctx, &u);
		}
		if (rc != 0)
			return praas_fail(ctx, 2, strerror(-rc));
	}
	return 0;
}

/* Without reading them. */
PRAAS_FUNCTION int heap_remove(struct praas_ctx *ctx)
{
	char key[KEY_BYTES];
	struct wish w;

	if (read_wish(ctx, &w) != 0)
		return 1;
	for (unsigned long n = w.first; n < w.first + w.count; n++) {
		int rc = praas_state_delete(ctx, key_of(n, key));

		if (rc != 0)
			return praas_fail(ctx, 2, strerror(-rc));
	}
	return 0;
}
