/* SPDX-License-Identifier: Apache-2.0
 *
 * Controllers as processes of this machine. posix_spawn (a vfork inside, so our size costs nothing), in a
 * thread without our descriptors, so their number costs nothing either; the configuration travels through a pipe, which is what makes pre-warming possible: a controller
 * whose pipe is still empty has been loaded, and has made what follows from its application when it
 * was told that (control/node/ready.h), and waits.
 */
#include "control/node/backend.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/json.h"
#include "control/node/cgroup.h"
#include "control/node/launcher.h"
#include "control/node/local_spawn.h"
#include "control/node/ready.h"

#define GROUPS_LEFT_MAX 64u
#define PATH_BYTES 4096
#define CONFIG_BYTES_MAX (48u * 1024) /* below a pipe's capacity: writing never waits */
#define TASKS_MAX 1024u
#define GROUP_BYTES 160

struct local {
	struct praas_backend base;
	char controller[PATH_BYTES];
	char log_dir[PATH_BYTES];
	char group[64];
	enum praas_cgroup_version cgroup;
	struct praas_launcher *launcher;
	pthread_mutex_t lock; /* of what follows */
	struct praas_ready ready;
	struct praas_backend_stats stats;
	/* Controllers that are gone, whose workers were still dying when their group was to be
	 * removed; tried again with the next ones. */
	int32_t left[GROUPS_LEFT_MAX];
	uint32_t left_count;
};

const char *praas_backend_start_text(enum praas_backend_start start)
{
	static const char *const texts[PRAAS_STARTS] = { "cold", "loaded", "prepared" };

	return start < PRAAS_STARTS ? texts[start] : "?";
}

static struct local *of(struct praas_backend *b)
{
	return (struct local *)(void *)b;
}

/* Named by the OS process, so that one found after a restart of ours has it too. */
static void group_of(const struct local *l, int32_t os_pid, char ret_group[GROUP_BYTES])
{
	(void)snprintf(ret_group, GROUP_BYTES, "%s/%d", l->group, os_pid);
}

/* Under the lock, so that none of the groups is that of a controller which begins. */
static void remove_left_locked(struct local *l)
{
	char group[GROUP_BYTES];
	uint32_t kept = 0;

	for (uint32_t i = 0; i < l->left_count; i++) {
		group_of(l, l->left[i], group);
		if (praas_os_start(l->left[i]) == 0 &&
		    !praas_cgroup_remove(l->cgroup, group))
			l->left[kept++] = l->left[i];
	}
	l->left_count = kept;
}

static void remove_group(struct local *l, int32_t os_pid)
{
	char group[GROUP_BYTES];

	if (l->cgroup == PRAAS_CGROUP_NONE)
		return;
	group_of(l, os_pid, group);
	praas_cgroup_kill(l->cgroup, group);
	(void)pthread_mutex_lock(&l->lock);
	remove_left_locked(l);
	/* Without room it stays until the service ends. */
	if (!praas_cgroup_remove(l->cgroup, group) && l->left_count < GROUPS_LEFT_MAX)
		l->left[l->left_count++] = os_pid;
	(void)pthread_mutex_unlock(&l->lock);
}

static bool tidy(struct praas_backend *b)
{
	struct local *l = of(b);
	bool left;

	(void)pthread_mutex_lock(&l->lock);
	remove_left_locked(l);
	left = l->left_count != 0;
	(void)pthread_mutex_unlock(&l->lock);
	return left;
}

static void discard(struct local *l, struct praas_ready_one *o)
{
	(void)kill(o->os_pid, SIGKILL);
	(void)close(
		o->config_fd); /* (after a crash of ours its end makes them leave) */
	(void)waitpid(o->os_pid, NULL, 0);
	(void)close(o->pidfd);
	if (o->grouped)
		remove_group(l, o->os_pid);
	free(o->shape);
	o->shape = NULL;
}

