/* SPDX-License-Identifier: Apache-2.0
 *
 * One REST request, from its head to its answer. A handler runs in a job and ends in exactly one
 * of: a praas_reply_…() call, or an operation whose end continues the request (praas_request_await()
 * before it). Either may end the request's life: nothing of it is touched afterwards.
 */
#ifndef PRAAS_CONTROL_REQUEST_H
#define PRAAS_CONTROL_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "control/rest/authorise.h"
#include "control/rest/receipt.h"
#include "control/rest/router.h"
#include "control/service.h"
#include "control/trace.h"

struct MHD_Connection;
struct praas_burst;
struct praas_http_thread;
struct praas_head;
struct praas_deploy;
struct praas_pass;
struct praas_peer;
struct praas_stream;

#define PRAAS_REPLY_HEADERS 6

/* What came of a call over the data plane. */
struct praas_call_result {
	int rc;     /* errno of the call itself */
	int status; /* of an invocation */
	void *data; /* malloc'd, unless lent; result or value */
	bool lent;  /* data is where the request's body was */
	size_t bytes;
	json_t *json;     /* of a listing */
	uint64_t version; /* of a state object */
	bool quick;       /* an invocation that took no time to speak of */
	uint64_t
		again; /* its id, when it can be sent again without running twice; else 0 */
	praas_pid_t source;               /* of a message */
	struct praas_trace_context trace; /* that it carries; zeros: none */
	char text[PRAAS_ERROR_TEXT_MAX];  /* why status is not 0 */
	struct praas_timing timing;
};

struct praas_request {
	struct praas_service *service;
	struct MHD_Connection *connection; /* NULL in tests of handlers */
	struct praas_http_thread *thread;  /* which serves it */
	struct praas_match match;
	struct praas_caller caller; /* who was found to ask */
	bool admitted;              /* counts among his tenant's calls */
	bool inner;                 /* one who stands by has passed it on to us */
	bool alone;  /* asked of one who stands by: there are no records */
	bool passed; /* the active service has answered it */
	uint64_t began_ns;
	struct praas_trace trace;      /* by praas_request_trace() */
	char made[PRAAS_NAME_MAX + 1]; /* what it made, for the audit log */
	char code[24];                 /* of the error that it is answered with */
	bool remembers;                /* its answer is kept for a key */
	struct praas_memo memo;
	char *body; /* NULL when empty; one byte more than body_bytes, zero */
	size_t body_bytes, body_room;
	json_t *json; /* body of a route that is not raw; never NULL there */
	/* the answer */
	int status;
	const char *content_type;
	void *reply; /* malloc'd, unless reply_lent */
	bool reply_lent; /* static, or where the body was: there until the request is freed */
	size_t reply_bytes;
	struct praas_stream *stream; /* in place of reply */
	struct {
		const char *name; /* static */
		char value[160];
	} headers[PRAAS_REPLY_HEADERS];
	unsigned headers_count;
	char *ticket; /* JSON, malloc'd: a header of its own, never kept. NULL: none */
	/* of the work under way */
	struct praas_job job;
	struct praas_life_wait wait;
	void (*step)(struct praas_request *rq); /* after the wait */
	struct praas_app_record app;
	struct praas_deploy *deploy; /* routes_deploy.c */
	uint64_t deadline_ns;
	uint32_t tries;
	bool created;
	bool timing; /* it is asked where the time goes */
	bool ticket_wanted;
	bool once; /* work must not be repeated when it is not known whether it was done */
	void (*work)(struct praas_request *rq, praas_connection *conn,
		     struct praas_call_result *ret_result);
	void (*answer)(struct praas_request *rq);
	struct praas_call_result result;
	struct praas_pass *pass; /* it is the active service's to answer; NULL: ours */
	const char *method;      /* of one that is passed on */
	struct praas_receipt receipt; /* of the message that it is answered with */
	uint64_t call;                /* that was begun at once */
	uint64_t resent; /* id of an invocation that is sent once more; else 0 */
	struct praas_burst *burst; /* with others; NULL: it has ended */
	struct praas_request *burst_next;
	struct praas_audit_lines
		*audit_lines; /* where its line waits for others; NULL: it does not */
	bool orphan;   /* libmicrohttpd has forgotten it: it ends with its answer */
	char from[64]; /* then: its client */
	char key[PRAAS_KEY_MAX + 1];
	/* of rest.c */
	bool begun;     /* its head was looked at */
	bool last;      /* the connection ends with it */
	bool suspended; /* a job has it */
	bool answered, counted, target_legal;
	struct praas_peer *peer;
	size_t target_bytes, forgotten_bytes;
	size_t charged_bytes;
};

