/* SPDX-License-Identifier: Apache-2.0
 *
 * While the process moves, what clients that follow it ask is kept unanswered. When the move is called off it is done,
 * in its order; when the process lives elsewhere it is dropped, and its clients ask there. So nothing that they asked
 * is refused, and whatever is unanswered when they learn of the move has not been accepted here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/process_private.h"

#define PARKED_MAX 4096u
#define PARKED_SHARE 4u /* no more than this part of the pool */

int praas_park_init(struct praas_process *p)
{
	struct praas_pool_stats pool;

	praas_pool_stats(p->config.pool, &pool);
	p->parked_bytes_max = pool.bytes_total / PARKED_SHARE;
	p->parked = calloc(PARKED_MAX, sizeof(*p->parked));
	return p->parked ? 0 : -ENOMEM;
}

bool praas_park(struct praas_process *p, struct praas_conn *conn, struct praas_buf *buf)
{
	if (p->parked_count == PARKED_MAX ||
	    buf->head.bytes > p->parked_bytes_max - p->parked_bytes)
		return false;
	p->parked[p->parked_count++] =
		(struct praas_parked){ .conn = conn, .buf = buf };
	p->parked_bytes += buf->head.bytes;
	return true;
}

bool praas_park_cancel(struct praas_process *p, struct praas_conn *conn, uint64_t id)
{
	for (uint32_t i = 0; i < p->parked_count; i++) {
		struct praas_parked *parked = &p->parked[i];
		struct praas_buf *buf = parked->buf;

		if (parked->conn != conn || buf->head.id != id)
			continue;
		parked->conn = NULL;
		parked->buf = NULL;
		p->parked_bytes -= buf->head.bytes;
		praas_reply_refuse(p, conn, buf, PRAAS_CANCELLED, 0);
		return true;
	}
	return false;
}

void praas_park_forget_conn(struct praas_process *p, const struct praas_conn *conn)
{
	for (uint32_t i = 0; i < p->parked_count; i++) {
		struct praas_parked *parked = &p->parked[i];

		if (parked->conn != conn)
			continue;
		p->parked_bytes -= parked->buf->head.bytes;
		praas_buf_release(parked->buf);
		parked->conn = NULL;
		parked->buf = NULL;
	}
}

void praas_park_end(struct praas_process *p, bool serve)
{
	p->parking = false;
	for (uint32_t i = 0; i < p->parked_count; i++) {
		struct praas_parked parked = p->parked[i];

		/* First: what it leads to may end this connection. */
		p->parked[i] = (struct praas_parked){ .conn = NULL };
		if (serve && parked.conn)
			praas_process_conn_events()->frame(p, parked.conn, parked.buf);
		else
			praas_buf_release(parked.buf);
	}
	p->parked_count = 0;
	p->parked_bytes = 0;
	praas_requests_unpark(p, serve);
}

void praas_park_release(struct praas_process *p)
{
	for (uint32_t i = 0; p->parked && i < p->parked_count; i++)
		praas_buf_release(p->parked[i].buf);
	free(p->parked);
}
