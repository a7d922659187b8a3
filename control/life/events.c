/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/events.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "control/names.h"

#define RUN_BYTES 8u
#define BEAT_NS (15 * 1000000000ull)

struct event {
	uint64_t number, changed_ns;
	uint32_t epoch;
	const char *state; /* static */
	uint8_t app[PRAAS_RECORD_ID_BYTES];
	char name[PRAAS_NAME_MAX + 1];
};

struct praas_events {
	pthread_mutex_t lock;
	char run[2 * RUN_BYTES + 1]; /* ids of another are of another list */
	uint64_t count;              /* that there were; the next has this number */
	uint64_t beat_ns;
	uint32_t watchers;
	bool closed;
	void (*listener)(void *user, const struct praas_process_record *process,
			 const char *state);
	void *listener_user;
	struct praas_watcher *waiting;
	struct event ring[PRAAS_LIMIT_EVENTS];
};

int praas_events_new(struct praas_events **ret_events)
{
	struct praas_events *e = calloc(1, sizeof(*e));
	uint8_t run[RUN_BYTES];

	if (!e)
		return -ENOMEM;
	(void)pthread_mutex_init(&e->lock, NULL);
	praas_random(run, sizeof(run));
	praas_hex_encode(run, sizeof(run), e->run);
	*ret_events = e;
	return 0;
}

void praas_events_free(struct praas_events *events)
{
	if (!events)
		return;
	(void)pthread_mutex_destroy(&events->lock);
	free(events);
}

/* Lock held. */
/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macros */
static void wake_all(struct praas_events *e)
{
	struct praas_watcher *w;

	while ((w = e->waiting)) {
		DL_DELETE2(e->waiting, w, prev, list_next);
		w->waiting = false;
		w->wake(w);
	}
}

void praas_events_add(struct praas_events *events,
		      const struct praas_process_record *process, const char *state)
{
	struct event *at;

	if (!events)
		return;
	(void)pthread_mutex_lock(&events->lock);
	at = &events->ring[events->count % PRAAS_LIMIT_EVENTS];
	*at = (struct event){ .number = process->number,
			      .changed_ns = process->changed_ns,
			      .epoch = process->epoch,
			      .state = state };
	memcpy(at->app, process->app, sizeof(at->app));
	memcpy(at->name, process->name, sizeof(at->name));
	events->count++;
	if (events->listener)
		events->listener(events->listener_user, process, state);
	wake_all(events);
	(void)pthread_mutex_unlock(&events->lock);
}

void praas_events_listen(struct praas_events *events,
			 void (*fn)(void *user,
				    const struct praas_process_record *process,
				    const char *state),
			 void *user)
{
	(void)pthread_mutex_lock(&events->lock);
	events->listener = fn;
	events->listener_user = user;
	(void)pthread_mutex_unlock(&events->lock);
}

static void write_id(const struct praas_events *e, uint64_t number,
		     char ret_id[PRAAS_EVENT_ID_BYTES])
{
	(void)snprintf(ret_id, PRAAS_EVENT_ID_BYTES, "%s-%llu", e->run,
		       (unsigned long long)number);
}

void praas_events_now(struct praas_events *events, char ret_id[PRAAS_EVENT_ID_BYTES])
{
	(void)pthread_mutex_lock(&events->lock);
	write_id(events, events->count, ret_id);
	(void)pthread_mutex_unlock(&events->lock);
}

/* Where an id points to; lock held. -EINVAL. */
static int read_id(const struct praas_events *e, const char *id, uint64_t *ret_next,
		   bool *ret_gap)
{
	size_t run_bytes = 2 * RUN_BYTES;
	uint8_t run[RUN_BYTES];
	char text[2 * RUN_BYTES + 1];

	if (strnlen(id, PRAAS_EVENT_ID_BYTES) < run_bytes + 2 || id[run_bytes] != '-')
		return -EINVAL;
	(void)snprintf(text, sizeof(text), "%s", id);
	if (praas_hex_decode(text, run, sizeof(run)) ||
	    praas_number_parse(id + run_bytes + 1, UINT64_MAX, ret_next))
		return -EINVAL;
	*ret_gap = strcmp(text, e->run) != 0 || *ret_next > e->count;
	if (*ret_gap)
		*ret_next = e->count;
	return 0;
}

