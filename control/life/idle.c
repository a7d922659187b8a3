/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/idle.h"

#include <stdlib.h>

#include "internal/base.h"

enum praas_idle praas_idle_decide(const struct praas_idle_policy *policy,
				  const struct praas_idle_input *in,
				  uint64_t *ret_quiet_ns)
{
	uint64_t last = in->since_ns, quiet;

	*ret_quiet_ns = 0;
	if (!in->serving || in->running > 0 || in->queued > 0 || in->calls > 0 ||
	    in->waiting > 0)
		return PRAAS_IDLE_BUSY;
	if (in->told_ns != 0)
		last = praas_max_u64(
			last, in->told_ns - praas_min_u64(in->idle_ns, in->told_ns));
	quiet = in->now_ns > last ? in->now_ns - last : 0;
	*ret_quiet_ns = quiet;
	if (policy->swap_ns != 0 && quiet >= policy->swap_ns)
		return PRAAS_IDLE_SWAP;
	if (policy->swap_ns != 0 && policy->calls_max != 0 &&
	    in->window_ns >= policy->swap_ns && in->window_calls <= policy->calls_max)
		return PRAAS_IDLE_SLOW;
	return policy->after_ns != 0 && quiet >= policy->after_ns ? PRAAS_IDLE_IDLE
								  : PRAAS_IDLE_BUSY;
}

/* Who goes first is less. */
static int order(const void *a, const void *b)
{
	const struct praas_idle_candidate *x = a, *y = b;

	if (x->quiet_ns != y->quiet_ns)
		return x->quiet_ns > y->quiet_ns ? -1 : 1;
	if (x->memory_bytes != y->memory_bytes)
		return x->memory_bytes > y->memory_bytes ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

uint32_t praas_idle_relieve(const struct praas_idle_policy *policy,
			    uint64_t memory_bytes, uint64_t used_bytes,
			    struct praas_idle_candidate *candidates, uint32_t count)
{
	uint64_t allowed = memory_bytes / 100 * policy->pressure +
			   memory_bytes % 100 * policy->pressure / 100;
	uint32_t n = 0;

	if (memory_bytes == 0 || policy->pressure == 0 || policy->after_ns == 0 ||
	    used_bytes <= allowed || count == 0)
		return 0;
	qsort(candidates, count, sizeof(*candidates), order);
	while (n < count && used_bytes > allowed) {
		used_bytes -= praas_min_u64(candidates[n].memory_bytes, used_bytes);
		n++;
	}
	return n;
}
