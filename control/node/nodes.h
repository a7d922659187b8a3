/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes: where processes may run. Each is a back end with an address of its own and a capacity that is
 * counted, not measured (control/life/lifecycle_nodes.c). Without --node there is one, "local", on the
 * service's own network, without bounds.
 */
#ifndef PRAAS_CONTROL_NODES_H
#define PRAAS_CONTROL_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "control/node/backend.h"
#include "praas/types.h"

#define PRAAS_NODES_MAX 32u
#define PRAAS_NODE_TEXT_BYTES 512u /* of one --node; what it says is shorter */
#define PRAAS_NODE_LISTEN_BYTES 64u
#define PRAAS_NODE_NETNS_BYTES 256u
#define PRAAS_NODE_DEFAULT "local"
#define PRAAS_NODE_MEMORY_MAX (1ull << 50)  /* bytes of one node */
#define PRAAS_NODE_VCPU_MILLI_MAX 16384000u /* the same, thousandths of a processor */

struct praas_node {
	char name[PRAAS_NAME_MAX + 1];
	char listen
		[PRAAS_NODE_LISTEN_BYTES]; /* address of its data planes; "": not said */
	char netns
		[PRAAS_NODE_NETNS_BYTES]; /* file of its network namespace; "": the service's own */
	uint64_t memory_bytes;         /* that its processes may have; 0: not counted */
	uint32_t vcpu_milli;           /* the same; 0: not counted */
	bool tls;                      /* its data planes speak it */
	struct praas_backend *backend; /* NULL until it is opened; owned */
};

struct praas_nodes {
	uint32_t count; /* at least 1 once they are opened */
	struct praas_node node[PRAAS_NODES_MAX];
};

/**
 * What --node says: NAME[,netns=NAME|/FILE][,listen=ADDRESS][,memory=SIZE][,vcpus=N]. SIZE in bytes, or
 * with K, M, G, T; N whole or with up to three decimals. Strict: each at most once, nothing else.
 *
 * ret_node  all but tls and backend
 * ret_why   what is wrong with it, static; written on failure
 *
 * 0; -EINVAL. Pure.
 */
int praas_node_parse(const char *text, struct praas_node *ret_node,
		     const char **ret_why);
/* Adds it. 0; -EINVAL, and why. */
int praas_nodes_add(struct praas_nodes *nodes, const char *text, const char **ret_why);
/* The index of the one of that name; -1 there is none. */
int praas_nodes_find(const struct praas_nodes *nodes, const char *name);
/* The same; 0 for one that there is no more, or of before there were nodes. */
uint32_t praas_nodes_index(const struct praas_nodes *nodes, const char *name);
/* Whether a process on one can reach shared memory of one on the other; from "": the service itself. Nodes that
 * are not known any more, or of before there were nodes, are as the first. */
bool praas_nodes_same(const struct praas_nodes *nodes, const char *node,
		      const char *from);
/* The same of a client with that address: he is where it is an address of the node. With one node, on the
 * service's own network, everybody is told of it: who is elsewhere finds nothing there. */
bool praas_nodes_near(const struct praas_nodes *nodes, const char *node,
		      const char *address);
/* Frees their back ends; no instance is left. */
void praas_nodes_close(struct praas_nodes *nodes);

#endif
