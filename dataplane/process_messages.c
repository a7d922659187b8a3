/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages in the name of functions and clients: checks around the mailbox, and the time-outs of
 * those who wait.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/process_private.h"

/* A wait is over: out of its queue and its timer, not yet told. */
static void wait_leave(struct praas_process *p, struct praas_fn_wait *wait)
{
	praas_timers_remove(&p->timers, &wait->timer);
	if (wait->queue == 0)
		return;
	if (wait->kind == PRAAS_WAIT_RECV)
		praas_mailbox_wait_remove(&p->mailbox, wait);
	else if (wait->kind == PRAAS_WAIT_MEMBERS)
		praas_process_members_wait_remove(p, wait);
	else if (wait->kind == PRAAS_WAIT_ROOM)
		praas_process_room_remove(p, wait);
	else if (wait->kind == PRAAS_WAIT_FETCH)
		praas_process_fetch_leave(p, wait);
	else
		praas_state_wait_remove(&p->state, wait);
}

void praas_process_fn_wait_cancel(struct praas_process *p, struct praas_fn_wait *wait)
{
	wait_leave(p, wait);
}

void praas_process_wait_over(struct praas_fn_wait *wait, int rc)
{
	praas_timers_remove(&wait->process->timers, &wait->timer);
	wait->done(wait, rc);
}

void praas_process_wait_due(struct praas_process *p, struct praas_fn_wait *wait)
{
	wait_leave(p, wait);
	wait->done(wait, -EAGAIN);
}

int praas_process_wait_arm(struct praas_process *p, struct praas_fn_wait *wait,
			   uint32_t kind)
{
	wait->kind = kind;
	wait->process = p;
	wait->timer = (struct praas_timer){ .deadline_ns = wait->deadline_ns,
					    .kind = PRAAS_TIMER_WAIT };
	if (wait->deadline_ns >= PRAAS_DEADLINE_NEVER)
		return 0;
	return praas_timers_put(&p->timers, &wait->timer);
}

void praas_process_waits_end(struct praas_process *p, int rc)
{
	struct praas_fn_wait *wait;

	/* done() may start a new wait; while the gate is closed there is none. */
	while ((wait = p->mailbox.waits) || (wait = p->state.waits) ||
	       (wait = p->members_waits)) {
		wait_leave(p, wait);
		wait->done(wait, rc);
	}
}

int praas_process_message_put(struct praas_process *p, uint64_t source, const char *key,
			      uint32_t key_bytes, struct praas_value *value,
			      const uint8_t *trace, uint64_t *ret_sequence)
{
	struct praas_fn_wait *wait;
	int rc;

	if (praas_key_check(key, key_bytes) != 0)
		return -EINVAL;
	if (value->bytes > p->config.bytes_max)
		return -EMSGSIZE;
	rc = praas_mailbox_put(&p->mailbox, source, key, key_bytes, 0, value, &wait);
	if (rc != 0)
		return rc;
	if (praas_unlikely(trace != NULL))
		praas_mailbox_trace(&p->mailbox, wait, trace);
	if (praas_unlikely(p->changes != NULL) && (!wait || wait->held))
		praas_process_changed_mail(p);
	p->activity++;
	p->stats.messages_in++;
	if (ret_sequence)
		*ret_sequence = p->mailbox.sequence;
	if (!wait)
		return 0;
	p->stats.messages_out += wait->held == 0;
	praas_timers_remove(&p->timers, &wait->timer);
	wait->done(wait, 0);
	return 0;
}

bool praas_process_may_exist(const struct praas_process *p, uint64_t pid)
{
	/* The list of members is of a moment ago: it cannot tell who does not exist. */
	return p->routed && pid != 0 && !(pid & PRAAS_CLIENT);
}

/* What lies in a worker's memory is copied: that may be wanted back any time. value is the same, in the pool. */
static int into_pool(struct praas_process *p, struct praas_value *value)
{
	struct praas_value copy;
	uint8_t *room;
	int rc;

	if (value->bytes == 0 || value->segment == p->config.pool_segment->id)
		return 0;
	rc = praas_process_value_new(p, value->bytes, &copy, &room);
	if (rc != 0)
		return rc;
	memcpy(room, value->data, value->bytes);
	praas_value_release(value);
	*value = copy;
	return 0;
}

