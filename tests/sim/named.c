/* SPDX-License-Identifier: Apache-2.0
 *
 * What the actors of the simulator of named snapshots do, and what must come of it (named.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/named.h"

#define LOAD_TRIES 20u

/* ---- a controller ---- */

struct life {
	struct praas_slot_log log;
	struct praas_slot_entry *entry;
	struct praas_snapshot current, previous;
	struct praas_named_set *named;
	struct content content;
};

/* Again and again when the store does not say. */
static int put(struct world *w, struct life *l)
{
	int rc = -EIO;

	for (unsigned i = 0; rc == -EIO && i < LOAD_TRIES; i++)
		rc = praas_slot_log_put(&l->log, l->entry);
	if (rc == -ESTALE)
		w->fenced++;
	return rc;
}

static int activate(struct world *w, struct actor *a, struct life *l)
{
	struct sim_store *s = &w->process;
	int rc = -EIO;

	for (unsigned i = 0; rc == -EIO && i < LOAD_TRIES; i++)
		rc = praas_slot_log_open(&s->base, &s->id, &l->log);
	if (rc != 0 || l->log.epoch_max >= a->epoch)
		return rc ? rc : -ESTALE;
	l->entry->kind = PRAAS_SLOT_ACT;
	l->entry->epoch = a->epoch;
	l->entry->body_bytes = 0;
	return put(w, l);
}

/* The last snapshot: what there was when ACT came in. */
static int load(struct world *w, const struct actor *a, struct life *l)
{
	struct sim_store *s = &w->process;
	uint64_t slot = l->log.snapshot_slot;
	int rc = -EIO;

	if (slot != a->base)
		world_violation(w, "epoch %u loads slot %llu and not %llu", a->epoch,
				(unsigned long long)slot, (unsigned long long)a->base);
	if (slot == PRAAS_SLOT_NONE)
		return 0;
	for (unsigned i = 0; rc == -EIO && i < LOAD_TRIES; i++)
		rc = sim_store_content(&s->base, &s->id, slot, &l->content);
	for (unsigned i = 0; rc == 0 && l->current.records == NULL && i < LOAD_TRIES;
	     i++)
		if (praas_slot_log_read(&l->log, slot, l->entry) == 0)
			(void)praas_snapshot_open(&s->base, l->entry,
						  &l->current); /* again */
	if (a->dead || (rc != 0 && s->slots[s->count - 1].epoch > a->epoch))
		return -ESTALE; /* it is swept, for another one */
	if (rc != 0 && rc != -EIO)
		world_violation(w, "epoch %u cannot load the last snapshot: %d",
				a->epoch, rc);
	else if (rc == 0 &&
		 memcmp(&l->content, &s->slots[slot].content, sizeof(l->content)) != 0)
		world_violation(w, "epoch %u loads something else", a->epoch);
	return rc;
}

static void change(struct world *w, struct content *c)
{
	for (unsigned i = 0; i < KEYS; i++) {
		if (world_below(w, 3) == 0)
			c->values[i] = ++w->values;
		else if (world_below(w, 12) == 0)
			c->values[i] = 0;
	}
	c->letters = (uint32_t)world_below(w, 4);
}

static int save(struct world *w, struct actor *a, struct life *l, bool final)
{
	static uint8_t values[KEYS][1024];
	struct praas_snapshot_result result;
	struct praas_snapshot next = { 0 };
	uint8_t(*mine)[1024] = malloc(sizeof(values));
	int rc = mine ? add_records(&next, &l->content, mine) : -ENOMEM;

	memset(l->entry->nonce, 0, sizeof(l->entry->nonce));
	l->entry->epoch = a->epoch;
	l->entry->kind = final ? PRAAS_SLOT_REL : PRAAS_SLOT_SNAP;
	if (rc == 0)
		rc = praas_snapshot_write(&w->process.base, &next, NULL, 0, &l->current,
					  l->entry, &result);
	free(mine);
	a->pending = l->content;
	if (rc == 0)
		rc = put(w, l);
	if (rc != 0) {
		praas_snapshot_release(&next);
		return rc;
	}
	praas_snapshot_release(&l->previous);
	l->previous = l->current;
	l->current = next;
	return 0;
}

