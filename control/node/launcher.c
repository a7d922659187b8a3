/* SPDX-License-Identifier: Apache-2.0
 *
 * The order lies in memory, under the lock; the descriptors come through a pair of sockets, which is
 * also what the thread sleeps on. Numbers of descriptors mean something else in here than in all other
 * threads. Tools that look for races do not know that, hence the bare system calls.
 */
#include "control/node/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/close_range.h>

#define OWN_FD 3 /* the thread's end of the pair, in its table; above it come orders */
#define STACK_BYTES (512u * 1024)

extern char **environ;

struct praas_launcher {
	pthread_t thread;
	int order_fd; /* the end of those who want something started */
	int own_fd; /* the thread's, in the table of the others; closed when it has its own */
	pthread_mutex_t turn; /* one order after the other; held before the lock */
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t done;
	const char *netns;               /* until it has answered for the first time */
	const struct praas_launch *what; /* NULL: no order is open */
	uint64_t number; /* of the order; what came of an older one does not count */
	int rc;
	pid_t pid;
};

union control {
	char bytes[CMSG_SPACE(PRAAS_LAUNCH_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

/* ---- in the thread ---- */

static int child_files(posix_spawn_file_actions_t *fa, const char *log, const int *fds,
		       unsigned count)
{
	int rc = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0);

	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(
			fa, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(fa, 1, 2);
	/* Each is above where it goes, and they are in order: none is written over. */
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = posix_spawn_file_actions_adddup2(fa, fds[i],
						      PRAAS_LAUNCH_FD + (int)i);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(fa, PRAAS_LAUNCH_FD +
									  (int)count);
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

static int spawn(const struct praas_launch *what, const int *fds, pid_t *ret_pid)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	int rc;

	if (posix_spawn_file_actions_init(&fa))
		return -ENOMEM;
	if (posix_spawnattr_init(&attr)) {
		(void)posix_spawn_file_actions_destroy(&fa);
		return -ENOMEM;
	}
	rc = child_files(&fa, what->log, fds, what->fds_count);
	if (rc == 0)
		rc = child_attributes(&attr);
	if (rc == 0) /* argv is const in all but its type */
		rc = -posix_spawn(ret_pid, what->argv[0], &fa, &attr,
				  (char *const *)(uintptr_t)what->argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&fa);
	return rc;
}

/* Leaves the table that all share. What was copied from it besides our end is closed. */
static int leave_table(int own_fd)
{
	if (syscall(SYS_close_range, own_fd + 1, ~0u, CLOSE_RANGE_UNSHARE))
		return -errno;
	if (own_fd != OWN_FD && syscall(SYS_dup3, own_fd, OWN_FD, O_CLOEXEC) < 0)
		return -errno;
	return syscall(SYS_close_range, OWN_FD + 1, ~0u, 0) ? -errno : 0;
}

/* A namespace is a thread's, and what it starts begins in it. */
static int enter_netns(const char *netns)
{
	int fd, rc = 0;

	if (!netns)
		return 0;
	fd = open(netns, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (setns(fd, CLONE_NEWNET))
		rc = -errno;
	(void)close(fd); /* read only */
	return rc;
}

/* Waits for an order. 0; -ESHUTDOWN there will be none; an errno. */
static int receive(uint64_t *ret_number, int ret_fds[PRAAS_LAUNCH_FDS_MAX],
		   unsigned *ret_count)
{
	uint64_t number = 0;
	struct iovec iov = { &number, sizeof(number) };
	union control control = { 0 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	long n = syscall(SYS_recvmsg, OWN_FD, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	*ret_number = number;
	*ret_count = 0;
	if (n == 0)
		return -ESHUTDOWN;
	if (n < 0)
		return -errno;
	if (head && head->cmsg_type == SCM_RIGHTS) {
		*ret_count = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(ret_fds, CMSG_DATA(head), *ret_count * sizeof(int));
	}
	return 0;
}

static void answer(struct praas_launcher *s, int rc, pid_t pid)
{
	(void)pthread_mutex_lock(&s->lock);
	s->rc = rc;
	s->pid = pid;
	s->what = NULL;
	(void)pthread_cond_signal(&s->done);
	(void)pthread_mutex_unlock(&s->lock);
}

/* The order that is open, if what was received is of it (rc 0), or could not be received. */
static const struct praas_launch *open_order(struct praas_launcher *s, int rc,
					     uint64_t number)
{
	const struct praas_launch *what;

	(void)pthread_mutex_lock(&s->lock);
	what = rc || number == s->number ? s->what : NULL;
	(void)pthread_mutex_unlock(&s->lock);
	return what;
}

static void *thread_main(void *arg)
{
	int fds[PRAAS_LAUNCH_FDS_MAX] = { -1, -1 };
	struct praas_launcher *s = arg;
	int rc = enter_netns(s->netns); /* its descriptor is of the table of all */

	if (rc == 0)
		rc = leave_table(s->own_fd);
	answer(s, rc, 0);
	if (rc)
		return NULL;
	while (rc != -ESHUTDOWN) {
		const struct praas_launch *what;
		uint64_t number = 0;
		unsigned count = 0;
		pid_t pid = 0;

		rc = receive(&number, fds, &count);
		what = open_order(s, rc, number);
		if (what && rc == 0 && count != what->fds_count)
			rc = -EMFILE; /* our table is not allowed so many */
		if (what && rc == 0)
			rc = spawn(what, fds, &pid);
		(void)syscall(SYS_close_range, OWN_FD + 1, ~0u, 0);
		if (what && rc != -EINTR)
			answer(s, rc, pid);
	}
	return NULL;
}

/* ---- in all others ---- */

/* Until the thread has answered. */
static int wait_answer(struct praas_launcher *s, pid_t *ret_pid)
{
	int rc;

	(void)pthread_mutex_lock(&s->lock);
	while (s->what)
		(void)pthread_cond_wait(&s->done, &s->lock);
	rc = s->rc;
	*ret_pid = s->pid;
	(void)pthread_mutex_unlock(&s->lock);
	return rc;
}

static int send_order(struct praas_launcher *s, const struct praas_launch *what)
{
	uint64_t number = s->number;
	struct iovec iov = { &number, sizeof(number) };
	union control control = { 0 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen =
				      CMSG_SPACE(what->fds_count * sizeof(int)) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(what->fds_count * sizeof(int));
	memcpy(CMSG_DATA(head), what->fds, what->fds_count * sizeof(int));
	do {
		n = sendmsg(s->order_fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int praas_launcher_launch(struct praas_launcher *launcher,
			  const struct praas_launch *what, pid_t *ret_pid)
{
	int rc;

	(void)pthread_mutex_lock(&launcher->turn);
	(void)pthread_mutex_lock(&launcher->lock);
	launcher->what = what;
	launcher->number++;
	(void)pthread_mutex_unlock(&launcher->lock);
	rc = send_order(launcher, what);
	if (rc)
		answer(launcher, rc, 0); /* nobody else does */
	rc = wait_answer(launcher, ret_pid);
	(void)pthread_mutex_unlock(&launcher->turn);
	return rc;
}

static void free_launcher(struct praas_launcher *s)
{
	if (s->own_fd >= 0)
		(void)close(s->own_fd);
	(void)close(s->order_fd);
	(void)pthread_cond_destroy(&s->done);
	(void)pthread_mutex_destroy(&s->lock);
	(void)pthread_mutex_destroy(&s->turn);
	free(s);
}

static int start_thread(struct praas_launcher *s)
{
	pthread_attr_t attr;
	int rc;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	rc = -pthread_create(&s->thread, &attr, thread_main, s);
	(void)pthread_attr_destroy(&attr);
	return rc;
}

int praas_launcher_start(const char *netns, struct praas_launcher **ret_launcher)
{
	static const struct praas_launch nothing;
	struct praas_launcher *s = calloc(1, sizeof(*s));
	int fds[2], rc;
	pid_t none;

	if (!s)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
		rc = -errno;
		free(s);
		return rc;
	}
	s->order_fd = fds[0];
	s->own_fd = fds[1];
	s->netns = netns;
	s->what = &nothing; /* it answers when it has its table */
	(void)pthread_mutex_init(&s->turn, NULL);
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->done, NULL);
	rc = start_thread(s);
	if (rc) {
		free_launcher(s);
		return rc;
	}
	rc = wait_answer(s, &none);
	(void)close(s->own_fd);
	s->own_fd = -1;
	if (rc) {
		praas_launcher_stop(s);
		return rc;
	}
	*ret_launcher = s;
	return 0;
}

void praas_launcher_stop(struct praas_launcher *launcher)
{
	if (!launcher)
		return;
	(void)shutdown(launcher->order_fd, SHUT_RDWR);
	(void)pthread_join(launcher->thread, NULL);
	free_launcher(launcher);
}
