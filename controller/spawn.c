/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/spawn.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/cgroup.h"
#include "controller/spawn_child.h"
#include "internal/base.h"
#include "shm/ring.h"

#define RING_SLOTS                                                                     \
	256u /* a worker has at most one spawn, one kill and one death under way */
#define POLL_TURNS 4u /* epoll batches a poll */

enum { KEY_REQUESTS = 1000, KEY_TIMER = 1001 }; /* others: number of a worker */
enum { ASK_SPAWN = 1, ASK_KILL = 2 };

/* A ring inside this process: both ends and their words. */
struct queue {
	struct praas_ring_slot slots[RING_SLOTS];
	struct praas_ring_tail tail;
	struct praas_ring_tx tx;
	alignas(64) struct praas_ring_rx rx; /* of the other thread */
};

struct child {
	pid_t pid; /* 0: none */
	int pidfd;
	int socket; /* of a spawn that waits for its time; -1 */
	uint64_t not_before_ns;
	uint64_t ooms; /* of the group before this life */
	struct praas_cgroup_leaf leaf;
	bool has_leaf;
};

struct praas_spawner {
	struct praas_spawner_config config;
	char program[PATH_MAX], code[PATH_MAX];
	struct praas_cgroup_root groups;
	struct child child[PRAAS_WORKERS_MAX];
	uint64_t cpu_ns; /* of children that were reaped */
	int epoll_fd, request_fd, timer_fd;
	int event_fd;           /* the executor's; borrowed */
	struct queue *requests; /* data thread → admin thread */
	struct queue *deaths;   /* admin thread → data thread */
};

static struct queue *queue_new(void)
{
	struct queue *q = aligned_alloc(64, sizeof(struct queue));

	if (!q)
		return NULL;
	memset(q, 0, sizeof(*q));
	praas_ring_tx_init(&q->tx, q->slots, &q->tail, RING_SLOTS);
	praas_ring_rx_init(&q->rx, q->slots, &q->tail, RING_SLOTS);
	return q;
}

static void signal_fd(int fd)
{
	const uint64_t one = 1;

	if (fd >= 0)
		(void)!write(fd, &one, sizeof(one)); /* full: it is readable already */
}

/* ---- data thread ---- */

static int ask(struct praas_spawner *s, uint64_t what, uint32_t worker, uint64_t at_ns,
	       int socket)
{
	struct praas_desc d = { { what, worker, at_ns, (uint64_t)(int64_t)socket } };
	int rc = praas_ring_push(&s->requests->tx, &d);

	if (rc == 0)
		signal_fd(s->request_fd);
	return rc;
}

static int host_spawn(void *host, uint32_t worker, uint64_t not_before_ns, int socket)
{
	return ask(host, ASK_SPAWN, worker, not_before_ns, socket);
}

static void host_kill(void *host, uint32_t worker)
{
	/* The ring holds more than all workers can have under way. */
	(void)ask(host, ASK_KILL, worker, 0, -1);
}

static int host_next_death(void *host, struct praas_worker_death *ret_death)
{
	struct praas_spawner *s = host;
	struct praas_desc d;
	int rc = praas_ring_pop(&s->deaths->rx, &d);

	if (rc != 0)
		return rc;
	praas_ring_rx_publish(&s->deaths->rx);
	*ret_death = (struct praas_worker_death){ .worker = (uint32_t)d.word[0],
						  .wait_status = (int32_t)d.word[1],
						  .start_errno = (int32_t)d.word[2],
						  .out_of_memory = d.word[3] != 0 };
	return 0;
}

/* ---- admin thread ---- */

static void tell_death(struct praas_spawner *s, uint32_t worker, int status,
		       int start_errno, bool oom)
{
	struct praas_desc d = { { worker, (uint32_t)status, (uint32_t)start_errno,
				  oom ? 1 : 0 } };

	praas_check(praas_ring_push(&s->deaths->tx, &d) == 0);
	signal_fd(s->event_fd);
}

static int group_open(struct praas_spawner *s, uint32_t worker, struct child *c)
{
	const struct praas_cgroup_limits limits = { .memory_bytes =
							    s->config.memory_bytes,
						    .pids_max = s->config.pids_max,
						    .cpu_milli = s->config.cpu_milli };
	char name[PRAAS_CGROUP_NAME_MAX];
	int rc;

	if (c->has_leaf)
		return 0;
	praas_cgroup_leaf_name(worker, name);
	rc = praas_cgroup_leaf_open(&s->groups, name, &limits, &c->leaf);
	c->has_leaf = rc == 0;
	return rc;
}

