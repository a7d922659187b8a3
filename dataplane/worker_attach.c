/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker executor as the controller sees it: readiness, segments of clients, direct clients,
 * logs and counters.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/worker_private.h"

#define LOG_LINES 32u /* of one worker in one go */

void praas_worker_executor_identify(struct praas_executor *base, praas_pid_t pid,
				    uint32_t epoch)
{
	struct wx *ex = wx_of(base);

	ex->config.pid = pid;
	ex->config.epoch = epoch;
	for (uint32_t i = 0; i < ex->config.workers; i++)
		wx_identify(&ex->workers[i]);
}

int praas_worker_executor_ready(const struct praas_executor *base, char *ret_text)
{
	const struct wx *ex = wx_of_const(base);
	bool all = ex->begun;

	for (uint32_t i = 0; i < ex->config.workers; i++)
		all = all && (ex->workers[i].state == WX_IDLE ||
			      ex->workers[i].state == WX_BUSY);
	if (all)
		return 1;
	if (ex->failure[0] == '\0')
		return 0;
	if (ret_text)
		(void)snprintf(ret_text, PRAAS_ERROR_TEXT_MAX, "%s", ex->failure);
	return -ENOENT;
}

int praas_worker_executor_event_fd(const struct praas_executor *base)
{
	return wx_of_const(base)->event_fd;
}

const char *praas_worker_executor_layers(const struct praas_executor *base)
{
	return wx_of_const(base)->layers;
}

int praas_worker_executor_segment_add(struct praas_executor *base, uint32_t id,
				      uint64_t bytes, int fd)
{
	struct wx *ex = wx_of(base);

	if (id < PRAAS_SEGMENT_DYNAMIC || id > UINT16_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < WX_FOREIGN_MAX; i++) {
		struct wx_foreign *f = &ex->foreign[i];

		if (f->id != 0)
			continue;
		*f = (struct wx_foreign){ .id = id,
					  .bytes = bytes,
					  .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0) };
		if (f->fd < 0) {
			f->id = 0;
			return -errno;
		}
		return 0;
	}
	return -ENOBUFS; /* its payloads are copied */
}

void praas_worker_executor_segment_remove(struct praas_executor *base, uint32_t id)
{
	struct wx *ex = wx_of(base);
	const struct praas_worker_segment gone = { .id = id };

	for (uint32_t i = 0; i < WX_FOREIGN_MAX; i++) {
		struct wx_foreign *f = &ex->foreign[i];

		if (f->id != id || id == 0)
			continue;
		for (uint32_t k = 0; k < ex->config.workers; k++) {
			struct wx_worker *w = &ex->workers[k];

			if (!(f->shown & 1u << k) || w->socket < 0)
				continue;
			/* Lost: a mapping stays that nobody names any more. */
			(void)wx_socket_send(w, PRAAS_WORKER_MSG_UNMAP, &gone,
					     sizeof(gone), NULL, 0);
			w->segments--;
			wx_socket_ring(w);
		}
		(void)close(f->fd); /* a copy of ours */
		*f = (struct wx_foreign){ 0 };
	}
}

void wx_read_log(struct wx_worker *w)
{
	static const int levels[] = { 7, 6, 4, 3 }; /* of syslog(3) */
	static const uint8_t no_trace[16];
	struct praas_log_line line;
	struct wx *ex = w->ex;

	for (uint32_t i = 0; i < LOG_LINES && praas_log_read(&w->log_rx, &line) == 0;
	     i++) {
		/* What it says of function and trace is the worker's claim about itself. */
		uint32_t function = line.about.function;
		const struct praas_function_log out = {
			.function =
				function != 0 && function <= ex->config.functions_count
					? ex->config.functions[function - 1].name
					: NULL,
			.text = line.text,
			.level = levels[line.level & 3],
			.trace = memcmp(line.about.trace, no_trace, sizeof(no_trace)) !=
						 0
					 ? line.about.trace
					 : NULL
		};

		praas_process_fn_log(ex->base.process, &out);
	}
}

uint64_t praas_worker_executor_direct_calls(const struct praas_executor *base)
{
	const struct wx *ex = wx_of_const(base);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].line)
			sum += atomic_load_explicit(&ex->workers[i].line->direct_calls,
						    memory_order_relaxed);
	return sum;
}

void praas_worker_executor_stats(const struct praas_executor *base,
				 struct praas_worker_executor_stats *ret_stats)
{
	const struct wx *ex = wx_of_const(base);
	struct praas_worker_executor_stats s = ex->stats;

	s.workers = ex->config.workers;
	s.ready = s.busy = s.direct_busy = 0;
	s.degraded = ex->degraded;
	for (uint32_t i = 0; i < ex->config.workers; i++) {
		const struct wx_worker *w = &ex->workers[i];

		s.ready += w->state == WX_IDLE || w->state == WX_BUSY;
		s.busy += w->state == WX_BUSY;
		s.calls += w->calls_before;
		s.direct_calls += w->direct_before;
		s.direct_failures += w->failures_before;
		s.direct_in += w->in_before;
		s.direct_out += w->out_before;
		s.nested_calls += w->nested_before;
		s.busy_ns += w->busy_before;
		if (!w->line)
			continue;
		/* Its own claims: for people and for accounting of its own owner. */
		s.calls += atomic_load_explicit(&w->line->calls, memory_order_relaxed);
		s.direct_calls += atomic_load_explicit(&w->line->direct_calls,
						       memory_order_relaxed);
		s.direct_failures += atomic_load_explicit(&w->line->direct_failures,
							  memory_order_relaxed);
		s.direct_in +=
			atomic_load_explicit(&w->line->direct_in, memory_order_relaxed);
		s.direct_out += atomic_load_explicit(&w->line->direct_out,
						     memory_order_relaxed);
		s.direct_busy += atomic_load_explicit(&w->line->direct_call,
						      memory_order_relaxed) != 0;
		s.nested_calls += atomic_load_explicit(&w->line->nested_calls,
						       memory_order_relaxed);
		s.busy_ns +=
			atomic_load_explicit(&w->line->busy_ns, memory_order_relaxed);
	}
	for (uint32_t i = 0; i < WX_REGIONS_MAX; i++)
		s.retired_arenas += ex->regions[i].segment.base &&
				    ex->regions[i].arena && ex->regions[i].closed;
	*ret_stats = s;
}
