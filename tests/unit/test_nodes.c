/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/life/endpoints.h"
#include "control/life/place_node.h"
#include "control/node/nodes.h"
#include "control/records/records.h"

#define G (1ull << 30)

/* ---- what --node says --------------------------------------------------------------- */

static const struct {
	const char *text, *netns, *listen;
	uint64_t memory_bytes;
	uint32_t vcpu_milli;
} good[] = {
	{ "n", "", "", 0, 0 },
	{ "n,listen=10.0.0.1", "", "10.0.0.1", 0, 0 },
	{ "n,listen=fd00::1", "", "fd00::1", 0, 0 },
	{ "n,netns=x,listen=10.0.0.1", "/run/netns/x", "10.0.0.1", 0, 0 },
	{ "n,listen=10.0.0.1,netns=/proc/1/ns/net", "/proc/1/ns/net", "10.0.0.1", 0,
	  0 },
	{ "n,memory=4096", "", "", 4096, 0 },
	{ "n,memory=3K", "", "", 3072, 0 },
	{ "n,memory=2G,vcpus=2.5", "", "", 2 * G, 2500 },
	{ "n,memory=1024T", "", "", 1ull << 50, 0 },
	{ "n,vcpus=16384", "", "", 0, 16384000 },
	{ "n,vcpus=0.001", "", "", 0, 1 },
	{ "n,vcpus=1.25", "", "", 0, 1250 },
};

/* Each member in each form means what the help says. */
static void test_node_parse_good(void **state)
{
	struct praas_node n;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (praas_node_parse(good[i].text, &n, &why))
			fail_msg("%s: %s", good[i].text, why);
		assert_string_equal(n.name, "n");
		assert_string_equal(n.netns, good[i].netns);
		assert_string_equal(n.listen, good[i].listen);
		assert_int_equal(n.memory_bytes, good[i].memory_bytes);
		assert_int_equal(n.vcpu_milli, good[i].vcpu_milli);
	}
}

/* text, and a word of why not. */
static const char *const bad[][2] = {
	{ "", "name" },
	{ "..", "name" },
	{ ",memory=1G", "name" },
	{ "a/b", "name" },
	{ "n,", "behind the name" },
	{ "n,memory", "behind the name" },
	{ "n,Memory=1G", "behind the name" },
	{ "n,cpus=1", "behind the name" },
	{ "n,memory=1G,memory=1G", "twice" },
	{ "n,memory=", "memory" },
	{ "n,memory=G", "memory" },
	{ "n,memory=0", "without memory" },
	{ "n,memory=-1", "memory" },
	{ "n,memory=1.5G", "memory" },
	{ "n,memory=1GB", "memory" },
	{ "n,memory=1025T", "memory" },
	{ "n,memory=18446744073709551616", "memory" },
	{ "n,memory=99999999999999999999999999", "memory" },
	{ "n,vcpus=", "vcpus" },
	{ "n,vcpus=.5", "vcpus" },
	{ "n,vcpus=1.", "vcpus" },
	{ "n,vcpus=1.0001", "vcpus" },
	{ "n,vcpus=16384.001", "vcpus" },
	{ "n,vcpus=1e3", "vcpus" },
	{ "n,vcpus=0", "without processors" },
	{ "n,vcpus=0.000", "without processors" },
	{ "n,listen=", "listen" },
	{ "n,listen=localhost", "listen" },
	{ "n,listen=10.0.0.1:80", "listen" },
	{ "n,listen=[fd00::1]", "listen" },
	{ "n,netns=", "netns" },
	{ "n,netns=a/b,listen=10.0.0.1", "netns" },
	{ "n,netns=x", "listen address" },
};

