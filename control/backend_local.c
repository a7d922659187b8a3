/* SPDX-License-Identifier: Apache-2.0
 *
 * Controllers as processes of this machine. posix_spawn (a vfork inside, so our size costs nothing);
 * the configuration travels through a pipe, which is what makes pre-warming possible: a controller
 * whose pipe is still empty has been loaded and linked, and waits.
 */
#include "control/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/cgroup.h"

#define PATH_BYTES 4096
#define CONFIG_FD 3
#define CONFIG_BYTES_MAX (48u * 1024) /* below a pipe's capacity: writing never waits */
#define PREWARM_MAX 64u
#define TASKS_MAX 1024u
#define GROUP_BYTES 160

extern char **environ;

struct waiting {
	int32_t os_pid;
	int pidfd, config_fd;
	bool grouped;    /* has a control group */
	uint64_t number; /* that it is for; 0: for whoever comes */
};

struct local {
	struct praas_backend base;
	char controller[PATH_BYTES];
	char log_dir[PATH_BYTES];
	char group[64];
	enum praas_cgroup_version cgroup;
	uint32_t prewarm;
	pthread_mutex_t lock; /* of what follows */
	struct waiting waiting[PREWARM_MAX];
	uint32_t waiting_count;
};

static struct local *of(struct praas_backend *b)
{
	return (struct local *)(void *)b;
}

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

static int pidfd_of(int32_t os_pid)
{
	int fd = (int)syscall(SYS_pidfd_open, os_pid, 0);

	return fd < 0 ? -errno : fd;
}

/* Named by the OS process, so that one found after a restart of ours has it too. */
static void group_of(const struct local *l, int32_t os_pid, char ret_group[GROUP_BYTES])
{
	(void)snprintf(ret_group, GROUP_BYTES, "%s/%d", l->group, os_pid);
}

