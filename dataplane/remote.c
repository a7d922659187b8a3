/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/probe.h"
#include "dataplane/remote_private.h"
#include "internal/base.h"

#define NONE 0u /* indices are + 1 */
#define BUCKETS (2u * PRAAS_REMOTE_PEERS_MAX)
#define SLOT_BITS 10u
#define BACKOFF_MIN_NS 1000000u
#define BACKOFF_MAX_NS 250000000u
#define SILENCE_NS 5000000000u /* without an answer it is asked, or connected, again */
#define PATIENCE_NS UINT64_C(30000000000) /* for a way; then UNKNOWN, or DEADLINE */
#define IDLE_NS 30000000000u
#define TURNS_PER_CLOCK 64u

int praas_remote_new(uint64_t *wanted, struct praas_remote **ret_r)
{
	struct praas_remote *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->wanted = wanted;
	/* Touched as far as they are used. */
	r->calls = calloc(PRAAS_REMOTE_CALLS_MAX, sizeof(*r->calls));
	r->links = calloc(PRAAS_REMOTE_PEERS_MAX, sizeof(*r->links));
	r->buckets = calloc(BUCKETS, sizeof(*r->buckets));
	if (!r->calls || !r->links || !r->buckets) {
		praas_remote_free(r);
		return -ENOMEM;
	}
	*ret_r = r;
	return 0;
}

void praas_remote_configure(struct praas_remote *r,
			    const struct praas_outbox_host *host)
{
	r->host = *host;
}

void praas_remote_identify(struct praas_remote *r, uint32_t epoch)
{
	r->epoch = epoch;
}

uint32_t praas_remote_count(const struct praas_remote *r)
{
	return r->calls_count;
}

/* ---- calls ---- */

/* A transport gives it back. */
static void call_release(struct praas_buf *buf)
{
	struct praas_remote_call *c = buf->owner;

	c->lent = false;
	if (c->state != PRAAS_REMOTE_FREE)
		return;
	praas_buf_release(c->input);
	c->input = NULL;
}

static struct praas_remote_call *call_get(struct praas_remote *r)
{
	for (uint32_t i = 0; i < r->calls_used; i++)
		if (r->calls[i].state == PRAAS_REMOTE_FREE && !r->calls[i].lent)
			return &r->calls[i];
	if (r->calls_used == PRAAS_REMOTE_CALLS_MAX)
		return NULL;
	return &r->calls[r->calls_used++];
}

static struct praas_remote_call *call_of(const struct praas_remote *r, uint64_t id)
{
	uint32_t slot = (uint32_t)id & (PRAAS_REMOTE_CALLS_MAX - 1);
	struct praas_remote_call *c = &r->calls[slot];

	if (!(id & PRAAS_REMOTE_ID) || slot >= r->calls_used ||
	    c->state == PRAAS_REMOTE_FREE ||
	    c->generation != (uint32_t)(id >> SLOT_BITS & 0x3fffffu))
		return NULL;
	return c;
}

static void unlink_call(struct praas_remote_link *l, const struct praas_remote_call *c)
{
	struct praas_remote_call **at = &l->first, *last = NULL;

	while (*at && *at != c) {
		last = *at;
		at = &(*at)->next;
	}
	if (!*at)
		return;
	*at = c->next;
	if (l->last == c)
		l->last = last;
}

/* result is given; NULL: none. */
void praas_remote_end(struct praas_remote_link *l, struct praas_remote_call *c,
		      int32_t status, struct praas_buf *result, uint64_t run_ns)
{
	struct praas_invocation_caller caller = c->caller;

	unlink_call(l, c);
	c->state = PRAAS_REMOTE_FREE;
	l->remote->calls_count--;
	if (!c->lent) {
		praas_buf_release(c->input);
		c->input = NULL;
	}
	caller.done(caller.user, NULL, status, result, run_ns);
}

void praas_remote_fail(struct praas_remote_link *l, struct praas_remote_call *c,
		       int32_t status, const char *text)
{
	struct praas_buf *result = NULL;
	size_t bytes = strlen(text) + 1;

	if (c->caller.alloc(c->caller.user, bytes, &result) == 0) {
		memcpy(result->data, text, bytes);
		result->head.bytes = bytes;
	}
	praas_remote_end(l, c, status, result, 0);
}

/* ---- links ---- */

