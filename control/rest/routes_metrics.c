/* SPDX-License-Identifier: Apache-2.0
 *
 * /metrics: what Prometheus reads, in its text format 0.0.4. Names end in their unit, counters in
 * _total; nothing has a label whose values a client chooses. Functions are labels, of which there is a
 * bounded number (control/life/functions.h): who deploys an application names them.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/collect.h"
#include "control/rest/pass.h"
#include "control/rest/request.h"
#include "controller/store/redis.h"
#include "controller/store/s3_client.h"
#include "internal/base.h"

static void head(FILE *to, const char *name, const char *kind, const char *help)
{
	(void)fprintf(to, "# HELP praas_%s %s\n# TYPE praas_%s %s\n", name, help, name,
		      kind); /* memory: praas_route_metrics() asks at the end */
}

static void put(FILE *to, const char *name, const char *kind, const char *help,
		uint64_t value)
{
	head(to, name, kind, help);
	(void)fprintf(to, "praas_%s %" PRIu64 "\n", name, value);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- of HTTP -------------------------------------------------------------------------- */

static void put_durations(FILE *to, const struct praas_service *s)
{
	static const char *const kinds[PRAAS_REQUEST_KINDS] = { "read", "change",
								"invoke" };
	static const uint64_t bounds[] = PRAAS_HISTOGRAM_BOUNDS;

	head(to, "request_seconds", "histogram", "From a request's head to its answer");
	for (unsigned k = 0; k < PRAAS_REQUEST_KINDS; k++) {
		const struct praas_histogram *h = &s->durations[k];
		uint64_t count = 0;

		for (unsigned i = 0; i < PRAAS_HISTOGRAM_BUCKETS - 1; i++) {
			count += load(&h->count[i]);
			(void)fprintf(to,
				      "praas_request_seconds_bucket{kind=\"%s\","
				      "le=\"%g\"} %" PRIu64 "\n",
				      kinds[k], (double)bounds[i] / 1e9, count);
		}
		count += load(&h->count[PRAAS_HISTOGRAM_BUCKETS - 1]);
		(void)fprintf(to,
			      "praas_request_seconds_bucket{kind=\"%s\",le=\"+Inf\"} "
			      "%" PRIu64
			      "\npraas_request_seconds_sum{kind=\"%s\"} %.9g\n"
			      "praas_request_seconds_count{kind=\"%s\"} %" PRIu64 "\n",
			      kinds[k], count, kinds[k], (double)load(&h->sum_ns) / 1e9,
			      kinds[k], count);
	}
}

static void put_http(FILE *to, const struct praas_service *s)
{
	struct praas_peers_stats peers;
	struct praas_jobs_stats jobs;

	praas_jobs_stats(s->jobs, &jobs);
	praas_peers_stats(s->peers, &peers);
	put(to, "uptime_seconds", "gauge", "Since the start",
	    (praas_now_ns() - s->started_ns) / 1000000000u);
	put(to, "requests_total", "counter", "Answered", load(&s->requests));
	put(to, "request_failures_total", "counter", "Answered with 5xx",
	    load(&s->failures));
	put(to, "requests_open", "gauge", "Being worked on", load(&s->requests_open));
	put_durations(to, s);
	put(to, "body_bytes", "gauge", "Held in request bodies",
	    load(&s->bodies_bytes));
	put(to, "invocations_total", "counter", "Through REST", load(&s->invocations));
	put(to, "http_connections", "gauge", "Open", peers.open);
	put(to, "http_cut_total", "counter",
	    "Connections ended because their client was too slow", peers.cut);
	put(to, "job_threads", "gauge", "Threads for waiting work", jobs.threads);
	put(to, "jobs_queued", "gauge", "Work without a thread", jobs.queued);
}

static void put_kept(FILE *to, const struct praas_service *s)
{
	put(to, "audit_failures_total", "counter",
	    "Lines of the audit log that could not be written",
	    praas_audit_failures(s->audit));
	put(to, "records_durable", "gauge",
	    "Whether what the records acknowledge survives any crash",
	    s->records->ops->durable(s->records));
}

/* Of one of several. */
static void put_replica(FILE *to, const struct praas_request *rq)
{
	const struct praas_service *s = rq->service;
	struct praas_passes_stats passes = { 0 };

	if (!s->lease)
		return;
	put(to, "active", "gauge", "Whether this service is the active one",
	    !rq->alone && praas_lease_holds(s->lease, praas_now_ns()));
	put(to, "active_term", "gauge",
	    "How many services were active until this one became so; 0: it is not",
	    load(&s->lease->term));
	if (s->passes)
		praas_passes_stats(s->passes, &passes);
	put(to, "passed_total", "counter", "Requests passed on to the active service",
	    passes.begun);
	put(to, "pass_failures_total", "counter", "Of them, not answered to the end",
	    passes.failed);
	put(to, "passes_open", "gauge", "Of them, under way", passes.open);
}

/* What the service itself asks the S3 store; controllers ask for themselves. */
static void put_s3(FILE *to)
{
	struct praas_s3_stats s3;

	praas_s3_totals(&s3);
	put(to, "s3_requests_total", "counter", "Requests to the S3 store",
	    s3.requests);
	put(to, "s3_retries_total", "counter", "Of them, repeated", s3.retries);
	put(to, "s3_hedges_total", "counter", "Of them, beside a slow one", s3.hedges);
	put(to, "s3_failures_total", "counter", "That no repetition helped",
	    s3.failures);
	put(to, "s3_sent_bytes_total", "counter", "Bodies of requests", s3.bytes_sent);
	put(to, "s3_received_bytes_total", "counter", "Bodies of answers",
	    s3.bytes_received);
}

/* The same of the store in Redis; of records in Redis it is none. */
static void put_redis(FILE *to)
{
	struct praas_redis_store_stats redis;

	praas_redis_store_totals(&redis);
	put(to, "redis_store_requests_total", "counter", "Commands to the Redis store",
	    redis.requests);
	put(to, "redis_store_retries_total", "counter", "Tried again after a failure",
	    redis.retries);
	put(to, "redis_store_failures_total", "counter", "That no repetition helped",
	    redis.failures);
	put(to, "redis_store_sent_bytes_total", "counter", "Words and values of them",
	    redis.bytes_sent);
	put(to, "redis_store_received_bytes_total", "counter", "The same of answers",
	    redis.bytes_received);
}

/* ---- of processes --------------------------------------------------------------------- */

static void put_states(FILE *to, const struct praas_life_stats *stats)
{
	head(to, "processes", "gauge", "Processes touched since the start, by state");
	for (unsigned s = PRAAS_LIFE_SWAPPED; s <= PRAAS_LIFE_MIGRATING; s++)
		(void)fprintf(to, "praas_processes{state=\"%s\"} %u\n",
			      praas_life_state_text((enum praas_life_state)s),
			      stats->states[s]);
}

static void add_starts(struct praas_backend_stats *sum, struct praas_backend *backend)
{
	struct praas_backend_stats b;

	backend->ops->stats(backend, &b);
	sum->ready += b.ready;
	for (unsigned k = 0; k < PRAAS_STARTS; k++)
		sum->starts[k] += b.starts[k];
}

static void put_nodes(FILE *to, struct praas_life *life)
{
	struct praas_life_node_view v;

	head(to, "node_processes", "gauge", "Processes with a controller, by node");
	for (uint32_t i = 0; praas_life_node_view(life, i, &v) == 0; i++)
		(void)fprintf(to, "praas_node_processes{node=\"%s\"} %u\n",
			      v.node->name, v.use.processes);
	head(to, "node_memory_bytes", "gauge",
	     "What their applications ask for, by node");
	for (uint32_t i = 0; praas_life_node_view(life, i, &v) == 0; i++)
		(void)fprintf(to, "praas_node_memory_bytes{node=\"%s\"} %" PRIu64 "\n",
			      v.node->name, v.use.memory_bytes);
}

static void put_moves(FILE *to, const struct praas_life_stats *life)
{
	put(to, "moves_total", "counter", "Processes that went to another controller",
	    life->moves);
	put(to, "move_failures_total", "counter", "Moves that were called off",
	    life->move_failures);
	put(to, "drain_moves_total", "counter",
	    "Moves that were begun to empty drained nodes", life->drain_moves);
	put(to, "balance_moves_total", "counter",
	    "Moves that were begun to bring processes to better nodes",
	    life->balance_moves);
	put(to, "circles_total", "counter",
	    "Circles of functions that waited for one another, ended by telling one",
	    life->circles);
	head(to, "move_pause_seconds", "summary",
	     "For how long a process that moves accepts nothing");
	(void)fprintf(to,
		      "praas_move_pause_seconds_sum %.9f\n"
		      "praas_move_pause_seconds_count %" PRIu64 "\n",
		      (double)life->move_pause_sum_ns / 1e9, life->moves);
	head(to, "move_pause_max_seconds", "gauge", "The longest of them");
	(void)fprintf(to, "praas_move_pause_max_seconds %.9f\n",
		      (double)life->move_pause_max_ns / 1e9);
}

/* What controllers cost to have, by what the start found ready. */
static void put_starts(FILE *to, struct praas_service *s,
		       const struct praas_life_stats *life)
{
	struct praas_backend_stats b = { .ready = 0 };

	for (uint32_t i = 0; i < s->nodes.count; i++)
		add_starts(&b, s->nodes.node[i].backend);
	put(to, "controllers_ready", "gauge", "Controllers that wait for a process",
	    b.ready);
	head(to, "starts_total", "counter", "Controllers given a process");
	for (unsigned k = 0; k < PRAAS_STARTS; k++)
		(void)fprintf(to, "praas_starts_total{ready=\"%s\"} %" PRIu64 "\n",
			      praas_backend_start_text((enum praas_backend_start)k),
			      b.starts[k]);
	head(to, "start_seconds", "summary",
	     "From the beginning of an activation to its join");
	for (unsigned k = 0; k < PRAAS_STARTS; k++) {
		const char *kind =
			praas_backend_start_text((enum praas_backend_start)k);

		(void)fprintf(to,
			      "praas_start_seconds_sum{ready=\"%s\"} %.6f\n"
			      "praas_start_seconds_count{ready=\"%s\"} %" PRIu64 "\n",
			      kind, (double)life->start[k].sum_ns / 1e9, kind,
			      life->start[k].count);
	}
}

static void put_real(FILE *to, const char *name, const char *help, double value)
{
	head(to, name, "counter", help);
	(void)fprintf(to, "praas_%s %.9g\n", name, value);
}

/* What GET /v1/usage grew by since the start, of all that controllers told. */
static void put_used(FILE *to, const struct praas_usage *used)
{
	put_real(to, "process_cpu_seconds_total",
		 "Processor time of controllers and workers",
		 (double)used->cpu_ns / 1e9);
	put_real(to, "process_wall_seconds_total", "That controllers served",
		 (double)used->wall_ns / 1e9);
	put(to, "process_calls_total", "counter", "Invocations in processes",
	    used->calls);
	put(to, "process_in_bytes_total", "counter", "Payloads to processes",
	    used->bytes_in);
	put(to, "process_out_bytes_total", "counter", "Payloads from processes",
	    used->bytes_out);
	put_real(to, "process_resident_byte_seconds_total",
		 "State in the memory of controllers, times seconds", used->resident);
}

/* ---- of functions --------------------------------------------------------------------- */

/* The row without names is of those for which there was none; it is told when it has something. */
static bool told(const struct praas_function_row *r)
{
	return r->app[0] != '\0' || r->sums.calls != 0;
}

static void put_label(FILE *to, const char *name, const struct praas_function_row *r)
{
	(void)fprintf(to, "praas_%s{tenant=\"%s\",app=\"%s\",function=\"%s\"} ", name,
		      r->tenant, r->app, r->function);
}

static void put_function_numbers(FILE *to, const char *name, const char *help,
				 const struct praas_function_row *rows, uint32_t count,
				 size_t at)
{
	head(to, name, "counter", help);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t value;

		if (!told(&rows[i]))
			continue;
		memcpy(&value, (const uint8_t *)&rows[i].sums + at, sizeof(value));
		put_label(to, name, &rows[i]);
		(void)fprintf(to, "%" PRIu64 "\n", value);
	}
}

