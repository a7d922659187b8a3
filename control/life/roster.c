/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/roster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "control/limits.h"
#include "control/table.h"
#include "praas/types.h"

struct praas_roster_member {
	uint64_t number, version; /* of its last change */
	UT_hash_handle hh;
	struct praas_roster_member *prev, *next; /* by version */
	const char *state;                       /* NULL: gone */
	uint32_t epoch;
	uint32_t node;
	char name[PRAAS_NAME_MAX + 1];
};

struct praas_roster {
	struct praas_roster_member *members;        /* by number */
	struct praas_roster_member *order, *behind; /* the oldest change first */
	uint64_t version;
	uint64_t floor; /* what changed up to here is not known one by one */
	uint32_t count, gone;
};

int praas_roster_new(uint64_t version, struct praas_roster **ret_r)
{
	struct praas_roster *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->version = version;
	r->floor = version;
	*ret_r = r;
	return 0;
}

/* m is in the list, which so has a head.
 * NOLINTBEGIN(readability-function-size, clang-analyzer-core.NullDereference): the macros of uthash */
static void drop(struct praas_roster *r, struct praas_roster_member *m)
{
	if (m->state)
		r->count--;
	else
		r->gone--;
	DL_DELETE(r->order, m);
	HASH_DEL(r->members, m);
	free(m);
}
/* NOLINTEND(readability-function-size, clang-analyzer-core.NullDereference) */

void praas_roster_free(struct praas_roster *r)
{
	if (!r)
		return;
	while (r->order)
		drop(r, r->order);
	free(r);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct praas_roster_member *find(const struct praas_roster *r, uint64_t number)
{
	struct praas_roster_member *m;

	HASH_FIND(hh, r->members, &number, sizeof(number), m);
	return m;
}

/* Of that version, and so behind all others that changed. NULL: no memory. */
/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct praas_roster_member *add(struct praas_roster *r, uint64_t number,
				       const char *name)
{
	struct praas_roster_member *m = calloc(1, sizeof(*m));
	size_t bytes = strnlen(name, PRAAS_NAME_MAX);

	if (!m)
		return NULL;
	m->number = number;
	memcpy(m->name, name, bytes);
	HASH_ADD(hh, r->members, number, sizeof(m->number), m);
	if (!PRAAS_TABLE_HAS(hh, m)) {
		free(m);
		return NULL;
	}
	r->gone++; /* until it has a state */
	DL_APPEND(r->order, m);
	return m;
}

static void set(struct praas_roster *r, struct praas_roster_member *m, uint32_t epoch,
		const char *state)
{
	r->count = r->count + (state != NULL) - (m->state != NULL);
	r->gone = r->gone + (state == NULL) - (m->state == NULL);
	m->state = state;
	m->epoch = epoch;
}

/* Those who left are told of for some time. */
static void forget_gone(struct praas_roster *r)
{
	struct praas_roster_member *m = r->order;

	if (r->gone <= PRAAS_LIMIT_ROSTER_GONE)
		return;
	while (m && m->state)
		m = m->next;
	if (!m)
		return;
	r->floor = m->version;
	drop(r, m);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macros */
int praas_roster_change(struct praas_roster *r, uint64_t version, uint64_t number,
			const char *name, uint32_t epoch, const char *state)
{
	struct praas_roster_member *m = find(r, number);

	if (!m) /* also one that is gone: what is read may be from before */
		m = add(r, number, name);
	if (!m)
		return -ENOMEM;
	DL_DELETE(r->order, m);
	DL_APPEND(r->order, m);
	m->version = version;
	set(r, m, epoch, state);
	r->version = version;
	forget_gone(r);
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macros */
int praas_roster_load(struct praas_roster *r, uint64_t number, const char *name,
		      uint32_t epoch, const char *state)
{
	struct praas_roster_member *m = find(r, number);

	if (m)
		return 0;
	m = add(r, number, name);
	if (!m)
		return -ENOMEM;
	DL_DELETE(r->order, m); /* its change is older than any */
	DL_PREPEND(r->order, m);
	m->version = r->floor;
	set(r, m, epoch, state);
	return 0;
}

void praas_roster_place(struct praas_roster *r, uint64_t number, uint32_t node)
{
	struct praas_roster_member *m = find(r, number);

	if (m)
		m->node = node;
}

uint64_t praas_roster_version(const struct praas_roster *r)
{
	return r->version;
}

uint32_t praas_roster_count(const struct praas_roster *r)
{
	return r->count;
}

/* The first change after a version. */
static const struct praas_roster_member *first_after(const struct praas_roster *r,
						     uint64_t after)
{
	const struct praas_roster_member *m = r->order ? r->order->prev : NULL;

	if (!m || m->version <= after)
		return NULL;
	while (m != r->order && m->prev->version > after)
		m = m->prev;
	return m;
}

static void begin(const struct praas_roster *r, struct praas_roster_news *news)
{
	news->begun = true;
	news->whole = news->after < r->floor || news->after > r->version;
	if (news->whole)
		news->after = 0;
	news->next = news->whole ? r->order : first_after(r, news->after);
}

static json_t *describe(const struct praas_roster_member *m, uint32_t node)
{
	if (!m->state)
		return json_pack("{s:I}", "pid", (json_int_t)m->number);
	return json_pack("{s:I,s:s,s:s,s:I,s:b}", "pid", (json_int_t)m->number, "name",
			 m->name, "state", m->state, "epoch", (json_int_t)m->epoch,
			 "local", m->node == node);
}

json_t *praas_roster_line(const struct praas_roster *r, struct praas_roster_news *news,
			  bool *ret_more)
{
	json_t *list = json_array();
	uint32_t n = 0;
	json_t *line;

	if (!news->begun)
		begin(r, news);
	for (; news->next && n < PRAAS_LIMIT_ROSTER_LINE;
	     news->next = news->next->next) {
		if (!news->next->state && news->whole)
			continue;
		if (json_array_append_new(list, describe(news->next, news->node))) {
			json_decref(list);
			return NULL;
		}
		n++;
	}
	*ret_more = news->next != NULL;
	line = json_pack("{s:s,s:I,s:I,s:I,s:b,s:o}", "t", "members", "from",
			 (json_int_t)news->after, "version", (json_int_t)r->version,
			 "at", (json_int_t)news->at, "more", *ret_more, "members",
			 list); /* takes list, also when it fails */
	news->at += n;
	return line;
}
