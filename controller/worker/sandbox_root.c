/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's file system: a tmpfs with the system's libraries and the code folder bound into it
 * read-only, and a private /tmp. No /proc, /dev, /etc. Sources are opened before anything is
 * mounted, so that it does not matter what the new root covers.
 */
#include "controller/worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Any folder that exists everywhere does: it is covered in our own mount namespace alone. */
#define STAGE "/usr"

struct source {
	char path[PATH_MAX]; /* from the root, absolute */
	char link[PATH_MAX]; /* not "": it is a symbolic link to that */
	int tree;            /* detached copy of the mount; -1: a link, or absent */
};

static int source_open(struct source *src, const char *path)
{
	struct stat st;
	ssize_t n;

	*src = (struct source){ .tree = -1 };
	(void)snprintf(src->path, sizeof(src->path), "%s", path);
	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISLNK(st.st_mode)) {
		n = readlink(path, src->link, sizeof(src->link) - 1);
		if (n < 0)
			return -errno;
		src->link[n] = '\0';
		return 0;
	}
	src->tree = open_tree(AT_FDCWD, path,
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	return src->tree < 0 ? -errno : 0;
}

/* mkdir -p below the current folder. path is absolute. */
static int make_dirs(const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n < 2 || n >= sizeof(part))
		return -EINVAL;
	memcpy(part, path, n + 1);
	for (size_t i = 2; i <= n; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		part[i] = '\0';
		if (mkdir(part + 1, 0755) != 0 && errno != EEXIST)
			return -errno;
		part[i] = path[i];
	}
	return 0;
}

static int read_only(int fd)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
					       MOUNT_ATTR_NODEV };

	return mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
			     sizeof(attr)) != 0
		       ? -errno
		       : 0;
}

static int source_place(const struct source *src)
{
	int rc;

	if (src->link[0] && symlink(src->link, src->path + 1) != 0)
		return -errno;
	if (src->tree < 0)
		return 0;
	rc = read_only(src->tree);
	if (rc == 0)
		rc = make_dirs(src->path);
	/* A folder inside one that is bound already is there, and the mount is read-only. */
	if (rc == -EROFS)
		return 0;
	if (rc == 0 && move_mount(src->tree, "", AT_FDCWD, src->path + 1,
				  MOVE_MOUNT_F_EMPTY_PATH) != 0)
		rc = -errno;
	return rc;
}

static int stage(const struct praas_sandbox *s)
{
	char options[96];

	(void)umask(
		022); /* whoever started us may want more privacy than a root folder has */
	if (mount("praas-root", STAGE, "tmpfs", MS_NOSUID | MS_NODEV,
		  "size=64k,nr_inodes=128,mode=0755") != 0 ||
	    chdir(STAGE) != 0 || mkdir("tmp", 0755) != 0)
		return -errno;
	(void)snprintf(options, sizeof(options), "size=%llu,nr_inodes=1024,mode=1777",
		       (unsigned long long)s->tmp_bytes);
	if (mount("praas-tmp", "tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  options) != 0)
		return -errno;
	return 0;
}

/* Change the root to the stage and let the old one go. */
static int pivot(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 ||
	    chdir("/") != 0)
		return -errno;
	if (mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof(attr)) != 0)
		return -errno;
	return 0;
}

int praas_sandbox_root(struct praas_sandbox *s)
{
	static const char *const system_dirs[] = { "/usr/lib", "/usr/lib64", "/lib",
						   "/lib64" };
	enum { SYSTEM_DIRS = sizeof(system_dirs) / sizeof(system_dirs[0]) };
	struct source *src = calloc(SYSTEM_DIRS + 1, sizeof(*src));
	size_t count = 0;
	int rc;

	if (!src)
		return -ENOMEM;
	/* Whatever the controller's is: folders are for a uid that does not own them. */
	(void)umask(022);
	/* Nothing of ours may show in the host's namespace. */
	rc = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ? -errno : 0;
	for (; rc == 0 && count < SYSTEM_DIRS; count++)
		rc = source_open(&src[count], system_dirs[count]);
	if (rc == 0) {
		rc = source_open(&src[count], s->code);
		count++;
	}
	if (rc == 0)
		rc = stage(s);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = source_place(&src[i]);
	if (rc == 0)
		rc = pivot();
	for (size_t i = 0; i < count; i++)
		if (src[i].tree >= 0)
			(void)close(src[i].tree); /* mounted, or given up */
	free(src);
	s->private_root = rc == 0;
	return rc;
}
