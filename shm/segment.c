/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal/base.h"

/* Sealed memfds between guard pages (docs/shm-layout.md). All of it is cold: system
 * calls at start-up and when somebody connects. */

#define PAGE_BYTES 4096u
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define BYTES_MAX (1ull << 46) /* of an address space of 47 bits */
#define HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define PAYLOAD_HUGE_MIN                                                               \
	(16ull << 20) /* the last page may be empty: an eighth at most */

/* Newer than the headers of some systems that we build on. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* An address range of our own for bytes, a guard page before and after it. */
static int reserve(uint64_t bytes, uint64_t align, uint8_t **ret_base)
{
	uint64_t all = bytes + align + 2 * PAGE_BYTES;
	uint8_t *range = mmap(NULL, all, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base;

	if (range == MAP_FAILED)
		return -errno;
	base = range + PAGE_BYTES;
	base += praas_align_up((uintptr_t)base, align) - (uintptr_t)base;
	if (base - PAGE_BYTES > range)
		(void)munmap(range,
			     (size_t)(base - PAGE_BYTES - range)); /* a part of ours */
	if (base + bytes + PAGE_BYTES < range + all)
		(void)munmap(base + bytes + PAGE_BYTES,
			     (size_t)(range + all - (base + bytes + PAGE_BYTES)));
	*ret_base = base;
	return 0;
}

static void unreserve(uint8_t *base, uint64_t bytes)
{
	(void)munmap(base - PAGE_BYTES,
		     bytes + 2 * PAGE_BYTES); /* mapped by us, so it works */
}

/* Map fd into a range of ours. Not inherited by a child of fork(), not in a core dump.
 */
static int map(int fd, uint64_t bytes, bool writable, uint8_t **ret_base)
{
	uint64_t align = bytes >= PRAAS_SEGMENT_HUGE_BYTES ? PRAAS_SEGMENT_HUGE_BYTES
							   : PAGE_BYTES;
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	uint8_t *base = NULL;
	int rc = reserve(bytes, align, &base);

	if (rc != 0)
		return rc;
	praas_check(base != NULL);
	if (mmap(base, bytes, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		rc = -errno;
		goto err_unreserve;
	}
	if (madvise(base, bytes, MADV_DONTFORK) != 0 ||
	    madvise(base, bytes, MADV_DONTDUMP) != 0) {
		rc = -errno;
		goto err_unreserve;
	}
	*ret_base = base;
	return 0;

err_unreserve:
	unreserve(base, bytes);
	return rc;
}

/* True when the machine has bytes to give. fallocate() of a memfd would rather have the
 * OOM killer run than fail, so what cannot be is refused before. */
static bool machine_has(uint64_t bytes)
{
	static const char name[] = "MemAvailable:";
	long pages = sysconf(_SC_PHYS_PAGES);
	char text[512];
	const char *at = NULL;
	int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		ssize_t n = read(fd, text, sizeof(text) - 1);

		(void)close(fd); /* only read */
		text[n > 0 ? n : 0] = '\0';
		at = strstr(text, name); /* in the third line */
	}
	if (at)
		return bytes / 1024 < strtoull(at + sizeof(name) - 1, NULL, 10);
	return pages > 0 && bytes / PAGE_BYTES < (uint64_t)pages;
}

/* A memfd of bytes; holes all of it. */
static int make_memfd(const char *name, uint64_t bytes, bool huge, int *ret_fd)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd, rc;

	if (!huge && !machine_has(bytes))
		return -ENOMEM;
	if (huge)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) != 0)
		goto err_close;
	/* Nobody but root and we can open it anew through /proc, and nobody for
	 * writing. */
	if (fchmod(fd, 0400) != 0)
		goto err_close;
	*ret_fd = fd;
	return 0;

err_close:
	rc = -errno;
	(void)close(fd); /* nothing was written */
	return rc;
}

