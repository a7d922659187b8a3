/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients of a process with state beyond memory: who reads what is in the store only waits until it
 * has come; who may write waits while too much has changed since the last committed snapshot, for
 * a while, and is refused by the limit itself after that.
 */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/process_private.h"

#define GETS_MAX 1024u
#define WRITES_MAX 1024u
#define WRITES_SHARE 16u        /* what waits has no more than this part of the pool */
#define PATIENCE_NS 3000000000u /* so long a checkpoint is waited for */

/* A STATE_GET that waits. */
struct get {
	struct praas_fn_wait wait;
	struct praas_conn *conn; /* NULL: free */
	struct praas_buf *buf;
	struct get *next; /* free list */
};

struct praas_slowed {
	struct get gets[GETS_MAX];
	struct get *free;
	uint32_t used;
	/* Requests in their order. */
	struct praas_parked write[WRITES_MAX];
	uint32_t first, count;
	uint64_t bytes, bytes_max;
	uint64_t since_ns; /* the oldest waits */
	bool passing;      /* they are being done */
};

/* ---- reads ---- */

static struct get *get_new(struct praas_slowed *w)
{
	struct get *g = w->free;

	if (g)
		w->free = g->next;
	else if (w->used < GETS_MAX)
		g = &w->gets[w->used++];
	return g;
}

static void get_free(struct praas_slowed *w, struct get *g)
{
	g->conn = NULL;
	g->buf = NULL;
	g->next = w->free;
	w->free = g;
}

static void on_brought(struct praas_fn_wait *wait, int rc)
{
	struct get *g = wait->user;
	struct praas_process *p = wait->process;
	struct praas_conn *conn = g->conn;
	struct praas_buf *buf = g->buf;

	/* First: the answer may end this connection. */
	get_free(p->slowed, g);
	if (rc != 0)
		praas_requests_refuse(p, conn, buf, rc);
	else
		praas_requests_state_get(p, conn, buf);
}

bool praas_slow_get(struct praas_process *p, struct praas_conn *conn,
		    struct praas_buf *buf)
{
	struct get *g = get_new(p->slowed);
	int rc = -ENOBUFS;

	if (g) {
		g->wait = (struct praas_fn_wait){ .done = on_brought, .user = g };
		rc = praas_process_fn_state_bring(p, buf->key, buf->head.key_bytes,
						  &g->wait);
		if (rc == -EINPROGRESS) {
			g->conn = conn;
			g->buf = buf;
			return true;
		}
		get_free(p->slowed, g);
	}
	if (rc == 0)
		return false;
	praas_requests_refuse(p, conn, buf, rc);
	return true;
}

/* ---- writes ---- */

static bool may_write(const struct praas_buf *buf)
{
	return buf->head.kind == PRAAS_FRAME_INVOKE ||
	       buf->head.kind == PRAAS_FRAME_STATE_PUT ||
	       buf->head.kind == PRAAS_FRAME_STATE_DELETE;
}

bool praas_slow_write(struct praas_process *p, struct praas_conn *conn,
		      struct praas_buf *buf)
{
	struct praas_slowed *w = p->slowed;
	const struct praas_overflow *ov = p->state.overflow;

	if (w->passing || !may_write(buf) || !p->open ||
	    (w->count == 0 && (ov->stalled || !praas_overflow_full(&p->state))))
		return false;
	if (w->count == WRITES_MAX || buf->head.bytes > w->bytes_max - w->bytes) {
		praas_reply_refuse(p, conn, buf, PRAAS_OVERLOADED,
				   PRAAS_RETRY_AFTER_NS);
		return true;
	}
	if (w->count == 0)
		w->since_ns = praas_now_ns();
	w->write[(w->first + w->count++) % WRITES_MAX] =
		(struct praas_parked){ .conn = conn, .buf = buf };
	w->bytes += buf->head.bytes;
	return true;
}

