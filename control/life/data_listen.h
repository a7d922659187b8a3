/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a controller is told to listen: at its node's address, at a socket of shared memory, and at
 * what --data-listen adds.
 */
#ifndef PRAAS_CONTROL_DATA_LISTEN_H
#define PRAAS_CONTROL_DATA_LISTEN_H

#include <jansson.h>
#include <stdbool.h>

#include "control/node/nodes.h"

/* A list of addresses for a controller on node. more: as --data-listen has it, "": nothing; devices are of
 * the service's own network, so it is left out on a node of another one. What node->tls asks for is asked
 * of them too: "verbs://" and "ofi://" are then sealed. The caller's; NULL: no memory. */
json_t *praas_listen_list(const struct praas_node *node, const char *more,
			  const char *socket);

/* Of a list as --data-listen has it: what goes over the wire in clear on nodes without TLS. ret_bytes of
 * it; NULL: no more. */
const char *praas_listen_clear(const char *list, size_t *ret_bytes);

#endif
