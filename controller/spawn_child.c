/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/spawn_child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "controller/cgroup.h"
#include "dataplane/worker_proto.h"

#define STACK_BYTES (256u * 1024u)

/* The child's frames never return: sanitizers must not keep books of them, which would be found
 * when the next child gets the same stack. */
#define IN_CHILD                                                                       \
	__attribute__((noinline, no_sanitize("address"), no_sanitize("thread")))

/* What the child needs; all made before the clone: it must not allocate. */
struct plan {
	const struct praas_spawn_child *config;
	const char *argv[10];
	char text[3][32];
	char map[64];
	bool user;   /* in a new user namespace */
	int failure; /* errno of what failed in the child; it writes our memory */
};

static const char *number(struct plan *p, unsigned index, uint64_t value)
{
	(void)snprintf(p->text[index], sizeof(p->text[index]), "%" PRIu64, value);
	return p->text[index];
}

/* As controller/worker/main.c reads them. No secrets: everybody can see arguments. */
static void plan_arguments(struct plan *p)
{
	static const char *const parts[8] = { "-",        "memory",
					      "pids",     "memory,pids",
					      "cpu",      "memory,cpu",
					      "pids,cpu", "memory,pids,cpu" };
	const struct praas_spawn_child *c = p->config;
	unsigned n = 0;

	p->argv[n++] = "praas-worker";
	p->argv[n++] = c->code;
	p->argv[n++] = parts[c->cgroup_parts & PRAAS_CGROUP_ALL];
	p->argv[n++] = number(p, 0, c->uid);
	p->argv[n++] = number(p, 1, c->tmp_bytes);
	p->argv[n++] = number(p, 2, c->data_bytes);
	p->argv[n++] = p->user ? "user" : "no-user";
	p->argv[n++] = c->allow_weak ? "weak" : "strict";
	p->argv[n] = NULL;
}

IN_CHILD static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	(void)close(fd); /* nothing is buffered */
	return n < 0 ? -errno : 0;
}

/* In the new user namespace we are root and nobody else exists. */
IN_CHILD static int map_ids(uint32_t uid, uint32_t gid)
{
	char map[64];
	int rc = put("/proc/self/setgroups", "deny");

	(void)snprintf(map, sizeof(map), "0 %" PRIu32 " 1", uid);
	rc = rc ? rc : put("/proc/self/uid_map", map);
	(void)snprintf(map, sizeof(map), "0 %" PRIu32 " 1", gid);
	return rc ? rc : put("/proc/self/gid_map", map);
}

IN_CHILD static int child_descriptors(int socket)
{
	int null_fd = open("/dev/null", O_RDWR);

	/* What we were told in is kept out of the way of the number that is ours. */
	if (null_fd == PRAAS_WORKER_SOCKET_FD)
		null_fd = dup(null_fd);
	if (null_fd < 0)
		return -errno;
	if (socket == PRAAS_WORKER_SOCKET_FD) {
		if (fcntl(socket, F_SETFD, 0) != 0)
			return -errno;
	} else if (dup2(socket, PRAAS_WORKER_SOCKET_FD) < 0) {
		return -errno;
	}
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null_fd, fd) < 0)
			return -errno;
	return close_range(PRAAS_WORKER_SOCKET_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC) != 0
		       ? -errno
		       : 0;
}

IN_CHILD static int child_prepare(const struct plan *p, uint32_t uid, uint32_t gid)
{
	const struct praas_spawn_child *c = p->config;
	sigset_t none;
	int rc = 0;

	for (size_t i = 0; i < 3; i++)
		if (c->procs_fd[i] >= 0 && write(c->procs_fd[i], "0", 1) != 1)
			return -errno;
	if (p->user)
		rc = map_ids(uid, gid);
	/* A process group, not a session, of its own: the scheduler would count a session as a group
	 * (sched_autogroup), in which a yield does not give the core to the controller. */
	if (rc == 0 && setpgid(0, 0) != 0)
		rc = -errno;
	if (rc == 0)
		rc = child_descriptors(c->socket);
	(void)sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL); /* valid arguments */
	return rc;
}

struct child {
	struct plan *plan;
	uint32_t uid, gid; /* outside; inside they have no names yet */
};

/* Runs on our memory but its own stack, while our thread waits. */
IN_CHILD static int child_main(void *arg)
{
	static char *const environment[] = { NULL };
	const struct child *c = arg;
	struct plan *p = c->plan;
	int rc;

	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			(void)signal(
				sig,
				SIG_DFL); /* its own table: handlers are not shared */
	rc = child_prepare(p, c->uid, c->gid);
	if (rc == 0) {
		/* Not const for historical reasons only: execve writes nothing. */
		(void)execve(p->config->program, (char *const *)(uintptr_t)p->argv,
			     environment);
		rc = -errno;
	}
	p->failure = -rc;
	_exit(127);
}

static int try_clone(struct plan *p, int flags, void *stack, pid_t *ret_pid,
		     int *ret_pidfd)
{
	struct child child = { .plan = p, .uid = geteuid(), .gid = getegid() };
	int pidfd = -1;
	pid_t pid;

	p->user = (flags & CLONE_NEWUSER) != 0;
	p->failure = 0;
	plan_arguments(p);
	pid = clone(child_main, (uint8_t *)stack + STACK_BYTES,
		    CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD | flags, &child,
		    &pidfd);
	if (pid < 0)
		return -errno;
	if (p->failure != 0) {
		(void)waitpid(pid, NULL, __WALL); /* it has called _exit */
		(void)close(pidfd);
		return -p->failure;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}

int praas_spawn_child(const struct praas_spawn_child *config, pid_t *ret_pid,
		      int *ret_pidfd)
{
	struct plan plan = { .config = config };
	sigset_t all, old;
	void *stack;
	int rc = -EPERM;

	stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -errno;
#ifdef __SANITIZE_ADDRESS__
	/* Fresh memory, but what lay at these addresses before may have left its marks. */
	__asan_unpoison_memory_region(stack, STACK_BYTES);
#endif
	(void)sigfillset(&all);
	/* No handler of ours may run in the child. */
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	if (geteuid() == 0)
		rc = try_clone(&plan, CLONE_NEWPID, stack, ret_pid, ret_pidfd);
	if (rc == -EPERM || rc == -EINVAL)
		rc = try_clone(&plan, CLONE_NEWPID | CLONE_NEWUSER, stack, ret_pid,
			       ret_pidfd);
	/* Not allowed either: the worker will say which layers are missing. */
	if (rc == -EPERM || rc == -EINVAL || rc == -ENOSPC)
		rc = try_clone(&plan, 0, stack, ret_pid, ret_pidfd);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)munmap(stack, STACK_BYTES);
	return rc;
}

uint64_t praas_spawn_cpu_ns(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) != 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
