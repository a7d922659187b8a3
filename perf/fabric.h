/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls over libfabric, against bare messages of the same provider.
 */
#ifndef PRAAS_PERF_FABRIC_H
#define PRAAS_PERF_FABRIC_H

#include <stdlib.h>

#include "perf/bench.h"

/* The provider under test: PRAAS_PERF_FABRIC, else tcp. */
static inline const char *praas_perf_fabric(void)
{
	const char *provider = getenv("PRAAS_PERF_FABRIC");

	return provider ? provider : "tcp";
}

/* Where its endpoints are: PRAAS_PERF_FABRIC_HOST, else this host's loopback. */
static inline const char *praas_perf_fabric_host(void)
{
	const char *host = getenv("PRAAS_PERF_FABRIC_HOST");

	return host ? host : "127.0.0.1";
}

/* Starts the floor's other side; by itself with the first floor, but before this program opens an RDMA
 * device where it is to do so. */
void praas_floor_fabric_begin(void);
void praas_floor_fabric_end(void);
/* Messages of size, at most 1 MiB. */
void praas_floor_fabric(struct praas_contender *c, const char *bench, uint64_t size,
			uint64_t n);
/* invoke over ofi, at the sizes of target P14. */
void praas_bench_invoke_fabric(void);

#endif
