/* SPDX-License-Identifier: Apache-2.0
 *
 * A device that carries Ethernet frames, as a port of transport/dgram.h uses it, polled by one thread. Ports
 * may share what is behind it. transport/dpdk.h has the real ones, tests one in memory.
 */
#ifndef PRAAS_TRANSPORT_NETDEV_H
#define PRAAS_TRANSPORT_NETDEV_H

#include <stdint.h>

#include "transport/inet.h"

#define PRAAS_NETDEV_BURST 32u

/* A frame. */
struct praas_netdev_frame {
	uint8_t *data; /* may be changed in place until it is given back */
	uint32_t bytes;
	void *handle; /* the device's own */
};

struct praas_netdev;

struct praas_netdev_ops {
	/* At most PRAAS_NETDEV_BURST frames that came; to be given back all together by
	 * recycle(), before the next. Never blocks. */
	unsigned (*receive)(struct praas_netdev *dev,
			    struct praas_netdev_frame ret_frames[PRAAS_NETDEV_BURST]);
	void (*recycle)(struct praas_netdev *dev, struct praas_netdev_frame *frames,
			unsigned count);
	/* Room for one frame of mtu + 14 bytes, or NULL: none now. Either submit() follows, with
	 * what was written, or the same room is given again. */
	uint8_t *(*room)(struct praas_netdev *dev);
	void (*submit)(struct praas_netdev *dev, uint32_t bytes);
	/* All that was submitted leaves, or is lost. */
	void (*flush)(struct praas_netdev *dev);
	/* UDP datagrams to this number of a port are the caller's. 0; -EADDRINUSE. NULL: there is no other
	 * port on the device. */
	int (*claim)(struct praas_netdev *dev, uint16_t number);
	/* Before each sleep. Readable while there is something to receive; -1: the device cannot tell. */
	int (*fd)(struct praas_netdev *dev);
	void (*close)(struct praas_netdev *dev);
};

struct praas_netdev {
	const struct praas_netdev_ops *ops;
	struct praas_inet_self self;
	uint32_t mtu; /* bytes of the largest IP packet */
};

#endif
