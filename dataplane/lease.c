/* SPDX-License-Identifier: Apache-2.0
 *
 * Exclusive updates in place. A lease belongs to one holder at a time; others stand in its queue.
 * After an update the holder may keep it, and then updates again without asking, until somebody
 * else wants it: then it is recalled. Put and delete do not wait for leases: the update that was
 * under way counts as having come before them.
 */
#include <errno.h>

#include "dataplane/process_private.h"
#include "dataplane/state.h"
#include "shm/doorbell.h"

#define UPDATES_MAX (UINT64_C(1) << 32) /* of one lease between two looks */

static struct praas_lease *lease_of(struct praas_state *s, const struct praas_object *o)
{
	return o->lease ? &s->leases[o->lease - 1] : NULL;
}

/* leases[] is there as long as s is: praas_state_init() fails without. */
static struct praas_lease *lease_new(struct praas_state *s, struct praas_object *o,
				     uint32_t holder)
{
	uint32_t i = s->leases_free;

	if (i)
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): see above */
		s->leases_free = s->leases[i - 1].next;
	else if (s->leases_used < PRAAS_LEASES_MAX)
		i = ++s->leases_used;
	else
		return NULL;
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): see above */
	s->leases[i - 1] =
		(struct praas_lease){ .object = (uint32_t)(o - s->objects) + 1,
				      .holder = holder,
				      .state = PRAAS_LEASE_ACTIVE };
	o->lease = i;
	return &s->leases[i - 1];
}

/* Nobody holds it and nobody waits; an object that is not live goes too. */
static void lease_free(struct praas_state *s, struct praas_lease *l)
{
	struct praas_object *o = &s->objects[l->object - 1];

	l->object = 0;
	l->next = s->leases_free;
	s->leases_free = (uint32_t)(l - s->leases) + 1;
	o->lease = 0;
	if (o->version == 0)
		praas_state_object_drop(s, o);
}

static void wait_append(struct praas_state *s, struct praas_lease *l,
			struct praas_fn_wait *wait)
{
	wait->queue = (uint32_t)(l - s->leases) + 1;
	wait->next = NULL;
	wait->prev = l->wait_last;
	*(l->wait_last ? &l->wait_last->next : &l->wait_first) = wait;
	l->wait_last = wait;
	wait->all_prev = NULL;
	wait->all_next = s->waits;
	if (s->waits)
		s->waits->all_prev = wait;
	s->waits = wait;
}

void praas_state_wait_remove(struct praas_state *s, struct praas_fn_wait *wait)
{
	struct praas_lease *l = &s->leases[wait->queue - 1];

	*(wait->prev ? &wait->prev->next : &l->wait_first) = wait->next;
	*(wait->next ? &wait->next->prev : &l->wait_last) = wait->prev;
	*(wait->all_prev ? &wait->all_prev->all_next : &s->waits) = wait->all_next;
	if (wait->all_next)
		wait->all_next->all_prev = wait->all_prev;
	wait->queue = 0;
}

/* Whether an update of that size may begin. */
static int check_size(const struct praas_object *o, uint64_t bytes)
{
	if (o->torn)
		return -EIO;
	if (o->version == 0)
		return bytes ? 0 : -ENOENT;
	return bytes && bytes != o->value.bytes ? -ESTALE : 0;
}

/* ---- holders that do not ask ---- */

/*
 * A holder that keeps its lease counts its updates in a word of its own and says there when one is
 * under way. Who wants the lease marks it as ended, fences the holder (membarrier), then looks at
 * the word; the holder changes its word, then looks at the mark. Either the holder sees the mark
 * and leaves the object alone, or tells when it has finished; or we see that it updates.
 */

/* What it has committed counts. True: an update is under way. */
static bool harvest(struct praas_state *s, struct praas_lease *l)
{
	struct praas_object *o = &s->objects[l->object - 1];
	/* lease.A0, pairs with lease.R0: what was written before it was counted is visible. */
	uint64_t word = atomic_load_explicit(l->word, memory_order_acquire);
	uint64_t n = (word >> 1) - l->count;

	if (n == 0 || l->replaced || o->version == 0)
		return word & 1;
	l->count = word >> 1;
	l->version += n <= UPDATES_MAX ? n : 1; /* more: it lies */
	if (praas_unlikely(o->place != 0))
		praas_overflow_changed(s, o);
	o->version = l->version;
	o->modified_ns = praas_state_now();
	s->version = praas_max_u64(s->version, o->version);
	praas_state_publish(s, o);
	return word & 1;
}

