/* SPDX-License-Identifier: Apache-2.0
 *
 * The checker: docs/protocols.md, "Contract", from what was told to senders, what the processes did, and
 * what lies in the object store.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

#define SLACK (50 * MS) /* of deadlines */

/* ---- what senders are told ---- */

static void done_forward(struct sim *s, const struct praas_sender_action *a)
{
	struct process *back = &s->processes[BACK];
	uint32_t content = (uint32_t)a->token - FORWARD;

	if (a->rc == 0 && a->level == PRAAS_SENDER_DURABLE)
		back->forward_durable[content] = true;
	else if (a->rc == 0)
		back->forward_epoch[content] = a->epoch;
	else if (a->rc != -ENOENT || back->owner.state != PRAAS_LIFE_DELETING)
		sim_violation(s, "forwarding %u ends with %d", content, a->rc);
}

void check_done(struct sim *s, const struct outbox *o,
		const struct praas_sender_action *a)
{
	struct message *m;

	sim_trace(s, "source %llu to process %u: %llu (%u.%llu) %d level %u epoch %u",
		  (unsigned long long)o->source, o->dest, (unsigned long long)a->token,
		  a->seq.epoch, (unsigned long long)a->seq.number, a->rc, a->level,
		  a->epoch);
	if (a->token >= FORWARD) {
		done_forward(s, a);
		return;
	}
	m = &s->messages[a->token];
	if (m->outcome != OUT_PENDING)
		sim_violation(s, "message %llu is told twice",
			      (unsigned long long)a->token);
	if (s->now > m->deadline + SLACK)
		sim_violation(s, "message %llu is told after its deadline",
			      (unsigned long long)a->token);
	m->rc = a->rc;
	m->acked_epoch = a->epoch;
	m->outcome = OUT_FAILED;
	if (a->rc == 0)
		m->outcome =
			a->level == PRAAS_SENDER_DURABLE ? OUT_DURABLE : OUT_MEMORY;
	if (a->rc == -ENOENT &&
	    s->processes[m->dest].owner.state != PRAAS_LIFE_DELETING)
		sim_violation(s, "message %llu: gone, but nobody deleted the process",
			      (unsigned long long)a->token);
}

/* All that this epoch had is in a snapshot: its own last one, or one of who took it over. */
static bool released(const struct process *p, uint32_t epoch)
{
	while (epoch < EPOCHS_MAX && !p->released[epoch] && p->moved_to[epoch] > epoch)
		epoch = p->moved_to[epoch];
	return epoch < EPOCHS_MAX && p->released[epoch];
}

/* ---- what processes do ---- */

/* An id never names two things. */
static void check_id(struct sim *s, uint64_t source, const struct item *item)
{
	uint64_t hash = source * 31 + item->seq.epoch * 1009 + item->seq.number * 7;

	if (source == 1)
		hash += 511;
	for (unsigned i = 0; i < IDS_MAX; i++) {
		unsigned at = (unsigned)(hash + i) % IDS_MAX;

		if (!s->ids[at].used) {
			s->ids[at].used = 1;
			s->ids[at].source = source;
			s->ids[at].seq = item->seq;
			s->ids[at].content = item->content;
			return;
		}
		if (s->ids[at].source == source &&
		    praas_seq_compare(s->ids[at].seq, item->seq) == 0 &&
		    s->ids[at].content % FORWARD < MESSAGES_MAX &&
		    s->messages[s->ids[at].content % FORWARD].dest ==
			    s->messages[item->content % FORWARD].dest) {
			if (s->ids[at].content != item->content)
				sim_violation(s, "%u.%llu of %llu is %u and %u",
					      item->seq.epoch,
					      (unsigned long long)item->seq.number,
					      (unsigned long long)source,
					      s->ids[at].content, item->content);
			return;
		}
	}
}

/* An epoch of a sender that is over sends nothing that is accepted, once the next one is known. */
static void check_sender(struct sim *s, const struct instance *x, uint64_t source,
			 const struct item *item, bool queued)
{
	for (uint32_t i = 0; i < x->state.effects_count && !queued; i++)
		if (x->state.effects[i].source == source &&
		    x->state.effects[i].seq.epoch > item->seq.epoch)
			sim_violation(
				s, "process %u accepts %u.%llu of %llu after %u.%llu",
				x->process, item->seq.epoch,
				(unsigned long long)item->seq.number,
				(unsigned long long)source,
				x->state.effects[i].seq.epoch,
				(unsigned long long)x->state.effects[i].seq.number);
}

