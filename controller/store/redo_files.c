/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/store/file_write.h"
#include "controller/store/redo_private.h"
#include "internal/base.h"

/*
 * The folder "redo" in the store's: t-<epoch>, the tokens; f-<epoch>-<first record>, the files. A file is made under
 * another name ("new-…"), so that one with its name has its head and blocks. Blocks are written with zeros in advance:
 * a sync has no size of a file to put down then, and a full disk shows early.
 */

#define FOLDER "redo"
#define NAME_ROOM 48u
#define AHEAD (1u << 20)
#define ZEROS (64u << 10)
#define FILE_BYTES_MAX /* a batch is written to one file */                            \
	(PRAAS_REDO_FILE_BYTES + PRAAS_REDO_PENDING_MAX + PRAAS_REDO_RECORD_MAX +      \
	 2u * AHEAD)

static const uint8_t zeros[ZEROS];

static int fault(const struct praas_redo_files *f, enum praas_redo_step step)
{
	const struct praas_redo_config *c = f->config;

	return c->fault ? c->fault(c->fault_user, step) : 0;
}

static void token_name(uint32_t epoch, char ret_name[NAME_ROOM])
{
	(void)snprintf(ret_name, NAME_ROOM, "t-%010" PRIu32, epoch); /* fits */
}

static void file_name(const struct praas_redo_file *file, char ret_name[NAME_ROOM])
{
	(void)snprintf(ret_name, NAME_ROOM, "f-%010" PRIu32 "-%020" PRIu64, file->epoch,
		       file->first); /* fits */
}

static bool token_parse(const char *name, uint32_t *ret_epoch)
{
	char same[NAME_ROOM];

	if (strncmp(name, "t-", 2) != 0)
		return false;
	*ret_epoch = (uint32_t)strtoul(name + 2, NULL, 10);
	token_name(*ret_epoch, same);
	return strcmp(name, same) == 0;
}

static bool file_parse(const char *name, struct praas_redo_file *ret_file)
{
	char same[NAME_ROOM];

	if (strncmp(name, "f-", 2) != 0 || strlen(name) != 2 + 10 + 1 + 20)
		return false;
	ret_file->epoch = (uint32_t)strtoul(name + 2, NULL, 10);
	ret_file->first = strtoull(name + 2 + 10 + 1, NULL, 10);
	file_name(ret_file, same);
	return strcmp(name, same) == 0;
}

/* ---- writing ---- */

