/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal/base.h"

/*
 * Direct writes in flight through io_uring: the source fills one buffer while the disk writes the
 * others. Not through the kernel's older AIO calls: io_destroy(2) waits for an RCU grace period, 20
 * to 40 ms however little was written. Where io_uring is forbidden, one piece after the other.
 */

#define PIECE_BYTES (1024u * 1024u)
#define DEPTH 8u
#define BLOCK_BYTES 4096u /* alignment that every disk's O_DIRECT takes */

struct writer {
	int fd;
	bool has_ring; /* else pieces are written one after the other */
	struct io_uring ring;
	uint8_t *buffers;       /* DEPTH * PIECE_BYTES */
	uint64_t offset[DEPTH]; /* in the file, of buffer i */
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
static int settle(struct writer *w, unsigned i, int done)
{
	uint64_t wanted = w->wanted[i];

	w->wanted[i] = 0;
	w->in_flight--;
	if (done < 0)
		return praas_file_error(-done);
	if ((uint64_t)done == wanted)
		return 0;
	return write_all(w->fd, w->buffers + (size_t)i * PIECE_BYTES + done,
			 (size_t)(wanted - (uint64_t)done),
			 w->offset[i] + (uint64_t)done);
}

/* Waits for one piece under way. */
static int reap(struct writer *w)
{
	struct io_uring_cqe *cqe;
	int rc = io_uring_submit_and_wait(&w->ring, 1);

	if (rc < 0 && rc != -EINTR && rc != -EAGAIN) {
		w->in_flight = 0; /* no way to learn more; the kernel holds the pages */
		return -EIO;
	}
	if (io_uring_peek_cqe(&w->ring, &cqe) != 0)
		return 0;
	rc = settle(w, (unsigned)cqe->user_data, cqe->res);
	io_uring_cqe_seen(&w->ring, cqe);
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
	uint8_t *data = w->buffers + (size_t)i * PIECE_BYTES;
	struct io_uring_sqe *sqe;

	if (!w->has_ring)
		return write_all(w->fd, data, (size_t)bytes, offset);
	sqe = io_uring_get_sqe(&w->ring);
	if (!sqe)
		return -EIO; /* UNTESTED: as many entries as buffers */
	io_uring_prep_write(sqe, w->fd, data, (unsigned)bytes, offset);
	sqe->user_data = i;
	w->offset[i] = offset;
	w->wanted[i] = bytes;
	w->in_flight++;
	(void)io_uring_submit(
		&w->ring); /* what is not taken now is given again by reap() */
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
	w.has_ring = direct && source->bytes > PIECE_BYTES &&
		     io_uring_queue_init(DEPTH, &w.ring, 0) == 0;
	rc = write_pieces(&w, source, align);
	if (w.has_ring)
		io_uring_queue_exit(&w.ring);                 /* nothing is in flight */
	(void)munmap(w.buffers, (size_t)DEPTH * PIECE_BYTES); /* ours: cannot fail */
	if (rc == 0 && padded != source->bytes &&
	    ftruncate(fd, (off_t)source->bytes) != 0)
		rc = praas_file_error(errno);
	return rc;
}
