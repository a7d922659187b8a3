/* SPDX-License-Identifier: Apache-2.0
 *
 * The socket of the link.
 */
#include "control/node/link_private.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/patience.h"

static int try_to_listen(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = 0;

	if (fd < 0)
		return -errno;
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		rc = -EADDRINUSE;
	else
		(void)unlink(path); /* a crash left it */
	if (rc == 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		rc = -errno;
	if (rc == 0 && (chmod(path, 0600) || listen(fd, SOMAXCONN)))
		rc = -errno;
	if (rc) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

int praas_link_listen(const char *path)
{
	struct praas_patience patience = { 0 };
	int fd = try_to_listen(path);

	while (fd == -EADDRINUSE && praas_patience_left(&patience))
		fd = try_to_listen(path);
	return fd;
}