/* Nothing else is taken, and why is told. */
static void test_node_parse_bad(void **state)
{
	struct praas_node n = { .name = "before" };
	char text[PRAAS_NODE_TEXT_BYTES + 64];
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (praas_node_parse(bad[i][0], &n, &why) != -EINVAL)
			fail_msg("%s is taken", bad[i][0]);
		if (!strstr(why, bad[i][1]))
			fail_msg("%s: %s", bad[i][0], why);
	}
	(void)snprintf(text, sizeof(text), "n,netns=/%0500d,listen=10.0.0.1", 1);
	assert_int_equal(praas_node_parse(text, &n, &why), -EINVAL);
	assert_string_equal(why, "it is too long");
	(void)snprintf(text, sizeof(text), "n,netns=/%0300d,listen=10.0.0.1", 1);
	assert_int_equal(praas_node_parse(text, &n, &why), -EINVAL);
	assert_string_equal(why, "netns is too long");
	assert_string_equal(n.name, "before");
}

/* 32 nodes, each name once. */
static void test_nodes_add_limits(void **state)
{
	static struct praas_nodes nodes;
	const char *why;
	char text[16];

	(void)state;
	for (unsigned i = 0; i < PRAAS_NODES_MAX; i++) {
		(void)snprintf(text, sizeof(text), "n%u", i);
		assert_int_equal(praas_nodes_add(&nodes, text, &why), 0);
	}
	assert_int_equal(praas_nodes_add(&nodes, "n31,memory=1G", &why), -EINVAL);
	assert_string_equal(why, "there is a node of that name");
	assert_int_equal(praas_nodes_add(&nodes, "other", &why), -EINVAL);
	assert_string_equal(why, "there are 32 nodes at most");
	assert_int_equal(praas_nodes_find(&nodes, "n31"), 31);
	assert_int_equal(praas_nodes_find(&nodes, "other"), -1);
	praas_nodes_close(&nodes);
}

/* ---- who may use shared memory ------------------------------------------------------ */

/* The same node, and who has an address of it. */
static void test_nodes_shared_memory(void **state)
{
	static struct praas_nodes nodes, one;
	const char *why;

	(void)state;
	assert_int_equal(praas_nodes_add(&nodes, "here,listen=10.0.0.9", &why), 0);
	assert_int_equal(praas_nodes_add(&nodes, "a,netns=a,listen=10.0.0.1", &why), 0);
	assert_int_equal(praas_nodes_add(&nodes, "b,netns=b,listen=10.0.0.2", &why), 0);
	assert_true(praas_nodes_same(&nodes, "a", "a"));
	assert_false(praas_nodes_same(&nodes, "a", "b"));
	assert_false(praas_nodes_same(&nodes, "a", "here"));
	assert_false(praas_nodes_same(&nodes, "a", ""));
	assert_true(praas_nodes_same(&nodes, "here", ""));
	assert_true(
		praas_nodes_same(&nodes, "", "here")); /* of before there were nodes */
	assert_true(praas_nodes_near(&nodes, "a", "10.0.0.1"));
	assert_false(praas_nodes_near(&nodes, "a", "10.0.0.2"));
	assert_false(praas_nodes_near(&nodes, "a", "127.0.0.1"));
	assert_true(praas_nodes_near(&nodes, "here", "127.0.0.1"));
	assert_true(praas_nodes_near(&nodes, "here", "::1"));
	assert_false(praas_nodes_near(&nodes, "here", "10.0.0.1"));
	assert_int_equal(praas_nodes_add(&one, "local", &why), 0);
	assert_true(praas_nodes_near(&one, "local", "192.0.2.1")); /* as ever */
}

static void far_is(const char *before, const char *after)
{
	char text[PRAAS_ENDPOINTS_BYTES];

	(void)snprintf(text, sizeof(text), "%s", before);
	praas_endpoints_far(text);
	assert_string_equal(text, after);
}

/* Nothing but shared memory goes. */
static void test_endpoints_far(void **state)
{
	(void)state;
	far_is("[\"tls://10.0.0.1:7\",\"shm:///run/1.sock\",\"ofi://x\"]",
	       "[\"tls://10.0.0.1:7\",\"ofi://x\"]");
	far_is("[\"shm:///run/1.sock\",\"shm:///run/2.sock\"]", "[]");
	far_is("[\"tcp://x\"]", "[\"tcp://x\"]");
	far_is("", "");
	far_is("no json", ""); /* nobody is told what is none */
}

