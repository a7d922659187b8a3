/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines, words, bytes and the longest word of four texts, joined in a tree:
 *
 *      leaf  leaf   leaf  leaf         each text by itself, side by side
 *         \  /         \  /
 *         pair         pair            any two that are there first
 *             \       /
 *               root                   keeps the sum of all trees as state
 *
 *   cd /usr/share/common-licenses
 *   for f in GPL-1 GPL-2 GPL-3; do praas invoke reduce-tree leaf -p t -k gnu -d "@$f" --one-way; done
 *   praas invoke reduce-tree leaf -p t -k gnu -d @LGPL-2.1
 *   praas invoke reduce-tree total -p t
 *
 * The tree is in praas.json alone: what follows what ("then"), and that pair and root wait for two inputs
 * with one key. The process may be swapped out at any time: what waits in the tree is part of its snapshot,
 * and each text counts once. root is serial, so its sum needs no compare-and-swap.
 */
#include <praas/function.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_MAX 63u
#define LINE_MAX_BYTES 160u

struct figures {
	uint64_t lines, words, bytes;
	char longest[LONGEST_MAX + 1];
};

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' ||
	       c == '\v';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void longest_of(struct figures *f, const char *word, size_t bytes)
{
	bytes = bytes < LONGEST_MAX ? bytes : LONGEST_MAX;
	if (bytes <= strlen(f->longest))
		return;
	memcpy(f->longest, word, bytes);
	f->longest[bytes] = '\0';
}

/* As wc(1) counts; the longest run of letters, the first of several. */
static struct figures count(const char *text, size_t bytes)
{
	struct figures f = { .bytes = bytes };
	size_t letters = 0;
	bool inside = false;

	for (size_t i = 0; i < bytes; i++) {
		f.lines += text[i] == '\n';
		f.words += !inside && !is_space(text[i]);
		inside = !is_space(text[i]);
		letters = is_letter(text[i]) ? letters + 1 : 0;
		if (letters > 0 && (i + 1 == bytes || !is_letter(text[i + 1])))
			longest_of(&f, text + i + 1 - letters, letters);
	}
	return f;
}

static void add(struct figures *sum, const struct figures *f)
{
	sum->lines += f->lines;
	sum->words += f->words;
	sum->bytes += f->bytes;
	longest_of(sum, f->longest, strlen(f->longest));
}

static int give(struct praas_ctx *ctx, const struct figures *f)
{
	void *out;
	int bytes;

	if (praas_output(ctx, LINE_MAX_BYTES, &out) != 0)
		return praas_fail(ctx, 1, "no memory for the result");
	bytes = snprintf(out, LINE_MAX_BYTES,
			 "%" PRIu64 " lines, %" PRIu64 " words, %" PRIu64
			 " bytes; longest word: %s\n",
			 f->lines, f->words, f->bytes, f->longest);
	return praas_output_resize(ctx, (size_t)bytes, &out);
}

/* The number at *at and what must stand behind it; *at moves on. */
static bool read_number(const char **at, const char *behind, uint64_t *ret)
{
	char *end;

	*ret = strtoull(*at, &end, 10);
	if (end == *at || strncmp(end, behind, strlen(behind)) != 0)
		return false;
	*at = end + strlen(behind);
	return true;
}

static bool read_figures(const struct praas_view *view, struct figures *ret)
{
	char line[LINE_MAX_BYTES];
	const char *at = line;

	if (view->bytes == 0 || view->bytes >= sizeof(line))
		return false;
	memcpy(line, view->data, view->bytes);
	line[view->bytes] = '\0';
	*ret = (struct figures){ 0 };
	if (!read_number(&at, " lines, ", &ret->lines) ||
	    !read_number(&at, " words, ", &ret->words) ||
	    !read_number(&at, " bytes; longest word: ", &ret->bytes))
		return false;
	longest_of(ret, at, strcspn(at, "\n"));
	return true;
}

/* Of all inputs. 0; or the function's code. */
static int join_inputs(struct praas_ctx *ctx, struct figures *ret)
{
	*ret = (struct figures){ 0 };
	for (uint32_t i = 0; i < praas_info(ctx)->inputs; i++) {
		struct figures f;
		struct praas_msg in;

		if (praas_input(ctx, i, &in) != 0 || !read_figures(&in.view, &f))
			return praas_fail(ctx, 2, "an input is no line of figures");
		add(ret, &f);
	}
	return 0;
}

PRAAS_FUNCTION int leaf(struct praas_ctx *ctx)
{
	struct figures f;
	struct praas_msg in;

	if (praas_input(ctx, 0, &in) != 0)
		return praas_fail(ctx, 2, "no text");
	f = count(in.view.data, in.view.bytes);
	return give(ctx, &f);
}

PRAAS_FUNCTION int join(struct praas_ctx *ctx)
{
	struct figures f;
	int rc = join_inputs(ctx, &f);

	return rc ? rc : give(ctx, &f);
}

PRAAS_FUNCTION int root(struct praas_ctx *ctx)
{
	struct figures f, sum = { 0 };
	struct praas_view kept;
	int rc = join_inputs(ctx, &f);

	if (rc != 0)
		return rc;
	if (praas_state_get(ctx, "total", &kept, NULL) == 0 &&
	    kept.bytes == sizeof(sum))
		memcpy(&sum, kept.data, sizeof(sum));
	add(&sum, &f);
	if (praas_state_put(ctx, "total", &sum, sizeof(sum)) != 0)
		return praas_fail(ctx, 1, "no memory for the sum");
	return give(ctx, &f);
}

PRAAS_FUNCTION int total(struct praas_ctx *ctx)
{
	struct figures sum = { 0 };
	struct praas_view kept;

	if (praas_state_get(ctx, "total", &kept, NULL) == 0 &&
	    kept.bytes == sizeof(sum))
		memcpy(&sum, kept.data, sizeof(sum));
	return give(ctx, &sum);
}
