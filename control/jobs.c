/* SPDX-License-Identifier: Apache-2.0 */
#include "control/jobs.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "control/json.h"
#include "internal/base.h"

#define IDLE_S 10                 /* a thread without work for so long ends */
#define STACK_BYTES (512u * 1024) /* enough for SQLite, jansson and our own frames */
#define THREADS_KEPT 2u           /* that do not end when idle */

struct praas_jobs {
	pthread_mutex_t lock;
	pthread_cond_t work; /* a job came, or stopping */
	pthread_cond_t gone; /* a thread ended */
	pthread_attr_t attr;
	struct praas_job *head, **tail;
	uint32_t queued, queue_max;
	uint32_t threads, threads_max;
	uint32_t idle; /* threads that wait for work */
	bool stopping;
};

static struct praas_job *take_locked(struct praas_jobs *j)
{
	struct praas_job *job = j->head;

	if (!job)
		return NULL;
	j->head = job->next;
	if (!j->head)
		j->tail = &j->head;
	j->queued--;
	return job;
}

/* Waits for a job; NULL: this thread is to end. */
static struct praas_job *wait_locked(struct praas_jobs *j)
{
	struct praas_job *job;

	while (!(job = take_locked(j))) {
		struct timespec until;
		int rc;

		if (j->stopping)
			return NULL;
		(void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail */
		until.tv_sec += IDLE_S;
		j->idle++;
		rc = pthread_cond_timedwait(&j->work, &j->lock, &until);
		j->idle--;
		if (rc == ETIMEDOUT && !j->head && j->threads > THREADS_KEPT)
			return NULL;
	}
	return job;
}

static void *thread_main(void *arg)
{
	struct praas_jobs *j = arg;
	struct praas_job *job;

	(void)pthread_mutex_lock(&j->lock);
	while ((job = wait_locked(j))) {
		(void)pthread_mutex_unlock(&j->lock);
		praas_json_begin(); /* what the job before had no memory for is told */
		job->run(job);
		(void)pthread_mutex_lock(&j->lock);
	}
	j->threads--;
	(void)pthread_cond_broadcast(&j->gone);
	(void)pthread_mutex_unlock(&j->lock);
	return NULL;
}

static int grow_locked(struct praas_jobs *j)
{
	pthread_t thread;

	if (pthread_create(&thread, &j->attr, thread_main, j) != 0)
		return -EAGAIN;
	j->threads++;
	return 0;
}

int praas_jobs_new(uint32_t threads_max, uint32_t queue_max,
		   struct praas_jobs **ret_jobs)
{
	struct praas_jobs *j = calloc(1, sizeof(*j));
	pthread_condattr_t cattr;
	int rc;

	if (!j)
		return -ENOMEM;
	j->tail = &j->head;
	j->queue_max = queue_max;
	j->threads_max = threads_max;
	(void)pthread_mutex_init(&j->lock, NULL);
	(void)pthread_condattr_init(&cattr);
	(void)pthread_condattr_setclock(&cattr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&j->work, &cattr);
	(void)pthread_cond_init(&j->gone, &cattr);
	(void)pthread_condattr_destroy(&cattr);
	(void)pthread_attr_init(&j->attr);
	(void)pthread_attr_setstacksize(&j->attr, STACK_BYTES);
	(void)pthread_attr_setdetachstate(&j->attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_mutex_lock(&j->lock);
	rc = grow_locked(j);
	(void)pthread_mutex_unlock(&j->lock);
	if (rc) {
		praas_jobs_free(j);
		return rc;
	}
	*ret_jobs = j;
	return 0;
}

static void append_locked(struct praas_jobs *j, struct praas_job *job)
{
	job->next = NULL;
	*j->tail = job;
	j->tail = &job->next;
	j->queued++;
	if (j->queued > j->idle && j->threads < j->threads_max)
		(void)grow_locked(j); /* else the others take it later */
	(void)pthread_cond_signal(&j->work);
}

int praas_jobs_submit(struct praas_jobs *jobs, struct praas_job *job)
{
	int rc = 0;

	(void)pthread_mutex_lock(&jobs->lock);
	if (jobs->stopping)
		rc = -ESHUTDOWN;
	else if (jobs->queued >= jobs->queue_max)
		rc = -EAGAIN;
	else
		append_locked(jobs, job);
	(void)pthread_mutex_unlock(&jobs->lock);
	return rc;
}

void praas_jobs_submit_must(struct praas_jobs *jobs, struct praas_job *job)
{
	(void)pthread_mutex_lock(&jobs->lock);
	append_locked(jobs, job);
	(void)pthread_mutex_unlock(&jobs->lock);
}

void praas_jobs_free(struct praas_jobs *jobs)
{
	if (!jobs)
		return;
	(void)pthread_mutex_lock(&jobs->lock);
	jobs->stopping = true;
	(void)pthread_cond_broadcast(&jobs->work);
	while (jobs->threads > 0)
		(void)pthread_cond_wait(&jobs->gone, &jobs->lock);
	(void)pthread_mutex_unlock(&jobs->lock);
	praas_check(!jobs->head);
	(void)pthread_attr_destroy(&jobs->attr);
	(void)pthread_cond_destroy(&jobs->gone);
	(void)pthread_cond_destroy(&jobs->work);
	(void)pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

void praas_jobs_stats(struct praas_jobs *jobs, struct praas_jobs_stats *ret_stats)
{
	(void)pthread_mutex_lock(&jobs->lock);
	ret_stats->threads = jobs->threads;
	ret_stats->busy = jobs->threads - jobs->idle;
	ret_stats->queued = jobs->queued;
	(void)pthread_mutex_unlock(&jobs->lock);
}
