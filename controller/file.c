/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int praas_file_read_fd(int fd, size_t bytes_max, char **ret_text, size_t *ret_bytes)
{
	size_t room = 4096, bytes = 0;
	char *text = malloc(room), *more;
	int rc = text ? 0 : -ENOMEM;

	while (rc == 0) {
		ssize_t n = read(fd, text + bytes, room - 1 - bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = -errno;
		if (n <= 0)
			break;
		bytes += (size_t)n;
		if (bytes > bytes_max)
			rc = -EMSGSIZE;
		if (bytes + 1 < room)
			continue;
		room *= 2;
		more = realloc(text, room);
		if (more)
			text = more;
		else
			rc = -ENOMEM;
	}
	if (rc != 0) {
		free(text);
		return rc;
	}
	text[bytes] = '\0';
	*ret_text = text;
	*ret_bytes = bytes;
	return 0;
}

int praas_file_read(const char *path, size_t bytes_max, char **ret_text,
		    size_t *ret_bytes)
{
	int rc, fd = open(path,
			  O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe: no wait */
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = -EINVAL;
	else
		rc = praas_file_read_fd(fd, bytes_max, ret_text, ret_bytes);
	(void)close(fd); /* read only */
	return rc;
}
