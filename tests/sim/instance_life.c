/* SPDX-License-Identifier: Apache-2.0
 *
 * A controller: the shells around activation, swap-out and the slot log.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

/* ---- entries on their way into the log ---- */

static void written(struct sim *s, struct instance *x, int rc)
{
	struct praas_activate_event e = { .kind = PRAAS_ACTIVATE_ACT_PUT, .rc = rc };

	if (x->writing != WRITING_ACT) {
		move_written(s, x, rc);
		return;
	}
	e.slot = x->log.snapshot_slot;
	e.act_slot = x->entry->slot;
	life_activate(s, x, e);
}

static void write_step(struct sim *s, struct instance *x, struct praas_slot_step step)
{
	switch (step.kind) {
	case PRAAS_SLOT_STEP_PUT:
		objects_put(s, x->node, x->process, ++x->put_attempt, &x->log,
			    x->entry);
		break;
	case PRAAS_SLOT_STEP_LOOK:
		objects_look(s, x->node, x->process, ++x->put_attempt);
		break;
	case PRAAS_SLOT_STEP_DONE:
		if (step.rc == -ESTALE && x->writing != WRITING_TAKE)
			check_fenced(s, x->process, x->epoch);
		if (x->writing != WRITING_COMMIT) {
			written(s, x, step.rc);
			break;
		}
		if (step.rc == 0) {
			struct event e = instance_request(x, EV_COMMITTED);

			s->commits++;
			e.a = x->cut;
			e.b = x->entry->kind == PRAAS_SLOT_REL;
			sim_call(s, &e);
		}
		life_swap(s, x,
			  (struct praas_swap_event){ .kind = PRAAS_SWAP_PUT_DONE,
						     .rc = step.rc });
		break;
	}
}

void life_write(struct sim *s, struct instance *x, enum writing what)
{
	x->writing = what;
	write_step(s, x,
		   (what == WRITING_TAKE
			    ? praas_slot_write_begin_here
			    : praas_slot_write_begin)(&x->write, &x->log, x->entry));
}

static void on_look(struct sim *s, struct instance *x)
{
	int rc = objects_read(s, &x->log, x->log.cursor, x->found);

	write_step(s, x, praas_slot_write_looked(&x->write, rc, x->found));
}

/* ---- snapshots ---- */

static int cut_source(void *user, const struct praas_dedup_source *source)
{
	struct praas_slot_entry *e = user;

	memcpy(e->body + e->body_bytes, source, sizeof(*source));
	e->body_bytes += (uint32_t)sizeof(*source);
	return 0;
}

/* What the process is at this moment becomes the body of the next entry. */
static void cut(struct instance *x)
{
	struct praas_slot_entry *e = x->entry;
	const struct praas_sender *out = &x->outbox.sender;
	struct body_head head = { .effects_count = x->state.effects_count,
				  .forwarded = x->state.forwarded,
				  .sources_count = x->dedup.count,
				  .outbox_count = out->count,
				  .queue_cut = x->catch_up.position,
				  .last = out->last,
				  .durable = out->durable };
	size_t bytes = head.effects_count * sizeof(struct effect);

	x->cut = head.queue_cut;
	memcpy(e->body, &head, sizeof(head));
	memcpy(e->body + sizeof(head), x->state.effects, bytes);
	e->body_bytes = (uint32_t)(sizeof(head) + bytes);
	(void)praas_dedup_each(&x->dedup, cut_source, e); /* cannot fail */
	for (uint32_t i = 0; i < out->count; i++) {
		const struct praas_sender_slot *slot = praas_sender_at(out, i);
		struct item item = { .seq = slot->seq,
				     .content = (uint32_t)slot->token };

		memcpy(e->body + e->body_bytes, &item, sizeof(item));
		e->body_bytes += (uint32_t)sizeof(item);
	}
}

static int restore_sources(struct instance *x, const uint8_t *at, uint32_t count)
{
	int rc;

	praas_dedup_release(&x->dedup);
	rc = praas_dedup_init(&x->dedup, 8);
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		struct praas_dedup_source source;

		memcpy(&source, at + i * sizeof(source), sizeof(source));
		for (unsigned k = 0; rc == 0 && k < PRAAS_DEDUP_EPOCHS; k++)
			if (!praas_seq_none(source.highest[k]))
				rc = praas_dedup_accept(&x->dedup, source.source,
							source.highest[k]);
	}
	return rc;
}