/* The trace that the request belongs to: its header's, or a new one. */
const struct praas_trace *praas_request_trace(struct praas_request *rq);
/* Address of its client, as text. */
const char *praas_request_from(const struct praas_request *rq);
/* Header or query parameter, as it came; NULL: none. */
const char *praas_request_header(const struct praas_request *rq, const char *name);
const char *praas_request_query(const struct praas_request *rq, const char *name);
/* Decoded into ret_text. 0; -ENOENT absent; -EINVAL; -EMSGSIZE. */
int praas_request_query_text(const struct praas_request *rq, const char *name,
			     char *ret_text, size_t bytes_max);
/* The most that its body may have. */
size_t praas_request_body_max(const struct praas_request *rq);
/* A number from the query or a header (text may be NULL: otherwise is taken). 0; -EINVAL. */
int praas_request_number(const char *text, uint64_t max, uint64_t otherwise,
			 uint64_t *ret_number);

/* The next life operation continues in step; its outcome is in rq->wait. */
struct praas_life_wait *praas_request_await(struct praas_request *rq,
					    void (*step)(struct praas_request *rq),
					    uint64_t deadline_ns);

/* Loads rq->app; false: answered with what went wrong. */
bool praas_request_app(struct praas_request *rq);

/* Wakes process pid (NULL: one is chosen) of rq->app, does work on a connection to it, and then
 * answers. Again when the process went away before work was done. */
void praas_request_call(struct praas_request *rq, const char *pid,
			void (*work)(struct praas_request *rq, praas_connection *conn,
				     struct praas_call_result *ret_result),
			void (*answer)(struct praas_request *rq));

/* The work was done, or could not be: answers, or does it again. leased: on a connection. */
void praas_request_called(struct praas_request *rq, bool leased);
/* An invocation's result is copied to rq->result and released. A good one takes the place of the body, when
 * there is room: nothing asks for that any more. */
void praas_call_take(struct praas_request *rq, praas_connection *conn,
		     struct praas_result *result);
/* Whether the connection it came over can be used again. */
bool praas_result_good(const struct praas_call_result *result);

/* routes_invoke.c. By the thread of HTTP: an invocation of a function that has been quick lately, in a
 * process that serves, needs no other. */
enum praas_at_once praas_invoke_at_once(struct praas_request *rq);

/* The answer for want of memory: needs none. What was asked for may be done. */
extern const char praas_reply_short[];
void praas_reply_no_memory(struct praas_request *rq);
/* Ends of a request. value is given; data is malloc'd and given. */
void praas_reply_json(struct praas_request *rq, int status, json_t *value);
void praas_reply_raw(struct praas_request *rq, int status, void *data, size_t bytes);
/* Events until either side has enough; stream is given. */
void praas_reply_stream(struct praas_request *rq, struct praas_stream *stream);
void praas_reply_bytes(struct praas_request *rq, int status, const char *content_type,
		       void *data, size_t bytes);
void praas_reply_text(struct praas_request *rq, const char *content_type, char *text);
/* JSON that is text already; data is malloc'd and given. */
void praas_reply_stored_json(struct praas_request *rq, int status, void *data,
			     size_t bytes);
