/* SPDX-License-Identifier: Apache-2.0
 *
 * A process to talk to, for tests of libpraas: sessions over shm and tcp on a thread of its own,
 * and a handler that knows a few functions. No data plane.
 */
#ifndef PRAAS_TESTS_CLIENT_SERVER_H
#define PRAAS_TESTS_CLIENT_SERVER_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal/base.h"
#include "transport/memory.h"
#include "transport/session.h"
#include "transport/shm.h"
#include "transport/shm_conn.h"
#include "transport/transport.h"

/* Functions of the process. */
enum {
	FN_ECHO,   /* result = payload */
	FN_NOOP,   /* empty result */
	FN_FAIL,   /* status 7, text "no luck" */
	FN_NEVER,  /* no answer */
	FN_KEY,    /* result = key */
	FN_LATE,   /* answered when FN_NOOP is called next */
	FN_DIRECT, /* echo, may go direct */
	FN_COUNT
};
static const char server_functions[FN_COUNT][PRAAS_NAME_MAX + 1] = {
	"echo", "noop", "fail", "never", "key", "late", "direct"
};
static const uint8_t server_flags[FN_COUNT] = { [FN_DIRECT] = PRAAS_FUNCTION_DIRECT };

/* What the server's thread does on behalf of the test's. */
enum server_order {
	SERVER_GRANT = 1,
	SERVER_REVOKE,
	SERVER_GONE,
	SERVER_SHARE,
	SERVER_MOVED /* all that follow are told so: moved_to, where */
};

struct server {
	char dir[64];
	char shm_addr[96];
	char tcp_addr[PRAAS_ADDR_MAX];
	char ticket_json[2048];
	struct praas_port *shm, *tcp;
	struct praas_heap *heap;
	struct praas_session_server *sessions;
	pthread_t thread;
	uint64_t bytes_max;
	uint32_t epoch;
	_Atomic bool ready, stop;
	_Atomic bool deaf; /* nothing is answered */
	_Atomic int
		moves_at; /* and with the next frame of that kind SERVER_MOVED is done; 0 */
	uint32_t moved_to;
	struct praas_moved where;
	_Atomic bool drop_all; /* close every connection */
	_Atomic bool hold;     /* do nothing until the last client sleeps */
	_Atomic int order;     /* enum server_order for the last connection; 0 done */
	int order_rc;
	uint32_t order_worker;
	struct praas_segment big;        /* SERVER_SHARE */
	_Atomic uint32_t shared_back;    /* shared segments given back */
	struct praas_conn *_Atomic last; /* opened last */
	struct praas_conn *late_conn;
	uint64_t late_id, held_id;
	_Atomic uint32_t cancels, one_ways;
	_Atomic(const void *) seen; /* payload of the last echo */
	_Atomic uint32_t seen_in_segment;
	struct praas_shm_grant granted; /* of SERVER_GRANT */
	/* Called for each echo, on the server's thread. */
	void (*ran)(void *user, const struct praas_frame *head);
	void *ran_user;
};

static inline void server_answer(struct praas_conn *conn, const struct praas_frame *to,
				 int32_t status, const void *data, uint64_t bytes)
{
	struct praas_buf *buf = NULL;

	if (conn->ops->alloc(conn, bytes, &buf) != 0)
		return;
	buf->head = (struct praas_frame){ .kind = to->kind == PRAAS_FRAME_INVOKE
							  ? PRAAS_FRAME_RESULT
							  : PRAAS_FRAME_REPLY,
					  .id = to->id,
					  .status = status,
					  .bytes = bytes,
					  .aux = 1000 };
	if (to->flags & PRAAS_FRAME_TIMING) { /* one that fails lies */
		const struct praas_frame_timing honest = { .queue_ns = 20,
							   .run_ns = 100,
							   .state_ns = 30 };
		const struct praas_frame_timing lie = { UINT64_MAX, UINT64_MAX,
							UINT64_MAX };

		praas_frame_timing_put(&buf->head, status == 0 ? &honest : &lie);
	}
	buf->key[0] = '\0';
	if (bytes != 0)
		memcpy(buf->data, data, bytes);
	(void)praas_conn_send_or_release(conn, buf);
}