static void end_word(struct praas_state *s, struct praas_lease *l)
{
	if (!l->word)
		return;
	/* Nothing is handed over by it: who sees it asks. */
	atomic_store_explicit(l->ended, l->number, memory_order_relaxed);
	l->word = NULL;
	l->ended = NULL;
	s->words--;
}

/* A kept lease is wanted. True: it is free. */
static bool take_back(struct praas_state *s, struct praas_lease *l)
{
	atomic_store_explicit(l->ended, l->number, memory_order_relaxed);
	praas_doorbell_fence_producers();
	if (!harvest(s, l))
		return true;
	l->state = PRAAS_LEASE_RECALLED; /* it tells when it has finished */
	return false;
}

static bool is_silent(const struct praas_lease *l)
{
	return l->word && l->state != PRAAS_LEASE_ACTIVE;
}

static void grant(struct praas_state *s, struct praas_lease *l,
		  const struct praas_object *o, struct praas_fn_wait *wait)
{
	/* Where changes are written down, none is made in silence. */
	l->word = s->changes ? NULL : wait->word;
	l->ended = wait->ended;
	if (l->word) {
		s->words++;
		l->count = atomic_load_explicit(l->word, memory_order_relaxed) >> 1;
		l->number = l->version = ++s->version;
	}
	wait->grant = (struct praas_update_grant){ .version = o->version,
						   .lease = l->word ? l->number : 0,
						   .bytes = o->version ? o->value.bytes
								       : wait->bytes,
						   .offset = o->value.offset,
						   .segment = o->value.segment,
						   .data = o->value.data };
}

/* The lease is free: the first waiting whose wish can be met has it. */
static void pass_on(struct praas_state *s, struct praas_lease *l)
{
	struct praas_object *o = &s->objects[l->object - 1];

	end_word(s, l);
	l->replaced = false;
	while (l->wait_first) {
		struct praas_fn_wait *wait = l->wait_first;
		int rc = check_size(o, wait->bytes);

		praas_state_wait_remove(s, wait);
		if (rc == 0) {
			l->holder = wait->holder;
			l->state = PRAAS_LEASE_ACTIVE;
			grant(s, l, o, wait);
			praas_process_wait_over(wait, 0);
			return;
		}
		/* Nobody may take the lease while we are telling. */
		l->state = PRAAS_LEASE_ACTIVE;
		praas_process_wait_over(wait, rc);
	}
	lease_free(s, l);
}

static void recall(struct praas_state *s, struct praas_lease *l)
{
	const struct praas_object *o = &s->objects[l->object - 1];

	if (l->state != PRAAS_LEASE_KEPT)
		return;
	l->state = PRAAS_LEASE_RECALLED;
	if (s->recall)
		s->recall(s->recall_user, l->holder, praas_state_key(s, o),
			  o->key_bytes);
}

void praas_lease_sync(struct praas_state *s, struct praas_object *o)
{
	struct praas_lease *l = lease_of(s, o);

	if (praas_unlikely(l != NULL) && is_silent(l))
		(void)harvest(s, l);
}

void praas_lease_sync_all(struct praas_state *s)
{
	for (uint32_t i = 0; s->words != 0 && i < s->leases_used; i++)
		if (s->leases[i].object != 0 && is_silent(&s->leases[i]))
			(void)harvest(s, &s->leases[i]);
}

/* As far as the controller knows. Looked at after harvest(): a recalled one that is left updates. */
static bool is_updated(const struct praas_state *s, const struct praas_lease *l)
{
	return l->object != 0 && !l->replaced &&
	       s->objects[l->object - 1].version != 0 &&
	       (l->state == PRAAS_LEASE_ACTIVE ||
		(l->state == PRAAS_LEASE_RECALLED && l->word));
}

