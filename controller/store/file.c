/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/store/file_write.h"
#include "controller/store/store.h"
#include "internal/base.h"

/*
 * A store in a folder: an object is a file. It is written without a name (O_TMPFILE), synced, and
 * then linked to its name, which exactly one writer can do; then the folder is synced. So what
 * has a name is whole, and a crash leaves nothing behind. Where the file system has no unnamed
 * files a hidden name (".new-…", which no object can have) stands in.
 */

#define DIRECT_BYTES_MIN (256u * 1024u) /* below, the page cache is as fast */
#define TEMP_NAME_MAX 32u

struct file_store {
	struct praas_store base;
	int root_fd;
};

/* A file being written. */
struct draft {
	int fd;
	int dir_fd;
	bool direct;
	char temp[TEMP_NAME_MAX]; /* "" when it has no name */
};

static struct file_store *file_store_of(struct praas_store *s)
{
	return (struct file_store *)(void *)s;
}

/* Folder and last part of a checked name. */
static void split(const char *key, char ret_dir[PRAAS_STORE_KEY_MAX + 2],
		  const char **ret_name)
{
	const char *slash = strrchr(key, '/');
	size_t bytes = slash ? (size_t)(slash - key) : 0;

	memcpy(ret_dir, key, bytes);
	ret_dir[bytes] = '\0';
	*ret_name = slash ? slash + 1 : key;
	if (bytes == 0)
		memcpy(ret_dir, ".", 2);
}

static int sync_fd(int fd)
{
	return fsync(fd) == 0 ? 0 : praas_file_error(errno);
}

