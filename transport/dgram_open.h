/* SPDX-License-Identifier: Apache-2.0
 *
 * The packets that open a connection over datagrams (docs/arq.md, Opening), and the keys that come
 * of it. Pure. A ticket's session key proves both sides to each other; both nonces make the keys
 * of each connection its own, so that no packet of one is good in another.
 */
#ifndef PRAAS_TRANSPORT_DGRAM_OPEN_H
#define PRAAS_TRANSPORT_DGRAM_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/seal.h"
#include "transport/ticket.h"

#define PRAAS_DGRAM_HEAD_BYTES 24u
#define PRAAS_DGRAM_NONCE_BYTES 32u
#define PRAAS_DGRAM_OPEN_BYTES 256u
#define PRAAS_DGRAM_ACCEPT_BYTES 104u
#define PRAAS_DGRAM_REFUSE_BYTES 64u

enum praas_dgram_kind {
	PRAAS_DGRAM_OPEN = 1,
	PRAAS_DGRAM_ACCEPT = 2,
	PRAAS_DGRAM_REFUSE = 3,
	PRAAS_DGRAM_DATA = 4
};

enum praas_dgram_reason {
	PRAAS_DGRAM_NOBODY = 1, /* listens there */
	PRAAS_DGRAM_TICKET = 2, /* no ticket of ours, or not its key */
	PRAAS_DGRAM_LIMIT = 3   /* too many connections */
};

/* What is in front of every packet. */
struct praas_dgram_head {
	enum praas_dgram_kind kind;
	uint64_t connection; /* the receiver's number of it; 0 in OPEN */
	uint64_t number;     /* of the packet; 0 but in DATA */
};

#define PRAAS_DGRAM_CLEAR 0x0001u /* only authenticate, do not hide */

/* What both sides know in the end. */
struct praas_dgram_open {
	uint64_t client, server; /* numbers that each side gave the connection */
	uint8_t client_nonce[PRAAS_DGRAM_NONCE_BYTES];
	uint8_t server_nonce[PRAAS_DGRAM_NONCE_BYTES];
	uint8_t ticket[PRAAS_TICKET_BYTES];
	uint8_t session_key[PRAAS_KEY_BYTES];
	uint32_t segment_bytes; /* wanted by OPEN, given by ACCEPT */
	uint16_t flags;         /* PRAAS_DGRAM_CLEAR: both want it */
};

void praas_dgram_head_encode(const struct praas_dgram_head *head, uint8_t *to);
/* 0; -EPROTO. */
int praas_dgram_head_decode(const uint8_t *data, uint32_t bytes,
			    struct praas_dgram_head *ret_head);

/* 0; -EIO the crypto library failed. */
int praas_dgram_open_encode(const struct praas_dgram_open *open,
			    uint8_t ret_data[PRAAS_DGRAM_OPEN_BYTES]);
/* Without a look at the proof. 0; -EPROTO. */
int praas_dgram_open_decode(const uint8_t *data, uint32_t bytes,
			    struct praas_dgram_open *ret_open);
/* With the session key of its ticket. 0; -EACCES; -EIO. */
int praas_dgram_open_check(const struct praas_dgram_open *open, const uint8_t *data);

int praas_dgram_accept_encode(const struct praas_dgram_open *open,
			      uint8_t ret_data[PRAAS_DGRAM_ACCEPT_BYTES]);
/* Against what OPEN said; fills the server's part in. 0; -EPROTO; -EACCES; -EIO. */
int praas_dgram_accept_decode(const uint8_t *data, uint32_t bytes,
			      struct praas_dgram_open *open);

void praas_dgram_refuse_encode(const struct praas_dgram_open *open,
			       enum praas_dgram_reason reason,
			       uint8_t ret_data[PRAAS_DGRAM_REFUSE_BYTES]);
/* Why, as errno; -EPROTO: not for this OPEN. */
int praas_dgram_refuse_decode(const uint8_t *data, uint32_t bytes,
			      const struct praas_dgram_open *open);

/* The seals of one side. 0; -ENOMEM; -EIO. */
int praas_dgram_keys(const struct praas_dgram_open *open, bool is_server,
		     struct praas_seal **ret_out, struct praas_seal **ret_in);

#endif
