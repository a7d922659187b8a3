/* SPDX-License-Identifier: Apache-2.0
 *
 * The data thread: ports, sessions, process, executor; one polling loop that never blocks but in
 * the waiting policy. It is told what to do, and tells what became of it, through the exchange.
 */
#ifndef PRAAS_CONTROLLER_DATA_H
#define PRAAS_CONTROLLER_DATA_H

#include "controller/config.h"
#include "controller/cut.h"
#include "controller/exchange.h"
#include "controller/manifest.h"
#include "transport/moved.h"

struct praas_data;

struct praas_data_config {
	const struct praas_config *config;     /* kept until free */
	const struct praas_manifest *manifest; /* kept until free */
	struct praas_exchange *exchange;       /* kept until free */
	struct praas_spawner *spawner;         /* kept until free; NULL: inline */
};

/* A snapshot to load; lent to the data thread from ORDER_LOAD to REPORT_LOADED; the store until the
 * thread ends, since large state is read when it is wanted. */
struct praas_data_load {
	struct praas_redo *
		redo; /* where changes are written from then on; NULL: nowhere. Lent to the end */
	struct praas_store *store;
	const struct praas_snapshot *snapshot;
	bool whole; /* now; the store need not stay */
	/* Of state beyond memory: it is read from there until the thread ends. */
	struct praas_store *fetch_store;
	const struct praas_snapshot *
		base; /* whole: what lies in that one need not be read now; may be NULL */
};

/* Where the process lives now. */
struct praas_data_moved {
	uint32_t epoch;
	struct praas_moved where;
};

/* Starts the thread, which begins to build; REPORT_BUILT follows. 0; -ENOMEM; -EAGAIN. */
int praas_data_start(const struct praas_data_config *config,
		     struct praas_data **ret_data);
/* After ORDER_STOP: waits for the thread and frees all. */
void praas_data_free(struct praas_data *data);

/* After REPORT_SERVING: address number i, or NULL when there are no more. */
const char *praas_data_endpoint(const struct praas_data *data, unsigned i);
/* After REPORT_SERVING: why it does not listen at address number i of its configuration, or NULL: it does. */
const char *praas_data_left_out(const struct praas_data *data, unsigned i);
/* After REPORT_BUILT: active layers of the workers' sandbox, parted by blanks. */
const char *praas_data_layers(const struct praas_data *data);

#endif
