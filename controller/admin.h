/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin thread: activation, control link, swap, stores, signals, log. It drives the state
 * machines (sm_activate.h, sm_swap_out.h) and does what they say.
 */
#ifndef PRAAS_CONTROLLER_ADMIN_H
#define PRAAS_CONTROLLER_ADMIN_H

#include "controller/config.h"
#include "controller/manifest.h"

/* Exit codes of praas-controller (docs/control-link.md). */
enum praas_exit {
	PRAAS_EXIT_DONE = 0,     /* swapped out, or killed on request */
	PRAAS_EXIT_CONFIG = 2,   /* configuration refused */
	PRAAS_EXIT_FENCED = 3,   /* another epoch owns the process, or it is deleted */
	PRAAS_EXIT_SNAPSHOT = 4, /* the snapshot cannot be loaded */
	PRAAS_EXIT_START =
		5 /* cannot listen, load functions, start workers, reach the store */
};

/* Runs until the process is swapped out, killed, or cannot go on. Signals TERM and INT are blocked
 * in all threads. When config is one that only prepares, the whole one is read from identity_fd
 * (given; else -1) once all is ready, and written to config. Returns an exit code; with ret_again_fd
 * set to other than -1 nothing was prepared that fits, and that descriptor has the configuration to
 * begin anew with. */
int praas_admin_run(struct praas_config *config, const struct praas_manifest *manifest,
		    int identity_fd, int *ret_again_fd);

#endif
