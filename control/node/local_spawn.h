/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts the program of a controller as a child of ours, with the descriptors that it wants.
 */
#ifndef PRAAS_CONTROL_LOCAL_SPAWN_H
#define PRAAS_CONTROL_LOCAL_SPAWN_H

#include <stdint.h>

#include "control/node/ready.h"

struct praas_launcher;

/* A controller that waits for its configuration; log: where its output goes. ret_prepare_fd (NULL: it
 * is not prepared for anything): where to write what to prepare for. 0; an errno, nothing runs. */
int praas_local_spawn(struct praas_launcher *launcher, const char *program,
		      const char *log, struct praas_ready_one *ret_o,
		      int *ret_prepare_fd);
/* A pidfd; negative errno. */
int praas_pidfd_of(int32_t os_pid);

#endif
