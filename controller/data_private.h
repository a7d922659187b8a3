/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the data thread share. Only they include this.
 */
#ifndef PRAAS_CONTROLLER_DATA_PRIVATE_H
#define PRAAS_CONTROLLER_DATA_PRIVATE_H

#include <pthread.h>

#include "controller/data.h"
#include "controller/pool_memory.h"
#include "transport/session.h"

#define PRAAS_DATA_TEXT_MAX 512u

struct praas_data {
	struct praas_data_config config;
	pthread_t thread;
	struct praas_pool_memory *memory;
	struct praas_executor *executor; /* also owned by process once that exists */
	struct praas_process *process;
	struct praas_session_server *sessions;
	char (*names)[PRAAS_NAME_MAX + 1];
	struct praas_port *ports[PRAAS_CONFIG_LISTEN_MAX];
	unsigned ports_count;
	char endpoints[PRAAS_CONFIG_LISTEN_MAX][PRAAS_ADDR_MAX];
	char layers[256];
	struct praas_waiter waiter;
	bool loaded;        /* a snapshot has been loaded into process */
	bool built;         /* BUILT has been reported */
	bool serve_wanted;  /* SERVE came before the workers were ready */
	bool quiet_wanted;
	bool stop;
	uint64_t tick_ns; /* last time that sessions were looked after */
	char text[PRAAS_DATA_TEXT_MAX]; /* why building failed */
};

/* Memory, executor, process; and back. text says why not. */
int praas_data_build(struct praas_data *d);
void praas_data_unbuild(struct praas_data *d);
/* 1: all workers are ready; 0 not yet; or why not, with text. */
int praas_data_ready(struct praas_data *d);
int praas_data_open_ports(struct praas_data *d);

#endif
