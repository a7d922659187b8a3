/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that starts programs and shares no descriptors with the others: posix_spawn copies the table
 * of the thread that calls it, and the child closes the copies. Of a service that has some for each live
 * process each start would take longer the more there are (docs/rationale.md).
 */
#ifndef PRAAS_CONTROL_LAUNCHER_H
#define PRAAS_CONTROL_LAUNCHER_H

#include <sys/types.h>

#define PRAAS_LAUNCH_FD 3       /* the first of the descriptors that a child is given */
#define PRAAS_LAUNCH_FDS_MAX 2u /* that are given besides 0, 1 and 2 */

/* What to start. All borrowed. */
struct praas_launch {
	const char *const *argv; /* argv[0]: path of the program; NULL-terminated */
	const char *log;         /* where its output goes; made when it is not there */
	int fds[PRAAS_LAUNCH_FDS_MAX]; /* PRAAS_LAUNCH_FD and following in the child */
	unsigned fds_count;            /* at least 1 */
};

struct praas_launcher;

/* netns: file of a network namespace (/run/netns/NAME) that children begin in; NULL: ours; borrowed. 0;
 * -errno: no thread, it cannot have a table of its own, or cannot enter netns (-ENOENT, -EPERM, -EINVAL it
 * is something else). */
int praas_launcher_start(const char *netns, struct praas_launcher **ret_launcher);
/* Waits for an order that is under way. What was started runs on, as a child of this process. */
void praas_launcher_stop(struct praas_launcher *launcher);
/* Starts a child with /dev/null, the log twice, and fds; nothing else is open in it, no signal blocked,
 * and its process group is its own. Any thread; blocks for the time of a spawn, one after the other.
 * 0; an errno, nothing runs. */
int praas_launcher_launch(struct praas_launcher *launcher,
			  const struct praas_launch *what, pid_t *ret_pid);

#endif
