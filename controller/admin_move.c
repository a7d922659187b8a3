/* SPDX-License-Identifier: Apache-2.0
 *
 * The process goes to another controller: the shell around the source's machine (sm_move.h). Until a destination that
 * knows the secret is there nothing is disturbed; then sm_swap_out.h closes the gate and makes the cut.
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

#define MEET_NS UINT64_C(15000000000)   /* for a destination to come */
#define DECIDE_NS UINT64_C(15000000000) /* for its word, when it has everything */
#define KEEP_BACKOFF_MIN_NS 50000000u
#define KEEP_BACKOFF_MAX_NS 2000000000u

static void source_event(struct praas_admin *a, enum praas_move_event_kind kind, int rc,
			 uint32_t epoch);

static void close_fds(struct praas_admin_move *m)
{
	if (m->listen_fd >= 0) {
		(void)close(m->listen_fd); /* nothing is in it */
		(void)unlink(m->at);
	}
	if (m->fd >= 0)
		(void)close(m->fd); /* it ends for the other one, too */
	m->listen_fd = m->fd = -1;
}

void praas_admin_move_hang_up(struct praas_admin *a)
{
	close_fds(&a->move);
}

void praas_admin_move_release(struct praas_admin *a)
{
	struct praas_admin_move *m = &a->move;

	close_fds(m);
	free(m->moved);
	m->moved = NULL;
	praas_snapshot_release(&m->snapshot);
	praas_store_free(m->store);
	m->store = NULL;
	explicit_bzero(m->secret, sizeof(m->secret));
}

void praas_admin_move_over(struct praas_admin *a)
{
	uint32_t to = a->move.to;

	praas_admin_move_release(a);
	a->move = (struct praas_admin_move){ .listen_fd = -1, .fd = -1, .to = to };
}

/* It did not come to a drain. */
static void refuse(struct praas_admin *a, uint64_t id, int rc, const char *why)
{
	(void)snprintf(a->failure, sizeof(a->failure), "%s", why);
	praas_journal(PRAAS_LOG_WARNING, "cannot move: %s", why);
	praas_admin_answer(a, id, rc);
	if (id == a->move.id)
		praas_admin_move_over(a);
}

