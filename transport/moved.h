/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process that has moved tells a client that follows it (docs/wire-format.md, "Moved"): a ticket for the epoch
 * that goes on, its session key, and where that is. Sealed and proved with the session key of the connection, so that
 * who reads the line cannot take the client's place, and who writes on it cannot lead the client away.
 */
#ifndef PRAAS_TRANSPORT_MOVED_H
#define PRAAS_TRANSPORT_MOVED_H

#include <stdint.h>

#include "transport/ticket.h"
#include "transport/transport.h"

#define PRAAS_MOVED_ENDPOINTS_MAX 8u
#define PRAAS_MOVED_HEAD_BYTES (PRAAS_TICKET_BYTES + PRAAS_KEY_BYTES + 1u)
#define PRAAS_MOVED_BYTES_MAX                                                          \
	(PRAAS_MOVED_HEAD_BYTES + PRAAS_MOVED_ENDPOINTS_MAX * PRAAS_ADDR_MAX +         \
	 PRAAS_KEY_BYTES)

struct praas_moved {
	struct praas_ticket_secret secret;
	uint32_t endpoints_count;
	char endpoints[PRAAS_MOVED_ENDPOINTS_MAX][PRAAS_ADDR_MAX];
};

/* The endpoints of a text, a line each; what is none, and what is too much, is left out. */
void praas_moved_endpoints(const char *text, struct praas_moved *ret_moved);

/* session_key: of the connection that it is told on. 0; -EIO the crypto library failed. */
int praas_moved_encode(const struct praas_moved *moved,
		       const uint8_t session_key[PRAAS_KEY_BYTES],
		       uint8_t ret_data[PRAAS_MOVED_BYTES_MAX], uint64_t *ret_bytes);
/* 0; -EPROTO sizes, or what is no address; -EACCES it was not made with that key; -EIO. */
int praas_moved_decode(const uint8_t *data, uint64_t bytes,
		       const uint8_t session_key[PRAAS_KEY_BYTES],
		       struct praas_moved *ret_moved);

#endif
