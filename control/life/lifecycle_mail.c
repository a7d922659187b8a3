/* SPDX-License-Identifier: Apache-2.0
 *
 * What controllers ask for about messages between processes (docs/control-link.md): put some into the
 * backup queue of another process of the application or say where it serves, read one's own queue. A request
 * is read on the link thread and worked off by a job, for it may need a commit; those of one process one
 * after the other, in their order.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/life/endpoints.h"
#include "control/life/mail_words.h"
#include "control/records/queued.h"
#include "internal/base.h"

#define TICKET_S 3600u

enum mail_kind { MAIL_APPEND, MAIL_READ, MAIL_TRIM, MAIL_LIFT };

struct praas_mail_request {
	struct praas_mail_request *next;
	struct praas_life_process *process; /* who asks; not to be used by a wake */
	struct praas_life *life;
	enum mail_kind kind;
	char node[PRAAS_NAME_MAX + 1]; /* of who asks */
	uint64_t conn, id, source;
	uint64_t to;       /* MAIL_APPEND */
	uint64_t position; /* MAIL_READ, MAIL_LIFT */
	bool wake;
	uint8_t *data;
	uint32_t bytes, count;
	struct praas_app_record app; /* of a wake */
	struct praas_life_wait wait; /* the same */
	struct praas_queued messages[];
};

/* ---- answers ------------------------------------------------------------------------ */

/* Takes message (NULL: no memory). A controller that does not get its answer connects again, and asks again. */
static void reply(struct praas_life *life, uint64_t conn, json_t *message,
		  const void *raw, size_t bytes)
{
	if (!message ||
	    praas_link_send_raw(life->link, conn, message, raw, bytes) == -ENOBUFS)
		praas_link_close(life->link, conn);
	json_decref(message);
}

static void answer(struct praas_life *life, uint64_t conn, const char *type,
		   uint64_t id, const char *text)
{
	reply(life, conn,
	      json_pack("{s:s,s:I,s:s}", "t", type, "id", (json_int_t)id, "rc", text),
	      NULL, 0);
}

void praas_life_mail_answer(struct praas_life_process *p, uint64_t conn,
			    const char *type, uint64_t id, const char *text)
{
	answer(p->life, conn, type, id, text);
}

static void way(const struct praas_mail_request *rq, const char *text)
{
	answer(rq->life, rq->conn, "way", rq->id, text);
}

/* It serves: where, and a ticket for the sender. No lock. */
static void way_moved(const struct praas_mail_request *rq,
		      const struct praas_app_record *app,
		      const struct praas_process_record *record)
{
	struct praas_grant grant = { .rights = PRAAS_RIGHT_SEND | PRAAS_RIGHT_INVOKE,
				     .ttl_s = TICKET_S,
				     .source = rq->source };
	char text[PRAAS_ENDPOINTS_BYTES];
	json_t *endpoints, *ticket = NULL;

	bool local = praas_nodes_same(rq->life->config.nodes, record->node, rq->node);

	memcpy(text, record->endpoints, sizeof(text));
	if (!local)
		praas_endpoints_far(text);
	endpoints = json_loads(text, 0, NULL);
	if (!endpoints || praas_keys_ticket(rq->life->config.keys, app, record,
					    endpoints, &grant, &ticket)) {
		way(rq, "BUSY");
	} else {
		reply(rq->life, rq->conn,
		      json_pack("{s:s,s:I,s:s,s:I,s:I,s:O,s:O,s:O,s:b}", "t", "way",
				"id", (json_int_t)rq->id, "rc", "MOVED", "epoch",
				(json_int_t)record->epoch, "lost_epoch",
				(json_int_t)record->lost_epoch, "endpoints", endpoints,
				"ticket", json_object_get(ticket, "ticket"),
				"session_key", json_object_get(ticket, "session_key"),
				"local", local),
		      NULL, 0);
	}
	json_decref(ticket);
	json_decref(endpoints);
}

static void way_queued(const struct praas_mail_request *rq, uint32_t taken)
{
	const struct praas_queued *last = taken ? &rq->messages[taken - 1] : NULL;

	if (!last) {
		way(rq, "QUEUED"); /* it was asked for the way alone */
		return;
	}
	reply(rq->life, rq->conn,
	      json_pack("{s:s,s:I,s:s,s:I,s:I}", "t", "way", "id", (json_int_t)rq->id,
			"rc", "QUEUED", "epoch", (json_int_t)last->epoch, "number",
			(json_int_t)last->number),
	      NULL, 0);
}

