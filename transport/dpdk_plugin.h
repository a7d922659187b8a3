/* SPDX-License-Identifier: Apache-2.0
 *
 * What libpraas_dpdk.so exports: one object, checked before anything of it is used.
 */
#ifndef PRAAS_TRANSPORT_DPDK_PLUGIN_H
#define PRAAS_TRANSPORT_DPDK_PLUGIN_H

#include "transport/transport.h"

#define PRAAS_DPDK_PLUGIN_SYMBOL "praas_dpdk_plugin"
#define PRAAS_DPDK_ERROR_BYTES 256u

/* Both sides are of one build; these tell when they are not. */
#define PRAAS_DPDK_PLUGIN_VERSION                                                      \
	((uint64_t)1 << 48 | (uint64_t)sizeof(struct praas_transport_ops) << 32 |      \
	 (uint64_t)sizeof(struct praas_buf) << 16 |                                    \
	 (sizeof(struct praas_conn) + sizeof(struct praas_port_config)))

struct praas_dpdk_plugin {
	uint64_t version;
	/* As open() of a transport; error: room for PRAAS_DPDK_ERROR_BYTES. */
	int (*open)(const struct praas_port_config *config,
		    struct praas_port **ret_port, char *error);
};

#endif
