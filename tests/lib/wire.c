/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/wire.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "internal/base.h"
#include "transport/dgram.h"

#define RING 1024u /* frames; more are lost, as on a device */
#define FRAME_MAX 9216u

struct frame {
	uint32_t bytes;
	uint8_t data[FRAME_MAX];
};

/* One direction. */
struct ring {
	pthread_mutex_t lock;
	uint32_t head, tail;
	int fd; /* readable while there are frames */
	bool told;
	struct frame *frame;
};

struct end {
	struct praas_netdev dev;
	struct ring *in, *out;
	bool server;
	uint32_t taken;
	uint8_t room[FRAME_MAX];
};

static struct ring rings[2] = { { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 },
				{ .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 } };
static wire_tap tap;
static void *tap_user;
static bool clear;
static uint32_t mtu;
static unsigned percent[3];
static _Thread_local uint64_t chance_state;
static uint64_t chance_seed;

void wire_set_tap(wire_tap new_tap, void *user)
{
	tap = new_tap;
	tap_user = user;
}

void wire_set_clear(bool on)
{
	clear = on;
}

void wire_set_mtu(uint32_t bytes)
{
	mtu = bytes;
}

static unsigned chance(void)
{
	if (chance_state == 0)
		chance_state = chance_seed;
	chance_state =
		chance_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(chance_state >> 33) % 100;
}

static unsigned faulty(void *user, bool to_server, uint8_t *data, uint32_t *bytes)
{
	(void)user;
	(void)to_server;
	if (chance() < percent[2])
		data[chance_state % *bytes] ^=
			(uint8_t)(1u << (chance_state >> 20) % 8);
	if (chance() < percent[0])
		return 0;
	return chance() < percent[1] ? 2 : 1;
}

void wire_set_faults(unsigned lost, unsigned doubled, unsigned changed, uint64_t seed)
{
	percent[0] = lost;
	percent[1] = doubled;
	percent[2] = changed;
	chance_seed = seed | 1;
	wire_set_tap(lost + doubled + changed > 0 ? faulty : NULL, NULL);
}

static void put(struct ring *ring, const uint8_t *data, uint32_t bytes)
{
	const uint64_t one = 1;

	praas_check(pthread_mutex_lock(&ring->lock) == 0);
	if (ring->frame && ring->head - ring->tail < RING) {
		struct frame *f = &ring->frame[ring->head++ % RING];

		f->bytes = bytes;
		memcpy(f->data, data, bytes);
		if (!ring->told) {
			ring->told = true;
			praas_check(write(ring->fd, &one, sizeof(one)) == sizeof(one));
		}
	}
	praas_check(pthread_mutex_unlock(&ring->lock) == 0);
}

void wire_inject(bool to_server, const uint8_t *data, uint32_t bytes)
{
	put(&rings[to_server], data, bytes);
}

static unsigned dev_receive(struct praas_netdev *dev,
			    struct praas_netdev_frame frames[PRAAS_NETDEV_BURST])
{
	struct end *e = (struct end *)(void *)dev;
	struct ring *ring = e->in;
	unsigned count = 0;

	praas_check(pthread_mutex_lock(&ring->lock) == 0);
	for (uint32_t i = ring->tail; i != ring->head && count < PRAAS_NETDEV_BURST;
	     i++) {
		frames[count].data = ring->frame[i % RING].data;
		frames[count++].bytes = ring->frame[i % RING].bytes;
	}
	praas_check(pthread_mutex_unlock(&ring->lock) == 0);
	return count;
}

static void dev_recycle(struct praas_netdev *dev, struct praas_netdev_frame *frames,
			unsigned count)
{
	struct end *e = (struct end *)(void *)dev;
	struct ring *ring = e->in;
	uint64_t value;

	(void)frames;
	praas_check(pthread_mutex_lock(&ring->lock) == 0);
	ring->tail += count;
	if (ring->tail == ring->head && ring->told) {
		ring->told = false;
		praas_check(read(ring->fd, &value, sizeof(value)) == sizeof(value));
	}
	praas_check(pthread_mutex_unlock(&ring->lock) == 0);
}

static uint8_t *dev_room(struct praas_netdev *dev)
{
	return ((struct end *)(void *)dev)->room;
}

static void dev_submit(struct praas_netdev *dev, uint32_t bytes)
{
	struct end *e = (struct end *)(void *)dev;
	unsigned copies = tap ? tap(tap_user, !e->server, e->room, &bytes) : 1;

	praas_check(bytes <= dev->mtu + PRAAS_INET_ETHER_BYTES);
	for (unsigned i = 0; i < copies; i++)
		put(e->out, e->room, bytes);
}

static void dev_flush(struct praas_netdev *dev)
{
	(void)dev; /* all has left */
}

static int dev_fd(struct praas_netdev *dev)
{
	return ((struct end *)(void *)dev)->in->fd;
}

static void dev_close(struct praas_netdev *dev)
{
	struct end *e = (struct end *)(void *)dev;
	struct ring *ring = e->in;

	praas_check(pthread_mutex_lock(&ring->lock) == 0);
	free(ring->frame);
	ring->frame = NULL;
	ring->head = 0;
	ring->tail = 0;
	ring->told = false;
	praas_check(close(ring->fd) == 0);
	ring->fd = -1;
	praas_check(pthread_mutex_unlock(&ring->lock) == 0);
	free(e);
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

static bool six; /* the last port that listened had an IPv6 address */

static int open_end(bool server, struct praas_netdev **ret_dev)
{
	struct end *e = calloc(1, sizeof(*e));
	uint8_t prefix;

	if (e == NULL)
		return -ENOMEM;
	e->server = server;
	e->in = &rings[server];
	e->out = &rings[!server];
	e->in->frame = calloc(RING, sizeof(struct frame));
	e->in->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	praas_check(e->in->frame != NULL && e->in->fd >= 0);
	e->dev.ops = &dev_ops;
	e->dev.mtu = mtu ? mtu : 1500;
	e->dev.self.mac[0] = 2;
	e->dev.self.mac[5] = server ? 1 : 2;
	praas_check(praas_inet_ip_parse(six ? (server ? "fd00::1" : "fd00::2")
					    : (server ? "10.0.0.1" : "10.0.0.2"),
					&e->dev.self.ip, &prefix) == 0);
	e->dev.self.prefix = six ? 64 : 24;
	*ret_dev = &e->dev;
	return 0;
}

static int wire_open(const struct praas_port_config *config,
		     struct praas_port **ret_port)
{
	struct praas_dgram_config c = { .port = *config,
					.ops = &wire_transport_ops,
					.clear = clear };
	int rc;

	if (config->listen)
		six = strchr(config->listen, '[') != NULL;
	rc = open_end(config->listen != NULL, &c.dev);
	return rc != 0 ? rc : praas_dgram_open(&c, ret_port);
}

const struct praas_transport_ops wire_transport_ops = {
	.scheme = "wire",
	.sealed = true,
	.open = wire_open,
	.address = praas_dgram_address,
	.connect = praas_dgram_connect,
	.alloc = praas_dgram_alloc,
	.send = praas_dgram_send,
	.poll = praas_dgram_poll,
	.arm = praas_dgram_arm,
	.close = praas_dgram_close,
	.free = praas_dgram_free,
};