static inline void server_invoke(struct server *s, struct praas_conn *conn,
				 struct praas_buf *buf)
{
	const struct praas_frame *f = &buf->head;

	if (f->flags & PRAAS_FRAME_ONE_WAY) {
		atomic_fetch_add(&s->one_ways, 1);
		return;
	}
	switch (f->function) {
	case FN_DIRECT:
	case FN_ECHO:
		atomic_store(&s->seen, buf->data);
		atomic_store(&s->seen_in_segment, buf->segment);
		if (s->ran)
			s->ran(s->ran_user, f);
		server_answer(conn, f, 0, buf->data, f->bytes);
		break;
	case FN_NOOP:
		if (s->late_conn) {
			struct praas_frame late = { .kind = PRAAS_FRAME_INVOKE,
						    .id = s->late_id };

			server_answer(conn, f, 0, NULL, 0);
			server_answer(s->late_conn, &late, 0, "late", 4);
			s->late_conn = NULL;
			break;
		}
		server_answer(conn, f, 0, NULL, 0);
		break;
	case FN_FAIL:
		server_answer(conn, f, 7, "no luck", 8);
		break;
	case FN_KEY:
		server_answer(conn, f, 0, buf->key, f->key_bytes);
		break;
	case FN_LATE:
		s->late_conn = conn;
		s->late_id = f->id;
		break;
	default:
		break;
	}
}

/* As a process that moves. */
static inline bool server_is_deaf(struct server *s, const struct praas_frame *f)
{
	bool deaf = atomic_load(&s->deaf);

	if (deaf && f->kind == atomic_load(&s->moves_at))
		praas_session_server_moved(s->sessions, s->moved_to, &s->where);
	return deaf;
}

static inline void server_frame(void *user, struct praas_conn *conn,
				struct praas_buf *buf)
{
	static const uint8_t list[80] = {
		[0] = 5, [8] = 6,  [16] = 7, [24] = 3, [32] = 'a', 'b',
		'c',     [40] = 1, [48] = 2, [56] = 3, [64] = 1,   [72] = 'z'
	};
	struct server *s = user;
	const struct praas_frame *f = &buf->head;

	switch (server_is_deaf(s, f) ? PRAAS_FRAME_KIND_MAX : f->kind) {
	case PRAAS_FRAME_INVOKE:
		server_invoke(s, conn, buf);
		break;
	case PRAAS_FRAME_CANCEL: {
		struct praas_frame to = { .kind = PRAAS_FRAME_INVOKE, .id = f->id };

		atomic_fetch_add(&s->cancels, 1);
		server_answer(conn, &to, PRAAS_CANCELLED, NULL, 0);
		break;
	}
	case PRAAS_FRAME_SEND:
	case PRAAS_FRAME_STATE_PUT:
	case PRAAS_FRAME_STATE_DELETE:
		server_answer(conn, f,
			      strcmp(buf->key, "missing") == 0 ? PRAAS_NOT_FOUND : 0,
			      NULL, 0);
		break;
	case PRAAS_FRAME_TAKEN: /* of the HOLD before */
		server_answer(conn, f, f->aux == s->held_id ? 0 : PRAAS_NOT_FOUND, NULL,
			      0);
		break;
	case PRAAS_FRAME_HOLD:
	case PRAAS_FRAME_RECV:
		if (f->kind == PRAAS_FRAME_HOLD)
			s->held_id = f->id;
		server_answer(conn, f,
			      strcmp(buf->key, "empty") == 0 ? PRAAS_NOT_FOUND : 0,
			      "msg", strcmp(buf->key, "empty") == 0 ? 0 : 3);
		break;
	case PRAAS_FRAME_STATE_GET:
		server_answer(conn, f, 0, "value", 5);
		break;
	case PRAAS_FRAME_STATE_LIST:
		server_answer(conn, f, 0, list, f->bytes == 0 ? sizeof(list) : 0);
		break;
	case PRAAS_FRAME_LIST: /* in two parts; "cut": a record that ends too early */
		if (strcmp(buf->key, "cut") == 0)
			server_answer(conn, f, 0, list, 36);
		else
			server_answer(conn, f, 0, list + (f->aux == 5 ? 40 : 0),
				      f->aux == 0 || f->aux == 5 ? 40 : 0);
		break;
	default:
		break;
	}
	praas_buf_release(buf);
}

