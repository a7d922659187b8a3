/* SPDX-License-Identifier: Apache-2.0 */
#include "control/node/local_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/node/backend.h"

#define CONFIG_FD 3
#define PREPARE_FD 4

extern char **environ;

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

/* Descriptors of the child: nothing, the log twice, the configuration, and what it is to be
 * prepared for (-1: nothing). All else is close-on-exec, and closed before: an exec may take its time, and
 * who comes after us if we are killed meanwhile finds our listening sockets held. */
static int child_files(posix_spawn_file_actions_t *fa, const char *log, int config_fd,
		       int prepare_fd)
{
	int rc = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0);

	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(
			fa, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(fa, 1, 2);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(fa, config_fd, CONFIG_FD);
	if (rc == 0 && prepare_fd >= 0)
		rc = posix_spawn_file_actions_adddup2(fa, prepare_fd, PREPARE_FD);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(
			fa, (prepare_fd >= 0 ? PREPARE_FD : CONFIG_FD) + 1);
	return -rc;
}

static int child_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int rc;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	rc = posix_spawnattr_setsigmask(attr, &none);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(attr, &all);
	if (rc == 0) /* its own group: a terminal's ^C reaches us, and we swap it out */
		rc = posix_spawnattr_setpgroup(attr, 0);
	if (rc == 0)
		rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK |
							    POSIX_SPAWN_SETSIGDEF |
							    POSIX_SPAWN_SETPGROUP);
	return -rc;
}

static int spawn(const char *program, const char *log, int config_fd, int prepare_fd,
		 pid_t *ret_pid)
{
	char config_text[8], prepare_text[8];
	const char *argv[] = { program,      "--config-fd",
			       config_text,  prepare_fd >= 0 ? "--prepare-fd" : NULL,
			       prepare_text, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	int rc;

	(void)snprintf(config_text, sizeof(config_text), "%d", CONFIG_FD);
	(void)snprintf(prepare_text, sizeof(prepare_text), "%d", PREPARE_FD);
	if (posix_spawn_file_actions_init(&fa))
		return -ENOMEM;
	if (posix_spawnattr_init(&attr)) {
		(void)posix_spawn_file_actions_destroy(&fa);
		return -ENOMEM;
	}
	rc = child_files(&fa, log, config_fd, prepare_fd);
	if (rc == 0)
		rc = child_attributes(&attr);
	if (rc == 0) /* argv is const in all but its type */
		rc = -posix_spawn(ret_pid, program, &fa, &attr,
				  (char *const *)(uintptr_t)argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&fa);
	return rc;
}

/* A pipe whose reading end is above the numbers that the child's file actions write to. */
static int make_pipe(int ret_fds[2])
{
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	ret_fds[0] = fcntl(fds[0], F_DUPFD_CLOEXEC, PREPARE_FD + 1);
	rc = ret_fds[0] < 0 ? -errno : 0;
	(void)close(fds[0]);
	if (rc)
		(void)close(fds[1]);
	ret_fds[1] = fds[1];
	return rc;
}

/* A controller that waits for its configuration; ret_prepare_fd (NULL: it is not prepared for
 * anything): where to write what to prepare for. */
int praas_local_spawn(const char *program, const char *log,
		      struct praas_ready_one *ret_o, int *ret_prepare_fd)
{
	int fds[2] = { -1, -1 }, prepare[2] = { -1, -1 };
	int rc = make_pipe(fds);
	pid_t pid = 0;

	if (rc)
		return rc;
	if (ret_prepare_fd)
		rc = make_pipe(prepare);
	if (rc == 0)
		rc = spawn(program, log, fds[0], prepare[0], &pid);
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
