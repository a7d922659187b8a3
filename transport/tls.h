/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS 1.3 on a connected, non-blocking socket (docs/tls.md): external PSK with a fresh key exchange
 * (psk_dhe_ke), the ticket's hex digits as identity, its session key as key, ALPN "praas/1". No
 * certificates, no 0-RTT, no resumption, nothing to negotiate. The one place that uses OpenSSL's
 * TLS. It reads and writes the socket itself and knows nothing of ports and frames; one thread.
 */
#ifndef PRAAS_TRANSPORT_TLS_H
#define PRAAS_TRANSPORT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "transport/ticket.h"

#define PRAAS_TLS_IDENTITY_BYTES (2u * PRAAS_TICKET_BYTES)
#define PRAAS_TLS_RECORD_BYTES 16384u

struct praas_tls_context; /* of a port */
struct praas_tls;         /* of a connection */

/* The session key of a ticket that somebody shows to a server. 0; an error: refused. */
typedef int (*praas_tls_key_fn)(void *user, const uint8_t ticket[PRAAS_TICKET_BYTES],
				uint8_t ret_key[PRAAS_KEY_BYTES]);

/* key: of the side that accepts; NULL: only connects. 0; -ENOMEM; -EIO. */
int praas_tls_context_new(praas_tls_key_fn key, void *user,
			  struct praas_tls_context **ret_context);
/* All its connections have been freed. NULL is allowed. */
void praas_tls_context_free(struct praas_tls_context *context);

/* secret: of a client, copied; NULL: a server. fd stays the caller's. 0; -ENOMEM. */
int praas_tls_new(struct praas_tls_context *context, int fd,
		  const struct praas_ticket_secret *secret, struct praas_tls **ret_tls);
/* NULL is allowed. */
void praas_tls_free(struct praas_tls *tls);

/* Goes on with the handshake. 0 done, both sides have proved the key; -EAGAIN: when the socket can
 * be read or, *ret_write, written; -EACCES the peer does not take our ticket, or has no key for
 * it; -EPROTO not TLS 1.3 as we speak it; -ECONNRESET; errno. */
int praas_tls_handshake(struct praas_tls *tls, bool *ret_write);
/* As recv: -EAGAIN; 0 the peer's end, said by itself; bytes; -ECONNRESET cut off; -EPROTO a record
 * that is not what the peer has sent; errno. */
int64_t praas_tls_recv(struct praas_tls *tls, void *data, uint64_t bytes);
/* As sendmsg. What is left must begin with the same bytes at the next call. */
int64_t praas_tls_send(struct praas_tls *tls, const struct iovec *iov, unsigned count);
/* Says that we send no more, as far as that is possible without waiting. */
void praas_tls_end(struct praas_tls *tls);
/* Something was received that recv() has not given out: the socket need not become readable. */
bool praas_tls_unread(const struct praas_tls *tls);

/* 304 hex digits, lower case. 0; -EPROTO. */
int praas_tls_identity_decode(const uint8_t *text, size_t bytes,
			      uint8_t ret_ticket[PRAAS_TICKET_BYTES]);

#endif