void check_queued(struct sim *s, unsigned process)
{
	if (s->processes[process].owner.state == PRAAS_LIFE_DELETING)
		sim_violation(s, "process %u: a message is queued after the deletion",
			      process);
}

/* Who takes itself for fenced is: else it throws away what it acknowledged. */
void check_fenced(struct sim *s, unsigned process, uint32_t epoch)
{
	const struct process *p = &s->processes[process];

	s->fenced++;
	if (p->log_epoch <= epoch && !p->tomb)
		sim_violation(s, "process %u: epoch %u takes itself for fenced by %u",
			      process, epoch, p->log_epoch);
}

void check_kept(struct sim *s, const struct instance *x)
{
	if (x->epoch < EPOCHS_MAX && s->processes[x->process].moved_to[x->epoch] != 0)
		sim_violation(s, "process %u: epoch %u serves on though it moved",
			      x->process, x->epoch);
}

void check_taken(struct sim *s, const struct instance *x)
{
	const struct instance *from = instance_find(s, x->process, x->take.from);

	if (s->processes[x->process].moved_to[x->take.from] != x->epoch)
		sim_violation(s,
			      "process %u: epoch %u serves and has not taken it over",
			      x->process, x->epoch);
	/* What the source takes out of its state after the cut it sends to nobody. */
	if (x->state.effects_count != from->state.effects_count ||
	    x->state.forwarded > from->state.forwarded)
		sim_violation(s, "process %u: epoch %u is not what epoch %u was",
			      x->process, x->epoch, from->epoch);
}

/* The begin of an epoch: of one that takes over another's state only where that is decided. */
static void check_act(struct sim *s, unsigned process,
		      const struct praas_slot_entry *entry)
{
	struct process *p = &s->processes[process];
	const struct instance *x = instance_find(s, process, entry->epoch);

	if (!x || x->take.phase == PRAAS_TAKE_NONE)
		return;
	if (entry->slot != x->take.slot || p->log_epoch != x->take.from)
		sim_violation(s, "process %u: epoch %u takes over in slot %llu",
			      process, entry->epoch, (unsigned long long)entry->slot);
	if (x->take.from < EPOCHS_MAX)
		p->moved_to[x->take.from] = entry->epoch;
}

void check_accept(struct sim *s, const struct instance *x, uint64_t source,
		  const struct item *item, bool queued)
{
	const struct process *p = &s->processes[x->process];
	bool forwarded = item->content >= FORWARD;

	sim_trace(s, "process %u: controller %u accepts %u (%u.%llu) of %llu%s",
		  x->process, x->epoch, item->content, item->seq.epoch,
		  (unsigned long long)item->seq.number, (unsigned long long)source,
		  queued ? " from the queue" : "");
	check_id(s, source, item);
	if (forwarded ? source != 1 || x->process != BACK
		      : s->messages[item->content].dest != x->process)
		sim_violation(s, "message %u came to process %u", item->content,
			      x->process);
	if (x->cut_final)
		sim_violation(s, "process %u: epoch %u accepts %u after its final cut",
			      x->process, x->epoch, item->content);
	if (x->log.fenced)
		sim_violation(
			s, "process %u: epoch %u knows that it is fenced and accepts",
			x->process, x->epoch);
	check_sender(s, x, source, item, queued);
	/* Only a clock that stood still lets an epoch serve beside the next one. */
	if (s->nodes[x->node].lag > 0 || queued)
		return;
	if (p->erased)
		sim_violation(s, "process %u accepts a message after its deletion",
			      x->process);
	if (p->owner.epoch > x->epoch)
		sim_violation(s, "process %u: epoch %u accepts a message beside %u",
			      x->process, x->epoch, p->owner.epoch);
}

/* ---- what is written ---- */

static bool parse(const struct praas_slot_entry *entry, struct state *ret_state)
{
	struct body_head head;

	memcpy(&head, entry->body, sizeof(head));
	ret_state->effects_count = head.effects_count;
	ret_state->forwarded = head.forwarded;
	memcpy(ret_state->effects, entry->body + sizeof(head),
	       head.effects_count * sizeof(struct effect));
	return true;
}

