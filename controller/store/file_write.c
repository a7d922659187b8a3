/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal/base.h"

/*
 * Direct writes in flight through the kernel's own AIO calls: with O_DIRECT on blocks that are
 * allocated they are truly asynchronous, need no library, and are there where io_uring is
 * forbidden. The source fills one buffer while the disk writes the others.
 */

#define PIECE_BYTES (1024u * 1024u)
#define DEPTH 8u
#define BLOCK_BYTES 4096u /* alignment that every disk's O_DIRECT takes */

struct writer {
	int fd;
	aio_context_t aio; /* 0: none, pieces are written one after the other */
	uint8_t *buffers;  /* DEPTH * PIECE_BYTES */
	struct iocb control[DEPTH];
	uint64_t wanted[DEPTH]; /* bytes under way from buffer i; 0: it is free */
	unsigned in_flight;
};

int praas_file_error(int error)
{
	switch (error) {
	case EFBIG: /* RLIMIT_FSIZE */
	case EDQUOT:
	case ENOSPC:
		return -ENOSPC;
	case EPERM:
	case EACCES:
		return -EACCES;
	case EROFS:
	case ENOENT:
	case EEXIST:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOTDIR:
	case ELOOP:
		return -error;
	default:
		return -EIO;
	}
}

static int write_all(int fd, const uint8_t *data, size_t bytes, uint64_t offset)
{
	while (bytes > 0) {
		ssize_t n = pwrite(fd, data, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return praas_file_error(errno);
		if (n == 0)
			return -ENOSPC;
		data += n;
		bytes -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int praas_file_write_small(int fd, const void *data, size_t bytes)
{
	return write_all(fd, data, bytes, 0);
}

/* One completed write: the whole piece must be on its way to the disk. A short one is finished
 * by hand: the buffer is still ours. */
static int settle(struct writer *w, const struct io_event *event)
{
	unsigned i = (unsigned)event->data;
	uint64_t wanted = w->wanted[i];
	int64_t done = (int64_t)event->res;

	w->wanted[i] = 0;
	w->in_flight--;
	if (done < 0)
		return praas_file_error((int)-done);
	if ((uint64_t)done == wanted)
		return 0;
	return write_all(w->fd, w->buffers + (size_t)i * PIECE_BYTES + done,
			 (size_t)(wanted - (uint64_t)done),
			 (uint64_t)w->control[i].aio_offset + (uint64_t)done);
}

/* Waits for at least one piece under way. */
static int reap(struct writer *w)
{
	struct io_event events[DEPTH];
	long n = syscall(SYS_io_getevents, w->aio, 1L, (long)DEPTH, events, NULL);
	int rc = 0;

	if (n < 0)
		return errno == EINTR ? 0 : -EIO;
	for (long i = 0; i < n; i++) {
		int one = settle(w, &events[i]);

		rc = rc != 0 ? rc : one;
	}
	return rc;
}

/* A free buffer; waits for the disk when there is none. */
static int take_buffer(struct writer *w, unsigned *ret_index)
{
	while (w->in_flight == DEPTH) {
		int rc = reap(w);

		if (rc != 0)
			return rc;
	}
	for (unsigned i = 0; i < DEPTH; i++) {
		if (w->wanted[i] == 0) {
			*ret_index = i;
			return 0;
		}
	}
	return -EIO; /* UNTESTED: in_flight counts the non-zero ones */
}

static int submit(struct writer *w, unsigned i, uint64_t bytes, uint64_t offset)
{
	struct iocb *control = &w->control[i];
	uint8_t *data = w->buffers + (size_t)i * PIECE_BYTES;

	if (w->aio == 0)
		return write_all(w->fd, data, (size_t)bytes, offset);
	*control = (struct iocb){ .aio_data = i,
				  .aio_lio_opcode = IOCB_CMD_PWRITE,
				  .aio_fildes = (uint32_t)w->fd,
				  .aio_buf = (uint64_t)(uintptr_t)data,
				  .aio_nbytes = bytes,
				  .aio_offset = (int64_t)offset };
	if (syscall(SYS_io_submit, w->aio, 1L, &control) != 1)
		return write_all(w->fd, data, (size_t)bytes, offset);
	w->wanted[i] = bytes;
	w->in_flight++;
	return 0;
}

static int write_pieces(struct writer *w, const struct praas_store_source *source,
			uint64_t align)
{
	int rc = 0;

	for (uint64_t offset = 0; rc == 0 && offset < source->bytes;) {
		uint64_t bytes = praas_min_u64(PIECE_BYTES, source->bytes - offset);
		uint64_t padded = praas_align_up(bytes, align);
		unsigned i = 0;

		rc = take_buffer(w, &i);
		if (rc == 0)
			rc = source->fill(source->user,
					  w->buffers + (size_t)i * PIECE_BYTES,
					  (size_t)bytes);
		if (rc == 0) {
			memset(w->buffers + (size_t)i * PIECE_BYTES + bytes, 0,
			       (size_t)(padded - bytes));
			rc = submit(w, i, padded, offset);
		}
		offset += bytes;
	}
	/* Also after an error: the kernel must be done with our buffers before they go. */
	while (w->in_flight > 0) {
		int one = reap(w);

		rc = rc != 0 ? rc : one;
	}
	return rc;
}

int praas_file_write_source(int fd, const struct praas_store_source *source, int direct)
{
	uint64_t align = direct ? BLOCK_BYTES : 1;
	uint64_t padded = praas_align_up(source->bytes, align);
	struct writer w = { .fd = fd };
	int rc = 0;

	if (source->bytes == 0)
		return 0;
	/* Blocks up front: a full disk shows before anything is written, and direct writes to
	 * allocated blocks do not wait for the file system. */
	if (fallocate(fd, 0, 0, (off_t)padded) != 0 && errno != EOPNOTSUPP)
		return praas_file_error(errno);
	w.buffers = mmap(NULL, (size_t)DEPTH * PIECE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w.buffers == MAP_FAILED)
		return -ENOMEM;
	if (direct && syscall(SYS_io_setup, (long)DEPTH, &w.aio) != 0)
		w.aio = 0; /* none left on this host: one piece after the other */
	rc = write_pieces(&w, source, align);
	if (w.aio != 0)
		(void)syscall(SYS_io_destroy, w.aio);         /* nothing is in flight */
	(void)munmap(w.buffers, (size_t)DEPTH * PIECE_BYTES); /* ours: cannot fail */
	if (rc == 0 && padded != source->bytes &&
	    ftruncate(fd, (off_t)source->bytes) != 0)
		rc = praas_file_error(errno);
	return rc;
}