static uint32_t *bucket_of(struct praas_remote *r, uint64_t pid)
{
	return &r->buckets[(pid * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (BUCKETS - 1)];
}

static struct praas_remote_link *link_find(struct praas_remote *r, uint64_t pid)
{
	uint32_t i = *bucket_of(r, pid);

	while (i != NONE && r->links[i - 1].pid != pid)
		i = r->links[i - 1].hash_next;
	return i != NONE ? &r->links[i - 1] : NULL;
}

static struct praas_remote_link *link_get(struct praas_remote *r, uint64_t pid)
{
	struct praas_remote_link *l = link_find(r, pid);
	uint32_t *bucket = bucket_of(r, pid);

	if (l || r->links_count == PRAAS_REMOTE_PEERS_MAX)
		return l;
	l = &r->links[r->links_count];
	*l = (struct praas_remote_link){ .remote = r,
					 .pid = pid,
					 .hash_next = *bucket };
	*bucket = ++r->links_count;
	return l;
}

void praas_remote_forget_way(struct praas_remote_link *l)
{
	if (!l->way)
		return;
	explicit_bzero(l->way, sizeof(*l->way));
	free(l->way);
	l->way = NULL;
}

static void close_conn(struct praas_remote_link *l)
{
	struct praas_conn *conn = l->conn;

	l->conn = NULL;
	l->open = false;
	if (conn)
		conn->ops->close(conn, false);
}

void praas_remote_back_off(struct praas_remote_link *l)
{
	l->backoff_ns = praas_min_u64(praas_max_u64(2 * l->backoff_ns, BACKOFF_MIN_NS),
				      BACKOFF_MAX_NS);
	l->wait_ns = praas_now_ns() + l->backoff_ns;
	l->asking = false;
	l->attempt++;
	praas_remote_kick(l->remote);
}

/* What was sent may have run: only the same epoch knows. */
static bool any_sent(const struct praas_remote_link *l)
{
	const struct praas_remote_call *c = l->first;

	while (c && c->state != PRAAS_REMOTE_SENT)
		c = c->next;
	return c != NULL;
}

static void requeue_all(struct praas_remote_link *l)
{
	for (struct praas_remote_call *c = l->first; c; c = c->next) {
		if (c->state == PRAAS_REMOTE_SENT)
			c->begun_ns = praas_now_ns(); /* it had found a way */
		c->state = PRAAS_REMOTE_QUEUED;
	}
}

void praas_remote_lost(struct praas_remote_link *l)
{
	close_conn(l);
	requeue_all(l);
	praas_remote_back_off(l);
}

void praas_remote_disconnect(struct praas_remote *r)
{
	r->ended = true;
	for (uint32_t i = 0; i < r->links_count; i++)
		close_conn(&r->links[i]);
}

void praas_remote_drop(struct praas_remote *r)
{
	for (uint32_t i = 0; r && i < r->calls_used; i++) {
		praas_buf_release(r->calls[i].input);
		r->calls[i].input = NULL;
		r->calls[i].state = PRAAS_REMOTE_FREE;
	}
	for (uint32_t i = 0; r && i < r->links_count; i++)
		r->links[i].first = r->links[i].last = NULL;
}

void praas_remote_free(struct praas_remote *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->links_count; i++) {
		praas_remote_forget_way(&r->links[i]);
		free(r->links[i].functions);
	}
	free(r->calls);
	free(r->links);
	free(r->buckets);
	free(r);
}

void praas_remote_way(struct praas_remote *r, const struct praas_way *way)
{
	struct praas_remote_link *l = link_find(r, way->receiver);

	if (!l || !l->asking || (l->attempt | PRAAS_REMOTE_ATTEMPT) != way->attempt)
		return;
	l->asking = false;
	praas_remote_kick(r);
	if (way->kind == PRAAS_WAY_GONE) {
		while (l->first)
			praas_remote_fail(l, l->first, PRAAS_NOT_FOUND,
					  "there is no such process");
		return;
	}
	if (way->kind == PRAAS_WAY_MOVED && !l->way)
		l->way = malloc(sizeof(*l->way));
	if (way->kind != PRAAS_WAY_MOVED || !l->way) {
		praas_remote_back_off(l);
		return;
	}
	*l->way = *way;
	close_conn(l);
	requeue_all(l);
	l->endpoint = 0;
	praas_remote_connect(l);
}

/* ---- the turn ---- */

