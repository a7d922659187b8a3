/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/redo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/store/redo_private.h"
#include "internal/bytes.h"

/*
 * Two buffers: one is filled by those who append, the other one is on its way to the disk. The lock is held for a copy
 * and for the exchange of the two, never while the disk is at work.
 */

#define BUFFER_BYTES (256u << 10) /* at first */
#define BUFFER_KEEP (1u << 20)    /* one that had to grow beyond this is not kept */

struct buffer {
	uint8_t *data;
	size_t bytes, room;
};

struct praas_redo {
	struct praas_redo_config config;
	struct praas_redo_files files; /* the thread's */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work; /* for the thread */
	pthread_cond_t done; /* for who waits */
	/* Under the lock. */
	struct buffer pending;
	uint64_t last;    /* number given out */
	uint64_t durable; /* number promised */
	uint64_t trim;    /* up to there, asked for; 0: no more than was done */
	uint64_t trimmed;
	int failed;
	bool stop;
	struct praas_redo_stats stats;
};

static void lock(struct praas_redo *r)
{
	(void)pthread_mutex_lock(&r->lock); /* cannot fail */
}

static void unlock(struct praas_redo *r)
{
	(void)pthread_mutex_unlock(&r->lock);
}

/* ---- the thread ---- */

/* Closes the records of a batch and writes it. synced: what was promised before. */
static int write_batch(struct praas_redo *r, struct buffer *b, uint64_t synced)
{
	size_t at = 0;
	int rc = 0;

	if (praas_redo_files_full(&r->files))
		rc = praas_redo_files_next(&r->files, synced + 1);
	if (rc != 0)
		return rc;
	while (at < b->bytes)
		at += praas_redo_close_record(&r->files.head, synced, b->data + at);
	return praas_redo_files_write(&r->files, b->data, b->bytes);
}

/* Takes what there is. The lock is held, and given up meanwhile. */
static void commit(struct praas_redo *r, struct buffer *spare)
{
	struct buffer batch = r->pending;
	uint64_t last = r->last, synced = r->durable;
	int rc;

	r->pending = *spare;
	unlock(r);
	rc = write_batch(r, &batch, synced);
	lock(r);
	if (rc == 0) {
		r->durable = last;
		r->stats.records += last - synced;
		r->stats.bytes += batch.bytes;
		r->stats.syncs++;
	} else {
		r->failed = rc;
		r->pending.bytes = 0;
	}
	r->stats.files = r->files.count;
	batch.bytes = 0;
	if (batch.room > BUFFER_KEEP) {
		free(batch.data);
		batch = (struct buffer){ 0 };
	}
	*spare = batch;
	(void)pthread_cond_broadcast(&r->done);
	unlock(r);
	if (r->config.notify)
		r->config.notify(r->config.notify_user);
	lock(r);
}

/* The same of a trim. Nothing is being written, so a file that is begun now begins with the next record. */
static void trim(struct praas_redo *r)
{
	uint64_t upto = r->trim, last = r->durable;
	int rc = 0;

	unlock(r);
	if (last == upto && r->files.head.first <= last)
		rc = praas_redo_files_next(&r->files, last + 1);
	if (rc == 0)
		praas_redo_files_trim(&r->files, upto);
	lock(r);
	/* No room for another file: the old one serves on, and goes with a later trim. */
	if (rc == -ESTALE)
		r->failed = rc;
	r->trimmed = upto;
	r->stats.files = r->files.count;
}

static void *run(void *user)
{
	struct praas_redo *r = user;
	struct buffer spare = { 0 };

	lock(r);
	for (;;) {
		if (r->failed == 0 && r->trim > r->trimmed && r->trim <= r->durable)
			trim(r);
		else if (r->failed == 0 && r->pending.bytes > 0)
			commit(r, &spare);
		else if (r->stop)
			break;
		else
			(void)pthread_cond_wait(&r->work, &r->lock);
	}
	unlock(r);
	free(spare.data);
	return NULL;
}

/* ---- everybody else ---- */

static int start(struct praas_redo *r)
{
	pthread_condattr_t attr;
	int rc;

	(void)pthread_mutex_init(&r->lock, NULL); /* these do not fail with glibc */
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&r->work, NULL);
	(void)pthread_cond_init(&r->done, &attr);
	(void)pthread_condattr_destroy(&attr);
	rc = pthread_create(&r->thread, NULL, run, r);
	if (rc == 0)
		return 0;
	(void)pthread_cond_destroy(&r->done);
	(void)pthread_cond_destroy(&r->work);
	(void)pthread_mutex_destroy(&r->lock);
	return -rc;
}

