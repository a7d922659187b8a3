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

void praas_floor_fabric(struct praas_contender *c, const char *bench, uint64_t size);
/* invoke over ofi, at the sizes of target P14. */
void praas_bench_invoke_fabric(void);

#endif
