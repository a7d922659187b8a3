/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of DPDK's plug-in share:
 *
 *   dpdk_eal.c      DPDK's start; which device a port gets
 *   dpdk_device.c   a device: queues, memory, start, end
 *   dpdk_lane.c     frames of one port in and out
 *
 * A device has one lane for each port that may use it ("ports=" of PRAAS_DPDK, else one). A lane sends on the
 * device's queue of its number, receives from all of them in turn, its own first, and hands on what is another
 * lane's, by the UDP port number that each has claimed: whatever way a device spreads what comes over its
 * queues (RSS, AF_PACKET's fan-out), and however many it has, a frame reaches its port, also while the lane whose
 * queue it came to sleeps. A device of one port has no locks and hands on nothing.
 */
#ifndef PRAAS_TRANSPORT_DPDK_DEVICE_H
#define PRAAS_TRANSPORT_DPDK_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/dpdk_config.h"
#include "transport/netdev.h"

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

struct praas_dpdk_port;

struct praas_dpdk_lane {
	struct praas_netdev dev;
	struct praas_dpdk_port *port;
	uint16_t index, queue;  /* where it sends */
	uint16_t turn;          /* the queue looked at beside its own */
	bool in_use;            /* guarded by the lock of dpdk_eal.c */
	struct rte_mbuf *spare; /* what room() gave */
	uint16_t out_count;
	struct rte_mbuf *out[PRAAS_NETDEV_BURST];
	/* Of a shared device. */
	struct rte_ring *inbox; /* from other lanes */
	int event_fd,
		wait_fd; /* readable when another lane has put something there; that or a frame */
	_Atomic uint16_t number; /* UDP port; 0: none */
	atomic_bool asleep;      /* may be waiting for wait_fd */
};

struct praas_dpdk_port {
	struct praas_dpdk_device *config;
	struct rte_mempool *pool;
	uint16_t id; /* of DPDK; RTE_MAX_ETHPORTS: none */
	uint16_t queues, lanes;
	bool started, shared;
	bool sums; /* the device completes checksums of UDP over IPv6 */
	int fd[PRAAS_DPDK_PORTS_MAX]; /* readable while a frame lies in a queue */
	unsigned fds;                 /* 0: the device has none */
	pthread_spinlock_t in[PRAAS_DPDK_PORTS_MAX], out[PRAAS_DPDK_PORTS_MAX];
	struct praas_dpdk_lane lane[PRAAS_DPDK_PORTS_MAX];
};

/* ---- dpdk_device.c ---- */
/* The device of config, started. 0; or what DPDK says, in words too. */
int praas_dpdk_device_open(struct praas_dpdk_device *config,
			   struct praas_dpdk_port **ret_port, char *ret_error,
			   size_t error_bytes);
void praas_dpdk_device_close(struct praas_dpdk_port *port);
__attribute__((format(printf, 3, 4))) void praas_dpdk_say(char *error, size_t bytes,
							  const char *format, ...);

/* ---- dpdk_lane.c ---- */
/* Lanes of a started device. 0; -ENOMEM, -errno. */
int praas_dpdk_lanes_make(struct praas_dpdk_port *port);
void praas_dpdk_lanes_free(struct praas_dpdk_port *port);
/* What came while no port had it is thrown away, and what was not sent. */
void praas_dpdk_lane_drain(struct praas_dpdk_lane *lane);
extern const struct praas_netdev_ops praas_dpdk_lane_ops; /* but close() */

/* ---- dpdk_eal.c ---- */
void praas_dpdk_lane_close(struct praas_netdev *dev);

#endif
