/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/fetch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/overflow.h"
#include "internal/base.h"

enum state { FREE = 0, WANTED, READING, DONE };

struct slot {
	struct praas_fetch_order order;
	uint64_t turn; /* the lowest is next */
	enum state state;
	int rc;
};

struct praas_fetcher {
	struct praas_store *store;
	void (*done)(void *user);
	void *user;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wanted, read;
	_Atomic uint32_t ready; /* slots that are DONE; written under the mutex */
	bool stop;
	uint64_t turns;
	char why[PRAAS_STORE_WHY_BYTES];      /* under the mutex */
	char told_why[PRAAS_STORE_WHY_BYTES]; /* the data thread's copy */
	struct slot slot[PRAAS_FETCHES_MAX];
};

/* In the store's words, where it has some. */
static void note_why(struct praas_fetcher *f, int rc)
{
	const char *why = f->store->why[0] != '\0' ? f->store->why : strerror(-rc);

	(void)pthread_mutex_lock(&f->mutex);
	(void)snprintf(f->why, sizeof(f->why), "%s", why); /* may be cut */
	(void)pthread_mutex_unlock(&f->mutex);
}

static int read_value(struct praas_fetcher *f, const struct praas_fetch_order *o)
{
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES];
	char key[PRAAS_STORE_KEY_MAX + 1];
	size_t got = 0;
	int rc;

	f->store->why[0] = '\0';
	praas_snapshot_chunk_key(&o->chunk, key);
	rc = f->store->ops->get(f->store, key, o->offset, o->data, (size_t)o->bytes,
				&got);
	if (rc == 0) {
		praas_snapshot_hash(o->data, got, hash);
		if (got == o->bytes && memcmp(hash, o->hash, sizeof(hash)) == 0)
			return 0;
		rc = -EPROTO;
	}
	note_why(f, rc);
	return rc == -EPROTO || rc == -ENOENT ? -EIO : -EREMOTEIO;
}

/* The one that has waited longest; NULL: none. */
static struct slot *next_wanted(struct praas_fetcher *f)
{
	struct slot *best = NULL;

	for (uint32_t i = 0; i < PRAAS_FETCHES_MAX; i++) {
		struct slot *s = &f->slot[i];

		if (s->state == WANTED && (!best || s->turn < best->turn))
			best = s;
	}
	return best;
}

static void *run(void *user)
{
	struct praas_fetcher *f = user;

	(void)pthread_mutex_lock(&f->mutex);
	while (!f->stop) {
		struct slot *s = next_wanted(f);
		int rc;

		if (!s) {
			(void)pthread_cond_wait(&f->wanted, &f->mutex);
			continue;
		}
		s->state = READING;
		(void)pthread_mutex_unlock(&f->mutex);
		rc = read_value(f, &s->order);
		(void)pthread_mutex_lock(&f->mutex);
		s->rc = rc;
		s->state = DONE;
		/* fetch.R0, pairs with fetch.A0: the value is whole. */
		(void)atomic_fetch_add_explicit(&f->ready, 1, memory_order_release);
		(void)pthread_cond_signal(&f->read);
		(void)pthread_mutex_unlock(&f->mutex);
		f->done(f->user);
		(void)pthread_mutex_lock(&f->mutex);
	}
	(void)pthread_mutex_unlock(&f->mutex);
	return NULL;
}

int praas_fetcher_new(struct praas_store *store, void (*done)(void *user), void *user,
		      struct praas_fetcher **ret_fetcher)
{
	struct praas_fetcher *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return -ENOMEM;
	f->store = store;
	f->done = done;
	f->user = user;
	(void)pthread_mutex_init(&f->mutex, NULL); /* cannot fail here */
	(void)pthread_cond_init(&f->wanted, NULL);
	(void)pthread_cond_init(&f->read, NULL);
	rc = pthread_create(&f->thread, NULL, run, f);
	if (rc != 0) {
		free(f);
		return -rc;
	}
	*ret_fetcher = f;
	return 0;
}

void praas_fetcher_free(struct praas_fetcher *f)
{
	if (!f)
		return;
	(void)pthread_mutex_lock(&f->mutex);
	f->stop = true;
	(void)pthread_cond_signal(&f->wanted);
	(void)pthread_mutex_unlock(&f->mutex);
	(void)pthread_join(f->thread, NULL); /* ours, joined once */
	(void)pthread_cond_destroy(&f->read);
	(void)pthread_cond_destroy(&f->wanted);
	(void)pthread_mutex_destroy(&f->mutex);
	free(f);
}

void praas_fetcher_want(struct praas_fetcher *f, uint32_t number,
			const struct praas_fetch_order *order)
{
	struct slot *s = &f->slot[number];

	(void)pthread_mutex_lock(&f->mutex);
	praas_check(s->state == FREE);
	s->order = *order;
	s->turn = ++f->turns;
	s->state = WANTED;
	(void)pthread_cond_signal(&f->wanted);
	(void)pthread_mutex_unlock(&f->mutex);
}

bool praas_fetcher_ready(const struct praas_fetcher *f)
{
	/* fetch.A0, pairs with fetch.R0. */
	return atomic_load_explicit(&f->ready, memory_order_acquire) != 0;
}

/* With the mutex. */
static int take(struct praas_fetcher *f, struct slot *s)
{
	s->state = FREE;
	(void)atomic_fetch_sub_explicit(&f->ready, 1, memory_order_relaxed);
	return s->rc;
}

bool praas_fetcher_take(struct praas_fetcher *f, uint32_t *ret_number, int *ret_rc)
{
	bool found = false;

	if (!praas_fetcher_ready(f))
		return false;
	(void)pthread_mutex_lock(&f->mutex);
	for (uint32_t i = 0; !found && i < PRAAS_FETCHES_MAX; i++) {
		if (f->slot[i].state != DONE)
			continue;
		found = true;
		*ret_number = i;
		*ret_rc = take(f, &f->slot[i]);
	}
	(void)pthread_mutex_unlock(&f->mutex);
	return found;
}

int praas_fetcher_await(struct praas_fetcher *f, uint32_t number)
{
	struct slot *s = &f->slot[number];
	int rc;

	(void)pthread_mutex_lock(&f->mutex);
	praas_check(s->state != FREE);
	while (s->state != DONE)
		(void)pthread_cond_wait(&f->read, &f->mutex);
	rc = take(f, s);
	(void)pthread_mutex_unlock(&f->mutex);
	return rc;
}

const char *praas_fetcher_why(struct praas_fetcher *f)
{
	(void)pthread_mutex_lock(&f->mutex);
	memcpy(f->told_why, f->why, sizeof(f->told_why));
	(void)pthread_mutex_unlock(&f->mutex);
	return f->told_why;
}
