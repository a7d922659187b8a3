/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts the words of texts and keeps the counts of each text as state of the process:
 *
 *   for f in /usr/share/common-licenses/[A-Z]*; do
 *           praas invoke words count -k "$(basename "$f")" -d "@$f"
 *   done
 *   praas invoke words top -d 5
 *
 * count() gives "WORDS words, DISTINCT distinct" and replaces what was known of the
 * text of that key; top() joins the counts of all texts and gives the N most frequent
 * words. The state of a text is itself text: lines "COUNT WORD".
 */
#include <praas/function.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 63u   /* bytes; the rest of a longer word is dropped */
#define TEXTS_MAX 4096 /* texts that top() joins */
#define PAGE 16        /* texts listed at once */
#define PREFIX "text/"

struct entry {
	char word[WORD_MAX + 1];
	uint64_t count;
};

/* A hash table with open addressing; at most half full, so that a free place is near.
 */
struct table {
	struct entry *entries; /* count 0: a free place */
	size_t places;         /* a power of two */
	size_t used;
};

static int table_init(struct table *t, size_t places)
{
	*t = (struct table){ .places = places,
			     .entries = calloc(places, sizeof(*t->entries)) };
	return t->entries ? 0 : -1;
}

/* Where the word is, or the free place where it belongs. */
static struct entry *table_find(const struct table *t, const char *word)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */
	size_t at;

	for (const char *c = word; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 1099511628211u;
	at = (size_t)hash & (t->places - 1);
	while (t->entries[at].count > 0 && strcmp(t->entries[at].word, word) != 0)
		at = (at + 1) & (t->places - 1);
	return &t->entries[at];
}

static int table_grow(struct table *t)
{
	struct table larger;

	if (table_init(&larger, t->places * 2) != 0)
		return -1;
	for (size_t i = 0; i < t->places; i++)
		if (t->entries[i].count > 0)
			*table_find(&larger, t->entries[i].word) = t->entries[i];
	larger.used = t->used;
	free(t->entries);
	*t = larger;
	return 0;
}

static int table_add(struct table *t, const char *word, uint64_t count)
{
	struct entry *e;

	if (t->used * 2 >= t->places && table_grow(t) != 0)
		return -1;
	e = table_find(t, word);
	if (e->count == 0) {
		(void)snprintf(e->word, sizeof(e->word), "%s", word); /* it fits */
		t->used++;
	}
	e->count += count;
	return 0;
}

/* The most frequent first, equally frequent ones by the alphabet; empty places last. */
static int by_count(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->word, y->word);
}

/* The first lines_max entries as lines "COUNT WORD" in out; returns their bytes. */
static size_t table_print(const struct table *t, size_t lines_max, char *out,
			  size_t bytes)
{
	size_t length = 0;

	for (size_t i = 0; i < t->used && i < lines_max; i++) {
		int n = snprintf(out + length, bytes - length, "%" PRIu64 " %s\n",
				 t->entries[i].count, t->entries[i].word);

		if ((size_t)n >= bytes - length)
			break;
		length += (size_t)n;
	}
	return length;
}

/* Letters, in lower case; 0 for what separates words. Bytes above 127 belong to UTF-8
 * letters. */
static char letter(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	if ((c >= 'a' && c <= 'z') || (uint8_t)c > 127)
		return c;
	return '\0';
}

static int count_words(struct table *t, const char *text, size_t bytes,
		       uint64_t *ret_words)
{
	char word[WORD_MAX + 1];
	size_t length = 0;
	uint64_t words = 0;

	for (size_t i = 0; i <= bytes; i++) {
		char c = '\0';

		if (i < bytes)
			c = letter(text[i]);
		if (c && length < WORD_MAX)
			word[length++] = c;
		if (c || length == 0)
			continue;
		word[length] = '\0';
		if (table_add(t, word, 1) != 0)
			return -1;
		length = 0;
		words++;
	}
	*ret_words = words;
	return 0;
}

/* Writes the sorted table as the state of this text, built in shared memory: no copy.
 */
static int keep_counts(struct praas_ctx *ctx, const struct table *t)
{
	char name[PRAAS_KEY_MAX + 1];
	size_t bytes = t->used * (WORD_MAX + 24) + 1;
	void *lines;

	(void)snprintf(name, sizeof(name), PREFIX "%s",
		       praas_info(ctx)->key); /* cut if long */
	if (praas_buffer(ctx, bytes, &lines) != 0)
		return -1;
	return praas_state_put(ctx, name, lines, table_print(t, t->used, lines, bytes));
}

