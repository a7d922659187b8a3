/* SPDX-License-Identifier: Apache-2.0
 *
 * XDP programs that drop packets by chance, before anybody sees them: for kernels without netem.
 * Compiled by tests/dpdk/run; the section names how many of a thousand.
 */
#define SECTION(name) __attribute__((section(name), used))
#define XDP_DROP 1
#define XDP_PASS 2

static unsigned (*const prandom)(void) = (void *)7; /* bpf_get_prandom_u32() */

SECTION("loss1") int drop1(void *ctx)
{
	(void)ctx;
	return prandom() % 1000 < 1 ? XDP_DROP : XDP_PASS;
}

SECTION("loss10") int drop10(void *ctx)
{
	(void)ctx;
	return prandom() % 1000 < 10 ? XDP_DROP : XDP_PASS;
}

SECTION("loss50") int drop50(void *ctx)
{
	(void)ctx;
	return prandom() % 1000 < 50 ? XDP_DROP : XDP_PASS;
}

SECTION("license") char terms[] = "Apache-2.0";