/* Its result, which comes all the same, is for nobody then. */
static void send_cancel(const struct praas_remote_link *l,
			const struct praas_remote_call *c)
{
	struct praas_conn *conn = l->open ? l->conn : NULL;
	struct praas_buf *buf;

	if (c->state != PRAAS_REMOTE_SENT || !conn ||
	    conn->ops->alloc(conn, 0, &buf) != 0)
		return;
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_CANCEL,
					  .id = c->wire_id,
					  .epoch = c->epoch };
	(void)praas_conn_send_or_release(conn, buf); /* it ends without, later */
}

static void expire(struct praas_remote_link *l, uint64_t now_ns)
{
	struct praas_remote_call *c = l->first, *next;

	for (; c; c = next) {
		next = c->next;
		if (c->deadline_ns != 0 && now_ns >= c->deadline_ns) {
			send_cancel(l, c);
			praas_remote_fail(l, c, PRAAS_DEADLINE,
					  "the deadline passed before the result");
		} else if (c->state == PRAAS_REMOTE_QUEUED &&
			   now_ns - c->begun_ns >= PATIENCE_NS) {
			praas_remote_fail(l, c,
					  c->epoch ? PRAAS_UNKNOWN : PRAAS_DEADLINE,
					  "that process could not be reached");
		}
	}
}

static void ask(struct praas_remote_link *l, uint64_t now_ns)
{
	const struct praas_outbox_host *host = &l->remote->host;
	const struct praas_outbox_question q = {
		.receiver = l->pid, .attempt = l->attempt | PRAAS_REMOTE_ATTEMPT
	};

	l->asking = true;
	l->wait_ns = now_ns;
	if (host->ask(host->user, &q) != 0)
		praas_remote_back_off(l);
}

static void link_turn(struct praas_remote_link *l, uint64_t now_ns)
{
	bool waits = l->asking || (l->conn && !l->open);

	expire(l, now_ns);
	if (waits && now_ns - l->wait_ns >= SILENCE_NS) {
		praas_remote_forget_way(l);
		praas_remote_lost(l);
	} else if (l->open && l->way) {
		praas_remote_send_all(l);
	} else if (!waits && l->first && now_ns >= l->wait_ns &&
		   !(l->open && any_sent(l))) {
		/* What an epoch that ends still owes comes before another connection is made. */
		ask(l, now_ns);
	}
	if (l->open && !l->first && now_ns - l->used_ns >= IDLE_NS)
		close_conn(l);
}

static void earlier(uint64_t *due_ns, uint64_t at_ns)
{
	if (at_ns != 0 && (*due_ns == 0 || at_ns < *due_ns))
		*due_ns = at_ns;
}

static uint64_t link_due(const struct praas_remote_link *l, uint64_t now_ns)
{
	uint64_t due_ns = 0;

	for (const struct praas_remote_call *c = l->first; c; c = c->next) {
		earlier(&due_ns, c->deadline_ns);
		if (c->state != PRAAS_REMOTE_QUEUED)
			continue;
		earlier(&due_ns, c->begun_ns + PATIENCE_NS);
		earlier(&due_ns, praas_max_u64(l->wait_ns, now_ns + BACKOFF_MIN_NS));
	}
	if (l->asking || (l->conn && !l->open))
		earlier(&due_ns, l->wait_ns + SILENCE_NS);
	if (l->open && !l->first)
		earlier(&due_ns, l->used_ns + IDLE_NS);
	return due_ns;
}

unsigned praas_remote_poll(struct praas_remote *r)
{
	uint64_t now_ns;

	if (praas_likely(!r->kicked &&
			 (r->due_ns == 0 || ++r->turns % TURNS_PER_CLOCK != 0)))
		return 0;
	now_ns = praas_now_ns();
	if (r->ended || (!r->kicked && now_ns < r->due_ns))
		return 0;
	r->kicked = false;
	r->due_ns = 0;
	for (uint32_t i = 0; i < r->links_count; i++) {
		link_turn(&r->links[i], now_ns);
		earlier(&r->due_ns, link_due(&r->links[i], now_ns));
	}
	return 1;
}

uint64_t praas_remote_due_ns(const struct praas_remote *r)
{
	if (r->ended)
		return 0;
	return r->kicked ? 1 : r->due_ns;
}

/* ---- for executors ---- */

