/* SPDX-License-Identifier: Apache-2.0
 *
 * The object store between the actors, step by step; and the rules that hold for what is in it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/named.h"

#define FULL_PER_MILLE 60u
#define FAIL_PER_MILLE 30u
#define CRASH_PER_MILLE 6u

void name_text(unsigned name, char ret_text[8])
{
	(void)snprintf(ret_text, 8, "n%u", name);
}

/* ---- what a process has, as a snapshot has it ---- */

static uint32_t value_bytes(uint32_t value)
{
	return 257 + value % 700; /* so that it lies in a chunk */
}

static void value_fill(uint32_t key, uint32_t value, uint8_t *to)
{
	for (uint32_t i = 0; i < value_bytes(value); i++)
		to[i] = (uint8_t)(value * 31 + key * 7 + i);
}

int add_records(struct praas_snapshot *snapshot, const struct content *c,
		uint8_t values[KEYS][1024])
{
	static const struct praas_export_record memo = {
		.kind = PRAAS_EXPORT_DEDUP, .key = "", .source = 1, .id = 1
	};
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < KEYS; i++) {
		char key[8];
		struct praas_export_record r = { .kind = PRAAS_EXPORT_STATE,
						 .key = key,
						 .version = c->values[i],
						 .data = values[i],
						 .bytes = value_bytes(c->values[i]) };

		if (c->values[i] == 0)
			continue;
		value_fill(i, c->values[i], values[i]);
		r.key_bytes = (uint8_t)snprintf(key, sizeof(key), "k%u", i);
		rc = praas_snapshot_add(snapshot, &r);
	}
	for (uint32_t i = 0; rc == 0 && i < c->letters; i++) {
		const struct praas_export_record r = { .kind = PRAAS_EXPORT_MESSAGE,
						       .key = "letter",
						       .key_bytes = 6,
						       .sequence = i + 1,
						       .data = "dear",
						       .bytes = 4 };

		rc = praas_snapshot_add(snapshot, &r);
	}
	return rc == 0 ? praas_snapshot_add(snapshot, &memo) : rc;
}

struct reading {
	struct content content;
	bool back; /* what was agreed with others is not to be there */
};

static int read_record(void *user, const struct praas_export_record *r)
{
	struct reading *reading = user;
	uint8_t want[1024];
	uint32_t key;

	if (r->kind == PRAAS_EXPORT_MESSAGE) {
		reading->content.letters++;
		return r->bytes == 4 && memcmp(r->data, "dear", 4) == 0 ? 0 : -EBADMSG;
	}
	if (r->kind == PRAAS_EXPORT_DEDUP)
		return reading->back ? -EBADMSG : 0;
	if (r->kind != PRAAS_EXPORT_STATE || r->key_bytes != 2)
		return -EBADMSG;
	key = (uint32_t)(r->key[1] - '0');
	if (key >= KEYS || r->bytes != value_bytes((uint32_t)r->version))
		return -EBADMSG;
	value_fill(key, (uint32_t)r->version, want);
	reading->content.values[key] = (uint32_t)r->version;
	return memcmp(want, r->data, r->bytes) == 0 ? 0 : -EBADMSG;
}

/* As a controller does it (controller/admin.c). */
int sim_store_content(struct praas_store *store, const struct praas_slot_id *id,
		      uint64_t slot, struct content *ret_content)
{
	struct praas_slot_entry *entry = malloc(sizeof(*entry));
	const struct praas_slot_log log = { .store = store, .id = *id };
	struct reading reading = { 0 };
	struct praas_snapshot s = { 0 };
	int rc = entry ? praas_slot_log_read(&log, slot, entry) : -ENOMEM;

	if (rc == 0)
		rc = praas_snapshot_open(store, entry, &s);
	if (rc == 0 && entry->kind == PRAAS_SLOT_BACK) {
		praas_snapshot_keep_own(&s);
		reading.back = true;
	}
	if (rc == 0)
		rc = praas_snapshot_load(store, &s, NULL, 0, read_record, &reading);
	praas_snapshot_release(&s);
	free(entry);
	*ret_content = reading.content;
	return rc;
}

/* ---- rules ---- */

