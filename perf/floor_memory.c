/* SPDX-License-Identifier: Apache-2.0
 *
 * Floors of memory and disk: copy through shared memory; durable write and read of a
 * file with O_DIRECT, in pieces of 4 MiB.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "perf/bench.h"
#include "perf/clock.h"
#include "perf/floor_peer.h"

#define PIECE (4u << 20)

struct floor {
	uint8_t *from, *to;
	uint64_t bytes;
	int fd;
	char path[256];
};

static int setup(struct praas_contender *c)
{
	struct floor *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	c->data = f;
	f->fd = -1;
	f->bytes = praas_align_up(c->size ? c->size : 1, 4096);
	f->from = praas_floor_shared(f->bytes);
	f->to = praas_floor_shared(f->bytes);
	if (!f->from || !f->to)
		return -ENOMEM;
	for (uint64_t i = 0; i < f->bytes; i += 8)
		memcpy(f->from + i, &(uint64_t){ i * 0x9e3779b97f4a7c15u }, 8);
	return 0;
}

static void teardown(struct praas_contender *c)
{
	struct floor *f = c->data;

	if (!f)
		return;
	if (f->fd >= 0)
		(void)close(f->fd);
	if (f->path[0])
		(void)unlink(f->path);
	if (f->from)
		(void)munmap(f->from, f->bytes);
	if (f->to)
		(void)munmap(f->to, f->bytes);
	free(f);
	c->data = NULL;
}

static int round_copy(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		memcpy(f->to, f->from, c->size);
		__asm__ __volatile__("" : : "r"(f->to) : "memory");
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return 0;
}

void praas_floor_memcpy(struct praas_contender *c, const char *bench, uint64_t size)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "memcpy",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "spin",
				       .size = size,
				       .n = size < 65536     ? 20000
					    : size < 4194304 ? 500
							     : 20,
				       .setup = setup,
				       .round = round_copy,
				       .teardown = teardown };
}

static int setup_file(struct praas_contender *c)
{
	int rc = setup(c);
	struct floor *f = c->data;

	if (rc != 0)
		return rc;
	(void)snprintf(f->path, sizeof f->path, "%s/floor-%llu", praas_options.work,
		       (unsigned long long)c->size);
	f->fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
	return f->fd < 0 ? -errno : 0;
}

/* As a snapshot is written: a new file every time, so no old extents to write over. */
static int write_once(struct floor *f)
{
	if (ftruncate(f->fd, 0) != 0 || posix_fallocate(f->fd, 0, (off_t)f->bytes) != 0)
		return -ENOSPC;
	for (uint64_t at = 0; at < f->bytes;) {
		ssize_t k = pwrite(f->fd, f->from + at,
				   praas_min_u64(PIECE, f->bytes - at), (off_t)at);

		if (k <= 0)
			return k ? -errno : -EIO;
		at += (uint64_t)k;
	}
	return fdatasync(f->fd) ? -errno : 0;
}

static int read_once(struct floor *f)
{
	for (uint64_t at = 0; at < f->bytes;) {
		ssize_t k = pread(f->fd, f->to + at,
				  praas_min_u64(PIECE, f->bytes - at), (off_t)at);

		if (k <= 0)
			return k ? -errno : -EIO;
		at += (uint64_t)k;
	}
	return 0;
}

static int round_file(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	bool reads = c->arg != NULL;
	int rc = reads ? write_once(f) : 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		rc = reads ? read_once(f) : write_once(f);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return rc;
}

void praas_floor_file(struct praas_contender *c, const char *bench, uint64_t size,
		      bool write)
{
	static const char reading;

	*c = (struct praas_contender){ .bench = bench,
				       .variant =
					       write ? "file-write-fsync" : "file-read",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "block",
				       .size = size,
				       .n = 1,
				       .arg = write ? NULL : &reading,
				       .setup = setup_file,
				       .round = round_file,
				       .teardown = teardown };
}
