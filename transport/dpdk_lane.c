/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dpdk_device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_udp.h>

#include "internal/base.h"

/*
 * A frame that is another lane's is put into its inbox, and that lane woken when it may be asleep; what an
 * inbox has no room for is lost, as on the wire. Who tells where an address is on the link is told to all lanes.
 */

#define INBOX 1024u /* frames */
#define DRAIN_BURSTS 256u
#define IPV6_NEXT 20u /* where a frame says that it carries UDP */

static struct praas_dpdk_lane *lane_of(struct praas_netdev *dev)
{
	return (struct praas_dpdk_lane *)(void *)dev;
}

/* ---- What comes ---- */

static PRAAS_COLD void thread_begins(void)
{
	/* Gives the thread a cache of buffers; without, they cost a lock. */
	(void)rte_thread_register();
}

static void hand_up(struct rte_mbuf *const *mbuf, uint16_t count,
		    struct praas_netdev_frame *ret_frames)
{
	for (uint16_t i = 0; i < count; i++) {
		ret_frames[i].data = rte_pktmbuf_mtod(mbuf[i], uint8_t *);
		/* One in pieces is larger than we say we take. */
		ret_frames[i].bytes = mbuf[i]->nb_segs == 1 ? mbuf[i]->data_len : 0;
		ret_frames[i].handle = mbuf[i];
	}
}

static void put(struct praas_dpdk_lane *to, struct rte_mbuf *mbuf)
{
	const uint64_t one = 1;

	if (rte_ring_mp_enqueue(to->inbox, mbuf) != 0) {
		rte_pktmbuf_free(mbuf);
		return;
	}
	/* dpdk.X1: it looks after it has said that it sleeps; we after we have put. */
	atomic_thread_fence(memory_order_seq_cst);
	if (praas_unlikely(atomic_load_explicit(&to->asleep, memory_order_relaxed)))
		(void)!write(to->event_fd, &one, sizeof(one)); /* full: it is awake */
}

/* To every lane but the one that has it. */
static PRAAS_COLD void put_all(struct praas_dpdk_lane *from, struct rte_mbuf *mbuf)
{
	struct praas_dpdk_port *port = from->port;

	for (uint16_t i = 0; i < port->lanes; i++) {
		struct praas_dpdk_lane *to = &port->lane[i];
		struct rte_mbuf *copy;

		if (to == from ||
		    atomic_load_explicit(&to->number, memory_order_relaxed) == 0)
			continue;
		copy = rte_pktmbuf_copy(mbuf, port->pool, 0, UINT32_MAX);
		if (copy)
			put(to, copy);
	}
}

/* Whose a frame is; the lane itself when it is nobody's. */
static struct praas_dpdk_lane *owner(struct praas_dpdk_lane *lane,
				     struct rte_mbuf *mbuf)
{
	struct praas_dpdk_port *port = lane->port;
	struct praas_inet_packet p;

	praas_inet_parse(&lane->dev.self, rte_pktmbuf_mtod(mbuf, uint8_t *),
			 mbuf->nb_segs == 1 ? mbuf->data_len : 0, &p);
	if (p.kind == PRAAS_INET_TELLS)
		put_all(lane, mbuf);
	if (p.kind != PRAAS_INET_UDP)
		return lane;
	for (uint16_t i = 0; i < port->lanes; i++) {
		if (atomic_load_explicit(&port->lane[i].number, memory_order_relaxed) ==
		    p.to_port)
			return &port->lane[i];
	}
	return lane;
}

/* Takes from one queue what is there; keeps what is the lane's. In the order in which it came: who has the queue
 * has handed on all of it before another has it. */
static uint16_t look(struct praas_dpdk_lane *lane, uint16_t queue,
		     struct rte_mbuf **ret_mbuf, uint16_t room)
{
	struct praas_dpdk_port *port = lane->port;
	struct rte_mbuf *got[PRAAS_NETDEV_BURST] PRAAS_UNINITIALIZED;
	uint16_t count = 0, kept = 0;

	if (pthread_spin_trylock(&port->in[queue]) != 0)
		return 0; /* another lane is at it */
	if (rte_ring_empty(lane->inbox))
		count = rte_eth_rx_burst(port->id, queue, got, room);
	for (uint16_t i = 0; i < count; i++) {
		struct praas_dpdk_lane *to = owner(lane, got[i]);

		if (to == lane)
			ret_mbuf[kept++] = got[i];
		else
			put(to, got[i]);
	}
	praas_check(pthread_spin_unlock(&port->in[queue]) == 0);
	return kept;
}

