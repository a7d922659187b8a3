/* SPDX-License-Identifier: Apache-2.0 */
#include "control/collect.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

#include "control/say.h"
#include "controller/store/gc.h"
#include "controller/store/sealed.h"
#include "controller/store/walk.h"
#include "controller/store/whole.h"

#define BELOW_BYTES 128u
#define SECOND_NS 1000000000ull
#define WALKS 4u /* in a grace: so what is unneeded stays for 1 to 1 1/4 of it */
#define STORES_MAX 100000u /* whose looks are remembered */

/* What was found in a store. */
struct looked {
	char below[BELOW_BYTES];
	struct praas_gc_look look;
	uint64_t walk; /* in which it was there last */
	UT_hash_handle hh;
};

struct praas_collect {
	char url[PRAAS_STORE_URL_MAX + 1];
	const struct praas_seal_keys *keys;
	uint64_t grace_s;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	bool stop;
	struct praas_collect_stats stats;
	/* The thread's. */
	struct looked *all;
	uint64_t walk;
};

static bool stopping(struct praas_collect *c)
{
	bool stop;

	(void)pthread_mutex_lock(&c->lock);
	stop = c->stop;
	(void)pthread_mutex_unlock(&c->lock);
	return stop;
}

/* Seconds, or less when it is to stop. */
static void rest(struct praas_collect *c, uint64_t seconds)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail for this clock */
	until.tv_sec += (time_t)seconds;
	(void)pthread_mutex_lock(&c->lock);
	while (!c->stop &&
	       pthread_cond_timedwait(&c->wake, &c->lock, &until) != ETIMEDOUT)
		;
	(void)pthread_mutex_unlock(&c->lock);
}

static void count(struct praas_collect *c, const struct praas_gc_result *result,
		  bool removed, bool failed)
{
	(void)pthread_mutex_lock(&c->lock);
	c->stats.objects += result->objects;
	c->stats.entries += result->entries;
	c->stats.stores += removed;
	c->stats.failures += failed;
	(void)pthread_mutex_unlock(&c->lock);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct looked *find(struct praas_collect *c, const char *below)
{
	struct looked *l;

	HASH_FIND_STR(c->all, below, l);
	if (l || HASH_COUNT(c->all) >= STORES_MAX)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	memcpy(l->below, below, strlen(below) + 1); /* its length was looked at */
	HASH_ADD_STR(c->all, below, l);
	return l;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void forget(struct praas_collect *c, struct looked *l)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): those that are freed are out of the table */
	HASH_DEL(c->all, l);
	praas_gc_look_release(&l->look);
	free(l);
}

static int look_at(struct praas_collect *c, struct looked *l, const char *url,
		   struct praas_gc_result *result)
{
	struct praas_slot_log *log = calloc(1, sizeof(*log));
	struct praas_store *store = NULL;
	struct praas_slot_id id;
	int rc = log ? praas_store_open(url, &store) : -ENOMEM;

	if (rc == 0)
		rc = praas_store_seal(store, c->keys, NULL, &store);
	if (rc == 0)
		rc = praas_slot_log_identify(store, &id);
	if (rc == 0)
		rc = praas_slot_log_open(store, &id, log);
	if (rc == 0 && !l->look.names)
		rc = praas_gc_look(log, praas_gc_now_ns(), &l->look);
	else if (rc == 0)
		rc = praas_gc_collect(log, praas_gc_now_ns(), c->grace_s * SECOND_NS,
				      &l->look, result);
	praas_store_free(store);
	free(log);
	return rc;
}

static int one_store(void *user, const char *below)
{
	struct praas_gc_result result = { 0 };
	char url[PRAAS_STORE_URL_MAX + 1];
	struct praas_collect *c = user;
	bool removed = false;
	struct looked *l;
	int rc;

	if (stopping(c))
		return -ECANCELED;
	if (below[0] == '\0' || strlen(below) >= BELOW_BYTES ||
	    praas_store_url_below(c->url, below, url, sizeof(url)) != 0)
		return 0; /* none of ours */
	l = find(c, below);
	if (!l)
		return 0; /* another time */
	l->walk = c->walk;
	rc = look_at(c, l, url, &result);
	if (rc == 0 && result.deleted) {
		rc = praas_store_remove(url);
		removed = rc == 0;
		forget(c, l);
	}
	if (result.objects + result.entries > 0 || removed)
		praas_say(PRAAS_SAY_INFO,
			  "store %s: %" PRIu64 " objects and %" PRIu64
			  " entries of the log that nobody needs are removed%s",
			  below, result.objects, result.entries,
			  removed ? "; the process is deleted, and all of it gone"
				  : "");
	/* What just came or went, and what cannot be read, is not ours to judge: praas doctor --store tells. */
	count(c, &result, removed, rc != 0 && rc != -EAGAIN && rc != -ENOENT);
	return 0;
}

static void walk(struct praas_collect *c)
{
	char why[PRAAS_STORE_WHY_BYTES];
	struct looked *l, *next;
	int rc;

	c->walk++;
	rc = praas_store_walk(c->url, one_store, c, why);
	if (rc != 0) {
		if (rc != -ECANCELED && rc != -ENOENT)
			praas_say(PRAAS_SAY_WARNING,
				  "the stores cannot be looked through: %s",
				  why[0] ? why : strerror(-rc));
		return;
	}
	HASH_ITER(hh, c->all, l, next)
	{
		if (l->walk != c->walk)
			forget(c, l);
	}
	(void)pthread_mutex_lock(&c->lock);
	c->stats.walks++;
	(void)pthread_mutex_unlock(&c->lock);
}

static void *run(void *user)
{
	struct praas_collect *c = user;
	uint64_t every = c->grace_s / WALKS;

	while (!stopping(c)) {
		rest(c, every > 0 ? every : 1);
		if (!stopping(c))
			walk(c);
	}
	return NULL;
}

int praas_collect_start(const char *store_url, const struct praas_seal_keys *keys,
			uint64_t grace_s, struct praas_collect **ret_collect)
{
	struct praas_collect *c;
	pthread_condattr_t attr;

	*ret_collect = NULL;
	if (grace_s == 0)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	if (strlen(store_url) >= sizeof(c->url)) {
		free(c);
		return -EINVAL;
	}
	memcpy(c->url, store_url, strlen(store_url) + 1);
	c->keys = keys;
	c->grace_s = grace_s;
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	if (pthread_create(&c->thread, NULL, run, c) != 0) {
		(void)pthread_cond_destroy(&c->wake);
		(void)pthread_mutex_destroy(&c->lock);
		free(c);
		return -EAGAIN;
	}
	*ret_collect = c;
	return 0;
}

void praas_collect_stop(struct praas_collect *c)
{
	struct looked *l, *next;

	if (!c)
		return;
	(void)pthread_mutex_lock(&c->lock);
	c->stop = true;
	(void)pthread_cond_signal(&c->wake);
	(void)pthread_mutex_unlock(&c->lock);
	(void)pthread_join(c->thread, NULL);
	HASH_ITER(hh, c->all, l, next)
	forget(c, l);
	(void)pthread_cond_destroy(&c->wake);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

void praas_collect_stats(struct praas_collect *c, struct praas_collect_stats *ret_stats)
{
	*ret_stats = (struct praas_collect_stats){ 0 };
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->lock);
	*ret_stats = c->stats;
	(void)pthread_mutex_unlock(&c->lock);
}
