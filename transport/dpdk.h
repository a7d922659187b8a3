/* SPDX-License-Identifier: Apache-2.0
 *
 * DPDK: the datagram transport (transport/dgram.h) on devices that user space drives. "dpdk://10.0.0.1:7000".
 * DPDK's libraries and their hundred drivers are loaded with the first port, by a plug-in
 * (libpraas_dpdk.so), so that a program without such a port pays nothing for them.
 *
 * What devices there are, and whose address each has, says the environment (docs/transports.md):
 *   PRAAS_DPDK="dev=net_af_packet0,iface=eth1 ip=10.0.0.1/24; …; eal=--in-memory -m 256"
 * A port that listens gets the device with its address, one that only connects the first that no
 * port of this process has.
 */
#ifndef PRAAS_TRANSPORT_DPDK_H
#define PRAAS_TRANSPORT_DPDK_H

#include "transport/transport.h"

extern const struct praas_transport_ops praas_dpdk_transport_ops;

#endif