static void wake_up(struct praas_dpdk_lane *lane)
{
	uint64_t ignored;

	atomic_store_explicit(&lane->asleep, false, memory_order_relaxed);
	(void)!read(lane->event_fd, &ignored,
		    sizeof(ignored)); /* if it was written to */
}

static uint16_t receive_shared(struct praas_dpdk_lane *lane, struct rte_mbuf **ret_mbuf)
{
	struct praas_dpdk_port *port = lane->port;
	uint16_t count;

	if (praas_unlikely(atomic_load_explicit(&lane->asleep, memory_order_relaxed)))
		wake_up(lane);
	count = (uint16_t)rte_ring_sc_dequeue_burst(lane->inbox, (void **)ret_mbuf,
						    PRAAS_NETDEV_BURST, NULL);
	if (count < PRAAS_NETDEV_BURST)
		count += look(lane, lane->queue, ret_mbuf + count,
			      PRAAS_NETDEV_BURST - count);
	if (port->queues > 1 && count < PRAAS_NETDEV_BURST) {
		lane->turn = (uint16_t)(lane->turn + 1) % port->queues;
		if (lane->turn != lane->queue)
			count += look(lane, lane->turn, ret_mbuf + count,
				      PRAAS_NETDEV_BURST - count);
	}
	return count;
}

static unsigned lane_receive(struct praas_netdev *dev,
			     struct praas_netdev_frame frames[PRAAS_NETDEV_BURST])
{
	static _Thread_local bool registered;
	struct praas_dpdk_lane *lane = lane_of(dev);
	struct rte_mbuf *mbuf[PRAAS_NETDEV_BURST] PRAAS_UNINITIALIZED;
	uint16_t count;

	if (praas_unlikely(!registered)) {
		thread_begins();
		registered = true;
	}
	count = lane->port->shared
			? receive_shared(lane, mbuf)
			: rte_eth_rx_burst(lane->port->id, 0, mbuf, PRAAS_NETDEV_BURST);
	hand_up(mbuf, count, frames);
	return count;
}

static void lane_recycle(struct praas_netdev *dev, struct praas_netdev_frame *frames,
			 unsigned count)
{
	(void)dev;
	for (unsigned i = 0; i < count; i++)
		rte_pktmbuf_free(frames[i].handle);
}

/* ---- What goes ---- */

static uint8_t *lane_room(struct praas_netdev *dev)
{
	struct praas_dpdk_lane *lane = lane_of(dev);

	if (lane->spare == NULL)
		lane->spare = rte_pktmbuf_alloc(lane->port->pool);
	return lane->spare ? rte_pktmbuf_mtod(lane->spare, uint8_t *) : NULL;
}

static void lane_flush(struct praas_netdev *dev)
{
	struct praas_dpdk_lane *lane = lane_of(dev);
	struct praas_dpdk_port *port = lane->port;
	uint16_t sent;

	if (lane->out_count == 0)
		return;
	if (port->shared)
		praas_check(pthread_spin_lock(&port->out[lane->queue]) ==
			    0); /* for a burst */
	sent = rte_eth_tx_burst(port->id, lane->queue, lane->out, lane->out_count);
	if (port->shared)
		praas_check(pthread_spin_unlock(&port->out[lane->queue]) == 0);
	for (uint16_t i = sent; i < lane->out_count; i++)
		rte_pktmbuf_free(lane->out[i]); /* lost, as on the wire */
	lane->out_count = 0;
}

/* What the checksum of UDP over IPv6 is to be computed from. */
static void ask_for_sum(struct rte_mbuf *mbuf)
{
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);

	if (frame[IPV6_NEXT] != IPPROTO_UDP)
		return; /* neighbour discovery */
	mbuf->ol_flags |= RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM;
	mbuf->l2_len = PRAAS_INET_ETHER_BYTES;
	mbuf->l3_len = sizeof(struct rte_ipv6_hdr);
	mbuf->l4_len = sizeof(struct rte_udp_hdr);
}

static void lane_submit(struct praas_netdev *dev, uint32_t bytes)
{
	struct praas_dpdk_lane *lane = lane_of(dev);

	lane->spare->data_len = (uint16_t)bytes;
	lane->spare->pkt_len = bytes;
	if (lane->dev.self.device_sums)
		ask_for_sum(lane->spare);
	lane->out[lane->out_count++] = lane->spare;
	lane->spare = NULL;
	if (lane->out_count == PRAAS_NETDEV_BURST)
		lane_flush(dev);
}

/* ---- Which, and when ---- */