/* ---- requests ----------------------------------------------------------------------- */

static struct praas_mail_request *make(struct praas_life_process *p,
				       enum mail_kind kind, uint64_t conn, uint64_t id,
				       uint32_t count)
{
	struct praas_mail_request *rq =
		calloc(1, sizeof(*rq) + count * sizeof(rq->messages[0]));

	if (!rq)
		return NULL;
	rq->process = p;
	rq->life = p->life;
	rq->kind = kind;
	rq->conn = conn;
	rq->id = id;
	memcpy(rq->node, p->record.node, sizeof(rq->node));
	rq->source = p->number;
	rq->count = count;
	return rq;
}

/* Lock held. */
static void drop(struct praas_mail_request *rq)
{
	rq->life->mail_bytes -= rq->bytes;
	free(rq->data);
	free(rq);
}

static void run_mail(struct praas_job *job);

/* Behind those that wait. Lock held. */
static void submit(struct praas_life_process *p, struct praas_mail_request *rq)
{
	struct praas_life_mail *m = &p->mail;

	if (m->last)
		m->last->next = rq;
	else
		m->first = rq;
	m->last = rq;
	m->waiting++;
	p->life->mail_bytes += rq->bytes;
	if (m->working)
		return;
	m->working = true;
	m->job.run = run_mail;
	praas_life_background(p->life, &m->job);
}

static bool too_many(const struct praas_life_process *p, uint32_t bytes)
{
	return p->mail.waiting >= PRAAS_LIMIT_MAIL_WAITING ||
	       p->life->mail_bytes + bytes > PRAAS_LIMIT_MAIL_BYTES;
}

/* ---- what controllers say ----------------------------------------------------------- */

bool praas_life_on_append(struct praas_life_process *p, uint64_t conn,
			  const json_t *message, struct praas_link_raw *raw)
{
	uint64_t id = praas_json_number_or(message, "id", 0);
	uint64_t to = praas_json_number_or(message, "to", 0);
	bool wake = json_is_true(json_object_get(message, "wake"));
	bool lost = raw->bytes > 0 && !raw->data;
	struct praas_queued messages[PRAAS_LIMIT_MAIL_BATCH];
	struct praas_mail_request *rq;
	uint32_t count;

	if (to == 0 || praas_mail_read(message, p->number, p->record.epoch, raw->data,
				       raw->bytes, messages, &count))
		return false;
	if (wake && count > 0)
		return false;
	rq = lost || too_many(p, raw->bytes) ? NULL
					     : make(p, MAIL_APPEND, conn, id, count);
	if (!rq) {
		answer(p->life, conn, "way", id, "BUSY");
		return true;
	}
	if (count > 0)
		memcpy(rq->messages, messages, count * sizeof(messages[0]));
	rq->to = to;
	rq->wake = wake;
	rq->data = raw->data;
	rq->bytes = raw->bytes;
	raw->data = NULL;
	submit(p, rq);
	return true;
}

bool praas_life_on_read(struct praas_life_process *p, uint64_t conn,
			const json_t *message)
{
	uint64_t id = praas_json_number_or(message, "id", 0), after;
	struct praas_mail_request *rq;

	if (!praas_life_position(message, "after", &after))
		return false;
	praas_life_more_time(p);
	rq = too_many(p, 0) ? NULL : make(p, MAIL_READ, conn, id, 0);
	if (!rq) {
		answer(p->life, conn, "queue", id, "BUSY");
		return true;
	}
	rq->position = after;
	submit(p, rq);
	return true;
}

void praas_life_mail_trim(struct praas_life_process *p)
{
	struct praas_mail_request *rq;

	if (p->mail.trimming)
		return; /* it looks at the cut when it is its turn */
	rq = make(p, MAIL_TRIM, 0, 0, 0);
	if (!rq)
		return; /* the next snapshot has it, too */
	p->mail.trimming = true;
	submit(p, rq);
}

void praas_life_mail_lift(struct praas_life_process *p, uint64_t seen)
{
	struct praas_mail_request *rq = make(p, MAIL_LIFT, 0, 0, 0);

	if (!rq)
		return; /* it is asked for again before it serves */
	rq->position = seen;
	p->mail.appending++; /* until then what comes is not known */
	submit(p, rq);
}

bool praas_life_mail_busy(const struct praas_life_process *p)
{
	return p->mail.working || p->mail.appending > 0;
}

/* ---- the work; no lock, unless it is said ------------------------------------------- */

