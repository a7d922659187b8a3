/* SPDX-License-Identifier: Apache-2.0
 *
 * The sandbox that a worker puts around itself before it loads anybody's code, in the order of
 * docs/sandbox.md. Each layer either holds, or is missing: then it is an error, unless weak
 * sandboxes are allowed. One thread.
 */
#ifndef PRAAS_CONTROLLER_WORKER_SANDBOX_H
#define PRAAS_CONTROLLER_WORKER_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_SANDBOX_TEXT_MAX 512u

struct praas_sandbox {
	/* Set by the caller. */
	const char *
		code; /* absolute folder of the function libraries; seen at the same path */
	const char *cgroups; /* limits that the host has set: "memory,pids,cpu" */
	uint64_t tmp_bytes;  /* of the private /tmp */
	uint64_t data_bytes; /* RLIMIT_DATA: where no memory group limits us; 0: none */
	uint32_t uid;        /* to become, when we are root */
	bool user_namespace; /* the host has put us into one already */
	bool allow_weak;     /* missing layers are no error */
	/* Filled in. */
	bool private_root;
	char layers[PRAAS_SANDBOX_TEXT_MAX];  /* active ones, words parted by blanks */
	char missing[PRAAS_SANDBOX_TEXT_MAX]; /* "layer: why" of those that are not */
};

/* Everything but the last system call filter: what loading a library needs still works.
 * 0; -EPERM a layer is missing (see missing). */
int praas_sandbox_enter(struct praas_sandbox *sandbox);

/* After loading: nothing new becomes executable, no filter can be added. 0; -EPERM. */
int praas_sandbox_close(struct praas_sandbox *sandbox);

/* Parts of it, in files of their own. 0 or negative errno. */
int praas_sandbox_root(struct praas_sandbox *sandbox);
int praas_sandbox_landlock(const struct praas_sandbox *sandbox, int *ret_abi);
int praas_sandbox_seccomp(bool loading);

#endif
