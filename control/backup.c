/* SPDX-License-Identifier: Apache-2.0 */
#include "control/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/records/records.h"

#define ERROR_TEXT 256u
#define PATH_BYTES 4300
#define SECRET_MAX 4096 /* bytes of a key file */

static int fail(char *ret_text, const char *what, const char *path, int rc)
{
	(void)snprintf(ret_text, ERROR_TEXT, "%s %.150s: %s", what, path,
		       strerror(-rc));
	return rc;
}

static int path_of(const char *folder, const char *name, char ret_path[PATH_BYTES])
{
	int n = snprintf(ret_path, PATH_BYTES, "%s/%s", folder, name);

	return n < 0 || n >= PATH_BYTES ? -ENAMETOOLONG : 0;
}

/* What was written to a file or a folder is on the disk. */
static int sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		rc = -errno;
	(void)close(fd);
	return rc;
}

static int write_file(const char *path, const uint8_t *data, ssize_t bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = 0;

	if (fd < 0)
		return -errno;
	errno = ENOSPC; /* of a short write */
	if (write(fd, data, (size_t)bytes) != bytes || fsync(fd))
		rc = -errno;
	(void)close(fd);
	return rc;
}

/* A small file with a secret; one that is not there is none. */
static int copy_secret(const char *from, const char *to, const char *name,
		       char *ret_text)
{
	char source[PATH_BYTES], target[PATH_BYTES];
	uint8_t data[SECRET_MAX];
	int rc = path_of(from, name, source), fd;
	ssize_t n;

	if (rc == 0)
		rc = path_of(to, name, target);
	if (rc)
		return fail(ret_text, "path", to, rc);
	fd = open(source, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0
				       : fail(ret_text, "cannot read", source, -errno);
	n = read(fd, data, sizeof(data));
	rc = n < 0 ? -errno : n == sizeof(data) ? -EFBIG : 0;
	(void)close(fd);
	if (rc)
		return fail(ret_text, "cannot read", source, rc);
	rc = write_file(target, data, n);
	explicit_bzero(data, sizeof(data));
	return rc ? fail(ret_text, "cannot write", target, rc) : 0;
}

static const char *const names[] = { "records.db", "root.key", "admin.token" };

static void remove_all(const char *to, bool made)
{
	char path[PATH_BYTES];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (path_of(to, names[i], path) == 0)
			(void)unlink(path);
	if (made)
		(void)rmdir(to);
}

static int copy_all(const char *from, const char *to, char *ret_text)
{
	char records[PATH_BYTES], copy[PATH_BYTES];
	int rc = path_of(from, names[0], records);

	if (rc == 0)
		rc = path_of(to, names[0], copy);
	if (rc)
		return fail(ret_text, "path", to, rc);
	if (access(records, R_OK))
		return fail(ret_text, "no records:", records, -errno);
	rc = praas_records_sqlite_copy(records, copy, ret_text);
	if (rc)
		return rc;
	rc = chmod(copy, 0600) ? -errno : sync_path(copy);
	if (rc)
		return fail(ret_text, "cannot write", copy, rc);
	for (size_t i = 1; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++)
		rc = copy_secret(from, to, names[i], ret_text);
	if (rc == 0 && (rc = sync_path(to)))
		return fail(ret_text, "cannot write", to, rc);
	return rc;
}

int praas_backup(const char *from, const char *to, char *ret_text)
{
	bool made = mkdir(to, 0700) == 0;
	int rc;

	ret_text[0] = 0;
	if (!made && errno != EEXIST)
		return fail(ret_text, "cannot make", to, -errno);
	/* Empty, if it can be made again. */
	if (!made && (rmdir(to) || mkdir(to, 0700)))
		return fail(ret_text, "must be empty:", to, -errno);
	rc = copy_all(from, to, ret_text);
	if (rc)
		remove_all(to, made);
	return rc;
}
