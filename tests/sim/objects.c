/* SPDX-License-Identifier: Apache-2.0
 *
 * The object store: production's store in memory and production's slot-log reader and codec over
 * it; what takes time, is lost or comes late are requests and responses. Reading a log is not one
 * step for the world: between two reads of it other writers' requests take effect.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

struct praas_slot_id objects_id(unsigned process)
{
	return (struct praas_slot_id){ .pid = process + 1, .generation = 1 };
}

void objects_nonce(struct sim *s, struct praas_slot_entry *entry)
{
	uint64_t random[2] = { sim_random(s), sim_random(s) | 1 };

	memcpy(entry->nonce, random, sizeof(entry->nonce));
}

static uint64_t store_delay(struct sim *s)
{
	if (sim_fault(s, PLAN_STORE_SLOW))
		return MS + sim_below(s, 4000) * MS;
	return 2 * MS + sim_below(s, 30) * MS;
}

static void apply(struct sim *s, struct put *put)
{
	struct process *p = &s->processes[put->process];
	char key[PRAAS_STORE_KEY_MAX + 1];

	if (put->applied)
		return;
	put->applied = true;
	praas_slot_key(put->slot, key);
	put->rc = p->store->ops->put_if_absent(p->store, key, put->data, put->bytes);
	if (put->rc == 0) {
		struct praas_slot_entry *e = s->controls[0].found;
		struct praas_slot_id id = objects_id(put->process);

		if (praas_slot_decode(&id, put->slot, put->data, put->bytes, e) != 0)
			sim_violation(s, "an entry that was written does not decode");
		else
			check_landed(s, put->process, e);
	}
}

/* Somebody else's write lands between two reads. */
static int interleave(void *user, const char *op, const char *key, int done)
{
	struct sim *s = user;

	(void)key;
	(void)done;
	if (strcmp(op, "get") != 0 && strcmp(op, "list") != 0)
		return 0;
	if (sim_fault(s, PLAN_STORE_ERROR))
		return -EIO;
	for (unsigned i = 0; i < PUTS_MAX; i++)
		if (s->puts[i].used && !s->puts[i].applied && sim_chance(s, 10))
			apply(s, &s->puts[i]);
	return 0;
}

int objects_open(struct sim *s, unsigned process, struct praas_slot_log *ret_log)
{
	struct praas_store *store = s->processes[process].store;
	struct praas_slot_id id = objects_id(process);
	int rc;

	praas_store_memory_faults(store, interleave, s);
	rc = praas_slot_log_open(store, &id, ret_log);
	praas_store_memory_faults(store, NULL, NULL);
	return rc;
}

int objects_read(struct sim *s, const struct praas_slot_log *log, uint64_t slot,
		 struct praas_slot_entry *ret_entry)
{
	if (sim_fault(s, PLAN_STORE_ERROR))
		return -EIO;
	return praas_slot_log_read(log, slot, ret_entry);
}

static struct put *new_put(struct sim *s, unsigned *ret_index)
{
	for (unsigned i = 0; i < PUTS_MAX; i++)
		if (!s->puts[i].used) {
			*ret_index = i;
			return &s->puts[i];
		}
	return NULL;
}

/* The request is on its way; in the end there is a response or, 2 s later, none. */
void objects_put(struct sim *s, unsigned node, unsigned process, uint32_t attempt,
		 const struct praas_slot_log *log, const struct praas_slot_entry *entry)
{
	struct event e = { .node = (uint16_t)node,
			   .process = (uint16_t)process,
			   .attempt = attempt };
	unsigned index;
	struct put *put = new_put(s, &index);

	if (!put || entry->body_bytes > sizeof(put->data) - PRAAS_SLOT_HEADER_BYTES) {
		sim_violation(s, "no room for a request to the store");
		return;
	}
	*put = (struct put){ .used = true,
			     .process = (uint16_t)process,
			     .slot = log->cursor };
	put->bytes = (uint32_t)praas_slot_encode(&log->id, entry, put->data);
	e.kind = EV_PUT_DONE;
	e.rc = -ETIMEDOUT;
	sim_later(s, 2 * SECOND, &e);
	e.kind = EV_PUT;
	e.rc = 0;
	e.a = index;
	e.generation = s->nodes[node].generation;
	if (sim_fault(s, PLAN_STORE_ERROR)) {
		put->used = false;
		e.kind = EV_PUT_DONE;
		e.rc = -EIO;
	}
	sim_later(s, store_delay(s), &e);
}

void objects_look(struct sim *s, unsigned node, unsigned process, uint32_t attempt)
{
	sim_later(s, store_delay(s),
		  &(struct event){ .kind = EV_LOOK,
				   .node = (uint16_t)node,
				   .process = (uint16_t)process,
				   .attempt = attempt });
}

/* A request arrives; the answer goes to whoever asked, if it still is. */
void objects_event(struct sim *s, struct event *e)
{
	struct put *put = &s->puts[e->a];

	if (e->kind == EV_PUT) {
		apply(s, put);
		put->used = false;
		e->kind = EV_PUT_DONE;
		e->rc = put->rc;
		if (!sim_fault(s, PLAN_STORE_LOST))
			sim_later(s, store_delay(s), e);
		return;
	}
	if (!s->nodes[e->node].alive || s->nodes[e->node].generation != e->generation)
		return;
	if (s->nodes[e->node].paused_until > s->now) {
		sim_later(s, s->nodes[e->node].paused_until - s->now, e);
		return;
	}
	if (e->node < CONTROLS)
		control_event(s, e);
	else
		instance_event(s, e);
}
