/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into praas-control: after SIGUSR1 it counts the calls that change something outside the
 * process (files, messages, processes) and dies by SIGKILL before number PRAAS_CRASH_AT. A control
 * service that survives a death at each of them survives one at any time: in between, only its own
 * memory changes. What it starts is not preloaded.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int armed, calls;
static int crash_at;
static char armed_file[256];

/* Says so by a file, past the calls that are counted. */
static void on_arm(int signal_number)
{
	(void)signal_number;
	atomic_store(&armed, 1);
	(void)syscall(SYS_openat, AT_FDCWD, armed_file, O_CREAT | O_WRONLY | O_CLOEXEC,
		      0600);
}

__attribute__((constructor)) static void prepare(void)
{
	const char *at = getenv("PRAAS_CRASH_AT"), *file = getenv("PRAAS_CRASH_ARMED");

	(void)snprintf(armed_file, sizeof(armed_file), "%s", file ? file : "");
	crash_at = at ? atoi(at) : 0;
	(void)unsetenv("LD_PRELOAD");
	(void)unsetenv("PRAAS_CRASH_AT");
	(void)unsetenv("PRAAS_CRASH_ARMED");
	(void)signal(SIGUSR1, on_arm);
}

static void count(void)
{
	if (atomic_load(&armed) && atomic_fetch_add(&calls, 1) + 1 == crash_at)
		(void)kill(getpid(), SIGKILL);
}

/* The function of that name which ours stands before. */
#define REAL(name, ...)                                                                \
	static __typeof__(name) *real;                                                 \
	if (!real)                                                                     \
		*(void **)&real = dlsym(RTLD_NEXT, #name);                             \
	count();                                                                       \
	return real(__VA_ARGS__)

#pragma GCC visibility push(default)

int fdatasync(int fd)
{
	REAL(fdatasync, fd);
}

int fsync(int fd)
{
	REAL(fsync, fd);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at)
{
	REAL(pwrite64, fd, data, bytes, at);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
	REAL(pwrite, fd, data, bytes, at);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	REAL(sendmsg, fd, message, flags);
}

ssize_t send(int fd, const void *data, size_t bytes, int flags)
{
	REAL(send, fd, data, bytes, flags);
}

int rename(const char *from, const char *to)
{
	REAL(rename, from, to);
}

int link(const char *from, const char *to)
{
	REAL(link, from, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	REAL(linkat, from_dir, from, to_dir, to, flags);
}

int mkdir(const char *path, mode_t mode)
{
	REAL(mkdir, path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	REAL(mkdirat, dir, path, mode);
}

int unlinkat(int dir, const char *path, int flags)
{
	REAL(unlinkat, dir, path, flags);
}

int unlink(const char *path)
{
	REAL(unlink, path);
}

int rmdir(const char *path)
{
	REAL(rmdir, path);
}

int remove(const char *path)
{
	REAL(remove, path);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attributes, char *const argv[],
		char *const envp[])
{
	REAL(posix_spawn, pid, path, actions, attributes, argv, envp);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
	REAL(write, fd, data, bytes);
}

#pragma GCC visibility pop
