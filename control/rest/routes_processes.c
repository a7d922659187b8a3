/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes: their life, and credentials for their data plane.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/life/endpoints.h"
#include "control/names.h"
#include "control/put.h"
#include "control/rest/page.h"
#include "control/rest/request.h"
#include "internal/base.h"

#define WAIT_NS (60 * 1000000000ull)  /* for an activation */
#define SWAP_NS (300 * 1000000000ull) /* for a swap-out or checkpoint of any size */
#define TICKET_TTL_S 300u
/* More than it can be: a byte of the last exit may become six. */
#define PROCESS_TEXT_BYTES (PRAAS_ENDPOINTS_BYTES + 6u * PRAAS_LIFE_EXIT_BYTES + 1408u)

/* Without shared memory where the client is not on its node. */
static void fit_endpoints(const struct praas_request *rq,
			  struct praas_process_record *record)
{
	if (!praas_nodes_near(&rq->service->nodes, record->node,
			      praas_request_from(rq)))
		praas_endpoints_far(record->endpoints);
}

static json_t *endpoints_of(const struct praas_request *rq,
			    struct praas_process_record *record)
{
	json_t *list;

	fit_endpoints(rq, record);
	list = record->endpoints[0] ? json_loads(record->endpoints, 0, NULL) : NULL;

	return list ? list : json_array();
}

static char *put_member(char *at, const char *name, uint64_t number)
{
	return praas_put_number(praas_put_text(at, name), number);
}

static char *put_metrics(char *at, const struct praas_life_view *view)
{
	at = put_member(at, ",\"metrics\":{\"invocations\":", view->invocations);
	at = put_member(at, ",\"running\":", view->running);
	at = put_member(at, ",\"queued\":", view->queued);
	at = put_member(at, ",\"mailbox_depth\":", view->mailbox_depth);
	at = put_member(at, ",\"state_keys\":", view->state_keys);
	at = put_member(at, ",\"state_bytes\":", view->state_bytes);
	at = put_member(at, ",\"state_out_keys\":", view->state_out_keys);
	at = put_member(at, ",\"state_out_bytes\":", view->state_out_bytes);
	at = put_member(at, ",\"state_fetches\":", view->state_fetches);
	at = put_member(at, ",\"state_evictions\":", view->state_evictions);
	at = put_member(at, ",\"state_fetch_failures\":", view->state_fetch_failures);
	at = put_member(at, ",\"idle_ns\":", view->idle_ns);
	at = put_member(at, ",\"cpu_ns\":", view->cpu_ns);
	return praas_put_text(at, "}");
}

/* A member with a text that may need escapes. Its end; NULL: no memory. */
static char *put_string(char *at, const char *name, const char *value)
{
	json_t *string = json_string(value);
	char *escaped = string ? praas_json_dump_as(string, JSON_ENCODE_ANY) : NULL;

	json_decref(string);
	if (escaped)
		at = praas_put_text(praas_put_text(at, name), escaped);
	free(escaped);
	return escaped ? at : NULL;
}

static char *put_identity(char *at, const char *app,
			  const struct praas_process_record *r)
{
	at = praas_put_text(praas_put_text(at, "{\"app\":\""), app);
	at = praas_put_text(praas_put_text(at, "\",\"pid\":\""), r->name);
	at = put_member(at, "\",\"number\":", r->number);
	return put_member(at, ",\"epoch\":", r->epoch);
}

/* Names need no escapes, and endpoints are JSON already: written by hand, as this is asked for more
 * often than all else. Returns the length (there is always room), or 0: no memory. */
