/* SPDX-License-Identifier: Apache-2.0 */
#include "control/node/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

struct file {
	uint64_t id, bytes;
};

int praas_logs_cursor_parse(const char *text, struct praas_logs_cursor *ret_cursor)
{
	static const char digits[] = "0123456789abcdef";
	size_t first = strspn(text, digits);
	size_t second = text[first] == '-' ? strspn(text + first + 1, digits) : 0;

	if (first == 0 || first > 16 || second == 0 || second > 16 ||
	    text[first + 1 + second] != '\0')
		return -EINVAL;
	ret_cursor->file = strtoull(text, NULL, 16);
	ret_cursor->offset = strtoull(text + first + 1, NULL, 16);
	return 0;
}

void praas_logs_cursor_text(const struct praas_logs_cursor *cursor,
			    char ret_text[PRAAS_LOGS_CURSOR_BYTES])
{
	(void)snprintf(ret_text, PRAAS_LOGS_CURSOR_BYTES, "%" PRIx64 "-%" PRIx64,
		       cursor->file, cursor->offset); /* fits */
}

/* Which file it is, whatever its name; the number of one that is gone may be given again, so its
 * birth counts too. Never 0. */
static uint64_t identity(const struct statx *st)
{
	uint64_t born =
		(uint64_t)st->stx_btime.tv_sec * 1000000000u + st->stx_btime.tv_nsec;

	return (st->stx_ino * 0x9e3779b97f4a7c15u ^ born) | 1;
}

/* Opens NUMBER.log + suffix. An fd; -ENOENT; another errno. */
static int open_log(const char *folder, uint64_t number, const char *suffix,
		    struct file *ret_file)
{
	char path[PATH_BYTES];
	struct statx st;
	int rc = 0;
	int fd;

	if (snprintf(path, sizeof(path), "%s/%" PRIu64 ".log%s", folder, number,
		     suffix) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st) != 0)
		rc = -errno;
	else if (!S_ISREG(st.stx_mode))
		rc = -EIO;
	else
		*ret_file = (struct file){ .id = identity(&st), .bytes = st.stx_size };
	if (rc != 0)
		(void)close(fd); /* read only */
	return rc != 0 ? rc : fd;
}

/* The bytes from offset on, up to the end of the last whole line among them. */
static int read_lines(int fd, uint64_t offset, size_t bytes_max, char **ret_text,
		      size_t *ret_bytes)
{
	char *text = malloc(bytes_max + 1);
	size_t bytes = 0;
	ssize_t n = 1;

	if (!text)
		return -ENOMEM;
	while (n > 0 && bytes < bytes_max) {
		n = pread(fd, text + bytes, bytes_max - bytes, (off_t)(offset + bytes));
		if (n < 0 && errno != EINTR) {
			n = -errno;
			free(text);
			return (int)n;
		}
		bytes += n > 0 ? (size_t)n : 0;
	}
	/* What is written this very moment is for the next time; a line that is longer than
	 * all that may be sent goes in pieces. */
	for (n = (ssize_t)bytes; n > 0 && text[n - 1] != '\n'; n--)
		continue;
	if (n > 0 || bytes < bytes_max)
		bytes = (size_t)n;
	text[bytes] = '\0';
	*ret_text = text;
	*ret_bytes = bytes;
	return 0;
}

/* Where the last tail_bytes begin: behind the end of a line. */
static uint64_t tail_offset(int fd, uint64_t size, uint64_t tail_bytes)
{
	uint64_t at = size > tail_bytes ? size - tail_bytes : 0;
	char byte = '\n';

	while (at > 0 && at < size &&
	       (pread(fd, &byte, 1, (off_t)(at - 1)) != 1 || byte != '\n'))
		at++;
	return at;
}

/* The older file, when the reader has not finished it: an fd, else -ENOENT. */
static int open_older(const char *folder, uint64_t number,
		      const struct praas_logs_cursor *cursor)
{
	struct file file = { 0 };
	int fd = open_log(folder, number, ".1", &file);

	if (fd >= 0 && (file.id != cursor->file || file.bytes <= cursor->offset)) {
		(void)close(fd); /* read only */
		return -ENOENT;
	}
	return fd;
}

int praas_logs_read(const char *folder, uint64_t number, uint64_t tail_bytes,
		    size_t bytes_max, struct praas_logs_cursor *cursor, char **ret_text,
		    size_t *ret_bytes)
{
	bool began = cursor->file != 0;
	struct file file = { 0 };
	int fd = open_log(folder, number, "", &file);
	int older;
	int rc;

	if (fd < 0 && fd != -ENOENT)
		return fd;
	if (fd >= 0 && began && file.id != cursor->file) {
		older = open_older(folder, number, cursor);
		if (older >= 0) {
			(void)close(fd); /* read only */
			fd = older;
		} else {
			*cursor = (struct praas_logs_cursor){ .file = file.id };
		}
	}
	if (fd < 0) {
		*ret_bytes = 0;
		*ret_text = calloc(1, 1);
		return *ret_text ? 0 : -ENOMEM;
	}
	if (!began)
		*cursor = (struct praas_logs_cursor){
			.file = file.id,
			.offset = tail_offset(fd, file.bytes, tail_bytes)
		};
	rc = read_lines(fd, cursor->offset, bytes_max, ret_text, ret_bytes);
	(void)close(fd); /* read only */
	if (rc == 0)
		cursor->offset += *ret_bytes;
	return rc;
}
