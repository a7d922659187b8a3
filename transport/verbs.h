/* SPDX-License-Identifier: Apache-2.0
 *
 * RDMA verbs: reliable connections of InfiniBand, RoCE and iWARP devices, set up by librdmacm.
 * Addresses are those of IP interfaces that an RDMA device serves: "verbs://10.0.0.1:7000". Needs
 * neither immediate data, atomics, memory windows nor remote keys, so all such devices will do.
 *
 * How it carries frames. Each side keeps a fixed number of receive slots posted; a frame that fits a
 * slot is one SEND, and is handed up where it landed. The other side knows how many slots are free
 * (credits), so no message ever comes without a place. A larger payload is offered first; the
 * receiver posts the buffer that the function will see on a second queue pair and says so, and the
 * sender SENDs it there from where it lies. Nobody can read or write memory of the other side: no
 * key is ever given out (docs/transports.md says what that buys).
 *
 * What goes over the wire is not encrypted: for a network of one's own.
 */
#ifndef PRAAS_TRANSPORT_VERBS_H
#define PRAAS_TRANSPORT_VERBS_H

#include <stdint.h>

#include "transport/transport.h"

extern const struct praas_transport_ops praas_verbs_transport_ops;

/* Counted by a port since it was opened. */
struct praas_verbs_stats {
	uint64_t sends;         /* work requests posted to send */
	uint64_t receives;      /* … to receive */
	uint64_t posts;         /* lists of them given to the device: doorbells … */
	uint64_t receive_posts; /* … to receive */
	uint64_t completions;   /* taken */
	uint64_t tells;         /* messages that carry nothing but credits; questions */
	uint64_t bulk;          /* payloads that were offered and sent by themselves */
	uint64_t registrations; /* of regions, ever */
	uint64_t sleeps;        /* armed and waited for events */
};

void praas_verbs_port_stats(const struct praas_port *port,
			    struct praas_verbs_stats *ret_stats);

#endif
