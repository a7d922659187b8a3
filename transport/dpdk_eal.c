/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dpdk_eal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "internal/base.h"
#include "transport/dpdk_device.h"

/*
 * DPDK starts once in a process and cannot start anew; it is told to use no shared files, no other
 * process and no thread of its own, and the core that it pins the caller to is given back.
 */

#define EAL_ARGS 8u
#define NO_HUGE_MEMORY "-m512" /* address space; what is not used takes no memory */
#define HUGE_FREE "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define HUGE_MIN 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct praas_dpdk_config config;
static struct praas_dpdk_port
	*ports[PRAAS_DPDK_DEVICES_MAX]; /* once opened, for ever */
static int started = -EAGAIN;           /* 0; why not */

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
	praas_dpdk_say(error, bytes, "DPDK does not start: %s",
		       rte_strerror(rte_errno));
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
		praas_dpdk_say(error, bytes,
			       "PRAAS_DPDK is not understood at \"%.60s\"",
			       what ? what : "");
		return rc;
	}
	started = init_eal(error, bytes);
	return started;
}

/* ---- Which device, and whose ---- */

/* The device stays as it is for the next port: AF_XDP of DPDK 22.11 cannot be opened again on an
 * interface in the same process, and for all it takes long. */
void praas_dpdk_lane_close(struct praas_netdev *dev)
{
	struct praas_dpdk_lane *lane = (struct praas_dpdk_lane *)(void *)dev;

	praas_check(pthread_mutex_lock(&lock) == 0);
	atomic_store_explicit(&lane->number, 0, memory_order_relaxed);
	lane->in_use = false;
	praas_check(pthread_mutex_unlock(&lock) == 0);
}

/* The interface is given back as it was. */
__attribute__((destructor)) static void close_all(void)
{
	for (unsigned i = 0; i < PRAAS_DPDK_DEVICES_MAX; i++) {
		if (ports[i])
			praas_dpdk_device_close(ports[i]);
		ports[i] = NULL;
	}
}

/* A lane that is free; a device not opened yet has one. */
static struct praas_dpdk_lane *free_lane(struct praas_dpdk_port *port)
{
	for (uint16_t i = 0; i < port->lanes; i++) {
		if (!port->lane[i].in_use)
			return &port->lane[i];
	}
	return NULL;
}

static unsigned lanes_used(const struct praas_dpdk_port *port)
{
	unsigned used = 0;

	for (uint16_t i = 0; port && i < port->lanes; i++)
		used += port->lane[i].in_use;
	return used;
}

/* The index of the device for a port, that with the fewest; or why there is none. */
static int choose(const struct praas_inet_ip *ip)
{
	int found = -ENODEV;

	for (unsigned i = 0; i < config.devices; i++) {
		unsigned used = lanes_used(ports[i]);

		if (ip && !praas_inet_ip_equal(ip, &config.device[i].ip))
			continue;
		if (used == config.device[i].ports)
			found = found < 0 ? -EBUSY : found;
		else if (found < 0 || used < lanes_used(ports[found]))
			found = (int)i;
	}
	return found;
}

static int open_locked(const struct praas_inet_ip *ip,
		       struct praas_dpdk_lane **ret_lane, char *error, size_t bytes)
{
	int i, rc = start(error, bytes);

	if (rc != 0)
		return rc;
	i = choose(ip);
	if (i < 0) {
		praas_dpdk_say(error, bytes, "PRAAS_DPDK has no %s",
			       i == -EBUSY ? "device that is free"
					   : "device with this address");
		return ip && i == -EBUSY ? -EADDRINUSE : i;
	}
	if (ports[i] == NULL)
		rc = praas_dpdk_device_open(&config.device[i], &ports[i], error, bytes);
	if (rc != 0)
		return rc;
	*ret_lane = free_lane(ports[i]);
	(*ret_lane)->in_use = true;
	praas_dpdk_lane_drain(*ret_lane);
	return 0;
}

int praas_dpdk_netdev_open(const struct praas_inet_ip *ip,
			   struct praas_netdev **ret_dev, bool *ret_clear,
			   char *ret_error, size_t error_bytes)
{
	struct praas_dpdk_lane *lane = NULL;
	int rc;

	praas_check(pthread_mutex_lock(&lock) == 0);
	rc = open_locked(ip, &lane, ret_error, error_bytes);
	praas_check(pthread_mutex_unlock(&lock) == 0);
	if (rc != 0)
		return rc;
	*ret_dev = &lane->dev;
	*ret_clear = lane->port->config->clear;
	return 0;
}