static size_t put_process(char text[PROCESS_TEXT_BYTES], struct praas_request *rq,
			  const struct praas_process_record *record)
{
	PRAAS_UNINITIALIZED struct praas_life_view view;
	const struct praas_process_record *r = &view.record;
	char *at;

	praas_life_view(rq->service->life, record, &view);
	fit_endpoints(rq, &view.record);
	at = put_identity(text, rq->app.name, r);
	at = praas_put_text(at, ",\"state\":\"");
	at = praas_put_text(
		at, view.idle ? "IDLE"
			      : praas_life_state_text((enum praas_life_state)r->state));
	if (r->node[0])
		at = praas_put_text(praas_put_text(at, "\",\"node\":\""), r->node);
	at = praas_put_text(at, "\",\"endpoints\":");
	at = praas_put_text(at, r->endpoints[0] == '[' ? r->endpoints : "[]");
	at = praas_put_text(at, view.connected ? ",\"connected\":true"
					       : ",\"connected\":false");
	at = put_member(at, ",\"revision\":", r->revision);
	at = put_member(at, ",\"lost_epoch\":", r->lost_epoch);
	at = put_member(at, ",\"created_s\":", r->created_ns / 1000000000u);
	at = put_member(at, ",\"changed_s\":", r->changed_ns / 1000000000u);
	if (r->os_pid > 0)
		at = put_member(at, ",\"os_pid\":", (uint64_t)r->os_pid);
	if (view.last_exit[0])
		at = put_string(at, ",\"last_exit\":", view.last_exit);
	if (!at)
		return 0;
	if (view.metrics)
		at = put_metrics(at, &view);
	at = praas_put_text(at, "}");
	*at = 0;
	return (size_t)(at - text);
}

json_t *praas_process_json(struct praas_request *rq,
			   const struct praas_process_record *record)
{
	PRAAS_UNINITIALIZED char text[PROCESS_TEXT_BYTES];
	size_t bytes = put_process(text, rq, record);

	return bytes ? json_loadb(text, bytes, 0, NULL) : NULL;
}

int praas_request_ticket(struct praas_request *rq, const struct praas_grant *grant,
			 json_t **ret_ticket)
{
	json_t *endpoints = endpoints_of(rq, &rq->wait.record);
	int rc;

	if (!endpoints)
		return -ENOMEM;
	rc = praas_keys_ticket(&rq->service->keys, &rq->app, &rq->wait.record,
			       endpoints, grant, ret_ticket);
	json_decref(endpoints);
	return rc;
}

bool praas_request_add_ticket(struct praas_request *rq)
{
	struct praas_grant grant = { .rights = PRAAS_RIGHT_ALL, .ttl_s = TICKET_TTL_S };
	json_t *ticket = NULL;

	if (praas_request_ticket(rq, &grant, &ticket) == 0)
		rq->ticket = praas_json_dump(ticket);
	json_decref(ticket);
	return rq->ticket != NULL;
}

static void refuse_body(struct praas_request *rq, const struct praas_json_error *error)
{
	praas_reply_error(rq, 400, "invalid", "see docs/rest.md", "%s", error->text);
}

/* Routes that take no members. false: answered. */
static bool body_empty(struct praas_request *rq)
{
	static const char *const none[] = { NULL };
	struct praas_json_error error;

	if (praas_json_known(rq->json, none, &error))
		return true;
	refuse_body(rq, &error);
	return false;
}

/* ---- create, swap in ---------------------------------------------------------------- */

static void serving_with_ticket(struct praas_request *rq)
{
	struct praas_grant grant = { .rights = PRAAS_RIGHT_ALL, .ttl_s = TICKET_TTL_S };
	json_t *object, *ticket = NULL;
	int rc;

	if (rq->wait.outcome.rc) {
		praas_reply_outcome(rq, &rq->wait.outcome);
		return;
	}
	rc = praas_request_ticket(rq, &grant, &ticket);
	if (rc) {
		praas_reply_errno(rq, rc, "ticket");
		return;
	}
	object = praas_process_json(rq, &rq->wait.record);
	if (object)
		(void)json_object_set_new(object, "ticket", ticket);
	else
		json_decref(ticket);
	praas_reply_json(rq, rq->created ? 201 : 200, object);
}

/* Nobody waits for it. */
struct unattended {
	struct praas_life_wait wait;
	bool created;
};

static void on_unattended(struct praas_life_wait *wait)
{
	free(wait); /* its first member */
}

