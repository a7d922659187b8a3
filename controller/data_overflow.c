/* SPDX-License-Identifier: Apache-2.0
 *
 * The data thread's part of state beyond memory (dataplane/overflow.h): how much memory objects may
 * have, where they lie in the store, and reading them from there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/data_private.h"
#include "controller/journal.h"
#include "controller/snapshot_late.h"
#include "internal/base.h"

/* Of what is free once all else is made, in eighths: for objects; with former values that readers may still see. The rest
 * is for messages, requests and results. */
#define EIGHTHS 3u
#define EIGHTHS_ALL 6u
#define BYTES_MIN (1ull << 20)     /* less than that is refused */
#define FAILED_TELL_NS 1000000000u /* no more often */

static bool wanted(const struct praas_data *d)
{
	return d->config.config->state_bytes > 0;
}

/* ---- what the process asks for ---- */

static void fetch(
	void *user, uint32_t number, const struct praas_place *place,
	/* NOLINTNEXTLINE(readability-non-const-parameter): it is written there */
	uint8_t *data)
{
	struct praas_data *d = user;
	struct praas_fetch_order order = { .chunk = d->places->chunks[place->chunk],
					   .offset = place->offset,
					   .bytes = place->bytes,
					   .data = data };

	memcpy(order.hash, place->hash, sizeof(order.hash));
	praas_fetcher_want(d->fetcher, number, &order);
}

/* A line of the log; none when there is no memory, or no room. */
static PRAAS_COLD void tell(struct praas_data *d, enum praas_log_level level,
			    const char *what, const char *more)
{
	struct praas_log_note *note = calloc(1, sizeof(*note));

	if (!note)
		return;
	(void)snprintf(note->text, sizeof(note->text), "%s: %s", what,
		       more); /* may be cut */
	if (praas_data_report_spare(d, PRAAS_REPORT_LOG, (uint64_t)level,
				    (uint64_t)(uintptr_t)note) != 0)
		free(note);
}

/* Says why, but not each time. */
static void tell_failure(struct praas_data *d, int rc)
{
	uint64_t now = praas_now_ns();

	if (praas_likely(rc == 0) || now - d->fetch_told_ns < FAILED_TELL_NS)
		return;
	d->fetch_told_ns = now;
	tell(d, PRAAS_LOG_ERROR,
	     rc == -EIO ? "a state object in the store is damaged, or gone"
			: "the store does not give a state object now",
	     praas_fetcher_why(d->fetcher));
}

static int await(void *user, uint32_t number)
{
	struct praas_data *d = user;
	int rc = praas_fetcher_await(d->fetcher, number);

	tell_failure(d, rc);
	return rc;
}

static void want_checkpoint(void *user)
{
	praas_data_report(user, PRAAS_REPORT_ROOM, 0, 0);
}

unsigned praas_data_overflow_turn(struct praas_data *d)
{
	unsigned done = 0;
	uint32_t number;
	int rc;

	while (praas_fetcher_take(d->fetcher, &number, &rc)) {
		tell_failure(d, rc);
		praas_process_fetched(d->process, number, rc);
		done++;
	}
	return done;
}

/* ---- life ---- */

int praas_data_overflow_build(struct praas_data *d)
{
	const struct praas_overflow_host host = {
		.fetch = fetch, .await = await, .wanted = want_checkpoint, .user = d
	};

	return wanted(d) ? praas_process_overflow_set(d->process, &host) : 0;
}

/* From the fetcher's thread. */
static void wake(void *user)
{
	struct praas_data *d = user;

	praas_bell_ring(&d->fetch_bell);
}

static int begin_fetching(struct praas_data *d, struct praas_store *store)
{
	praas_bell_init(&d->fetch_bell, d->config.exchange->data_bell.shared,
			d->config.exchange->data_bell.event_fd);
	return praas_fetcher_new(store, wake, d, &d->fetcher);
}

int praas_data_overflow_load(struct praas_data *d, const struct praas_data_load *load)
{
	struct praas_refs refs = praas_snapshot_refs(load->snapshot);
	int rc;

	/* Damage that shows without reading is the whole snapshot's, and shows now. */
	rc = praas_refs_check(load->store, &refs);
	if (rc == 0)
		rc = praas_places_new(load->snapshot, load->whole ? load->base : NULL,
				      &d->places);
	if (rc != 0)
		return rc;
	rc = begin_fetching(d, load->fetch_store);
	if (rc == 0)
		praas_process_overflow_from(d->process, d->places->place);
	return rc;
}

int praas_data_overflow_serve(struct praas_data *d)
{
	struct praas_process_stats stats;
	struct praas_pool_stats pool;
	uint64_t used, bytes;
	char text[32];

	if (!wanted(d))
		return 0;
	praas_process_stats(d->process, &stats);
	praas_pool_stats(praas_pool_memory_pool(d->memory), &pool);
	/* What objects have already is theirs. */
	used = stats.state_bytes - stats.state_out_bytes;
	used = pool.bytes_used - praas_min_u64(used, pool.bytes_used);
	bytes = (pool.bytes_total - used) / 8 * EIGHTHS;
	if (bytes < BYTES_MIN) {
		(void)snprintf(d->text, sizeof(d->text),
			       "memory_bytes leaves %" PRIu64
			       " bytes for objects of state in memory, and at least "
			       "%llu are needed: give it more, or no state_bytes",
			       bytes, BYTES_MIN);
		return -ENOSPC;
	}
	praas_process_overflow_limit(d->process, bytes, bytes / EIGHTHS * EIGHTHS_ALL);
	(void)snprintf(text, sizeof(text), "%" PRIu64 " bytes", bytes); /* fits */
	tell(d, PRAAS_LOG_INFO, "memory for objects of the state", text);
	return 0;
}

void praas_data_overflow_end(struct praas_data *d)
{
	praas_fetcher_free(d->fetcher);
	d->fetcher = NULL;
}

void praas_data_overflow_places(struct praas_data *d, struct praas_places *places,
				uint64_t store)
{
	struct praas_places *before = d->places;

	/* Without a thread that reads nothing goes; the next checkpoint tries again. */
	if (!d->fetcher &&
	    begin_fetching(d, (struct praas_store *)(uintptr_t)store) != 0) {
		praas_places_free(places);
		return;
	}
	d->places = places;
	praas_process_places(d->process, places->place, places->count);
	praas_places_free(before);
}
