/* SPDX-License-Identifier: Apache-2.0
 *
 * What happened to processes, for those who watch: the last so many changes of state, numbered. A
 * watcher is a place in that list and holds nothing else, so a slow one costs no memory; one that the
 * list has left behind is told that there is a gap.
 */
#ifndef PRAAS_CONTROL_EVENTS_H
#define PRAAS_CONTROL_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/records/records.h"

#define PRAAS_EVENT_ID_BYTES 40u    /* "0123456789abcdef-18446744073709551615" */
#define PRAAS_EVENT_TEXT_BYTES 400u /* of one, as it is sent */

struct praas_events;

int praas_events_new(struct praas_events **ret_events); /* 0; -ENOMEM */
void praas_events_free(struct praas_events *events);    /* nobody watches */

/* Any thread; events may be NULL. state: the record's, or "DELETED". Never blocks for long. */
void praas_events_add(struct praas_events *events,
		      const struct praas_process_record *process, const char *state);

/* One more who is told of each event, at once, under the lock of the events; must not wait. NULL: nobody. */
void praas_events_listen(struct praas_events *events,
			 void (*fn)(void *user,
				    const struct praas_process_record *process,
				    const char *state),
			 void *user);

/* Where the list ends now, as an id. */
void praas_events_now(struct praas_events *events, char ret_id[PRAAS_EVENT_ID_BYTES]);

/* One who watches an application. Its memory is the caller's. */
struct praas_watcher {
	struct praas_events *events;
	uint8_t app[PRAAS_RECORD_ID_BYTES];
	uint64_t next; /* number of the first event that it was not told */
	bool gap;      /* to be told */
	bool beat;     /* a sign of life is due */
	bool waiting;
	/* Under the lock of the events, must not wait: sleep is called when there is nothing to
	 * tell, wake once when there is, or at the end. */
	void (*sleep)(struct praas_watcher *w);
	void (*wake)(struct praas_watcher *w);
	/* Whether he may be told more; the same lock, must not wait either. */
	bool (*allowed)(struct praas_watcher *w);
	struct praas_watcher *prev, *list_next;
};

/* after: an id, or NULL: from here on; one of another run, or of long ago, is a gap. 0; -EINVAL it is no
 * id; -EAGAIN there are PRAAS_LIMIT_WATCHERS; -ESHUTDOWN. */
int praas_watcher_begin(struct praas_watcher *w, struct praas_events *events,
			const uint8_t app[PRAAS_RECORD_ID_BYTES], const char *after);
void praas_watcher_end(struct praas_watcher *w);

/* Text of server-sent events. Bytes; 0: sleep was called; -ESHUTDOWN the end; -EACCES he may not be told
 * any more. bytes_max is at least
 * PRAAS_EVENT_TEXT_BYTES. */
int praas_watcher_read(struct praas_watcher *w, char *ret_text, uint32_t bytes_max);

/* Somebody may be allowed less than before: those who may not be told more are woken to their end. */
void praas_events_review(struct praas_events *events);
/* Once a second or so: the same, and those who have been told nothing for a while get a sign of life. */
void praas_events_tick(struct praas_events *events, uint64_t now_ns);
/* The end for all who watch. */
void praas_events_close(struct praas_events *events);

#endif