static void sweep(struct life *l)
{
	struct praas_refs last[2];
	int rc = 0;

	if (!l->previous.records && l->log.previous_slot != PRAAS_SLOT_NONE &&
	    praas_slot_log_read(&l->log, l->log.previous_slot, l->entry) == 0)
		rc = praas_snapshot_open(l->log.store, l->entry, &l->previous);
	last[0] = praas_snapshot_refs(&l->current);
	last[1] = praas_snapshot_refs(&l->previous);
	if (rc == 0 || rc == -ENOENT)
		(void)praas_named_sweep(&l->log, l->named,
					last); /* the next one does */
}

/* Serves, and saves now and then, until it is told to go. */
static void serve(struct world *w, struct actor *a, struct life *l)
{
	int rc = 0;

	if (w->tidy) {
		sweep(l);
		return;
	}
	while (!a->dead && !w->failed && rc != -ESTALE) {
		bool final = w->swap_wanted;

		change(w, &l->content);
		rc = save(w, a, l, final);
		if (rc == 0 && final)
			return;
		for (unsigned i = (unsigned)world_below(w, 12); i > 0 && !a->dead; i--)
			world_yield(w);
		if (rc == 0 && !a->dead && world_below(w, 4) != 0)
			sweep(l);
	}
}

static void controller(struct world *w, struct actor *a)
{
	struct life l = { .entry = calloc(1, sizeof(*l.entry)),
			  .named = calloc(1, sizeof(*l.named)) };

	if (l.entry && l.named && activate(w, a, &l) == 0 && load(w, a, &l) == 0)
		serve(w, a, &l);
	praas_snapshot_release(&l.current);
	praas_snapshot_release(&l.previous);
	if (l.named)
		praas_named_set_release(l.named);
	free(l.named);
	free(l.entry);
	/* Somebody else may have been put in its place. */
	w->resting |= a->epoch == w->epoch;
}

/* ---- the control service ---- */

static int open_log(struct world *w, struct praas_slot_log *ret_log)
{
	return praas_slot_log_open(&w->process.base, &w->process.id, ret_log);
}

static void give(struct world *w, struct actor *a)
{
	struct name *n = &w->names[a->name];
	uint64_t before = w->process.last;
	bool was = n->there;
	struct praas_named named;
	struct praas_slot_log log;
	char text[8];
	int rc = open_log(w, &log);

	name_text(a->name, text);
	if (rc == 0)
		rc = praas_named_give(&log, text, 1, &named);
	if (a->dead)
		return;
	world_trace(w, "given: %d", rc);
	w->refused += rc != 0;
	if (rc == 0 && (!n->there || n->slot != named.slot || was))
		world_violation(w, "n%u was given and is not there, or was before",
				a->name);
	else if (rc == 0 && before != PRAAS_SLOT_NONE && named.slot < before)
		world_violation(w, "n%u is of an older snapshot", a->name);
	else if (rc == -EPROTO || rc == -ENOENT)
		world_violation(w, "the last snapshot has no name for it: %d", rc);
	n->acked |= rc == 0;
	w->gives += rc == 0;
}

static void take(struct world *w, struct actor *a)
{
	struct name *n = &w->names[a->name];
	struct praas_slot_log log;
	char text[8];
	int rc = open_log(w, &log);

	name_text(a->name, text);
	n->acked = false;
	if (rc == 0)
		rc = praas_named_take(&log, text);
	if (a->dead)
		return;
	world_trace(w, "taken: %d", rc);
	if ((rc == 0 || rc == -ENOENT) && n->there)
		world_violation(w, "n%u was taken and is there", a->name);
	w->takes += rc == 0;
}

