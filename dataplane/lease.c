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

static void grant(const struct praas_object *o, struct praas_fn_wait *wait)
{
	wait->grant = (struct praas_update_grant){ .version = o->version,
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

	l->replaced = false;
	while (l->wait_first) {
		struct praas_fn_wait *wait = l->wait_first;
		int rc = check_size(o, wait->bytes);

		praas_state_wait_remove(s, wait);
		if (rc == 0) {
			l->holder = wait->holder;
			l->state = PRAAS_LEASE_ACTIVE;
			grant(o, wait);
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

int praas_lease_begin(struct praas_state *s, uint32_t holder, const char *key,
		      uint32_t key_bytes, uint64_t bytes, struct praas_fn_wait *wait)
{
	struct praas_object *o = praas_state_find(s, key, key_bytes);
	struct praas_lease *l;
	int rc;

	if (!o && bytes == 0)
		return -ENOENT;
	if (!o)
		o = praas_state_object_get(s, key, key_bytes);
	if (!o)
		return -ENOSPC;
	if (praas_unlikely(o->late != NULL) && praas_state_settle(s, o) != 0)
		return -EIO;
	wait->queue = 0;
	wait->holder = holder;
	wait->bytes = bytes;
	l = lease_of(s, o);
	rc = check_size(o, bytes);
	if (rc == 0 && !l)
		l = lease_new(s, o, holder);
	else if (rc == 0 && l->holder == holder && l->state == PRAAS_LEASE_KEPT)
		l->state = PRAAS_LEASE_ACTIVE;
	else if (rc == 0)
		rc = -EINPROGRESS;
	if (rc == 0 && l) {
		grant(o, wait);
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
	return praas_state_retire_room(s, 1);
}

int praas_lease_commit(struct praas_state *s, uint32_t holder, const char *key,
		       uint32_t key_bytes, struct praas_value *moved, bool keep,
		       bool *ret_kept, uint64_t *ret_version)
{
	struct praas_object *o = praas_state_find(s, key, key_bytes);
	struct praas_lease *l = o ? lease_of(s, o) : NULL;
	int rc = 0;

	if (!l || l->holder != holder)
		return -EINVAL;
	if (l->replaced) {
		/* The update came before the put or delete: nothing of it is left. */
		if (moved)
			praas_value_release(moved);
		keep = false;
	} else if (moved) {
		rc = take_new_home(s, o, moved);
		if (rc == 0)
			praas_state_replace(s, o, moved, ++s->version,
					    praas_state_now());
		else if (o->version != 0)
			return rc; /* still held: the holder may try a smaller one */
		else
			keep = false;
	} else if (o->version != 0) {
		o->version = ++s->version;
		o->modified_ns = praas_state_now();
		praas_state_publish(s, o);
	} else {
		keep = false; /* began to make it and gave up */
	}
	*ret_version = o->version;
	*ret_kept = keep && !l->wait_first;
	if (*ret_kept)
		l->state = PRAAS_LEASE_KEPT;
	else
		pass_on(s, l);
	return rc;
}

void praas_state_lease_replaced(struct praas_state *s, struct praas_object *o)
{
	struct praas_lease *l = lease_of(s, o);

	if (!l)
		return;
	/* Who keeps a lease looks at the index before it updates, and sees another object. */
	if (l->state == PRAAS_LEASE_KEPT) {
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

		if (l->object == 0 || l->holder != holder)
			continue;
		o = &s->objects[l->object - 1];
		if (o->version != 0 && !l->replaced &&
		    (l->state == PRAAS_LEASE_ACTIVE ||
		     o->value.offset == updating_offset)) {
			o->torn = true;
			praas_state_publish(s, o);
		}
		pass_on(s, l);
	}
}