/* ---- which node --------------------------------------------------------------------- */

#define NONE UINT32_MAX
#define ROW_NODES 3

static const struct {
	const char *what;
	struct praas_place_node nodes[ROW_NODES];
	struct praas_place_need need;
	uint32_t expect[PRAAS_PLACE_POLICIES]; /* neighbours, spread, consolidate */
	int rc;                                /* where none is expected */
} table[] = {
	{ "all are empty and alike: the first",
	  { { .memory_bytes = 8 * G },
	    { .memory_bytes = 8 * G },
	    { .memory_bytes = 8 * G } },
	  { G, 0 },
	  { 0, 0, 0 },
	  0 },
	{ "all are alike: where it was",
	  { { .memory_bytes = G },
	    { .memory_bytes = G, .last = true },
	    { .memory_bytes = G } },
	  { G, 0 },
	  { 1, 1, 1 },
	  0 },
	{ "a larger share left is more left, whatever the bytes",
	  { { .memory_bytes = 64 * G, .memory_used = 32 * G },
	    { .memory_bytes = 4 * G, .memory_used = G },
	    { .memory_bytes = 8 * G, .memory_used = 4 * G + 1 } },
	  { G, 0 },
	  { 1, 1, 2 },
	  0 },
	{ "neighbours before room; spreading away from them only among equals",
	  { { .memory_bytes = 8 * G,
	      .memory_used = 2 * G,
	      .processes = 2,
	      .neighbours = 1 },
	    { .memory_bytes = 8 * G,
	      .memory_used = 4 * G,
	      .processes = 4,
	      .neighbours = 2 },
	    { .memory_bytes = 8 * G, .memory_used = 2 * G, .processes = 2 } },
	  { G, 0 },
	  { 1, 2, 1 },
	  0 },
	{ "where the neighbours are there is no room",
	  { { .memory_bytes = 8 * G, .memory_used = 8 * G, .neighbours = 9 },
	    { .memory_bytes = 8 * G, .memory_used = 7 * G, .neighbours = 1 },
	    { .memory_bytes = 8 * G } },
	  { 2 * G, 0 },
	  { 2, 2, 2 },
	  0 },
	{ "it fits to the byte",
	  { { .memory_bytes = G, .memory_used = 1 },
	    { .memory_bytes = G },
	    { .memory_bytes = G, .memory_used = 2 } },
	  { G, 0 },
	  { 1, 1, 1 },
	  0 },
	{ "processors are as scarce as memory",
	  { { .memory_bytes = 8 * G, .vcpu_milli = 4000, .vcpu_used = 3500 },
	    { .memory_bytes = 8 * G, .memory_used = 6 * G, .vcpu_milli = 4000 },
	    { .memory_bytes = 8 * G,
	      .memory_used = 4 * G,
	      .vcpu_milli = 4000,
	      .vcpu_used = 2000 } },
	  { G, 500 },
	  { 2, 2, 0 },
	  0 },
	{ "nothing is counted: by number of processes",
	  { { .processes = 3 }, { .processes = 1 }, { .processes = 2 } },
	  { G, 1000 },
	  { 1, 1, 0 },
	  0 },
	{ "a drained node is not chosen, not even for neighbours, not even the last",
	  { { .drained = true, .neighbours = 5, .last = true },
	    { .processes = 7 },
	    { .processes = 8 } },
	  { G, 0 },
	  { 1, 1, 2 },
	  0 },
	{ "none has room",
	  { { .memory_bytes = G, .memory_used = G },
	    { .vcpu_milli = 1000, .vcpu_used = 1 },
	    { .memory_bytes = G / 2 } },
	  { G, 1000 },
	  { NONE, NONE, NONE },
	  -ENOSPC },
	{ "one is drained, and the others have no room",
	  { { .drained = true }, { .memory_bytes = 1 }, { .memory_bytes = 1 } },
	  { G, 0 },
	  { NONE, NONE, NONE },
	  -ENOSPC },
	{ "all are drained",
	  { { .drained = true }, { .drained = true }, { .drained = true } },
	  { G, 0 },
	  { NONE, NONE, NONE },
	  -EBUSY },
	{ "more is used than there is, after a restart with less",
	  { { .memory_bytes = G, .memory_used = 2 * G },
	    { .memory_bytes = G, .memory_used = G - 1 },
	    { .memory_bytes = G, .memory_used = UINT64_MAX } },
	  { 1, 0 },
	  { 1, 1, 1 },
	  0 },
};

