/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/outbox_private.h"
#include "internal/base.h"
#include "shm/pages.h"

#define BUCKETS (2u * PRAAS_OUTBOX_PEERS_MAX)
#define BACKOFF_MIN_NS 1000000u
#define BACKOFF_MAX_NS 250000000u
#define SILENCE_NS 5000000000u
#define IDLE_NS 30000000000u /* then a connection is closed */
#define TURNS_PER_CLOCK 64u

int praas_outbox_new(uint64_t *wanted, struct praas_outbox **ret_o)
{
	struct praas_outbox *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->wanted = wanted;
	o->config.host = praas_outbox_no_host;
	/* Touched as far as they are used. */
	o->messages = praas_pages_new(PRAAS_OUTBOX_MESSAGES_MAX * sizeof(*o->messages));
	o->peers = calloc(PRAAS_OUTBOX_PEERS_MAX, sizeof(*o->peers));
	o->buckets = calloc(BUCKETS, sizeof(*o->buckets));
	if (!o->messages || !o->peers || !o->buckets) {
		praas_outbox_free(o);
		return -ENOMEM;
	}
	*ret_o = o;
	return 0;
}

void praas_outbox_configure(struct praas_outbox *o,
			    const struct praas_outbox_config *config)
{
	o->config = *config;
}

void praas_outbox_identify(struct praas_outbox *o, uint32_t epoch)
{
	o->epoch = epoch;
}

/* ---- messages ---- */

static void message_put(struct praas_outbox *o, struct praas_outbox_message *m)
{
	m->next = o->messages_free;
	o->messages_free = (uint32_t)(m - o->messages) + 1;
}

/* A transport gives it back. */
static void message_release(struct praas_buf *buf)
{
	struct praas_outbox_message *m = buf->owner;

	m->lent = false;
	if (m->over) {
		praas_value_release(&m->value);
		message_put(m->outbox, m);
	}
}

static struct praas_outbox_message *message_get(struct praas_outbox *o)
{
	uint32_t i = o->messages_free;
	struct praas_outbox_message *m;

	if (i != PRAAS_OUTBOX_NONE)
		o->messages_free = o->messages[i - 1].next;
	else if (o->messages_used < PRAAS_OUTBOX_MESSAGES_MAX)
		i = ++o->messages_used;
	else
		return NULL;
	m = &o->messages[i - 1];
	m->outbox = o;
	m->over = m->lent = false;
	m->next = PRAAS_OUTBOX_NONE;
	return m;
}

/* Neither a sender nor a snapshot needs it any more. */
static void message_end(struct praas_outbox *o, struct praas_outbox_message *m)
{
	o->counts.messages--;
	o->counts.bytes -= m->value.charge;
	m->over = true;
	if (m->lent)
		return; /* its memory is being read */
	praas_value_release(&m->value);
	message_put(o, m);
}

static struct praas_outbox_message *message_new(struct praas_outbox *o, const char *key,
						uint32_t key_bytes,
						struct praas_value *value,
						const uint8_t *trace)
{
	struct praas_outbox_message *m = message_get(o);

	if (!m)
		return NULL;
	m->value = praas_value_take(value);
	m->buf = (struct praas_buf){ .release = message_release, .owner = m };
	m->buf.head.kind = PRAAS_FRAME_MAIL;
	m->buf.head.key_bytes = (uint8_t)key_bytes;
	memcpy(m->buf.key, key, key_bytes);
	if (trace) {
		m->buf.head.flags = PRAAS_FRAME_TRACE;
		memcpy(m->buf.trace, trace, PRAAS_TRACE_USED);
		memset(m->buf.trace + PRAAS_TRACE_USED, 0, PRAAS_TRACE_RESERVED);
	}
	o->counts.messages++;
	o->counts.bytes += m->value.charge;
	return m;
}

static void item_of(const struct praas_outbox_message *m, struct praas_seq seq,
		    struct praas_outbox_item *ret_item)
{
	*ret_item = (struct praas_outbox_item){
		.seq = seq,
		.key = m->buf.key,
		.key_bytes = m->buf.head.key_bytes,
		.data = m->value.data,
		.bytes = m->value.bytes,
		.trace = m->buf.head.flags & PRAAS_FRAME_TRACE ? m->buf.trace : NULL
	};
}

/* ---- receivers ---- */

