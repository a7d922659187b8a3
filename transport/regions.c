/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/regions.h"

#include <errno.h>
#include <stdlib.h>

#include "internal/base.h"

/*
 * A table by address, open addressing. The memory of the port tells all its watchers of a region that
 * goes; lent memory (praas_buf.lent) has watchers of its own, so each entry of it brings one.
 */

#define PLACES (2 * PRAAS_REGIONS_MAX)

struct entry {
	const uint8_t *base; /* NULL: free */
	void *handle;        /* NULL: it has gone; a search goes on behind it */
	struct loan *loan;   /* NULL: the port's own memory */
};

/* Lent memory, as watched by us. */
struct loan {
	struct praas_region_watch watch;
	struct praas_lent *lent;
};

struct praas_regions {
	struct praas_regions_config config;
	struct praas_region_watch watch; /* of the port's memory */
	struct entry *entry;             /* PLACES */
	uint32_t used;                   /* places, those gone included; at most half */
	const uint8_t *last_base;
	void *last_handle;
	uint64_t count;
};

static uint32_t place_of(const uint8_t *base)
{
	return (uint32_t)(((uintptr_t)base >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 40);
}

/* The place of base, or the one where it belongs. */
static struct entry *find(struct praas_regions *regions, const uint8_t *base)
{
	struct entry *gone = NULL;

	for (uint32_t i = place_of(base);; i++) {
		struct entry *e = &regions->entry[i % PLACES];

		if (e->base == base)
			return e;
		if (e->base == NULL)
			return gone ? gone : e;
		if (e->handle == NULL && gone == NULL)
			gone = e;
	}
}

static void forget(struct praas_regions *regions, struct entry *e)
{
	struct loan *loan = e->loan;

	if (loan)
		praas_region_watch_set(&loan->lent->watches, &loan->watch, false);
	free(loan);
	regions->config.remove(regions->config.user, e->handle);
	e->handle = NULL;
	e->loan = NULL;
	if (regions->last_base == e->base)
		regions->last_base = NULL;
}

static void on_going(void *user, const struct praas_region *region)
{
	struct praas_regions *regions = user;
	struct entry *e = find(regions, region->base);

	if (e->base == region->base && e->handle)
		forget(regions, e);
}

int praas_regions_new(const struct praas_regions_config *config,
		      struct praas_regions **ret_regions)
{
	struct praas_regions *regions = calloc(1, sizeof(*regions));
	const struct praas_memory *m = config->memory;

	if (!regions)
		return -ENOMEM;
	regions->entry = calloc(PLACES, sizeof(*regions->entry));
	if (!regions->entry) {
		free(regions);
		return -ENOMEM;
	}
	regions->config = *config;
	regions->watch.going = on_going;
	regions->watch.user = regions;
	if (m->watch)
		m->watch(m->user, &regions->watch, true);
	*ret_regions = regions;
	return 0;
}

void praas_regions_free(struct praas_regions *regions)
{
	const struct praas_memory *m;

	if (!regions)
		return;
	m = regions->config.memory;
	for (uint32_t i = 0; i < PLACES; i++)
		if (regions->entry[i].handle)
			forget(regions, &regions->entry[i]);
	if (m->watch)
		m->watch(m->user, &regions->watch, false);
	free(regions->entry);
	free(regions);
}

/* Places of those that have gone are free again. 0; -ENOBUFS all are in use; -ENOMEM. */
static PRAAS_COLD int clean(struct praas_regions *regions)
{
	struct entry *old = regions->entry;
	uint32_t live = 0;

	for (uint32_t i = 0; i < PLACES; i++)
		live += old[i].handle != NULL;
	if (live >= PRAAS_REGIONS_MAX)
		return -ENOBUFS;
	regions->entry = calloc(PLACES, sizeof(*old));
	if (!regions->entry) {
		regions->entry = old;
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < PLACES; i++)
		if (old[i].handle)
			*find(regions, old[i].base) = old[i];
	regions->used = live;
	free(old);
	return 0;
}

static PRAAS_COLD int add(struct praas_regions *regions, struct praas_lent *lent,
			  const struct praas_region *region)
{
	struct entry new = { .base = region->base }, *at;
	int rc = regions->used == PRAAS_REGIONS_MAX ? clean(regions) : 0;

	if (rc == 0 && lent) {
		new.loan = calloc(1, sizeof(*new.loan));
		rc = new.loan ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = regions->config.add(regions->config.user, region, &new.handle);
	if (rc != 0) {
		free(new.loan);
		return rc;
	}
	if (lent) {
		new.loan->lent = lent;
		new.loan->watch.going = on_going;
		new.loan->watch.user = regions;
		praas_region_watch_set(&lent->watches, &new.loan->watch, true);
	}
	at = find(regions, region->base);
	regions->used += at->base == NULL;
	regions->count++;
	*at = new;
	return 0;
}

int praas_regions_find(struct praas_regions *regions, const struct praas_buf *buf,
		       void **ret_handle)
{
	const struct praas_memory *m = regions->config.memory;
	struct praas_region region;
	struct entry *at;
	int rc;

	if (buf->lent)
		region = buf->lent->region;
	else if (!m->region || !m->region(m->user, buf, &region))
		return -ENOENT;
	if (praas_unlikely(regions->last_base != region.base)) {
		at = find(regions, region.base);
		if (at->base != region.base || !at->handle) {
			rc = add(regions, buf->lent, &region);
			if (rc != 0)
				return rc;
			at = find(regions, region.base);
		}
		regions->last_base = region.base;
		regions->last_handle = at->handle;
	}
	*ret_handle = regions->last_handle;
	return 0;
}

uint64_t praas_regions_count(const struct praas_regions *regions)
{
	return regions->count;
}
