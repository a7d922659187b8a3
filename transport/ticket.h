/* SPDX-License-Identifier: Apache-2.0
 *
 * Tickets: what the control service hands out and a controller checks without asking anybody
 * (docs/tickets.md). Fixed binary, HMAC-SHA-256, one algorithm per version.
 *
 *   K_c = HKDF-SHA-256(root, info = "praas controller" ‖ controller id)   a controller's own key
 *   mac = HMAC(K_c, ticket bytes)
 *   SK  = HMAC(K_c, "praas session" ‖ ticket ‖ mac)                         told to the client once
 */
#ifndef PRAAS_TRANSPORT_TICKET_H
#define PRAAS_TRANSPORT_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRAAS_KEY_BYTES 32u /* root key, controller key, session key, MACs */
#define PRAAS_ID_BYTES 16u  /* random 128-bit ids */
#define PRAAS_TICKET_VERSION 1u
#define PRAAS_TICKET_BYTES 152u /* encoded, MAC included */
#define PRAAS_TICKET_SKEW_S                                                            \
	30u /* clock difference allowed on both ends of the validity */

enum praas_right {
	PRAAS_RIGHT_INVOKE = 1u << 0,
	PRAAS_RIGHT_SEND = 1u << 1,
	PRAAS_RIGHT_RECV = 1u << 2,
	PRAAS_RIGHT_STATE_READ = 1u << 3,
	PRAAS_RIGHT_STATE_WRITE = 1u << 4,
	PRAAS_RIGHT_ALL = 0x1f
};

struct praas_ticket {
	uint8_t kid; /* which root key */
	uint8_t tenant[PRAAS_ID_BYTES];
	uint8_t app[PRAAS_ID_BYTES];
	uint8_t controller[PRAAS_ID_BYTES]; /* the only one that can check it */
	uint64_t pid;                       /* destination process */
	uint32_t epoch;        /* of the destination; another one refuses it */
	uint64_t source;       /* who will speak: PRAAS_CLIENT | random, or a pid */
	uint32_t rights;       /* enum praas_right bits */
	uint64_t bytes_max;    /* largest payload, 0: the process's limit */
	uint64_t not_before_s; /* CLOCK_REALTIME seconds */
	uint64_t expires_s;
	uint8_t jti[PRAAS_ID_BYTES]; /* random, for logs */
};

struct praas_mac;

/* What a client holds. */
struct praas_ticket_secret {
	uint8_t ticket[PRAAS_TICKET_BYTES];
	uint8_t session_key[PRAAS_KEY_BYTES];
};

/* 0; -EIO the crypto library failed. */
int praas_ticket_controller_key(const uint8_t root[PRAAS_KEY_BYTES],
				const uint8_t controller[PRAAS_ID_BYTES],
				uint8_t ret_key[PRAAS_KEY_BYTES]);
int praas_ticket_issue(const uint8_t controller_key[PRAAS_KEY_BYTES],
		       const struct praas_ticket *ticket,
		       uint8_t ret_wire[PRAAS_TICKET_BYTES],
		       uint8_t ret_session_key[PRAAS_KEY_BYTES]);

/* The same with a context keyed with the controller's key. */
int praas_ticket_issue_keyed(struct praas_mac *controller_mac,
			     const struct praas_ticket *ticket,
			     uint8_t ret_wire[PRAAS_TICKET_BYTES],
			     uint8_t ret_session_key[PRAAS_KEY_BYTES]);

/* What a controller expects a ticket to say. */
struct praas_ticket_expect {
	uint8_t tenant[PRAAS_ID_BYTES], app[PRAAS_ID_BYTES], controller[PRAAS_ID_BYTES];
	uint64_t pid;
	uint32_t epoch;
	uint64_t now_s; /* CLOCK_REALTIME */
};

/* Checks MAC (constant time) before all else. 0; -EPROTO malformed; -EACCES forged or foreign;
 * -ESTALE another epoch; -EKEYEXPIRED expired or not yet valid. */
int praas_ticket_verify(const uint8_t controller_key[PRAAS_KEY_BYTES],
			const uint8_t *wire, size_t wire_bytes,
			const struct praas_ticket_expect *expect,
			struct praas_ticket *ret_ticket,
			uint8_t ret_session_key[PRAAS_KEY_BYTES]);
/* The session key of a ticket that the controller's key has made, whatever it says: for a channel
 * in which it is then verified. 0; -EPROTO; -EACCES; -EIO. */
int praas_ticket_session_key(struct praas_mac *controller_mac, const uint8_t *wire,
			     size_t wire_bytes,
			     uint8_t ret_session_key[PRAAS_KEY_BYTES]);
/* As praas_ticket_verify() with a context keyed once with the controller's key (transport/mac.h): who checks many. */
int praas_ticket_verify_keyed(struct praas_mac *controller_mac, const uint8_t *wire,
			      size_t wire_bytes,
			      const struct praas_ticket_expect *expect,
			      struct praas_ticket *ret_ticket,
			      uint8_t ret_session_key[PRAAS_KEY_BYTES]);

#endif
