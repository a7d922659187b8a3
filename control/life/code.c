/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/code.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control/limits.h"
#include "control/tenants/keys.h"

#define BLOCK_BYTES (64u * 1024)
#define PATH_BYTES 8192u

struct copy {
	const char *from, *to;
	int from_fd;
	uint8_t digest[PRAAS_CODE_DIGEST_BYTES];
	char *block; /* BLOCK_BYTES */
	char *text;  /* PRAAS_CODE_TEXT_BYTES */
	uint64_t bytes;
	uint32_t count;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct copy *c,
							const char *format, ...);

static int refuse(struct copy *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(c->text, PRAAS_CODE_TEXT_BYTES, format, args); /* may be cut */
	va_end(args);
	return -EINVAL;
}

/* Of a file of the folder: what is wrong with it, or with us. */
static int failed(struct copy *c, const char *name, int error)
{
	if (error == ENOMEM || error == EMFILE || error == ENFILE || error == EIO ||
	    error == ENOSPC || error == EDQUOT)
		return -error;
	if (error == ELOOP || error == EXDEV)
		return refuse(c, "%.200s leads out of the folder", name);
	return refuse(c, "%.200s: %s", name, strerror(error));
}

/* Never a file outside of the folder, whatever changes meanwhile. */
static int open_below(int folder, const char *name)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, folder, name, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const char *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0 && errno != EINTR)
			return -errno;
		data += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* The digest of what there was, and of what comes next. */
static void hash(struct copy *c, const void *data, size_t bytes)
{
	uint8_t both[2 * PRAAS_CODE_DIGEST_BYTES];

	memcpy(both, c->digest, sizeof(c->digest));
	praas_hash(data, bytes, both + sizeof(c->digest));
	praas_hash(both, sizeof(both), c->digest);
}

/* A whole block, or the end of the file. Bytes; negative errno. */
static ssize_t read_block(int fd, char *block)
{
	size_t have = 0;

	while (have < BLOCK_BYTES) {
		ssize_t n = read(fd, block + have, BLOCK_BYTES - have);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		have += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)have;
}

static int too_large(struct copy *c)
{
	return refuse(c, "the folder has more than %u MiB",
		      PRAAS_LIMIT_CODE_ALL_BYTES >> 20);
}

/* All of one file; its length is hashed last, so a content cannot be taken for a name. */
static int pour(struct copy *c, const char *name, int in, int out)
{
	uint64_t bytes = 0;
	ssize_t n;
	int rc = 0;

	while (rc == 0 && (n = read_block(in, c->block)) > 0) {
		bytes += (uint64_t)n;
		c->bytes += (uint64_t)n;
		if (c->bytes > PRAAS_LIMIT_CODE_ALL_BYTES)
			return too_large(c); /* it grows */
		hash(c, c->block, (size_t)n);
		rc = write_all(out, c->block, (size_t)n);
	}
	if (rc == 0 && n < 0)
		return failed(c, name, (int)-n);
	hash(c, &bytes, sizeof(bytes));
	return rc == 0 && fsync(out) ? -errno : rc;
}

