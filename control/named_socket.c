/* SPDX-License-Identifier: Apache-2.0 */
#include "control/named_socket.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/patience.h"

#define SUFFIX ".new"

/* Nobody listens at path, or is to go on doing so. */
static int bind_at(int fd, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);

	if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	(void)unlink(path); /* a crash left it */
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || chmod(path, 0600) ||
	    listen(fd, SOMAXCONN))
		return -errno;
	return 0;
}

static int bind_new(int fd, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return -EADDRINUSE;
	return bind_at(fd, path);
}

/* Under another name first: there is no moment in which nobody listens, or does not yet. */
static int bind_over(int fd, const char *path)
{
	char beside[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int n = snprintf(beside, sizeof(beside), "%s" SUFFIX, path);
	int rc;

	if (n < 0 || (size_t)n >= sizeof(beside))
		return -ENAMETOOLONG;
	rc = bind_at(fd, beside);
	if (rc == 0 && rename(beside, path))
		rc = -errno;
	return rc;
}

static int try_to_open(const char *path, bool replace,
		       struct praas_named_socket *ret_socket)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;
	int rc;

	if (fd < 0)
		return -errno;
	rc = replace ? bind_over(fd, path) : bind_new(fd, path);
	if (rc == 0 && stat(path, &st))
		rc = -errno;
	if (rc) {
		(void)close(fd);
		return rc;
	}
	*ret_socket = (struct praas_named_socket){ .fd = fd, .inode = st.st_ino };
	return 0;
}

int praas_named_socket_open(const char *path, bool replace,
			    struct praas_named_socket *ret_socket)
{
	struct praas_patience patience = { 0 };
	int rc = try_to_open(path, replace, ret_socket);

	while (rc == -EADDRINUSE && praas_patience_left(&patience))
		rc = try_to_open(path, replace, ret_socket);
	return rc;
}

void praas_named_socket_close(const struct praas_named_socket *socket, const char *path)
{
	struct stat st;

	if (socket->fd < 0)
		return;
	if (stat(path, &st) == 0 && st.st_ino == socket->inode)
		(void)unlink(path);
	(void)close(socket->fd);
}
