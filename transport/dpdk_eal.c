/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dpdk_eal.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "internal/base.h"

/*
 * DPDK starts once in a process and cannot start anew; it is told to use no shared files, no other
 * process and no thread of its own, and the core that it pins the caller to is given back. Devices are
 * probed when a port wants them. One queue each way: a port is polled by one thread, and more
 * ports have more devices.
 *
 * The drivers AF_PACKET and AF_XDP have no interrupts, but a socket, which is readable while a frame
 * lies in its ring: it is found among the descriptors that the driver opened.
 */

#define QUEUE 512u
#define POOL (4u * QUEUE)
#define POOL_XDP 8192u /* AF_XDP keeps 2048 for each ring, whatever it is told */
#define POOL_CACHE 64u
#define ROOM_JUMBO 16384u
#define DRAIN_BURSTS 256u
#define LINK_MS                                                                        \
	500u /* a link may need so long to come up; it is not waited for longer */
#define DOMAINS_MAX 64u
#define EAL_ARGS 8u
#define NO_HUGE_MEMORY "-m512" /* address space; what is not used takes no memory */
#define HUGE_FREE "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define HUGE_MIN 64

struct device {
	struct praas_netdev dev;
	struct rte_mempool *pool;
	struct praas_dpdk_device *config;
	uint16_t port;
	bool started;
	int fd;
	struct rte_mbuf *spare; /* what room() gave */
	uint16_t out_count;
	struct rte_mbuf *out[PRAAS_NETDEV_BURST];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct praas_dpdk_config config;
static bool in_use[PRAAS_DPDK_DEVICES_MAX];
static struct device *parked[PRAAS_DPDK_DEVICES_MAX]; /* running, without a port */
static int started = -EAGAIN;                         /* 0; why not */

__attribute__((format(printf, 3, 4))) static void say(char *error, size_t bytes,
						      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	/* It was begun in the line above. */
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	(void)vsnprintf(error, bytes, format, args); /* cut if long */
	va_end(args);
}

/* ---- Start ---- */

static bool has_hugepages(void)
{
	FILE *f = fopen(HUGE_FREE, "re");
	char text[32] = "0";

	if (f == NULL)
		return false;
	if (fgets(text, sizeof(text), f) == NULL)
		text[0] = '0';
	(void)fclose(f); /* was read */
	return strtol(text, NULL, 10) >= HUGE_MIN;
}

static bool is_pci(const char *dev)
{
	return dev[0] >= '0' && dev[0] <= '9';
}

/* One core for DPDK to call its own, out of those that we may use. */
static void core_arg(const cpu_set_t *cpus, char *ret_arg, size_t bytes)
{
	size_t core = 0;

	while (core < CPU_SETSIZE - 1 && !CPU_ISSET(core, cpus))
		core++;
	(void)snprintf(ret_arg, bytes, "--lcores=0@%zu", core);
}

static int init_eal(char *error, size_t bytes)
{
	char core[32];
	/* EAL keeps the texts, and moves the pointers. */
	static char *kept[PRAAS_DPDK_ARGS_MAX + EAL_ARGS + 4];
	char *argv[PRAAS_DPDK_ARGS_MAX + EAL_ARGS + 4];
	const char *base[EAL_ARGS] = { "praas", core, "--no-shconf", "--no-telemetry",
				       "--log-level=*:error" };
	unsigned n = 5;
	int argc = 0, rc;
	cpu_set_t cpus;
	bool pci = false;

	for (unsigned i = 0; i < config.devices; i++)
		pci |= is_pci(config.device[i].dev);
	if (!pci)
		base[n++] = "--no-pci";
	if (config.args == 0 && has_hugepages()) {
		base[n++] = "--in-memory";
	} else if (config.args == 0) {
		base[n++] = "--no-huge";
		base[n++] = NO_HUGE_MEMORY;
	}
	if (pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus) != 0)
		CPU_ZERO(&cpus);
	core_arg(&cpus, core, sizeof(core));
	/* EAL wants them writable. */
	for (unsigned i = 0; i < n + config.args; i++) {
		kept[argc] = strdup(i < n ? base[i] : config.arg[i - n]);
		argv[argc] = kept[argc];
		if (argv[argc++] == NULL)
			return -ENOMEM;
	}
	argv[argc] = NULL;
	rc = rte_eal_init(argc, argv);
	if (CPU_COUNT(&cpus) > 0)
		(void)pthread_setaffinity_np(pthread_self(), sizeof(cpus),
					     &cpus); /* as it was */
	if (rc >= 0)
		return 0;
	say(error, bytes, "DPDK does not start: %s", rte_strerror(rte_errno));
	return rte_errno > 0 ? -rte_errno : -EIO;
}