/* To another process. */
static int send_away(struct praas_process *p, uint64_t destination, const char *key,
		     uint32_t key_bytes, struct praas_value *value,
		     const uint8_t *trace)
{
	int rc;

	if (praas_key_check(key, key_bytes) != 0)
		return -EINVAL;
	if (value->bytes > p->config.bytes_max)
		return -EMSGSIZE;
	if (!praas_process_may_exist(p, destination))
		return -ENOENT;
	if (praas_unlikely(p->room_first != NULL) &&
	    praas_process_room_taken(p, destination))
		return -EAGAIN;
	rc = into_pool(p, value);
	if (rc == 0)
		rc = praas_outbox_send(p->outbox, destination, key, key_bytes, value,
				       trace);
	if (rc == 0)
		p->activity++;
	return rc;
}

int praas_process_fn_room_wait(struct praas_process *p, uint64_t destination,
			       struct praas_value *value, struct praas_fn_wait *wait)
{
	int rc = into_pool(p, value); /* where it counts as much as it will */

	return rc == 0 ? praas_process_room_wait(p, destination, value->charge, wait)
		       : rc;
}

int praas_process_fn_send(struct praas_process *p, uint64_t destination,
			  const char *key, uint32_t key_bytes,
			  struct praas_value *value, const uint8_t *trace,
			  uint64_t *ret_sequence)
{
	if (destination != PRAAS_SELF && destination != p->config.pid) {
		if (ret_sequence)
			*ret_sequence = 0;
		return send_away(p, destination, key, key_bytes, value, trace);
	}
	/* Functions that still run may write to themselves while the gate is closed: what they
	 * send is in the snapshot. */
	return praas_process_message_put(p, p->config.pid, key, key_bytes, value, trace,
					 ret_sequence);
}

int praas_process_fn_recv(struct praas_process *p, uint64_t source, const char *key,
			  uint32_t key_bytes, struct praas_fn_wait *wait)
{
	int rc;

	if (praas_key_check(key, key_bytes) != 0)
		return -EINVAL;
	source = source == PRAAS_SELF ? p->config.pid : source;
	wait->queue = 0;
	wait->timer.position = 0;
	rc = praas_mailbox_take(&p->mailbox, source, key, key_bytes, &wait->message);
	if (rc == 0) {
		p->activity++;
		p->stats.messages_out++;
		return 0;
	}
	if (wait->deadline_ns == 0 || (wait->deadline_ns < PRAAS_DEADLINE_NEVER &&
				       wait->deadline_ns <= praas_now_ns()))
		return -EAGAIN;
	if (!p->open)
		return -ESHUTDOWN;
	rc = praas_mailbox_wait(&p->mailbox, source, key, key_bytes, wait);
	if (rc != 0)
		return rc;
	rc = praas_process_wait_arm(p, wait, PRAAS_WAIT_RECV);
	if (rc != 0) {
		praas_mailbox_wait_remove(&p->mailbox, wait);
		return rc;
	}
	return -EINPROGRESS;
}

int praas_process_fn_peek(struct praas_process *p, uint64_t source, const char *key,
			  uint32_t key_bytes, struct praas_message *ret_message)
{
	const struct praas_mail *mail;

	if (praas_key_check(key, key_bytes) != 0)
		return -EINVAL;
	mail = praas_mailbox_peek(&p->mailbox,
				  source == PRAAS_SELF ? p->config.pid : source, key,
				  key_bytes);
	if (!mail)
		return -EAGAIN;
	praas_mailbox_look(&p->mailbox, mail, ret_message);
	return 0;
}

int praas_process_fn_list(struct praas_process *p, const char *prefix,
			  uint32_t prefix_bytes, uint64_t after, uint8_t *ret_data,
			  uint64_t bytes_max, uint64_t *ret_bytes, uint64_t *ret_count)
{
	if (prefix_bytes > PRAAS_KEY_MAX)
		return -EINVAL;
	praas_mailbox_list(&p->mailbox, prefix, prefix_bytes, after, ret_data,
			   bytes_max, ret_bytes, ret_count);
	return 0;
}
