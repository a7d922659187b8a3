/* SPDX-License-Identifier: Apache-2.0
 *
 * `durable`: a small write that must not be lost, by one writer and by 64 that each wait for their own: the redo log
 * (docs/journal.md) by itself and in a process whose clients write state, next to a bare write and sync, SQLite and Redis.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/store/redo.h"
#include "perf/bench.h"
#include "perf/clock.h"
#include "perf/redis.h"
#include "perf/target.h"

#define WRITERS_MAX 64u
#define BYTES 100u
#define FILE_BYTES (16u << 20)
#define PATIENCE_NS 10000000000ull

struct durable;

struct writer {
	struct durable *d;
	pthread_t thread;
	unsigned index;
	uint64_t n;
	int rc;
	struct praas_hist h;
	redisContext *redis;
	praas_connection *conn;
};

/* What a contender does for one write. */
typedef int (*write_fn)(struct writer *w);

struct durable {
	write_fn write;
	unsigned writers;
	struct writer w[WRITERS_MAX];
	char dir[256];
	uint8_t value[BYTES];
	double per_s[PRAAS_ROUNDS_MAX + 2];
	unsigned rounds;
	int fd;
	uint64_t at;
	struct praas_redo *redo;
	sqlite3 *db;
	sqlite3_stmt *insert;
	pthread_mutex_t lock; /* of the connection */
};

struct kind {
	const char *names[2]; /* one writer, 64 */
	enum praas_role role;
	int (*open)(struct durable *d);
	write_fn write;
};

/* ---- a bare write into blocks that are there, and a sync ---- */

static int open_bare(struct durable *d)
{
	static const uint8_t zeros[1u << 16];
	char path[300];

	(void)snprintf(path, sizeof path, "%s/file", d->dir);
	d->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return -errno;
	for (uint64_t at = 0; at < FILE_BYTES; at += sizeof zeros)
		if (pwrite(d->fd, zeros, sizeof zeros, (off_t)at) !=
		    (ssize_t)sizeof zeros)
			return -EIO;
	return fsync(d->fd) == 0 ? 0 : -errno;
}

static int write_bare(struct writer *w)
{
	struct durable *d = w->d;

	if (pwrite(d->fd, d->value, BYTES, (off_t)d->at) != BYTES ||
	    fdatasync(d->fd) != 0)
		return -errno;
	d->at = (d->at + 168) %
		(FILE_BYTES - BYTES); /* as far as a record of ours goes */
	return 0;
}

/* ---- ours ---- */

static int open_redo(struct durable *d)
{
	const struct praas_redo_config config = { .folder = d->dir,
						  .id = { .pid = 1, .generation = 1 },
						  .epoch = 1 };

	return praas_redo_open(&config, &d->redo, NULL);
}

static int write_redo(struct writer *w)
{
	uint64_t sequence = 0;
	int rc = praas_redo_append(w->d->redo, 1, w->d->value, BYTES, &sequence);

	if (rc == 0)
		rc = praas_redo_wait(w->d->redo, sequence, PATIENCE_NS);
	return rc;
}

/* ---- a process of ours that acknowledges what is in its log: a connection for each writer ---- */

static int open_gate(struct durable *d)
{
	const char *name = d->writers == 1 ? "durable" : "durable-64";
	struct praas_target *t;
	int rc = praas_target_start(PRAAS_TARGET_PLAIN, &t);

	if (rc == 0)
		rc = praas_target_process(t, "gate", name);
	for (unsigned i = 0; rc == 0 && i < d->writers; i++)
		rc = praas_target_connect(t, "gate", name, "shm", false, &d->w[i].conn);
	return rc;
}

static int write_gate(struct writer *w)
{
	char key[16];

	(void)snprintf(key, sizeof key, "k%u", w->index);
	return praas_state_write(w->conn, key, w->d->value, BYTES);
}

/* ---- SQLite: one connection, which its writers take in turns; more would only wait for each other's locks ---- */