int life_restore(struct instance *x, const struct praas_slot_entry *e)
{
	const uint8_t *at = e->body + sizeof(struct body_head);
	struct body_head head;
	int rc;

	memcpy(&head, e->body, sizeof(head));
	x->state.effects_count = head.effects_count;
	x->state.forwarded = head.forwarded;
	memcpy(x->state.effects, at, head.effects_count * sizeof(struct effect));
	at += head.effects_count * sizeof(struct effect);
	rc = restore_sources(x, at, head.sources_count);
	at += head.sources_count * sizeof(struct praas_dedup_source);
	x->restored_count = head.outbox_count;
	if (head.outbox_count > 0)
		memcpy(x->restored, at, head.outbox_count * sizeof(struct item));
	x->last = head.last;
	x->durable = head.durable;
	x->catch_up.position = head.queue_cut;
	return rc;
}

/* ---- activation ---- */

static void on_log_open(struct sim *s, struct instance *x)
{
	int rc = objects_open(s, x->process, &x->log);

	life_activate(s, x,
		      (struct praas_activate_event){ .kind = PRAAS_ACTIVATE_LOG_READ,
						     .rc = rc,
						     .epoch = x->log.epoch_max,
						     .tomb = x->log.tomb,
						     .slot = x->log.snapshot_slot });
}

static void on_load(struct sim *s, struct instance *x, uint64_t slot)
{
	int rc = objects_read(s, &x->log, slot, x->found);

	if (rc == 0)
		rc = life_restore(x, x->found);
	life_activate(s, x,
		      (struct praas_activate_event){ .kind = PRAAS_ACTIVATE_LOADED,
						     .rc = rc,
						     .released = x->found->kind ==
								 PRAAS_SLOT_REL });
}

static void begin_act(struct sim *s, struct instance *x)
{
	x->entry->epoch = x->epoch;
	x->entry->kind = PRAAS_SLOT_ACT;
	x->entry->body_bytes = 0;
	objects_nonce(s, x->entry);
	life_write(s, x, WRITING_ACT);
}

/* The gate opens; what the snapshot says is not acknowledged goes on its way. */
void life_serve(struct sim *s, struct instance *x, bool clean)
{
	sim_trace(s, "process %u: controller %u serves%s", x->process, x->epoch,
		  clean ? ", after a clean release" : "");
	x->gate_open = x->served = true;
	if (x->process != FRONT)
		return;
	(void)outbox_init(&x->outbox, x->node, BACK, 1, x->epoch); /* cannot fail */
	praas_sender_restore(&x->outbox.sender, x->last, x->durable, clean);
	for (unsigned i = 0; i < x->restored_count; i++)
		if (praas_sender_restore_message(&x->outbox.sender, x->restored[i].seq,
						 x->restored[i].content) != 0)
			sim_violation(s, "the outbox of a snapshot is not in order");
	outbox_forward(s, x);
}

void life_admitted(struct sim *s, struct instance *x, int rc)
{
	if (rc != 0)
		instance_exit(s, x, false);
	else if (x->admitted)
		s->resumed++;
	x->admitted = true;
}

void life_activate(struct sim *s, struct instance *x, struct praas_activate_event e)
{
	struct praas_activate_action actions[PRAAS_ACTIVATE_ACTIONS_MAX];
	unsigned n = praas_activate_step(&x->activate, &e, actions);
	struct event load = instance_request(x, EV_LOAD);

	for (unsigned i = 0; i < n && !x->over; i++) {
		switch (actions[i].kind) {
		case PRAAS_ACTIVATE_READ_LOG:
			instance_self(s, x, MS + sim_below(s, 30) * MS, EV_LOG_OPEN);
			break;
		case PRAAS_ACTIVATE_PUT_ACT:
			begin_act(s, x);
			break;
		case PRAAS_ACTIVATE_LOAD:
			load.a = actions[i].slot;
			sim_later(s, MS + sim_below(s, 200) * MS, &load);
			break;
		case PRAAS_ACTIVATE_SERVE:
			life_serve(s, x, actions[i].clean);
			instance_catch_up(s, x, x->catch_up.position);
			break;
		case PRAAS_ACTIVATE_SETTLED:
			life_swap(s, x,
				  (struct praas_swap_event){
					  .kind = PRAAS_SWAP_SETTLED });
			break;
		case PRAAS_ACTIVATE_FAIL:
			instance_exit(s, x, false);
			break;
		}
	}
}

/* ---- swap-out and checkpoint ---- */

static void swap_put(struct sim *s, struct instance *x, bool final)
{
	x->entry->kind = final ? PRAAS_SLOT_REL : PRAAS_SLOT_SNAP;
	if (x->swap.unknown)
		instance_self(s, x, 50 * MS + sim_below(s, 500) * MS, EV_PUT_AGAIN);
	else
		life_write(s, x, WRITING_COMMIT);
}