static bool hex_secret(const char *text, uint8_t ret_secret[PRAAS_HAND_SECRET_BYTES])
{
	if (!text || strlen(text) != (size_t)2 * PRAAS_HAND_SECRET_BYTES ||
	    strspn(text, "0123456789abcdef") != strlen(text))
		return false;
	for (unsigned i = 0; i < PRAAS_HAND_SECRET_BYTES; i++) {
		unsigned high = (unsigned char)text[2 * i],
			 low = (unsigned char)text[2 * i + 1];

		high = high <= '9' ? high - '0' : high - 'a' + 10;
		low = low <= '9' ? low - '0' : low - 'a' + 10;
		ret_secret[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void praas_admin_move_ask(struct praas_admin *a, uint64_t id, const json_t *message)
{
	const char *at = json_string_value(json_object_get(message, "at"));
	const char *secret = json_string_value(json_object_get(message, "secret"));
	json_int_t epoch = json_integer_value(json_object_get(message, "epoch"));
	struct praas_admin_move *m = &a->move;
	int rc;

	if (id == 0)
		return;
	if (m->id != 0 || a->swap.final) {
		refuse(a, id, -EBUSY, "it is being swapped out, or moves already");
		return;
	}
	praas_admin_move_over(a); /* the one before */
	if (!at || strlen(at) >= sizeof(m->at) || !hex_secret(secret, m->secret) ||
	    epoch <= a->config->epoch || epoch > UINT32_MAX) {
		refuse(a, id, -EINVAL, "the request to move makes no sense");
		return;
	}
	m->id = id;
	m->to = (uint32_t)epoch;
	(void)snprintf(m->at, sizeof(m->at), "%s", at); /* fits */
	rc = praas_hand_listen(at, &m->listen_fd);
	if (rc != 0)
		refuse(a, id, rc, "cannot listen for the destination");
	else
		m->due_ns = praas_now_ns() + MEET_NS;
}

void praas_admin_move_cancel(struct praas_admin *a)
{
	if (a->move.listen_fd >= 0)
		refuse(a, a->move.id, -ECANCELED,
		       "the destination ended, or was called off");
}

/* Somebody is at the door. */
static void meet(struct praas_admin *a)
{
	struct praas_admin_move *m = &a->move;
	int rc = praas_hand_accept(m->listen_fd, m->secret, m->to, &m->fd);

	if (rc == -EACCES || rc == -EPROTO)
		praas_journal(PRAAS_LOG_WARNING,
			      "somebody who is not the destination asked for the "
			      "process");
	if (rc != 0)
		return;
	(void)close(m->listen_fd); /* nobody else is wanted */
	(void)unlink(m->at);
	m->listen_fd = -1;
	m->due_ns = 0;
	m->closed_ns = praas_now_ns();
	praas_admin_swap_event(a, PRAAS_SWAP_ASK_MOVE, 0, m->id);
}

/* It has gone, or says that it cannot. */
static void lost(struct praas_admin *a, int rc, const char *why)
{
	struct praas_admin_move *m = &a->move;

	(void)snprintf(a->failure, sizeof(a->failure), "the destination: %.400s",
		       why[0] ? why : strerror(-rc));
	(void)close(m->fd); /* nothing more is said */
	m->fd = -1;
	if (m->source.phase == PRAAS_MOVE_NONE) /* functions still run here */
		praas_admin_swap_event(a, PRAAS_SWAP_ASK_CANCEL, 0, 0);
	else
		source_event(a, PRAAS_MOVE_LOST, rc, 0);
}

/* Without memory for it clients are not told. */
static void note_where(struct praas_admin_move *m, const char *text)
{
	m->moved = calloc(1, sizeof(*m->moved));
	if (!m->moved)
		return;
	m->moved->epoch = m->to;
	praas_moved_endpoints(text, &m->moved->where);
}

static void hear(struct praas_admin *a)
{
	char text[PRAAS_HAND_TEXT_MAX] = "";
	int why = 0, rc = praas_hand_hear(a->move.fd, &why, text);

	if (rc == -EAGAIN)
		return;
	if (rc == 0 && why == 0) {
		note_where(&a->move, text);
		source_event(a, PRAAS_MOVE_TAKEN, 0, 0);
		return;
	}
	lost(a, rc != 0 ? rc : why, text);
}

void praas_admin_move_poll(struct praas_admin *a)
{
	if (a->move.listen_fd >= 0)
		meet(a);
	if (a->move.fd >= 0 && !a->over)
		hear(a);
}

/* ---- what the machine says ---- */

static struct praas_move_event send_all(struct praas_admin *a)
{
	struct praas_admin_move *m = &a->move;
	struct praas_hand_what what = { .head = { .slot = a->log.cursor,
						  .epoch = a->config->epoch,
						  .log = praas_admin_log_kept(a) },
					.snapshot = &a->cut->snapshot,
					.functions = a->manifest->functions,
					.functions_count = a->manifest->count,
					.base = &a->current };
	bool left = false;
	int rc = praas_admin_log_hand(a);

	/* What was used counts before another epoch does: later the control service may not listen any more. */
	praas_admin_metrics_now(a);
	memcpy(what.head.token, a->config->join_token, sizeof(what.head.token));
	if (rc == 0)
		rc = m->fd < 0 ? -ECONNRESET
			       : praas_hand_send(m->fd, &what, a->entry, &m->bytes,
						 &left);
	explicit_bzero(&what, sizeof(what));
	if (rc != 0)
		(void)snprintf(a->failure, sizeof(a->failure),
			       "the state cannot be sent to the destination: %s",
			       strerror(-rc));
	/* Whether what did not leave whole came whole nobody knows: then it is not waited for long. */
	m->due_ns = praas_now_ns() + (rc == 0 ? DECIDE_NS : 1);
	return (struct praas_move_event){ .kind = PRAAS_MOVE_SENT,
					  .rc = left ? 0 : rc };
}

static void put_keep(struct praas_admin *a)
{
	struct praas_slot_entry *e = a->entry;
	uint32_t epoch = 0;
	int rc;

	e->kind = PRAAS_SLOT_KEEP;
	e->epoch = a->config->epoch;
	e->body_bytes = 0;
	rc = praas_slot_log_put(&a->log, e);
	if (rc == -ESTALE && praas_slot_log_read(&a->log, a->log.cursor, e) == 0)
		epoch = e->epoch;
	if (rc != 0 && rc != -ESTALE)
		praas_journal(
			PRAAS_LOG_ERROR,
			"a move was called off, and the store does not take that: "
			"%s; nobody serves until it does",
			strerror(-rc));
	source_event(a, PRAAS_MOVE_KEEP_DONE, rc, epoch);
}

/* At once, or, when it was tried before, later. */
static void keep(struct praas_admin *a, bool again)
{
	struct praas_admin_move *m = &a->move;

	m->due_ns = 0;
	if (!again) {
		memset(a->entry->nonce, 0, sizeof(a->entry->nonce));
		m->backoff_ns = 0;
		m->again_ns = praas_now_ns();
		return;
	}
	m->backoff_ns =
		praas_min_u64(praas_max_u64(2 * m->backoff_ns, KEEP_BACKOFF_MIN_NS),
			      KEEP_BACKOFF_MAX_NS);
	m->again_ns = praas_now_ns() + m->backoff_ns;
}

static void done(struct praas_admin *a, int rc)
{
	struct praas_admin_move *m = &a->move;
	uint64_t pause_ns = praas_now_ns() - m->closed_ns;

	m->due_ns = m->again_ns = 0;
	if (rc == 0 && m->moved) { /* before all else: they wait for it */
		(void)praas_exchange_order(a->exchange, PRAAS_ORDER_MOVED,
					   (uint64_t)(uintptr_t)m->moved,
					   0); /* never full: one a life */
		m->moved = NULL;
	}
	if (rc == 0)
		(void)praas_link_send(
			a->link,
			json_pack("{ss sI sI sI}", "t", "moved", "epoch",
				  (json_int_t)m->to, "pause_ns", (json_int_t)pause_ns,
				  "bytes", (json_int_t)m->bytes)); /* the log tells */
	else if (rc != -ESTALE)
		praas_journal(PRAAS_LOG_WARNING, "stays in epoch %u: %s",
			      a->config->epoch, a->failure);
}

/* True: it is over, with *ret_rc. Each step leads to another phase, or to none. */
static bool step(struct praas_admin *a, struct praas_move_event event, int *ret_rc)
{
	struct praas_move_action action;
	bool again = a->move.source.phase == PRAAS_MOVE_KEEPING;

	while (praas_move_step(&a->move.source, &event, &action)) {
		switch (action.kind) {
		case PRAAS_MOVE_SEND:
			event = send_all(a);
			break;
		case PRAAS_MOVE_KEEP:
			keep(a, again);
			return false;
		case PRAAS_MOVE_DONE:
			done(a, action.rc);
			*ret_rc = action.rc;
			return true;
		}
	}
	return false;
}

static void source_event(struct praas_admin *a, enum praas_move_event_kind kind, int rc,
			 uint32_t epoch)
{
	struct praas_move_event event = { .kind = kind, .rc = rc, .epoch = epoch };

	if (step(a, event, &rc))
		praas_admin_swap_event(a, PRAAS_SWAP_HANDED, rc, 0);
}

bool praas_admin_hand(struct praas_admin *a, bool over, int *ret_rc)
{
	struct praas_move_event event = { .kind = over ? PRAAS_MOVE_START
						       : PRAAS_MOVE_LOST,
					  .rc = over ? 0 : -ECANCELED,
					  .epoch = a->move.to };

	return step(a, event, ret_rc);
}

void praas_admin_move_due(struct praas_admin *a, uint64_t now_ns)
{
	struct praas_admin_move *m = &a->move;

	if (m->again_ns != 0 && m->again_ns <= now_ns) {
		m->again_ns = 0;
		put_keep(a);
	} else if (m->due_ns != 0 && m->due_ns <= now_ns) {
		m->due_ns = 0;
		if (m->fd >= 0)
			lost(a, -ETIMEDOUT, "it does not say what became of it");
		else if (m->source.phase == PRAAS_MOVE_NONE)
			refuse(a, m->id, -ETIMEDOUT, "no destination has come");
	}
}
