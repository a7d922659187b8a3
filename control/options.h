/* SPDX-License-Identifier: Apache-2.0
 *
 * What praas-control was told to do.
 */
#ifndef PRAAS_CONTROL_OPTIONS_H
#define PRAAS_CONTROL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/node/nodes.h"

#define PRAAS_DATA_LISTEN_MAX 6u     /* addresses in data_listen */
#define PRAAS_DATA_LISTEN_BYTES 128u /* each is shorter */

struct praas_options {
	const char *data, *listen, *token_file, *controller, *worker, *records,
		*data_host, *data_tls, *data_listen;
	const char *snapshots; /* address; NULL: a folder in data */
	const char *run, *tls_cert, *tls_key, *backup, *log, *log_file, *placement;
	struct praas_nodes *nodes; /* the caller's; what --node says is added */
	uint64_t ready_fd, stop_s, prewarm, head_s, rejoin_s, idle_s, idle_swap_s,
		idle_calls, pressure, drain_s, drain_moves, balance_s, balance_percent,
		balance_stay_s;
	const char *store_key,
		*store_clear;    /* file:PATH or cmd:COMMAND; allow or refuse */
	const char *check_store; /* look at it, and end; NULL */
	uint64_t collect_s;      /* the grace; 0: nothing is collected */
	uint64_t usage_s, usage_days;
	uint64_t lease_s; /* of the records, among several services */
	bool replica;     /* one of several */
	bool insecure, no_cgroup, foreground, json, help;
};

/* What holds where nothing is said; of other modules, as collect_s, stays. */
void praas_options_defaults(struct praas_options *o);
/* Fills in what is said; the rest stays. 0; -EINVAL, told on stderr; -ECANCELED it was --help. */
int praas_options_parse(int argc, char **argv, struct praas_options *o);

#endif