static bool same(const struct content *a, const struct content *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* A snapshot that somebody has been promised is whole, and is what it was. */
static void check_whole(struct sim_store *s, uint64_t slot, const char *what)
{
	struct content c;
	int rc = sim_store_content(s->inner, &s->id, slot, &c);

	if (rc != 0)
		world_violation(s->world, "%s: slot %llu cannot be read: %d", what,
				(unsigned long long)slot, rc);
	else if (!same(&c, &s->slots[slot].content))
		world_violation(s->world, "%s: slot %llu is something else", what,
				(unsigned long long)slot);
}

static void check_order(struct sim_store *s, const struct praas_slot_entry *e)
{
	const struct landed *before = s->count ? &s->slots[s->count - 1] : NULL;

	if (e->slot != s->count || s->count == SLOTS_MAX)
		world_violation(s->world, "slot %llu after %llu",
				(unsigned long long)e->slot,
				(unsigned long long)s->count);
	else if (before && e->epoch < before->epoch)
		world_violation(s->world, "epoch %u writes after %u", e->epoch,
				before->epoch);
	else if (before && e->epoch == before->epoch &&
		 (praas_slot_releases(before->kind) || e->kind == PRAAS_SLOT_ACT ||
		  e->kind == PRAAS_SLOT_BACK))
		world_violation(s->world, "epoch %u goes on after its end", e->epoch);
	else if ((!before || e->epoch > before->epoch) && e->kind != PRAAS_SLOT_ACT &&
		 e->kind != PRAAS_SLOT_BACK)
		world_violation(s->world, "epoch %u begins with kind %u", e->epoch,
				e->kind);
}

/* What a BACK must be: the named snapshot, byte for byte. In the log of a fork: a snapshot of the other. */
static const struct landed *back_of(struct sim_store *s,
				    const struct praas_slot_entry *e)
{
	struct world *w = s->world;
	struct sim_store *from = &w->process;
	struct praas_slot_log log = { .store = from->inner, .id = from->id };
	struct praas_slot_entry *found = malloc(sizeof(*found));
	const struct landed *of = NULL;

	for (uint64_t i = from->count; found && !of && i > 0; i--) {
		if (!praas_slot_has_snapshot(from->slots[i - 1].kind) ||
		    praas_slot_log_read(&log, i - 1, found) != 0 ||
		    found->body_bytes != e->body_bytes ||
		    memcmp(found->body, e->body, e->body_bytes) != 0)
			continue;
		if (w->current->job == JOB_BACK || !w->current->last) {
			uint64_t named = w->names[w->current->name].slot;

			/* A rollback to what is there already is the same again. */
			if (!same(&from->slots[named].content,
				  &from->slots[i - 1].content))
				continue;
		}
		of = &from->slots[i - 1];
	}
	free(found);
	if (!of)
		world_violation(w, "BACK of epoch %u is no snapshot of that name",
				e->epoch);
	return of;
}

static void on_landed(struct sim_store *s, const char *key)
{
	struct praas_slot_log log = { .store = s->inner, .id = s->id };
	struct praas_slot_entry *e = malloc(sizeof(*e));
	uint64_t slot = strtoull(key + 4, NULL, 10);
	struct world *w = s->world;
	const struct landed *of;

	if (!e || praas_slot_log_read(&log, slot, e) != 0) {
		world_violation(w, "%s cannot be read", key);
		free(e);
		return;
	}
	world_trace(w, "%s of %llu: kind %u of epoch %u", key,
		    (unsigned long long)s->id.pid, e->kind, e->epoch);
	check_order(s, e);
	w->current->landed++;
	if (!w->failed) {
		struct landed *l = &s->slots[s->count++];

		*l = (struct landed){ .epoch = e->epoch,
				      .kind = e->kind,
				      .content = w->current->pending };
		if (e->kind == PRAAS_SLOT_ACT)
			w->current->base = s->last;
		if (e->kind == PRAAS_SLOT_BACK && (of = back_of(s, e)) != NULL)
			l->content = of->content;
		if (praas_slot_has_snapshot(e->kind)) {
			if (praas_refs_open(s->inner, e, &l->refs) != 0)
				world_violation(w, "%s has no manifest", key);
			s->previous = s->last;
			s->last = slot;
			check_whole(s, slot, "committed");
			w->commits++;
		}
	}
	free(e);
}

static bool refers(const struct landed *l, const char *key)
{
	char name[PRAAS_STORE_KEY_MAX + 1];

	if (strcmp(l->refs.object, key) == 0)
		return true;
	for (uint32_t i = 0; i < l->refs.chunks_count; i++) {
		praas_snapshot_chunk_key(&l->refs.chunks[i], name);
		if (strcmp(name, key) == 0)
			return true;
	}
	return false;
}

/* What the last two snapshots and those with a name need stays. */
static void check_delete(struct sim_store *s, const char *key)
{
	struct world *w = s->world;

	if (strncmp(key, "log/", 4) == 0)
		world_violation(w, "%s is deleted", key);
	if (s->last != PRAAS_SLOT_NONE && refers(&s->slots[s->last], key))
		world_violation(w, "the last snapshot needs %s", key);
	if (s->previous != PRAAS_SLOT_NONE && refers(&s->slots[s->previous], key))
		world_violation(w, "the last snapshot but one needs %s", key);
	for (unsigned i = 0; s == &w->process && i < NAMES; i++)
		if (w->names[i].acked && refers(&s->slots[w->names[i].slot], key))
			world_violation(w, "n%u needs %s", i, key);
	w->swept += strncmp(key, "chunk/", 6) == 0;
}

static void on_named(struct sim_store *s, const char *key, bool there)
{
	const struct praas_slot_log log = { .store = s->inner, .id = s->id };
	const char *text = key + strlen("named/n.");
	struct name *n = &s->world->names[text[1] - '0'];
	struct praas_named named;

	if (s != &s->world->process) {
		world_violation(s->world, "a fork has the name %s", text);
		return;
	}
	n->there = there;
	if (!there)
		return;
	if (praas_named_get(&log, text, &named) != 0)
		world_violation(s->world, "%s cannot be read", key);
	else
		n->slot = named.slot;
}

/* ---- the store ---- */

static struct sim_store *of(struct praas_store *base)
{
	return (struct sim_store *)(void *)base;
}

/* Of 1000. */
static bool strikes(struct world *w, unsigned kind, unsigned per_mille)
{
	return w->faulty && (w->faults & kind) && world_below(w, 1000) < per_mille;
}

static bool crash(struct world *w)
{
	struct actor *a = w->current;
	unsigned kind = a->job == JOB_CONTROLLER ? FAULT_CRASH : FAULT_CONTROL;

	if (!a->dead && strikes(w, kind, CRASH_PER_MILLE)) {
		world_trace(w, "crash");
		a->dead = true;
		w->crashes++;
	}
	return a->dead;
}

/* Before an operation: non-zero, and it is not done. */
static int before(struct sim_store *s, const char *op, const char *key)
{
	struct world *w = s->world;

	world_yield(w);
	if (crash(w) || w->failed)
		return -ECANCELED;
	for (const char *c = op; *c; c++)
		world_mix(w, (uint64_t)*c);
	for (const char *c = key; *c; c++)
		world_mix(w, (uint64_t)*c);
	if (op[0] == 'p' && strikes(w, FAULT_FULL, FULL_PER_MILLE))
		return -ENOSPC;
	return strikes(w, FAULT_ERROR, op[0] == 'p' ? w->trouble : FAIL_PER_MILLE)
		       ? -EIO
		       : 0;
}

/* After it: non-zero, and nobody knows that it is done. */
static int after(struct sim_store *s)
{
	struct world *w = s->world;

	if (crash(w))
		return -ECANCELED;
	return strikes(w, FAULT_LOST, w->trouble) ? -EIO : 0;
}

static int sim_put_if_absent(struct praas_store *base, const char *key,
			     const void *data, size_t bytes)
{
	struct sim_store *s = of(base);
	int rc = before(s, "put_if_absent", key);

	if (rc == 0)
		rc = s->inner->ops->put_if_absent(s->inner, key, data, bytes);
	if (rc != 0)
		return rc;
	if (strncmp(key, "log/", 4) == 0)
		on_landed(s, key);
	else
		on_named(s, key, true);
	return after(s);
}

static int sim_put(struct praas_store *base, const struct praas_store_source *source)
{
	struct sim_store *s = of(base);
	int rc = before(s, "put", "");

	if (rc == 0)
		rc = s->inner->ops->put(s->inner, source);
	return rc == 0 ? after(s) : rc;
}

static int sim_get(struct praas_store *base, const char *key, uint64_t offset,
		   void *data, size_t bytes, size_t *ret_bytes)
{
	struct sim_store *s = of(base);
	int rc = before(s, "get", key);

	return rc == 0 ? s->inner->ops->get(s->inner, key, offset, data, bytes,
					    ret_bytes)
		       : rc;
}

static int sim_stat(struct praas_store *base, const char *key, uint64_t *ret_bytes)
{
	struct sim_store *s = of(base);
	int rc = before(s, "stat", key);

	return rc == 0 ? s->inner->ops->stat(s->inner, key, ret_bytes) : rc;
}

/* Names are read at once, and looked at as others go on. */
struct names {
	char (*names)[PRAAS_STORE_KEY_MAX + 1];
	size_t count, room;
};

static int add_name(void *user, const char *key)
{
	struct names *n = user;

	if (n->count == n->room) {
		size_t room = n->room ? 2 * n->room : 64;
		void *more = realloc(n->names, room * sizeof(*n->names));

		if (!more)
			return -ENOMEM;
		n->names = more;
		n->room = room;
	}
	(void)snprintf(n->names[n->count++], sizeof(*n->names), "%s", key); /* fits */
	return 0;
}

static int sim_list(struct praas_store *base, const char *prefix, const char *after_key,
		    praas_store_list_fn fn, void *user)
{
	struct sim_store *s = of(base);
	struct names n = { 0 };
	int rc = before(s, "list", prefix);

	if (rc == 0)
		rc = s->inner->ops->list(s->inner, prefix, after_key, add_name, &n);
	for (size_t i = 0; rc == 0 && i < n.count; i++)
		rc = fn(user, n.names[i]);
	free(n.names);
	return rc;
}

static int sim_delete(struct praas_store *base, const char *key)
{
	struct sim_store *s = of(base);
	int rc = before(s, "delete", key);

	if (rc != 0)
		return rc;
	check_delete(s, key);
	rc = s->inner->ops->delete (s->inner, key);
	if (rc == 0 && strncmp(key, "named/", 6) == 0)
		on_named(s, key, false);
	return rc == 0 ? after(s) : rc;
}

static void sim_free(struct praas_store *base)
{
	(void)base; /* it is the world's */
}

static const struct praas_store_ops sim_ops = {
	.scheme = "sim",
	.put_if_absent = sim_put_if_absent,
	.put = sim_put,
	.get = sim_get,
	.stat = sim_stat,
	.list = sim_list,
	.delete = sim_delete,
	.free = sim_free,
};

bool sim_store_open(struct world *w, struct sim_store *s, uint64_t pid)
{
	memset(s, 0, sizeof(*s));
	s->base.ops = &sim_ops;
	s->world = w;
	s->id = (struct praas_slot_id){ .tenant = "t", .pid = pid, .generation = 1 };
	s->last = s->previous = PRAAS_SLOT_NONE;
	return praas_store_memory_open(&s->inner) == 0;
}

void sim_store_close(struct sim_store *s)
{
	for (uint64_t i = 0; i < s->count; i++)
		praas_refs_release(&s->slots[i].refs);
	praas_store_free(s->inner);
	s->inner = NULL;
}

static int check_needed(void *user, const char *key)
{
	struct sim_store *s = user;
	struct world *w = s->world;
	bool needed =
		(s->last != PRAAS_SLOT_NONE && refers(&s->slots[s->last], key)) ||
		(s->previous != PRAAS_SLOT_NONE && refers(&s->slots[s->previous], key));

	for (unsigned i = 0; i < NAMES; i++)
		needed |= w->names[i].there && refers(&s->slots[w->names[i].slot], key);
	if (!needed)
		world_violation(w, "nobody needs %s, and it stays", key);
	return 0;
}

void sim_store_check_garbage(struct world *w, struct sim_store *s)
{
	if (s->last != PRAAS_SLOT_NONE)
		check_whole(s, s->last, "the end");
	for (unsigned i = 0; i < NAMES; i++)
		if (w->names[i].acked)
			check_whole(s, w->names[i].slot, "a name at the end");
	(void)s->inner->ops->list(s->inner, "chunk/", NULL, check_needed, s);
	(void)s->inner->ops->list(s->inner, "manifest/", NULL, check_needed, s);
}
