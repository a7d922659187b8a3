/* SPDX-License-Identifier: Apache-2.0
 *
 * Control groups of workers: a leaf each, with limits of memory (swap included), processes and
 * CPU. Version 2 where it has these controllers, else version 1 hierarchies. Admin thread.
 */
#ifndef PRAAS_CONTROLLER_CGROUP_H
#define PRAAS_CONTROLLER_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

enum praas_cgroup_part {
	PRAAS_CGROUP_MEMORY = 1u << 0,
	PRAAS_CGROUP_PIDS = 1u << 1,
	PRAAS_CGROUP_CPU = 1u << 2,
	PRAAS_CGROUP_ALL = 7u
};

#define PRAAS_CGROUP_PATH_MAX 512u
#define PRAAS_CGROUP_NAME_MAX 64u

/* Where leaves may be made. */
struct praas_cgroup_root {
	uint32_t version;                    /* 2, 1, or 0: nowhere */
	uint32_t parts;                      /* version 1: hierarchies that exist */
	char path[3][PRAAS_CGROUP_PATH_MAX]; /* v2: [0]; v1: memory, pids, cpu */
};

struct praas_cgroup_limits {
	uint64_t memory_bytes; /* 0: none */
	uint32_t pids_max;     /* 0: none */
	uint32_t cpu_milli;    /* thousandths of a core; 0: none */
};

struct praas_cgroup_leaf {
	uint32_t version;
	uint32_t parts;  /* limited by it */
	int procs_fd[3]; /* write "0" there to enter; -1 when there is none */
	char path[3][PRAAS_CGROUP_PATH_MAX];
};

/**
 * version 2: path is an absolute folder without processes; 1: path is relative to each hierarchy,
 * "/praas/x". version 0 or path NULL: our own group, wherever it is. Nothing usable is version 0 in
 * the answer, which is no error here.
 */
void praas_cgroup_find(uint32_t version, const char *path,
		       struct praas_cgroup_root *ret_root);

/* Name of a leaf of the controller that calls; praas_cgroup_sweep() knows it. */
void praas_cgroup_leaf_name(uint32_t worker, char ret_name[PRAAS_CGROUP_NAME_MAX]);
/* Remove the leaves of controllers that live no more: killed ones could not. */
void praas_cgroup_sweep(const struct praas_cgroup_root *root);

/* Make a leaf. ret_leaf->parts says which limits hold. 0; -EACCES, -EROFS, … nothing was made. */
int praas_cgroup_leaf_open(const struct praas_cgroup_root *root, const char *name,
			   const struct praas_cgroup_limits *limits,
			   struct praas_cgroup_leaf *ret_leaf);
/* How often the kernel killed something in it for lack of memory. */
uint64_t praas_cgroup_leaf_ooms(const struct praas_cgroup_leaf *leaf);
/* CPU time used in it so far, ns; 0 when unknown. */
uint64_t praas_cgroup_leaf_cpu_ns(const struct praas_cgroup_leaf *leaf);
/* Remove it; what still has processes stays: 0 or -EBUSY (call again later). */
int praas_cgroup_leaf_close(struct praas_cgroup_leaf *leaf);

#endif