int praas_watcher_begin(struct praas_watcher *w, struct praas_events *events,
			const uint8_t app[PRAAS_RECORD_ID_BYTES], const char *after)
{
	int rc = 0;

	w->events = events;
	memcpy(w->app, app, sizeof(w->app));
	(void)pthread_mutex_lock(&events->lock);
	w->next = events->count;
	if (after)
		rc = read_id(events, after, &w->next, &w->gap);
	if (rc == 0 && events->closed)
		rc = -ESHUTDOWN;
	else if (rc == 0 && events->watchers >= PRAAS_LIMIT_WATCHERS)
		rc = -EAGAIN;
	if (rc == 0)
		events->watchers++;
	(void)pthread_mutex_unlock(&events->lock);
	return rc;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macros */
void praas_watcher_end(struct praas_watcher *w)
{
	struct praas_events *e = w->events;

	(void)pthread_mutex_lock(&e->lock);
	if (w->waiting)
		DL_DELETE2(e->waiting, w, prev, list_next);
	w->waiting = false;
	e->watchers--;
	(void)pthread_mutex_unlock(&e->lock);
}

static int write_event(const struct praas_events *e, uint64_t number, char *ret_text,
		       uint32_t bytes_max)
{
	const struct event *at = &e->ring[number % PRAAS_LIMIT_EVENTS];
	char id[PRAAS_EVENT_ID_BYTES];

	write_id(e, number + 1, id); /* what follows it */
	return snprintf(ret_text, bytes_max,
			"id: %s\nevent: process\ndata: {\"pid\":\"%s\",\"number\":%llu,"
			"\"state\":\"%s\",\"epoch\":%u,\"changed_ns\":%llu}\n\n",
			id, at->name, (unsigned long long)at->number, at->state,
			at->epoch, (unsigned long long)at->changed_ns);
}

/* Lock held. */
static int write_gap(struct praas_watcher *w, char *ret_text, uint32_t bytes_max)
{
	char id[PRAAS_EVENT_ID_BYTES];

	w->gap = false;
	w->next = w->events->count;
	write_id(w->events, w->next, id);
	return snprintf(ret_text, bytes_max, "id: %s\nevent: gap\ndata: {}\n\n", id);
}

/* All that fits; lock held. */
static int write_new(struct praas_watcher *w, char *ret_text, uint32_t bytes_max)
{
	const struct praas_events *e = w->events;
	uint32_t n = 0;

	for (; w->next < e->count && bytes_max - n >= PRAAS_EVENT_TEXT_BYTES; w->next++)
		if (!memcmp(e->ring[w->next % PRAAS_LIMIT_EVENTS].app, w->app,
			    sizeof(w->app)))
			n += (uint32_t)write_event(e, w->next, ret_text + n,
						   bytes_max - n);
	return (int)n;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macros */
int praas_watcher_read(struct praas_watcher *w, char *ret_text, uint32_t bytes_max)
{
	struct praas_events *e = w->events;
	int n = 0;

	(void)pthread_mutex_lock(&e->lock);
	if (!w->allowed(w))
		n = -EACCES;
	else if (w->gap || e->count - w->next > PRAAS_LIMIT_EVENTS)
		n = write_gap(w, ret_text, bytes_max);
	else
		n = write_new(w, ret_text, bytes_max);
	if (n == 0 && w->beat)
		n = snprintf(ret_text, bytes_max, ":\n\n");
	w->beat = false;
	if (n == 0 && e->closed) {
		n = -ESHUTDOWN;
	} else if (n == 0) {
		w->sleep(w);
		w->waiting = true;
		DL_APPEND2(e->waiting, w, prev, list_next);
	}
	(void)pthread_mutex_unlock(&e->lock);
	return n;
}

/* Lock held. */
/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macros */
static void wake_refused(struct praas_events *e)
{
	struct praas_watcher *w, *next;

	DL_FOREACH_SAFE2(e->waiting, w, next, list_next)
	{
		if (w->allowed(w))
			continue;
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): w is in the list */
		DL_DELETE2(e->waiting, w, prev, list_next);
		w->waiting = false;
		w->wake(w);
	}
}

void praas_events_review(struct praas_events *events)
{
	(void)pthread_mutex_lock(&events->lock);
	wake_refused(events);
	(void)pthread_mutex_unlock(&events->lock);
}

void praas_events_tick(struct praas_events *events, uint64_t now_ns)
{
	struct praas_watcher *w;

	(void)pthread_mutex_lock(&events->lock);
	wake_refused(events);
	if (now_ns - events->beat_ns >= BEAT_NS) {
		events->beat_ns = now_ns;
		for (w = events->waiting; w; w = w->list_next)
			w->beat = true;
		wake_all(events);
	}
	(void)pthread_mutex_unlock(&events->lock);
}

void praas_events_close(struct praas_events *events)
{
	(void)pthread_mutex_lock(&events->lock);
	events->closed = true;
	wake_all(events);
	(void)pthread_mutex_unlock(&events->lock);
}