/* No message counts twice, and those of one epoch of a sender count in their order. */
static void check_effects(struct sim *s, unsigned process, const struct state *st)
{
	for (uint32_t i = 0; i < st->effects_count; i++)
		for (uint32_t k = i + 1; k < st->effects_count; k++) {
			const struct effect *a = &st->effects[i], *b = &st->effects[k];

			if (a->source == b->source && a->seq.epoch == b->seq.epoch &&
			    a->seq.number >= b->seq.number)
				sim_violation(
					s,
					"process %u: %u (%u.%llu of %llu) after %u "
					"(%u.%llu)",
					process, b->content, b->seq.epoch,
					(unsigned long long)b->seq.number,
					(unsigned long long)b->source, a->content,
					a->seq.epoch,
					(unsigned long long)a->seq.number);
		}
}

/* A snapshot goes on from the one before it. */
static void check_snapshot(struct sim *s, unsigned process,
			   const struct praas_slot_entry *entry)
{
	struct process *p = &s->processes[process];
	struct state st;

	(void)parse(entry, &st);
	if (st.effects_count < p->committed.effects_count ||
	    st.forwarded < p->committed.forwarded ||
	    memcmp(st.effects, p->committed.effects,
		   p->committed.effects_count * sizeof(struct effect)) != 0)
		sim_violation(s,
			      "process %u: the snapshot of epoch %u in slot %llu "
			      "does not go on from the one before",
			      process, entry->epoch, (unsigned long long)entry->slot);
	check_effects(s, process, &st);
	p->committed.effects_count = st.effects_count;
	p->committed.forwarded = st.forwarded;
	memcpy(p->committed.effects, st.effects,
	       st.effects_count * sizeof(struct effect));
}

void check_landed(struct sim *s, unsigned process, const struct praas_slot_entry *entry)
{
	struct process *p = &s->processes[process];

	sim_trace(s, "process %u: slot %llu: kind %u of epoch %u", process,
		  (unsigned long long)entry->slot, entry->kind, entry->epoch);
	if (p->tomb)
		sim_violation(s, "process %u: an entry after the tombstone", process);
	if (entry->epoch < p->log_epoch)
		sim_violation(s, "process %u: epoch %u writes after %u", process,
			      entry->epoch, p->log_epoch);
	if (entry->epoch > p->log_epoch && entry->kind != PRAAS_SLOT_ACT &&
	    entry->kind != PRAAS_SLOT_TOMB)
		sim_violation(s, "process %u: epoch %u does not begin with ACT",
			      process, entry->epoch);
	if (entry->kind == PRAAS_SLOT_ACT)
		check_act(s, process, entry);
	if (entry->epoch > p->log_epoch && p->log_epoch > 0 &&
	    p->log_kind != PRAAS_SLOT_REL &&
	    (p->log_epoch >= EPOCHS_MAX || p->moved_to[p->log_epoch] != entry->epoch))
		p->unclean = true;
	if (entry->epoch == p->log_epoch && p->log_kind == PRAAS_SLOT_REL)
		sim_violation(s, "process %u: epoch %u writes after its release",
			      process, entry->epoch);
	p->log_epoch = entry->epoch;
	p->log_kind = entry->kind;
	p->tomb = entry->kind == PRAAS_SLOT_TOMB;
	if (entry->kind == PRAAS_SLOT_SNAP || entry->kind == PRAAS_SLOT_REL)
		check_snapshot(s, process, entry);
	if (entry->kind == PRAAS_SLOT_REL && entry->epoch < EPOCHS_MAX)
		p->released[entry->epoch] = true;
}

void check_owner(struct sim *s, unsigned process)
{
	struct process *p = &s->processes[process];

	if (p->owner.state == p->last_state)
		return;
	if (!check_life(p->last_state, p->owner.state))
		sim_violation(s, "process %u goes from state %u to %u", process,
			      p->last_state, p->owner.state);
	p->last_state = p->owner.state;
}

/* ---- the end: no fault for 20 s ---- */

static unsigned times(const struct state *st, uint32_t content)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < st->effects_count; i++)
		n += st->effects[i].content == content;
	return n;
}

