/* SPDX-License-Identifier: Apache-2.0
 *
 * DPDK's devices as transport/netdev.h has them. In the plug-in alone.
 */
#ifndef PRAAS_TRANSPORT_DPDK_EAL_H
#define PRAAS_TRANSPORT_DPDK_EAL_H

#include <stdbool.h>
#include <stddef.h>

#include "transport/dpdk_config.h"
#include "transport/netdev.h"

/* A device, started, whose frames go to the caller: the one with ip, or NULL: one that is free. The
 * first call starts DPDK in this process. 0; -ENODEV no such device; -EBUSY it is in use; or what DPDK
 * says; ret_error then says it in words. */
int praas_dpdk_netdev_open(const struct praas_inet_ip *ip,
			   struct praas_netdev **ret_dev, bool *ret_clear,
			   char *ret_error, size_t error_bytes);

#endif
