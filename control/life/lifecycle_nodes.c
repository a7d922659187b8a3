/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes of processes: which one each is started on (control/life/place_node.h decides), what they
 * have taken of it, and draining one. What a process takes counts from the decision to start its
 * controller until it rests. With the lock held where nothing else is said.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/json.h"
#include "control/names.h"
#include "control/say.h"
#include "internal/base.h"

#define PAGE 2u                        /* items at a time: they are large */
#define SWAP_OUT "{\"swap_out\":true}" /* in the records */

static const struct praas_node *node_of(const struct praas_life *life, uint32_t i)
{
	return &life->config.nodes->node[i];
}

struct praas_backend *praas_life_backend(const struct praas_life_process *p)
{
	/* Of a node that there is no more: on this machine all the same. */
	return node_of(p->life, p->placed ? p->node : 0)->backend;
}

void praas_life_node_describe(const struct praas_life *life, uint32_t index,
			      struct praas_place_node *ret_node)
{
	const struct praas_life_node *use = &life->nodes[index];

	*ret_node = (struct praas_place_node){
		.memory_bytes = node_of(life, index)->memory_bytes,
		.memory_used = use->memory_bytes,
		.vcpu_milli = node_of(life, index)->vcpu_milli,
		.vcpu_used = use->vcpu_milli,
		.processes = use->processes,
		.drained = use->drained,
	};
}

/* A look at all that have a controller: an activation costs far more. */
static void count_neighbours(struct praas_life_process *p,
			     struct praas_place_node nodes[PRAAS_NODES_MAX])
{
	struct praas_life_process *q, *next;

	HASH_ITER(hh, p->life->processes, q, next)
	{
		if (q != p && q->placed &&
		    memcmp(q->record.app, p->record.app, sizeof(p->record.app)) == 0)
			nodes[q->node].neighbours++;
	}
}

static struct praas_outcome no_room(const struct praas_life_process *p,
				    const char *node, int rc)
{
	char text[200];

	if (rc == -EBUSY && node)
		(void)snprintf(text, sizeof(text), "node %s is drained", node);
	else if (rc == -EBUSY)
		(void)snprintf(text, sizeof(text), "all nodes are drained");
	else
		(void)snprintf(
			text, sizeof(text),
			"%s%s has %sroom for %llu bytes of memory and %u "
			"thousandths of a processor",
			node ? "node " : "no node", node ? node : "", node ? "no " : "",
			(unsigned long long)p->app.memory_bytes, p->app.vcpu_milli);
	return praas_outcome_of(rc, rc == -EBUSY ? "node_drained" : "no_room", text);
}

/* The one that was asked for, if it may be had. */
static int take_wanted(const struct praas_life_process *p, uint32_t wanted,
		       const struct praas_place_need *need,
		       struct praas_outcome *ret_why)
{
	struct praas_place_node node;
	int rc = 0;

	praas_life_node_describe(p->life, wanted, &node);
	if (node.drained)
		rc = -EBUSY;
	else if (!praas_place_node_room(&node, need))
		rc = -ENOSPC;
	if (rc)
		*ret_why = no_room(p, node_of(p->life, wanted)->name, rc);
	return rc;
}

/* without: not those, a bit each. */
static int choose(struct praas_life_process *p, const struct praas_place_need *need,
		  uint32_t without, uint32_t *ret_node, struct praas_outcome *ret_why)
{
	struct praas_place_node nodes[PRAAS_NODES_MAX];
	struct praas_life *life = p->life;
	uint32_t count = life->config.nodes->count;
	bool room = false;
	int rc;

	for (uint32_t i = 0; i < count; i++) {
		praas_life_node_describe(life, i, &nodes[i]);
		nodes[i].last = strcmp(node_of(life, i)->name, p->record.node) == 0;
		nodes[i].drained = nodes[i].drained || (without >> i & 1) != 0;
		room = room ||
		       (!nodes[i].drained && praas_place_node_room(&nodes[i], need));
	}
	/* Of a full node thousands may be asked for, again and again: that must not look at all for each. */
	if (count > 1 && room)
		count_neighbours(p, nodes);
	rc = praas_place_node(life->config.placement, nodes, count, need, ret_node);
	if (rc)
		*ret_why = no_room(p, NULL, rc);
	return rc;
}

static void settle_on(struct praas_life_process *p, uint32_t node)
{
	struct praas_life_node *use = &p->life->nodes[node];

	p->node = (uint8_t)node;
	p->placed = true;
	p->node_memory = p->app.memory_bytes;
	p->node_vcpu = p->app.vcpu_milli;
	use->memory_bytes += p->node_memory;
	use->vcpu_milli += p->node_vcpu;
	use->processes++;
	praas_life_idle_taken(p->life, node);
	(void)snprintf(p->record.node, sizeof(p->record.node), "%s",
		       node_of(p->life, node)->name);
}

