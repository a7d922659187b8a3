/* SPDX-License-Identifier: Apache-2.0
 *
 * What praas-control was told to do.
 */
#ifndef PRAAS_CONTROL_OPTIONS_H
#define PRAAS_CONTROL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_DATA_LISTEN_MAX 6u     /* addresses in data_listen */
#define PRAAS_DATA_LISTEN_BYTES 128u /* each is shorter */

struct praas_options {
	const char *data, *listen, *token_file, *controller, *worker, *records,
		*data_host, *data_tls, *data_listen;
	const char *snapshots; /* address; NULL: a folder in data */
	const char *run, *tls_cert, *tls_key, *backup, *log;
	uint64_t ready_fd, stop_s, prewarm, head_s, rejoin_s, idle_s, idle_swap_s;
	uint64_t usage_s, usage_days;
	bool insecure, no_cgroup, foreground, help;
};

/* Fills in what is said; the rest stays. 0; -EINVAL, told on stderr; -ECANCELED it was --help. */
int praas_options_parse(int argc, char **argv, struct praas_options *o);

#endif