static int lane_claim(struct praas_netdev *dev, uint16_t number)
{
	struct praas_dpdk_lane *lane = lane_of(dev);

	/* Ports of a device are opened one at a time. */
	for (uint16_t i = 0; i < lane->port->lanes; i++) {
		if (atomic_load_explicit(&lane->port->lane[i].number,
					 memory_order_relaxed) == number)
			return -EADDRINUSE;
	}
	atomic_store_explicit(&lane->number, number, memory_order_relaxed);
	return 0;
}

/* Asked for before each sleep. */
static int lane_fd(struct praas_netdev *dev)
{
	struct praas_dpdk_lane *lane = lane_of(dev);
	const uint64_t one = 1;

	if (!lane->port->shared)
		return lane->port->fds > 0 ? lane->port->fd[0] : -1;
	atomic_store_explicit(&lane->asleep, true, memory_order_relaxed);
	/* dpdk.X1: see put() */
	atomic_thread_fence(memory_order_seq_cst);
	if (rte_ring_count(lane->inbox) > 0)
		(void)!write(lane->event_fd, &one, sizeof(one)); /* full: readable */
	return lane->port->fds > 0 ? lane->wait_fd : -1;
}

const struct praas_netdev_ops praas_dpdk_lane_ops = {
	.receive = lane_receive,
	.recycle = lane_recycle,
	.room = lane_room,
	.submit = lane_submit,
	.flush = lane_flush,
	.claim = lane_claim,
	.fd = lane_fd,
	.close = praas_dpdk_lane_close,
};

/* ---- Begin and end ---- */

static int share(struct praas_dpdk_lane *lane)
{
	struct epoll_event in = { .events = EPOLLIN };
	char name[RTE_RING_NAMESIZE];
	struct praas_dpdk_port *port = lane->port;

	(void)snprintf(name, sizeof(name), "praas-%u-%u", (unsigned)port->id,
		       (unsigned)lane->index);
	lane->inbox = rte_ring_create(name, INBOX, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (lane->inbox == NULL)
		return -ENOMEM;
	lane->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	lane->wait_fd = epoll_create1(EPOLL_CLOEXEC);
	if (lane->event_fd < 0 || lane->wait_fd < 0 ||
	    epoll_ctl(lane->wait_fd, EPOLL_CTL_ADD, lane->event_fd, &in) != 0)
		return -errno;
	for (unsigned i = 0; i < port->fds; i++) {
		if (epoll_ctl(lane->wait_fd, EPOLL_CTL_ADD, port->fd[i], &in) != 0)
			return -errno;
	}
	return 0;
}

int praas_dpdk_lanes_make(struct praas_dpdk_port *port)
{
	int rc = 0;

	for (uint16_t i = 0; i < port->lanes && rc == 0; i++) {
		struct praas_dpdk_lane *lane = &port->lane[i];

		rc = pthread_spin_init(&port->in[i], PTHREAD_PROCESS_PRIVATE) |
		     pthread_spin_init(&port->out[i], PTHREAD_PROCESS_PRIVATE);
		lane->index = i;
		lane->queue = i % port->queues;
		lane->dev.ops = &praas_dpdk_lane_ops;
		if (rc == 0 && port->shared)
			rc = share(lane);
	}
	return rc > 0 ? -ENOMEM : rc;
}

void praas_dpdk_lane_drain(struct praas_dpdk_lane *lane)
{
	struct rte_mbuf *mbuf[PRAAS_NETDEV_BURST];
	uint16_t count = 1;

	for (unsigned i = 0; i < DRAIN_BURSTS && count > 0; i++) {
		count = lane->port->shared ? (uint16_t)rte_ring_sc_dequeue_burst(
						     lane->inbox, (void **)mbuf,
						     PRAAS_NETDEV_BURST, NULL)
					   : rte_eth_rx_burst(lane->port->id, 0, mbuf,
							      PRAAS_NETDEV_BURST);
		rte_pktmbuf_free_bulk(mbuf, count);
	}
	rte_pktmbuf_free_bulk(lane->out, lane->out_count);
	lane->out_count = 0;
}

void praas_dpdk_lanes_free(struct praas_dpdk_port *port)
{
	for (uint16_t i = 0; i < port->lanes; i++) {
		struct praas_dpdk_lane *lane = &port->lane[i];

		(void)pthread_spin_destroy(&port->in[i]);  /* nobody has it */
		(void)pthread_spin_destroy(&port->out[i]); /* the same */
		if (!port->shared)
			continue;
		rte_ring_free(lane->inbox);
		if (lane->event_fd >= 0)
			(void)close(lane->event_fd); /* of an eventfd */
		if (lane->wait_fd >= 0)
			(void)close(lane->wait_fd); /* of epoll */
	}
}
