/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of a swap that is the store's: the values as one object and an entry in the slot log, both durable; the
 * log read, and the values. What a swap takes beyond that is REST, threads that wake one another, and for a swap-in
 * a controller that starts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "controller/store/sealed.h"
#include "controller/store/slot_log.h"
#include "controller/store/store.h"
#include "perf/bench.h"
#include "perf/clock.h"
#include "perf/floor_peer.h"
#include "perf/redis.h"

#define BODY_BYTES 2048u /* a manifest of some values */

struct stored {
	struct praas_store *store;
	struct praas_slot_log log;
	struct praas_slot_entry entry;
	uint8_t *values;
	uint64_t at; /* filled so far */
	unsigned serial;
	char key[64];
	char dir[256]; /* "" in a bucket or a Redis */
};

static const struct praas_slot_id id = { .pid = 1, .generation = 1 };

static bool in_bucket(const struct praas_contender *c)
{
	return strncmp(c->versus, "curl", 4) == 0;
}

static bool in_redis(const struct praas_contender *c)
{
	return strncmp(c->versus, "redis", 5) == 0;
}

static int redis_url(const char *below, char *ret_url, size_t bytes)
{
	const char *socket;
	int rc = praas_redis_start_saving(praas_options.work, &socket);

	(void)snprintf(ret_url, bytes, "redis+unix://%s?below=%s", rc ? "" : socket,
		       below);
	return rc;
}

static int seal(struct stored *s)
{
	static const char key[] =
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	static struct praas_seal_keys keys;
	const char *why;
	int rc = praas_seal_keys_parse(key, sizeof key - 1, &keys, &why);

	return rc ? rc : praas_store_seal(s->store, &keys, &id, &s->store);
}

static int setup(struct praas_contender *c)
{
	struct stored *s = calloc(1, sizeof *s);
	static unsigned serial;
	char url[PRAAS_STORE_URL_MAX + 1], below[32];
	int rc = 0;

	if (!s)
		return -ENOMEM;
	c->data = s;
	s->values = praas_floor_shared(c->size);
	if (!s->values)
		return -ENOMEM;
	for (uint64_t i = 0; i < c->size; i += 8)
		memcpy(s->values + i, &(uint64_t){ i * 0x9e3779b97f4a7c15u }, 8);
	(void)snprintf(below, sizeof below, "store-%u", serial++);
	if (in_bucket(c)) {
		rc = praas_store_url_below(praas_options.s3, below, url, sizeof url);
	} else if (in_redis(c)) {
		rc = redis_url(below, url, sizeof url);
	} else {
		(void)snprintf(s->dir, sizeof s->dir, "%s/%s", praas_options.work,
			       below);
		(void)snprintf(url, sizeof url, "file://%s", s->dir);
	}
	if (rc == 0)
		rc = praas_store_open(url, &s->store);
	if (rc == 0 && strstr(c->variant, "sealed"))
		rc = seal(s);
	return rc ? rc : praas_slot_log_open(s->store, &id, &s->log);
}

static int drop(void *user, const char *key)
{
	struct stored *s = user;

	return s->store->ops->delete (s->store, key);
}

static void teardown(struct praas_contender *c)
{
	struct stored *s = c->data;
	static const char *const parts[] = { "log", "chunk", "." };
	char path[300];

	if (!s)
		return;
	if (s->store) {
		(void)s->store->ops->list(s->store, "log/", NULL, drop, s);
		(void)s->store->ops->list(s->store, "chunk/", NULL, drop, s);
	}
	praas_store_free(s->store);
	for (unsigned i = 0; s->dir[0] && i < 3; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", s->dir,
			       i < 2 ? parts[i] : "");
		(void)remove(path); /* what is left, the run's folder takes with it */
	}
	if (s->values)
		(void)munmap(s->values, c->size);
	free(s);
	c->data = NULL;
}

static int fill(void *user, uint8_t *data, size_t bytes)
{
	struct stored *s = user;

	memcpy(data, s->values + s->at, bytes);
	s->at += bytes;
	return 0;
}

static int name(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	struct stored *s = user;

	(void)snprintf(s->key, sizeof s->key, "chunk/%u", s->serial);
	(void)snprintf(ret_key, PRAAS_STORE_KEY_MAX + 1, "%s", s->key);
	return 0;
}

static int write_out(struct stored *s, uint64_t bytes)
{
	struct praas_store_source source = {
		.bytes = bytes, .fill = fill, .name = name, .user = s
	};
	int rc;

	s->at = 0;
	s->serial++;
	rc = s->store->ops->put(s->store, &source);
	if (rc != 0)
		return rc;
	memset(&s->entry, 0, offsetof(struct praas_slot_entry, body));
	s->entry.epoch = 1;
	s->entry.kind = PRAAS_SLOT_SNAP;
	s->entry.body_bytes = BODY_BYTES;
	return praas_slot_log_put(&s->log, &s->entry);
}

static int read_in(struct stored *s, uint64_t bytes)
{
	struct praas_slot_log log;
	size_t got = 0;
	int rc = praas_slot_log_open(s->store, &id, &log);

	if (rc == 0)
		rc = praas_slot_log_read(&log, log.snapshot_slot, &s->entry);
	if (rc == 0)
		rc = s->store->ops->get(s->store, s->key, 0, s->values, bytes, &got);
	return rc == 0 && got != bytes ? -EIO : rc;
}

static int round_store(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct stored *s = c->data;
	bool reads = c->arg != NULL;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0;

		/* Written anew each time: it went past the page cache, and is read from the disk. */
		if (reads)
			rc = write_out(s, c->size);
		t0 = praas_perf_ticks();
		if (rc == 0)
			rc = reads ? read_in(s, c->size) : write_out(s, c->size);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
		(void)drop(s, s->key);
	}
	return rc;
}

void praas_bench_store(struct praas_contender *c, uint64_t size, bool write,
		       enum praas_bench_place place)
{
	static const char reading;
	static const char *const names[2][4] = {
		{ "store-in", "store-in-s3", "store-in-sealed", "store-in-redis" },
		{ "store-out", "store-out-s3", "store-out-sealed", "store-out-redis" }
	};
	static const char *const floors[2][4] = {
		{ "file-read", "curl-get", "file-read", "redis-get" },
		{ "file-write-fsync", "curl-put", "file-write-fsync",
		  "redis-set-always" }
	};

	*c = (struct praas_contender){ .bench = "swap",
				       .variant = names[write][place],
				       .role = PRAAS_ROLE_OURS,
				       .waits = "block",
				       .size = size,
				       .n = 1,
				       .versus = floors[write][place],
				       .arg = write ? NULL : &reading,
				       .setup = setup,
				       .round = round_store,
				       .teardown = teardown };
}
