/* SPDX-License-Identifier: Apache-2.0
 *
 * Payloads of the handshake frames (docs/wire-format.md), and the proofs in them.
 */
#ifndef PRAAS_TRANSPORT_HANDSHAKE_H
#define PRAAS_TRANSPORT_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/session.h"

#define PRAAS_HELLO_BYTES (PRAAS_TICKET_BYTES + PRAAS_NONCE_BYTES)
#define PRAAS_HELLO_FOLLOWS                                                            \
	1u /* aux of HELLO, a bit: the client goes along when the process moves */
#define PRAAS_HELLO_MEMBERS                                                            \
	2u /* the same: it wants to hear of changes of the members */
#define PRAAS_WELCOME_PROBES 1u /* aux of WELCOME, a bit: PROBE is known here */
#define PRAAS_CHALLENGE_BYTES (PRAAS_NONCE_BYTES + PRAAS_KEY_BYTES)
#define PRAAS_PROOF_BYTES PRAAS_KEY_BYTES
#define PRAAS_WELCOME_HEAD_BYTES 32u
#define PRAAS_WELCOME_MAX                                                              \
	(PRAAS_WELCOME_HEAD_BYTES + PRAAS_FUNCTIONS_MAX * (PRAAS_NAME_MAX + 1u))

/* aux of CLOSE; on the wire. */
enum praas_close_reason {
	PRAAS_CLOSE_NONE = 0,
	PRAAS_CLOSE_DENIED = 1,
	PRAAS_CLOSE_EPOCH = 2,
	PRAAS_CLOSE_EXPIRED = 3,
	PRAAS_CLOSE_PROTOCOL = 4,
	PRAAS_CLOSE_LIMIT = 5,
	PRAAS_CLOSE_TIMEOUT = 6,
	PRAAS_CLOSE_INTERNAL = 7,
	PRAAS_CLOSE_USER = 8 /* shm: another user's socket */
};

/* Reason for an errno of ours, its status, and the errno that the other side makes of it. */
enum praas_close_reason praas_close_reason_of(int rc);
int32_t praas_close_status(enum praas_close_reason reason);
int praas_close_errno(uint64_t reason);

/* What both proofs are made over. */
struct praas_handshake {
	uint8_t ticket[PRAAS_TICKET_BYTES];
	uint8_t client_nonce[PRAAS_NONCE_BYTES];
	uint8_t server_nonce[PRAAS_NONCE_BYTES];
	uint8_t session_key[PRAAS_KEY_BYTES];
};

/* 0; -EIO no random numbers. */
int praas_handshake_nonce(uint8_t ret_nonce[PRAAS_NONCE_BYTES]);
/* The server's proof or the client's. 0; -EIO. */
int praas_handshake_proof(const struct praas_handshake *h, bool server,
			  uint8_t ret_proof[PRAAS_KEY_BYTES]);
/* Constant time. 0; -EACCES wrong; -EIO. */
int praas_handshake_check(const struct praas_handshake *h, bool server,
			  const uint8_t proof[PRAAS_KEY_BYTES]);

void praas_hello_encode(const struct praas_handshake *h,
			uint8_t ret_data[PRAAS_HELLO_BYTES]);
/* Fills ticket and client_nonce. 0; -EPROTO size. */
int praas_hello_decode(const uint8_t *data, uint64_t bytes,
		       struct praas_handshake *ret_h);

uint64_t praas_welcome_bytes(const struct praas_welcome *w);
void praas_welcome_encode(const struct praas_welcome *w, uint8_t *ret_data);
/* functions, flags: room for PRAAS_FUNCTIONS_MAX names and bytes, to which ret_w->functions points.
 * 0; -EPROTO sizes, counts, a NUL in a name, bytes left over. */
int praas_welcome_decode(const uint8_t *data, uint64_t bytes,
			 char (*functions)[PRAAS_NAME_MAX + 1], uint8_t *flags,
			 struct praas_welcome *ret_w);

#endif
