/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls over RDMA verbs next to bare queue pairs of the same device and to TCP on the same machine.
 */
#ifndef PRAAS_PERF_VERBS_H
#define PRAAS_PERF_VERBS_H

#include "perf/bench.h"

/* The address of an RDMA device: PRAAS_PERF_VERBS in the environment; NULL: none is to be used. */
const char *praas_perf_verbs_host(void);

/* Starts the floors' other side: before this program opens a device. */
void praas_floor_verbs_begin(void);
void praas_floor_verbs_end(void);
/* The name of the device, once begun; NULL: there is none. */
const char *praas_floor_verbs_device(void);
/* variant: "verbs-send", "verbs-write-imm", "verbs-write". */
void praas_floor_verbs(struct praas_contender *c, const char *bench,
		       const char *variant, uint64_t size, uint64_t n);

/* SENDs that are echoed, inflight (at most 64) under way; variant is its name. */
void praas_floor_verbs_stream(struct praas_contender *c, const char *bench,
			      const char *variant, uint64_t size, unsigned inflight,
			      uint64_t n);

void praas_bench_verbs(void);

#endif