int praas_life_node_take(struct praas_life_process *p, struct praas_outcome *ret_why)
{
	struct praas_place_need need = { .memory_bytes = p->app.memory_bytes,
					 .vcpu_milli = p->app.vcpu_milli };
	uint32_t node = p->node_wanted ? p->node_wanted - 1u : 0;
	int rc;

	if (p->placed)
		return 0;
	rc = p->node_wanted ? take_wanted(p, node, &need, ret_why)
			    : choose(p, &need, 0, &node, ret_why);
	p->node_wanted = 0; /* asked for once */
	if (rc == 0)
		settle_on(p, node);
	return rc;
}

void praas_life_node_running(struct praas_life_process *p)
{
	int node = praas_nodes_find(p->life->config.nodes, p->record.node);

	/* Of before there were nodes: it listens where the first does. */
	if (node < 0 && !p->record.node[0])
		node = 0;
	if (node >= 0 && !p->placed)
		settle_on(p, (uint32_t)node);
	else if (node < 0)
		praas_say(PRAAS_SAY_WARNING,
			  "process %llu runs on node %s, which there is no more",
			  (unsigned long long)p->number, p->record.node);
}

static void give_back(struct praas_life_process *p, uint32_t node)
{
	struct praas_life_node *use = &p->life->nodes[node];

	use->memory_bytes -= p->node_memory;
	use->vcpu_milli -= p->node_vcpu;
	use->processes--;
}

void praas_life_node_leave(struct praas_life_process *p)
{
	praas_life_node_stays(p);
	if (p->placed)
		give_back(p, p->node);
	p->placed = false;
}

/* ---- from one to another ---- */

int praas_life_node_elsewhere(struct praas_life_process *p, uint32_t *ret_node,
			      struct praas_outcome *ret_why)
{
	struct praas_place_need need = { .memory_bytes = p->node_memory,
					 .vcpu_milli = p->node_vcpu };

	uint32_t here = UINT32_C(1) << p->node;
	uint32_t failed = p->move_failed ? UINT32_C(1) << (p->move_failed - 1) : 0;

	praas_check(p->placed);
	if (failed && choose(p, &need, here | failed, ret_node, ret_why) == 0)
		return 0;
	return choose(p, &need, here, ret_node, ret_why);
}

int praas_life_node_move(struct praas_life_process *p, const char *node,
			 struct praas_outcome *ret_why)
{
	struct praas_place_need need;
	int i = praas_nodes_find(p->life->config.nodes, node), rc;
	struct praas_life_node *use;

	if (i < 0) {
		*ret_why = praas_outcome_of(-ENOENT, "no_node",
					    "there is no node of that name");
		return -ENOENT;
	}
	if (p->placed && p->node == i)
		return 0;
	if (!p->placed) { /* where it is there is no more */
		p->node_memory = p->app.memory_bytes;
		p->node_vcpu = p->app.vcpu_milli;
	}
	need = (struct praas_place_need){ .memory_bytes = p->node_memory,
					  .vcpu_milli = p->node_vcpu };
	rc = take_wanted(p, (uint32_t)i, &need, ret_why);
	if (rc)
		return rc;
	use = &p->life->nodes[i];
	use->memory_bytes += p->node_memory;
	use->vcpu_milli += p->node_vcpu;
	use->processes++;
	p->node_moves = (uint8_t)(i + 1);
	praas_life_idle_taken(p->life, (uint32_t)i);
	return 0;
}

void praas_life_node_moved(struct praas_life_process *p)
{
	if (!p->node_moves)
		return;
	if (p->placed)
		give_back(p, p->node);
	p->node = (uint8_t)(p->node_moves - 1);
	p->placed = true;
	p->node_moves = 0;
	(void)snprintf(p->record.node, sizeof(p->record.node), "%s",
		       node_of(p->life, p->node)->name);
}

void praas_life_node_stays(struct praas_life_process *p)
{
	if (p->node_moves)
		give_back(p, p->node_moves - 1u);
	p->node_moves = 0;
}

/* After a restart of ours in the midst of a move the record may say where it was. */
void praas_life_node_told(struct praas_life_process *p, const char *node)
{
	int i = praas_nodes_find(p->life->config.nodes, node);

	if (i < 0 || (p->placed && p->node == i))
		return;
	praas_life_node_leave(p);
	settle_on(p, (uint32_t)i);
}

const struct praas_node *praas_life_node_of_taker(const struct praas_life_process *p)
{
	return p->node_moves ? node_of(p->life, p->node_moves - 1u)
			     : praas_life_node(p);
}

int praas_life_node_want(struct praas_life_process *p, const char *node,
			 struct praas_outcome *ret_why)
{
	int i = praas_nodes_find(p->life->config.nodes, node);

	if (i < 0) {
		*ret_why = praas_outcome_of(-ENOENT, "no_node",
					    "there is no node of that name");
		return -ENOENT;
	}
	if (p->placed && p->node != i) {
		char text[200];

		(void)snprintf(text, sizeof(text), "the process is on node %s",
			       p->record.node);
		*ret_why = praas_outcome_of(-EEXIST, "elsewhere", text);
		return -EEXIST;
	}
	p->node_wanted = p->placed ? 0 : (uint8_t)(i + 1);
	return 0;
}