static void create_unattended(struct praas_request *rq, const char *pid,
			      const char *node)
{
	struct unattended *u = calloc(1, sizeof(*u));
	struct praas_process_record record;
	struct praas_records *records = rq->service->records;
	char name[PRAAS_NAME_MAX + 1] = "p";
	uint8_t random[8];
	int rc;

	if (!u) {
		praas_reply_errno(rq, -ENOMEM, "create");
		return;
	}
	praas_random(random, sizeof(random));
	praas_hex_encode(random, sizeof(random), name + 1);
	u->wait.done = on_unattended;
	u->wait.deadline_ns = praas_now_ns() + WAIT_NS;
	praas_life_create(rq->service->life, &rq->app, pid ? pid : name, node, &u->wait,
			  &rq->created);
	rc = records->ops->process_get(records, rq->app.id, pid ? pid : name, &record);
	if (rc)
		praas_reply_unstored(rq, rc, "the process could not be created");
	else
		praas_reply_json(rq, 202, praas_process_json(rq, &record));
}

void praas_route_processes_create(struct praas_request *rq)
{
	static const char *const known[] = { "pid", "wait", "node", NULL };
	struct praas_json_error error;
	const char *pid = NULL, *node = NULL;
	bool wait = true;

	if (!praas_json_known(rq->json, known, &error) ||
	    !praas_json_text(rq->json, "pid", 4096, &pid, &error) ||
	    !praas_json_text(rq->json, "node", 4096, &node, &error) ||
	    !praas_json_bool(rq->json, "wait", &wait, &error)) {
		refuse_body(rq, &error);
		return;
	}
	if (pid && !praas_name_valid(pid)) {
		praas_reply_error(rq, 400, "invalid_name",
				  "names are [A-Za-z0-9._-]{1,64}",
				  "\"pid\" is not a name");
		return;
	}
	if (!praas_request_app(rq))
		return;
	if (wait)
		praas_life_create(rq->service->life, &rq->app, pid, node,
				  praas_request_await(rq, serving_with_ticket,
						      praas_now_ns() + WAIT_NS),
				  &rq->created);
	else
		create_unattended(rq, pid, node);
}

void praas_route_swap_in(struct praas_request *rq)
{
	if (!body_empty(rq) || !praas_request_app(rq))
		return;
	praas_life_activate(
		rq->service->life, &rq->app, rq->match.pid,
		praas_request_await(rq, serving_with_ticket, praas_now_ns() + WAIT_NS));
}

/* ---- tickets ------------------------------------------------------------------------ */

static bool take_rights(const json_t *list, uint32_t *ret_rights)
{
	static const char *const names[] = { "invoke", "send", "recv", "state-read",
					     "state-write" };
	uint32_t rights = 0;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return false;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		unsigned bit = 0;

		while (name && bit < 5 && strcmp(name, names[bit]) != 0)
			bit++;
		if (!name || bit == 5)
			return false;
		rights |= 1u << bit;
	}
	*ret_rights = rights;
	return true;
}

static bool take_grant(json_t *object, struct praas_grant *grant,
		       struct praas_json_error *error)
{
	static const char *const known[] = { "rights", "ttl_s", "bytes_max", NULL };
	const json_t *rights = json_object_get(object, "rights");
	uint64_t ttl = TICKET_TTL_S;

	if (!praas_json_known(object, known, error) ||
	    !praas_json_number(object, "ttl_s", 1, PRAAS_LIMIT_TICKET_TTL_S, &ttl,
			       error) ||
	    !praas_json_number(object, "bytes_max", 0, PRAAS_LIMIT_MEMORY_BYTES,
			       &grant->bytes_max, error))
		return false;
	grant->ttl_s = (uint32_t)ttl;
	grant->rights = PRAAS_RIGHT_ALL;
	if (!rights || take_rights(rights, &grant->rights))
		return true;
	strcpy(error->text, "\"rights\" is a list of invoke, send, recv, state-read, "
			    "state-write");
	return false;
}

static void ticket_when_serving(struct praas_request *rq)
{
	struct praas_grant grant = { 0 };
	struct praas_json_error error;
	json_t *ticket = NULL;
	int rc;

	if (rq->wait.outcome.rc) {
		praas_reply_outcome(rq, &rq->wait.outcome);
		return;
	}
	(void)take_grant(rq->json, &grant, &error); /* was checked before the wait */
	rc = praas_request_ticket(rq, &grant, &ticket);
	if (rc)
		praas_reply_errno(rq, rc, "ticket");
	else
		praas_reply_json(rq, 200, ticket);
}