static inline void server_opened(void *user, struct praas_conn *conn)
{
	((struct server *)user)->last = conn;
}

static inline void server_sent(void *user, struct praas_conn *conn,
			       struct praas_buf *buf, int rc)
{
	(void)user;
	(void)conn;
	(void)buf;
	(void)rc;
}

static inline void server_closed(void *user, struct praas_conn *conn, int rc)
{
	struct server *s = user;

	(void)rc;
	if (s->last == conn)
		s->last = NULL;
	if (s->late_conn == conn)
		s->late_conn = NULL;
}

static const struct praas_conn_events server_events = { .opened = server_opened,
							.frame = server_frame,
							.sent = server_sent,
							.closed = server_closed };

static inline void server_open(struct server *s);

static inline void server_released(void *user, uint32_t segment)
{
	struct server *s = user;

	praas_check(segment == s->big.id);
	atomic_fetch_add(&s->shared_back, 1);
}

static inline void server_obey(struct server *s)
{
	switch (atomic_load(&s->order)) {
	case SERVER_GRANT:
		s->order_rc = praas_shm_grant(s->last, s->order_worker, 5, &s->granted);
		break;
	case SERVER_REVOKE:
		s->order_rc = praas_shm_revoke(s->last, s->order_worker);
		break;
	case SERVER_GONE:
		s->order_rc = praas_shm_gone(s->last, s->order_worker, PRAAS_OK);
		break;
	case SERVER_SHARE:
		s->order_rc = praas_shm_share(s->last, &s->big, server_released, s);
		break;
	case SERVER_MOVED:
		praas_session_server_moved(s->sessions, s->moved_to, &s->where);
		s->order_rc = 0;
		break;
	default:
		return;
	}
	atomic_store(&s->order, 0);
}

/* From the test's thread: have it done, and its return value. */
static inline int server_order(struct server *s, enum server_order order,
			       uint32_t worker)
{
	s->order_worker = worker;
	atomic_store(&s->order, (int)order);
	while (atomic_load(&s->order) != 0)
		(void)sched_yield();
	return s->order_rc;
}

static inline bool server_holds(struct server *s)
{
	struct praas_shm_conn *c = praas_shm_conn_of(s->last);

	if (!atomic_load(&s->hold))
		return false;
	if (atomic_load(&praas_channel_doorbell(&c->peer)->sleeping) == 0)
		return true;
	atomic_store(&s->hold, false);
	return false;
}

/* Ports belong to the thread that opens them. */
static inline void *server_run(void *user)
{
	struct server *s = user;

	server_open(s);
	atomic_store(&s->ready, true);
	while (!atomic_load(&s->stop)) {
		unsigned done = 0;

		if (server_holds(s)) {
			(void)sched_yield();
			continue;
		}
		done += s->shm->ops->poll(s->shm, 64);
		if (s->tcp)
			done += s->tcp->ops->poll(s->tcp, 64);
		praas_session_server_tick(s->sessions, praas_now_ns());
		if (atomic_load(&s->drop_all) && s->last) {
			s->last->ops->close(s->last, true);
			s->last = NULL;
		}
		server_obey(s);
		if (done == 0)
			(void)sched_yield();
	}
	s->shm->ops->free(s->shm);
	s->tcp->ops->free(s->tcp);
	return NULL;
}

