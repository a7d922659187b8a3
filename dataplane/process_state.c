/* SPDX-License-Identifier: Apache-2.0
 *
 * State in the name of functions and clients: checks around the state, who reads it, and moving
 * what lies in a segment that goes away.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/process_private.h"

static int check_write(const struct praas_process *p, const struct praas_state_write *w)
{
	if (praas_key_check(w->key, w->key_bytes) != 0)
		return -EINVAL;
	if (w->erase && w->value.bytes)
		return -EINVAL;
	/* Readers follow the published place: private memory has none. */
	if (w->value.bytes && w->value.segment == 0)
		return -EINVAL;
	return w->value.bytes > p->config.bytes_max ? -EMSGSIZE : 0;
}

int praas_process_fn_commit(struct praas_process *p, struct praas_state_write *writes,
			    uint32_t count, uint64_t *ret_version)
{
	*ret_version = p->state.version;
	if (count == 0)
		return 0;
	if (count > PRAAS_WRITES_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		int rc = check_write(p, &writes[i]);

		if (rc != 0)
			return rc;
	}
	p->activity++;
	return praas_objects_commit(&p->state, writes, count, ret_version);
}

int praas_process_fn_state_get(struct praas_process *p, const char *key,
			       uint32_t key_bytes, const struct praas_value **ret_value,
			       uint64_t *ret_version)
{
	struct praas_object *o;

	if (praas_key_check(key, key_bytes) != 0)
		return -EINVAL;
	o = praas_state_find(&p->state, key, key_bytes);
	if (!o || o->version == 0)
		return -ENOENT;
	praas_lease_sync(&p->state, o);
	if (o->torn)
		return -EIO;
	if (praas_unlikely(o->late != NULL) && praas_state_settle(&p->state, o) != 0)
		return -EIO;
	if (praas_unlikely(o->place != 0) && !praas_overflow_use(&p->state, o)) {
		int rc = praas_process_fetch_now(p, o);

		if (rc != 0)
			return rc;
	}
	*ret_value = &o->value;
	*ret_version = o->version;
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): a range and two results, each of two words */
int praas_process_fn_state_list(struct praas_process *p, const char *prefix,
				uint32_t prefix_bytes, const char *after,
				uint32_t after_bytes, uint8_t *ret_data,
				uint64_t bytes_max, uint64_t *ret_bytes,
				uint64_t *ret_count)
{
	char key[PRAAS_KEY_MAX];

	if (prefix_bytes > PRAAS_KEY_MAX || after_bytes > PRAAS_KEY_MAX)
		return -EINVAL;
	praas_lease_sync_all(&p->state);
	/* `after` may lie in memory that its sender still writes. */
	if (after_bytes)
		memcpy(key, after, after_bytes);
	praas_objects_list(&p->state, prefix, prefix_bytes, key, after_bytes, ret_data,
			   bytes_max, ret_bytes, ret_count);
	return 0;
}

int praas_process_fn_update_begin(struct praas_process *p, uint32_t holder,
				  const char *key, uint32_t key_bytes, uint64_t bytes,
				  struct praas_fn_wait *wait)
{
	int rc;

	if (praas_key_check(key, key_bytes) != 0)
		return -EINVAL;
	if (bytes > p->config.bytes_max)
		return -EMSGSIZE;
	wait->timer.position = 0;
	if (wait->deadline_ns && wait->deadline_ns < PRAAS_DEADLINE_NEVER &&
	    wait->deadline_ns <= praas_now_ns())
		wait->deadline_ns = 0;
	rc = praas_lease_begin(&p->state, holder, key, key_bytes, bytes, wait);
	if (praas_unlikely(rc == -ENODATA))
		return praas_process_fetch_update(p, holder, key, key_bytes, bytes,
						  wait);
	if (rc != -EINPROGRESS)
		return rc;
	rc = p->open ? praas_process_wait_arm(p, wait, PRAAS_WAIT_UPDATE) : -ESHUTDOWN;
	if (rc != 0) {
		praas_state_wait_remove(&p->state, wait);
		return rc;
	}
	return -EINPROGRESS;
}

