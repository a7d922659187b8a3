/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/idle.h"

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
	return policy->after_ns != 0 && quiet >= policy->after_ns ? PRAAS_IDLE_IDLE
								  : PRAAS_IDLE_BUSY;
}