/* Makes one folder of a path and its name durable. */
static int make_folder(const struct file_store *f, const char *path)
{
	char dir[PRAAS_STORE_KEY_MAX + 2];
	const char *name;
	int fd, rc;

	if (mkdirat(f->root_fd, path, 0700) != 0 && errno != EEXIST)
		return praas_file_error(errno);
	split(path, dir, &name);
	fd = openat(f->root_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return praas_file_error(errno);
	rc = sync_fd(fd);
	(void)close(fd); /* read-only folder */
	return rc;
}

/* Opens the folder of a name; make: creates what is missing on the way, durably. */
static int open_folder(const struct file_store *f, const char *dir, bool make,
		       int *ret_fd)
{
	char path[PRAAS_STORE_KEY_MAX + 2];
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
	int fd = openat(f->root_fd, dir, flags), rc;

	if (fd < 0 && errno == ENOENT && make) {
		memcpy(path, dir, strlen(dir) + 1);
		for (char *p = path; *p != '\0'; p++) {
			if (*p != '/')
				continue;
			*p = '\0';
			rc = make_folder(f, path);
			if (rc != 0)
				return rc;
			*p = '/';
		}
		rc = make_folder(f, path);
		if (rc != 0)
			return rc;
		fd = openat(f->root_fd, dir, flags);
	}
	if (fd < 0)
		return praas_file_error(errno);
	*ret_fd = fd;
	return 0;
}

/* A file under a hidden name, for file systems without O_TMPFILE. */
static int draft_named(struct draft *d)
{
	uint64_t random = 0;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	(void)snprintf(d->temp, sizeof(d->temp), ".new-%016" PRIx64, random); /* fits */
	d->fd = openat(d->dir_fd, d->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return d->fd >= 0 ? 0 : praas_file_error(errno);
}

static int draft_open(const struct file_store *f, const char *dir, bool direct,
		      struct draft *ret_draft)
{
	struct draft d = { .fd = -1, .dir_fd = -1, .direct = direct };
	int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
	int rc = open_folder(f, dir, true, &d.dir_fd);

	if (rc != 0)
		return rc;
	d.fd = openat(d.dir_fd, ".", flags | (direct ? O_DIRECT : 0), 0600);
	if (d.fd < 0 && direct && errno == EINVAL) {
		d.direct = false; /* a file system that has no direct writes */
		d.fd = openat(d.dir_fd, ".", flags, 0600);
	}
	if (d.fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		d.direct = false;
		rc = draft_named(&d);
	} else if (d.fd < 0) {
		rc = praas_file_error(errno);
	}
	if (rc != 0) {
		(void)close(d.dir_fd); /* read-only folder */
		return rc;
	}
	*ret_draft = d;
	return 0;
}

static void draft_release(struct draft *d)
{
	if (d->temp[0] != '\0')
		(void)unlinkat(d->dir_fd, d->temp,
			       0); /* a left-over is hidden from all */
	(void)close(d->fd);        /* synced before, or of no use */
	(void)close(d->dir_fd);
}

static int link_draft(const struct draft *d, int dir_fd, const char *name)
{
	char path[64];

	if (d->temp[0] != '\0')
		return linkat(d->dir_fd, d->temp, dir_fd, name, 0);
	if (linkat(d->fd, "", dir_fd, name, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno == EEXIST)
		return -1;
	/* Without CAP_DAC_READ_SEARCH older kernels want the way through /proc. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", d->fd); /* fits */
	return linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW);
}

/* Durable under its name. 0; -EEXIST somebody else has the name. */
static int draft_publish(const struct draft *d, int dir_fd, const char *name)
{
	int rc = sync_fd(d->fd), sync_rc;

	if (rc != 0)
		return rc;
	if (link_draft(d, dir_fd, name) != 0)
		rc = praas_file_error(errno);
	if (rc != 0 && rc != -EEXIST)
		return rc;
	/* Also the name that somebody else made, who may not have come so far: what is said to exist
	 * is built on. */
	sync_rc = sync_fd(dir_fd);
	return sync_rc != 0 ? sync_rc : rc;
}

static int file_put_if_absent(struct praas_store *s, const char *key, const void *data,
			      size_t bytes)
{
	struct file_store *f = file_store_of(s);
	char dir[PRAAS_STORE_KEY_MAX + 2];
	struct draft d = { .fd = -1 };
	const char *name;
	int rc = praas_store_key_check(key);

	if (rc != 0)
		return rc;
	split(key, dir, &name);
	rc = draft_open(f, dir, false, &d);
	if (rc != 0)
		return rc;
	rc = praas_file_write_small(d.fd, data, bytes);
	if (rc == 0)
		rc = draft_publish(&d, d.dir_fd, name);
	if (rc == 0)
		s->bytes_written += bytes;
	draft_release(&d);
	return rc;
}

/* The file is made in the root, since the name is known only when all is written; a link
 * may go to another folder of the same file system. */
static int file_put(struct praas_store *s, const struct praas_store_source *source)
{
	struct file_store *f = file_store_of(s);
	char key[PRAAS_STORE_KEY_MAX + 1], dir[PRAAS_STORE_KEY_MAX + 2];
	struct draft d = { .fd = -1 };
	const char *name;
	int dir_fd = -1;
	int rc = draft_open(f, ".", source->bytes >= DIRECT_BYTES_MIN, &d);

	if (rc != 0)
		return rc;
	rc = praas_file_write_source(d.fd, source, d.direct);
	if (rc == 0)
		rc = source->name(source->user, key);
	if (rc == 0)
		rc = praas_store_key_check(key);
	if (rc != 0)
		goto out;
	split(key, dir, &name);
	rc = open_folder(f, dir, true, &dir_fd);
	if (rc != 0)
		goto out;
	rc = draft_publish(&d, dir_fd, name);
	(void)close(dir_fd); /* read-only folder */
	if (rc == -EEXIST)
		rc = 0; /* the same content is there already */
	if (rc == 0)
		s->bytes_written += source->bytes;
out:
	draft_release(&d);
	return rc;
}

static int open_object(const struct file_store *f, const char *key, int *ret_fd)
{
	int rc = praas_store_key_check(key);

	if (rc != 0)
		return rc;
	*ret_fd = openat(f->root_fd, key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return *ret_fd >= 0 ? 0 : praas_file_error(errno);
}

static int file_get(struct praas_store *s, const char *key, uint64_t offset, void *data,
		    size_t bytes, size_t *ret_bytes)
{
	uint8_t *to = data;
	size_t got = 0;
	int fd = -1, rc = open_object(file_store_of(s), key, &fd);

	if (rc != 0)
		return rc;
	if (bytes > DIRECT_BYTES_MIN)
		(void)posix_fadvise(fd, (off_t)offset, (off_t)bytes,
				    POSIX_FADV_SEQUENTIAL); /* a hint */
	while (got < bytes) {
		ssize_t n = pread(fd, to + got, bytes - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = praas_file_error(errno);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	(void)close(fd); /* read only */
	if (rc != 0)
		return rc;
	s->bytes_read += got;
	*ret_bytes = got;
	return 0;
}

/* A link: the file system counts them, so each store removes its own. */
static int file_share(struct praas_store *s, struct praas_store *from, const char *key)
{
	struct file_store *f = file_store_of(s), *other = file_store_of(from);
	char dir[PRAAS_STORE_KEY_MAX + 2];
	const char *name;
	int dir_fd = -1, rc = praas_store_key_check(key);

	if (rc != 0)
		return rc;
	split(key, dir, &name);
	rc = open_folder(f, dir, true, &dir_fd);
	if (rc != 0)
		return rc;
	if (linkat(other->root_fd, key, dir_fd, name, 0) != 0 && errno != EEXIST)
		rc = errno == EMLINK || errno == EPERM || errno == EXDEV
			     ? -EXDEV
			     : praas_file_error(errno);
	if (rc == 0)
		rc = sync_fd(dir_fd);
	(void)close(dir_fd); /* read-only folder */
	return rc;
}

static int file_stat(struct praas_store *s, const char *key, uint64_t *ret_bytes)
{
	struct stat st;
	int rc = praas_store_key_check(key);

	if (rc != 0)
		return rc;
	if (fstatat(file_store_of(s)->root_fd, key, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return praas_file_error(errno);
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

/* All names of a folder that begin with part, sorted; malloc'd strings in a malloc'd array. */
static int read_names(DIR *dir, const char *part, char ***ret_names, size_t *ret_count)
{
	size_t count = 0, room = 0, part_bytes = strlen(part);
	char **names = NULL;
	const struct dirent *e;

	while ((e = readdir(dir)) != NULL) {
		char *name;

		if (e->d_name[0] == '.' || strncmp(e->d_name, part, part_bytes) != 0 ||
		    e->d_type == DT_DIR)
			continue;
		if (count == room) {
			char **more;

			room = room ? room * 2 : 64;
			more = realloc(names, room * sizeof(*names));
			if (!more)
				goto err_names;
			names = more;
		}
		name = strdup(e->d_name);
		if (!name)
			goto err_names;
		names[count++] = name;
	}
	if (count > 1)
		qsort(names, count, sizeof(*names), by_name);
	*ret_names = names;
	*ret_count = count;
	return 0;

err_names:
	while (count > 0)
		free(names[--count]);
	free(names);
	return -ENOMEM;
}

static int file_list(struct praas_store *s, const char *prefix, const char *after,
		     praas_store_list_fn fn, void *user)
{
	char path[PRAAS_STORE_KEY_MAX + 2], key[PRAAS_STORE_KEY_MAX + 256 + 2];
	const char *part;
	char **names = NULL;
	size_t count = 0, folder_bytes;
	int fd = -1, rc;
	DIR *dir;

	if (strlen(prefix) > PRAAS_STORE_KEY_MAX || strstr(prefix, "..") ||
	    prefix[0] == '/')
		return -EINVAL;
	split(prefix, path, &part);
	folder_bytes = (size_t)(part - prefix);
	rc = open_folder(file_store_of(s), path, false, &fd);
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd); /* read-only folder */
		return -ENOMEM;
	}
	rc = read_names(dir, part, &names, &count);
	(void)closedir(dir); /* read-only folder */
	for (size_t i = 0; i < count; i++) {
		memcpy(key, prefix, folder_bytes);
		(void)snprintf(key + folder_bytes, sizeof(key) - folder_bytes, "%s",
			       names[i]);
		free(names[i]);
		if (rc == 0 && praas_store_key_check(key) == 0 &&
		    (!after || strcmp(key, after) > 0))
			rc = fn(user, key);
	}
	free(names);
	return rc;
}

static int file_delete(struct praas_store *s, const char *key)
{
	int rc = praas_store_key_check(key);

	if (rc != 0)
		return rc;
	if (unlinkat(file_store_of(s)->root_fd, key, 0) != 0 && errno != ENOENT)
		return praas_file_error(errno);
	return 0; /* not synced: who deletes what nobody needs may do it again */
}

static void file_free(struct praas_store *s)
{
	struct file_store *f = file_store_of(s);

	(void)close(f->root_fd); /* read-only folder */
	free(f);
}

static const struct praas_store_ops file_ops = {
	.scheme = "file",
	.put_if_absent = file_put_if_absent,
	.put = file_put,
	.get = file_get,
	.share = file_share,
	.stat = file_stat,
	.list = file_list,
	.delete = file_delete,
	.free = file_free,
};

/* Like mkdir -p, each new folder private to us. */
static int make_path(const char *path)
{
	char part[PRAAS_STORE_URL_MAX + 1];
	size_t bytes = strlen(path);
	int rc;

	if (path[0] != '/' || bytes >= sizeof(part))
		return -EINVAL;
	for (size_t i = 1; i <= bytes; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) == 0 || errno == EEXIST)
			continue;
		rc = errno;
		/* What exists may lie where nothing can be made; what does not, fails for that. */
		if ((rc != EROFS && rc != EACCES) || access(part, F_OK) != 0)
			return praas_file_error(rc);
	}
	return 0;
}

int praas_store_file_open(const char *path, struct praas_store **ret_store)
{
	int rc, fd = -1;
	struct file_store *f;

	if (path[0] != '/')
		return -EINVAL;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		rc = make_path(path);
		if (rc != 0)
			return rc;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return praas_file_error(errno);
	f = calloc(1, sizeof(*f));
	if (!f) {
		(void)close(fd); /* read-only folder */
		return -ENOMEM;
	}
	f->base.ops = &file_ops;
	f->root_fd = fd;
	*ret_store = &f->base;
	return 0;
}
