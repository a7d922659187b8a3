/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker executor: runs invocations in N sandboxed processes (praas-worker), one at a time
 * in each, over rings (dataplane/worker_proto.h). It believes nothing that a worker says: what
 * cannot be ends that worker and fails its call. Starting and reaping processes is not the data
 * thread's: a *host* does it (controller/spawn.c) and is asked through a small table.
 *
 * Life of a worker:  ABSENT ──spawn──▶ STARTING ──READY──▶ IDLE ◀──▶ BUSY
 *                       ▲                  │                 │        │
 *                       └────── death ◀────┴── kill ─────────┴────────┘
 * After 5 deaths in a minute that were its functions' fault the executor is *degraded*: it starts
 * workers again once a second only, and what finds none fails at once with the reason.
 */
#ifndef PRAAS_DATAPLANE_WORKER_EXECUTOR_H
#define PRAAS_DATAPLANE_WORKER_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/executor.h"
#include "dataplane/process.h"
#include "dataplane/worker_proto.h"
#include "shm/doorbell.h"
#include "shm/segment.h"
#include "transport/shm_direct.h"
#include "transport/transport.h"

/* How a worker ended. */
struct praas_worker_death {
	uint32_t worker;
	int32_t wait_status; /* as of waitpid(2); meaningless when start_errno != 0 */
	int32_t start_errno; /* it could not be started: why; else 0 */
	bool out_of_memory;  /* its memory limit killed it */
};

/* Who starts and reaps workers. Called by the data thread; nothing blocks. */
struct praas_worker_host_ops {
	/* Start worker number `worker`, not before not_before_ns (CLOCK_MONOTONIC). socket is its
	 * end of the control socket: given. A failure later comes as a death. 0; -EAGAIN. */
	int (*spawn)(void *host, uint32_t worker, uint64_t not_before_ns, int socket);
	/* End it now; its death still comes. */
	void (*kill)(void *host, uint32_t worker);
	/* The next death not told yet. 0; -EAGAIN none. The host writes the executor's event
	 * descriptor after each. */
	int (*next_death)(void *host, struct praas_worker_death *ret_death);
};

struct praas_worker_executor_config {
	praas_pid_t pid;
	uint32_t epoch;
	uint32_t workers;                       /* 1 … PRAAS_WORKERS_MAX */
	const struct praas_function *functions; /* borrowed until free */
	uint32_t functions_count;
	const struct praas_segment *pool_segment; /* borrowed until free */
	const struct praas_memory *memory; /* of that pool; borrowed until free */
	uint64_t arena_bytes;              /* buffers of each worker; 0: 8 MiB */
	uint64_t bytes_max; /* payload and result limit; 0: half an arena */
	uint64_t
		big_bytes_max; /* of all workers' buffers beside their arenas; 0: 8 * bytes_max */
	uint32_t ring_slots;            /* 0: 256 */
	enum praas_wait_mode wait_mode; /* of the workers */
	uint64_t deadline_grace_ns;     /* from deadline to kill; 0: 50 ms */
	uint64_t start_timeout_ns;      /* from spawn to READY; 0: 10 s */
	uint64_t detach_timeout_ns;     /* to let a direct client go; 0: 5 s */
	uint64_t ahead_short_ns; /* functions below it are sent ahead; 0: 20 us */
	uint32_t budget;         /* descriptors per worker and turn; 0: 64 */
	const struct praas_worker_host_ops *host;
	void *host_user;
};

/* A process that was built before it was known which: who it is, before the first call. */
void praas_worker_executor_identify(struct praas_executor *base, praas_pid_t pid,
				    uint32_t epoch);

/* The first poll (it has a process then) begins to start the workers; praas_worker_executor_ready()
 * says when they are. 0; -EINVAL; -ENOMEM; -EMFILE. */
int praas_worker_executor_new(const struct praas_worker_executor_config *config,
			      struct praas_executor **ret_ex);

/* 1: every worker is ready. 0: not yet. Negative: one could not start, ret_text says why. Call
 * with polls in between. text may be NULL; else PRAAS_ERROR_TEXT_MAX bytes. */
int praas_worker_executor_ready(const struct praas_executor *base, char *ret_text);

/* The eventfd that wakes the data thread for this executor: the host writes it. Borrowed. */
int praas_worker_executor_event_fd(const struct praas_executor *base);

/* Active sandbox layers of the workers, words parted by blanks; "" before the first is ready. */
const char *praas_worker_executor_layers(const struct praas_executor *base);

/* A segment that workers shall see (read-only) from now on: big payloads. fd is borrowed for
 * the call (all workers, also later ones, get a copy). 0; -ENOBUFS too many. */
int praas_worker_executor_segment_add(struct praas_executor *base, uint32_t id,
				      uint64_t bytes, int fd);
void praas_worker_executor_segment_remove(struct praas_executor *base, uint32_t id);

/**
 * Give a worker a direct client (struct praas_shm_grant). fds are borrowed for the call. A worker
 * that dies loses its clients: detached() is called.
 * 0; -EAGAIN not ready now; -EBUSY client has one there already.
 */
int praas_worker_executor_attach(struct praas_executor *base, uint32_t worker,
				 const struct praas_direct_attach *attach,
				 const int fds[PRAAS_DIRECT_FDS]);
/* Take it back. detached() is called when the worker has confirmed, or died. gone: nobody waits for
 * that client's call any more: it is given up, and the worker is ended when that does not help.
 * 0; -ENOENT. */
int praas_worker_executor_detach(struct praas_executor *base, uint32_t worker,
				 uint32_t client, bool gone);

/* What the owner of the direct clients does. */
struct praas_worker_direct_ops {
	/* That client's memory is out of use by that worker. status: 0, or what a call that the worker
	 * took and did not answer comes to, because it died. */
	void (*detached)(void *user, uint32_t worker, uint32_t client, int32_t status);
	/* Show the client a segment with one result; praas_worker_executor_unshare() when it is done
	 * with it. 0; negative errno. */
	int (*share)(void *user, uint32_t client, const struct praas_segment *segment);
};
void praas_worker_executor_direct_set(struct praas_executor *base,
				      const struct praas_worker_direct_ops *ops,
				      void *user);
void praas_worker_executor_unshare(struct praas_executor *base, uint32_t segment);

struct praas_worker_executor_stats {
	uint64_t started, deaths, crashes, ooms, hangs, violations; /* workers */
	/* As the workers tell. */
	uint64_t calls, direct_calls, direct_failures, nested_calls, busy_ns;
	uint64_t direct_in, direct_out; /* bytes of payloads */
	uint64_t copies;                /* payloads that we copied for a worker */
	/* Calls that were sent to a worker that was busy; and taken back from one. */
	uint64_t sent_ahead, taken_back;
	uint32_t workers, ready, busy, direct_busy, retired_arenas;
	bool degraded;
};
void praas_worker_executor_stats(const struct praas_executor *base,
				 struct praas_worker_executor_stats *ret_stats);
/* What they did without the controller is added to praas_process_sums(). */
void praas_worker_executor_count(struct praas_executor *base);
/* Of the workers that live, by their own word: a few loads. It may become less when one ends. */
uint64_t praas_worker_executor_direct_calls(const struct praas_executor *base);

#endif
