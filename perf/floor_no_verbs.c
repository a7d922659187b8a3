/* SPDX-License-Identifier: Apache-2.0
 * A build without libibverbs: its floors say so.
 */
#include <errno.h>
#include <stddef.h>

#include "perf/verbs.h"

void praas_floor_verbs_begin(void)
{
}

void praas_floor_verbs_end(void)
{
}

const char *praas_floor_verbs_device(void)
{
	return NULL;
}

static int no_verbs(struct praas_contender *c)
{
	(void)c;
	return -EPROTONOSUPPORT;
}

void praas_floor_verbs(struct praas_contender *c, const char *bench,
		       const char *variant, uint64_t size, uint64_t n)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = variant,
				       .role = PRAAS_ROLE_FLOOR,
				       .size = size,
				       .n = n,
				       .setup = no_verbs };
}

void praas_floor_verbs_stream(struct praas_contender *c, const char *bench,
			      const char *variant, uint64_t size, unsigned inflight,
			      uint64_t n)
{
	(void)inflight;
	praas_floor_verbs(c, bench, variant, size, n);
}