int praas_redo_open(const struct praas_redo_config *config,
		    struct praas_redo **ret_redo, uint64_t *ret_damaged)
{
	struct praas_redo *r = calloc(1, sizeof(*r));
	uint64_t next = 0, damaged = 0;
	int rc;

	if (!r)
		return -ENOMEM;
	r->config = *config;
	rc = praas_redo_files_open(&r->files, &r->config, &next, &damaged);
	if (ret_damaged)
		*ret_damaged = damaged;
	if (rc != 0) {
		free(r);
		return rc;
	}
	r->last = next - 1;
	r->durable = next - 1;
	r->trimmed = config->from;
	r->stats.files = r->files.count;
	rc = start(r);
	if (rc != 0) {
		praas_redo_files_close(&r->files);
		free(r);
		return rc;
	}
	*ret_redo = r;
	return 0;
}

void praas_redo_close(struct praas_redo *r)
{
	if (!r)
		return;
	lock(r);
	r->stop = true;
	(void)pthread_cond_signal(&r->work);
	unlock(r);
	(void)pthread_join(r->thread, NULL);
	praas_redo_files_close(&r->files);
	(void)pthread_cond_destroy(&r->done);
	(void)pthread_cond_destroy(&r->work);
	(void)pthread_mutex_destroy(&r->lock);
	free(r->pending.data);
	free(r);
}

static int reserve(struct buffer *b, size_t bytes)
{
	size_t room = b->room ? b->room : BUFFER_BYTES;
	uint8_t *data;

	while (room < b->bytes + bytes)
		room *= 2;
	if (room == b->room)
		return 0;
	data = realloc(b->data, room);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->room = room;
	return 0;
}

static int append(struct praas_redo *r, const struct praas_redo_record *record)
{
	size_t room = praas_redo_room(record->bytes);
	int rc;

	if (r->failed != 0)
		return r->failed;
	if (r->stats.files > PRAAS_REDO_FILES_MAX)
		return -ENOBUFS;
	if (r->pending.bytes > 0 && r->pending.bytes + room > PRAAS_REDO_PENDING_MAX)
		return -EAGAIN;
	rc = reserve(&r->pending, room);
	if (rc != 0)
		return rc;
	praas_redo_place(record, r->pending.data + r->pending.bytes);
	if (r->pending.bytes == 0)
		(void)pthread_cond_signal(&r->work);
	r->pending.bytes += room;
	r->last = record->sequence;
	return 0;
}

int praas_redo_append(struct praas_redo *r, uint16_t kind, const void *data,
		      uint32_t bytes, uint64_t *ret_sequence)
{
	struct praas_redo_record record = { .kind = kind,
					    .data = data,
					    .bytes = bytes };
	int rc;

	if (bytes > PRAAS_REDO_RECORD_MAX)
		return -EMSGSIZE;
	lock(r);
	record.sequence = r->last + 1;
	rc = append(r, &record);
	unlock(r);
	if (rc == 0)
		*ret_sequence = record.sequence;
	return rc;
}

uint64_t praas_redo_durable(struct praas_redo *r, int *ret_failed)
{
	uint64_t durable;

	lock(r);
	durable = r->durable;
	*ret_failed = r->failed;
	unlock(r);
	return durable;
}

int praas_redo_wait(struct praas_redo *r, uint64_t sequence, uint64_t timeout_ns)
{
	struct timespec until;
	uint64_t ns;
	int rc = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail for this clock */
	ns = (uint64_t)until.tv_nsec + timeout_ns % 1000000000u;
	until.tv_sec += (time_t)(timeout_ns / 1000000000u + ns / 1000000000u);
	until.tv_nsec = (long)(ns % 1000000000u);
	lock(r);
	while (rc == 0 && r->durable < sequence && r->failed == 0)
		rc = -pthread_cond_timedwait(&r->done, &r->lock, &until);
	if (r->durable >= sequence)
		rc = 0;
	else if (r->failed != 0)
		rc = r->failed;
	unlock(r);
	return rc;
}

uint64_t praas_redo_last(struct praas_redo *r)
{
	uint64_t last;

	lock(r);
	last = r->last;
	unlock(r);
	return last;
}

void praas_redo_trim(struct praas_redo *r, uint64_t sequence)
{
	lock(r);
	if (sequence > r->trim)
		r->trim = sequence;
	(void)pthread_cond_signal(&r->work);
	unlock(r);
}

void praas_redo_stats(struct praas_redo *r, struct praas_redo_stats *ret_stats)
{
	lock(r);
	*ret_stats = r->stats;
	unlock(r);
}
