/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the datagram transport share:
 *
 *   dgram.c        the port: open, poll, arm, free, addresses
 *   dgram_conn.c   a connection's life
 *   dgram_io.c     packets in and out
 *   dgram_open.c   the packets that open a connection, its keys
 *
 *   client: OPENING ──accepted──▶ OPEN ──close(after_flush)──▶ FLUSHING ──peer has all──▶ FREE
 *   server: HALF ──first packet──▶ │                                │
 *        (else it is forgotten)    └── end, error, reset, close ──▶ ENDING ──told, a second──▶ FREE
 */
#ifndef PRAAS_TRANSPORT_DGRAM_PORT_H
#define PRAAS_TRANSPORT_DGRAM_PORT_H

#include "internal/base.h"
#include "transport/dgram.h"
#include "transport/dgram_open.h"
#include "transport/port.h"

enum praas_dgram_state {
	PRAAS_DGRAM_FREE = 0,
	PRAAS_DGRAM_OPENING, /* a client; no answer yet */
	PRAAS_DGRAM_HALF, /* of a server; answered, nothing sealed has come; no upcalls */
	PRAAS_DGRAM_OPENED,
	PRAAS_DGRAM_FLUSHING, /* closed by us; what is queued is still sent */
	PRAAS_DGRAM_ENDING /* over; the peer is told, or its last questions answered */
};

#define PRAAS_DGRAM_GOING 1 /* end_rc of a connection that is not to be ended */

struct praas_dgram_conn {
	struct praas_conn base;
	uint32_t index;
	uint8_t state;      /* enum praas_dgram_state */
	bool accepted;      /* not connected */
	bool authenticated; /* WELCOME was sent */
	bool opened_due;    /* opened() has not been told yet */
	bool begun;         /* OPEN is made */
	bool mac_known;
	int end_rc;
	unsigned tries;       /* of OPEN; then the time-outs last seen */
	uint64_t retry_ns;    /* the next */
	uint64_t deadline_ns; /* of OPENING, HALF and ENDING */
	uint64_t due_ns;      /* it must be run */
	struct praas_dgram_open open;
	struct praas_inet_to to;
	struct praas_inet_ip hop; /* whose link address it is */
	struct praas_arq *arq;
	struct praas_seal *seal_out, *seal_in;
	struct praas_dgram_conn *free_next;
};

struct praas_dgram_port {
	struct praas_port base;
	struct praas_port_config config;
	struct praas_netdev *dev;
	struct praas_dgram_stats stats;
	bool listens, clear, armed;
	uint16_t number;        /* UDP port */
	uint32_t segment_bytes; /* that the device carries */
	int wait_fd, timer_fd;
	uint64_t now_ns, due_ns; /* when last looked at; the first of all connections */
	uint32_t idle_turns;
	struct praas_dgram_conn *conn;
	uint32_t slots, used, unauthenticated;
	struct praas_dgram_conn *free_slots;
};

static inline struct praas_dgram_port *praas_dgram_port_of(
	const struct praas_dgram_conn *conn)
{
	return (struct praas_dgram_port *)(void *)conn->base.port;
}

static inline struct praas_dgram_conn *praas_dgram_conn_of(struct praas_conn *conn)
{
	return (struct praas_dgram_conn *)(void *)conn;
}

/* ---- dgram_conn.c ---- */
/* A slot, numbered; NULL: there is none. */
struct praas_dgram_conn *praas_dgram_slot_take(struct praas_dgram_port *port);
/* Keys and the reliable protocol, when both sides' part of `open` is known. 0; errno. */
int praas_dgram_begin(struct praas_dgram_conn *conn);
/* The layer above is told; then the peer. */
void praas_dgram_end(struct praas_dgram_conn *conn, int rc);
void praas_dgram_destroy(struct praas_dgram_conn *conn);
/* One connection of the active list; units of work done. */
unsigned praas_dgram_run(struct praas_dgram_conn *conn, unsigned budget);

/* ---- dgram_io.c ---- */
/* What the device has; frames taken in. */
unsigned praas_dgram_receive(struct praas_dgram_port *port);
/* Whatever the connection has to send. */
void praas_dgram_emit(struct praas_dgram_conn *conn);
/* A packet of `bytes` without a seal. False: the device has no room. */
bool praas_dgram_say(struct praas_dgram_port *port, const struct praas_inet_to *to,
		     const uint8_t *data, uint32_t bytes);
/* Asks the link for the next hop of conn. */
void praas_dgram_ask(struct praas_dgram_conn *conn);

#endif
