/* SPDX-License-Identifier: Apache-2.0
 *
 * Controllers that want to know the members of their application. Nobody is told who has not asked, so that what
 * a creation costs does not grow with the processes there are. The roster of an application (roster.h) is
 * read when the first of its processes asks, follows what happens from then on, and goes with the last that
 * asked. What changes is told at once, and what changes soon after it together.
 *
 * A lock of its own, below that of the life cycle and that of the events.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "control/life/roster.h"
#include "control/say.h"
#include "internal/base.h"

#define TOGETHER_NS 20000000u /* at least between two lines to one controller */
#define EACH_NS 200000u      /* the same, for each that is told: 5,000 lines a second */
#define UNREAD_NS 100000000u /* who does not read is tried again */
#define AGAIN_NS 1000000000u /* what could not be read is read again */

/* One who asked. */
struct subscriber {
	uint64_t conn;
	uint32_t node;     /* that its process is on */
	UT_hash_handle hh; /* in subscribers */
	struct praas_life_roster *of;
	struct subscriber *prev, *next;
	uint64_t told;      /* the version that it has; 0 none */
	bool told_too_many; /* and that there are too many since */
};

struct praas_life_roster {
	uint8_t app[PRAAS_RECORD_ID_BYTES];
	UT_hash_handle hh; /* in rosters */
	struct praas_life *life;
	struct praas_roster *roster; /* NULL: to be read */
	struct subscriber *subscribers;
	uint32_t count;
	uint64_t
		due_ns; /* when they are told, or it is read again; 0: nothing is new */
	uint64_t told_ns;
	bool loading, loaded;
	struct praas_job job;
};

struct praas_life_members {
	pthread_mutex_t lock;
	uint64_t version; /* the last one that was given out */
	struct praas_life_roster *rosters;
	struct subscriber *subscribers;
};

static void run_load(struct praas_job *job);

/* ---- rosters ------------------------------------------------------------------------ */

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct praas_life_roster *find(struct praas_life_members *m,
				      const uint8_t app[PRAAS_RECORD_ID_BYTES])
{
	struct praas_life_roster *r;

	HASH_FIND(hh, m->rosters, app, PRAAS_RECORD_ID_BYTES, r);
	return r;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct praas_life_roster *find_or_make(struct praas_life *life,
					      const uint8_t app[PRAAS_RECORD_ID_BYTES])
{
	struct praas_life_members *m = life->members;
	struct praas_life_roster *r = find(m, app);

	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->life = life;
	memcpy(r->app, app, sizeof(r->app));
	HASH_ADD(hh, m->rosters, app, sizeof(r->app), r);
	if (!PRAAS_TABLE_HAS(hh, r)) {
		free(r);
		return NULL;
	}
	return r;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void drop_unused(struct praas_life_members *m, struct praas_life_roster *r)
{
	if (r->subscribers || r->loading)
		return;
	HASH_DEL(m->rosters, r);
	praas_roster_free(r->roster);
	free(r);
}

/* Something is to be done for it, as soon as may be. */
static void arm(struct praas_life_roster *r)
{
	uint64_t gap_ns = praas_max_u64(TOGETHER_NS, (uint64_t)r->count * EACH_NS);

	if (r->due_ns != 0)
		return;
	r->due_ns = praas_max_u64(praas_now_ns(), r->told_ns + gap_ns);
	praas_link_wake(r->life->link);
}

/* What it has is not to be believed any more. */
static void broken(struct praas_life_roster *r)
{
	praas_roster_free(r->roster);
	r->roster = NULL;
	r->loaded = false;
	r->due_ns = praas_now_ns() + AGAIN_NS;
}

/* In the words that members know: one that moves accepts nothing, like one that is being swapped out. */
static const char *member_state(const char *state)
{
	return strcmp(state, "MIGRATING") == 0 ? "DRAINING" : state;
}

void praas_life_members_changed(void *user, const struct praas_process_record *record,
				const char *state)
{
	struct praas_life *life = user;
	struct praas_life_members *m = life->members;
	bool gone = strcmp(state, "DELETING") == 0 || strcmp(state, "DELETED") == 0;
	struct praas_life_roster *r;

	(void)pthread_mutex_lock(&m->lock);
	r = m->rosters ? find(m, record->app) : NULL;
	if (r && r->roster) {
		if (praas_roster_change(r->roster, ++m->version, record->number,
					record->name, record->epoch,
					gone ? NULL : member_state(state)))
			broken(r);
		else
			arm(r);
	}
	if (r && r->roster)
		praas_roster_place(r->roster, record->number,
				   praas_nodes_index(life->config.nodes, record->node));
	(void)pthread_mutex_unlock(&m->lock);
}

/* ---- who is told -------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct subscriber *find_subscriber(struct praas_life_members *m, uint64_t conn)
{
	struct subscriber *s;

	HASH_FIND(hh, m->subscribers, &conn, sizeof(conn), s);
	return s;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void leave(struct praas_life_members *m, struct subscriber *s)
{
	struct praas_life_roster *r = s->of;

	HASH_DEL(m->subscribers, s);
	DL_DELETE(r->subscribers, s);
	r->count--;
	free(s);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct subscriber *join(struct praas_life *life, struct praas_life_roster *r,
			       uint64_t conn)
{
	struct praas_life_members *m = life->members;
	struct subscriber *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->conn = conn;
	HASH_ADD(hh, m->subscribers, conn, sizeof(s->conn), s);
	if (!PRAAS_TABLE_HAS(hh, s)) {
		free(s);
		return NULL;
	}
	s->of = r;
	r->count++;
	DL_APPEND(r->subscribers, s);
	return s;
}

bool praas_life_on_members(struct praas_life_process *p, uint64_t conn,
			   const json_t *message)
{
	struct praas_life_members *m = p->life->members;
	struct praas_life_roster *r;
	struct subscriber *s = NULL;
	uint64_t after;

	if (!praas_life_position(message, "after", &after))
		return false;
	(void)pthread_mutex_lock(&m->lock);
	r = find_or_make(p->life, p->record.app);
	if (r)
		s = find_subscriber(m, conn);
	if (r && !s)
		s = join(p->life, r, conn);
	if (s) {
		s->node = p->node;
		s->told = after;
		s->told_too_many = false;
		r->told_ns = 0; /* who asks does not wait */
		arm(r);
	} else if (r) {
		drop_unused(m, r);
	}
	(void)pthread_mutex_unlock(&m->lock);
	if (!s) /* no memory: it connects and asks again */
		praas_link_close(p->life->link, conn);
	return true;
}