void praas_reply_empty(struct praas_request *rq, int status);
void praas_reply_error(struct praas_request *rq, int status, const char *code,
		       const char *hint, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* What a life operation or the data plane failed with. */
void praas_reply_outcome(struct praas_request *rq, const struct praas_outcome *outcome);
void praas_reply_errno(struct praas_request *rq, int rc, const char *what);
/* The same of what is stored by the service itself: its disk, not the memory of a process. */
void praas_reply_unstored(struct praas_request *rq, int rc, const char *what);
/* Before the end. */
void praas_reply_header(struct praas_request *rq, const char *name, const char *value);
/* name need not live on: it is one of those that answers have, else nothing happens. */
void praas_reply_header_copy(struct praas_request *rq, const char *name,
			     const char *value);

/* Provided by rest_check.c. Answers a request that is to be refused before its body is there; returns
 * whether that answer is to be sent now, which ends the connection. */
bool praas_request_check(struct praas_request *rq, const struct praas_head *head);
void praas_request_too_large(struct praas_request *rq);
/* Whether it can be answered by who has the records: nobody else can have them now. false: answered. */
bool praas_request_owned(struct praas_request *rq);

/* access.c. Whether he may ask at all, before anything is looked up; false: answered. */
bool praas_request_authorise(struct praas_request *rq);
/* Whether his tenant may have one more under way, until leave; false: answered. */
bool praas_request_admit(struct praas_request *rq);
void praas_request_leave(struct praas_request *rq);
/* A line in the audit log, when it changes something, or wanted to; from: address of the client. */
void praas_request_audit(struct praas_request *rq, const char *from);
/* What is not there, or is another's: alike. */
void praas_reply_no_app(struct praas_request *rq);
void praas_reply_quota(struct praas_request *rq, enum praas_quota quota);

/* rest_memo.c. Idempotency-Key: whether it was answered, by what is kept or why not; and to keep an
 * answer before it is sent: whether all of it is kept. From a job. */
bool praas_request_recall(struct praas_request *rq);
bool praas_request_remember(struct praas_request *rq);

/* Provided by rest.c: the answer is complete. */
void praas_request_finish(struct praas_request *rq);
/* The same: its answer has left, or nobody waits for it. */
void praas_request_free(struct praas_request *rq);

/* All routes; the last has no pattern. */
extern const struct praas_route praas_routes[];

/* Handlers. */
void praas_route_apps_create(struct praas_request *rq);
void praas_route_apps_list(struct praas_request *rq);
void praas_route_apps_show(struct praas_request *rq);
void praas_route_apps_delete(struct praas_request *rq);
void praas_route_apps_deploy(struct praas_request *rq);
void praas_route_watch(struct praas_request *rq);
void praas_route_members(struct praas_request *rq);
void praas_route_processes_create(struct praas_request *rq);
void praas_route_processes_list(struct praas_request *rq);
void praas_route_processes_show(struct praas_request *rq);
void praas_route_processes_delete(struct praas_request *rq);
void praas_route_swap_out(struct praas_request *rq);
void praas_route_migrate(struct praas_request *rq);
void praas_route_swap_in(struct praas_request *rq);
void praas_route_checkpoint(struct praas_request *rq);
void praas_route_kill(struct praas_request *rq);
void praas_route_snapshots_create(struct praas_request *rq);
void praas_route_snapshots_list(struct praas_request *rq);
void praas_route_snapshots_show(struct praas_request *rq);
void praas_route_snapshots_delete(struct praas_request *rq);
void praas_route_fork(struct praas_request *rq);
void praas_route_rollback(struct praas_request *rq);
void praas_route_tickets(struct praas_request *rq);
void praas_route_invoke(struct praas_request *rq);
void praas_route_state_list(struct praas_request *rq);
void praas_route_state_get(struct praas_request *rq);
void praas_route_state_put(struct praas_request *rq);
void praas_route_state_delete(struct praas_request *rq);
void praas_route_message_send(struct praas_request *rq);
void praas_route_message_receive(struct praas_request *rq);
void praas_route_tokens_create(struct praas_request *rq);
void praas_route_tokens_list(struct praas_request *rq);
void praas_route_tokens_delete(struct praas_request *rq);
void praas_route_tenants_create(struct praas_request *rq);
void praas_route_tenants_list(struct praas_request *rq);
void praas_route_tenants_show(struct praas_request *rq);
void praas_route_tenants_set(struct praas_request *rq);
void praas_route_tenants_delete(struct praas_request *rq);
void praas_route_logs(struct praas_request *rq);
void praas_route_usage(struct praas_request *rq);
void praas_route_limits(struct praas_request *rq);
void praas_route_nodes_list(struct praas_request *rq);
void praas_route_nodes_drain(struct praas_request *rq);
void praas_route_nodes_resume(struct praas_request *rq);
void praas_route_healthz(struct praas_request *rq);
void praas_route_readyz(struct praas_request *rq);
void praas_route_openapi(struct praas_request *rq);
void praas_route_metrics(struct praas_request *rq);

/* A credential for the data plane of the process that was waited for. 0; an errno. */
int praas_request_ticket(struct praas_request *rq, const struct praas_grant *grant,
			 json_t **ret_ticket);
/* The same with all rights, for the answer's header Praas-Ticket; false: it could not be made. */
bool praas_request_add_ticket(struct praas_request *rq);

/* Shared by routes_processes.c and routes_apps.c. NULL: no memory. */
json_t *praas_process_json(struct praas_request *rq,
			   const struct praas_process_record *record);

#endif
