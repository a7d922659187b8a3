/* SPDX-License-Identifier: Apache-2.0
 *
 * A transport over UDP datagrams on a bare device (transport/netdev.h): reliable by transport/arq.h,
 * private and authentic by transport/seal.h, opened by a ticket (transport/dgram_open.h); its own
 * Ethernet, ARP, neighbour discovery and IP (transport/inet.h). One port has one device, one address
 * and one UDP port number; a port that does not listen takes a number by chance.
 *
 * What the wire says is believed only when it is sealed, but for the answers to an unopened
 * connection, which must repeat its secret number. See docs/arq.md.
 */
#ifndef PRAAS_TRANSPORT_DGRAM_H
#define PRAAS_TRANSPORT_DGRAM_H

#include "transport/arq.h"
#include "transport/netdev.h"
#include "transport/transport.h"

/* Counters of a port beside those of struct praas_port. */
struct praas_dgram_stats {
	uint64_t unknown;  /* packets of no connection of ours, or from elsewhere */
	uint64_t forged;   /* that were not what was sealed, or not proved */
	uint64_t replayed; /* whose number has been seen */
	uint64_t refused;  /* connections that we did not take */
	struct praas_arq_stats arq; /* of connections that have ended */
};

struct praas_dgram_config {
	struct praas_port_config port;
	const struct praas_transport_ops *ops; /* with the functions below */
	struct praas_netdev *dev; /* given: closed by free(), also when open() fails */
	bool clear;               /* authenticate only */
};

/* As open() of a transport. */
int praas_dgram_open(const struct praas_dgram_config *config,
		     struct praas_port **ret_port);
void praas_dgram_port_stats(const struct praas_port *base,
			    struct praas_dgram_stats *ret_stats);
/* Of one connection; NULL: it is not open. */
const struct praas_arq_stats *praas_dgram_conn_stats(const struct praas_conn *base);

/* The members of a table of operations; open() apart. */
int praas_dgram_address(const struct praas_port *base, char ret_addr[PRAAS_ADDR_MAX]);
int praas_dgram_connect(struct praas_port *base, const char *addr,
			const struct praas_conn_events *events, void *user,
			struct praas_conn **ret_conn);
int praas_dgram_alloc(struct praas_conn *conn, uint64_t bytes,
		      struct praas_buf **ret_buf);
int praas_dgram_send(struct praas_conn *base, struct praas_buf *buf);
unsigned praas_dgram_poll(struct praas_port *base, unsigned budget);
int praas_dgram_arm(struct praas_port *base, int *ret_fd);
void praas_dgram_close(struct praas_conn *base, bool after_flush);
void praas_dgram_free(struct praas_port *base);

/* "scheme://1.2.3.4:5", "scheme://[fd00::1]:5". 0; -EINVAL. */
int praas_dgram_addr_parse(const char *scheme, const char *text,
			   struct praas_inet_ip *ret_ip, uint16_t *ret_port);

#endif
