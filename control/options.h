/* SPDX-License-Identifier: Apache-2.0
 *
 * What praas-control was told to do.
 */
#ifndef PRAAS_CONTROL_OPTIONS_H
#define PRAAS_CONTROL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct praas_options {
	const char *data, *listen, *token_file, *controller, *worker, *store,
		*data_host, *data_tls;
	const char *run, *tls_cert, *tls_key, *backup, *log;
	uint64_t ready_fd, stop_s, prewarm, head_s, rejoin_s, idle_s, idle_swap_s;
	bool insecure, no_cgroup, foreground, help;
};

/* Fills in what is said; the rest stays. 0; -EINVAL, told on stderr; -ECANCELED it was --help. */
int praas_options_parse(int argc, char **argv, struct praas_options *o);

#endif
