/* SPDX-License-Identifier: Apache-2.0
 *
 * What other processes send to this one, by either path: as MAIL on a connection, or out of the backup
 * queue. Each message counts once and in its sender's order, whichever path it takes
 * (dataplane/dedup.h, docs/protocols.md). Data thread.
 */
#ifndef PRAAS_DATAPLANE_INBOX_H
#define PRAAS_DATAPLANE_INBOX_H

#include <stdint.h>

#include "dataplane/dedup.h"
#include "dataplane/process.h"

#define PRAAS_INBOX_SOURCES_MAX 16384u /* senders that are remembered */

struct praas_inbox {
	struct praas_dedup dedup;
	uint64_t cut; /* position of the backup queue: all up to it is applied */
	uint64_t accepted, seen, refused;
};

/* A message of the backup queue; all of it is borrowed. */
struct praas_queued {
	uint64_t position;
	uint64_t source;
	struct praas_seq seq;
	const char *key;
	const uint8_t *data;
	const uint8_t *trace; /* a block as in frames; NULL: none */
	uint64_t bytes;
	uint8_t key_bytes;
};

/* 0; -ENOMEM. */
int praas_inbox_init(struct praas_inbox *in);
void praas_inbox_release(struct praas_inbox *in);

/* A MAIL frame; buf is given. */
void praas_inbox_frame(struct praas_process *p, struct praas_conn *conn,
		       struct praas_buf *buf);

/**
 * Messages of the backup queue, in order, from the one after the cut on. They were acknowledged as
 * durable: what cannot be taken now must be offered again. *ret_position: all up to it is applied.
 * 0; -ENOBUFS, -ENOSPC the mailbox is full; -EINVAL they do not follow the cut.
 */
int praas_process_queue_apply(struct praas_process *p,
			      const struct praas_queued *messages, uint32_t count,
			      uint64_t *ret_position);
/* The cut. */
uint64_t praas_process_queue_cut(const struct praas_process *p);

#endif
