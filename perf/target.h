/* SPDX-License-Identifier: Apache-2.0
 *
 * The system under test: a control service of our own in a temporary folder, with one
 * application per isolation, and the stop of it all.
 */
#ifndef PRAAS_PERF_TARGET_H
#define PRAAS_PERF_TARGET_H

#include <praas/client.h>

#include "perf/bench.h"

struct praas_target {
	struct praas_control *control;
	int pid;       /* of praas-control */
	char dir[128]; /* its data */
	char url[128];
	char token[128];
};

/* Services that differ. */
enum praas_target_kind {
	PRAAS_TARGET_PLAIN,
	PRAAS_TARGET_PREWARMED, /* keeps controllers ready */
	PRAAS_TARGET_CROWDED,   /* has many processes; else as PLAIN */
	PRAAS_TARGET_TLS,       /* its data planes speak TLS */
	PRAAS_TARGET_VERBS,     /* … listen at an RDMA device too; little memory */
	PRAAS_TARGET_OFI,       /* … on a fabric too */
	PRAAS_TARGET_S3,        /* its snapshots are in praas_options.s3 */
	PRAAS_TARGET_NODES,     /* two nodes on this machine, which share no memory */
	PRAAS_TARGETS
};

#define PRAAS_TARGET_NODE "here" /* of NODES */
#define PRAAS_TARGET_NODE_FAR "there"

/* Starts praas-control and makes the applications "inline" and "worker" from the
 * benchmark functions, of PLAIN also "gate" (inline, with that durability). 0 or negative errno (said on stderr). Started once, stopped at
 * exit. */
int praas_target_start(enum praas_target_kind kind, struct praas_target **ret_target);

/* Ends them all, and removes what they stored; from a handler of a signal, after which the program ends. */
void praas_target_abandon(void);

/* A new process of that application, named; memory limit and workers as given. */
int praas_target_process(struct praas_target *t, const char *app, const char *name);

/* Operating system's pid of the controller of a process; -1 unknown. */
int praas_target_os_pid(struct praas_target *t, const char *app, const char *name);

/* Connection to a process over that transport; the server side is moved to the server's
 * core. */
int praas_target_connect(struct praas_target *t, const char *app, const char *name,
			 const char *transport, bool direct,
			 praas_connection **ret_conn);

#endif