static int start(char *error, size_t bytes)
{
	const char *text = getenv("PRAAS_DPDK"), *what = "";
	int rc;

	if (started != -EAGAIN)
		return started;
	rc = praas_dpdk_config_parse(text ? text : "", &config, &what);
	if (rc != 0) {
		say(error, bytes, "PRAAS_DPDK is not understood at \"%.60s\"",
		    what ? what : "");
		return rc;
	}
	started = init_eal(error, bytes);
	return started;
}

/* ---- Frames ---- */

static struct device *device_of(struct praas_netdev *dev)
{
	return (struct device *)(void *)dev;
}

static unsigned dev_receive(struct praas_netdev *dev,
			    struct praas_netdev_frame frames[PRAAS_NETDEV_BURST])
{
	static _Thread_local bool registered;
	struct device *d = device_of(dev);
	struct rte_mbuf *mbuf[PRAAS_NETDEV_BURST] PRAAS_UNINITIALIZED;
	uint16_t count;

	if (praas_unlikely(!registered)) {
		/* Gives the thread a cache of buffers; without, they cost a lock. */
		(void)rte_thread_register();
		registered = true;
	}
	count = rte_eth_rx_burst(d->port, 0, mbuf, PRAAS_NETDEV_BURST);
	for (uint16_t i = 0; i < count; i++) {
		frames[i].data = rte_pktmbuf_mtod(mbuf[i], uint8_t *);
		/* One in pieces is larger than we say we take. */
		frames[i].bytes = mbuf[i]->nb_segs == 1 ? mbuf[i]->data_len : 0;
		frames[i].handle = mbuf[i];
	}
	return count;
}

static void dev_recycle(struct praas_netdev *dev, struct praas_netdev_frame *frames,
			unsigned count)
{
	(void)dev;
	for (unsigned i = 0; i < count; i++)
		rte_pktmbuf_free(frames[i].handle);
}

static uint8_t *dev_room(struct praas_netdev *dev)
{
	struct device *d = device_of(dev);

	if (d->spare == NULL)
		d->spare = rte_pktmbuf_alloc(d->pool);
	return d->spare ? rte_pktmbuf_mtod(d->spare, uint8_t *) : NULL;
}

static void dev_flush(struct praas_netdev *dev)
{
	struct device *d = device_of(dev);
	uint16_t sent;

	if (d->out_count == 0)
		return;
	sent = rte_eth_tx_burst(d->port, 0, d->out, d->out_count);
	for (uint16_t i = sent; i < d->out_count; i++)
		rte_pktmbuf_free(d->out[i]); /* lost, as on the wire */
	d->out_count = 0;
}

static void dev_submit(struct praas_netdev *dev, uint32_t bytes)
{
	struct device *d = device_of(dev);

	d->spare->data_len = (uint16_t)bytes;
	d->spare->pkt_len = bytes;
	d->out[d->out_count++] = d->spare;
	d->spare = NULL;
	if (d->out_count == PRAAS_NETDEV_BURST)
		dev_flush(dev);
}

static int dev_fd(struct praas_netdev *dev)
{
	return device_of(dev)->fd;
}

static void destroy(struct device *d)
{
	struct rte_eth_dev_info info;

	if (d->port != RTE_MAX_ETHPORTS && rte_eth_dev_info_get(d->port, &info) == 0) {
		if (d->started)
			(void)rte_eth_dev_stop(d->port); /* it is given up */
		(void)rte_eth_dev_close(d->port);        /* the same */
		(void)rte_dev_remove(info.device);       /* the same */
	}
	rte_mempool_free(d->pool);
	free(d);
}