/* All pages of a mapping into its page table. */
static void fault_in(const struct praas_segment *segment, int advice)
{
	/* volatile: a read whose value is not used */
	const volatile uint8_t *page = segment->base;

	praas_check(page != NULL);
	if (madvise(segment->base, segment->bytes, advice) == 0)
		return;
	/* Before Linux 5.14. The pages exist (fallocate), so that a read maps them. */
	for (uint64_t i = 0; i < segment->bytes; i += PAGE_BYTES)
		(void)page[i];
}

/* Puts whole 2 MiB on one page each, as far as the machine has such pages: zeroed at once instead
 * of 512 times, and mapped by everybody who attaches in microseconds instead of 0.3 ms. The kernel
 * joins what has a page at least, which is asked for in a way that can fail. */
static void join_pages(const struct praas_segment *s)
{
	uint64_t end = s->bytes & ~(PRAAS_SEGMENT_HUGE_BYTES - 1);

	for (uint64_t at = 0; at < end; at += PRAAS_SEGMENT_HUGE_BYTES)
		if (fallocate(s->fd, 0, (off_t)at, PAGE_BYTES) != 0)
			return; /* no memory: the caller is told by what comes next */
	if (end != 0)
		(void)madvise(s->base, end, MADV_COLLAPSE); /* else small pages */
}

/* Allocated in full, so that no access ever raises SIGBUS. */
static int fill(const struct praas_segment *s, unsigned flags)
{
	if ((flags & PRAAS_SEGMENT_JOIN) && !s->huge)
		join_pages(s);
	if (fallocate(s->fd, 0, 0, (off_t)s->bytes) != 0)
		return -errno;
	if (flags & PRAAS_SEGMENT_POPULATE)
		fault_in(s, MADV_POPULATE_WRITE);
	return 0;
}

static int make_segment(const char *name, unsigned flags, bool huge,
			struct praas_segment *s)
{
	int rc = make_memfd(name, s->bytes, huge, &s->fd);

	if (rc != 0)
		return rc;
	s->huge = huge;
	rc = map(s->fd, s->bytes, true, &s->base);
	if (rc != 0)
		goto err_close;
	if (!(flags & PRAAS_SEGMENT_LAZY))
		rc = fill(s, flags);
	if (rc == 0)
		return 0;
	unreserve(s->base, s->bytes);
err_close:
	(void)close(s->fd); /* nothing was written */
	return rc;
}

