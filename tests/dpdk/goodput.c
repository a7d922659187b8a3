/* SPDX-License-Identifier: Apache-2.0
 *
 * usage: goodput MIB [LABEL]
 *
 * So many MiB from one DPDK device to another in frames of 64 KiB, with small ones between: all arrive
 * once, in order, unchanged. Prints how fast, and what was sent again.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal/base.h"
#include "tests/conformance/transport/rig.h"
#include "transport/dgram.h"

static const struct scheme dpdk4 = { .name = "dpdk4",
				     .listen = "dpdk://10.77.0.1:0",
				     .nowhere = "dpdk://10.77.0.1:1" };
static struct rig rig;

static void check_last(void)
{
	if (rig.server.kept && !rig_pattern_is(rig.server.kept)) {
		(void)printf("FAILED: a frame has changed on its way\n");
		exit(1);
	}
	side_drop_kept(&rig.server);
}

int main(int argc, char **argv)
{
	unsigned mib = argc > 1 ? (unsigned)atoi(argv[1]) : 16, frames = mib * 32;
	struct praas_arq_stats s;
	uint64_t begin_ns, ns;

	rig_start(&rig, &dpdk4, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.keep = true;
	begin_ns = praas_now_ns();
	for (unsigned id = 1; id <= frames; id++) {
		rig_invoke_wait(&rig, rig.client.conn, id, id % 2 ? 65536 : 100);
		check_last();
	}
	rig_until(&rig, &rig.server.frames, frames);
	rig_until(&rig, &rig.client.sent, frames);
	ns = praas_now_ns() - begin_ns;
	s = *praas_dgram_conn_stats(rig.client.conn);
	if (rig.server.frames != frames || rig.server.order_errors != 0 ||
	    rig.client.sent_bad != 0 || rig.client.closed + rig.server.closed != 0) {
		(void)printf(
			"FAILED: %u frames of %u, %llu out of order, %u not sent\n",
			rig.server.frames, frames,
			(unsigned long long)rig.server.order_errors,
			rig.client.sent_bad);
		return 1;
	}
	(void)printf(
		"%s: %.1f MiB/s, every frame once and in order; of %llu segments %llu "
		"were sent again, %llu probes\n",
		argc > 2 ? argv[2] : "goodput",
		(double)rig.server.bytes / (1 << 20) / ((double)ns / 1e9),
		(unsigned long long)s.segments_out,
		(unsigned long long)s.segments_again, (unsigned long long)s.probes);
	rig_stop(&rig);
	return 0;
}