int praas_process_fn_update_commit(struct praas_process *p, uint32_t holder,
				   const char *key, uint32_t key_bytes,
				   struct praas_value *moved, bool keep, bool *ret_kept,
				   uint64_t *ret_version)
{
	int rc;

	if (praas_key_check(key, key_bytes) != 0)
		return -EINVAL;
	p->activity++;
	rc = praas_lease_commit(&p->state, holder, key, key_bytes, moved, keep,
				ret_kept, ret_version);
	if (praas_unlikely(p->state.overflow != NULL))
		praas_overflow_look(&p->state);
	return rc;
}

void praas_process_recall_set(struct praas_process *p, praas_recall_fn recall,
			      void *user)
{
	p->state.recall = recall;
	p->state.recall_user = user;
}

void praas_process_holder_died(struct praas_process *p, uint32_t holder,
			       uint64_t updating_offset)
{
	praas_state_holder_died(&p->state, holder, updating_offset);
}

void praas_process_reader_set(struct praas_process *p, uint32_t worker,
			      const struct praas_state_reader_line *line)
{
	struct praas_state *s = &p->state;

	praas_check(worker < PRAAS_WORKERS_MAX);
	if (s->readers[worker])
		s->readers_count--;
	if (line)
		s->readers_count++;
	s->readers[worker] = line;
}

uint64_t praas_process_state_index_offset(const struct praas_process *p)
{
	return p->state.header_offset;
}

/* ---- a segment goes away ---- */

/* A copy of value in the pool. 0; -ENOSPC. */
static int copy_value(struct praas_process *p, const struct praas_value *value,
		      struct praas_value *ret_copy)
{
	uint8_t *data;
	int rc = praas_process_value_new(p, value->bytes, ret_copy, &data);

	if (rc == 0)
		memcpy(data, value->data, value->bytes);
	return rc == 0 ? 0 : -ENOSPC;
}

struct evacuation {
	struct praas_process *p;
	uint32_t segment;
	int rc;
};

static int evacuate_mail(void *user, struct praas_mail *mail, const char *key,
			 uint32_t key_bytes)
{
	struct evacuation *e = user;
	struct praas_value copy;

	(void)key;
	(void)key_bytes;
	if (mail->value.segment != e->segment || mail->value.bytes == 0)
		return 0;
	if (copy_value(e->p, &mail->value, &copy) != 0) {
		e->rc = -ENOSPC;
		return 0;
	}
	e->p->mailbox.bytes += copy.charge - mail->value.charge;
	praas_value_release(&mail->value);
	mail->value = copy;
	return 0;
}

static int evacuate_object(struct evacuation *e, struct praas_object *o)
{
	struct praas_state *s = &e->p->state;
	bool torn = o->torn;
	struct praas_value copy;

	/* Who updates it would go on in memory that is not the object's any more. */
	if (!praas_lease_settle(s, o))
		return -EBUSY;
	if (praas_state_retire_room(s, 1) != 0 ||
	    copy_value(e->p, &o->value, &copy) != 0)
		return -ENOSPC;
	praas_state_replace(s, o, &copy, o->version, o->modified_ns);
	if (torn) {
		o->torn = true;
		praas_state_publish(s, o);
	}
	return 0;
}

int praas_process_evacuate(struct praas_process *p, uint32_t segment)
{
	struct evacuation e = { .p = p, .segment = segment };

	for (uint32_t i = 0; i < p->state.used; i++) {
		struct praas_object *o = &p->state.objects[i];

		if (o->live && o->value.segment == segment && o->value.bytes &&
		    evacuate_object(&e, o) != 0)
			e.rc = -ENOSPC;
	}
	(void)praas_mailbox_each(&p->mailbox, evacuate_mail,
				 &e); /* it always goes on */
	praas_state_reclaim(&p->state, true);
	return e.rc;
}

void praas_process_hold(struct praas_process *p)
{
	p->state.holds++;
}

void praas_process_unhold(struct praas_process *p)
{
	praas_check(p->state.holds != 0);
	p->state.holds--;
	praas_state_reclaim(&p->state, false);
}