static uint32_t *bucket_of(struct praas_outbox *o, uint64_t pid)
{
	return &o->buckets[(pid * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (BUCKETS - 1)];
}

static struct praas_peer *peer_find(struct praas_outbox *o, uint64_t pid)
{
	uint32_t i = *bucket_of(o, pid);

	while (i != PRAAS_OUTBOX_NONE && o->peers[i - 1].pid != pid)
		i = o->peers[i - 1].hash_next;
	return i != PRAAS_OUTBOX_NONE ? &o->peers[i - 1] : NULL;
}

static int peer_begin(struct praas_peer *p)
{
	struct praas_sender_config config = {
		.slots = p->slots,
		.window = PRAAS_OUTBOX_WINDOW,
		.batch = PRAAS_OUTBOX_APPEND_MAX,
		.epoch = p->outbox->epoch,
		.backoff_min_ns = BACKOFF_MIN_NS,
		.backoff_max_ns = BACKOFF_MAX_NS,
		.silence_ns = SILENCE_NS,
	};
	int rc = praas_sender_init(&p->sender, &config);

	if (rc == 0)
		praas_sender_hold(&p->sender, p->outbox->held);
	return rc;
}

static struct praas_peer *peer_new(struct praas_outbox *o, uint64_t pid)
{
	uint32_t *bucket = bucket_of(o, pid);
	struct praas_peer *p;

	if (o->peers_count == PRAAS_OUTBOX_PEERS_MAX)
		return NULL;
	p = &o->peers[o->peers_count];
	*p = (struct praas_peer){ .outbox = o, .pid = pid, .hash_next = *bucket };
	p->slots = calloc(PRAAS_OUTBOX_WINDOW, sizeof(*p->slots));
	if (!p->slots)
		return NULL;
	*bucket = ++o->peers_count;
	return p;
}

void praas_peer_forget_way(struct praas_peer *p)
{
	if (!p->way)
		return;
	explicit_bzero(p->way, sizeof(*p->way));
	free(p->way);
	p->way = NULL;
}

void praas_peer_lost(struct praas_peer *p, uint32_t attempt)
{
	p->stalled = false;
	praas_sender_lost(&p->sender, attempt, praas_now_ns());
	praas_outbox_kick(p->outbox);
}

void praas_outbox_disconnect(struct praas_outbox *o)
{
	o->ended = true;
	for (uint32_t i = 0; i < o->peers_count; i++)
		praas_peer_close(&o->peers[i]);
}

void praas_outbox_free(struct praas_outbox *o)
{
	if (!o)
		return;
	for (uint32_t i = 0; i < o->peers_count; i++) {
		praas_peer_forget_way(&o->peers[i]);
		free(o->peers[i].slots);
	}
	for (uint32_t i = 0; i < o->messages_used; i++)
		praas_value_release(&o->messages[i].value);
	praas_pages_free(o->messages);
	free(o->peers);
	free(o->buckets);
	free(o);
}

/* ---- what a sender wants ---- */

/* The first messages of its window, as far as they go into one question. */
static void ask(struct praas_peer *p, const struct praas_sender_action *a)
{
	struct praas_outbox *o = p->outbox;
	struct praas_outbox_question q = { .receiver = p->pid, .attempt = a->attempt };
	uint64_t bytes = 0;

	for (; q.count < a->count; q.count++) {
		const struct praas_sender_slot *slot =
			praas_sender_at(&p->sender, q.count);
		const struct praas_outbox_message *m = &o->messages[slot->token];

		bytes += m->value.bytes;
		if (bytes > PRAAS_OUTBOX_APPEND_BYTES)
			break;
		item_of(m, slot->seq, &q.items[q.count]);
	}
	if (o->config.host.ask(o->config.host.user, &q) != 0)
		praas_peer_lost(p, a->attempt);
}

static void done(struct praas_peer *p, const struct praas_sender_action *a)
{
	struct praas_outbox *o = p->outbox;

	if (a->rc != 0)
		o->config.host.dropped(o->config.host.user, p->pid, a->rc);
	if (praas_unlikely(o->changes != NULL))
		praas_outbox_changed(o, p, &o->messages[a->token], true);
	p->bytes -= o->messages[a->token].value.charge;
	message_end(o, &o->messages[a->token]);
}

/* False: nothing more of it can be done now. */
static bool act(struct praas_peer *p, const struct praas_sender_action *a)
{
	switch (a->kind) {
	case PRAAS_SENDER_DONE:
		done(p, a);
		return true;
	case PRAAS_SENDER_APPEND:
		ask(p, a);
		return true;
	case PRAAS_SENDER_CONNECT:
		praas_peer_connect(p, a->attempt);
		return true;
	case PRAAS_SENDER_SEND:
		if (praas_peer_send(p, a, &p->outbox->messages[a->token]) == 0)
			return true;
		p->stalled = true;
		p->next = *a;
		return false;
	case PRAAS_SENDER_CLOSE:
		if (p->conn_attempt == a->attempt)
			praas_peer_close(p);
		return true;
	case PRAAS_SENDER_NONE:
		break;
	}
	return false;
}

/* A connection that nobody needs. */
static void look_idle(struct praas_peer *p, uint64_t now_ns)
{
	if (!p->open || p->sender.count != 0 || now_ns - p->used_ns < IDLE_NS)
		return;
	praas_peer_close(p);
	praas_peer_lost(p, p->conn_attempt);
}

static unsigned pump(struct praas_peer *p, uint64_t now_ns)
{
	struct praas_sender_action a;
	unsigned n = 0;

	if (p->stalled) {
		a = p->next;
		p->stalled = false;
		if (!act(p, &a))
			return 0;
		n++;
	}
	for (;; n++) {
		if (p->way && p->sender.count != 0)
			praas_sender_route(&p->sender, p->way->epoch, now_ns);
		praas_sender_poll(&p->sender, now_ns, &a);
		if (!act(p, &a))
			break;
	}
	look_idle(p, now_ns);
	return n;
}

static void earlier(uint64_t *due_ns, uint64_t at_ns)
{
	if (at_ns != 0 && (*due_ns == 0 || at_ns < *due_ns))
		*due_ns = at_ns;
}

/* When to look again, if nothing tells. */
static uint64_t peer_due(const struct praas_peer *p, uint64_t now_ns)
{
	uint64_t due_ns = praas_sender_due_ns(&p->sender);

	if (p->stalled)
		earlier(&due_ns, now_ns + BACKOFF_MIN_NS);
	if (p->open && p->sender.count == 0)
		earlier(&due_ns, p->used_ns + IDLE_NS);
	return due_ns;
}

unsigned praas_outbox_poll(struct praas_outbox *o)
{
	uint64_t now_ns;
	unsigned n = 0;

	if (praas_likely(!o->kicked &&
			 (o->due_ns == 0 || ++o->turns % TURNS_PER_CLOCK != 0)))
		return 0;
	if (!o->begun || o->ended)
		return 0;
	now_ns = praas_now_ns();
	if (!o->kicked && now_ns < o->due_ns)
		return 0;
	o->kicked = false;
	o->due_ns = 0;
	for (uint32_t i = 0; i < o->peers_count; i++) {
		n += pump(&o->peers[i], now_ns);
		earlier(&o->due_ns, peer_due(&o->peers[i], now_ns));
	}
	return n;
}

uint64_t praas_outbox_due_ns(const struct praas_outbox *o)
{
	if (!o->begun || o->ended)
		return 0;
	return o->kicked ? 1 : o->due_ns;
}

void praas_outbox_way(struct praas_outbox *o, const struct praas_way *way)
{
	struct praas_peer *p = peer_find(o, way->receiver);
	uint64_t now_ns = praas_now_ns();

	if (!p)
		return;
	praas_outbox_kick(o);
	switch (way->kind) {
	case PRAAS_WAY_QUEUED:
		praas_peer_forget_way(p);
		praas_sender_queued(&p->sender, way->attempt, way->seq, now_ns);
		if (praas_unlikely(o->changes != NULL))
			praas_outbox_changed_peer(o, p);
		break;
	case PRAAS_WAY_MOVED:
		if (!p->way)
			p->way = malloc(sizeof(*p->way));
		if (!p->way) {
			praas_peer_lost(p, way->attempt);
			break;
		}
		*p->way = *way;
		praas_sender_moved(&p->sender, way->attempt, way->epoch, now_ns);
		break;
	case PRAAS_WAY_GONE:
		praas_sender_gone(&p->sender, way->attempt);
		if (praas_unlikely(o->changes != NULL))
			praas_outbox_changed_peer(o, p);
		break;
	case PRAAS_WAY_BUSY:
		praas_peer_lost(p, way->attempt);
		break;
	}
}

/* ---- sending ---- */

/* A receiver that is slow has at most as much as it leaves to all others together: so there is always some for another
 * one. */
static bool has_room(const struct praas_outbox *o, const struct praas_peer *p,
		     uint64_t bytes)
{
	uint64_t messages_free = PRAAS_OUTBOX_MESSAGES_MAX - o->counts.messages;
	uint64_t bytes_free = o->config.bytes_max - o->counts.bytes;

	if (messages_free == 0 || bytes > bytes_free)
		return false;
	if (!p || p->sender.count == 0)
		return true;
	return p->sender.count < PRAAS_OUTBOX_WINDOW &&
	       p->sender.count < messages_free &&
	       p->bytes + bytes <= bytes_free - bytes;
}

bool praas_outbox_has_room(struct praas_outbox *o, uint64_t receiver, uint64_t bytes)
{
	const struct praas_peer *p = peer_find(o, receiver);

	return (p && p->sender.path == PRAAS_SENDER_GONE) || has_room(o, p, bytes);
}

int praas_outbox_send(struct praas_outbox *o, uint64_t receiver, const char *key,
		      uint32_t key_bytes, struct praas_value *value,
		      const uint8_t *trace)
{
	struct praas_peer *p = peer_find(o, receiver);
	struct praas_outbox_message *m;
	int rc;

	if (value->charge > o->config.bytes_max)
		return -ENOSPC;
	if (p && p->sender.path == PRAAS_SENDER_GONE)
		return -ENOENT;
	if (!has_room(o, p, value->charge))
		return -EAGAIN;
	if (!p) {
		p = peer_new(o, receiver);
		if (!p || peer_begin(p) != 0)
			return -ENOBUFS;
	}
	m = message_new(o, key, key_bytes, value, trace);
	praas_check(m != NULL); /* there is room */
	p->bytes += m->value.charge;
	rc = praas_sender_push(&p->sender, (uint64_t)(m - o->messages), 0, &m->seq);
	praas_check(rc == 0); /* asked for above */
	if (praas_unlikely(o->changes != NULL)) {
		praas_outbox_changed_peer(o, p);
		praas_outbox_changed(o, p, m, false);
	}
	praas_outbox_kick(o);
	return 0;
}

void praas_outbox_hold(struct praas_outbox *o, bool held)
{
	o->held = held;
	praas_outbox_kick(o);
	for (uint32_t i = 0; i < o->peers_count; i++)
		praas_sender_hold(&o->peers[i].sender, held);
}

/* ---- snapshots ---- */

static int visit(struct praas_outbox *o, struct praas_peer *p,
		 const struct praas_outbox_visitor *v)
{
	int rc = v->receiver(v->user, p->pid, p->sender.last, p->sender.durable);

	for (uint32_t i = 0; rc == 0 && i < p->sender.count; i++) {
		const struct praas_sender_slot *slot = praas_sender_at(&p->sender, i);
		struct praas_outbox_item item;

		if (slot->over)
			continue; /* acknowledged, or given up */
		item_of(&o->messages[slot->token], slot->seq, &item);
		rc = v->message(v->user, p->pid, &item);
	}
	return rc;
}

int praas_outbox_each(struct praas_outbox *o, const struct praas_outbox_visitor *v)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < o->peers_count; i++)
		if (o->peers[i].sender.path != PRAAS_SENDER_GONE)
			rc = visit(o, &o->peers[i], v);
	return rc;
}