void praas_route_tickets(struct praas_request *rq)
{
	struct praas_grant grant = { 0 };
	struct praas_json_error error;

	if (!take_grant(rq->json, &grant, &error)) {
		refuse_body(rq, &error);
		return;
	}
	if (!praas_request_app(rq))
		return;
	praas_life_activate(
		rq->service->life, &rq->app, rq->match.pid,
		praas_request_await(rq, ticket_when_serving, praas_now_ns() + WAIT_NS));
}

/* ---- the rest of life --------------------------------------------------------------- */

static void tell_process(struct praas_request *rq)
{
	if (rq->wait.outcome.rc)
		praas_reply_outcome(rq, &rq->wait.outcome);
	else
		praas_reply_json(rq, 200, praas_process_json(rq, &rq->wait.record));
}

static void tell_gone(struct praas_request *rq)
{
	if (rq->wait.outcome.rc)
		praas_reply_outcome(rq, &rq->wait.outcome);
	else
		praas_reply_empty(rq, 204);
}

void praas_route_swap_out(struct praas_request *rq)
{
	if (!body_empty(rq) || !praas_request_app(rq))
		return;
	praas_receipts_settle(rq);
	praas_life_swap_out(
		rq->service->life, &rq->app, rq->match.pid,
		praas_request_await(rq, tell_process, praas_now_ns() + SWAP_NS));
}

void praas_route_migrate(struct praas_request *rq)
{
	static const char *const known[] = { "node", NULL };
	struct praas_json_error error;
	const char *node = NULL;

	if (!praas_json_known(rq->json, known, &error) ||
	    !praas_json_text(rq->json, "node", 4096, &node, &error)) {
		refuse_body(rq, &error);
		return;
	}
	if (node && !praas_name_valid(node)) {
		praas_reply_error(rq, 400, "invalid_name",
				  "names are [A-Za-z0-9._-]{1,64}",
				  "\"node\" is not a name");
		return;
	}
	if (!praas_request_app(rq))
		return;
	praas_receipts_settle(rq);
	praas_life_move(
		rq->service->life, &rq->app, rq->match.pid, node,
		praas_request_await(rq, tell_process, praas_now_ns() + SWAP_NS));
}

void praas_route_checkpoint(struct praas_request *rq)
{
	if (!body_empty(rq) || !praas_request_app(rq))
		return;
	praas_receipts_settle(rq);
	praas_life_checkpoint(
		rq->service->life, &rq->app, rq->match.pid,
		praas_request_await(rq, tell_process, praas_now_ns() + SWAP_NS));
}

void praas_route_kill(struct praas_request *rq)
{
	if (!body_empty(rq) || !praas_request_app(rq))
		return;
	praas_life_kill(
		rq->service->life, &rq->app, rq->match.pid,
		praas_request_await(rq, tell_process, praas_now_ns() + WAIT_NS));
}

void praas_route_processes_delete(struct praas_request *rq)
{
	if (!praas_request_app(rq))
		return;
	praas_life_delete(rq->service->life, &rq->app, rq->match.pid,
			  praas_request_await(rq, tell_gone, praas_now_ns() + WAIT_NS));
}

void praas_route_processes_show(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	PRAAS_UNINITIALIZED struct praas_process_record record;
	PRAAS_UNINITIALIZED char text[PROCESS_TEXT_BYTES];
	size_t bytes = 0;
	char *copy;
	int rc;

	if (!praas_request_app(rq))
		return;
	rc = records->ops->process_get(records, rq->app.id, rq->match.pid, &record);
	if (rc == 0)
		bytes = put_process(text, rq, &record);
	copy = bytes ? malloc(bytes) : NULL;
	if (copy)
		praas_reply_stored_json(rq, 200, memcpy(copy, text, bytes), bytes);
	else
		praas_reply_errno(rq, rc ? rc : -ENOMEM, "no such process");
}

static json_t *listed_json(struct praas_request *rq,
			   const struct praas_process_record *p)
{
	return praas_process_json(rq, p);
}

void praas_route_processes_list(struct praas_request *rq)
{
	json_t *reply;
	int rc = praas_page_processes(rq, "processes", listed_json, &reply);

	if (rc <= 0)
		praas_reply_list(rq, rc, "processes", reply);
}