static void swap_do(struct sim *s, struct instance *x,
		    const struct praas_swap_action *a)
{
	switch (a->kind) {
	case PRAAS_SWAP_CLOSE_GATE:
		x->gate_open = false;
		instance_stop_catching_up(s, x);
		break;
	case PRAAS_SWAP_OPEN_GATE:
		check_kept(s, x);
		x->gate_open = true;
		x->cut_final = false;
		praas_sender_hold(&x->outbox.sender, false);
		instance_catch_up(s, x, x->catch_up.position);
		outbox_forward(s, x);
		break;
	case PRAAS_SWAP_WAIT_QUIET:
		instance_self(s, x, sim_below(s, 300) * MS, EV_QUIET);
		instance_self(s, x, SECOND, EV_DRAIN_OVER);
		break;
	case PRAAS_SWAP_INTERRUPT:
		instance_self(s, x, 10 * MS, EV_QUIET);
		break;
	case PRAAS_SWAP_CUT:
		instance_self(s, x, MS + sim_below(s, 20) * MS, EV_CUT);
		break;
	case PRAAS_SWAP_WRITE:
		x->entry->epoch = x->epoch;
		objects_nonce(s, x->entry);
		instance_self(s, x, 5 * MS + sim_below(s, 200) * MS, EV_WRITTEN);
		break;
	case PRAAS_SWAP_PUT:
		swap_put(s, x, a->final);
		break;
	case PRAAS_SWAP_HAND_OVER:
		move_hand_over(s, x);
		break;
	case PRAAS_SWAP_HAND_OFF:
		move_hand_off(s, x);
		break;
	case PRAAS_SWAP_ANSWER:
		if (a->id > 1)
			move_answered(s, x, a->rc);
		break;
	case PRAAS_SWAP_DROP:
		break;
	case PRAAS_SWAP_EXIT:
		instance_exit(s, x, a->rc == 0);
		break;
	}
}

void life_swap(struct sim *s, struct instance *x, struct praas_swap_event e)
{
	struct praas_swap_action actions[PRAAS_SWAP_ACTIONS_MAX];
	unsigned n = praas_swap_step(&x->swap, &e, actions);

	for (unsigned i = 0; i < n && !x->over; i++)
		swap_do(s, x, &actions[i]);
}

static void on_quiet(struct sim *s, struct instance *x)
{
	/* What is to be sent is sent, if that is soon enough. */
	if (x->swap.phase == PRAAS_SWAP_DRAINING && x->outbox.sender.count > 0)
		instance_self(s, x, 50 * MS, EV_QUIET);
	else
		life_swap(s, x, (struct praas_swap_event){ .kind = PRAAS_SWAP_QUIET });
}

void life_event(struct sim *s, struct instance *x, const struct event *e)
{
	struct praas_swap_event se = { .id = 1 };

	switch (e->kind) {
	case EV_LOG_OPEN:
		on_log_open(s, x);
		return;
	case EV_LOAD:
		on_load(s, x, e->a);
		return;
	case EV_PUT_DONE:
		if (e->attempt == x->put_attempt) {
			x->put_attempt++; /* answered */
			write_step(s, x, praas_slot_write_put_done(&x->write, e->rc));
		}
		return;
	case EV_LOOK:
		if (e->attempt == x->put_attempt)
			on_look(s, x);
		return;
	case EV_PUT_AGAIN:
		life_write(s, x, WRITING_COMMIT);
		return;
	case EV_QUIET:
		on_quiet(s, x);
		return;
	case EV_ASK:
		if (e->a == PRAAS_SWAP_ASK_MOVE) {
			move_ask(s, x, (uint32_t)e->b, e->epoch);
			return;
		}
		se.kind = (enum praas_swap_event_kind)e->a;
		break;
	case EV_DRAIN_OVER:
		se.kind = PRAAS_SWAP_TIMEOUT;
		break;
	case EV_CUT:
		cut(x);
		praas_sender_hold(&x->outbox.sender, x->swap.final);
		x->cut_final = x->swap.final;
		se.kind = PRAAS_SWAP_CUT_DONE;
		break;
	case EV_WRITTEN:
		se.kind = PRAAS_SWAP_WRITTEN;
		se.rc = sim_fault(s, PLAN_STORE_FULL) ? -ENOSPC : 0;
		break;
	default:
		return;
	}
	life_swap(s, x, se);
}
