/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dpdk_device.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "internal/base.h"

/*
 * A device is probed when a port wants it. It has as many queues each way as ports may use it, or as it can have.
 *
 * The drivers AF_PACKET and AF_XDP have no interrupts, but a socket for each queue, which is readable while a
 * frame lies in its ring: they are found among the descriptors that the driver opened.
 */

#define QUEUE 512u
#define POOL (4u * QUEUE)
#define POOL_XDP 8192u /* AF_XDP keeps 2048 for each ring, whatever it is told */
#define POOL_CACHE 64u
#define ROOM_JUMBO 16384u
#define LINK_MS                                                                        \
	500u /* a link may need so long to come up; it is not waited for longer */
#define DESCRIPTORS_MAX 1024u
#define SPREAD (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP)

void praas_dpdk_say(char *error, size_t bytes, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	/* It was begun in the line above. */
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	(void)vsnprintf(error, bytes, format, args); /* cut if long */
	va_end(args);
}

/* Packet sockets, in the order of their numbers: marked in `before`, or, with a port, those that are not marked. */
static void find_sockets(bool before[DESCRIPTORS_MAX], struct praas_dpdk_port *port)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");

	while (dir && (entry = readdir(dir)) != NULL) {
		long fd = strtol(entry->d_name, NULL, 10); /* ".": 0 */
		int domain = 0;
		socklen_t bytes = sizeof(domain);

		if (fd <= 0 || fd >= (long)DESCRIPTORS_MAX ||
		    getsockopt((int)fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) != 0 ||
		    (domain != AF_PACKET && domain != AF_XDP))
			continue;
		if (port == NULL)
			before[fd] = true;
		else if (!before[fd] && port->fds < PRAAS_DPDK_PORTS_MAX)
			port->fd[port->fds++] = (int)fd;
	}
	if (dir)
		(void)closedir(dir); /* was read */
	/* One queue: the last is its own. */
	if (port && !port->shared && port->fds > 1) {
		port->fd[0] = port->fd[port->fds - 1];
		port->fds = 1;
	}
}

/* The device's memory; as large as its packets. */
static int make_pool(struct praas_dpdk_port *port, uint32_t mtu)
{
	uint16_t room = mtu > RTE_ETHER_MTU ? ROOM_JUMBO + RTE_PKTMBUF_HEADROOM
					    : RTE_MBUF_DEFAULT_BUF_SIZE;
	bool xdp = strncmp(port->config->dev, "net_af_xdp", 10) == 0;
	char name[RTE_MEMPOOL_NAMESIZE];

	(void)snprintf(name, sizeof(name), "praas-%u", (unsigned)port->id);
	port->pool =
		rte_pktmbuf_pool_create(name, (xdp ? POOL_XDP : POOL) * port->lanes,
					POOL_CACHE, 0, room, SOCKET_ID_ANY);
	return port->pool ? 0 : -rte_errno;
}

/* As many queues as lanes, if it has them; what comes is spread over them. */
static int configure(struct praas_dpdk_port *port)
{
	struct rte_eth_conf conf = { 0 };
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(port->id, &info);

	if (rc != 0)
		return rc;
	/* It spreads over all that it has, asked or not. */
	if (strcmp(info.driver_name, "net_af_packet") == 0 &&
	    info.max_rx_queues > port->lanes)
		return -E2BIG;
	port->queues = (uint16_t)praas_min_u64(
		port->lanes, praas_min_u64(info.max_rx_queues, info.max_tx_queues));
	if (port->queues > 1) {
		conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & SPREAD;
		if (conf.rx_adv_conf.rss_conf.rss_hf != 0)
			conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	}
	port->sums = port->config->ip.v6 &&
		     (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0;
	if (port->sums)
		conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	return rte_eth_dev_configure(port->id, port->queues, port->queues, &conf);
}

static int set_up_queues(struct praas_dpdk_port *port)
{
	uint16_t in = QUEUE, out = QUEUE;
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &in, &out);

	for (uint16_t i = 0; i < port->queues && rc == 0; i++) {
		rc = rte_eth_rx_queue_setup(port->id, i, in, (unsigned)SOCKET_ID_ANY,
					    NULL, port->pool);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(port->id, i, out,
						    (unsigned)SOCKET_ID_ANY, NULL);
	}
	return rc;
}

static int set_mtu(const struct praas_dpdk_port *port, uint16_t *ret_mtu)
{
	uint32_t mtu = port->config->mtu;
	int rc = 0;

	if (mtu != 0) {
		rc = rte_eth_dev_set_mtu(port->id, (uint16_t)mtu);
		rc = rc == -ENOTSUP ? 0 : rc;
	}
	if (rc == 0)
		rc = rte_eth_dev_get_mtu(port->id, ret_mtu);
	if (mtu != 0)
		*ret_mtu = (uint16_t)mtu;
	return rc;
}

