/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes: shown, drained, used again. Those of the service's start; none are made here.
 */
#include <errno.h>

#include "control/json.h"
#include "control/rest/request.h"

/* How far it is; NULL: no memory. */
static json_t *drain_json(const struct praas_life_node_view *v)
{
	json_t *object = json_pack(
		"{s:b,s:b,s:I,s:i,s:i,s:i}", "swap_out", v->use.swap_out, "done",
		v->use.processes == 0, "moved", (json_int_t)v->use.moved, "moving",
		(int)v->moving, "busy", (int)v->busy, "stuck", (int)v->stuck);

	if (object && v->use.processes > 0 && v->use.why[0] &&
	    json_object_set_new(object, "why", json_string(v->use.why))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *node_json(const struct praas_life_node_view *v)
{
	const struct praas_node *n = v->node;
	json_t *object =
		json_pack("{s:s,s:s,s:s,s:b,s:i,s:I,s:I,s:I,s:I,s:i}", "name", n->name,
			  "state", v->use.drained ? "DRAINED" : "READY", "listen",
			  n->listen, "tls", n->tls, "processes", (int)v->use.processes,
			  "memory_bytes", (json_int_t)n->memory_bytes,
			  "memory_used_bytes", (json_int_t)v->use.memory_bytes,
			  "vcpu_milli", (json_int_t)n->vcpu_milli, "vcpu_used_milli",
			  (json_int_t)v->use.vcpu_milli, "controllers_ready",
			  (int)v->starts.ready);

	if (object &&
	    ((n->netns[0] &&
	      json_object_set_new(object, "netns", json_string(n->netns))) ||
	     (v->use.drained && json_object_set_new(object, "drain", drain_json(v))))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

void praas_route_nodes_list(struct praas_request *rq)
{
	struct praas_life_node_view v;
	json_t *list = json_array();

	for (uint32_t i = 0;
	     list && praas_life_node_view(rq->service->life, i, &v) == 0; i++) {
		if (json_array_append_new(list, node_json(&v)) == 0)
			continue;
		json_decref(list);
		list = NULL;
	}
	praas_reply_json(rq, 200, list ? json_pack("{s:o}", "nodes", list) : NULL);
}

/* The node as it is now, or why not. */
static void answer(struct praas_request *rq, int rc)
{
	struct praas_life_node_view v;

	if (rc == 0) /* it is there */
		rc = praas_life_node_view(
			rq->service->life,
			praas_nodes_index(&rq->service->nodes, rq->match.id), &v);
	if (rc == -ENOENT)
		praas_reply_error(rq, 404, "no_node", "GET /v1/nodes lists them",
				  "there is no node of that name");
	else if (rc == -EBUSY)
		praas_reply_error(
			rq, 409, "no_other_node",
			"\"swap_out\": true swaps its processes out in place of moving "
			"them",
			"there is no other node that takes processes");
	else if (rc)
		praas_reply_unstored(rq, rc, "that cannot be stored");
	else
		praas_reply_json(rq, 200, node_json(&v));
}

static bool body_good(struct praas_request *rq, const char *const *known,
		      bool *ret_swap_out)
{
	struct praas_json_error error;

	if (praas_json_known(rq->json, known, &error) &&
	    praas_json_bool(rq->json, "swap_out", ret_swap_out, &error))
		return true;
	praas_reply_error(rq, 400, "invalid", "see docs/rest.md", "%s", error.text);
	return false;
}

void praas_route_nodes_drain(struct praas_request *rq)
{
	static const char *const known[] = { "swap_out", NULL };
	bool swap_out = false;

	if (body_good(rq, known, &swap_out))
		answer(rq, praas_life_node_drain(rq->service->life, rq->match.id,
						 swap_out));
}

void praas_route_nodes_resume(struct praas_request *rq)
{
	static const char *const none[] = { NULL };
	bool unused;

	if (body_good(rq, none, &unused))
		answer(rq, praas_life_node_resume(rq->service->life, rq->match.id));
}