static int write_at(const struct praas_redo_files *f, int fd, const uint8_t *data,
		    size_t bytes, uint64_t at)
{
	int rc = fault(f, PRAAS_REDO_STEP_WRITE);
	ssize_t n;

	while (rc == 0 && bytes > 0) {
		n = pwrite(fd, data, bytes, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? -EIO : praas_file_error(errno);
		data += n;
		at += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return rc;
}

static int write_zeros(const struct praas_redo_files *f, int fd, uint64_t from,
		       uint64_t to)
{
	size_t bytes;
	int rc = 0;

	for (; rc == 0 && from < to; from += bytes) {
		bytes = (size_t)praas_min_u64(to - from, ZEROS);
		rc = write_at(f, fd, zeros, bytes, from);
	}
	return rc;
}

static int sync_data(const struct praas_redo_files *f, int fd)
{
	int rc = fault(f, PRAAS_REDO_STEP_SYNC);

	if (rc != 0)
		return rc;
	return fdatasync(fd) == 0 ? 0 : praas_file_error(errno);
}

/* -ESTALE: a successor has removed our token, and reads, or has read, what there is. */
static int check_token(const struct praas_redo_files *f)
{
	struct stat st;

	if (fstat(f->token_fd, &st) != 0)
		return praas_file_error(errno);
	return st.st_nlink == 0 ? -ESTALE : 0;
}

int praas_redo_files_write(struct praas_redo_files *f, const uint8_t *data,
			   size_t bytes)
{
	uint64_t end = f->at + bytes;
	int rc = 0;

	if (end + PRAAS_REDO_HEAD_BYTES > f->zeros) {
		rc = write_zeros(f, f->fd, praas_max_u64(end, f->zeros), end + AHEAD);
		f->zeros = end + AHEAD;
	}
	if (rc == 0)
		rc = write_at(f, f->fd, data, bytes, f->at);
	if (rc == 0)
		rc = sync_data(f, f->fd);
	if (rc == 0)
		rc = fault(f, PRAAS_REDO_STEP_FENCE);
	if (rc == 0)
		rc = check_token(f);
	if (rc == 0)
		f->at = end;
	return rc;
}

bool praas_redo_files_full(const struct praas_redo_files *f)
{
	uint32_t bytes = f->config->file_bytes;

	return f->at > (bytes ? bytes : PRAAS_REDO_FILE_BYTES);
}

/* The file of that head, under a name that nobody reads, then under its own. */
static int make_file(const struct praas_redo_files *f,
		     const struct praas_redo_head *head, int *ret_fd)
{
	const struct praas_redo_file file = { .epoch = head->epoch,
					      .first = head->first };
	uint8_t data[PRAAS_REDO_FILE_HEAD_BYTES];
	char name[NAME_ROOM], temp[NAME_ROOM];
	int fd, rc;

	file_name(&file, name);
	(void)snprintf(temp, sizeof(temp), "new-%010" PRIu32, head->epoch); /* fits */
	fd = openat(f->dir_fd, temp,
		    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return praas_file_error(errno);
	praas_redo_head_encode(head, data);
	rc = write_at(f, fd, data, sizeof(data), 0);
	if (rc == 0)
		rc = write_zeros(f, fd, sizeof(data), sizeof(data) + AHEAD);
	if (rc == 0)
		rc = sync_data(f, fd);
	if (rc == 0 && renameat(f->dir_fd, temp, f->dir_fd, name) != 0)
		rc = praas_file_error(errno);
	if (rc == 0 && fsync(f->dir_fd) != 0)
		rc = praas_file_error(errno);
	if (rc == 0) {
		*ret_fd = fd;
		return 0;
	}
	(void)unlinkat(f->dir_fd, temp, 0); /* what stays is overwritten, or removed */
	(void)close(fd);                    /* of no use any more */
	return rc;
}

int praas_redo_files_next(struct praas_redo_files *f, uint64_t first)
{
	struct praas_redo_head head = { .id = f->config->id,
					.epoch = f->config->epoch,
					.note = f->note,
					.first = first };
	int fd = -1, rc;

	if (f->count >= sizeof(f->list) / sizeof(f->list[0]))
		return -ENOBUFS;
	if (getrandom(&head.salt, sizeof(head.salt), 0) != (ssize_t)sizeof(head.salt))
		return -EIO;
	rc = make_file(f, &head, &fd);
	/* Who fences us also removes what we have half made. */
	if (rc != 0)
		return check_token(f) == -ESTALE ? -ESTALE : rc;
	if (f->fd >= 0)
		(void)close(f->fd); /* synced */
	f->fd = fd;
	f->head = head;
	f->at = PRAAS_REDO_FILE_HEAD_BYTES;
	f->zeros = f->at + AHEAD;
	f->list[f->count++] = (struct praas_redo_file){ head.epoch, first };
	return 0;
}

void praas_redo_files_trim(struct praas_redo_files *f, uint64_t sequence)
{
	char name[NAME_ROOM];
	unsigned gone = 0;

	/* Each ends where the next one begins. The oldest first: there is no gap, whenever it is killed. */
	while (gone + 1 < f->count && f->list[gone + 1].first <= sequence + 1) {
		file_name(&f->list[gone], name);
		if (unlinkat(f->dir_fd, name, 0) != 0 && errno != ENOENT)
			break;
		gone++;
	}
	f->count -= gone;
	memmove(f->list, f->list + gone, f->count * sizeof(f->list[0]));
}

/* ---- opening ---- */

static int open_folder(struct praas_redo_files *f)
{
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
	int store = open(f->config->folder, flags & ~O_NOFOLLOW), rc = 0;

	if (store < 0)
		return praas_file_error(errno);
	if (mkdirat(store, FOLDER, 0700) == 0) {
		if (fsync(store) != 0)
			rc = praas_file_error(errno);
	} else if (errno != EEXIST) {
		rc = praas_file_error(errno);
	}
	f->dir_fd = rc == 0 ? openat(store, FOLDER, flags) : -1;
	if (rc == 0 && f->dir_fd < 0)
		rc = praas_file_error(errno);
	(void)close(store); /* read-only */
	return rc;
}

/* Every name in the folder. Non-zero ends the walk and is returned. */
static int each_name(const struct praas_redo_files *f, int (*fn)(void *, const char *),
		     void *user)
{
	int fd = openat(f->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return praas_file_error(errno);
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd); /* read-only */
		return -ENOMEM;
	}
	while (rc == 0) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			rc = errno ? praas_file_error(errno) : 0;
			break;
		}
		rc = fn(user, entry->d_name);
	}
	(void)closedir(dir); /* read-only */
	return rc;
}

