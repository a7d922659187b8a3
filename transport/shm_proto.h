/* SPDX-License-Identifier: Apache-2.0
 *
 * Datagrams on the UNIX socket of an shm connection (SOCK_SEQPACKET; docs/shm-layout.md, "Client").
 * Before the switch: one frame each, the 64-byte header, meta block and payload. After it: the
 * fixed struct below, or 8 bytes that mean nothing but "wake up". Same host: native byte order.
 */
#ifndef PRAAS_TRANSPORT_SHM_PROTO_H
#define PRAAS_TRANSPORT_SHM_PROTO_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "shm/channel.h"

#define PRAAS_SHM_MSG_MAGIC 0x4d485350u /* "PSHM": cannot begin a frame */
#define PRAAS_SHM_MSG_FDS 2u            /* most descriptors one datagram carries */
#define PRAAS_SHM_WELCOME_MAX 131072u   /* largest handshake datagram a client takes */

/* A ring descriptor of this kind says only: read the socket. */
#define PRAAS_SHM_FRAME_LOOK 62u

/* c client, s server. */
enum praas_shm_msg_kind {
	PRAAS_SHM_SWITCH =
		1, /* s→c: geometries, ids; fds: client segment (rw), reply segment
			       * (ro); the WELCOME frame follows in the same datagram */
	PRAAS_SHM_WANT, /* c→s: a big segment of bytes, to write to */
	PRAAS_SHM_SEGMENT, /* s→c: segment, bytes, writable, status; fd when status is 0 */
	PRAAS_SHM_DROP, /* both: segment is not used any more by who says so */
	PRAAS_SHM_GRANT, /* s→c: worker, reply geometry, segment; fds: reply (ro), wake socket */
	PRAAS_SHM_REVOKE, /* s→c: worker: send it no more */
	PRAAS_SHM_GONE, /* s→c: worker: it answers no more; status: what its calls come to,
			       * an enum praas_status */
	PRAAS_SHM_FREED, /* c→s: worker: its block is cleared and may be granted again */
	PRAAS_SHM_BYE    /* both: closing in order */
};

struct praas_shm_msg {
	uint32_t magic;
	uint32_t kind; /* enum praas_shm_msg_kind */
	uint32_t segment;
	uint32_t writable;
	uint32_t worker;
	int32_t status; /* 0 or negative errno */
	uint64_t bytes;
	struct praas_channel_geometry client, reply;
	uint32_t client_segment, reply_segment;
};

_Static_assert(sizeof(struct praas_shm_msg) == 72, "one layout for both sides");

/* Path of "shm:///path". 0; -EINVAL. */
int praas_shm_path(const char *addr, const char **ret_path);

/* 0; -EADDRINUSE somebody listens there; … A dead socket file is replaced. */
int praas_shm_sock_listen(const char *path, mode_t mode, int *ret_fd);
/* 0; -ECONNREFUSED nobody there, or its queue is full; -EPERM another user's. */
int praas_shm_sock_connect(const char *path, int *ret_fd);

/* One datagram, whole or not at all. 0; -EAGAIN; -ECONNRESET; -EMSGSIZE. */
int praas_shm_sock_send(int fd, const struct iovec *iov, unsigned iov_count,
			const int *fds, unsigned fds_count);

struct praas_shm_datagram {
	void *data;
	size_t capacity, bytes;
	int fds[PRAAS_SHM_MSG_FDS]; /* the receiver's to close */
	unsigned fds_count;
};
/* 0; -EAGAIN; -ESHUTDOWN the peer is gone; -EPROTO too long or too many descriptors (closed). */
int praas_shm_sock_recv(int fd, struct praas_shm_datagram *d);
void praas_shm_datagram_close_fds(struct praas_shm_datagram *d);

#endif