void praas_life_members_left(struct praas_life *life, uint64_t conn)
{
	struct praas_life_members *m = life->members;
	struct praas_life_roster *r;
	struct subscriber *s;

	(void)pthread_mutex_lock(&m->lock);
	s = find_subscriber(m, conn);
	if (s) {
		r = s->of;
		leave(m, s);
		drop_unused(m, r);
	}
	(void)pthread_mutex_unlock(&m->lock);
}

/* ---- telling ------------------------------------------------------------------------ */

static json_t *too_many_line(uint64_t version)
{
	return json_pack("{s:s,s:i,s:I,s:b,s:[]}", "t", "members", "from", 0, "version",
			 (json_int_t)version, "too_many", 1, "members");
}

/* All lines that s has not been told. What cannot be sent now is tried again; 0, or -ENOBUFS. */
static int tell(struct praas_life_roster *r, struct subscriber *s)
{
	struct praas_roster_news news = { .after = s->told, .node = s->node };
	bool too_many = praas_roster_count(r->roster) > PRAAS_LIMIT_ROSTER;
	bool more = false;
	int rc = 0;

	if (too_many && s->told_too_many)
		return 0;
	do {
		json_t *line = too_many ? too_many_line(praas_roster_version(r->roster))
					: praas_roster_line(r->roster, &news, &more);

		rc = line ? praas_link_send(r->life->link, s->conn, line) : -ENOBUFS;
		json_decref(line);
	} while (rc == 0 && more);
	if (rc == 0) { /* of one that has gone we hear soon */
		s->told = too_many ? 0 : praas_roster_version(r->roster);
		s->told_too_many = too_many;
	}
	return rc == -ENOBUFS ? rc : 0;
}