static int open_sqlite(struct durable *d)
{
	char path[300];

	(void)snprintf(path, sizeof path, "%s/db", d->dir);
	if (sqlite3_open(path, &d->db) != SQLITE_OK ||
	    sqlite3_exec(d->db,
			 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			 "CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB);",
			 NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(d->db, "INSERT INTO t(v) VALUES(?)", -1, &d->insert,
			       NULL) != SQLITE_OK)
		return -EIO;
	return 0;
}

static int write_sqlite(struct writer *w)
{
	struct durable *d = w->d;
	int rc;

	(void)pthread_mutex_lock(&d->lock);
	rc = sqlite3_bind_blob(d->insert, 1, d->value, BYTES, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(d->insert);
	(void)sqlite3_reset(d->insert);
	(void)pthread_mutex_unlock(&d->lock);
	return rc == SQLITE_DONE ? 0 : -EIO;
}

/* ---- Redis: a connection for each writer ---- */

static int open_redis(struct durable *d)
{
	const char *socket;
	int rc = praas_redis_start_saving(d->dir, &socket);

	for (unsigned i = 0; rc == 0 && i < d->writers; i++) {
		d->w[i].redis = redisConnectUnix(socket);
		if (!d->w[i].redis || d->w[i].redis->err)
			rc = -ENOTCONN;
	}
	return rc;
}

static int write_redis(struct writer *w)
{
	redisReply *r = redisCommand(w->redis, "SET praas:%u %b", w->index, w->d->value,
				     (size_t)BYTES);
	int rc = r && r->type == REDIS_REPLY_STATUS ? 0 : -EIO;

	freeReplyObject(r);
	return rc;
}

/* ---- all ---- */

static const struct kind kinds[] = {
	{ { "pwrite-fdatasync", NULL }, PRAAS_ROLE_FLOOR, open_bare, write_bare },
	{ { "redo-log", "redo-log-64" }, PRAAS_ROLE_OURS, open_redo, write_redo },
	{ { "gate", "gate-64" }, PRAAS_ROLE_OURS, open_gate, write_gate },
	{ { "sqlite-full", "sqlite-full-64" },
	  PRAAS_ROLE_PEER,
	  open_sqlite,
	  write_sqlite },
	{ { "redis-always", "redis-always-64" },
	  PRAAS_ROLE_PEER,
	  open_redis,
	  write_redis },
};

static int setup(struct praas_contender *c)
{
	const struct kind *kind = c->arg;
	struct durable *d = calloc(1, sizeof *d);

	if (!d)
		return -ENOMEM;
	c->data = d;
	d->fd = -1;
	d->write = kind->write;
	d->writers = c->variant == kind->names[0] ? 1 : WRITERS_MAX;
	memset(d->value, 'v', sizeof d->value);
	(void)pthread_mutex_init(&d->lock, NULL);
	(void)snprintf(d->dir, sizeof d->dir, "%.200s/praas-perf-durable-XXXXXX",
		       praas_options.work);
	if (!mkdtemp(d->dir)) {
		d->dir[0] = '\0';
		return -errno;
	}
	for (unsigned i = 0; i < d->writers; i++) {
		d->w[i].d = d;
		d->w[i].index = i;
	}
	return kind->open(d);
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* The first rounds warm up. */
static void print_per_second(const struct praas_contender *c, struct durable *d)
{
	unsigned warm = d->rounds > c->rounds_done ? d->rounds - c->rounds_done : 0;

	if (!c->failed && d->rounds > warm)
		praas_bench_line(c->bench, c->variant,
				 "\"size\":%u,\"inflight\":%u,\"per_s\":%.0f,\"waits\":"
				 "\"block\"",
				 BYTES, d->writers,
				 praas_bench_median(d->per_s + warm, d->rounds - warm));
}

static void teardown(struct praas_contender *c)
{
	struct durable *d = c->data;

	if (!d)
		return;
	print_per_second(c, d);
	praas_redo_close(d->redo);
	(void)sqlite3_finalize(d->insert);
	(void)sqlite3_close(d->db);
	if (d->fd >= 0)
		(void)close(d->fd);
	if (d->w[0].redis)
		praas_redis_stop(); /* what it saves is in our folder */
	if (d->dir[0])
		(void)nftw(d->dir, drop, 8, FTW_DEPTH | FTW_PHYS);
	for (unsigned i = 0; i < d->writers; i++) {
		if (d->w[i].redis)
			redisFree(d->w[i].redis);
		if (d->w[i].conn)
			praas_close(d->w[i].conn);
	}
	(void)pthread_mutex_destroy(&d->lock);
	free(d);
	c->data = NULL;
}

static void *write_all(void *user)
{
	struct writer *w = user;

	for (uint64_t i = 0; w->rc == 0 && i < w->n; i++) {
		uint64_t t0 = praas_perf_ticks();

		w->rc = w->d->write(w);
		praas_hist_add(&w->h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return NULL;
}

static int round_durable(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct durable *d = c->data;
	uint64_t each = (n + d->writers - 1) / d->writers, begun = praas_now_ns();
	unsigned started = 0;
	int rc = 0;

	for (; started < d->writers; started++) {
		struct writer *w = &d->w[started];

		memset(&w->h, 0, sizeof w->h);
		w->n = each;
		w->rc = 0;
		if (d->writers == 1)
			(void)write_all(w);
		else if (pthread_create(&w->thread, NULL, write_all, w) != 0)
			break;
	}
	for (unsigned i = 0; i < started; i++) {
		if (d->writers > 1)
			(void)pthread_join(d->w[i].thread, NULL);
		praas_hist_merge(h, &d->w[i].h);
		if (d->w[i].rc != 0)
			rc = d->w[i].rc;
	}
	if (d->rounds < sizeof d->per_s / sizeof d->per_s[0])
		d->per_s[d->rounds++] = (double)(each * d->writers) * 1e9 /
					(double)(praas_now_ns() - begun);
	return started < d->writers ? -EAGAIN : rc;
}

void praas_bench_durable(void)
{
	const unsigned count = sizeof kinds / sizeof kinds[0];
	struct praas_contender c[sizeof kinds / sizeof kinds[0]];

	for (unsigned many = 0; many < 2; many++) {
		unsigned used = 0;

		for (unsigned i = 0; i < count; i++)
			if (kinds[i].names[many])
				c[used++] = (struct praas_contender){
					.bench = "durable",
					.variant = kinds[i].names[many],
					.role = kinds[i].role,
					.waits = "block",
					.size = BYTES,
					.n = many ? WRITERS_MAX * 20 : 200,
					.arg = &kinds[i],
					.setup = setup,
					.round = round_durable,
					.teardown = teardown,
				};
		praas_bench_run(c, used);
	}
}
