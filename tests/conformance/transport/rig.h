/* SPDX-License-Identifier: Apache-2.0
 *
 * Two ports of one transport in one thread, a process that is served, and clients that connect
 * to it with tickets. What happens is counted; tests look at the counts.
 */
#ifndef PRAAS_TEST_TRANSPORT_RIG_H
#define PRAAS_TEST_TRANSPORT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "transport/memory.h"
#include "transport/session.h"
#include "transport/ticket.h"
#include "transport/transport.h"

#define RIG_BYTES_MAX (UINT64_C(1) << 33)
#define RIG_HELD_MAX 32u
#define RIG_SOURCE (PRAAS_CLIENT | 77)

/* One more transport is one more line in schemes[] (schemes.c). %: a folder of the test's own
 * (ofi: its name alone). */
struct scheme {
	const char *name;
	const char *listen;  /* address, with one % or none */
	const char *nowhere; /* an address at which nobody listens, the same */
	bool multishot;      /* tcp: receive through io_uring's provided buffers */
	int nobody;          /* what is told there; 0: -ECONNREFUSED or -ENOENT */
	bool packets_only;   /* ofi: no remote reads */
	bool registers;      /* ofi: local memory is registered */
	/* A transport of the tests' own; NULL: found by the address. */
	const struct praas_transport_ops *ops;
	void (*prepare)(void); /* before the ports are opened; may be NULL */
	bool paced; /* ofi, dpdk: nothing to wait for, so an armed port wakes now and then */
};

/* One end of a connection, or all of them at the server. */
struct side {
	struct rig *rig;
	struct praas_conn *conn; /* the last that opened */
	unsigned opened, closed;
	int closed_rc;   /* of the last */
	unsigned frames; /* received */
	uint64_t bytes;
	unsigned sent, sent_bad; /* sent(0), sent(other) */
	uint64_t order_errors;   /* ids that did not come in order */
	uint64_t next_id;
	unsigned events, closes; /* EVENT and CLOSE frames */
	uint64_t last_aux;
	bool echo;           /* send every INVOKE back as a RESULT */
	bool keep;           /* keep the last frame for the test */
	bool close_at_frame; /* close in the upcall */
	unsigned
		flush_at_frame; /* close in order in the upcall of that one; 0: never */
	struct praas_buf *kept;
	struct praas_buf
		*held[RIG_HELD_MAX]; /* the first of those that came, not released */
	unsigned hold, holds;        /* so many are to be held; are */
	unsigned refused_echoes;     /* that the queue had no room for */
	struct praas_welcome welcome;
	char function[PRAAS_NAME_MAX + 1];
};

struct rig {
	const struct scheme *scheme;
	uint64_t patience_ns; /* of rig_until(); 0: the usual */
	const struct praas_transport_ops *ops;
	struct praas_heap *server_heap, *client_heap;
	struct praas_port *server_port, *client_port;
	struct praas_session_server *session;
	char folder[64], addr[PRAAS_ADDR_MAX];
	uint8_t controller_key[PRAAS_KEY_BYTES];
	struct side server, client;
	bool server_paused;     /* its port is not polled */
	bool members;           /* clients that connect want to hear of them */
	unsigned members_asked; /* by the session server */
	unsigned server_budget; /* 0: 64 */
};

/* Before rig_start: what shall differ from the ordinary. */
struct rig_config {
	uint64_t stall_timeout_ns, send_queue_max, server_memory;
	uint32_t conns_max, unauthenticated_max;
	uint64_t handshake_timeout_ns, bytes_max;
};

const struct scheme *scheme_find(const char *name);
/* NULL, or why it cannot be tried here. */
const char *scheme_missing(const struct scheme *scheme);

void rig_start(struct rig *rig, const struct scheme *scheme,
	       const struct rig_config *config);
void rig_stop(struct rig *rig);

/* text with % replaced by folder. */
void rig_address(const char *text, const char *folder, char ret_addr[PRAAS_ADDR_MAX]);
struct praas_ticket rig_ticket(void);
/* What the holder of a ticket (NULL: the ordinary one) has, for bare connects. */
void rig_secret(const struct rig *rig, const struct praas_ticket *ticket,
		struct praas_ticket_secret *ret_secret);
/* Connects without a session; *ret_secret is to stay until it is open. */
void rig_connect_bare(struct rig *rig, struct side *side,
		      struct praas_ticket_secret *ret_secret);
/* Begins a connection whose events go to side. */
void rig_connect_begin(struct rig *rig, struct side *side,
		       const struct praas_ticket *ticket);
/* … and waits until it is open on both sides. */
void rig_connect(struct rig *rig, struct side *side);

/* One poll of each port. */
void rig_turn(struct rig *rig);
/* Turns until the counter is at least (or is) value; fails the test after ten seconds. */
void rig_until(struct rig *rig, const unsigned *counter, unsigned value);
/* Polls a port a few times, then sleeps until there is work, or a little while. */
void rig_poll_or_sleep(struct rig *rig, struct praas_port *port);
/* Turns for so long. */
void rig_run_ms(struct rig *rig, unsigned ms);

/* By a client: an INVOKE when the server echoes, else a SEND, with bytes of a pattern that id
 * decides. 0, or what alloc() or send() said. */
int rig_invoke(struct praas_conn *conn, uint64_t id, uint64_t bytes);
/* The same, patiently: turns until there is room. */
void rig_invoke_wait(struct rig *rig, struct praas_conn *conn, uint64_t id,
		     uint64_t bytes);
bool rig_pattern_is(const struct praas_buf *buf);
void side_drop_kept(struct side *side);
/* Releases what was held; holds no more. */
void side_drop_held(struct side *side);

extern const struct praas_conn_events rig_side_events;

#endif
