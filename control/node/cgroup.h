/* SPDX-License-Identifier: Apache-2.0
 *
 * Control groups of one controller and its workers: version 2, or version 1 where the machine has
 * that, or none (docs/deploy.md). A group is named PARENT/OS-PID below each hierarchy.
 */
#ifndef PRAAS_CONTROL_CGROUP_H
#define PRAAS_CONTROL_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

enum praas_cgroup_version {
	PRAAS_CGROUP_NONE = 0,
	PRAAS_CGROUP_V1 = 1,
	PRAAS_CGROUP_V2 = 2
};

struct praas_cgroup_limits {
	uint32_t vcpu_milli; /* of all in the group; 0: none */
	uint32_t tasks_max;  /* threads and processes; 0: none */
};

/* Makes the parent group. What cannot be had is left out: NONE when nothing can be. */
enum praas_cgroup_version praas_cgroup_open(const char *parent);
/* Removes it and what is in it, where no process is left. */
void praas_cgroup_close(enum praas_cgroup_version version, const char *parent);

/* 0; an errno. group is PARENT/OS-PID. */
int praas_cgroup_make(enum praas_cgroup_version version, const char *group,
		      const struct praas_cgroup_limits *limits);
/* Puts a process (a controller) into it. 0; an errno. */
int praas_cgroup_enter(enum praas_cgroup_version version, const char *group,
		       pid_t os_pid);
/* Kills all in it, sub-groups too. */
void praas_cgroup_kill(enum praas_cgroup_version version, const char *group);
/* Removes it with its sub-groups; those that still hold a process stay. False: something stays. */
bool praas_cgroup_remove(enum praas_cgroup_version version, const char *group);

/* The member `cgroup` of a start configuration. NULL: no memory. */
json_t *praas_cgroup_describe(enum praas_cgroup_version version, const char *group);

#endif
