/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <stdlib.h>

#include "internal/base.h"

/* Shared memory of places where the process was: it stays mapped while the caller has a result or a registered buffer
 * in it. */

struct praas_left {
	struct praas_shm_conn *shm;
	struct praas_port *port;
	uint32_t refs, buffers; /* as of struct praas_connection */
	struct praas_left *next;
};

static bool holds(const struct praas_segment *s, const void *data)
{
	const uint8_t *at = data;

	return s->base && at >= s->base && at < s->base + s->bytes;
}

/* The route whose results lie there; NULL: none. */
static struct praas_shm_route *route_of(const struct praas_shm_conn *shm,
					const void *data)
{
	for (uint32_t w = 0; w < shm->routes; w++)
		if (shm->route[w] && holds(&shm->route[w]->reply, data))
			return shm->route[w];
	return NULL;
}

static struct praas_shm_big *big_of(const struct praas_shm_conn *shm, const void *data)
{
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++)
		if (shm->big[i] && holds(&shm->big[i]->segment, data))
			return shm->big[i];
	return NULL;
}

static bool is_idle(const struct praas_left *l)
{
	const struct praas_shm_conn *shm = l->shm;

	if (shm->bufs_out != 1 || l->refs != 0 || l->buffers != 0)
		return false; /* one is the library's own */
	for (uint32_t w = 0; w < shm->routes; w++)
		if (shm->route[w] && shm->route[w]->views != 0)
			return false;
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++)
		if (shm->big[i] && shm->big[i]->users != 0)
			return false;
	return true;
}

static void left_free(struct praas_left *l)
{
	const struct praas_transport_ops *ops = l->port->ops;

	l->shm->bufs_out--;
	praas_shm_conn_unref(l->shm);
	ops->free(l->port);
	free(l);
}

int praas_left_prepare(struct praas_left **ret_left)
{
	*ret_left = calloc(1, sizeof(**ret_left));
	return *ret_left ? 0 : -ENOMEM;
}

void praas_left_add(struct praas_connection *conn, struct praas_left *l)
{
	l->shm = conn->shm;
	l->port = conn->port;
	l->refs = conn->refs;
	l->buffers = conn->buffers;
	l->next = conn->left;
	conn->left = l;
	conn->shm = NULL;
	conn->port = NULL;
	conn->refs = conn->buffers = 0;
	praas_left_tend(conn);
}

void praas_left_tend(struct praas_connection *conn)
{
	struct praas_left **at = &conn->left;

	while (*at) {
		struct praas_left *l = *at;

		if (!is_idle(l)) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		left_free(l);
	}
}

bool praas_left_release(struct praas_connection *conn, const void *data, uint64_t token)
{
	struct praas_shm_route *r;
	struct praas_shm_big *big;

	for (struct praas_left *l = conn->left; l; l = l->next) {
		switch (token & PRAAS_TOKEN_MASK) {
		case PRAAS_TOKEN_DIRECT:
			r = route_of(l->shm, data);
			if (!r)
				continue;
			r->views--;
			break;
		case PRAAS_TOKEN_REF:
			if (!holds(&l->shm->peer, data))
				continue;
			l->refs--;
			break;
		default:
			big = big_of(l->shm, data);
			if (!big)
				continue;
			big->users--;
			break;
		}
		praas_left_tend(conn);
		return true;
	}
	return false;
}

bool praas_left_buffer_free(struct praas_connection *conn, const void *data)
{
	for (struct praas_left *l = conn->left; l; l = l->next) {
		if (!holds(&l->shm->mine, data) && !big_of(l->shm, data))
			continue;
		l->buffers--; /* all of it goes at once */
		praas_left_tend(conn);
		return true;
	}
	return false;
}

void praas_left_free_all(struct praas_connection *conn)
{
	while (conn->left) {
		struct praas_left *l = conn->left;

		conn->left = l->next;
		left_free(l);
	}
}
