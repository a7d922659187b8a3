/* SPDX-License-Identifier: Apache-2.0
 *
 * Two devices (transport/netdev.h) in memory with a wire between them, and a transport "wire" over
 * them: the datagram transport without hardware, DPDK or privileges. A port that listens gets one
 * end, the next that only connects the other. Both may be polled by threads of their own.
 */
#ifndef PRAAS_TEST_WIRE_H
#define PRAAS_TEST_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/transport.h"

/* "wire://10.0.0.1:0" and "wire://[fd00::1]:0"; the other end is .2, ::2. */
extern const struct praas_transport_ops wire_transport_ops;

/* What happens to a frame on its way; may change it. Returns how often it arrives. */
typedef unsigned (*wire_tap)(void *user, bool to_server, uint8_t *data,
			     uint32_t *bytes);
/* Of all wires from now on; NULL: nothing. Not while ports are polled. */
void wire_set_tap(wire_tap tap, void *user);
/* Chance by a seed: frames of a hundred lost, doubled, changed. */
void wire_set_faults(unsigned lost, unsigned doubled, unsigned changed, uint64_t seed);
/* A frame from nowhere. */
void wire_inject(bool to_server, const uint8_t *data, uint32_t bytes);
/* Packets of the ports to come are authenticated only. */
void wire_set_clear(bool clear);
/* The largest IP packet of the ports to come; 0: 1500. */
void wire_set_mtu(uint32_t mtu);

#endif
