/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts, kills and reaps workers for the worker executor (dataplane/worker_executor.h): the data
 * thread asks through two rings and never waits; everything that takes time happens in
 * praas_spawner_poll(), on the admin thread.
 */
#ifndef PRAAS_CONTROLLER_SPAWN_H
#define PRAAS_CONTROLLER_SPAWN_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/worker_executor.h"

struct praas_spawner;

struct praas_spawner_config {
	const char *program; /* praas-worker; NULL: beside this program */
	const char *code;    /* absolute folder of the function libraries */
	uint32_t
		cgroup_version; /* as praas_cgroup_find(); 0 with cgroup_path NULL: our own */
	const char *cgroup_path;
	uint64_t memory_bytes; /* private memory of one worker; 0: 256 MiB */
	uint64_t tmp_bytes;    /* of its /tmp; 0: 16 MiB */
	uint32_t cpu_milli;    /* of one worker; 0: no limit */
	uint32_t pids_max;     /* threads of one worker; 0: 64 */
	uint32_t uid_base; /* as root: worker w becomes uid_base + w. 0: from our pid */
	bool allow_weak;   /* missing layers of the sandbox are no error */
};

/* Copies config. 0; -ENOMEM, -EMFILE, -ENOENT no such program, -EINVAL. Any thread. */
int praas_spawner_new(const struct praas_spawner_config *config,
		      struct praas_spawner **ret_s);
/* Kills and reaps what still runs (waits for it). After both threads have stopped using it. */
void praas_spawner_free(struct praas_spawner *s);

/* host and host_user of struct praas_worker_executor_config. */
const struct praas_worker_host_ops *praas_spawner_host(void);
/* Written after each death: the executor's. Before the first poll. */
void praas_spawner_event_fd_set(struct praas_spawner *s, int event_fd);

/* Admin thread: readable when poll() has something to do (an epoll descriptor). */
int praas_spawner_fd(const struct praas_spawner *s);
/* Admin thread: requests, deaths, back-off. Starting a worker takes about a millisecond. The thread
 * that calls it has to live as long as the workers: they end with it. */
void praas_spawner_poll(struct praas_spawner *s);

/* Admin thread: CPU time of all workers so far, ns. */
uint64_t praas_spawner_cpu_ns(const struct praas_spawner *s);
/* Process number of a worker as we see it; 0: none. For tests and people. */
int32_t praas_spawner_pid(const struct praas_spawner *s, uint32_t worker);

#endif
