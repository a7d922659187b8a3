/* SPDX-License-Identifier: Apache-2.0
 * PRAAS_DPDK: what is understood, and at which word it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "transport/dpdk_config.h"

static struct praas_dpdk_config config;
static const char *what;

static void test_dpdk_config_all(void **state)
{
	(void)state;
	assert_int_equal(
		praas_dpdk_config_parse(" dev=net_af_packet0,iface=v0 ip=10.0.0.1/24 "
					"gateway=10.0.0.254 "
					"mtu=9000 secure=off; dev=0000:01:00.0  "
					"ip=fd00::1/64 secure=on ports=16;"
					"eal=--in-memory -m 256 ;",
					&config, &what),
		0);
	assert_int_equal(config.devices, 2);
	assert_string_equal(config.device[0].dev, "net_af_packet0,iface=v0");
	assert_int_equal(config.device[0].ip.byte[3], 1);
	assert_int_equal(config.device[0].prefix, 24);
	assert_int_equal(config.device[0].gateway.byte[3], 254);
	assert_int_equal(config.device[0].mtu, 9000);
	assert_true(config.device[0].clear);
	assert_int_equal(config.device[0].ports, 1);
	assert_int_equal(config.device[1].ports, 16);
	assert_string_equal(config.device[1].dev, "0000:01:00.0");
	assert_true(config.device[1].ip.v6);
	assert_false(config.device[1].clear);
	assert_int_equal(config.args, 3);
	assert_string_equal(config.arg[0], "--in-memory");
	assert_string_equal(config.arg[2], "256");
}

static void test_dpdk_config_mistakes(void **state)
{
	static const struct {
		const char *text, *word;
	} bad[] = {
		{ "", NULL },
		{ "eal=-m 1", NULL },
		{ "dev=a", NULL },
		{ "ip=10.0.0.1", NULL },
		{ "dev= ip=10.0.0.1", "dev=" },
		{ "dev=a ip=10.0.0", "ip=10.0.0" },
		{ "dev=a ip=10.0.0.1/33", "ip=10.0.0.1/33" },
		{ "dev=a ip=10.0.0.1 mtu=100", "mtu=100" },
		{ "dev=a ip=10.0.0.1 mtu=9k", "mtu=9k" },
		{ "dev=a ip=10.0.0.1 mtu=1000000000", "mtu=1000000000" },
		{ "dev=a ip=10.0.0.1 ports=0", "ports=0" },
		{ "dev=a ip=10.0.0.1 ports=17", "ports=17" },
		{ "dev=a ip=10.0.0.1 ports=", "ports=" },
		{ "dev=a ip=10.0.0.1 secure=perhaps", "secure=perhaps" },
		{ "dev=a ip=10.0.0.1 speed=9", "speed=9" },
		{ "dev=a ip=10.0.0.1 gateway=fd00::1", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(praas_dpdk_config_parse(bad[i].text, &config, &what),
				 -EINVAL);
		if (bad[i].word)
			assert_string_equal(what, bad[i].word);
	}
}

static void test_dpdk_config_limits(void **state)
{
	static char text[2 * PRAAS_DPDK_TEXT_MAX];

	(void)state;
	for (unsigned i = 0; i < PRAAS_DPDK_DEVICES_MAX + 1; i++)
		(void)strcat(text, "dev=a ip=10.0.0.1;");
	assert_int_equal(praas_dpdk_config_parse(text, &config, &what), -E2BIG);
	(void)strcpy(text, "dev=a ip=10.0.0.1;eal=");
	for (unsigned i = 0; i < PRAAS_DPDK_ARGS_MAX + 1; i++)
		(void)strcat(text, " -x");
	assert_int_equal(praas_dpdk_config_parse(text, &config, &what), -E2BIG);
	memset(text, ' ', PRAAS_DPDK_TEXT_MAX);
	text[PRAAS_DPDK_TEXT_MAX] = '\0';
	assert_int_equal(praas_dpdk_config_parse(text, &config, &what), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dpdk_config_all),
		cmocka_unit_test(test_dpdk_config_mistakes),
		cmocka_unit_test(test_dpdk_config_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