const struct praas_node *praas_life_node(const struct praas_life_process *p)
{
	return node_of(p->life, p->placed ? p->node : 0);
}

/* ---- draining ---------------------------------------------------------------------- */

static void load_one(struct praas_life *life, const struct praas_item *item)
{
	int i = praas_nodes_find(life->config.nodes, item->id);
	json_t *body = json_loads(item->body, 0, NULL);

	if (i >= 0) {
		struct praas_life_node *node = &life->nodes[i];

		node->drained = true;
		node->swap_out = json_is_true(json_object_get(body, "swap_out"));
		node->version = item->version;
		node->drain_ns = praas_now_ns();
	}
	json_decref(body); /* what is none says nothing of it */
}

int praas_life_nodes_load(struct praas_life *life)
{
	struct praas_records *records = life->config.records;
	struct praas_item page[PAGE];
	char after[PRAAS_NAME_MAX + 1] = "";
	uint32_t n;

	do {
		int rc = records->items->list(records, PRAAS_ITEM_NODE,
					      after[0] ? after : NULL, PAGE, page, &n);

		if (rc)
			return rc;
		for (uint32_t i = 0; i < n; i++)
			load_one(life, &page[i]);
		if (n > 0)
			memcpy(after, page[n - 1].id, sizeof(after));
	} while (n == PAGE);
	return 0;
}

static bool is_alone(const struct praas_life *life, uint32_t node)
{
	for (uint32_t i = 0; i < life->config.nodes->count; i++)
		if (i != node && !life->nodes[i].drained)
			return false;
	return true;
}

/* As it is in the records from now on; version 0: not in them, so not drained. */
static void settle(struct praas_life *life, uint32_t i, uint64_t version, bool swap_out)
{
	struct praas_life_node *node = &life->nodes[i];

	(void)pthread_mutex_lock(&life->lock);
	node->swap_out = swap_out;
	node->version = version;
	if ((version != 0) != node->drained) {
		node->drained = version != 0;
		node->drain_ns = praas_now_ns();
		node->moved = 0;
	}
	praas_life_drain_anew(life, i);
	(void)pthread_mutex_unlock(&life->lock);
}

/* One that was put before, and not answered in time, may be there all the same. */
static int put_anew(struct praas_records *records, struct praas_item *item)
{
	int rc = records->items->put(records, PRAAS_ITEM_NODE, item);

	if (rc != -EEXIST && rc != -ESTALE)
		return rc;
	rc = records->items->take_out(records, PRAAS_ITEM_NODE, item->id);
	item->version = 0;
	return rc && rc != -ENOENT
		       ? rc
		       : records->items->put(records, PRAAS_ITEM_NODE, item);
}

int praas_life_node_drain(struct praas_life *life, const char *name, bool swap_out)
{
	int i = praas_nodes_find(life->config.nodes, name), rc = 0;
	struct praas_records *records = life->config.records;
	struct praas_item item = { .body = "{}" };
	struct praas_life_node was;
	bool alone;

	if (i < 0)
		return -ENOENT;
	(void)snprintf(item.id, sizeof(item.id), "%s", name);
	(void)snprintf(item.body, sizeof(item.body), "%s", swap_out ? SWAP_OUT : "{}");
	(void)pthread_mutex_lock(&life->drain_lock);
	(void)pthread_mutex_lock(&life->lock);
	was = life->nodes[i];
	alone = is_alone(life, (uint32_t)i);
	(void)pthread_mutex_unlock(&life->lock);
	item.version = was.version;
	if (!was.drained || was.swap_out != swap_out) {
		rc = alone && !swap_out ? -EBUSY : put_anew(records, &item);
		if (rc == 0)
			settle(life, (uint32_t)i, item.version, swap_out);
	}
	(void)pthread_mutex_unlock(&life->drain_lock);
	return rc;
}

int praas_life_node_resume(struct praas_life *life, const char *name)
{
	int i = praas_nodes_find(life->config.nodes, name), rc;
	struct praas_records *records = life->config.records;

	if (i < 0)
		return -ENOENT;
	(void)pthread_mutex_lock(&life->drain_lock);
	rc = records->items->take_out(records, PRAAS_ITEM_NODE, name);
	if (rc == -ENOENT)
		rc = 0; /* twice is as once */
	if (rc == 0)
		settle(life, (uint32_t)i, 0, false);
	(void)pthread_mutex_unlock(&life->drain_lock);
	return rc;
}

int praas_life_node_view(struct praas_life *life, uint32_t index,
			 struct praas_life_node_view *ret_view)
{
	const struct praas_nodes *nodes = life->config.nodes;
	struct praas_backend *b;

	if (index >= nodes->count)
		return -ENOENT;
	b = nodes->node[index].backend;
	(void)pthread_mutex_lock(&life->lock);
	*ret_view = (struct praas_life_node_view){ .node = &nodes->node[index],
						   .use = life->nodes[index] };
	if (ret_view->use.drained)
		praas_life_drain_count(life, index, ret_view);
	(void)pthread_mutex_unlock(&life->lock);
	b->ops->stats(b, &ret_view->starts);
	return 0;
}