static void check_message(struct sim *s, uint32_t i)
{
	const struct message *m = &s->messages[i];
	const struct process *p = &s->processes[m->dest];
	unsigned n = times(&p->committed, i);

	if (m->outcome == OUT_PENDING && s->clients[m->client].epoch == m->client_epoch)
		sim_violation(s, "message %u was never answered", i);
	if (p->erased)
		return;
	if (n > 1)
		sim_violation(s, "message %u counts %u times", i, n);
	if (n == 0 && m->outcome == OUT_DURABLE)
		sim_violation(s, "message %u was queued and is lost", i);
	if (n == 0 && m->outcome == OUT_MEMORY && released(p, m->acked_epoch))
		sim_violation(s,
			      "message %u was accepted by epoch %u, which was "
			      "swapped out, and is lost",
			      i, m->acked_epoch);
	if (n == 1 && m->outcome == OUT_FAILED && m->rc == -ECANCELED)
		sim_violation(s, "message %u was never sent, and counts", i);
	if (m->final && (m->outcome == OUT_FAILED || n != 1) &&
	    s->clients[m->client].epoch == m->client_epoch)
		sim_violation(s, "message %u did not get through: %d", i, m->rc);
}

/* Every epoch that began, or served, ended with a release: nothing was, or may have been, rolled
 * back. */
static bool clean(const struct sim *s, unsigned process)
{
	for (unsigned i = 0; i < s->instances_count; i++)
		if (s->instances[i].process == process && s->instances[i].served &&
		    !released(&s->processes[process], s->instances[i].epoch))
			return false;
	return !s->processes[process].unclean;
}

/* What FRONT did had FRONT's messages for BACK as its effect. */
static void check_forwards(struct sim *s)
{
	const struct process *front = &s->processes[FRONT], *back = &s->processes[BACK];

	if (back->erased || front->erased)
		return;
	for (uint32_t c = 0; c < s->messages_count; c++) {
		unsigned n = times(&back->committed, FORWARD + c);
		unsigned wanted = times(&front->committed, c);

		if (n == 0 && back->forward_durable[c])
			sim_violation(s, "%u was forwarded, queued and is lost", c);
		if (n == 0 && back->forward_epoch[c] > 0 &&
		    released(back, back->forward_epoch[c]))
			sim_violation(s, "%u was forwarded, accepted and is lost", c);
		if (clean(s, FRONT) && n > wanted)
			sim_violation(s, "%u was forwarded %u times for %u effects", c,
				      n, wanted);
		if (clean(s, BACK) && n < wanted)
			sim_violation(s, "%u was forwarded %u times for %u effects", c,
				      n, wanted);
	}
}

static void check_process_end(struct sim *s, unsigned process)
{
	const struct process *p = &s->processes[process];
	struct praas_slot_log log;

	if (p->erased) {
		if (!p->tomb)
			sim_violation(s, "process %u: erased without a tombstone",
				      process);
		return;
	}
	if (p->owner.state == PRAAS_LIFE_DELETING)
		sim_violation(s, "process %u: its deletion does not end", process);
	else if (p->owner.state != PRAAS_LIFE_SWAPPED)
		sim_violation(s, "process %u: does not come to rest: state %u", process,
			      p->owner.state);
	else if (objects_open(s, process, &log) != 0 || p->log_kind != PRAAS_SLOT_REL)
		sim_violation(s, "process %u: swapped, and its log ends with %u",
			      process, p->log_kind);
	else if (p->queue.count > 0)
		sim_violation(s, "process %u: %u messages stay in the queue", process,
			      p->queue.count);
}

void check_end(struct sim *s)
{
	for (unsigned i = 0; i < PROCESSES; i++)
		check_process_end(s, i);
	for (uint32_t i = 0; i < s->messages_count; i++)
		check_message(s, i);
	check_forwards(s);
	for (unsigned i = 0; i < s->instances_count; i++)
		if (s->nodes[s->instances[i].node].alive &&
		    (s->instances[i].activate.epoch != 0 ||
		     s->instances[i].take.phase != PRAAS_TAKE_NONE))
			sim_violation(s, "controller %u of process %u never ends",
				      s->instances[i].epoch, s->instances[i].process);
}