static void child_start(struct praas_spawner *s, uint32_t worker)
{
	struct child *c = &s->child[worker];
	struct praas_spawn_child spawn = { .program = s->program,
					   .code = s->code,
					   .socket = c->socket,
					   .uid = s->config.uid_base + worker,
					   .tmp_bytes = s->config.tmp_bytes,
					   .allow_weak = s->config.allow_weak,
					   .procs_fd = { -1, -1, -1 } };
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = worker };
	int rc;

	/* Without a group the worker limits its own data; it says that the layer is missing. */
	if (group_open(s, worker, c) == 0) {
		memcpy(spawn.procs_fd, c->leaf.procs_fd, sizeof(spawn.procs_fd));
		spawn.cgroup_parts = c->leaf.parts;
		c->ooms = praas_cgroup_leaf_ooms(&c->leaf);
	}
	if (!(spawn.cgroup_parts & PRAAS_CGROUP_MEMORY))
		spawn.data_bytes = s->config.memory_bytes;
	rc = praas_spawn_child(&spawn, &c->pid, &c->pidfd);
	(void)close(c->socket); /* the child has its copy */
	c->socket = -1;
	if (rc == 0 && epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, c->pidfd, &ev) != 0) {
		rc = -errno;
		(void)syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
		(void)waitpid(c->pid, NULL, __WALL); /* it cannot but die */
		(void)close(c->pidfd);
	}
	if (rc != 0) {
		c->pid = 0;
		tell_death(s, worker, 0, -rc, false);
	}
}

static void child_reap(struct praas_spawner *s, uint32_t worker)
{
	struct child *c = &s->child[worker];
	struct rusage usage;
	int status = 0;
	bool oom;

	if (c->pid == 0 || wait4(c->pid, &status, WNOHANG | __WALL, &usage) != c->pid)
		return;
	s->cpu_ns +=
		(uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) *
			1000000000u +
		(uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
	(void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, c->pidfd, NULL); /* closed anyway */
	(void)close(c->pidfd);
	c->pid = 0;
	oom = c->has_leaf && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
	      praas_cgroup_leaf_ooms(&c->leaf) > c->ooms;
	tell_death(s, worker, status, 0, oom);
}

static void child_kill(struct praas_spawner *s, uint32_t worker)
{
	struct child *c = &s->child[worker];

	if (c->pid != 0) {
		(void)syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
	} else if (c->socket >= 0) {
		(void)close(c->socket); /* never started */
		c->socket = -1;
		tell_death(s, worker, 0, ECANCELED, false);
	}
}

static void on_requests(struct praas_spawner *s)
{
	struct praas_desc d;
	uint64_t count;

	(void)!read(s->request_fd, &count, sizeof(count)); /* the ring is what counts */
	while (praas_ring_pop(&s->requests->rx, &d) == 0) {
		uint32_t worker = (uint32_t)d.word[1];

		if (d.word[0] == ASK_KILL) {
			child_kill(s, worker);
			continue;
		}
		praas_check(s->child[worker].pid == 0);
		praas_check(s->child[worker].socket < 0);
		s->child[worker].socket = (int)(int64_t)d.word[3];
		s->child[worker].not_before_ns = d.word[2];
	}
	praas_ring_rx_publish(&s->requests->rx);
}

/* Start whose time has come; set the timer for the next. */
static void start_due(struct praas_spawner *s)
{
	uint64_t now = praas_now_ns(), next = UINT64_MAX;
	struct itimerspec at = { 0 };

	for (uint32_t w = 0; w < PRAAS_WORKERS_MAX; w++) {
		if (s->child[w].socket < 0)
			continue;
		if (s->child[w].not_before_ns <= now)
			child_start(s, w);
		else
			next = praas_min_u64(next, s->child[w].not_before_ns);
	}
	if (next != UINT64_MAX) {
		at.it_value.tv_sec = (time_t)(next / 1000000000u);
		at.it_value.tv_nsec = (long)(next % 1000000000u);
	}
	(void)timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME, &at,
			      NULL); /* valid arguments */
}

void praas_spawner_poll(struct praas_spawner *s)
{
	struct epoll_event ev[16];
	uint64_t count;

	for (unsigned turn = 0; turn < POLL_TURNS; turn++) {
		int n = epoll_wait(s->epoll_fd, ev, 16, 0);

		if (n <= 0)
			break;
		for (int i = 0; i < n; i++) {
			if (ev[i].data.u64 == KEY_REQUESTS)
				on_requests(s);
			else if (ev[i].data.u64 == KEY_TIMER)
				(void)!read(s->timer_fd, &count, sizeof(count));
			else
				child_reap(s, (uint32_t)ev[i].data.u64);
		}
		start_due(s);
	}
}

/* ---- life ---- */