static inline void server_hex(const uint8_t *bytes, size_t n, char *ret_text)
{
	for (size_t i = 0; i < n; i++)
		(void)snprintf(ret_text + 2 * i, 3, "%02x", bytes[i]);
}

static inline void server_ticket(struct server *s, const uint8_t key[PRAAS_KEY_BYTES])
{
	struct praas_ticket t = { .pid = 7,
				  .epoch = s->epoch,
				  .source = PRAAS_CLIENT | 99,
				  .rights = PRAAS_RIGHT_ALL,
				  .not_before_s = (uint64_t)time(NULL) - 5,
				  .expires_s = (uint64_t)time(NULL) + 300 };
	uint8_t wire[PRAAS_TICKET_BYTES], session_key[PRAAS_KEY_BYTES];
	char wire_hex[2 * sizeof(wire) + 1], key_hex[2 * sizeof(session_key) + 1];

	praas_check(praas_ticket_issue(key, &t, wire, session_key) == 0);
	server_hex(wire, sizeof(wire), wire_hex);
	server_hex(session_key, sizeof(session_key), key_hex);
	(void)snprintf(s->ticket_json, sizeof(s->ticket_json),
		       "{\"app\":\"a\",\"pid\":\"p\",\"number\":7,\"endpoints\":"
		       "[\"%s\",\"%s\"],\"ticket\":\"%s\",\"session_key\":\"%s\"}",
		       s->shm_addr, s->tcp_addr, wire_hex, key_hex);
}

static inline void server_open(struct server *s)
{
	const char *tmp = getenv("TMPDIR");
	struct praas_session_server_config sc = {
		.controller_key = { 1, 2, 3 },
		.expect = { .pid = 7, .epoch = s->epoch },
		.welcome = { .pid = 7,
			     .epoch = s->epoch,
			     .bytes_max = s->bytes_max,
			     .inflight_max = 1024,
			     .functions_count = FN_COUNT,
			     .functions = server_functions,
			     .function_flags = server_flags },
		.events = &server_events,
		.user = s,
	};
	struct praas_shm_config shm = { .workers = 2 };
	struct praas_port_config pc = { .accept_events =
						praas_session_server_events() };

	(void)snprintf(s->dir, sizeof(s->dir), "%.40s/praas.XXXXXX",
		       tmp ? tmp : "/tmp");
	praas_check(mkdtemp(s->dir) != NULL);
	(void)snprintf(s->shm_addr, sizeof(s->shm_addr), "shm://%s/s", s->dir);
	praas_check(praas_session_server_new(&sc, &s->sessions) == 0);
	praas_check(praas_heap_new(NULL, &s->heap) == 0);
	pc.accept_user = s->sessions;
	pc.accept_key = praas_session_server_key;
	pc.memory = praas_heap_memory(s->heap);
	pc.listen = s->shm_addr;
	praas_check(praas_transport_find("shm")->open(&pc, &s->shm) == 0);
	praas_check(praas_shm_configure(s->shm, &shm) == 0);
	pc.listen = "tcp://127.0.0.1:0";
	praas_check(praas_transport_find("tcp")->open(&pc, &s->tcp) == 0);
	praas_check(s->tcp->ops->address(s->tcp, s->tcp_addr) == 0);
	server_ticket(s, sc.controller_key);
}

static inline void server_launch(struct server *s)
{
	praas_check(pthread_create(&s->thread, NULL, server_run, s) == 0);
	while (!atomic_load(&s->ready))
		(void)sched_yield();
}

static inline void server_start(struct server *s, uint64_t bytes_max)
{
	*s = (struct server){ .bytes_max = bytes_max, .epoch = 3 };
	server_launch(s);
}

static inline void server_stop(struct server *s)
{
	atomic_store(&s->stop, true);
	(void)pthread_join(s->thread, NULL);
	praas_session_server_free(s->sessions);
	praas_heap_free(s->heap);
	(void)rmdir(s->dir);
}

#endif
