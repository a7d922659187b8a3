/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that reads values from the store for the data thread, one after the other.
 */
#ifndef PRAAS_CONTROLLER_FETCH_H
#define PRAAS_CONTROLLER_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/snapshot.h"

struct praas_fetcher;

/* A value that is wanted. */
struct praas_fetch_order {
	struct praas_snapshot_chunk chunk;
	uint64_t offset, bytes;
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES];
	uint8_t *data; /* where it goes: the thread's until it is done */
};

/* Starts the thread. store is its own from then on, and stays the caller's. done: called by it whenever something has been
 * read. 0; -ENOMEM; -EAGAIN. */
int praas_fetcher_new(struct praas_store *store, void (*done)(void *user), void *user,
		      struct praas_fetcher **ret_fetcher);
/* Ends it when it has read what it is at; the rest is not read. NULL is allowed. */
void praas_fetcher_free(struct praas_fetcher *f);

/* The rest: data thread. Wants a value under a number below PRAAS_FETCHES_MAX that is not in use. */
void praas_fetcher_want(struct praas_fetcher *f, uint32_t number,
			const struct praas_fetch_order *order);
/* Something has been read and not been taken. */
bool praas_fetcher_ready(const struct praas_fetcher *f);
/* One that has been read, and what came of it: 0; -EIO it is not what was written, or gone; -EREMOTEIO the store does not
 * give it. False: none. */
bool praas_fetcher_take(struct praas_fetcher *f, uint32_t *ret_number, int *ret_rc);
/* Waits for that one and takes it. */
int praas_fetcher_await(struct praas_fetcher *f, uint32_t number);
/* Why the store did not give the last one that it did not give; valid until the next call. */
const char *praas_fetcher_why(struct praas_fetcher *f);

#endif
