/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes about the service itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/openapi.h"
#include "control/request.h"
#include "internal/base.h"

#define METRICS_BYTES 16384

void praas_route_healthz(struct praas_request *rq)
{
	praas_reply_json(rq, 200, json_pack("{s:s}", "status", "ok"));
}

void praas_route_openapi(struct praas_request *rq)
{
	praas_reply_json(rq, 200, praas_openapi(praas_routes));
}

/* Ready: the store answers. */
void praas_route_readyz(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	uint32_t count;
	int rc = records->ops->app_list(records, NULL, NULL, 1, &rq->app, &count);

	if (rc)
		praas_reply_error(rq, 503, "not_ready",
				  "see the log of the control service",
				  "the records cannot be read");
	else
		praas_reply_json(rq, 200, json_pack("{s:s}", "status", "ready"));
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Text of the Prometheus exposition format. */
static size_t put_metric(char *text, size_t at, const char *name, const char *kind,
			 const char *help, uint64_t value)
{
	int n = snprintf(text + at, METRICS_BYTES - at,
			 "# HELP praas_%s %s\n# TYPE praas_%s %s\npraas_%s %llu\n",
			 name, help, name, kind, name, (unsigned long long)value);

	return n < 0 ? at : praas_min_u64(at + (size_t)n, METRICS_BYTES - 1);
}

static size_t put_states(char *text, size_t at, const struct praas_life_stats *stats)
{
	int n = snprintf(
		text + at, METRICS_BYTES - at,
		"# HELP praas_processes Processes touched since the start, by state\n"
		"# TYPE praas_processes gauge\n");

	at = n < 0 ? at : praas_min_u64(at + (size_t)n, METRICS_BYTES - 1);
	for (unsigned s = PRAAS_LIFE_SWAPPED; s <= PRAAS_LIFE_DELETING; s++) {
		n = snprintf(text + at, METRICS_BYTES - at,
			     "praas_processes{state=\"%s\"} %u\n",
			     praas_life_state_text((enum praas_life_state)s),
			     stats->states[s]);
		at = n < 0 ? at : praas_min_u64(at + (size_t)n, METRICS_BYTES - 1);
	}
	return at;
}

/* What controllers cost to have, by what the start found ready. */
static size_t put_starts(char *text, size_t at, struct praas_service *s,
			 const struct praas_life_stats *life)
{
	struct praas_backend_stats b;

	s->backend->ops->stats(s->backend, &b);
	at = put_metric(text, at, "controllers_ready", "gauge",
			"Controllers that wait for a process", b.ready);
	for (unsigned k = 0; k < PRAAS_STARTS; k++) {
		const char *kind =
			praas_backend_start_text((enum praas_backend_start)k);
		int n = snprintf(
			text + at, METRICS_BYTES - at,
			"%spraas_starts_total{ready=\"%s\"} %llu\n", /* all kinds together */
			k == 0 ? "# HELP praas_starts_total Controllers given a "
				 "process\n"
				 "# TYPE praas_starts_total counter\n"
			       : "",
			kind, (unsigned long long)b.starts[k]);

		at = n < 0 ? at : praas_min_u64(at + (size_t)n, METRICS_BYTES - 1);
	}
	for (unsigned k = 0; k < PRAAS_STARTS; k++) {
		const char *kind =
			praas_backend_start_text((enum praas_backend_start)k);
		int n = snprintf(
			text + at, METRICS_BYTES - at,
			"%spraas_start_seconds_sum{ready=\"%s\"} %.6f\n"
			"praas_start_seconds_count{ready=\"%s\"} %llu\n",
			k == 0 ? "# HELP praas_start_seconds From the beginning of an "
				 "activation to its join\n"
				 "# TYPE praas_start_seconds summary\n"
			       : "",
			kind, (double)life->start[k].sum_ns / 1e9, kind,
			(unsigned long long)life->start[k].count);

		at = n < 0 ? at : praas_min_u64(at + (size_t)n, METRICS_BYTES - 1);
	}
	return at;
}

void praas_route_metrics(struct praas_request *rq)
{
	struct praas_service *s = rq->service;
	char *text = malloc(METRICS_BYTES);
	struct praas_life_stats life;
	struct praas_peers_stats peers;
	struct praas_jobs_stats jobs;
	size_t at = 0;

	if (text) {
		praas_life_stats(s->life, &life);
		praas_jobs_stats(s->jobs, &jobs);
		praas_peers_stats(s->peers, &peers);
		at = put_metric(text, at, "uptime_seconds", "gauge", "Since the start",
				(praas_now_ns() - s->started_ns) / 1000000000u);
		at = put_metric(text, at, "requests_total", "counter", "Answered",
				load(&s->requests));
		at = put_metric(text, at, "request_failures_total", "counter",
				"Answered with 5xx", load(&s->failures));
		at = put_metric(text, at, "requests_open", "gauge", "Being worked on",
				load(&s->requests_open));
		at = put_metric(text, at, "body_bytes", "gauge",
				"Held in request bodies", load(&s->bodies_bytes));
		at = put_metric(text, at, "invocations_total", "counter",
				"Through REST", load(&s->invocations));
		at = put_metric(text, at, "http_connections", "gauge", "Open",
				peers.open);
		at = put_metric(text, at, "http_cut_total", "counter",
				"Connections ended because their client was too slow",
				peers.cut);
		at = put_metric(text, at, "job_threads", "gauge",
				"Threads for waiting work", jobs.threads);
		at = put_metric(text, at, "jobs_queued", "gauge",
				"Work without a thread", jobs.queued);
		at = put_metric(text, at, "activations_total", "counter",
				"Processes that began to serve", life.activations);
		at = put_metric(text, at, "activation_failures_total", "counter",
				"Controllers that did not join",
				life.activation_failures);
		at = put_metric(text, at, "swaps_total", "counter",
				"Swap-outs committed", life.swaps);
		at = put_metric(text, at, "lost_total", "counter",
				"Epochs that ended without a snapshot", life.lost);
		at = put_metric(text, at, "kills_total", "counter", "On request",
				life.kills);
		at = put_metric(text, at, "checkpoints_total", "counter", "Committed",
				life.checkpoints);
		at = put_metric(text, at, "joins_refused_total", "counter",
				"Connections that were not what they said",
				life.refused_joins);
		at = put_metric(text, at, "audit_failures_total", "counter",
				"Lines of the audit log that could not be written",
				praas_audit_failures(s->audit));
		at = put_starts(text, at, s, &life);
		(void)put_states(text, at, &life);
	}
	praas_reply_text(rq, "text/plain; version=0.0.4", text);
}
