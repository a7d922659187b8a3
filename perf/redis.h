/* SPDX-License-Identifier: Apache-2.0
 *
 * Redis as a peer: a server of our own on a UNIX socket, nothing saved, on the client's
 * core (where its blocking hand-over costs least here: docs/performance.md), and
 * contenders that use it.
 */
#ifndef PRAAS_PERF_REDIS_H
#define PRAAS_PERF_REDIS_H

#include "perf/bench.h"

/* Ends the servers, if there are any; also from a handler of a signal. */
void praas_redis_stop(void);

/* Another one, that has each write in an existing folder, synced, before it answers (`appendfsync always`). */
int praas_redis_start_saving(const char *dir, const char **ret_socket);

void praas_redis_get(struct praas_contender *c, const char *bench, uint64_t size);
void praas_redis_set(struct praas_contender *c, const char *bench, uint64_t size);
/* GET, add a vector of int64_t, SET. */
void praas_redis_getset(struct praas_contender *c, const char *bench, uint64_t size);
/* The same addition by a script in the server. */
void praas_redis_script(struct praas_contender *c, const char *bench, uint64_t size);
/* A message to another OS process and one back, halved: by BLPOP, or by polling GET. */
void praas_redis_message(struct praas_contender *c, const char *bench, uint64_t size,
			 bool blocking);

/* SET, synced before it is answered, and GET there. */
void praas_redis_durable(struct praas_contender *c, const char *bench, uint64_t size,
			 bool write);

#endif