/* The receiver, with the lock held on success. -ENOENT there is none in the application of who asks; as the
 * store says. wake: it is to be started with the application as it is now. */
static int find_receiver(const struct praas_mail_request *rq,
			 struct praas_app_record *app,
			 struct praas_life_process **ret_p)
{
	struct praas_records *records = rq->life->config.records;
	struct praas_process_record record = { .number = rq->to };
	uint8_t id[PRAAS_RECORD_ID_BYTES];
	struct praas_app_record now;
	struct praas_life_process *p;
	int rc;

	(void)pthread_mutex_lock(&rq->life->lock);
	*app = rq->process->app;
	memcpy(id, rq->process->record.app, sizeof(id));
	p = praas_life_find(rq->life, rq->to);
	if (p && p->record.version > 0 && !rq->wake &&
	    memcmp(p->record.app, id, sizeof(id)) == 0) {
		*ret_p = p;
		return 0;
	}
	(void)pthread_mutex_unlock(&rq->life->lock);
	rc = records->ops->process_get(records, NULL, NULL, &record);
	if (rc == 0 && memcmp(record.app, id, sizeof(id)) != 0)
		rc = -ENOENT;
	if (rc == 0)
		rc = records->ops->app_get(records, app->tenant, app->name, &now);
	if (rc == 0 && memcmp(now.id, id, sizeof(id)) != 0)
		rc = -ENOENT;
	if (rc)
		return rc;
	*app = now;
	rc = praas_life_acquire(rq->life, app, record.name, ret_p);
	if (rc == 0 && (*ret_p)->number != rq->to) { /* its name was given again */
		(void)pthread_mutex_unlock(&rq->life->lock);
		rc = -ENOENT;
	}
	return rc;
}

/* The lock is held, and given up: the messages were decided to go to p's queue, and are stored. */
static void store(struct praas_mail_request *rq, struct praas_life_process *p)
{
	struct praas_records *records = rq->life->config.records;
	uint32_t taken = 0;
	uint64_t tail = 0;
	int rc;

	p->mail.appending++;
	(void)pthread_mutex_unlock(&rq->life->lock);
	rc = records->queue->append(records, rq->to, rq->messages, rq->count, &taken,
				    &tail);
	(void)pthread_mutex_lock(&rq->life->lock);
	p->mail.appending--;
	if (rc == 0)
		p->mail.tail = praas_max_u64(p->mail.tail, tail);
	(void)pthread_cond_broadcast(&rq->life->changed);
	(void)pthread_mutex_unlock(&rq->life->lock);
	if (rc == 0)
		way_queued(rq, taken);
	else
		way(rq, rc == -ENOSPC ? "FULL" : rc == -ENOENT ? "GONE" : "BUSY");
}

/* Whoever was to be woken serves, or cannot. Any thread. */
static void woken(struct praas_life_wait *wait)
{
	struct praas_mail_request *rq =
		(struct praas_mail_request *)(void *)((char *)wait -
						      offsetof(
							      struct praas_mail_request,
							      wait));

	if (wait->outcome.rc == 0)
		way_moved(rq, &rq->app, &wait->record);
	else
		way(rq, wait->outcome.rc == -ENOENT ? "GONE" : "BUSY");
	free(rq); /* it has no bytes */
}

/* true: rq is the wait's now. */
static bool append(struct praas_mail_request *rq)
{
	struct praas_life_waits done = { NULL };
	struct praas_process_record record;
	struct praas_life_process *p;
	struct praas_app_record app;
	enum praas_owner_path path;
	struct praas_owner owner;
	int rc = find_receiver(rq, &app, &p);

	if (rc) {
		way(rq, rc == -ENOENT ? "GONE" : "BUSY");
		return false;
	}
	owner = praas_life_owner(p);
	path = praas_owner_append(&owner);
	record = p->record;
	if (rq->wake && path != PRAAS_OWNER_GONE) {
		rq->app = app;
		rq->wait.done = woken;
		praas_life_want_serving(p, &rq->wait, &done);
		(void)pthread_mutex_unlock(&rq->life->lock);
		praas_life_tell(&done);
		return true;
	}
	if (path == PRAAS_OWNER_QUEUED && rq->count > 0) {
		store(rq, p);
		return false;
	}
	(void)pthread_mutex_unlock(&rq->life->lock);
	if (path == PRAAS_OWNER_MOVED)
		way_moved(rq, &app, &record);
	else if (path == PRAAS_OWNER_QUEUED)
		way_queued(rq, 0);
	else
		way(rq, path == PRAAS_OWNER_GONE ? "GONE" : "BUSY");
	return false;
}

