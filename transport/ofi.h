/* SPDX-License-Identifier: Apache-2.0
 *
 * Any fabric that libfabric has a provider for: "ofi://PROVIDER@HOST:PORT", for example
 * "ofi://net@127.0.0.1:7000", "ofi://tcp+ofi_rxm@[::1]:0" (a plus for libfabric's semicolon),
 * "ofi://shm@NAME" where a provider's addresses are names, "ofi://efa@0x…" where they are bytes
 * ("ofi://efa@0" to listen at one that the provider chooses).
 * Without "PROVIDER@" the first that fits, of those that FI_PROVIDER allows. A port's address()
 * always names the provider, since both ends must use the same.
 *
 * libfabric is loaded when the first such port is used, so it costs nobody else anything; where
 * it is not installed, that is when -EPROTONOSUPPORT is told.
 *
 * One reliable-datagram endpoint per port, connections made of packets on it (docs/wire-format.md);
 * a payload that is too large for some packets is read by the receiver straight out of the sender's
 * memory into the buffer that is handed up. Progress is made by poll() alone.
 */
#ifndef PRAAS_TRANSPORT_OFI_H
#define PRAAS_TRANSPORT_OFI_H

#include <stdbool.h>

#include "transport/transport.h"

extern const struct praas_transport_ops praas_ofi_transport_ops;

/* Before the first connection: large payloads travel in packets, as with a provider that has no
 * remote memory access. */
void praas_ofi_port_set_packets_only(struct praas_port *port);
/* Likewise: memory is registered for our own use, as with a provider that asks for it (FI_MR_LOCAL). */
void praas_ofi_port_set_registers(struct praas_port *port);
/* How often memory of payloads has been registered for that. */
uint64_t praas_ofi_port_registrations(const struct praas_port *port);

#endif