static void back(struct world *w, struct actor *a)
{
	struct praas_slot_entry *entry = malloc(sizeof(*entry));
	bool acked = w->names[a->name].acked;
	struct praas_slot_log log;
	char text[8];
	int rc = entry ? open_log(w, &log) : -ENOMEM;

	name_text(a->name, text);
	if (rc == 0)
		rc = praas_back_put(&log, text, w->epoch, entry);
	if (!a->dead) {
		world_trace(w, "back: %d", rc);
		if (rc == 0 && a->landed != 1)
			world_violation(w, "one rollback put %u entries", a->landed);
		if (rc != 0 && rc != -EIO && a->landed != 0)
			world_violation(w, "a rollback that failed with %d was done",
					rc);
		if ((rc == -ENOENT || rc == -EPROTO) && acked)
			world_violation(w, "n%u cannot be gone back to: %d", a->name,
					rc);
		if (rc == 0)
			w->epoch = entry->epoch;
		w->backs += rc == 0;
	}
	free(entry);
}

/* The new one has what the named snapshot has, or one that was the last meanwhile. */
static void check_fork(struct world *w, const struct actor *a, uint64_t first)
{
	struct sim_store *to = &w->forks[w->forks_count];
	struct content *c = &w->fork_content[w->forks_count];
	uint64_t named = w->names[a->name].slot;
	bool found = false;

	if (to->count != 1 || to->slots[0].kind != PRAAS_SLOT_BACK ||
	    sim_store_content(to->inner, &to->id, 0, c) != 0) {
		world_violation(w, "a fork that was made cannot be read");
		return;
	}
	for (uint64_t i = first; a->last && i < w->process.count; i++)
		found |= praas_slot_has_snapshot(w->process.slots[i].kind) &&
			 memcmp(c, &w->process.slots[i].content, sizeof(*c)) == 0;
	if (a->last ? !found
		    : memcmp(c, &w->process.slots[named].content, sizeof(*c)) != 0)
		world_violation(w, "a fork is something else");
}

static int make_fork(struct world *w, const struct actor *a, struct praas_fork *f)
{
	struct sim_store *to = &w->forks[w->forks_count];
	struct praas_slot_log log, new_log;
	int rc = open_log(w, &log);

	if (rc == 0)
		rc = praas_fork_find(f, &log);
	if ((rc == -ENOENT || rc == -EPROTO) && (a->last || w->names[a->name].acked))
		world_violation(w, "%s cannot be forked: %d",
				a->last ? "the last snapshot" : "a name", rc);
	if (rc == 0)
		rc = praas_fork_share(f, &log, &to->base);
	if (rc == 0)
		rc = praas_slot_log_open(&to->base, &to->id, &new_log);
	return rc == 0 ? praas_fork_put(f, &new_log, 1) : rc;
}

static void fork_it(struct world *w, struct actor *a)
{
	struct praas_fork f = { .entry = malloc(sizeof(*f.entry)) };
	struct sim_store *to = &w->forks[w->forks_count];
	uint64_t first = w->process.last;
	char text[8];
	int rc = f.entry && sim_store_open(w, to, 100 + w->forks_count) ? 0 : -ENOMEM;

	name_text(a->name, text);
	f.snapshot = a->last ? NULL : text;
	if (rc == 0)
		rc = make_fork(w, a, &f);
	praas_refs_release(&f.refs);
	free(f.entry);
	world_trace(w, "fork: %d", rc);
	if (rc == 0 && !a->dead && !w->failed) {
		check_fork(w, a, first == PRAAS_SLOT_NONE ? 0 : first);
		w->forks_count++;
		w->forked++;
	} else {
		sim_store_close(to); /* undone */
	}
}

void actor_run(struct world *w, struct actor *a)
{
	switch (a->job) {
	case JOB_CONTROLLER:
		controller(w, a);
		break;
	case JOB_GIVE:
		give(w, a);
		break;
	case JOB_TAKE:
		take(w, a);
		break;
	case JOB_BACK:
		back(w, a);
		break;
	case JOB_FORK:
		fork_it(w, a);
		break;
	}
}