static int fence(void *user, const char *name)
{
	const struct praas_redo_files *f = user;
	struct praas_redo_file file;
	uint32_t epoch;
	bool token = token_parse(name, &epoch);

	if (!token) {
		if (!file_parse(name, &file))
			return 0;
		epoch = file.epoch;
	}
	if (epoch > f->config->epoch)
		return -ESTALE;
	if (token && epoch < f->config->epoch && unlinkat(f->dir_fd, name, 0) != 0 &&
	    errno != ENOENT)
		return praas_file_error(errno);
	return 0;
}

/* Our token, then those of older epochs. Two that do this at the same time: the older one sees the token of the other,
 * or the other one sees, and removes, that of the older. */
static int take_over(struct praas_redo_files *f)
{
	char name[NAME_ROOM];
	struct stat st;
	int fd, rc = 0;

	/* A file system on which one cannot see that a file was removed is of no use (NFS is one). */
	(void)snprintf(name, sizeof(name), "new-%010" PRIu32 "-t",
		       f->config->epoch); /* fits */
	fd = openat(f->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || (unlinkat(f->dir_fd, name, 0) != 0 && errno != ENOENT) ||
	    fstat(fd, &st) != 0)
		rc = praas_file_error(errno);
	else if (st.st_nlink != 0)
		rc = -EOPNOTSUPP;
	if (fd >= 0)
		(void)close(fd); /* empty */
	if (rc != 0)
		return rc;
	token_name(f->config->epoch, name);
	f->token_fd =
		openat(f->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (f->token_fd < 0)
		return errno == EEXIST ? -EEXIST : praas_file_error(errno);
	rc = each_name(f, fence, f);
	if (rc != 0)
		(void)unlinkat(f->dir_fd, name, 0); /* nothing was promised by it */
	return rc;
}

static int collect(void *user, const char *name)
{
	struct praas_redo_files *f = user;
	struct praas_redo_file file;

	/* Of an epoch that is over; a file that it makes now counts for nothing. */
	if (strncmp(name, "new-", 4) == 0 &&
	    strtoul(name + 4, NULL, 10) < f->config->epoch)
		(void)unlinkat(f->dir_fd, name, 0); /* what stays does no harm */
	if (!file_parse(name, &file))
		return 0;
	if (f->count >= sizeof(f->list) / sizeof(f->list[0]) - 1)
		return -ENOBUFS;
	f->list[f->count++] = file;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct praas_redo_file *x = a, *y = b;

	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* In order, and without those that a later epoch has not counted: it began at or before their first record. They go. */
static void put_in_order(struct praas_redo_files *f)
{
	char name[NAME_ROOM];
	unsigned kept = 0;

	qsort(f->list, f->count, sizeof(f->list[0]), compare);
	for (unsigned i = 0; i < f->count; i++) {
		while (kept > 0 && f->list[kept - 1].first >= f->list[i].first) {
			file_name(&f->list[--kept], name);
			(void)unlinkat(f->dir_fd, name,
				       0); /* what stays is met again */
		}
		f->list[kept++] = f->list[i];
	}
	f->count = kept;
}

/* ---- replay ---- */

struct replay {
	const struct praas_redo_config *config;
	uint64_t next;
	uint32_t epoch, note; /* of the last file */
};

static int replay_record(void *user, const struct praas_redo_record *record)
{
	struct replay *p = user;

	if (record->sequence <= p->config->from || p->config->moved)
		return 0;
	return p->config->replay ? p->config->replay(p->config->replay_user, record)
				 : 0;
}

/* A whole file. What its writer may not have synced is read too, so it is synced first: we build upon it. */
static int read_file(const struct praas_redo_files *f,
		     const struct praas_redo_file *file, uint8_t **ret_data,
		     size_t *ret_bytes)
{
	char name[NAME_ROOM];
	uint8_t *data = NULL;
	size_t bytes = 0;
	struct stat st;
	ssize_t n = 1;
	int fd, rc;

	file_name(file, name);
	fd = openat(f->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? -EPROTO : praas_file_error(errno);
	rc = sync_data(f, fd);
	if (rc == 0 && fstat(fd, &st) != 0)
		rc = praas_file_error(errno);
	if (rc == 0 && (!S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_BYTES_MAX))
		rc = -EPROTO;
	if (rc == 0)
		data = malloc((size_t)st.st_size + 1);
	if (rc == 0 && !data)
		rc = -ENOMEM;
	while (rc == 0 && n > 0 && bytes < (size_t)st.st_size) {
		n = read(fd, data + bytes, (size_t)st.st_size - bytes);
		if (n < 0)
			rc = praas_file_error(errno);
		else
			bytes += (size_t)n;
	}
	(void)close(fd); /* read-only */
	if (rc != 0) {
		free(data);
		return rc;
	}
	*ret_data = data;
	*ret_bytes = bytes;
	return 0;
}

/* last: as in praas_redo_walk(). */
static int replay_file(const struct praas_redo_files *f,
		       const struct praas_redo_file *file, uint64_t last,
		       struct replay *p)
{
	struct praas_redo_head head;
	uint8_t *data = NULL;
	size_t bytes = 0;
	int rc = read_file(f, file, &data, &bytes);

	p->next = file->first;
	if (rc != 0)
		return rc;
	rc = praas_redo_head_decode(&f->config->id, file->epoch, file->first, data,
				    bytes, &head);
	p->epoch = rc == 0 ? head.epoch : 0;
	p->note = rc == 0 ? head.note : 0;
	if (rc == 0)
		rc = praas_redo_walk(&head, data, bytes, last, replay_record, p,
				     &p->next);
	free(data);
	return rc;
}

/* What there is behind config->from. p->next: the next record; on -EPROTO, the one that is missing. */
static int replay_all(const struct praas_redo_files *f, struct replay *p)
{
	const uint64_t from = f->config->from;
	bool any = false;
	int rc;

	p->next = from + 1;
	for (unsigned i = 0; i < f->count; i++) {
		uint64_t last = i + 1 < f->count ? f->list[i + 1].first - 1 : 0;

		if (last != 0 && last <= from)
			continue;
		if (!any && f->list[i].first > from + 1 && f->config->loose == 0)
			return -EPROTO; /* what came before it is gone */
		any = true;
		rc = replay_file(f, &f->list[i], last, p);
		if (rc == -EPROTO && f->list[i].epoch < f->config->loose)
			rc = 0; /* what is behind it counts */
		if (rc != 0)
			return rc;
	}
	if (!any && f->config->whole)
		return -EPROTO;
	p->next = praas_max_u64(p->next, from + 1);
	return 0;
}

/* As replay_all(), of a process that was moved here: whose the last file is, and what that says of its log. */
static int take_all(struct praas_redo_files *f, struct replay *p)
{
	const uint64_t from = f->config->from;
	const struct praas_redo_file *last =
		f->count > 0 ? &f->list[f->count - 1] : NULL;
	char name[NAME_ROOM];
	int rc = 0;

	if (last && last->first <= from)
		rc = replay_file(f, last, from, p);
	else if (last)
		(void)replay_file(f, last, 0, p); /* what is in it does not count */
	for (; f->count > 0 && f->list[f->count - 1].first > from; f->count--) {
		file_name(&f->list[f->count - 1], name);
		(void)unlinkat(f->dir_fd, name, 0); /* what stays is met again */
	}
	p->next = from + 1;
	return rc;
}

int praas_redo_files_open(struct praas_redo_files *f,
			  const struct praas_redo_config *config, uint64_t *ret_next,
			  uint64_t *ret_damaged)
{
	struct replay p = { .config = config };
	char name[NAME_ROOM];
	int rc;

	f->config = config;
	f->dir_fd = f->token_fd = f->fd = -1;
	rc = open_folder(f);
	if (rc == 0)
		rc = take_over(f);
	if (rc != 0) {
		praas_redo_files_close(f);
		return rc;
	}
	rc = each_name(f, collect, f);
	if (rc == 0) {
		put_in_order(f);
		rc = config->moved ? take_all(f, &p) : replay_all(f, &p);
		*ret_damaged = rc == -EPROTO ? p.next : 0;
	}
	if (rc == 0 && config->note)
		f->note = config->note(config->note_user, p.epoch, p.note);
	if (rc == 0)
		rc = praas_redo_files_next(f, p.next);
	if (rc == 0)
		rc = fault(f, PRAAS_REDO_STEP_FENCE);
	if (rc == 0)
		rc = check_token(f);
	if (rc != 0) {
		token_name(config->epoch, name);
		(void)unlinkat(f->dir_fd, name, 0); /* nothing was promised by it */
		praas_redo_files_close(f);
		return rc;
	}
	*ret_next = p.next;
	return 0;
}

bool praas_redo_exists(const char *folder)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/" FOLDER, folder);

	return n > 0 && n < (int)sizeof(path) && access(path, F_OK) == 0;
}

void praas_redo_files_close(struct praas_redo_files *f)
{
	if (f->fd >= 0)
		(void)close(f->fd); /* what counts was synced */
	if (f->token_fd >= 0)
		(void)close(f->token_fd); /* empty */
	if (f->dir_fd >= 0)
		(void)close(f->dir_fd); /* read-only */
}