static uint64_t realtime_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t); /* valid arguments */
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int praas_remote_invoke(struct praas_remote *r, const struct praas_fn_call *call,
			const char *function, const struct praas_remote_kept *kept,
			uint64_t *ret_id)
{
	struct praas_remote_link *l = r->ended ? NULL : link_get(r, call->destination);
	struct praas_remote_call *c = l ? call_get(r) : NULL;
	uint32_t slot;

	if (!c)
		return -ENOBUFS;
	slot = (uint32_t)(c - r->calls);
	c->generation = (c->generation + 1) & 0x3fffffu;
	*ret_id = PRAAS_REMOTE_ID | (uint64_t)c->generation << SLOT_BITS | slot;
	c->state = PRAAS_REMOTE_QUEUED;
	c->kept = kept != NULL;
	c->epoch = kept ? kept->epoch : 0;
	c->next = NULL;
	c->input = call->input;
	c->caller = call->caller;
	c->deadline_ns = call->deadline_ns;
	c->begun_ns = praas_now_ns();
	c->began_ns = realtime_ns();
	c->wire_id = (uint64_t)r->epoch << 32 | c->generation << SLOT_BITS | slot;
	if (kept && kept->wire_id != 0)
		c->wire_id = kept->wire_id;
	memcpy(c->function, function, strnlen(function, PRAAS_NAME_MAX) + 1);
	c->out = (struct praas_buf){ .release = call_release, .owner = c };
	c->out.head.kind = PRAAS_FRAME_INVOKE;
	c->out.head.key_bytes = (uint8_t)call->key_bytes;
	memcpy(c->out.key, call->key, call->key_bytes);
	if (call->trace) {
		c->out.head.flags = PRAAS_FRAME_TRACE;
		memcpy(c->out.trace, call->trace, PRAAS_TRACE_USED);
	}
	if (l->last)
		l->last->next = c;
	else
		l->first = c;
	l->last = c;
	r->calls_count++;
	praas_remote_kick(r);
	return 0;
}

struct praas_remote_kept praas_remote_keep(const struct praas_remote *r, uint64_t id)
{
	const struct praas_remote_call *c = call_of(r, id);

	praas_check(c != NULL);
	return (struct praas_remote_kept){ .wire_id = c->wire_id, .epoch = c->epoch };
}

bool praas_remote_kept_sent(struct praas_remote *r)
{
	bool sent = r->kept_sent;

	r->kept_sent = false;
	return sent;
}

void praas_remote_hold(struct praas_remote *r, bool hold)
{
	r->hold = hold;
	praas_remote_kick(r);
}

bool praas_remote_pending(const struct praas_remote *r, uint64_t id)
{
	return call_of(r, id) != NULL;
}

static struct praas_remote_link *link_of(const struct praas_remote *r,
					 const struct praas_remote_call *c)
{
	for (uint32_t i = 0; i < r->links_count; i++) {
		const struct praas_remote_call *at = r->links[i].first;

		while (at && at != c)
			at = at->next;
		if (at)
			return &r->links[i];
	}
	return NULL;
}

int praas_remote_cancel(struct praas_remote *r, uint64_t id)
{
	struct praas_remote_call *c = call_of(r, id);
	struct praas_remote_link *l = c ? link_of(r, c) : NULL;

	if (!c)
		return -ENOENT;
	praas_check(l != NULL); /* until it ends */
	if (c->state == PRAAS_REMOTE_QUEUED && c->epoch == 0)
		praas_remote_fail(l, c, PRAAS_CANCELLED, "cancelled by its caller");
	else
		send_cancel(l, c);
	return 0;
}

uint64_t praas_remote_began_ns(const struct praas_remote *r, uint64_t id)
{
	const struct praas_remote_call *c = call_of(r, id);

	return c ? c->began_ns : 0;
}

void praas_remote_probe(struct praas_remote *r, uint64_t id,
			const struct praas_probe *probe)
{
	const struct praas_remote_call *c = call_of(r, id);
	const struct praas_remote_link *l = c ? link_of(r, c) : NULL;
	struct praas_buf *buf;

	if (!l || c->state != PRAAS_REMOTE_SENT || !l->open || !l->conn || !l->probes ||
	    l->conn->ops->alloc(l->conn, praas_probe_bytes(probe), &buf) != 0)
		return;
	praas_probe_encode(probe, buf->data);
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_PROBE,
					  .id = c->wire_id,
					  .epoch = c->epoch,
					  .bytes = praas_probe_bytes(probe) };
	(void)praas_conn_send_or_release(l->conn, buf); /* another one follows */
}
