/* SPDX-License-Identifier: Apache-2.0
 *
 * Two processes of an application: the one that asks is on the client's core, the one that answers on
 * the server's, and the client sleeps.
 */
#include "perf/pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/call.h"
#include "perf/target.h"

#define APP "worker"
#define ASKS "asks"
#define NEAR "near"
#define FAR "far"
#define DEADLINE_NS                                                                    \
	UINT64_C(120000000000) /* of a round: who waits for a lost message ends */

struct pair {
	praas_connection *asks, *answers;
	uint32_t ask, answer;
};

static int request(struct praas_target *t, const char *method, const char *path,
		   const char *body)
{
	char *answer = NULL;
	int status = 0;
	int rc = praas_control_request(t->control, method, path, "application/json",
				       body, strlen(body), &status, &answer, NULL);

	if (rc == 0 && status / 100 != 2) {
		(void)fprintf(stderr, "praas-perf: %s %s: %d %s\n", method, path,
			      status, answer ? answer : "");
		rc = -EPROTO;
	}
	free(answer);
	return rc;
}

/* A process on that node, all of it on that core, and a connection to it. */
static int process_open(struct praas_target *t, const char *name, const char *node,
			int cpu, praas_connection **ret_conn)
{
	const struct praas_connect_config config = { .transport = "tcp" };
	char body[80];
	int pid, rc;

	(void)snprintf(body, sizeof body, "{\"pid\":\"%s\",\"node\":\"%s\"}", name,
		       node);
	rc = request(t, "POST", "/v1/apps/" APP "/processes", body);
	if (rc == 0)
		rc = praas_connect(t->control, APP, name, &config, ret_conn);
	if (rc != 0)
		return rc;
	pid = praas_target_os_pid(t, APP, name);
	if (pid > 0)
		praas_bench_pin_tree(pid, cpu);
	return 0;
}

static const char *other_of(const struct praas_perf_pair *p)
{
	return p->far ? FAR : NEAR;
}

static int setup(struct praas_contender *c)
{
	const struct praas_perf_pair *p = c->arg;
	bool message = p->kind == PRAAS_PAIR_MESSAGE;
	struct pair *k = calloc(1, sizeof *k);
	struct praas_target *t;
	int rc = k ? praas_target_start(PRAAS_TARGET_NODES, &t) : -ENOMEM;

	c->data = k;
	if (rc == 0)
		rc = process_open(t, ASKS, PRAAS_TARGET_NODE, praas_options.cpu_client,
				  &k->asks);
	if (rc == 0)
		rc = process_open(t, other_of(p),
				  p->far ? PRAAS_TARGET_NODE_FAR : PRAAS_TARGET_NODE,
				  praas_options.cpu_server, &k->answers);
	if (rc == 0)
		rc = praas_function_lookup(
			k->asks, message ? "loop_ping" : "loop_remote", &k->ask);
	if (rc == 0 && message)
		rc = praas_function_lookup(k->answers, "pong", &k->answer);
	return rc;
}

static void teardown(struct praas_contender *c)
{
	struct pair *k = c->data;

	if (!k)
		return;
	praas_close(k->asks);
	praas_close(k->answers);
	free(k);
	c->data = NULL;
}

static int taken(praas_connection *conn, struct praas_result *r, struct praas_hist *h)
{
	int rc = r->status ? -EIO : 0;

	if (r->status)
		(void)fprintf(stderr, "praas-perf: call failed: %s: %.*s\n",
			      praas_status_text(r->status), (int)r->view.bytes,
			      r->view.bytes ? (const char *)r->view.data : "");
	for (size_t i = 0; rc == 0 && h && i < r->view.bytes / sizeof(uint32_t); i++)
		praas_hist_add(h, ((const uint32_t *)r->view.data)[i]);
	praas_result_release(conn, r);
	return rc;
}

static int round_pair(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	const struct praas_perf_pair *p = c->arg;
	struct pair *k = c->data;
	struct praas_loop loop = { .n = (uint32_t)n, .batch = 1, .bytes = c->size };
	struct praas_call call = { .function = k->answer,
				   .data = &loop,
				   .bytes = sizeof loop,
				   .timeout_ns = DEADLINE_NS };
	struct praas_result r;
	uint64_t answering = 0;
	bool message = p->kind == PRAAS_PAIR_MESSAGE;
	int rc = 0;

	(void)snprintf(loop.key, sizeof loop.key, "%s", other_of(p));
	if (message)
		rc = praas_submit(k->answers, &call, &answering);
	if (rc != 0)
		return rc;
	call.function = k->ask;
	rc = praas_call(k->asks, &call, &r);
	if (rc == 0)
		rc = taken(k->asks, &r, h);
	if (rc == 0 && message) {
		rc = praas_wait_call(k->answers, answering, -1, &r);
		if (rc == 0)
			rc = taken(k->answers, &r, NULL);
	}
	return rc;
}

void praas_perf_pair_contender(struct praas_contender *c, const char *bench,
			       const char *variant, const struct praas_perf_pair *pair,
			       uint64_t size, uint64_t n)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = variant,
				       .role = PRAAS_ROLE_OURS,
				       .waits = "adaptive",
				       .size = size,
				       .n = n,
				       .scale = pair->kind == PRAAS_PAIR_MESSAGE ? 0.5
										 : 1,
				       .arg = pair,
				       .setup = setup,
				       .round = round_pair,
				       .teardown = teardown };
}

int praas_perf_pair_members(unsigned count)
{
	static unsigned have;
	struct praas_target *t;
	int rc = praas_target_start(PRAAS_TARGET_NODES, &t);

	for (; rc == 0 && have < count; have++) {
		char body[40];

		/* A copy of a process rests until it is called. */
		(void)snprintf(body, sizeof body, "{\"pid\":\"member-%u\"}", have);
		rc = request(t, "POST", "/v1/apps/" APP "/processes/" NEAR "/fork",
			     body);
	}
	return rc;
}
