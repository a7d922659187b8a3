/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of DPDK devices, from text. Pure.
 */
#ifndef PRAAS_TRANSPORT_DPDK_CONFIG_H
#define PRAAS_TRANSPORT_DPDK_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/inet.h"

#define PRAAS_DPDK_DEVICES_MAX 8u
#define PRAAS_DPDK_PORTS_MAX 16u /* that share a device */
#define PRAAS_DPDK_ARGS_MAX 32u
#define PRAAS_DPDK_TEXT_MAX 1024u

struct praas_dpdk_device {
	const char *dev; /* a PCI address, or the name and arguments of a virtual one */
	struct praas_inet_ip ip, gateway;
	uint8_t prefix;
	uint32_t mtu;   /* 0: the device's */
	uint32_t ports; /* that may use it at the same time, each with a number */
	bool clear;     /* packets are authenticated, not hidden */
};

struct praas_dpdk_config {
	struct praas_dpdk_device device[PRAAS_DPDK_DEVICES_MAX];
	unsigned devices;
	const char *arg[PRAAS_DPDK_ARGS_MAX]; /* for EAL, beside ours */
	unsigned args;
	char text[PRAAS_DPDK_TEXT_MAX]; /* what the strings above are parts of */
};

/* "dev=… ip=10.0.0.1/24 [gateway=…] [mtu=…] [ports=…] [secure=off]; …; [eal=… …]". 0; -EINVAL, and *ret_what is the
 * word that is not understood; -EMSGSIZE; -E2BIG too many devices or arguments. */
int praas_dpdk_config_parse(const char *text, struct praas_dpdk_config *ret_config,
			    const char **ret_what);

#endif
