/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP over io_uring. Addresses are numeric: "tcp://127.0.0.1:7000", "tcp://[::1]:0"; names are
 * resolved by whoever has them. Needs io_uring (Linux 5.11); multishot receive into provided
 * buffers is used where the kernel has it (6.0), polling for readiness otherwise.
 *
 * How it receives. An idle connection has a multishot receive armed and costs nothing per poll; what
 * comes lands in 64 KiB chunks of the port's memory and frames are handed up where they lie. A
 * connection with traffic becomes *hot*: its multishot receive is cancelled and it is read by plain
 * non-blocking recv, once per poll, straight into an aligned chunk, or, for a large payload, into
 * the buffer that is handed up. It cools down after some thousand empty polls.
 *
 * How it sends. The first frame between two polls goes out at once; what follows before the next
 * poll, and all answers to frames that came together, leave in one sendmsg.
 */
#ifndef PRAAS_TRANSPORT_TCP_H
#define PRAAS_TRANSPORT_TCP_H

#include <stdbool.h>

#include "transport/transport.h"

extern const struct praas_transport_ops praas_tcp_transport_ops;
/* The same, "tls://…": everything in TLS 1.3 (transport/tls.h). Its connections are read by plain
 * recv or polled, never by multishot receive. */
extern const struct praas_transport_ops praas_tls_transport_ops;

/* Before the first poll: false makes the port do without multishot receive, as on an old kernel. */
void praas_tcp_port_set_multishot(struct praas_port *port, bool on);

#endif
