/* SPDX-License-Identifier: Apache-2.0 */
#include "control/node/local_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/node/backend.h"
#include "control/node/launcher.h"

uint64_t praas_os_start(int32_t os_pid)
{
	char path[64], text[1024];
	const char *at;
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", os_pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	text[n] = 0;
	at = strrchr(text, ')'); /* the command may hold anything */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

int praas_pidfd_of(int32_t os_pid)
{
	int fd = (int)syscall(SYS_pidfd_open, os_pid, 0);

	return fd < 0 ? -errno : fd;
}

static int spawn(struct praas_launcher *launcher, const char *program, const char *log,
		 int config_fd, int prepare_fd, pid_t *ret_pid)
{
	char config_text[8], prepare_text[8];
	const char *argv[] = { program,      "--config-fd",
			       config_text,  prepare_fd >= 0 ? "--prepare-fd" : NULL,
			       prepare_text, NULL };
	struct praas_launch what = { .argv = argv,
				     .log = log,
				     .fds = { config_fd, prepare_fd },
				     .fds_count = prepare_fd >= 0 ? 2 : 1 };

	(void)snprintf(config_text, sizeof(config_text), "%d", PRAAS_LAUNCH_FD);
	(void)snprintf(prepare_text, sizeof(prepare_text), "%d", PRAAS_LAUNCH_FD + 1);
	return praas_launcher_launch(launcher, &what, ret_pid);
}

static int make_pipe(int ret_fds[2])
{
	return pipe2(ret_fds, O_CLOEXEC) ? -errno : 0;
}

int praas_local_spawn(struct praas_launcher *launcher, const char *program,
		      const char *log, struct praas_ready_one *ret_o,
		      int *ret_prepare_fd)
{
	int fds[2] = { -1, -1 }, prepare[2] = { -1, -1 };
	int rc = make_pipe(fds);
	pid_t pid = 0;

	if (rc)
		return rc;
	if (ret_prepare_fd)
		rc = make_pipe(prepare);
	if (rc == 0)
		rc = spawn(launcher, program, log, fds[0], prepare[0], &pid);
	(void)close(fds[0]);
	if (prepare[0] >= 0)
		(void)close(prepare[0]);
	if (rc == 0) {
		ret_o->os_pid = pid;
		ret_o->os_start = praas_os_start(pid);
		ret_o->config_fd = fds[1];
		ret_o->pidfd = praas_pidfd_of(pid);
		if (ret_prepare_fd)
			*ret_prepare_fd = prepare[1];
		if (ret_o->pidfd >= 0)
			return 0;
		rc = ret_o->pidfd;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	if (prepare[1] >= 0)
		(void)close(prepare[1]);
	(void)close(fds[1]);
	return rc;
}
