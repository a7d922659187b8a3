/* SPDX-License-Identifier: Apache-2.0
 *
 * The process comes from another controller: the shell around the destination's machine (sm_move.h). It is ready to
 * serve before it asks for the state, so that the process stands still no longer than that takes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/admin_private.h"
#include "controller/journal.h"
#include "internal/base.h"

#define MEET_NS UINT64_C(5000000000) /* for the source to listen */
#define MEET_AGAIN_NS 5000000u
#define REFUSED_NS 1000000000u
#define FAREWELL_NS 200000000u /* for the source's last words to control */
#define PUT_BACKOFF_MIN_NS 50000000u
#define PUT_BACKOFF_MAX_NS 2000000000u
#define MEMORY_SLACK (64ull << 20) /* of what comes, beside the state */

static void take_event(struct praas_admin *a, struct praas_take_event event);

void praas_admin_take_begin(struct praas_admin *a)
{
	take_event(a, (struct praas_take_event){ .kind = PRAAS_TAKE_START,
						 .epoch = a->config->epoch });
	a->move.due_ns = praas_now_ns() + MEET_NS;
	(void)praas_exchange_order(a->exchange, PRAAS_ORDER_LISTEN, 0,
				   0); /* never full: the second one */
}

static void fail_state(struct praas_admin *a, int rc, const char *why)
{
	(void)snprintf(a->failure, sizeof(a->failure), "%s: %s", why, strerror(-rc));
	take_event(a, (struct praas_take_event){ .kind = PRAAS_TAKE_STATE, .rc = rc });
}

static void connect_source(struct praas_admin *a)
{
	const struct praas_config *c = a->config;
	struct praas_admin_move *m = &a->move;
	int rc = praas_hand_connect(c->move_at, c->move_secret, c->epoch, &m->fd);

	m->again_ns = 0;
	if (rc == -ECONNREFUSED) /* it has listened, or is about to: not for long */
		m->due_ns = praas_min_u64(m->due_ns, praas_now_ns() + REFUSED_NS);
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		m->again_ns = praas_now_ns() + MEET_AGAIN_NS;
	else if (rc != 0)
		fail_state(a, rc, "cannot reach the source");
	else
		m->due_ns =
			0; /* it may take the time that functions have; if it ends, so do we */
}

void praas_admin_take_listening(struct praas_admin *a, int rc, char *text)
{
	if (rc != 0)
		praas_admin_end(a, PRAAS_EXIT_START, "START",
				text ? text : strerror(-rc));
	else
		connect_source(a);
	free(text);
}

/* It is as it was when its last snapshot was made, if it has one: what the next one may leave where it is. */
static int open_base(struct praas_admin *a)
{
	int rc;

	if (a->log.snapshot_slot == PRAAS_SLOT_NONE)
		return 0;
	rc = praas_slot_log_read(&a->log, a->log.snapshot_slot, a->entry);
	return rc == 0 ? praas_snapshot_open(a->store, a->entry, &a->current) : rc;
}

static void receive(struct praas_admin *a)
{
	struct praas_admin_move *m = &a->move;
	uint64_t begin = praas_now_ns(), max = a->config->memory_bytes + MEMORY_SLACK;
	struct praas_hand_head head = { .slot = 0 };
	int rc = praas_hand_receive(m->fd, max, a->load_store, &head, &m->store,
				    a->entry);

	if (rc == 0)
		rc = praas_snapshot_open(m->store, a->entry, &m->snapshot);
	if (rc != 0) {
		fail_state(a, rc, "the state of the process did not come whole");
		return;
	}
	if (!head.log && a->config->durability != PRAAS_DURABILITY_SWAP) {
		fail_state(a, -EOPNOTSUPP, "the source has kept no log");
		return;
	}
	m->from = head.epoch;
	a->redo_number = praas_snapshot_log(&m->snapshot);
	memcpy(a->config->join_token, head.token, sizeof(head.token));
	explicit_bzero(head.token, sizeof(head.token));
	praas_journal(PRAAS_LOG_INFO,
		      "%" PRIu64 " records of epoch %u came in %" PRIu64 " us",
		      m->snapshot.records_count, head.epoch,
		      (praas_now_ns() - begin) / 1000);
	take_event(a, (struct praas_take_event){ .kind = PRAAS_TAKE_STATE,
						 .epoch = head.epoch,
						 .slot = head.slot });
}

/* Only now does the control service hear of us: what is said before a join is none of its business. */
static void join(struct praas_admin *a)
{
	a->move.due_ns = 0;
	praas_link_target(a->link, a->config->link);
	praas_link_poll(a->link, praas_now_ns());
}

void praas_admin_take_poll(struct praas_admin *a)
{
	struct praas_admin_move *m = &a->move;
	char text[PRAAS_HAND_TEXT_MAX];
	int why;

	if (m->fd < 0)
		return;
	if (m->take.phase == PRAAS_TAKE_WAITING) {
		if (praas_hand_comes(m->fd))
			receive(a);
	} else if (praas_hand_hear(m->fd, &why, text) != -EAGAIN) {
		(void)close(m->fd); /* it has gone; slot n says who goes on */
		m->fd = -1;
		if (m->told && m->due_ns != 0)
			join(a);
	}
}

/* ---- what the machine says ---- */