static void read_queue(const struct praas_mail_request *rq)
{
	struct praas_queued messages[PRAAS_LIMIT_MAIL_BATCH];
	struct praas_records *records = rq->life->config.records;
	uint32_t count = 0, bytes = 0;
	json_t *list = json_array();
	uint8_t *data = NULL;
	bool more = false;
	int rc = records->queue->read(records, rq->source, rq->position, messages,
				      &count, &data, &bytes, &more);

	for (uint32_t i = 0; rc == 0 && i < count; i++)
		if (json_array_append_new(list, praas_mail_describe(&messages[i])))
			rc = -ENOMEM;
	if (rc) {
		json_decref(list);
		answer(rq->life, rq->conn, "queue", rq->id,
		       rc == -ESTALE ? "STALE" : "BUSY");
	} else {
		reply(rq->life, rq->conn,
		      json_pack("{s:s,s:I,s:b,s:I,s:o}", "t", "queue", "id",
				(json_int_t)rq->id, "more", more, "bytes",
				(json_int_t)bytes, "messages", list),
		      data, bytes);
	}
	free(data);
}

static void trim(struct praas_life_process *p)
{
	struct praas_records *records = p->life->config.records;
	uint64_t cut;
	int rc;

	(void)pthread_mutex_lock(&p->life->lock);
	p->mail.trimming = false;
	cut = p->mail.cut;
	(void)pthread_mutex_unlock(&p->life->lock);
	rc = records->queue->trim(records, p->number, cut);
	(void)pthread_mutex_lock(&p->life->lock);
	if (rc == 0)
		p->mail.trimmed = praas_max_u64(p->mail.trimmed, cut);
	else if (p->mail.cut == cut)
		p->mail.cut = 0; /* the next snapshot has it, too */
	(void)pthread_mutex_unlock(&p->life->lock);
}

static void lift(const struct praas_mail_request *rq)
{
	struct praas_life_process *p = rq->process;
	struct praas_records *records = rq->life->config.records;
	uint64_t tail = 0;

	/* What fails is asked for again before the process serves. */
	if (records->queue->lift(records, rq->source, rq->position, &tail) == 0)
		(void)praas_life_mail_load(p);
	(void)pthread_mutex_lock(&rq->life->lock);
	p->mail.appending--;
	(void)pthread_cond_broadcast(&rq->life->changed);
	(void)pthread_mutex_unlock(&rq->life->lock);
}

/* true: rq goes on by itself. */
static bool work_off(struct praas_life_process *p, struct praas_mail_request *rq)
{
	switch (rq->kind) {
	case MAIL_APPEND:
		return append(rq);
	case MAIL_READ:
		read_queue(rq);
		break;
	case MAIL_TRIM:
		trim(p);
		break;
	case MAIL_LIFT:
		lift(rq);
		break;
	}
	return false;
}

static void run_mail(struct praas_job *job)
{
	struct praas_life_process *p =
		(struct praas_life_process *)(void *)((char *)job -
						      offsetof(
							      struct praas_life_process,
							      mail.job));
	struct praas_life *life = p->life;
	struct praas_mail_request *rq;

	(void)pthread_mutex_lock(&life->lock);
	while ((rq = p->mail.first)) {
		p->mail.first = rq->next;
		if (!rq->next)
			p->mail.last = NULL;
		p->mail.waiting--;
		(void)pthread_mutex_unlock(&life->lock);
		if (work_off(p, rq))
			rq = NULL;
		(void)pthread_mutex_lock(&life->lock);
		if (rq)
			drop(rq);
	}
	p->mail.working = false;
	life->background--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
}

void praas_life_mail_known(struct praas_life_process *p,
			   const struct praas_queue_state *state)
{
	p->mail.tail = praas_max_u64(p->mail.tail, state->tail);
	p->mail.trimmed = praas_max_u64(p->mail.trimmed, state->trimmed);
}

int praas_life_mail_load(struct praas_life_process *p)
{
	struct praas_records *records = p->life->config.records;
	struct praas_queue_state state;
	int rc = records->queue->state(records, p->number, &state);

	if (rc)
		return rc;
	(void)pthread_mutex_lock(&p->life->lock);
	praas_life_mail_known(p, &state);
	(void)pthread_mutex_unlock(&p->life->lock);
	return 0;
}