static void put_functions(FILE *to, struct praas_life *life)
{
	struct praas_function_row *rows;
	uint32_t count;

	if (praas_life_functions(life, &rows, &count) != 0)
		return;
	put_function_numbers(to, "function_calls_total",
			     "Of functions in processes, that have ended", rows, count,
			     offsetof(struct praas_function_totals, calls));
	put_function_numbers(to, "function_errors_total",
			     "Of them, with a status that is not 0", rows, count,
			     offsetof(struct praas_function_totals, errors));
	put_function_numbers(to, "function_in_bytes_total", "Payloads to functions",
			     rows, count,
			     offsetof(struct praas_function_totals, bytes_in));
	put_function_numbers(to, "function_out_bytes_total",
			     "Results and error texts of functions", rows, count,
			     offsetof(struct praas_function_totals, bytes_out));
	head(to, "function_run_seconds_total", "counter", "In functions");
	for (uint32_t i = 0; i < count; i++) {
		if (!told(&rows[i]))
			continue;
		put_label(to, "function_run_seconds_total", &rows[i]);
		(void)fprintf(to, "%.9f\n", (double)rows[i].sums.run_ns / 1e9);
	}
	free(rows);
}

static void put_life(FILE *to, struct praas_service *s)
{
	struct praas_life_stats life;

	praas_life_stats(s->life, &life);
	put(to, "activations_total", "counter", "Processes that began to serve",
	    life.activations);
	put(to, "activation_failures_total", "counter", "Controllers that did not join",
	    life.activation_failures);
	put(to, "swaps_total", "counter", "Swap-outs committed", life.swaps);
	put(to, "lost_total", "counter", "Epochs that ended without a snapshot",
	    life.lost);
	put(to, "kills_total", "counter", "On request", life.kills);
	put(to, "checkpoints_total", "counter", "Committed", life.checkpoints);
	put(to, "snapshots_total", "counter", "Given a name", life.snapshots);
	put(to, "rollbacks_total", "counter", "To a named snapshot", life.rollbacks);
	put_moves(to, &life);
	put(to, "forks_total", "counter", "Processes made of others", life.forks);
	put(to, "joins_refused_total", "counter",
	    "Connections that were not what they said", life.refused_joins);
	put_used(to, &life.used);
	put_functions(to, s->life);
	put_starts(to, s, &life);
	put_states(to, &life);
	put_nodes(to, s->life);
}