/* Whom each lane is on the link. */
static int set_self(struct praas_dpdk_port *port, uint16_t mtu)
{
	const struct praas_dpdk_device *c = port->config;
	struct praas_inet_self self = { .ip = c->ip,
					.prefix = c->prefix,
					.gateway = c->gateway,
					.device_sums = port->sums };
	struct rte_ether_addr mac;
	int rc = rte_eth_macaddr_get(port->id, &mac);

	if (rc != 0)
		return rc;
	memcpy(self.mac, mac.addr_bytes, sizeof(self.mac));
	for (uint16_t i = 0; i < port->lanes; i++) {
		port->lane[i].dev.self = self;
		port->lane[i].dev.mtu = mtu;
	}
	return 0;
}

static int start_device(struct praas_dpdk_port *port)
{
	uint16_t mtu = RTE_ETHER_MTU;
	int rc = configure(port);

	if (rc == 0)
		rc = set_mtu(port, &mtu);
	if (rc == 0)
		rc = make_pool(port, mtu);
	if (rc == 0)
		rc = set_up_queues(port);
	if (rc == 0)
		rc = rte_eth_dev_start(port->id);
	if (rc != 0)
		return rc;
	port->started = true;
	(void)rte_eth_allmulticast_enable(port->id); /* where it is not so anyway */
	return set_self(port, mtu);
}

/* A link that is coming up loses what is sent; the protocol would find out, but late. */
static void wait_for_link(const struct praas_dpdk_port *port)
{
	for (unsigned ms = 0; ms < LINK_MS; ms += 10) {
		struct rte_eth_link link = { 0 };
		const struct timespec nap = { .tv_nsec = 10000000 };

		if (rte_eth_link_get_nowait(port->id, &link) != 0 ||
		    link.link_status == RTE_ETH_LINK_UP)
			return;
		(void)nanosleep(&nap, NULL); /* shorter does not matter */
	}
}

static int probe(struct praas_dpdk_port *port, char *error, size_t bytes)
{
	const char *dev = port->config->dev, *comma = strchr(dev, ',');
	bool before[DESCRIPTORS_MAX] = { false };
	char name[RTE_DEV_NAME_MAX_LEN];
	int rc;

	(void)snprintf(name, sizeof(name), "%.*s",
		       comma ? (int)(comma - dev) : RTE_DEV_NAME_MAX_LEN - 1, dev);
	find_sockets(before, NULL);
	rc = rte_dev_probe(dev);
	if (rc != 0 || rte_eth_dev_get_port_by_name(name, &port->id) != 0) {
		port->id = RTE_MAX_ETHPORTS;
		praas_dpdk_say(error, bytes, "DPDK has no device \"%.60s\": %s", dev,
			       rte_strerror(rc < 0 ? -rc : ENODEV));
		return rc < 0 ? rc : -ENODEV;
	}
	rc = start_device(port);
	if (rc == -E2BIG)
		praas_dpdk_say(error, bytes,
			       "device \"%.60s\" has more queues than ports=", name);
	else if (rc != 0)
		praas_dpdk_say(error, bytes, "device \"%.60s\" does not start: %s",
			       name, rte_strerror(-rc));
	if (rc != 0)
		return rc;
	find_sockets(before, port);
	wait_for_link(port);
	return praas_dpdk_lanes_make(port);
}

int praas_dpdk_device_open(struct praas_dpdk_device *config,
			   struct praas_dpdk_port **ret_port, char *ret_error,
			   size_t error_bytes)
{
	struct praas_dpdk_port *port = calloc(1, sizeof(*port));
	int rc;

	if (port == NULL)
		return -ENOMEM;
	port->config = config;
	port->id = RTE_MAX_ETHPORTS;
	port->lanes = (uint16_t)config->ports;
	port->shared = port->lanes > 1;
	for (uint16_t i = 0; i < port->lanes; i++) {
		port->lane[i].port = port;
		port->lane[i].event_fd = -1;
		port->lane[i].wait_fd = -1;
	}
	rc = probe(port, ret_error, error_bytes);
	if (rc != 0) {
		praas_dpdk_device_close(port);
		return rc;
	}
	*ret_port = port;
	return 0;
}

void praas_dpdk_device_close(struct praas_dpdk_port *port)
{
	struct rte_eth_dev_info info;

	for (uint16_t i = 0; i < port->lanes; i++)
		rte_pktmbuf_free(port->lane[i].spare);
	if (port->id != RTE_MAX_ETHPORTS &&
	    rte_eth_dev_info_get(port->id, &info) == 0) {
		if (port->started)
			(void)rte_eth_dev_stop(port->id); /* it is given up */
		(void)rte_eth_dev_close(port->id);        /* the same */
		(void)rte_dev_remove(info.device);        /* the same */
	}
	praas_dpdk_lanes_free(port);
	rte_mempool_free(port->pool);
	free(port);
}