/* Descriptors of the child: nothing, the log twice, the configuration. All else is close-on-exec. */
static int child_files(posix_spawn_file_actions_t *fa, const char *log, int config_fd)
{
	int rc = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0);

	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(
			fa, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(fa, 1, 2);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(fa, config_fd, CONFIG_FD);
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

static int spawn(struct local *l, const char *log, int config_fd, pid_t *ret_pid)
{
	char fd_text[8];
	const char *argv[] = { l->controller, "--config-fd", fd_text, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	int rc;

	(void)snprintf(fd_text, sizeof(fd_text), "%d", CONFIG_FD);
	if (posix_spawn_file_actions_init(&fa))
		return -ENOMEM;
	if (posix_spawnattr_init(&attr)) {
		(void)posix_spawn_file_actions_destroy(&fa);
		return -ENOMEM;
	}
	rc = child_files(&fa, log, config_fd);
	if (rc == 0)
		rc = child_attributes(&attr);
	if (rc == 0) /* argv is const in all but its type */
		rc = -posix_spawn(ret_pid, l->controller, &fa, &attr,
				  (char *const *)(uintptr_t)argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&fa);
	return rc;
}

/* A controller that waits for its configuration. */
static int spawn_waiting(struct local *l, const char *log, struct waiting *ret_w)
{
	int fds[2], high, rc;
	pid_t pid = 0;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	/* Not onto the number that the child's file actions write to. */
	high = fcntl(fds[0], F_DUPFD_CLOEXEC, CONFIG_FD + 1);
	(void)close(fds[0]);
	if (high < 0) {
		rc = -errno;
		(void)close(fds[1]);
		return rc;
	}
	rc = spawn(l, log, high, &pid);
	(void)close(high);
	if (rc == 0) {
		ret_w->os_pid = pid;
		ret_w->config_fd = fds[1];
		ret_w->pidfd = pidfd_of(pid);
		if (ret_w->pidfd >= 0)
			return 0;
		rc = ret_w->pidfd;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	(void)close(fds[1]);
	return rc;
}

static void remove_group(const struct local *l, int32_t os_pid)
{
	char group[GROUP_BYTES];

	if (l->cgroup == PRAAS_CGROUP_NONE)
		return;
	group_of(l, os_pid, group);
	praas_cgroup_kill(l->cgroup, group);
	praas_cgroup_remove(l->cgroup, group);
}

static void discard(const struct local *l, struct waiting *w)
{
	(void)kill(w->os_pid, SIGKILL);
	(void)close(
		w->config_fd); /* (after a crash of ours its end makes them leave) */
	(void)waitpid(w->os_pid, NULL, 0);
	(void)close(w->pidfd);
	if (w->grouped)
		remove_group(l, w->os_pid);
}

/* Making a group costs as much as starting a program: done ahead where that is possible. */
static int make_group(const struct local *l, struct waiting *w, uint32_t vcpu_milli)
{
	struct praas_cgroup_limits limits = { .tasks_max = TASKS_MAX,
					      .vcpu_milli = vcpu_milli };
	char group[GROUP_BYTES];
	int rc;

	group_of(l, w->os_pid, group);
	rc = praas_cgroup_make(l->cgroup, group, &limits);
	w->grouped = w->grouped || rc == 0;
	/* Moving a process takes milliseconds (it waits for all cores): only for a limit on
	 * the controller too. Workers begin their life in the group. */
	if (rc == 0 && vcpu_milli > 0)
		rc = praas_cgroup_enter(l->cgroup, group, w->os_pid);
	return rc == -ESRCH ? 0 : rc; /* it has ended already: its pidfd tells */
}

/* Lock held. */
static uint32_t count_free(const struct local *l)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < l->waiting_count; i++)
		count += l->waiting[i].number == 0;
	return count;
}

static void prepare(struct praas_backend *b)
{
	struct local *l = of(b);
	char log[PATH_BYTES + 32];

	(void)snprintf(log, sizeof(log), "%s/prewarmed.log", l->log_dir);
	(void)pthread_mutex_lock(&l->lock);
	while (l->waiting_count < PREWARM_MAX && count_free(l) < l->prewarm) {
		struct waiting w = { .pidfd = -1 };

		if (spawn_waiting(l, log, &w))
			break; /* the next start spawns its own and reports */
		if (l->cgroup != PRAAS_CGROUP_NONE)
			(void)make_group(l, &w, 0); /* else it is made at the start */
		l->waiting[l->waiting_count++] = w;
	}
	(void)pthread_mutex_unlock(&l->lock);
}

/* The best place in waiting for a number: its own, else anybody's; lock held. */
static uint32_t find_waiting(const struct local *l, uint64_t number)
{
	uint32_t best = l->waiting_count;

	for (uint32_t i = 0; i < l->waiting_count; i++) {
		if (l->waiting[i].number == number)
			return i;
		if (l->waiting[i].number == 0)
			best = i;
	}
	return best;
}

/* One that waits for this number or for anybody and is still alive, if there is any. */
static bool take_waiting(struct local *l, uint64_t number, struct waiting *ret_w)
{
	bool found = false;
	uint32_t at;

	(void)pthread_mutex_lock(&l->lock);
	while (!found && (at = find_waiting(l, number)) < l->waiting_count) {
		siginfo_t info = { 0 };

		*ret_w = l->waiting[at];
		l->waiting[at] = l->waiting[--l->waiting_count];
		if (waitid(P_PID, (id_t)ret_w->os_pid, &info,
			   WEXITED | WNOHANG | WNOWAIT) ||
		    info.si_pid != 0)
			discard(l, ret_w);
		else
			found = true;
	}
	(void)pthread_mutex_unlock(&l->lock);
	return found;
}

static void warm(struct praas_backend *b, uint64_t number)
{
	struct local *l = of(b);
	struct waiting w = { .pidfd = -1, .number = number };
	char log[PATH_BYTES + 32];
	bool room;

	(void)pthread_mutex_lock(&l->lock);
	room = find_waiting(l, number) == l->waiting_count &&
	       l->waiting_count < PREWARM_MAX;
	(void)pthread_mutex_unlock(&l->lock);
	(void)snprintf(log, sizeof(log), "%s/%llu.log", l->log_dir,
		       (unsigned long long)number);
	if (!room || spawn_waiting(l, log, &w))
		return; /* the start does it, and reports */
	(void)pthread_mutex_lock(&l->lock);
	room = l->waiting_count < PREWARM_MAX;
	if (room)
		l->waiting[l->waiting_count++] = w;
	(void)pthread_mutex_unlock(&l->lock);
	if (!room)
		discard(l, &w);
}

static void cool(struct praas_backend *b, uint64_t number)
{
	struct local *l = of(b);
	struct waiting w = { .pidfd = -1 };
	bool found = false;

	(void)pthread_mutex_lock(&l->lock);
	for (uint32_t i = 0; i < l->waiting_count && !found; i++) {
		if (l->waiting[i].number != number)
			continue;
		w = l->waiting[i];
		l->waiting[i] = l->waiting[--l->waiting_count];
		found = true;
	}
	(void)pthread_mutex_unlock(&l->lock);
	if (found)
		discard(l, &w);
}

static int write_config(int fd, json_t *config)
{
	char *text = json_dumps(config, JSON_COMPACT);
	size_t bytes;
	ssize_t n;
	int rc = 0;

	if (!text)
		return -ENOMEM;
	bytes = strlen(text);
	if (bytes > CONFIG_BYTES_MAX) {
		rc = -EMSGSIZE;
	} else {
		n = write(fd, text, bytes);
		if (n != (ssize_t)bytes)
			rc = n < 0 ? -errno
				   : -EIO; /* EPIPE: it died; its pidfd tells */
	}
	explicit_bzero(text, bytes);
	free(text);
	return rc;
}

/* Adds the member `cgroup`. */
static int give_group(const struct local *l, json_t *config, struct waiting *w)
{
	const char *isolation = json_string_value(json_object_get(config, "isolation"));
	json_int_t vcpu = json_integer_value(json_object_get(config, "vcpu_milli"));
	bool wanted = vcpu > 0 || (isolation && strcmp(isolation, "inline") != 0);
	enum praas_cgroup_version version = wanted ? l->cgroup : PRAAS_CGROUP_NONE;
	char group[GROUP_BYTES];
	int rc = 0;

	group_of(l, w->os_pid, group);
	if (version != PRAAS_CGROUP_NONE && (!w->grouped || vcpu > 0))
		rc = make_group(l, w, (uint32_t)vcpu);
	if (rc == 0 && json_object_set_new(config, "cgroup",
					   praas_cgroup_describe(version, group)))
		rc = -ENOMEM;
	return rc;
}

static int start(struct praas_backend *b, json_t *config, uint64_t number,
		 uint32_t epoch, struct praas_instance *ret_instance)
{
	struct local *l = of(b);
	char log[PATH_BYTES + 32];
	struct waiting w = { .pidfd = -1 };
	int rc = 0;

	(void)snprintf(log, sizeof(log), "%s/%llu.log", l->log_dir,
		       (unsigned long long)number);
	if (!take_waiting(l, number, &w))
		rc = spawn_waiting(l, log, &w);
	if (rc)
		return rc;
	rc = give_group(l, config, &w); /* while it is loaded */
	if (rc == 0)
		rc = write_config(w.config_fd, config);
	if (rc && rc != -EPIPE) {
		discard(l, &w);
		return rc;
	}
	(void)close(w.config_fd);
	*ret_instance = (struct praas_instance){ .number = number,
						 .epoch = epoch,
						 .os_start = praas_os_start(w.os_pid),
						 .os_pid = w.os_pid,
						 .pidfd = w.pidfd,
						 .child = true };
	return 0;
}

static int adopt(struct praas_backend *b, int32_t os_pid, uint64_t os_start,
		 uint64_t number, uint32_t epoch, struct praas_instance *ret_instance)
{
	int fd;

	(void)b;
	if (os_pid <= 1)
		return -ESRCH;
	fd = pidfd_of(os_pid);
	if (fd < 0)
		return fd;
	/* After the descriptor is held the number cannot be reused unnoticed. */
	if (praas_os_start(os_pid) != os_start) {
		(void)close(fd);
		return -ESRCH;
	}
	*ret_instance = (struct praas_instance){ .number = number,
						 .epoch = epoch,
						 .os_start = os_start,
						 .os_pid = os_pid,
						 .pidfd = fd };
	return 0;
}

static void kill_instance(struct praas_backend *b,
			  const struct praas_instance *instance)
{
	struct local *l = of(b);
	char group[GROUP_BYTES];

	(void)syscall(SYS_pidfd_send_signal, instance->pidfd, SIGKILL, NULL, 0);
	if (l->cgroup != PRAAS_CGROUP_NONE) {
		group_of(l, instance->os_pid, group);
		praas_cgroup_kill(l->cgroup, group);
	}
}

static void reap(struct praas_backend *b, struct praas_instance *instance,
		 struct praas_exit *ret_exit)
{
	siginfo_t info = { 0 };

	*ret_exit = (struct praas_exit){ 0 };
	if (instance->child &&
	    waitid(P_PIDFD, (id_t)instance->pidfd, &info, WEXITED) == 0) {
		ret_exit->known = true;
		if (info.si_code == CLD_EXITED)
			ret_exit->code = info.si_status;
		else
			ret_exit->signal = info.si_status;
	}
	(void)close(instance->pidfd);
	remove_group(of(b), instance->os_pid); /* workers that outlived it go too */
	*instance = (struct praas_instance){ .pidfd = -1 };
}

static void free_local(struct praas_backend *b)
{
	struct local *l = of(b);

	while (l->waiting_count > 0)
		discard(l, &l->waiting[--l->waiting_count]);
	if (l->cgroup != PRAAS_CGROUP_NONE)
		praas_cgroup_close(l->cgroup, l->group);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

static const struct praas_backend_ops local_ops = {
	.name = "local",
	.start = start,
	.adopt = adopt,
	.kill = kill_instance,
	.reap = reap,
	.warm = warm,
	.cool = cool,
	.prepare = prepare,
	.free = free_local,
};

int praas_backend_local_new(const struct praas_backend_local_config *config,
			    struct praas_backend **ret_backend)
{
	struct local *l;

	if (strlen(config->controller) >= PATH_BYTES ||
	    strlen(config->log_dir) >= PATH_BYTES ||
	    (config->group && strlen(config->group) >= sizeof(l->group)))
		return -ENAMETOOLONG;
	if (config->prewarm > PREWARM_MAX)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->base.ops = &local_ops;
	(void)pthread_mutex_init(&l->lock, NULL);
	(void)snprintf(l->controller, sizeof(l->controller), "%s", config->controller);
	(void)snprintf(l->log_dir, sizeof(l->log_dir), "%s", config->log_dir);
	l->prewarm = config->prewarm;
	if (config->group) {
		(void)snprintf(l->group, sizeof(l->group), "%s", config->group);
		l->cgroup = praas_cgroup_open(l->group);
		praas_cgroup_remove(l->cgroup, l->group); /* what a crash left */
		l->cgroup = praas_cgroup_open(l->group);
	}
	prepare(&l->base);
	*ret_backend = &l->base;
	return 0;
}