PRAAS_FUNCTION int count(struct praas_ctx *ctx)
{
	struct praas_msg in;
	struct table t;
	char text[64];
	uint64_t words;
	void *out;
	int length;
	int rc = 0;

	if (praas_input(ctx, 0, &in) != 0)
		return praas_fail(ctx, 1, "no text");
	if (table_init(&t, 1024) != 0)
		return praas_fail(ctx, 2, "no memory to count in");
	if (count_words(&t, in.view.data, in.view.bytes, &words) != 0) {
		free(t.entries);
		return praas_fail(ctx, 2, "no memory to count in");
	}
	qsort(t.entries, t.places, sizeof(*t.entries), by_count);
	length = snprintf(text, sizeof(text), "%" PRIu64 " words, %zu distinct\n",
			  words, t.used);
	if (keep_counts(ctx, &t) != 0)
		rc = praas_fail(ctx, 3, "no memory to keep the counts");
	else if (praas_output(ctx, (size_t)length, &out) != 0)
		rc = praas_fail(ctx, 2, "no memory for the result");
	else
		memcpy(out, text, (size_t)length);
	free(t.entries);
	return rc;
}

/* Adds the counts kept of one text. The view does not end with a zero. */
static int join_counts(struct table *t, const struct praas_view *view)
{
	const char *at = view->data;
	const char *end = at + view->bytes;

	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		char line[WORD_MAX + 24];
		char *word;
		uint64_t number;

		if (!stop || (size_t)(stop - at) >= sizeof(line))
			return -1; /* not written by count() */
		memcpy(line, at, (size_t)(stop - at));
		line[stop - at] = '\0';
		number = strtoull(line, &word, 10);
		if (number == 0 || *word != ' ' || table_add(t, word + 1, number) != 0)
			return -1;
		at = stop + 1;
	}
	return 0;
}

/* Adds the counts of all texts, listed a page at a time. */
static int join_texts(struct praas_ctx *ctx, struct table *t)
{
	struct praas_state_info texts[PAGE];
	char after[PRAAS_KEY_MAX + 1] = "";
	uint32_t found = PAGE;

	for (int seen = 0; found == PAGE && seen < TEXTS_MAX; seen += PAGE) {
		if (praas_state_list(ctx, PREFIX, after, texts, PAGE, &found) != 0)
			return -1;
		for (uint32_t i = 0; i < found; i++) {
			struct praas_view view;

			if (praas_state_get(ctx, texts[i].key, &view, NULL) != 0 ||
			    join_counts(t, &view) != 0)
				return -1;
			memcpy(after, texts[i].key, sizeof(after));
		}
	}
	return 0;
}

/* How many words to give: the input, or 10 when it is empty. 0 for nonsense. */
static size_t lines_wanted(struct praas_ctx *ctx)
{
	struct praas_msg in;
	char text[8] = "10";

	if (praas_input(ctx, 0, &in) == 0 && in.view.bytes > 0 &&
	    in.view.bytes < sizeof(text)) {
		memcpy(text, in.view.data, in.view.bytes);
		text[in.view.bytes] = '\0';
	}
	return strtoul(text, NULL, 10);
}

PRAAS_FUNCTION int top(struct praas_ctx *ctx)
{
	size_t lines = lines_wanted(ctx);
	struct table t;
	size_t bytes;
	void *out;
	int rc = 0;

	if (lines == 0 || lines > 100000)
		return praas_fail(ctx, 1,
				  "the input must be a number from 1 to 100000");
	if (table_init(&t, 1024) != 0)
		return praas_fail(ctx, 2, "no memory to count in");
	if (join_texts(ctx, &t) != 0) {
		free(t.entries);
		return praas_fail(ctx, 3, "the counts kept cannot be read");
	}
	qsort(t.entries, t.places, sizeof(*t.entries), by_count);
	lines = lines < t.used ? lines : t.used;
	bytes = lines * (WORD_MAX + 24) + 1;
	/* Room for the longest lines; then as long as they turned out to be. */
	if (praas_output(ctx, bytes, &out) != 0 ||
	    praas_output_resize(ctx, table_print(&t, lines, out, bytes), &out) != 0)
		rc = praas_fail(ctx, 2, "no memory for the result");
	free(t.entries);
	return rc;
}
