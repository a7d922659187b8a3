/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal/base.h"

/* Segments for one payload that is larger than half a buffer area. The server makes them all; a
 * client asks for one to write to. A writer keeps one free segment for the next such payload,
 * so that a stream of large payloads costs no system call (docs/shm-layout.md, "Client"). */

struct praas_shm_big *praas_shm_big_find(struct praas_shm_conn *c, uint32_t id)
{
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++)
		if (c->big[i] && c->big[i]->segment.id == id)
			return c->big[i];
	return NULL;
}

static struct praas_shm_big *add(struct praas_shm_conn *c)
{
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++) {
		if (!c->big[i])
			return c->big[i] = calloc(1, sizeof(*c->big[i]));
	}
	return NULL;
}

/* Forgets a segment; who reads it in other processes has its own mapping. */
static void discard(struct praas_shm_conn *c, struct praas_shm_big *b)
{
	if (c->server && !b->shared) {
		c->big_bytes -= b->segment.bytes;
		c->port->big_bytes -= b->segment.bytes;
		if (b->state == PRAAS_SHM_BIG_READ)
			praas_shm_segment_told(c->port, &b->segment, false);
		praas_shm_segment_known(c->port, &b->segment, false);
	}
	if (b->released)
		b->released(b->user, b->segment.id);
	if (b->segment.base)
		praas_segment_release(&b->segment);
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++)
		if (c->big[i] == b)
			c->big[i] = NULL;
	free(b);
}

static int tell_drop(struct praas_shm_conn *c, uint32_t id)
{
	struct praas_shm_msg msg = { .kind = PRAAS_SHM_DROP, .segment = id };

	return praas_shm_tell(c, &msg, NULL, 0);
}

/* ---- the writer -------------------------------------------------------------------------- */

static struct praas_shm_big *find_free(struct praas_shm_conn *c, uint64_t bytes)
{
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++) {
		struct praas_shm_big *b = c->big[i];

		if (b && b->state == PRAAS_SHM_BIG_FREE && b->segment.bytes >= bytes)
			return b;
	}
	return NULL;
}

/* Makes room for another: free ones that are too small go. */
static void drop_free(struct praas_shm_conn *c)
{
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++) {
		struct praas_shm_big *b = c->big[i];

		if (b && b->state == PRAAS_SHM_BIG_FREE &&
		    (!b->announced || tell_drop(c, b->segment.id) == 0))
			discard(c, b);
	}
}

/* How many bytes c may have at most, and how many more now: there is its own limit, and that of all together;
 * of what is left of that, who holds some already while others do gets at most half. */
static uint64_t allowance(const struct praas_shm_conn *c, uint64_t *ret_max)
{
	const struct praas_shm_port *port = c->port;
	uint64_t max = port->shm.big_bytes_max, total, left;

	if (max == 0)
		max = 3 * (c->base.bytes_max + 2 * 4096);
	*ret_max = max;
	total = praas_max_u64(
		port->shm.big_total_max ? port->shm.big_total_max : 4 * max, max);
	left = total > port->big_bytes ? total - port->big_bytes : 0;
	if (c->big_bytes != port->big_bytes && c->big_bytes != 0)
		left /= 2;
	return c->big_bytes < max ? praas_min_u64(left, max - c->big_bytes) : 0;
}

/* The server's: 0; -ENOBUFS; -EMSGSIZE; -ENOMEM. */
static int create(struct praas_shm_conn *c, uint64_t bytes,
		  struct praas_shm_big **ret_big)
{
	struct praas_shm_big *b;
	uint64_t max, room = allowance(c, &max);
	uint32_t id;
	int rc;