/* Making a group costs as much as starting a program: done ahead where that is possible. */
static int make_group(const struct local *l, struct praas_ready_one *o,
		      uint32_t vcpu_milli)
{
	struct praas_cgroup_limits limits = { .tasks_max = TASKS_MAX,
					      .vcpu_milli = vcpu_milli };
	char group[GROUP_BYTES];
	int rc;

	group_of(l, o->os_pid, group);
	rc = praas_cgroup_make(l->cgroup, group, &limits);
	o->grouped = o->grouped || rc == 0;
	/* Moving a process takes milliseconds (it waits for all cores): only for a limit on
	 * the controller too. Workers begin their life in the group. */
	if (rc == 0 && vcpu_milli > 0)
		rc = praas_cgroup_enter(l->cgroup, group, o->os_pid);
	return rc == -ESRCH ? 0 : rc; /* it has ended already: its pidfd tells */
}

static int write_config(int fd, json_t *config)
{
	char *text = praas_json_dump(config);
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
static int give_group(const struct local *l, json_t *config, struct praas_ready_one *o)
{
	const char *isolation = json_string_value(json_object_get(config, "isolation"));
	json_int_t vcpu = json_integer_value(json_object_get(config, "vcpu_milli"));
	bool wanted = vcpu > 0 || (isolation && strcmp(isolation, "inline") != 0);
	enum praas_cgroup_version version = wanted ? l->cgroup : PRAAS_CGROUP_NONE;
	char group[GROUP_BYTES];
	int rc = 0;

	group_of(l, o->os_pid, group);
	/* What was prepared has its limits; what is only grouped may lack that of the CPU. */
	if (version != PRAAS_CGROUP_NONE && !o->shape && (!o->grouped || vcpu > 0))
		rc = make_group(l, o, (uint32_t)vcpu);
	if (rc == 0 && json_object_set_new(config, "cgroup",
					   praas_cgroup_describe(version, group)))
		rc = -ENOMEM;
	return rc;
}

/* ---- those that stand ready ---- */

/* What of a configuration follows from the application. NULL: no memory. */
static char *shape_of(const json_t *config)
{
	static const char *const members[] = {
		"app_id",      "code",       "isolation",          "memory_bytes",
		"state_bytes", "vcpu_milli", "concurrency",        "tasks_max",
		"bytes_max",   "wait",       "allow_weak_sandbox", "worker"
	};
	json_t *shape = json_pack("{s:b}", "prepare", 1);
	char *text = NULL;

	for (size_t i = 0; shape && i < sizeof(members) / sizeof(members[0]); i++) {
		json_t *value = json_object_get(config, members[i]);

		if (value && json_object_set(shape, members[i], value)) {
			json_decref(shape);
			shape = NULL;
		}
	}
	if (shape)
		text = praas_json_dump_as(shape, JSON_SORT_KEYS);
	json_decref(shape);
	return text;
}

/* Tells a new controller what it is to be ready for. */
static int prepare_one(const struct local *l, struct praas_ready_one *o, int prepare_fd)
{
	json_t *shape = json_loads(o->shape, 0, NULL);
	char *text = o->shape;
	int rc = shape ? 0 : -ENOMEM;

	o->shape = NULL; /* not before its limits are made */
	if (rc == 0)
		rc = give_group(l, shape, o);
	o->shape = text;
	if (rc == 0)
		rc = write_config(prepare_fd, shape);
	json_decref(shape);
	return rc;
}

static void log_path(const struct local *l, uint64_t number,
		     char ret_path[PATH_BYTES + 32])
{
	(void)snprintf(ret_path, PATH_BYTES + 32, "%s/%llu.log", l->log_dir,
		       (unsigned long long)number);
}

static int make_one(struct local *l, struct praas_ready_one *o)
{
	char log[PATH_BYTES + 32];
	int prepare_fd = -1;
	int rc;

	(void)snprintf(log, sizeof(log), "%s/prewarmed.log", l->log_dir);
	rc = praas_local_spawn(l->launcher, l->controller, log, o,
			       o->shape ? &prepare_fd : NULL);
	if (rc) {
		free(o->shape);
		return rc;
	}
	if (prepare_fd >= 0) {
		rc = prepare_one(l, o, prepare_fd);
		(void)close(prepare_fd);
	} else if (l->cgroup != PRAAS_CGROUP_NONE) {
		(void)make_group(l, o, 0); /* else it is made at the start */
	}
	if (rc)
		discard(l, o);
	return rc;
}

/* The lock is held for the table only: a start does not wait for these. */
static void prepare(struct praas_backend *b)
{
	enum praas_ready_step step = PRAAS_READY_END;
	struct local *l = of(b);
	int rc = 0;

	while (rc == 0 && step != PRAAS_READY_ENOUGH) {
		struct praas_ready_one o;
		uint32_t place = 0;

		(void)pthread_mutex_lock(&l->lock);
		step = praas_ready_next(&l->ready, &o, &place);
		(void)pthread_mutex_unlock(&l->lock);
		if (step == PRAAS_READY_END)
			discard(l, &o);
		if (step != PRAAS_READY_MAKE)
			continue;
		rc = make_one(l,
			      &o); /* else the next start spawns its own and reports */
		(void)pthread_mutex_lock(&l->lock);
		praas_ready_made(&l->ready, place, rc == 0 ? &o : NULL);
		(void)pthread_mutex_unlock(&l->lock);
	}
}

/* One that is ready and alive, if there is any. */
static bool take_ready(struct local *l, const char *shape,
		       struct praas_ready_one *ret_o)
{
	for (;;) {
		siginfo_t info = { 0 };
		bool found;

		(void)pthread_mutex_lock(&l->lock);
		found = praas_ready_take(&l->ready, shape, ret_o);
		(void)pthread_mutex_unlock(&l->lock);
		if (!found)
			return false;
		if (waitid(P_PID, (id_t)ret_o->os_pid, &info,
			   WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    info.si_pid == 0)
			return true;
		discard(l, ret_o);
	}
}

/* ---- operations ---- */

static void count_start(struct local *l, enum praas_backend_start kind)
{
	(void)pthread_mutex_lock(&l->lock);
	l->stats.starts[kind]++;
	(void)pthread_mutex_unlock(&l->lock);
}

/* Tells a controller which process it is. */
static int give_config(const struct local *l, json_t *config, const char *log,
		       struct praas_ready_one *o)
{
	int rc = give_group(l, config, o);

	if (rc == 0 && json_object_set_new(config, "log", json_string(log)))
		rc = -ENOMEM;
	return rc ? rc : write_config(o->config_fd, config);
}

/* One that is ready, or a new one, that has its configuration. */
static int start_one(struct local *l, json_t *config, const char *shape,
		     const char *log, struct praas_ready_one *ret_o,
		     enum praas_backend_start *ret_kind)
{
	int rc;

	while (take_ready(l, shape, ret_o)) {
		*ret_kind = ret_o->shape ? PRAAS_START_PREPARED : PRAAS_START_LOADED;
		rc = give_config(l, config, log, ret_o);
		if (rc == 0)
			return 0;
		discard(l, ret_o);
		if (rc != -EPIPE) /* it ended just now: the next one may live */
			return rc;
	}
	*ret_o = (struct praas_ready_one){ .pidfd = -1 };
	*ret_kind = PRAAS_START_COLD;
	rc = praas_local_spawn(l->launcher, l->controller, log, ret_o, NULL);
	if (rc)
		return rc;
	rc = give_config(l, config, log, ret_o); /* while it is loaded */
	if (rc == -EPIPE)
		return 0; /* its end tells why */
	if (rc)
		discard(l, ret_o);
	return rc;
}

static int start(struct praas_backend *b, json_t *config, uint64_t number,
		 uint32_t epoch, struct praas_instance *ret_instance)
{
	enum praas_backend_start kind;
	struct local *l = of(b);
	struct praas_ready_one o;
	char log[PATH_BYTES + 32];
	char *shape = shape_of(config);
	int rc;

	if (!shape)
		return -ENOMEM;
	log_path(l, number, log);
	(void)pthread_mutex_lock(&l->lock);
	remove_left_locked(l);
	rc = praas_ready_note(&l->ready, shape);
	(void)pthread_mutex_unlock(&l->lock);
	if (rc == 0)
		rc = start_one(l, config, shape, log, &o, &kind);
	free(shape);
	if (rc)
		return rc;
	(void)close(o.config_fd);
	free(o.shape);
	count_start(l, kind);
	*ret_instance = (struct praas_instance){ .backend = b,
						 .number = number,
						 .epoch = epoch,
						 .os_start = o.os_start,
						 .os_pid = o.os_pid,
						 .pidfd = o.pidfd,
						 .start = kind,
						 .child = true };
	return 0;
}

static void stats_of(struct praas_backend *b, struct praas_backend_stats *ret_stats)
{
	struct local *l = of(b);

	(void)pthread_mutex_lock(&l->lock);
	*ret_stats = l->stats;
	ret_stats->ready = praas_ready_count(&l->ready);
	(void)pthread_mutex_unlock(&l->lock);
}

static int adopt(struct praas_backend *b, int32_t os_pid, uint64_t os_start,
		 uint64_t number, uint32_t epoch, struct praas_instance *ret_instance)
{
	int fd;

	if (os_pid <= 1)
		return -ESRCH;
	fd = praas_pidfd_of(os_pid);
	if (fd == -EINVAL || fd == -ENOENT)
		return -ESRCH; /* the number is a thread's now */
	if (fd < 0)
		return fd;
	/* After the descriptor is held the number cannot be reused unnoticed. */
	if (praas_os_start(os_pid) != os_start) {
		(void)close(fd);
		return -ESRCH;
	}
	*ret_instance = (struct praas_instance){ .backend = b,
						 .number = number,
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

	*ret_exit = (struct praas_exit){ .start = instance->start };
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

	struct praas_ready_one o;

	while (praas_ready_drain(&l->ready, &o))
		discard(l, &o);
	praas_ready_release(&l->ready);
	praas_launcher_stop(l->launcher);
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
	.prepare = prepare,
	.tidy = tidy,
	.stats = stats_of,
	.free = free_local,
};

int praas_backend_local_new(const struct praas_backend_local_config *config,
			    struct praas_backend **ret_backend)
{
	struct local *l;
	int rc;

	if (strlen(config->controller) >= PATH_BYTES ||
	    strlen(config->log_dir) >= PATH_BYTES ||
	    (config->group && strlen(config->group) >= sizeof(l->group)))
		return -ENAMETOOLONG;
	if (config->prewarm > PRAAS_READY_MAX)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	rc = praas_launcher_start(config->netns, &l->launcher);
	if (rc) {
		free(l);
		return rc;
	}
	l->base.ops = &local_ops;
	(void)pthread_mutex_init(&l->lock, NULL);
	(void)snprintf(l->controller, sizeof(l->controller), "%s", config->controller);
	(void)snprintf(l->log_dir, sizeof(l->log_dir), "%s", config->log_dir);
	l->ready.capacity = config->prewarm;
	if (config->group) {
		(void)snprintf(l->group, sizeof(l->group), "%s", config->group);
		l->cgroup = praas_cgroup_open(l->group);
		(void)praas_cgroup_remove(l->cgroup, l->group); /* what a crash left */
		l->cgroup = praas_cgroup_open(l->group);
	}
	prepare(&l->base);
	*ret_backend = &l->base;
	return 0;
}
