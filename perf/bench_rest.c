/* SPDX-License-Identifier: Apache-2.0
 *
 * `rest`: a request to the control service over a connection that is kept, beside the same request to
 * a bare handler of libmicrohttpd with as many threads. The floor echoes a POST and answers a GET
 * with as many bytes as the service does. The client has one core; the other is the floor's, or the
 * service's with its controller and worker.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "perf/clock.h"
#include "perf/crowd.h"
#include "perf/rest.h"
#include "perf/target.h"

#define MANY 16u
#define IDLE 10000u
#define SLOW 1000u
#define PROCESS "rest"

/* One request, sent again and again. */
struct kind {
	bool ours, invoke;
	bool crowded;         /* a service of its own, with a crowd at its door */
	unsigned connections; /* that have a request under way at once */
};

struct load {
	struct praas_rest_peer peer;
	struct praas_rest_client clients[MANY];
	char *request;
	size_t request_bytes;
	unsigned connections;
	struct praas_crowd *crowd;
};

/* What the service answers to the GET: the floor answers with as much. */
static size_t get_bytes;

static int make_request(struct load *l, const struct kind *k, uint64_t size,
			const struct praas_target *t)
{
	char path[128];
	int n;

	if (k->ours)
		(void)snprintf(path, sizeof path, "/v1/apps/worker/%s",
			       k->invoke ? "invoke/echo" : "processes/" PROCESS);
	else
		(void)snprintf(path, sizeof path, "/%zu", get_bytes);
	l->request = calloc(1, 1024 + size);
	if (!l->request)
		return -ENOMEM;
	n = snprintf(l->request, 1024,
		     "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n",
		     k->invoke ? "POST" : "GET", path, t->token);
	if (k->invoke)
		n += snprintf(l->request + n, 1024 - (size_t)n,
			      "Praas-Pid: " PROCESS "\r\nContent-Length: %llu\r\n",
			      (unsigned long long)size);
	n += snprintf(l->request + n, 1024 - (size_t)n, "\r\n");
	l->request_bytes = (size_t)n + (k->invoke ? size : 0);
	return 0;
}

static int setup(struct praas_contender *c)
{
	const struct kind *k = c->arg;
	struct load *l = calloc(1, sizeof *l);
	struct praas_target *t;
	size_t bytes;
	int rc;

	if (!l)
		return -ENOMEM;
	c->data = l;
	rc = praas_target_start(
		k->crowded ? PRAAS_TARGET_PREWARMED : PRAAS_TARGET_PLAIN, &t);
	if (rc == 0)
		rc = praas_target_process(t, "worker", PROCESS);
	if (rc == 0 && !k->ours)
		rc = praas_rest_peer_start(&l->peer);
	if (rc == 0)
		rc = make_request(l, k, c->size, t);
	for (; rc == 0 && l->connections < k->connections; l->connections++)
		rc = praas_rest_connect(&l->clients[l->connections],
					k->ours ? t->url : l->peer.url);
	if (rc == 0)
		rc = praas_rest_ask(&l->clients[0], l->request, l->request_bytes,
				    &bytes);
	if (rc == 0 && k->crowded)
		rc = praas_crowd_start(t->url, IDLE, SLOW, &l->crowd);
	if (rc == 0 && k->ours && !k->invoke)
		get_bytes = bytes;
	if (rc == 0)
		praas_bench_pin_tree(k->ours ? t->pid : l->peer.pid,
				     praas_options.cpu_server);
	return rc;
}

static void teardown(struct praas_contender *c)
{
	struct load *l = c->data;

	if (!l)
		return;
	for (unsigned i = 0; i < l->connections; i++)
		praas_rest_disconnect(&l->clients[i]);
	if (l->crowd)
		(void)fprintf(stderr,
			      "praas-perf: rest: %u slow connections were cut\n",
			      praas_crowd_cut(l->crowd));
	praas_crowd_stop(l->crowd);
	praas_rest_peer_stop(&l->peer);
	free(l->request);
	free(l);
	c->data = NULL;
}

