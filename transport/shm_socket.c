/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm_proto.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal/base.h"

/* The UNIX socket under an shm connection. SOCK_SEQPACKET keeps datagrams apart and tells the
 * end; writing to a dead one is an error without a signal. */

#define BACKLOG 256

int praas_shm_path(const char *addr, const char **ret_path)
{
	struct sockaddr_un sun;

	if (strncmp(addr, "shm:///", 7) != 0 || addr[7] == '\0' ||
	    strlen(addr + 6) >= sizeof(sun.sun_path))
		return -EINVAL;
	*ret_path = addr + 6;
	return 0;
}

static void fill(const char *path, struct sockaddr_un *ret_sun)
{
	*ret_sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret_sun->sun_path, path,
	       strlen(path)); /* praas_shm_path() checked the size */
}

int praas_shm_sock_connect(const char *path, int *ret_fd)
{
	struct sockaddr_un sun;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	fill(path, &sun);
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) != 0) {
		int rc = -errno;

		(void)close(fd);
		/* Not ours to use: told apart from a ticket that is refused. */
		if (rc == -EACCES)
			return -EPERM;
		/* A full backlog, a missing file and a dead socket are one to the caller. */
		return rc == -EAGAIN || rc == -ENOENT ? -ECONNREFUSED : rc;
	}
	*ret_fd = fd;
	return 0;
}

/* Removes the socket file of a listener that died. 0 when it may be bound again. */
static int remove_dead(const char *path)
{
	struct stat st;
	int fd = -1;
	int rc;

	if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	rc = praas_shm_sock_connect(path, &fd);
	if (rc == 0)
		(void)close(fd);
	if (rc != -ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(path) == 0 ? 0 : -errno;
}

int praas_shm_sock_listen(const char *path, mode_t mode, int *ret_fd)
{
	struct sockaddr_un sun;
	int rc;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	fill(path, &sun);
	/* The mode is set on the socket before it is bound: the file is born with it. */
	if (fchmod(fd, mode) != 0)
		goto err_errno;
	rc = bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0 ? 0 : -errno;
	if (rc == -EADDRINUSE) {
		rc = remove_dead(path);
		if (rc == 0 &&
		    bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) != 0)
			rc = -errno;
	}
	if (rc != 0)
		goto err_close;
	if (chmod(path, mode) != 0 || listen(fd, BACKLOG) != 0) {
		rc = -errno;
		(void)unlink(path);
		goto err_close;
	}
	*ret_fd = fd;
	return 0;
err_errno:
	rc = -errno;
err_close:
	(void)close(fd);
	return rc;
}

int praas_shm_sock_send(int fd, const struct iovec *iov, unsigned iov_count,
			const int *fds, unsigned fds_count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(PRAAS_SHM_MSG_FDS * sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec copy[4];
	struct msghdr msg = { .msg_iov = copy, .msg_iovlen = iov_count };

	praas_check(iov_count <= 4);
	praas_check(fds_count <= PRAAS_SHM_MSG_FDS);
	memcpy(copy, iov, iov_count * sizeof(*iov));
	if (fds_count != 0) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(fds_count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fds_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fds_count * sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	switch (errno) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
	case EINTR:
		return -EAGAIN;
	case EMSGSIZE:
		return -EMSGSIZE;
	default:
		return -ECONNRESET;
	}
}

void praas_shm_datagram_close_fds(struct praas_shm_datagram *d)
{
	for (unsigned i = 0; i < d->fds_count; i++)
		if (d->fds[i] >= 0)
			(void)close(d->fds[i]);
	d->fds_count = 0;
}

/* Takes the descriptors out of the control block; more than fit are closed by the kernel. */
static void take_fds(struct msghdr *msg, struct praas_shm_datagram *d)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (d->fds_count < PRAAS_SHM_MSG_FDS)
				d->fds[d->fds_count++] = fd;
			else
				(void)close(fd);
		}
	}
}

int praas_shm_sock_recv(int fd, struct praas_shm_datagram *d)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(PRAAS_SHM_MSG_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = d->data, .iov_len = d->capacity };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	d->fds_count = 0;
	/* A peer that closed with unread datagrams resets; what it sent before can be read. */
	if (n < 0 && errno == ECONNRESET)
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ESHUTDOWN;
	if (n == 0)
		return -ESHUTDOWN;
	take_fds(&msg, d);
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		praas_shm_datagram_close_fds(d);
		return -EPROTO;
	}
	d->bytes = (size_t)n;
	return 0;
}
