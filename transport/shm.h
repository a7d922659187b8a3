/* SPDX-License-Identifier: Apache-2.0
 *
 * The shm transport, for clients on the same host: what it offers beyond transport/transport.h.
 * Addresses are "shm:///path.sock". The handshake runs over a UNIX socket; sending WELCOME
 * switches the connection to rings and segments that the server made (docs/shm-layout.md,
 * section "Client"). After that the socket carries wakes, big segments, grants, and the end.
 *
 * A payload that came in an INVOKE lies in memory of the client's, who takes it back when the
 * RESULT is there: whoever handles the frame is done with it before it sends the RESULT.
 * Other payloads stay until their praas_buf is released.
 *
 * Thread: the port's. Calls without a note never block.
 */
#ifndef PRAAS_TRANSPORT_SHM_H
#define PRAAS_TRANSPORT_SHM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/segment.h"
#include "transport/shm_direct.h"
#include "transport/transport.h"

#define PRAAS_SHM_WORKERS_MAX 32u

extern const struct praas_transport_ops praas_shm_transport_ops;

struct praas_shm_config {
	uint32_t
		workers; /* blocks for the direct path in each client's segment, 0 … 32 */
	uint32_t ring_slots; /* of every ring; power of two, 4 … 65536; 0: 256 */
	uint64_t client_pool_bytes; /* buffer area of a client; 0: 4 MiB */
	uint64_t reply_pool_bytes;  /* of the controller, for one client; 0: 2 MiB */
	uint64_t direct_pool_bytes; /* of a worker, for one client; 0: 1 MiB */
	uint64_t
		big_bytes_max; /* big segments of one connection, both ways; 0: 3 × bytes_max */
	/* The same of all connections together, at least that of one; 0: 4 × that. Who holds some while
	 * others do gets at most half of what is left. */
	uint64_t big_total_max;
	uint32_t first_segment; /* ids are taken from here up to 0xffff; 0: 0x1000 */
	uid_t uid; /* also allowed to connect, beside our own and root; 0: nobody */
	/* A segment in which payloads of clients lie came or went: workers that shall see these
	 * payloads must map it. The descriptor is in segment->fd. May be NULL. */
	void (*segment)(void *user, const struct praas_segment *segment, bool added);
	void *user;
};

/* Before the first connection; config is copied. 0; -EINVAL. */
int praas_shm_configure(struct praas_port *port, const struct praas_shm_config *config);

/* The segments of one connection take milliseconds to make: those of the first one can be made
 * before there is a port. Any thread; config as it will be configured. 0; -ENOMEM; -EMFILE. */
struct praas_shm_spare;
int praas_shm_spare_new(const struct praas_shm_config *config,
			struct praas_shm_spare **ret_spare);
/* NULL is allowed. */
void praas_shm_spare_free(struct praas_shm_spare *spare);
/* The next client of a configured port gets it, if it fits. spare is given; NULL: what the port has
 * and nobody needed goes. */
void praas_shm_spare_give(struct praas_port *port, struct praas_shm_spare *spare);

/* ---- direct path, the controller's half ------------------------------------------------ */

/* What the worker gets: attach and fds go into PRAAS_WORKER_MSG_ATTACH; the caller closes
 * the fds when they are sent. */
struct praas_shm_grant {
	struct praas_direct_attach attach;
	int fds[PRAAS_DIRECT_FDS];
};

/**
 * Open the direct path between a client and a worker: makes the worker's reply segment, tells
 * the client. client is the number to use in attach. The client may call at once; what the worker
 * does not take in time comes through the controller. Creates a segment: about 1 ms.
 * Returns 0; -EINVAL no such block, or not a switched server connection; -EEXIST; -ENOMEM;
 * -EAGAIN not now: the client does not read its socket, or has not yet cleared what the last
 * worker of that number used.
 */
int praas_shm_grant(struct praas_conn *conn, uint32_t worker, uint32_t client,
		    struct praas_shm_grant *ret_grant);

/* First step of taking it back: the client sends no more and withdraws what is not taken.
 * Then tell the worker (DETACH) and wait for DETACHED. 0; -ENOENT. */
int praas_shm_revoke(struct praas_conn *conn, uint32_t worker);

/* Last step: the worker is detached, or dead. The client takes the answers that are there; what was
 * taken and has none ends with status (0: PRAAS_CRASHED). 0; -ENOENT. */
int praas_shm_gone(struct praas_conn *conn, uint32_t worker, int32_t status);

/* Plain copy of the worker's counters. 0; -ENOENT no such grant. */
struct praas_shm_direct_counts {
	uint64_t calls, failures, withdrawn, copies, bytes_in, bytes_out, run_ns;
};
int praas_shm_direct_counts(const struct praas_conn *conn, uint32_t worker,
			    struct praas_shm_direct_counts *ret_counts);

/**
 * Show a segment that a worker writes to a client, for a direct result larger than the reply
 * area. The client gives it back through the socket: released() is called, once (also when the
 * connection ends). segment is borrowed until then.
 * Returns 0; -EINVAL; -EAGAIN; -ENOBUFS too many.
 */
int praas_shm_share(struct praas_conn *conn, const struct praas_segment *segment,
		    void (*released)(void *user, uint32_t segment), void *user);

/* The segment with that id that a connection of the port uses. NULL: none. */
const struct praas_segment *praas_shm_segment(const struct praas_port *port,
					      uint32_t id);

#endif