static struct praas_take_event read_log(struct praas_admin *a)
{
	int rc = praas_admin_open_log(a);

	if (rc == 0)
		rc = open_base(a);
	return (struct praas_take_event){ .kind = PRAAS_TAKE_LOG_READ,
					  .rc = rc,
					  .epoch = a->log.epoch_max,
					  .tomb = a->log.tomb,
					  .slot = a->log.cursor };
}

/* It is loaded, or not. */
static struct praas_take_event loaded(struct praas_admin *a, int rc)
{
	struct praas_admin_move *m = &a->move;

	praas_snapshot_release(&m->snapshot);
	praas_store_free(m->store);
	m->store = NULL;
	if (rc != 0)
		(void)snprintf(a->failure, sizeof(a->failure),
			       "what came from the source cannot be loaded: %s",
			       rc == -EPROTO ? "damaged" : strerror(-rc));
	return (struct praas_take_event){ .kind = PRAAS_TAKE_LOADED, .rc = rc };
}

void praas_admin_take_loaded(struct praas_admin *a, int rc)
{
	take_event(a, loaded(a, rc));
}

static struct praas_take_event put_act(struct praas_admin *a)
{
	int rc;

	a->entry->kind = PRAAS_SLOT_ACT;
	a->entry->epoch = a->config->epoch;
	a->entry->body_bytes = 0;
	rc = praas_slot_log_put_here(&a->log, a->entry);
	if (rc != 0)
		(void)snprintf(a->failure, sizeof(a->failure), "cannot write ACT: %s",
			       rc == -ESTALE ? "the process is another's"
					     : strerror(-rc));
	return (struct praas_take_event){ .kind = PRAAS_TAKE_ACT_PUT, .rc = rc };
}

static void put_later(struct praas_admin_move *m)
{
	m->backoff_ns =
		praas_min_u64(praas_max_u64(2 * m->backoff_ns, PUT_BACKOFF_MIN_NS),
			      PUT_BACKOFF_MAX_NS);
	m->again_ns = praas_now_ns() + m->backoff_ns;
}

static void failed(struct praas_admin *a, int rc)
{
	if (a->move.fd >= 0)
		(void)praas_hand_tell(a->move.fd, rc,
				      a->failure); /* our end says it, too */
	praas_admin_activation_failed(a, rc == -EPROTO ? -EBADMSG : rc);
}

/* True: event is to be given to the machine. */
static bool take_do(struct praas_admin *a, const struct praas_take_action *action,
		    struct praas_take_event *ret_event)
{
	int rc;

	switch (action->kind) {
	case PRAAS_TAKE_READ_LOG:
		*ret_event = read_log(a);
		return true;
	case PRAAS_TAKE_LOAD:
		rc = praas_admin_load(a, a->move.store, &a->move.snapshot, true);
		if (rc != 0)
			*ret_event = loaded(a, rc);
		return rc != 0;
	case PRAAS_TAKE_PUT_ACT:
		if (action->again) {
			put_later(&a->move);
			return false;
		}
		memset(a->entry->nonce, 0, sizeof(a->entry->nonce));
		*ret_event = put_act(a);
		return true;
	case PRAAS_TAKE_SERVE:
		rc = praas_admin_log_take(a);
		if (rc != 0) {
			failed(a, rc);
			return false;
		}
		(void)praas_exchange_order(
			a->exchange, PRAAS_ORDER_SERVE, 1,
			(uint64_t)(uintptr_t)a->redo); /* never full: few were given */
		praas_admin_settled(a);
		return false;
	case PRAAS_TAKE_FAIL:
		failed(a, action->rc);
		return false;
	}
	return false;
}

/* Ends: each step leads to another phase, or to none. */
static void take_event(struct praas_admin *a, struct praas_take_event event)
{
	struct praas_take_action action;

	while (praas_take_step(&a->move.take, &event, &action) &&
	       take_do(a, &action, &event))
		;
}

/* The source is told first, so that it can tell control and its clients; then it ends, and we join. */
void praas_admin_take_serving(struct praas_admin *a)
{
	struct praas_admin_move *m = &a->move;
	char text[PRAAS_HAND_TEXT_MAX] = "";
	const char *endpoint;
	size_t at = 0;

	for (unsigned i = 0; (endpoint = praas_data_endpoint(a->data, i)) != NULL; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s\n",
				       endpoint); /* fits: eight short ones */
	m->told = true;
	if (m->fd >= 0 && praas_hand_tell(m->fd, 0, text) == 0) {
		m->due_ns = praas_now_ns() + FAREWELL_NS;
		return;
	}
	join(a);
}

void praas_admin_take_due(struct praas_admin *a, uint64_t now_ns)
{
	struct praas_admin_move *m = &a->move;

	if (m->again_ns != 0 && m->again_ns <= now_ns) {
		m->again_ns = 0;
		if (m->take.phase == PRAAS_TAKE_PUTTING)
			take_event(a, put_act(a));
		else if (m->take.phase == PRAAS_TAKE_WAITING)
			connect_source(a);
	}
	if (m->due_ns == 0 || m->due_ns > now_ns || a->over)
		return;
	m->due_ns = 0;
	if (m->told)
		join(a);
	else
		fail_state(a, -ETIMEDOUT, "no source has come");
}