int praas_outbox_import_receiver(struct praas_outbox *o, uint64_t pid,
				 struct praas_seq last, struct praas_seq durable)
{
	struct praas_peer *p;

	if (o->begun || peer_find(o, pid))
		return -EINVAL;
	p = peer_new(o, pid);
	if (!p)
		return -ENOBUFS;
	p->last = last;
	p->durable = durable;
	return 0;
}

int praas_outbox_import_message(struct praas_outbox *o, uint64_t pid,
				struct praas_seq seq, const char *key,
				uint32_t key_bytes, struct praas_value *value)
{
	struct praas_peer *p = peer_find(o, pid);
	struct praas_outbox_message *m;
	uint32_t i;

	if (o->begun || !p || praas_seq_none(seq))
		return -EINVAL;
	if (p->imported_last != PRAAS_OUTBOX_NONE &&
	    praas_seq_compare(o->messages[p->imported_last - 1].seq, seq) >= 0)
		return -EINVAL;
	m = message_new(o, key, key_bytes, value, NULL);
	if (!m)
		return -ENOBUFS;
	m->seq = seq;
	i = (uint32_t)(m - o->messages) + 1;
	if (p->imported_last != PRAAS_OUTBOX_NONE)
		o->messages[p->imported_last - 1].next = i;
	else
		p->imported_first = i;
	p->imported_last = i;
	return 0;
}