static void test_place_node_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (int p = 0; p < PRAAS_PLACE_POLICIES; p++) {
			uint32_t index = NONE;
			int rc = praas_place_node((enum praas_place_policy)p,
						  table[i].nodes, ROW_NODES,
						  &table[i].need, &index);

			if (rc != table[i].rc || index != table[i].expect[p])
				fail_msg("%s, %s: %d, node %d", table[i].what,
					 praas_place_policy_text(
						 (enum praas_place_policy)p),
					 rc, (int)index);
		}
	}
}

/* Without a node there is none to choose. */
static void test_place_node_none(void **state)
{
	const struct praas_place_need need = { 1, 1 };
	uint32_t index = NONE;

	(void)state;
	assert_int_equal(
		praas_place_node(PRAAS_PLACE_SPREAD, table[0].nodes, 0, &need, &index),
		-EBUSY);
	assert_int_equal(index, NONE);
}

/* 100 processes one after the other: spread is even within one, consolidation fills one node after the
 * other, neighbours stay together as long as there is room; nothing is ever over what there is. */
static void test_place_node_many(void **state)
{
	const struct praas_place_need need = { G, 0 };

	(void)state;
	for (int p = 0; p < PRAAS_PLACE_POLICIES; p++) {
		struct praas_place_node n[4] = { { .memory_bytes = 25 * G },
						 { .memory_bytes = 25 * G },
						 { .memory_bytes = 25 * G },
						 { .memory_bytes = 25 * G } };
		uint32_t at = NONE;

		for (uint32_t i = 0; i < 100; i++) {
			assert_int_equal(praas_place_node((enum praas_place_policy)p, n,
							  4, &need, &at),
					 0);
			if (p == PRAAS_PLACE_SPREAD)
				assert_int_equal(at, i % 4);
			else
				assert_int_equal(at, i / 25);
			n[at].memory_used += G;
			n[at].processes++;
			n[at].neighbours++;
			assert_true(n[at].memory_used <= n[at].memory_bytes);
		}
		assert_int_equal(
			praas_place_node((enum praas_place_policy)p, n, 4, &need, &at),
			-ENOSPC);
	}
}

static void test_place_policy_names(void **state)
{
	enum praas_place_policy p;

	(void)state;
	for (int i = 0; i < PRAAS_PLACE_POLICIES; i++) {
		assert_int_equal(
			praas_place_policy_parse(
				praas_place_policy_text((enum praas_place_policy)i),
				&p),
			0);
		assert_int_equal(p, i);
	}
	assert_int_equal(praas_place_policy_parse("Spread", &p), -EINVAL);
	assert_int_equal(praas_place_policy_parse("", &p), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node_parse_good),
		cmocka_unit_test(test_node_parse_bad),
		cmocka_unit_test(test_nodes_add_limits),
		cmocka_unit_test(test_nodes_shared_memory),
		cmocka_unit_test(test_endpoints_far),
		cmocka_unit_test(test_place_node_table),
		cmocka_unit_test(test_place_node_none),
		cmocka_unit_test(test_place_node_many),
		cmocka_unit_test(test_place_policy_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
