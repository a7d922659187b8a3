/* SPDX-License-Identifier: Apache-2.0
 *
 * A transport over another one that neither hides nor proves what it carries: "verbs+sealed" over
 * verbs, "ofi+sealed" over ofi. After the handshake everything goes in *records*, AES-256-GCM
 * by transport/seal.h, under keys that the ticket's session key and both nonces make, one for each
 * direction (docs/wire-format.md, "Sealed records"). A record is a frame of the transport below.
 * What cannot be opened ends the connection with -EBADMSG, and so does one that was left out,
 * repeated or moved: the number of a record is not sent, but counted. An end that was not said in a
 * record is -ECONNRESET, whatever the transport below says.
 *
 *   sealed.c         the table: open, connect, poll, free
 *   sealed_conn.c    a connection's life; the handshake looked on at, for the keys
 *   sealed_send.c    frames to records
 *   sealed_recv.c    records to frames
 */
#ifndef PRAAS_TRANSPORT_SEALED_H
#define PRAAS_TRANSPORT_SEALED_H

#include "transport/transport.h"

/* For PRAAS_SEALED_TRANSPORT(). As ops->open(), over inner. */
int praas_sealed_open(const struct praas_transport_ops *ops,
		      const struct praas_transport_ops *inner,
		      const struct praas_port_config *config,
		      struct praas_port **ret_port);
int praas_sealed_address(const struct praas_port *base, char ret_addr[PRAAS_ADDR_MAX]);
int praas_sealed_connect(struct praas_port *base, const char *addr,
			 const struct praas_conn_events *events, void *user,
			 struct praas_conn **ret_conn);
int praas_sealed_alloc(struct praas_conn *base, uint64_t bytes,
		       struct praas_buf **ret_buf);
int praas_sealed_send(struct praas_conn *base, struct praas_buf *buf);
unsigned praas_sealed_poll(struct praas_port *base, unsigned budget);
int praas_sealed_arm(struct praas_port *base, int *ret_fd);
void praas_sealed_close(struct praas_conn *base, bool after_flush);
void praas_sealed_free(struct praas_port *base);

/* What has been counted of a port. */
struct praas_sealed_stats {
	uint64_t records_in, records_out;
	uint64_t forged; /* that did not open */
};
void praas_sealed_port_stats(const struct praas_port *port,
			     struct praas_sealed_stats *ret_stats);

/* Defines the table `symbol`, declared before, of the scheme `name`: inner's with "+sealed" behind it. */
/* NOLINTBEGIN(bugprone-macro-parentheses): symbol is what is defined */
#define PRAAS_SEALED_TRANSPORT(symbol, name, inner)                                    \
	static int symbol##_open(const struct praas_port_config *config,               \
				 struct praas_port **ret_port)                         \
	{                                                                              \
		return praas_sealed_open(&(symbol), &(inner), config, ret_port);       \
	}                                                                              \
	static const char *symbol##_why(void)                                          \
	{                                                                              \
		return (inner).why ? (inner).why() : "";                               \
	}                                                                              \
	const struct praas_transport_ops symbol = {                                    \
		.scheme = name,                                                        \
		.sealed = true,                                                        \
		.open = symbol##_open,                                                 \
		.why = symbol##_why,                                                   \
		.address = praas_sealed_address,                                       \
		.connect = praas_sealed_connect,                                       \
		.alloc = praas_sealed_alloc,                                           \
		.send = praas_sealed_send,                                             \
		.poll = praas_sealed_poll,                                             \
		.arm = praas_sealed_arm,                                               \
		.close = praas_sealed_close,                                           \
		.free = praas_sealed_free,                                             \
	}
/* NOLINTEND(bugprone-macro-parentheses) */

extern const struct praas_transport_ops praas_sealed_verbs_transport_ops;
extern const struct praas_transport_ops praas_sealed_ofi_transport_ops;

#endif