	bytes = praas_segment_payload_bytes(bytes, room);
	if (bytes > room)
		return bytes > max ? -EMSGSIZE : -ENOBUFS;
	if (praas_shm_segment_id(c->port, &id) != 0)
		return -ENOBUFS;
	b = add(c);
	if (!b)
		return -ENOBUFS;
	rc = praas_segment_create("praas big", bytes, id, PRAAS_SEGMENT_HUGE,
				  &b->segment);
	if (rc != 0) {
		b->segment = (struct praas_segment){ .id = id };
		for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++)
			if (c->big[i] == b)
				c->big[i] = NULL;
		free(b);
		return -ENOMEM;
	}
	c->big_bytes += bytes;
	c->port->big_bytes += bytes;
	praas_shm_segment_known(c->port, &b->segment, true);
	*ret_big = b;
	return 0;
}

int praas_shm_big_alloc(struct praas_shm_conn *c, uint64_t bytes,
			struct praas_shm_big **ret)
{
	struct praas_shm_big *b = find_free(c, bytes);
	struct praas_shm_msg msg = { .kind = PRAAS_SHM_WANT, .bytes = bytes };
	int rc;

	if (b) {
		b->state = PRAAS_SHM_BIG_HELD;
		*ret = b;
		return 0;
	}
	drop_free(c);
	if (c->server) {
		rc = create(c, bytes, &b);
		if (rc != 0)
			return rc == -ENOMEM ? -ENOBUFS : rc;
		b->state = PRAAS_SHM_BIG_HELD;
		*ret = b;
		return 0;
	}
	if (c->want_status != 0) { /* the answer to the last question, told once */
		rc = c->want_status;
		c->want_status = 0;
		return rc;
	}
	if (!c->want_pending && praas_shm_tell(c, &msg, NULL, 0) == 0)
		c->want_pending = true;
	return -ENOBUFS;
}

int praas_shm_big_announce(struct praas_shm_conn *c, struct praas_shm_big *b)
{
	struct praas_shm_msg msg = { .kind = PRAAS_SHM_SEGMENT,
				     .segment = b->segment.id,
				     .bytes = b->segment.bytes };
	int fd;
	int rc;

	if (b->announced)
		return 0;
	rc = praas_segment_read_only_fd(&b->segment, &fd);
	if (rc != 0)
		return -EAGAIN;
	rc = praas_shm_tell(c, &msg, &fd, 1);
	(void)close(fd);
	if (rc != 0)
		return rc;
	praas_segment_close_fd(&b->segment);
	b->announced = true;
	return 0;
}

void praas_shm_big_free(struct praas_shm_conn *c, struct praas_shm_big *b)
{
	struct praas_shm_big *other;

	if (b->kept) { /* its caller has it again */
		b->state = PRAAS_SHM_BIG_HELD;
		return;
	}
	b->state = PRAAS_SHM_BIG_LENT; /* not to be found below */
	other = find_free(c, 0);
	/* One is kept. When the peer cannot be told now, two are. */
	if (other && c->state == PRAAS_SHM_OPEN) {
		if (!other->announced || tell_drop(c, other->segment.id) == 0)
			discard(c, other);
	}
	b->state = PRAAS_SHM_BIG_FREE;
}

/* ---- the reader -------------------------------------------------------------------------- */

void praas_shm_big_unuse(struct praas_shm_conn *c, struct praas_shm_big *b)
{
	praas_check(b->users > 0);
	b->users--;
	if (b->users != 0)
		return;
	if (b->shared && c->state == PRAAS_SHM_OPEN) {
		if (tell_drop(c, b->segment.id) != 0) {
			b->drop_pending = true;
			return;
		}
		b->dropped = true;
	}
	if (b->dropped)
		discard(c, b);
}

void praas_shm_big_retry(struct praas_shm_conn *c)
{
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++) {
		struct praas_shm_big *b = c->big[i];

		/* A peer that names it again keeps it until that is released too. */
		if (b && b->drop_pending && b->users == 0 &&
		    tell_drop(c, b->segment.id) == 0)
			discard(c, b);
	}
}

int praas_shm_on_drop(struct praas_shm_conn *c, const struct praas_shm_msg *msg)
{
	struct praas_shm_big *b = praas_shm_big_find(c, msg->segment);

	if (!b || b->state != PRAAS_SHM_BIG_READ || b->dropped)
		return -EPROTO;
	b->dropped = true;
	if (b->users == 0)
		discard(c, b);
	return 0;
}