/* What came while nobody listened is thrown away, and what was not sent. */
static void drain(struct device *d)
{
	struct rte_mbuf *mbuf[PRAAS_NETDEV_BURST];
	uint16_t count = 1;

	for (unsigned i = 0; i < DRAIN_BURSTS && count > 0; i++) {
		count = rte_eth_rx_burst(d->port, 0, mbuf, PRAAS_NETDEV_BURST);
		rte_pktmbuf_free_bulk(mbuf, count);
	}
	rte_pktmbuf_free_bulk(d->out, d->out_count);
	d->out_count = 0;
}

/* The device stays as it is for the next port: AF_XDP of DPDK 22.11 cannot be opened again on an
 * interface in the same process, and for all it takes long. */
static void dev_close(struct praas_netdev *dev)
{
	struct device *d = device_of(dev);
	size_t i = (size_t)(d->config - config.device);

	praas_check(pthread_mutex_lock(&lock) == 0);
	in_use[i] = false;
	if (d->started)
		parked[i] = d;
	else
		destroy(d);
	praas_check(pthread_mutex_unlock(&lock) == 0);
}

/* The interface is given back as it was. */
__attribute__((destructor)) static void close_all(void)
{
	for (unsigned i = 0; i < PRAAS_DPDK_DEVICES_MAX; i++) {
		if (parked[i])
			destroy(parked[i]);
		parked[i] = NULL;
	}
}

static const struct praas_netdev_ops dev_ops = {
	.receive = dev_receive,
	.recycle = dev_recycle,
	.room = dev_room,
	.submit = dev_submit,
	.flush = dev_flush,
	.fd = dev_fd,
	.close = dev_close,
};

/* ---- Open ---- */

/* The highest descriptor of a packet socket that is not among those of `before`; -1. Marks it there. */
static int find_socket(bool before[], unsigned count, bool remember)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");
	int found = -1;

	while (dir && (entry = readdir(dir)) != NULL) {
		long fd = strtol(entry->d_name, NULL, 10); /* ".": 0 */
		int domain = 0;
		socklen_t bytes = sizeof(domain);

		if (fd <= 0 || fd >= (long)count ||
		    getsockopt((int)fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) != 0 ||
		    (domain != AF_PACKET && domain != AF_XDP))
			continue;
		if (remember)
			before[fd] = true;
		else if (!before[fd])
			found = (int)fd > found ? (int)fd : found;
	}
	if (dir)
		(void)closedir(dir); /* was read */
	return found;
}

/* The device's memory; as large as its packets. */
static int make_pool(struct device *d, uint32_t mtu)
{
	uint16_t room = mtu > RTE_ETHER_MTU ? ROOM_JUMBO + RTE_PKTMBUF_HEADROOM
					    : RTE_MBUF_DEFAULT_BUF_SIZE;
	bool xdp = strncmp(d->config->dev, "net_af_xdp", 10) == 0;
	char name[RTE_MEMPOOL_NAMESIZE];

	(void)snprintf(name, sizeof(name), "praas-%u", (unsigned)d->port);
	d->pool = rte_pktmbuf_pool_create(name, xdp ? POOL_XDP : POOL, POOL_CACHE, 0,
					  room, SOCKET_ID_ANY);
	return d->pool ? 0 : -rte_errno;
}