/* After an end that was not planned it has another place from now on. */
static void restore(struct praas_outbox *o, struct praas_peer *p,
		    struct praas_outbox_message *m)
{
	struct praas_seq was = m->seq;

	if (praas_sender_restore_message(&p->sender, m->seq,
					 (uint64_t)(m - o->messages)) != 0) {
		message_end(o, m); /* import has checked it */
		return;
	}
	p->bytes += m->value.charge;
	m->seq = praas_sender_at(&p->sender, p->sender.count - 1)->seq;
	if (o->changes)
		praas_outbox_changed_place(o, p, m, was);
}

void praas_outbox_begin(struct praas_outbox *o, bool clean)
{
	o->begun = true;
	praas_outbox_kick(o);
	for (uint32_t k = 0; k < o->peers_count; k++) {
		struct praas_peer *p = &o->peers[k];
		uint32_t i = p->imported_first;

		(void)peer_begin(p); /* cannot fail: the numbers are ours */
		praas_sender_restore(&p->sender, p->last, p->durable, clean);
		while (i != PRAAS_OUTBOX_NONE) {
			uint32_t next = o->messages[i - 1].next;

			restore(o, p, &o->messages[i - 1]);
			i = next;
		}
		p->imported_first = p->imported_last = PRAAS_OUTBOX_NONE;
	}
}