/* Reserved 2 MiB pages that nobody has been promised. */
static uint64_t huge_pages_free(void)
{
	static const char *const files[] = { HUGE_PAGES "free_hugepages",
					     HUGE_PAGES "resv_hugepages" };
	uint64_t pages[2] = { 0, 0 };

	for (unsigned i = 0; i < 2; i++) {
		char text[32] = "";
		int fd = open(files[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return 0;
		if (read(fd, text, sizeof(text) - 1) > 0)
			pages[i] = strtoull(text, NULL, 10);
		(void)close(fd); /* only read */
	}
	return pages[0] > pages[1] ? pages[0] - pages[1] : 0;
}

uint64_t praas_segment_payload_bytes(uint64_t bytes, uint64_t room)
{
	uint64_t huge = praas_align_up(bytes, PRAAS_SEGMENT_HUGE_BYTES);

	if (bytes >= PAYLOAD_HUGE_MIN && bytes <= BYTES_MAX && huge <= room &&
	    huge / PRAAS_SEGMENT_HUGE_BYTES <= huge_pages_free())
		return huge;
	return praas_align_up(bytes, PAGE_BYTES);
}

int praas_segment_create(const char *name, uint64_t bytes, uint32_t id, unsigned flags,
			 struct praas_segment *ret_segment)
{
	struct praas_segment s = {
		.bytes = bytes, .id = id, .fd = -1, .writable = true
	};
	int seals = SEALS;
	int rc = -ENOMEM;

	praas_check(id != 0);
	if (bytes == 0 || bytes % PAGE_BYTES != 0 || bytes > BYTES_MAX)
		return -EINVAL;
	if ((flags & PRAAS_SEGMENT_HUGE) && bytes % PRAAS_SEGMENT_HUGE_BYTES == 0)
		rc = make_segment(name, flags, true, &s);
	if (rc != 0)
		rc = make_segment(name, flags, false, &s);
	if (rc != 0)
		return rc;
	if (flags & PRAAS_SEGMENT_OWN)
		seals |= F_SEAL_FUTURE_WRITE; /* our mapping stays writable */
	if (fcntl(s.fd, F_ADD_SEALS, seals) != 0) {
		rc = -errno;
		praas_segment_release(&s);
		return rc;
	}
	*ret_segment = s;
	return 0;
}

int praas_segment_attach(int fd, uint64_t bytes, uint32_t id, bool writable,
			 struct praas_segment *ret_segment)
{
	struct praas_segment s = {
		.bytes = bytes, .id = id, .fd = fd, .writable = writable
	};
	struct stat st;
	int seals, rc;

	if (id == 0 || bytes == 0 || bytes % PAGE_BYTES != 0 || bytes > BYTES_MAX)
		return -EPROTO;
	seals = fcntl(fd, F_GET_SEALS); /* EINVAL: not a memfd */
	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return -EPROTO;
	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != bytes)
		return -EPROTO;
	/* A hole: a write might raise SIGBUS. Who only reads may get a segment that its creator
	 * fills bit by bit (PRAAS_SEGMENT_LAZY). */
	if (writable && (uint64_t)st.st_blocks * 512u < bytes)
		return -EPROTO;
	s.huge = st.st_blksize == (blksize_t)PRAAS_SEGMENT_HUGE_BYTES;
	rc = map(fd, bytes, writable, &s.base);
	if (rc == -EACCES || rc == -EPERM)
		return -EPROTO; /* asked to write to what we were given for reading */
	if (rc != 0)
		return rc;
	*ret_segment = s;
	return 0;
}

void praas_segment_populate(const struct praas_segment *segment)
{
	/* Reading, whatever it will be used for: the pages are there, and a fault for reading maps
	 * those around it too, as writable as the mapping is. */
	fault_in(segment, MADV_POPULATE_READ);
}

/* Where the next page that was ever written begins; bytes of the segment: nowhere. */
static uint64_t next_data(const struct praas_segment *segment, uint64_t offset)
{
	off_t at = segment->fd >= 0 ? lseek(segment->fd, (off_t)offset, SEEK_DATA) : -1;

	if (at >= 0)
		return (uint64_t)at;
	return segment->fd >= 0 && errno == ENXIO ? segment->bytes : offset;
}

static uint64_t data_end(const struct praas_segment *segment, uint64_t offset)
{
	off_t at = segment->fd >= 0 ? lseek(segment->fd, (off_t)offset, SEEK_HOLE) : -1;

	return at > (off_t)offset ? (uint64_t)at : segment->bytes;
}

void praas_segment_zero(const struct praas_segment *segment, uint64_t offset,
			uint64_t bytes)
{
	uint64_t end = offset + bytes;

	praas_check(segment->writable);
	praas_check(praas_segment_holds(segment, offset, bytes));
	/* Each turn passes at least one page. */
	while ((offset = next_data(segment, offset)) < end) {
		uint64_t to = praas_min_u64(data_end(segment, offset), end);

		memset(segment->base + offset, 0, (size_t)(to - offset));
		offset = to;
	}
}

int praas_segment_read_only_fd(const struct praas_segment *segment, int *ret_fd)
{
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", segment->fd); /* fits */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

void praas_segment_close_fd(struct praas_segment *segment)
{
	if (segment->fd >= 0 && segment->base)
		(void)close(segment->fd); /* a memfd has nothing to flush */
	segment->fd = -1;
}

void praas_segment_release(struct praas_segment *segment)
{
	if (!segment->base)
		return;
	praas_segment_close_fd(segment);
	unreserve(segment->base, segment->bytes);
	*segment = (struct praas_segment){ .fd = -1 };
}