static void put_collected(FILE *to, struct praas_collect *collect)
{
	struct praas_collect_stats c;

	praas_collect_stats(collect, &c);
	put(to, "store_walks_total", "counter", "Through all stores of snapshots",
	    c.walks);
	put(to, "store_collected_objects_total", "counter",
	    "Chunks and manifests that nobody needed, removed", c.objects);
	put(to, "store_collected_entries_total", "counter",
	    "Entries of slot logs that nobody needed, removed", c.entries);
	put(to, "store_collected_stores_total", "counter",
	    "Of processes that were deleted, removed", c.stores);
	put(to, "store_walk_failures_total", "counter",
	    "Stores that could not be looked at", c.failures);
}

static void put_work(FILE *to, struct praas_service *s)
{
	put_kept(to, s);
	put_life(to, s);
	put_collected(to, s->collect);
	if (strncmp(s->store_url, "s3:", 3) == 0)
		put_s3(to);
	put_redis(to);
}

void praas_route_metrics(struct praas_request *rq)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *to = open_memstream(&text, &bytes);

	if (to) {
		put_http(to, rq->service);
		put_replica(to, rq);
		if (!rq->alone)
			put_work(to, rq->service);
		if (fclose(to) != 0) { /* out of memory on the way */
			free(text);
			text = NULL;
		}
	}
	praas_reply_text(rq, "text/plain; version=0.0.4", text);
}