static void tell_all(struct praas_life_roster *r, uint64_t now_ns)
{
	uint64_t version = praas_roster_version(r->roster);
	struct subscriber *s;
	int rc = 0;

	r->due_ns = 0;
	r->told_ns = now_ns;
	for (s = r->subscribers; s; s = s->next)
		if ((s->told != version || s->told_too_many) && tell(r, s))
			rc = -ENOBUFS;
	if (rc) { /* somebody does not read */
		r->told_ns += UNREAD_NS;
		arm(r);
	}
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
uint64_t praas_life_members_due(struct praas_life *life, uint64_t now_ns)
{
	struct praas_life_members *m = life->members;
	struct praas_life_roster *r, *next;
	uint64_t due_ns = 0;

	(void)pthread_mutex_lock(&m->lock);
	HASH_ITER(hh, m->rosters, r, next)
	{
		if (r->due_ns != 0 && r->due_ns <= now_ns && r->loaded)
			tell_all(r, now_ns);
		else if (r->due_ns != 0 && r->due_ns <= now_ns && !r->loading) {
			r->loading = true;
			r->due_ns = 0;
			r->job.run = run_load;
			praas_life_background(life, &r->job);
		}
		if (r->due_ns != 0 && !r->loading &&
		    (due_ns == 0 || r->due_ns < due_ns))
			due_ns = r->due_ns;
	}
	(void)pthread_mutex_unlock(&m->lock);
	return due_ns;
}

/* ---- reading ------------------------------------------------------------------------ */

/* A page of the records, as they are now. 0; -ENOMEM. */
static int load_page(struct praas_life_roster *r, struct praas_process_record *page,
		     uint32_t n)
{
	struct praas_life_members *m = r->life->members;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		struct praas_life_view view;

		praas_life_view(r->life, &page[i], &view);
		if (view.record.state == PRAAS_LIFE_DELETING)
			continue;
		(void)pthread_mutex_lock(&m->lock);
		rc = r->roster ? praas_roster_load(r->roster, view.record.number,
						   view.record.name, view.record.epoch,
						   member_state(praas_life_state_text(
							   (enum praas_life_state)
								   view.record.state)))
			       : -ENOMEM;
		if (rc == 0)
			praas_roster_place(r->roster, view.record.number,
					   praas_nodes_index(r->life->config.nodes,
							     view.record.node));
		(void)pthread_mutex_unlock(&m->lock);
	}
	return rc;
}

static int load(struct praas_life_roster *r)
{
	struct praas_records *records = r->life->config.records;
	struct praas_process_record *page = malloc(PRAAS_LIMIT_PAGE * sizeof(*page));
	char after[PRAAS_NAME_MAX + 1] = "";
	uint32_t n = PRAAS_LIMIT_PAGE;
	int rc = page ? 0 : -ENOMEM;

	while (rc == 0 && n == PRAAS_LIMIT_PAGE) {
		rc = records->ops->process_list(records, r->app,
						after[0] ? after : NULL,
						PRAAS_LIMIT_PAGE, page, &n);
		if (rc == 0)
			rc = load_page(r, page, n);
		if (rc == 0 && n > 0)
			memcpy(after, page[n - 1].name, sizeof(after));
	}
	free(page);
	return rc;
}

static void run_load(struct praas_job *job)
{
	struct praas_life_roster *r =
		(struct praas_life_roster *)(void *)((char *)job -
						     offsetof(struct praas_life_roster,
							      job));
	struct praas_life *life = r->life;
	struct praas_life_members *m = life->members;
	int rc;

	/* What happens from here on is told to it, and counts before what is read. */
	(void)pthread_mutex_lock(&m->lock);
	rc = praas_roster_new(++m->version, &r->roster);
	(void)pthread_mutex_unlock(&m->lock);
	if (rc == 0)
		rc = load(r);
	(void)pthread_mutex_lock(&m->lock);
	r->loading = false;
	if (rc == 0 && r->roster) {
		r->loaded = true;
		r->due_ns = 0;
		r->told_ns = 0;
		arm(r);
	} else {
		praas_say(PRAAS_SAY_WARNING, "the members of an application: %s",
			  strerror(rc ? -rc : ENOMEM));
		broken(r);
		praas_link_wake(life->link);
	}
	drop_unused(m, r);
	(void)pthread_mutex_unlock(&m->lock);
	(void)pthread_mutex_lock(&life->lock);
	life->background--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
}

/* ---- the whole ---------------------------------------------------------------------- */

int praas_life_members_new(struct praas_life *life)
{
	life->members = calloc(1, sizeof(*life->members));
	if (!life->members)
		return -ENOMEM;
	(void)pthread_mutex_init(&life->members->lock, NULL);
	/* Above all versions of services before this one, as long as the clock goes forward: below 2^53, in µs. */
	life->members->version = praas_life_realtime_ns() / 1000;
	if (life->config.events)
		praas_events_listen(life->config.events, praas_life_members_changed,
				    life);
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
void praas_life_members_free(struct praas_life *life)
{
	struct praas_life_members *m = life->members;
	struct subscriber *s, *next;

	if (!m)
		return;
	if (life->config.events)
		praas_events_listen(life->config.events, NULL, NULL);
	HASH_ITER(hh, m->subscribers, s, next)
	{
		struct praas_life_roster *r = s->of;

		leave(m, s);
		drop_unused(m, r);
	}
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
	life->members = NULL;
}
