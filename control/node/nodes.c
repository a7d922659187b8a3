/* SPDX-License-Identifier: Apache-2.0 */
#include "control/node/nodes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "control/names.h"

#define NETNS_FOLDER "/run/netns/" /* where ip-netns(8) keeps them */
#define DECIMALS 3u                /* of a number of processors */

static const char *take_listen(struct praas_node *node, const char *text)
{
	uint8_t address[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, text, address) != 1 &&
	    inet_pton(AF_INET6, text, address) != 1)
		return "listen is an IPv4 or IPv6 address, without a port";
	(void)snprintf(node->listen, sizeof(node->listen), "%s",
		       text); /* an address is shorter */
	return NULL;
}

static const char *take_netns(struct praas_node *node, const char *text)
{
	const char *folder = text[0] == '/' ? "" : NETNS_FOLDER;
	int n;

	if (text[0] != '/' && !praas_name_valid(text))
		return "netns is a name of ip-netns(8), or the absolute path of a file";
	n = snprintf(node->netns, sizeof(node->netns), "%s%s", folder, text);
	return n < 0 || (size_t)n >= sizeof(node->netns) ? "netns is too long" : NULL;
}

static const char *take_memory(struct praas_node *node, const char *text)
{
	static const char units[] = "KMGT";
	static const char wrong[] =
		"memory is a number of bytes, with K, M, G or T behind it if you like";
	size_t bytes = strlen(text);
	const char *unit = bytes > 1 ? strchr(units, text[bytes - 1]) : NULL;
	unsigned shift = unit ? 10u * (unsigned)(unit - units + 1) : 0;
	char digits[24];

	if (bytes >= sizeof(digits))
		return wrong;
	memcpy(digits, text, bytes + 1);
	if (unit)
		digits[bytes - 1] = 0;
	if (praas_number_parse(digits, PRAAS_NODE_MEMORY_MAX >> shift,
			       &node->memory_bytes))
		return wrong;
	node->memory_bytes <<= shift;
	return node->memory_bytes ? NULL : "a node without memory can have no process";
}

static const char *take_vcpus(struct praas_node *node, const char *text)
{
	static const char wrong[] =
		"vcpus is a number of at most 16384, with up to three decimals";
	const char *point = strchr(text, '.');
	size_t whole = point ? (size_t)(point - text) : strlen(text);
	size_t decimals = point ? strlen(point + 1) : 0;
	char digits[16] = "";
	uint64_t milli;

	if (whole == 0 || whole > 5 || decimals > DECIMALS || (point && !decimals))
		return wrong;
	(void)snprintf(digits, sizeof(digits), "%.*s%s%.*s", (int)whole, text,
		       point ? point + 1 : "", (int)(DECIMALS - decimals), "000");
	if (praas_number_parse(digits, PRAAS_NODE_VCPU_MILLI_MAX, &milli))
		return wrong;
	node->vcpu_milli = (uint32_t)milli;
	return milli ? NULL : "a node without processors can have no process";
}

static const struct member {
	const char *name;
	const char *(*take)(struct praas_node *node, const char *text);
} members[] = {
	{ "netns=", take_netns },
	{ "listen=", take_listen },
	{ "memory=", take_memory },
	{ "vcpus=", take_vcpus },
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

/* One part behind a comma. What is wrong; NULL: nothing is. */
static const char *take_part(struct praas_node *node, const char *part, unsigned *seen)
{
	for (unsigned i = 0; i < MEMBERS; i++) {
		size_t bytes = strlen(members[i].name);

		if (strncmp(part, members[i].name, bytes) != 0)
			continue;
		if (*seen & 1u << i)
			return "the same is said twice";
		*seen |= 1u << i;
		return members[i].take(node, part + bytes);
	}
	return "behind the name come netns=, listen=, memory= and vcpus= only";
}

int praas_node_parse(const char *text, struct praas_node *ret_node,
		     const char **ret_why)
{
	struct praas_node node = { .listen = "" };
	char copy[PRAAS_NODE_TEXT_BYTES];
	unsigned seen = 0;
	char *at = copy, *part;

	*ret_why = "it is too long";
	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, strlen(text) + 1);
	part = strsep(&at, ",");
	*ret_why = "it begins with a name of [A-Za-z0-9._-]{1,64}";
	if (!praas_name_valid(part))
		return -EINVAL;
	memcpy(node.name, part, strlen(part) + 1);
	while ((part = strsep(&at, ","))) {
		*ret_why = take_part(&node, part, &seen);
		if (*ret_why)
			return -EINVAL;
	}
	*ret_why = "a node with a netns needs a listen address that others reach it at";
	if (node.netns[0] && !node.listen[0])
		return -EINVAL;
	*ret_node = node;
	return 0;
}

int praas_nodes_add(struct praas_nodes *nodes, const char *text, const char **ret_why)
{
	struct praas_node node;
	int rc = praas_node_parse(text, &node, ret_why);

	if (rc)
		return rc;
	*ret_why = "there is a node of that name";
	if (praas_nodes_find(nodes, node.name) >= 0)
		return -EINVAL;
	*ret_why = "there are 32 nodes at most";
	if (nodes->count == PRAAS_NODES_MAX)
		return -EINVAL;
	nodes->node[nodes->count++] = node;
	return 0;
}

int praas_nodes_find(const struct praas_nodes *nodes, const char *name)
{
	for (uint32_t i = 0; i < nodes->count; i++)
		if (strcmp(nodes->node[i].name, name) == 0)
			return (int)i;
	return -1;
}

uint32_t praas_nodes_index(const struct praas_nodes *nodes, const char *name)
{
	int i = praas_nodes_find(nodes, name);

	return i < 0 ? 0 : (uint32_t)i;
}

static const struct praas_node *known(const struct praas_nodes *nodes, const char *name)
{
	return &nodes->node[praas_nodes_index(nodes, name)];
}

bool praas_nodes_same(const struct praas_nodes *nodes, const char *node,
		      const char *from)
{
	const struct praas_node *at = known(nodes, node);

	return from[0] ? at == known(nodes, from) : at->netns[0] == 0;
}

bool praas_nodes_near(const struct praas_nodes *nodes, const char *node,
		      const char *address)
{
	const struct praas_node *at = known(nodes, node);

	if (nodes->count == 1 && !at->netns[0])
		return true;
	if (!at->netns[0] &&
	    (strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0))
		return true;
	return at->listen[0] && strcmp(address, at->listen) == 0;
}

void praas_nodes_close(struct praas_nodes *nodes)
{
	for (uint32_t i = 0; i < nodes->count; i++) {
		struct praas_backend *b = nodes->node[i].backend;

		if (b)
			b->ops->free(b);
		nodes->node[i].backend = NULL;
	}
}