bool praas_lease_freeze(struct praas_state *s)
{
	bool marked = false;

	for (uint32_t i = 0; s->words != 0 && i < s->leases_used; i++) {
		struct praas_lease *l = &s->leases[i];

		if (l->object == 0 || !l->word || l->state != PRAAS_LEASE_KEPT)
			continue;
		atomic_store_explicit(l->ended, l->number, memory_order_relaxed);
		l->state = PRAAS_LEASE_RECALLED;
		marked = true;
	}
	if (marked)
		praas_doorbell_fence_producers();
	for (uint32_t i = 0; s->words != 0 && i < s->leases_used; i++)
		if (s->leases[i].object != 0 && is_silent(&s->leases[i]) &&
		    !harvest(s, &s->leases[i]))
			pass_on(s, &s->leases[i]);
	for (uint32_t i = 0; i < s->leases_used; i++)
		if (is_updated(s, &s->leases[i]))
			return false; /* perhaps granted just now, to who waited */
	return true;
}

bool praas_lease_settle(struct praas_state *s, struct praas_object *o)
{
	struct praas_lease *l = lease_of(s, o);

	if (!l)
		return true;
	if (l->state == PRAAS_LEASE_KEPT && l->word && take_back(s, l)) {
		pass_on(s, l); /* nobody waits for a kept one */
		return true;
	}
	return l->state == PRAAS_LEASE_KEPT;
}

static void take_over(struct praas_state *s, struct praas_lease *l, uint32_t holder)
{
	end_word(s, l);
	l->holder = holder;
	l->state = PRAAS_LEASE_ACTIVE;
}

/* The holder asks for another one with the same word: it has done with what it had by it. */
static void release_word(struct praas_state *s, const struct praas_fn_wait *wait)
{
	for (uint32_t i = 0; s->words != 0 && i < s->leases_used; i++) {
		struct praas_lease *l = &s->leases[i];

		if (l->object == 0 || l->word != wait->word)
			continue;
		if (is_silent(l))
			(void)harvest(s, l);
		pass_on(s, l);
		return;
	}
}

/* The object of that key, made when bytes says so, its value in memory. */
static int object_for(struct praas_state *s, const char *key, uint32_t key_bytes,
		      uint64_t bytes, struct praas_object **ret_object)
{
	struct praas_object *o = praas_state_find(s, key, key_bytes);

	if (!o && bytes == 0)
		return -ENOENT;
	if (!o)
		o = praas_state_object_get(s, key, key_bytes);
	if (!o)
		return -ENOSPC;
	if (praas_unlikely(o->late != NULL) && praas_state_settle(s, o) != 0)
		return -EIO;
	if (praas_unlikely(o->place != 0) && !praas_overflow_use(s, o))
		return -ENODATA;
	*ret_object = o;
	return 0;
}

int praas_lease_begin(struct praas_state *s, uint32_t holder, const char *key,
		      uint32_t key_bytes, uint64_t bytes, struct praas_fn_wait *wait)
{
	struct praas_object *o;
	struct praas_lease *l;
	int rc;

	if (wait->word)
		release_word(s, wait);
	rc = object_for(s, key, key_bytes, bytes, &o);
	if (rc != 0)
		return rc;
	wait->queue = 0;
	wait->holder = holder;
	wait->bytes = bytes;
	l = lease_of(s, o);
	rc = check_size(o, bytes);
	if (rc == 0 && !l)
		l = lease_new(s, o, holder);
	else if (rc == 0 && l->state == PRAAS_LEASE_KEPT &&
		 (l->word ? take_back(s, l) : l->holder == holder))
		take_over(s, l, holder);
	else if (rc == 0)
		rc = -EINPROGRESS;
	if (rc == 0 && l) {
		grant(s, l, o, wait);
		return 0;
	}
	if (!l) {
		if (o->version == 0)
			praas_state_object_drop(s, o);
		return rc ? rc : -ENOBUFS;
	}
	if (rc != -EINPROGRESS)
		return rc;
	recall(s, l);
	/* Its own update would have to end first: waiting for that would never end. */
	if (wait->deadline_ns == 0 || l->holder == holder)
		return -EAGAIN;
	wait_append(s, l, wait);
	return -EINPROGRESS;
}