/* ---- between them ------------------------------------------------------------------------ */

/* Server: the client wants one to write to. */
int praas_shm_on_want(struct praas_shm_conn *c, const struct praas_shm_msg *msg)
{
	struct praas_shm_msg answer = { .kind = PRAAS_SHM_SEGMENT, .writable = 1 };
	struct praas_shm_big *b = NULL;
	int rc = -EMSGSIZE;

	if (msg->bytes <= c->base.bytes_max + PRAAS_SHM_HEADROOM)
		rc = create(c, msg->bytes, &b);
	if (rc != 0) {
		answer.status = rc;
		answer.bytes = msg->bytes;
		return praas_shm_tell(c, &answer, NULL, 0);
	}
	b->state = PRAAS_SHM_BIG_READ;
	b->announced = true;
	answer.segment = b->segment.id;
	answer.bytes = b->segment.bytes;
	rc = praas_shm_tell(c, &answer, &b->segment.fd, 1);
	if (rc != 0)
		return rc; /* it asks but does not read: the connection ends */
	praas_shm_segment_told(c->port, &b->segment, true);
	return 0;
}

/* Client: a segment to write to, to read from, or none. */
int praas_shm_on_segment(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
			 struct praas_shm_datagram *d)
{
	struct praas_shm_big *b;
	int rc;

	if (msg->writable)
		c->want_pending = false;
	if (msg->status != 0) {
		c->want_status = msg->status == -EMSGSIZE ? -EMSGSIZE : -ENOBUFS;
		return 0;
	}
	if (d->fds_count != 1 || msg->segment == 0 ||
	    msg->segment >= PRAAS_SHM_SEGMENTS || praas_shm_big_find(c, msg->segment))
		return -EPROTO;
	b = add(c);
	if (!b)
		return -EPROTO; /* the server knows the limit too */
	rc = praas_segment_attach(d->fds[0], msg->bytes, msg->segment,
				  msg->writable != 0, &b->segment);
	if (rc != 0) {
		b->segment = (struct praas_segment){ 0 };
		for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++)
			if (c->big[i] == b)
				c->big[i] = NULL;
		free(b);
		return rc;
	}
	d->fds[0] = -1;
	praas_segment_close_fd(&b->segment);
	b->announced = true;
	b->shared = msg->worker != 0;
	b->state = msg->writable ? PRAAS_SHM_BIG_FREE : PRAAS_SHM_BIG_READ;
	return 0;
}

int praas_shm_share(struct praas_conn *conn, const struct praas_segment *segment,
		    void (*released)(void *user, uint32_t segment), void *user)
{
	struct praas_shm_conn *c = praas_shm_conn_of(conn);
	struct praas_shm_msg msg = { .kind = PRAAS_SHM_SEGMENT,
				     .segment = segment->id,
				     .bytes = segment->bytes,
				     .worker = 1 };
	struct praas_shm_big *b;
	int fd;
	int rc;

	if (!c->server || c->state != PRAAS_SHM_OPEN || segment->id == 0 ||
	    segment->id >= PRAAS_SHM_SEGMENTS || praas_shm_big_find(c, segment->id))
		return -EINVAL;
	rc = praas_segment_read_only_fd(segment, &fd);
	if (rc != 0)
		return -EAGAIN;
	b = add(c);
	if (!b) {
		(void)close(fd);
		return -ENOBUFS;
	}
	rc = praas_shm_tell(c, &msg, &fd, 1);
	(void)close(fd);
	b->segment = (struct praas_segment){ .id = segment->id, .fd = -1 };
	b->state = PRAAS_SHM_BIG_READ;
	b->shared = true;
	if (rc != 0) {
		discard(c, b);
		return -EAGAIN;
	}
	b->released = released;
	b->user = user;
	return 0;
}

void praas_shm_big_release_all(struct praas_shm_conn *c)
{
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++)
		if (c->big[i])
			discard(c, c->big[i]);
}
