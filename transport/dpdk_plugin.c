/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dpdk_plugin.h"

#include <errno.h>

#include "internal/base.h"
#include "transport/dgram.h"
#include "transport/dpdk_eal.h"

/*
 * The plug-in: the datagram transport on a device of DPDK. It brings its own copy of that code, which
 * has no state beside the port's.
 */

static int no_open(const struct praas_port_config *config, struct praas_port **ret_port)
{
	(void)config;
	(void)ret_port;
	return -EOPNOTSUPP; /* a port is opened by plugin_open() */
}

static const struct praas_transport_ops ops = {
	.scheme = "dpdk",
	.sealed = true,
	.open = no_open,
	.address = praas_dgram_address,
	.connect = praas_dgram_connect,
	.alloc = praas_dgram_alloc,
	.send = praas_dgram_send,
	.poll = praas_dgram_poll,
	.arm = praas_dgram_arm,
	.close = praas_dgram_close,
	.free = praas_dgram_free,
};

static int plugin_open(const struct praas_port_config *config,
		       struct praas_port **ret_port, char *error)
{
	struct praas_dgram_config c = { .port = *config, .ops = &ops };
	struct praas_inet_ip ip;
	uint16_t number;
	int rc;

	error[0] = '\0';
	if (config->listen) {
		rc = praas_dgram_addr_parse(ops.scheme, config->listen, &ip, &number);
		if (rc != 0)
			return rc;
	}
	rc = praas_dpdk_netdev_open(config->listen ? &ip : NULL, &c.dev, &c.clear,
				    error, PRAAS_DPDK_ERROR_BYTES);
	return rc != 0 ? rc : praas_dgram_open(&c, ret_port);
}

PRAAS_PUBLIC extern const struct praas_dpdk_plugin praas_dpdk_plugin;
const struct praas_dpdk_plugin praas_dpdk_plugin = { PRAAS_DPDK_PLUGIN_VERSION,
						     plugin_open };
