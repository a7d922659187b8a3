/* SPDX-License-Identifier: Apache-2.0
 *
 * A back end starts controllers somewhere and tells of their end. `local`: processes of this
 * machine. What every back end must do is in tests/unit/test_backend.c.
 */
#ifndef PRAAS_CONTROL_BACKEND_H
#define PRAAS_CONTROL_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

/* What a start found ready. */
enum praas_backend_start {
	PRAAS_START_COLD,   /* nothing: a program was started */
	PRAAS_START_LOADED, /* a program that had been loaded */
	PRAAS_START_PREPARED, /* one with memory, threads and workers for that application */
	PRAAS_STARTS
};
const char *praas_backend_start_text(enum praas_backend_start start);

struct praas_backend_stats {
	uint64_t starts[PRAAS_STARTS];
	uint32_t ready; /* controllers that wait for a process */
};

struct praas_backend;

/* One started controller; the caller's memory, zeroed when there is none. */
struct praas_instance {
	struct praas_backend *backend; /* that has it */
	uint64_t number;               /* of the process it serves */
	uint32_t epoch;
	uint64_t os_start; /* start time of os_pid, ticks since boot */
	int32_t os_pid;
	int pidfd;                      /* readable when it has ended; -1 none */
	enum praas_backend_start start; /* how it was had */
	bool child; /* ours to wait for; else adopted after a restart of ours */
};

/* Why an instance ended. */
struct praas_exit {
	bool known; /* else it was adopted and its status went elsewhere */
	int code;   /* when signal is 0 */
	int signal; /* that ended it */
	enum praas_backend_start start; /* how it was had */
};

struct praas_backend_ops {
	const char *name;
	/* Starts a controller with config (borrowed; the back end adds `cgroup`). May block for
	 * the time of a spawn. 0; -EAGAIN no room for processes; -ENOENT no such program;
	 * -ENOMEM; -EIO. */
	int (*start)(struct praas_backend *b, json_t *config, uint64_t number,
		     uint32_t epoch, struct praas_instance *ret_instance);
	/* Finds one that was started before a restart of ours. -ESRCH it is gone; else an errno of ours, which
	 * says nothing of it. */
	int (*adopt)(struct praas_backend *b, int32_t os_pid, uint64_t os_start,
		     uint64_t number, uint32_t epoch,
		     struct praas_instance *ret_instance);
	/* At once, with all that it started. */
	void (*kill)(struct praas_backend *b, const struct praas_instance *instance);
	/* After pidfd became readable: says why, and frees what belonged to it. */
	void (*reap)(struct praas_backend *b, struct praas_instance *instance,
		     struct praas_exit *ret_exit);
	/* Gets ready for the next start, if it can; may block as start does. */
	void (*prepare)(struct praas_backend *b);
	/* Removes what could not be removed when its instance ended. True: something is left, to be
	 * tried again later. */
	bool (*tidy)(struct praas_backend *b);
	void (*stats)(struct praas_backend *b, struct praas_backend_stats *ret_stats);
	void (*free)(struct praas_backend *b); /* no instance is left */
};

struct praas_backend {
	const struct praas_backend_ops *ops;
};

struct praas_backend_local_config {
	const char *controller; /* program; absolute */
	const char *log_dir; /* standard output and error of controllers: NUMBER.log */
	const char *group;   /* name of our cgroup folder; NULL: none are made */
	const char *
		netns; /* file of the network namespace of its controllers; NULL: ours */
	uint32_t prewarm; /* controllers kept ready, at most PRAAS_READY_MAX */
};
int praas_backend_local_new(const struct praas_backend_local_config *config,
			    struct praas_backend **ret_backend);

/* Start time of a process in ticks since boot; 0 it is gone. */
uint64_t praas_os_start(int32_t os_pid);

#endif
