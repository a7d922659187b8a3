/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads for work that may wait (a commit, a spawn, an invocation), so that the threads of HTTP
 * and of the link never do. Elastic: a thread more when all are busy, up to a limit; idle ones end.
 */
#ifndef PRAAS_CONTROL_JOBS_H
#define PRAAS_CONTROL_JOBS_H

#include <stdint.h>

struct praas_jobs;

/* A piece of work; lies in memory of whoever submits it, until run() is called. */
struct praas_job {
	void (*run)(struct praas_job *job); /* may free the job */
	struct praas_job *next;             /* private */
};

/* 0; -ENOMEM; -EAGAIN no thread could be made. */
int praas_jobs_new(uint32_t threads_max, uint32_t queue_max,
		   struct praas_jobs **ret_jobs);

/* Any thread, never blocks. 0: run() will be called, once. -EAGAIN the queue is full, -ESHUTDOWN
 * stopping; then the job is still the caller's. */
int praas_jobs_submit(struct praas_jobs *jobs, struct praas_job *job);
/* The same for work that must not be refused (it goes beyond queue_max): follow-ups of what was
 * admitted. Runs even while stopping. */
void praas_jobs_submit_must(struct praas_jobs *jobs, struct praas_job *job);

/* What was submitted is run first; then the threads end. Not from a job. */
void praas_jobs_free(struct praas_jobs *jobs);

struct praas_jobs_stats {
	uint32_t threads, busy, queued;
};
void praas_jobs_stats(struct praas_jobs *jobs, struct praas_jobs_stats *ret_stats);

#endif
