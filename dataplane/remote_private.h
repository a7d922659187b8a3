/* SPDX-License-Identifier: Apache-2.0
 *
 * What remote.c (calls and the processes that they go to) and remote_conn.c (connections) share.
 */
#ifndef PRAAS_DATAPLANE_REMOTE_PRIVATE_H
#define PRAAS_DATAPLANE_REMOTE_PRIVATE_H

#include "dataplane/remote.h"

enum praas_remote_state {
	PRAAS_REMOTE_FREE = 0,
	PRAAS_REMOTE_QUEUED,
	PRAAS_REMOTE_SENT
};

struct praas_remote_call {
	struct praas_buf out;    /* what a connection sends; its memory is input's */
	struct praas_buf *input; /* NULL: empty */
	struct praas_invocation_caller caller;
	struct praas_remote_call *next; /* of its link, in order */
	char function[PRAAS_NAME_MAX + 1];
	uint64_t wire_id, deadline_ns, begun_ns;
	uint64_t began_ns; /* the same by CLOCK_REALTIME */
	uint32_t generation;
	uint32_t epoch; /* of the other process, that it was sent to; 0: never */
	uint8_t state;
	bool lent; /* a transport has out */
	bool kept; /* a later epoch makes it again */
};

/* Another process. */
struct praas_remote_link {
	struct praas_remote *remote;
	uint64_t pid;
	struct praas_way *way; /* NULL: not known */
	struct praas_conn *conn;
	struct praas_remote_call *first, *last; /* that have not ended */
	char (*functions)[PRAAS_NAME_MAX + 1];  /* by number, as its WELCOME told */
	uint32_t functions_count;
	uint32_t attempt, endpoint;
	uint32_t hash_next;
	bool open, asking;
	bool probes;      /* its WELCOME said that it knows PROBE */
	uint64_t wait_ns; /* asking or connecting: since when; else not again before */
	uint64_t backoff_ns, used_ns;
};

struct praas_remote {
	struct praas_outbox_host host;
	struct praas_remote_call *calls;
	uint32_t calls_used, calls_count;
	struct praas_remote_link *links;
	uint32_t links_count;
	uint32_t *buckets;
	uint32_t epoch, turns;
	bool kicked, ended;
	bool hold, kept_sent; /* of those that are kept */
	uint64_t *wanted;     /* of who polls */
	uint64_t due_ns;
};

/* Look at all of them soon. */
static inline void praas_remote_kick(struct praas_remote *r)
{
	r->kicked = true;
	*r->wanted = 1;
}

/* ---- remote.c ---- */

/* It ends; result is given, NULL: none. */
void praas_remote_end(struct praas_remote_link *l, struct praas_remote_call *c,
		      int32_t status, struct praas_buf *result, uint64_t run_ns);
void praas_remote_fail(struct praas_remote_link *l, struct praas_remote_call *c,
		       int32_t status, const char *text);
void praas_remote_forget_way(struct praas_remote_link *l);
/* The way is asked for again, but not at once. */
void praas_remote_back_off(struct praas_remote_link *l);
/* The connection is of no use: what was sent on it waits for the next one. */
void praas_remote_lost(struct praas_remote_link *l);

/* ---- remote_conn.c ---- */

/* By the next endpoint of the way that works, from l->endpoint on; or praas_remote_lost(). */
void praas_remote_connect(struct praas_remote_link *l);
/* What is queued, as far as the connection takes it. */
void praas_remote_send_all(struct praas_remote_link *l);

#endif