static int find_program(const struct praas_spawner_config *config, char *ret_path)
{
	char self[PATH_MAX - 32];
	ssize_t n;

	if (config->program)
		return realpath(config->program, ret_path) ? 0 : -errno;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return -errno;
	self[n] = '\0';
	*(strrchr(self, '/') + 1) = '\0';
	(void)snprintf(ret_path, PATH_MAX, "%spraas-worker", self);
	return access(ret_path, X_OK) == 0 ? 0 : -errno;
}

static int open_fds(struct praas_spawner *s)
{
	struct epoll_event requests = { .events = EPOLLIN, .data.u64 = KEY_REQUESTS };
	struct epoll_event timer = { .events = EPOLLIN, .data.u64 = KEY_TIMER };

	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->request_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (s->epoll_fd < 0 || s->request_fd < 0 || s->timer_fd < 0 ||
	    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->request_fd, &requests) != 0 ||
	    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->timer_fd, &timer) != 0)
		return -errno;
	return 0;
}

static void set_defaults(struct praas_spawner_config *c)
{
	c->memory_bytes = c->memory_bytes ? c->memory_bytes : 256ull << 20;
	c->tmp_bytes = c->tmp_bytes ? c->tmp_bytes : 16ull << 20;
	c->pids_max = c->pids_max ? c->pids_max : 64;
	/* A range that nobody is given: two controllers never share one while both live. */
	if (c->uid_base == 0)
		c->uid_base = 0x70000000u + (uint32_t)getpid() * PRAAS_WORKERS_MAX;
}

int praas_spawner_new(const struct praas_spawner_config *config,
		      struct praas_spawner **ret_s)
{
	struct praas_spawner *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->epoll_fd = s->request_fd = s->timer_fd = s->event_fd = -1;
	for (uint32_t w = 0; w < PRAAS_WORKERS_MAX; w++)
		s->child[w].socket = -1;
	set_defaults(&s->config);
	rc = find_program(config, s->program);
	if (rc == 0)
		rc = config->code && realpath(config->code, s->code) ? 0 : -ENOENT;
	if (rc == 0) {
		praas_cgroup_find(config->cgroup_version, config->cgroup_path,
				  &s->groups);
		praas_cgroup_sweep(&s->groups);
		rc = open_fds(s);
	}
	s->requests = queue_new();
	s->deaths = queue_new();
	if (rc == 0 && (!s->requests || !s->deaths))
		rc = -ENOMEM;
	if (rc != 0) {
		praas_spawner_free(s);
		return rc;
	}
	*ret_s = s;
	return 0;
}

static void child_end(struct child *c)
{
	if (c->socket >= 0)
		(void)close(c->socket); /* never started */
	if (c->pid != 0) {
		(void)syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
		(void)waitpid(c->pid, NULL, __WALL); /* it cannot but die */
		(void)close(c->pidfd);
	}
	/* The kernel may need a moment to see that the group is empty. */
	for (int i = 0; c->has_leaf && i < 100; i++) {
		if (praas_cgroup_leaf_close(&c->leaf) == 0)
			break;
		(void)usleep(1000); /* only the wait matters */
	}
}

void praas_spawner_free(struct praas_spawner *s)
{
	if (!s)
		return;
	if (s->requests && s->request_fd >= 0)
		on_requests(s); /* what was asked last has descriptors of ours */
	for (uint32_t w = 0; w < PRAAS_WORKERS_MAX; w++)
		child_end(&s->child[w]);
	if (s->epoll_fd >= 0)
		(void)close(s->epoll_fd);
	if (s->request_fd >= 0)
		(void)close(s->request_fd);
	if (s->timer_fd >= 0)
		(void)close(s->timer_fd);
	free(s->requests);
	free(s->deaths);
	free(s);
}

void praas_spawner_event_fd_set(struct praas_spawner *s, int event_fd)
{
	s->event_fd = event_fd;
}

int praas_spawner_fd(const struct praas_spawner *s)
{
	return s->epoll_fd;
}

uint64_t praas_spawner_cpu_ns(const struct praas_spawner *s)
{
	uint64_t sum = s->cpu_ns;

	for (uint32_t w = 0; w < PRAAS_WORKERS_MAX; w++)
		if (s->child[w].pid != 0)
			sum += praas_spawn_cpu_ns(s->child[w].pid);
	return sum;
}

int32_t praas_spawner_pid(const struct praas_spawner *s, uint32_t worker)
{
	return worker < PRAAS_WORKERS_MAX ? s->child[worker].pid : 0;
}

const struct praas_worker_host_ops *praas_spawner_host(void)
{
	static const struct praas_worker_host_ops ops = {
		.spawn = host_spawn, .kill = host_kill, .next_death = host_next_death
	};

	return &ops;
}
