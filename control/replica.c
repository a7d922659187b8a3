/* SPDX-License-Identifier: Apache-2.0 */
#include "control/replica.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/names.h"
#include "internal/base.h"

#define HALF ((PRAAS_REPLICA_PLACE - 1) / 2)
#define HEAD "replica-"
#define PATH_BYTES (4096u + sizeof(HEAD) + PRAAS_REPLICA_PLACE + 8u)

static void path_of(const struct praas_replica *r, const char *place, const char *tail,
		    char ret_path[PATH_BYTES])
{
	(void)snprintf(ret_path, PATH_BYTES, "%s/" HEAD "%.32s%s", r->data, place,
		       tail);
}

int praas_replica_open(const char *data, const char *folder,
		       struct praas_replica *ret_replica)
{
	struct praas_replica *r = ret_replica;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char fresh[PATH_BYTES], path[PATH_BYTES], hex[HALF + 1];
	uint8_t random[HALF / 2];
	int rc = 0;

	praas_random(random, sizeof(random));
	praas_hex_encode(random, sizeof(random), hex);
	(void)snprintf(r->data, sizeof(r->data), "%s", data);
	(void)snprintf(r->folder, sizeof(r->folder), "%s", folder);
	(void)snprintf(r->place, sizeof(r->place), "%.16s%s", folder, hex);
	path_of(r, r->place, ".new", fresh);
	path_of(r, r->place, "", path);
	r->fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (r->fd < 0)
		return -errno;
	/* Locked before it is there: who sees it without a lock sees the end of a service. */
	if (fcntl(r->fd, F_SETLK, &lock) || rename(fresh, path))
		rc = -errno;
	if (rc) {
		(void)unlink(fresh);
		(void)close(r->fd);
		r->fd = -1;
	}
	return rc;
}

void praas_replica_close(struct praas_replica *replica)
{
	char path[PATH_BYTES];

	if (replica->fd < 0)
		return;
	path_of(replica, replica->place, "", path);
	(void)unlink(path);
	(void)close(replica->fd);
	replica->fd = -1;
}

/* 1; 0 it lives; an errno. */
static int ended(const char *path)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return errno == ENOENT ? 1 : -errno;
	rc = fcntl(fd, F_GETLK, &lock) ? -errno : lock.l_type == F_UNLCK;
	(void)close(fd);
	return rc;
}

int praas_replica_ended(const struct praas_replica *replica, const char *owner)
{
	char path[PATH_BYTES];

	if (strncmp(owner, replica->folder, HALF) != 0 ||
	    strspn(owner, "0123456789abcdef") != PRAAS_REPLICA_PLACE - 1)
		return -EXDEV;
	/* One that had the folder alone: it cannot be there any more. */
	if (strncmp(owner, replica->folder, PRAAS_REPLICA_PLACE - 1) == 0)
		return 1;
	/* Our own file must not be closed: that would unlock it. */
	if (strncmp(owner, replica->place, PRAAS_REPLICA_PLACE - 1) == 0)
		return 0;
	path_of(replica, owner, "", path);
	return ended(path);
}

/* Of one of them that is not ours. */
static bool lives(const struct praas_replica *r, const char *name)
{
	const char *place = name + sizeof(HEAD) - 1;
	char path[PATH_BYTES];
	int rc;

	if (strncmp(name, HEAD, sizeof(HEAD) - 1) != 0 ||
	    strlen(place) != PRAAS_REPLICA_PLACE - 1 || strcmp(place, r->place) == 0)
		return false;
	path_of(r, place, "", path);
	rc = ended(path);
	if (rc == 1)
		(void)unlink(path);
	return rc == 0;
}

bool praas_replica_others(const struct praas_replica *replica)
{
	DIR *dir = opendir(replica->data);
	const struct dirent *entry;
	bool any = false;

	if (!dir)
		return false;
	while (!any && (entry = readdir(dir)) != NULL)
		any = lives(replica, entry->d_name);
	(void)closedir(dir);
	return any;
}
