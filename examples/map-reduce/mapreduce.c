/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of several texts, counted by functions that run side by side and joined by one:
 *
 *   cd /usr/share/common-licenses
 *   for f in GPL-1 GPL-2 GPL-3; do praas invoke map-reduce map -p m -k gnu -d "@$f" --one-way; done
 *   praas invoke map-reduce map -p m -k gnu -d @LGPL-2.1
 *
 * map() makes of a text the list of its words, in their order, with how often each is there; praas.json
 * says that its result goes on to reduce(), which runs when four lists with one key are there (or, after
 * ten seconds, with those that are), and gives the ten most frequent words. Everybody who called map()
 * gets that. The lists are read where they lie: nothing is copied.
 *
 * spread() is the same function, whose result goes on in a process named "all", so that each text may be read in a
 * process of its own, on any node:
 *
 *   praas process create map-reduce all
 *   for f in GPL-1 GPL-2 GPL-3; do praas invoke map-reduce spread -p $f -k gnu -d "@$f" --one-way; done
 *   praas invoke map-reduce spread -p LGPL -k gnu -d @LGPL-2.1
 */
#include <praas/function.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TOP 10u
#define COUNT_MAX 20u  /* digits */
#define WORD_SHOWN 255 /* bytes of a word in the result */

struct word {
	const char *at;
	size_t bytes;
	uint64_t count;
};

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
	if (c < 'A' || c > 'Z')
		return c;
	return "abcdefghijklmnopqrstuvwxyz"[c - 'A'];
}

static int compare(const struct word *a, const struct word *b)
{
	size_t bytes = a->bytes < b->bytes ? a->bytes : b->bytes;
	int order = strncasecmp(a->at, b->at, bytes);

	if (order != 0)
		return order;
	return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

/* ---- map ---- */

static int by_word(const void *a, const void *b)
{
	return compare(a, b);
}

/* The words of a text; words NULL: how many there are. */
static size_t split(const char *text, size_t bytes, struct word *words)
{
	size_t count = 0;

	for (size_t i = 0, from; i < bytes; i++) {
		for (from = i; i < bytes && is_letter(text[i]);)
			i++;
		if (i == from)
			continue;
		if (words)
			words[count] = (struct word){ text + from, i - from, 1 };
		count++;
	}
	return count;
}

/* Equal ones become one. Returns how many are left. */
static size_t unite(struct word *words, size_t count)
{
	size_t last = 0;

	if (count == 0)
		return 0;
	for (size_t i = 1; i < count; i++) {
		if (compare(&words[last], &words[i]) == 0)
			words[last].count++;
		else
			words[++last] = words[i];
	}
	return last + 1;
}

/* Lines "WORD COUNT". */
static int write_list(struct praas_ctx *ctx, const struct word *words, size_t count)
{
	size_t room = 1, at = 0;
	void *memory;
	char *out;

	for (size_t i = 0; i < count; i++)
		room += words[i].bytes + COUNT_MAX + 2;
	if (praas_output(ctx, room, &memory) != 0)
		return praas_fail(ctx, 1, "no memory for the list");
	out = memory;
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < words[i].bytes; k++)
			out[at++] = lower(words[i].at[k]);
		at += (size_t)snprintf(out + at, room - at, " %" PRIu64 "\n",
				       words[i].count);
	}
	return praas_output_resize(ctx, at, &memory);
}

PRAAS_FUNCTION int map(struct praas_ctx *ctx)
{
	struct praas_msg in;
	struct word *words;
	size_t count;
	int rc;

	if (praas_input(ctx, 0, &in) != 0)
		return praas_fail(ctx, 2, "no text");
	count = split(in.view.data, in.view.bytes, NULL);
	words = calloc(count + 1, sizeof(*words));
	if (!words)
		return praas_fail(ctx, 1, "no memory for the words");
	(void)split(in.view.data, in.view.bytes, words);
	qsort(words, count, sizeof(*words), by_word);
	rc = write_list(ctx, words, unite(words, count));
	free(words);
	return rc;
}

/* ---- reduce ---- */

/* What is left of a list, and its first line. */
struct list {
	const char *at, *end;
	struct word first; /* at NULL: there is none */
};

/* False: that is no line. */
static bool next_line(struct list *l)
{
	const char *at = l->at;
	uint64_t count = 0;

	l->first = (struct word){ 0 };
	if (at == l->end)
		return true;
	while (at < l->end && is_letter(*at))
		at++;
	l->first = (struct word){ l->at, (size_t)(at - l->at), 0 };
	if (l->first.bytes == 0 || at == l->end || *at++ != ' ')
		return false;
	for (; at < l->end && *at >= '0' && *at <= '9'; at++)
		count = count * 10 + (uint64_t)(*at - '0');
	l->first.count = count;
	if (at == l->end || *at != '\n')
		return false;
	l->at = at + 1;
	return true;
}

/* Among the ten most frequent ones, if it is. */
static void rank(struct word top[TOP], const struct word *word)
{
	size_t place = TOP;

	while (place > 0 && top[place - 1].count < word->count)
		place--;
	if (place == TOP)
		return;
	memmove(&top[place + 1], &top[place], (TOP - 1 - place) * sizeof(*top));
	top[place] = *word;
}

/* The lists are in order: the first word of all is the first one of some. False: one of them is no list. */
static bool merge(struct list *lists, uint32_t count, struct word top[TOP])
{
	for (;;) {
		struct word first = { 0 }, sum;

		for (uint32_t i = 0; i < count; i++)
			if (lists[i].first.at &&
			    (!first.at || compare(&lists[i].first, &first) < 0))
				first = lists[i].first;
		if (!first.at)
			return true;
		sum = first;
		sum.count = 0;
		for (uint32_t i = 0; i < count; i++) {
			if (!lists[i].first.at || compare(&lists[i].first, &first) != 0)
				continue;
			sum.count += lists[i].first.count;
			if (!next_line(&lists[i]))
				return false;
		}
		rank(top, &sum);
	}
}

PRAAS_FUNCTION int reduce(struct praas_ctx *ctx)
{
	uint32_t count = praas_info(ctx)->inputs;
	struct list *lists = calloc(count, sizeof(*lists));
	struct word top[TOP] = { 0 };
	struct praas_msg in;
	size_t at = 0;
	void *memory;
	bool ok = lists != NULL;

	for (uint32_t i = 0; ok && i < count; i++) {
		ok = praas_input(ctx, i, &in) == 0;
		if (ok && in.view.bytes != 0) {
			lists[i].at = in.view.data;
			lists[i].end = lists[i].at + in.view.bytes;
		}
		ok = ok && next_line(&lists[i]);
	}
	ok = ok && merge(lists, count, top);
	free(lists);
	if (!ok)
		return praas_fail(ctx, 3, "an input is not a list that map() made");
	if (praas_output(ctx, TOP * (WORD_SHOWN + COUNT_MAX + 2) + 1, &memory) != 0)
		return praas_fail(ctx, 1, "no memory for the result");
	for (size_t i = 0; i < TOP && top[i].at; i++)
		at += (size_t)snprintf(
			(char *)memory + at, WORD_SHOWN + COUNT_MAX + 3,
			"%" PRIu64 " %.*s\n", top[i].count,
			(int)(top[i].bytes < WORD_SHOWN ? top[i].bytes : WORD_SHOWN),
			top[i].at);
	return praas_output_resize(ctx, at, &memory);
}