/* All connections send, then all are read: the time of one is a share of that of all. */
static int round_all(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct load *l = c->data;
	const unsigned count = l->connections;
	size_t bytes;
	int rc = 0;

	if (count == 0)
		return -ENOTCONN;
	for (uint64_t i = 0; rc == 0 && i < n; i += count) {
		uint64_t t0 = praas_perf_ticks(), took;

		for (unsigned k = 0; rc == 0 && k < count; k++)
			rc = praas_rest_send(&l->clients[k], l->request,
					     l->request_bytes);
		for (unsigned k = 0; rc == 0 && k < count; k++)
			rc = praas_rest_receive(&l->clients[k], &bytes);
		took = praas_perf_ticks_to_ns(praas_perf_ticks() - t0);
		praas_hist_add(h, took / count);
	}
	return rc;
}

static struct praas_contender contender(const char *variant, const struct kind *k,
					uint64_t size, uint64_t n, const char *versus)
{
	return (struct praas_contender){ .bench = "rest",
					 .variant = variant,
					 .role = k->ours ? PRAAS_ROLE_OURS
							 : PRAAS_ROLE_FLOOR,
					 .waits = "block",
					 .size = size,
					 .n = n,
					 .setup = setup,
					 .round = round_all,
					 .teardown = teardown,
					 .arg = k,
					 .versus = versus };
}

/* Those who behave, with 10,000 others who ask for nothing and 1,000 who are slow, beside those who are
 * alone: it is the 99th percentile that matters. */
static void crowd(void)
{
	static const struct kind calm = { .ours = true, .connections = 1 }, crowded = {
		.ours = true, .crowded = true, .connections = 1
	};
	struct praas_contender c[2] = { contender("get-calm", &calm, 0, 3000, NULL),
					contender("get-crowd", &crowded, 0, 3000,
						  "get-calm") };
	double calm_p99, crowd_p99;

	c[0].role = PRAAS_ROLE_FLOOR;
	praas_bench_run(c, 2);
	calm_p99 = praas_hist_quantile(&c[0].hist, 0.99);
	crowd_p99 = praas_hist_quantile(&c[1].hist, 0.99);
	if (calm_p99 > 0 && crowd_p99 > 0)
		praas_bench_line("rest", "crowd-p99",
				 "\"idle\":%u,\"slow\":%u,\"unit\":\"ns\",\"p99\":%.0f,"
				 "\"calm_p99\":%.0f,\"ratio\":%.3f",
				 IDLE, SLOW, crowd_p99, calm_p99, crowd_p99 / calm_p99);
}

void praas_bench_rest(void)
{
	static const struct kind get = { .ours = true, .connections = 1 },
				 get_16 = { .ours = true, .connections = MANY },
				 invoke = { .ours = true,
					    .invoke = true,
					    .connections = 1 },
				 invoke_16 = { .ours = true,
					       .invoke = true,
					       .connections = MANY },
				 bare_get = { .connections = 1 },
				 bare_get_16 = { .connections = MANY },
				 echo = { .invoke = true, .connections = 1 },
				 echo_16 = { .invoke = true, .connections = MANY };
	static const uint64_t sizes[] = { 64, 4096 };
	struct praas_contender c[4];

	c[0] = contender("get", &get, 0, 2000, "mhd-get");
	c[1] = contender("mhd-get", &bare_get, 0, 2000, NULL);
	c[2] = contender("get-16", &get_16, 0, 8000, "mhd-get-16");
	c[3] = contender("mhd-get-16", &bare_get_16, 0, 8000, NULL);
	praas_bench_run(c, 4);
	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		c[0] = contender("invoke", &invoke, sizes[i], 2000, "mhd-echo");
		c[1] = contender("mhd-echo", &echo, sizes[i], 2000, NULL);
		c[2] = contender("invoke-16", &invoke_16, sizes[i], 8000,
				 "mhd-echo-16");
		c[3] = contender("mhd-echo-16", &echo_16, sizes[i], 8000, NULL);
		praas_bench_run(c, 4);
	}
	crowd();
}
