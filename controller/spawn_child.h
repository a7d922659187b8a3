/* SPDX-License-Identifier: Apache-2.0
 *
 * The start of one worker process: a clone that borrows our memory until it has called exec, so that
 * the size of the controller does not matter.
 */
#ifndef PRAAS_CONTROLLER_SPAWN_CHILD_H
#define PRAAS_CONTROLLER_SPAWN_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct praas_spawn_child {
	const char *program;
	const char *code;
	int socket;      /* becomes PRAAS_WORKER_SOCKET_FD */
	int procs_fd[3]; /* control groups to enter; -1: none */
	uint32_t cgroup_parts;
	uint32_t uid;
	uint64_t tmp_bytes, data_bytes;
	bool allow_weak;
};

/* 0; errno of clone or exec. */
int praas_spawn_child(const struct praas_spawn_child *config, pid_t *ret_pid,
		      int *ret_pidfd);

/* CPU time of a running process, ns; 0 when it is gone. */
uint64_t praas_spawn_cpu_ns(pid_t pid);

#endif
