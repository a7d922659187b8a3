/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/dedup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	return x;
}

int praas_dedup_init(struct praas_dedup *d, uint32_t sources_max)
{
	uint32_t buckets = 16;

	if (sources_max == 0 || sources_max > PRAAS_DEDUP_SOURCES_MAX)
		return -EINVAL;
	while (buckets < sources_max)
		buckets *= 2;
	*d = (struct praas_dedup){ .sources_max = sources_max, .mask = buckets - 1 };
	d->sources = calloc(sources_max, sizeof(*d->sources));
	d->buckets = calloc(buckets, sizeof(*d->buckets));
	if (!d->sources || !d->buckets) {
		praas_dedup_release(d);
		return -ENOMEM;
	}
	return 0;
}

void praas_dedup_release(struct praas_dedup *d)
{
	free(d->sources);
	free(d->buckets);
	*d = (struct praas_dedup){ 0 };
}

static struct praas_dedup_source *find(const struct praas_dedup *d, uint64_t source)
{
	uint32_t i = d->buckets[mix(source) & d->mask];

	while (i && d->sources[i - 1].source != source)
		i = d->sources[i - 1].next;
	return i ? &d->sources[i - 1] : NULL;
}

static struct praas_dedup_source *find_or_add(struct praas_dedup *d, uint64_t source)
{
	struct praas_dedup_source *s = find(d, source);
	uint32_t *bucket = &d->buckets[mix(source) & d->mask], i;

	if (s)
		return s;
	if (d->free) {
		i = d->free;
		d->free = d->sources[i - 1].next;
	} else if (d->used < d->sources_max) {
		i = ++d->used;
	} else {
		return NULL;
	}
	s = &d->sources[i - 1];
	*s = (struct praas_dedup_source){ .source = source, .next = *bucket };
	*bucket = i;
	d->count++;
	return s;
}

/* The message itself, or a later one of the same epoch, has been accepted. */
static bool has(const struct praas_dedup_source *s, struct praas_seq seq)
{
	if (seq.epoch < s->highest[PRAAS_DEDUP_EPOCHS - 1].epoch)
		return true; /* forgotten */
	for (unsigned i = 0; i < PRAAS_DEDUP_EPOCHS; i++)
		if (s->highest[i].epoch == seq.epoch)
			return s->highest[i].number >= seq.number;
	return false;
}

enum praas_dedup_verdict praas_dedup_judge(const struct praas_dedup *d, uint64_t source,
					   struct praas_seq seq, struct praas_seq after)
{
	const struct praas_dedup_source *s = find(d, source);

	if (!s)
		return praas_seq_none(after) ? PRAAS_DEDUP_NEW : PRAAS_DEDUP_GAP;
	if (has(s, seq))
		return PRAAS_DEDUP_SEEN;
	if (seq.epoch < s->highest[0].epoch)
		return PRAAS_DEDUP_STALE;
	if (!praas_seq_none(after) && !has(s, after))
		return PRAAS_DEDUP_GAP;
	return PRAAS_DEDUP_NEW;
}

enum praas_dedup_verdict praas_dedup_judge_queued(const struct praas_dedup *d,
						  uint64_t source, struct praas_seq seq)
{
	const struct praas_dedup_source *s = find(d, source);

	return s && has(s, seq) ? PRAAS_DEDUP_SEEN : PRAAS_DEDUP_NEW;
}

bool praas_dedup_admits(const struct praas_dedup *d, uint64_t source)
{
	return d->free || d->used < d->sources_max || find(d, source);
}

int praas_dedup_accept(struct praas_dedup *d, uint64_t source, struct praas_seq seq)
{
	struct praas_dedup_source *s = find_or_add(d, source);
	unsigned i = 0;

	if (!s)
		return -ENOBUFS;
	if (has(s, seq))
		return 0;
	/* Not older than the last place: has() would have said so. */
	while (i < PRAAS_DEDUP_EPOCHS - 1 && s->highest[i].epoch > seq.epoch)
		i++;
	if (s->highest[i].epoch != seq.epoch)
		memmove(&s->highest[i + 1], &s->highest[i],
			(PRAAS_DEDUP_EPOCHS - 1 - i) * sizeof(s->highest[0]));
	s->highest[i] = seq;
	return 0;
}

void praas_dedup_forget(struct praas_dedup *d, uint64_t source)
{
	uint32_t *link = &d->buckets[mix(source) & d->mask];

	while (*link && d->sources[*link - 1].source != source)
		link = &d->sources[*link - 1].next;
	if (*link) {
		uint32_t i = *link;

		*link = d->sources[i - 1].next;
		d->sources[i - 1] = (struct praas_dedup_source){ .next = d->free };
		d->free = i;
		d->count--;
	}
}

int praas_dedup_each(const struct praas_dedup *d,
		     int (*fn)(void *user, const struct praas_dedup_source *source),
		     void *user)
{
	int rc = 0;

	for (uint32_t b = 0; rc == 0 && b <= d->mask; b++)
		for (uint32_t i = d->buckets[b]; rc == 0 && i;
		     i = d->sources[i - 1].next)
			rc = fn(user, &d->sources[i - 1]);
	return rc;
}