static int take_new_home(struct praas_state *s, struct praas_object *o,
			 struct praas_value *moved)
{
	if (s->bytes - o->value.charge + moved->charge > s->bytes_max ||
	    (o->version == 0 && s->count >= s->keys_max))
		return -ENOSPC;
	if (praas_unlikely(s->overflow != NULL) &&
	    praas_overflow_room(s, moved->charge, 0) != 0)
		return -ENOSPC;
	return praas_state_retire_room(s, 1);
}

/* The number that a silent holder was told at its grant. */
static uint64_t next_version(struct praas_state *s, const struct praas_lease *l)
{
	return l->word ? l->version : ++s->version;
}

/* A silent holder has seen that its lease is over. */
static int end_silent(struct praas_state *s, struct praas_lease *l,
		      struct praas_value *moved, bool *ret_kept, uint64_t *ret_version)
{
	(void)harvest(s, l);
	if (moved)
		praas_value_release(moved); /* it had a place already */
	*ret_kept = false;
	*ret_version = s->objects[l->object - 1].version;
	pass_on(s, l);
	return 0;
}

int praas_lease_commit(struct praas_state *s, uint32_t holder, const char *key,
		       uint32_t key_bytes, struct praas_value *moved, bool keep,
		       bool *ret_kept, uint64_t *ret_version)
{
	struct praas_object *o = praas_state_find(s, key, key_bytes);
	struct praas_lease *l = o ? lease_of(s, o) : NULL;
	bool goes_on =
		keep; /* it does, without a word: if it may not, it must be fenced */
	int rc = 0;

	if (!l || l->holder != holder)
		return -EINVAL;
	if (is_silent(l))
		return end_silent(s, l, moved, ret_kept, ret_version);
	if (l->replaced) {
		/* The update came before the put or delete: nothing of it is left. */
		if (moved)
			praas_value_release(moved);
		keep = false;
	} else if (moved) {
		rc = take_new_home(s, o, moved);
		if (rc == 0)
			praas_state_replace(s, o, moved, next_version(s, l),
					    praas_state_now());
		else if (o->version != 0 && !l->word)
			return rc; /* still held: the holder may try a smaller one */
		else
			keep = false;
	} else if (o->version != 0) {
		if (praas_unlikely(o->place != 0))
			praas_overflow_changed(s, o);
		o->version = next_version(s, l);
		o->modified_ns = praas_state_now();
		praas_state_publish(s, o);
		if (praas_unlikely(s->changes != NULL))
			praas_state_changed(s, o);
	} else {
		keep = false; /* began to make it and gave up */
	}
	*ret_version = o->version;
	*ret_kept = keep && !l->wait_first && !s->changes;
	if (*ret_kept || (l->word && goes_on))
		l->state = PRAAS_LEASE_KEPT;
	if (!*ret_kept && (!is_silent(l) || take_back(s, l)))
		pass_on(s, l);
	return rc;
}

void praas_state_lease_replaced(struct praas_state *s, struct praas_object *o)
{
	struct praas_lease *l = lease_of(s, o);

	if (!l)
		return;
	/* Who keeps a lease looks at the index before it updates, and sees another object. */
	if (l->state == PRAAS_LEASE_KEPT && l->word && !take_back(s, l)) {
		l->replaced = true; /* it updates: that came before */
		return;
	}
	if (l->state == PRAAS_LEASE_KEPT) {
		end_word(s, l);
		l->object = 0;
		l->next = s->leases_free;
		s->leases_free = o->lease;
		o->lease = 0;
		return;
	}
	l->replaced = true;
}

void praas_state_holder_died(struct praas_state *s, uint32_t holder,
			     uint64_t updating_offset)
{
	for (uint32_t i = 0; i < s->leases_used; i++) {
		struct praas_lease *l = &s->leases[i];
		struct praas_object *o;
		bool updates;

		if (l->object == 0 || l->holder != holder)
			continue;
		o = &s->objects[l->object - 1];
		updates =
			l->state == PRAAS_LEASE_ACTIVE ||
			(l->word ? harvest(s, l) : o->value.offset == updating_offset);
		if (o->version != 0 && !l->replaced && updates) {
			o->torn = true;
			praas_state_publish(s, o);
			if (praas_unlikely(s->changes != NULL))
				praas_state_changed(s, o);
		}
		pass_on(s, l);
	}
}