static void write_drop(struct praas_slowed *w, struct praas_parked *parked)
{
	w->bytes -= parked->buf->head.bytes;
	parked->conn = NULL;
	parked->buf = NULL;
}

bool praas_slow_cancel(struct praas_process *p, struct praas_conn *conn, uint64_t id)
{
	struct praas_slowed *w = p->slowed;

	for (uint32_t i = 0; i < w->count; i++) {
		struct praas_parked *parked = &w->write[(w->first + i) % WRITES_MAX];
		struct praas_buf *buf = parked->buf;

		if (parked->conn != conn || buf->head.id != id ||
		    buf->head.kind != PRAAS_FRAME_INVOKE)
			continue;
		write_drop(w, parked);
		praas_reply_refuse(p, conn, buf, PRAAS_CANCELLED, 0);
		return true;
	}
	return false;
}

void praas_slow_forget_conn(struct praas_process *p, const struct praas_conn *conn)
{
	struct praas_slowed *w = p->slowed;

	for (uint32_t i = 0; w && i < w->used; i++) {
		struct get *g = &w->gets[i];
		struct praas_buf *buf = g->buf;

		if (g->conn != conn)
			continue;
		praas_process_fn_wait_cancel(p, &g->wait);
		get_free(w, g);
		praas_buf_release(buf);
	}
	for (uint32_t i = 0; w && i < w->count; i++) {
		struct praas_parked *parked = &w->write[(w->first + i) % WRITES_MAX];
		struct praas_buf *buf = parked->buf;

		if (parked->conn != conn)
			continue;
		write_drop(w, parked);
		praas_buf_release(buf);
	}
}

unsigned praas_slow_poll(struct praas_process *p, bool all)
{
	struct praas_slowed *w = p->slowed;
	struct praas_overflow *ov = p->state.overflow;
	unsigned done = 0;

	if (praas_likely(w->count == 0) || w->passing)
		return 0;
	if (praas_overflow_full(&p->state) &&
	    praas_now_ns() - w->since_ns >= PATIENCE_NS)
		ov->stalled = true;
	w->passing = true;
	while (w->count > 0 &&
	       (all || ov->stalled || !praas_overflow_full(&p->state))) {
		struct praas_parked parked = w->write[w->first];

		/* First: what it leads to may end this connection. */
		if (parked.buf)
			write_drop(w, &w->write[w->first]);
		w->first = (w->first + 1) % WRITES_MAX;
		w->count--;
		done++;
		if (parked.buf)
			praas_process_conn_events()->frame(p, parked.conn, parked.buf);
	}
	w->passing = false;
	return done;
}

uint64_t praas_slow_due_ns(const struct praas_process *p)
{
	uint64_t due = 0;

	if (p->slowed && p->slowed->count > 0)
		due = p->slowed->since_ns + PATIENCE_NS;
	if (p->state.overflow && p->state.overflow->starving > 0) /* soon */
		due = praas_now_ns() + PRAAS_RETRY_AFTER_NS;
	return due;
}

/* ---- life ---- */

int praas_slow_init(struct praas_process *p)
{
	struct praas_pool_stats pool;

	praas_pool_stats(p->config.pool, &pool);
	p->slowed = calloc(1, sizeof(*p->slowed));
	if (!p->slowed)
		return -ENOMEM;
	p->slowed->bytes_max = pool.bytes_total / WRITES_SHARE;
	p->overflows = true;
	p->away = 1; /* it has its turn, always */
	return 0;
}

void praas_slow_release(struct praas_process *p)
{
	struct praas_slowed *w = p->slowed;

	for (uint32_t i = 0; w && i < w->used; i++)
		praas_buf_release(w->gets[i].buf);
	for (uint32_t i = 0; w && i < w->count; i++)
		praas_buf_release(w->write[(w->first + i) % WRITES_MAX].buf);
	free(w);
	p->overflows = false;
	p->slowed = NULL;
}
