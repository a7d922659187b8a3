/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/port.h"

#define CONNS_DEFAULT 1024u
#define UNAUTHENTICATED_DEFAULT 64u
#define HANDSHAKE_BYTES_DEFAULT 4096u
#define SEND_QUEUE_DEFAULT (UINT64_C(1) << 20)
#define STALL_DEFAULT_NS UINT64_C(10000000000)

void praas_port_config_set(struct praas_port_config *c,
			   const struct praas_port_config *config, uint32_t conns_max)
{
	*c = *config;
	if (c->conns_max == 0)
		c->conns_max = CONNS_DEFAULT;
	if (c->conns_max > conns_max)
		c->conns_max = conns_max;
	if (c->unauthenticated_max == 0)
		c->unauthenticated_max = UNAUTHENTICATED_DEFAULT;
	if (c->handshake_bytes_max == 0)
		c->handshake_bytes_max = HANDSHAKE_BYTES_DEFAULT;
	if (c->send_queue_max == 0)
		c->send_queue_max = SEND_QUEUE_DEFAULT;
	if (c->stall_timeout_ns == 0)
		c->stall_timeout_ns = STALL_DEFAULT_NS;
	c->listen = NULL; /* the string is the caller's */
}