/* name: below the folder. */
static int copy_file(struct copy *c, const char *name, const char *to)
{
	int in = open_below(c->from_fd, name), out = -1, rc = 0;
	struct stat st;

	if (in < 0)
		return failed(c, name, -in);
	if (fstat(in, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = refuse(c, "%.200s is no file", name);
	else if (c->bytes + (uint64_t)st.st_size > PRAAS_LIMIT_CODE_ALL_BYTES)
		rc = too_large(c);
	if (rc == 0) {
		out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		rc = out < 0 ? -errno : 0;
	}
	if (rc == 0) {
		hash(c, name, strlen(name));
		rc = pour(c, name, in, out);
	}
	if (rc == 0 && fchmod(out, st.st_mode & 0777)) /* workers read as others */
		rc = -errno;
	if (out >= 0 && close(out) && rc == 0)
		rc = -errno;
	(void)close(in); /* only read */
	return rc;
}

static int sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = fsync(fd) ? -errno : 0;
	(void)close(fd); /* only read */
	return rc;
}

static int copy_entry(struct copy *c, const FTSENT *e)
{
	size_t skip = strlen(c->from) + 1;
	const char *name = e->fts_level > 0 ? e->fts_path + skip : "";
	char to[PATH_BYTES];

	if (e->fts_level > PRAAS_LIMIT_CODE_DEPTH)
		return refuse(c, "%.200s: folders are nested more than %d deep", name,
			      PRAAS_LIMIT_CODE_DEPTH);
	if (e->fts_info != FTS_DP && ++c->count > PRAAS_LIMIT_CODE_FILES)
		return refuse(c, "the folder has more than %u files",
			      PRAAS_LIMIT_CODE_FILES);
	if ((size_t)snprintf(to, sizeof(to), "%s%s%s", c->to, name[0] ? "/" : "",
			     name) >= sizeof(to))
		return refuse(c, "%.200s has too long a name", name);
	switch (e->fts_info) {
	case FTS_D:
		return mkdir(to, 0700) || chmod(to, 0755) ? -errno : 0;
	case FTS_DP:
		return sync_folder(to);
	case FTS_F:
	case FTS_SL:
		return copy_file(c, name, to);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return failed(c, name[0] ? name : c->from, e->fts_errno);
	default:
		return refuse(c, "%.200s is no file", name);
	}
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* In the order of names: the digest is the same for the same. */
static int copy_tree(struct copy *c)
{
	char *roots[] = { (char *)(uintptr_t)c->from, NULL };
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	FTSENT *e;
	int rc = 0;

	if (!tree)
		return -errno;
	while (rc == 0 && (e = fts_read(tree)))
		rc = copy_entry(c, e);
	if (rc == 0 && errno)
		rc = -errno;   /* fts_read() clears it at the end */
	(void)fts_close(tree); /* nothing was written by it */
	return rc;
}

static void parent_of(const char *folder, char ret_parent[PATH_BYTES])
{
	char *slash;

	(void)snprintf(ret_parent, PATH_BYTES, "%s", folder);
	slash = strrchr(ret_parent, '/');
	if (slash)
		*slash = 0;
}

/* The folder of the application's revisions, and that of all applications. */
static int sync_above(const char *to)
{
	char parent[PATH_BYTES], above[PATH_BYTES];
	int rc;

	parent_of(to, parent);
	parent_of(parent, above);
	rc = sync_folder(parent);
	return rc ? rc : sync_folder(above);
}

int praas_code_copy(const char *from, const char *to,
		    uint8_t ret_digest[PRAAS_CODE_DIGEST_BYTES],
		    char ret_text[PRAAS_CODE_TEXT_BYTES])
{
	struct copy c = { .from = from, .to = to, .text = ret_text, .from_fd = -1 };
	char parent[PATH_BYTES];
	int rc;

	ret_text[0] = 0;
	parent_of(to, parent);
	if (mkdir(parent, 0700) && errno != EEXIST)
		return -errno;
	c.from_fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.from_fd < 0)
		return failed(&c, from, errno);
	c.block = malloc(BLOCK_BYTES);
	rc = c.block ? copy_tree(&c) : -ENOMEM;
	if (rc == 0)
		rc = sync_above(to);
	free(c.block);
	(void)close(c.from_fd); /* only read */
	if (rc == 0)
		memcpy(ret_digest, c.digest, sizeof(c.digest));
	else
		(void)praas_code_remove(to); /* else the next deployment does */
	return rc;
}

int praas_code_remove(const char *folder)
{
	char *roots[] = { (char *)(uintptr_t)folder, NULL };
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *e;
	int rc = 0;

	if (!tree)
		return -EIO;
	while ((e = fts_read(tree))) {
		if (e->fts_info == FTS_D)
			continue;
		if (remove(e->fts_accpath) && errno != ENOENT)
			rc = -EIO;
	}
	(void)fts_close(tree); /* nothing was written by it */
	return rc;
}
