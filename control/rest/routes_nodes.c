/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes: shown, drained, used again. Those of the service's start; none are made here.
 */
#include <errno.h>
#include <string.h>

#include "control/json.h"
#include "control/rest/request.h"

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

	if (object && n->netns[0] &&
	    json_object_set_new(object, "netns", json_string(n->netns))) {
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

static void set(struct praas_request *rq, bool drained)
{
	static const char *const none[] = { NULL };
	struct praas_json_error error;
	struct praas_life_node_view v;
	int rc, i;

	if (!praas_json_known(rq->json, none, &error)) {
		praas_reply_error(rq, 400, "invalid", "see docs/rest.md", "%s",
				  error.text);
		return;
	}
	i = praas_nodes_find(&rq->service->nodes, rq->match.id);
	rc = i < 0 ? -ENOENT
		   : praas_life_node_drain(rq->service->life, rq->match.id, drained);
	if (rc == 0)
		rc = praas_life_node_view(rq->service->life, (uint32_t)i, &v);
	if (rc == -ENOENT)
		praas_reply_error(rq, 404, "no_node", "GET /v1/nodes lists them",
				  "there is no node of that name");
	else if (rc)
		praas_reply_unstored(rq, rc, "that cannot be stored");
	else
		praas_reply_json(rq, 200, node_json(&v));
}

void praas_route_nodes_drain(struct praas_request *rq)
{
	set(rq, true);
}

void praas_route_nodes_resume(struct praas_request *rq)
{
	set(rq, false);
}