static int start_device(struct device *d)
{
	const struct rte_eth_conf conf = { 0 };
	struct rte_ether_addr mac;
	uint16_t mtu = RTE_ETHER_MTU, queue_in = QUEUE, queue_out = QUEUE;
	int rc = rte_eth_dev_configure(d->port, 1, 1, &conf);

	if (rc == 0 && d->config->mtu != 0) {
		rc = rte_eth_dev_set_mtu(d->port, (uint16_t)d->config->mtu);
		rc = rc == -ENOTSUP ? 0 : rc;
	}
	if (rc == 0)
		rc = rte_eth_dev_get_mtu(d->port, &mtu);
	if (rc == 0 && d->config->mtu != 0)
		mtu = (uint16_t)d->config->mtu;
	if (rc == 0)
		rc = make_pool(d, mtu);
	if (rc == 0)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(d->port, &queue_in, &queue_out);
	if (rc == 0)
		rc = rte_eth_rx_queue_setup(d->port, 0, queue_in,
					    (unsigned)SOCKET_ID_ANY, NULL, d->pool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(d->port, 0, queue_out,
					    (unsigned)SOCKET_ID_ANY, NULL);
	if (rc == 0)
		rc = rte_eth_dev_start(d->port);
	if (rc != 0)
		return rc;
	d->started = true;
	(void)rte_eth_allmulticast_enable(d->port); /* where it is not so anyway */
	rc = rte_eth_macaddr_get(d->port, &mac);
	memcpy(d->dev.self.mac, mac.addr_bytes, sizeof(d->dev.self.mac));
	d->dev.mtu = mtu;
	return rc;
}

/* A link that is coming up loses what is sent; the protocol would find out, but late. */
static void wait_for_link(const struct device *d)
{
	for (unsigned ms = 0; ms < LINK_MS; ms += 10) {
		struct rte_eth_link link = { 0 };
		const struct timespec nap = { .tv_nsec = 10000000 };

		if (rte_eth_link_get_nowait(d->port, &link) != 0 ||
		    link.link_status == RTE_ETH_LINK_UP)
			return;
		(void)nanosleep(&nap, NULL); /* shorter does not matter */
	}
}

static int probe(struct device *d, char *error, size_t bytes)
{
	const char *comma = strchr(d->config->dev, ',');
	bool before[1024] = { false };
	char name[RTE_DEV_NAME_MAX_LEN];
	int rc;

	(void)snprintf(name, sizeof(name), "%.*s",
		       comma ? (int)(comma - d->config->dev) : RTE_DEV_NAME_MAX_LEN - 1,
		       d->config->dev);
	(void)find_socket(before, 1024, true);
	rc = rte_dev_probe(d->config->dev);
	if (rc != 0 || rte_eth_dev_get_port_by_name(name, &d->port) != 0) {
		d->port = RTE_MAX_ETHPORTS;
		say(error, bytes, "DPDK has no device \"%.60s\": %s", d->config->dev,
		    rte_strerror(rc < 0 ? -rc : ENODEV));
		return rc < 0 ? rc : -ENODEV;
	}
	rc = start_device(d);
	if (rc != 0) {
		say(error, bytes, "device \"%.60s\" does not start: %s", name,
		    rte_strerror(-rc));
		return rc;
	}
	d->fd = find_socket(before, 1024, false);
	wait_for_link(d);
	return 0;
}

/* The index of the device for a port; or why there is none. */
static int choose(const struct praas_inet_ip *ip)
{
	int why = -ENODEV;

	for (unsigned i = 0; i < config.devices; i++) {
		if (ip && !praas_inet_ip_equal(ip, &config.device[i].ip))
			continue;
		if (!in_use[i])
			return (int)i;
		why = -EBUSY;
	}
	return why;
}

static int open_locked(const struct praas_inet_ip *ip, struct device **ret_device,
		       char *error, size_t bytes)
{
	struct device *d;
	int i, rc = start(error, bytes);

	if (rc != 0)
		return rc;
	i = choose(ip);
	if (i < 0) {
		say(error, bytes, "PRAAS_DPDK has no %s",
		    i == -EBUSY ? "device that is free" : "device with this address");
		return ip && i == -EBUSY ? -EADDRINUSE : i;
	}
	if (parked[i]) {
		*ret_device = parked[i];
		parked[i] = NULL;
		in_use[i] = true;
		drain(*ret_device);
		return 0;
	}
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	d->dev.ops = &dev_ops;
	d->config = &config.device[i];
	d->dev.self.ip = d->config->ip;
	d->dev.self.prefix = d->config->prefix;
	d->dev.self.gateway = d->config->gateway;
	d->fd = -1;
	d->port = RTE_MAX_ETHPORTS;
	in_use[i] = true;
	*ret_device = d;
	return probe(d, error, bytes);
}

int praas_dpdk_netdev_open(const struct praas_inet_ip *ip,
			   struct praas_netdev **ret_dev, bool *ret_clear,
			   char *ret_error, size_t error_bytes)
{
	struct device *d = NULL;
	int rc;

	praas_check(pthread_mutex_lock(&lock) == 0);
	rc = open_locked(ip, &d, ret_error, error_bytes);
	praas_check(pthread_mutex_unlock(&lock) == 0);
	if (rc != 0) {
		if (d)
			dev_close(&d->dev);
		return rc;
	}
	*ret_dev = &d->dev;
	*ret_clear = d->config->clear;
	return 0;
}
