/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/handshake.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "internal/bytes.h"
#include "transport/mac.h"

static const char server_label[] = "praas server proof 1";
static const char client_label[] = "praas client proof 1";

_Static_assert(sizeof(server_label) == sizeof(client_label),
	       "one length, as documented");

enum praas_close_reason praas_close_reason_of(int rc)
{
	switch (rc) {
	case 0:
		return PRAAS_CLOSE_NONE;
	case -EACCES:
		return PRAAS_CLOSE_DENIED;
	case -ESTALE:
		return PRAAS_CLOSE_EPOCH;
	case -EKEYEXPIRED:
		return PRAAS_CLOSE_EXPIRED;
	case -EPROTO:
	case -EMSGSIZE:
		return PRAAS_CLOSE_PROTOCOL;
	case -EBUSY:
		return PRAAS_CLOSE_LIMIT;
	case -ETIMEDOUT:
		return PRAAS_CLOSE_TIMEOUT;
	case -EPERM:
		return PRAAS_CLOSE_USER;
	default:
		return PRAAS_CLOSE_INTERNAL;
	}
}

int32_t praas_close_status(enum praas_close_reason reason)
{
	switch (reason) {
	case PRAAS_CLOSE_NONE:
		return PRAAS_OK;
	case PRAAS_CLOSE_DENIED:
	case PRAAS_CLOSE_EXPIRED:
	case PRAAS_CLOSE_USER:
		return PRAAS_DENIED;
	case PRAAS_CLOSE_EPOCH:
		return PRAAS_MOVED;
	case PRAAS_CLOSE_PROTOCOL:
	case PRAAS_CLOSE_TIMEOUT:
		return PRAAS_INVALID;
	case PRAAS_CLOSE_LIMIT:
		return PRAAS_OVERLOADED;
	case PRAAS_CLOSE_INTERNAL:
	default:
		return PRAAS_INTERNAL;
	}
}

int praas_close_errno(uint64_t reason)
{
	static const int errnos[] = {
		[PRAAS_CLOSE_NONE] = -ECONNRESET,
		[PRAAS_CLOSE_DENIED] = -EACCES,
		[PRAAS_CLOSE_EPOCH] = -ESTALE,
		[PRAAS_CLOSE_EXPIRED] = -EKEYEXPIRED,
		[PRAAS_CLOSE_PROTOCOL] = -EPROTO,
		[PRAAS_CLOSE_LIMIT] = -EBUSY,
		[PRAAS_CLOSE_TIMEOUT] = -ETIMEDOUT,
		[PRAAS_CLOSE_INTERNAL] = -EIO,
		[PRAAS_CLOSE_USER] = -EPERM,
	};

	return reason < sizeof(errnos) / sizeof(errnos[0]) ? errnos[reason] : -EPROTO;
}

int praas_handshake_nonce(uint8_t ret_nonce[PRAAS_NONCE_BYTES])
{
	/* Requests of up to 256 bytes are not interrupted once the kernel's pool is ready. */
	return getrandom(ret_nonce, PRAAS_NONCE_BYTES, 0) == PRAAS_NONCE_BYTES ? 0
									       : -EIO;
}

int praas_handshake_proof(const struct praas_handshake *h, bool server,
			  uint8_t ret_proof[PRAAS_KEY_BYTES])
{
	const struct praas_mac_part parts[] = {
		{ server ? server_label : client_label, sizeof(server_label) - 1 },
		{ h->client_nonce, PRAAS_NONCE_BYTES },
		{ h->server_nonce, PRAAS_NONCE_BYTES },
		{ h->ticket, PRAAS_TICKET_BYTES },
	};

	return praas_mac_once(h->session_key, parts, 4, ret_proof);
}

int praas_handshake_check(const struct praas_handshake *h, bool server,
			  const uint8_t proof[PRAAS_KEY_BYTES])
{
	uint8_t want[PRAAS_KEY_BYTES];
	int rc = praas_handshake_proof(h, server, want);

	if (rc != 0)
		return rc;
	return praas_mac_equal(want, proof) ? 0 : -EACCES;
}

void praas_hello_encode(const struct praas_handshake *h,
			uint8_t ret_data[PRAAS_HELLO_BYTES])
{
	memcpy(ret_data, h->ticket, PRAAS_TICKET_BYTES);
	memcpy(ret_data + PRAAS_TICKET_BYTES, h->client_nonce, PRAAS_NONCE_BYTES);
}

int praas_hello_decode(const uint8_t *data, uint64_t bytes,
		       struct praas_handshake *ret_h)
{
	if (bytes != PRAAS_HELLO_BYTES)
		return -EPROTO;
	memcpy(ret_h->ticket, data, PRAAS_TICKET_BYTES);
	memcpy(ret_h->client_nonce, data + PRAAS_TICKET_BYTES, PRAAS_NONCE_BYTES);
	return 0;
}

/* In the length byte of a function's name, whose length is at most 64. */
#define FUNCTION_DIRECT 0x80u

uint64_t praas_welcome_bytes(const struct praas_welcome *w)
{
	uint64_t bytes = PRAAS_WELCOME_HEAD_BYTES;

	for (uint32_t i = 0; i < w->functions_count; i++)
		bytes += 1 + strlen(w->functions[i]);
	return bytes;
}

void praas_welcome_encode(const struct praas_welcome *w, uint8_t *ret_data)
{
	uint8_t *at = ret_data + PRAAS_WELCOME_HEAD_BYTES;

	praas_put_u64(ret_data, w->pid);
	praas_put_u32(ret_data + 8, w->epoch);
	praas_put_u32(ret_data + 12, w->inflight_max);
	praas_put_u64(ret_data + 16, w->bytes_max);
	praas_put_u32(ret_data + 24, w->functions_count);
	praas_put_u32(ret_data + 28, 0);
	for (uint32_t i = 0; i < w->functions_count; i++) {
		size_t bytes = strlen(w->functions[i]);

		*at++ = (uint8_t)(bytes | (w->function_flags && (w->function_flags[i] &
								 PRAAS_FUNCTION_DIRECT)
						   ? FUNCTION_DIRECT
						   : 0));
		memcpy(at, w->functions[i], bytes);
		at += bytes;
	}
}

int praas_welcome_decode(const uint8_t *data, uint64_t bytes,
			 char (*functions)[PRAAS_NAME_MAX + 1], uint8_t *flags,
			 struct praas_welcome *ret_w)
{
	uint64_t at = PRAAS_WELCOME_HEAD_BYTES;
	uint32_t count;

	if (bytes < PRAAS_WELCOME_HEAD_BYTES)
		return -EPROTO;
	count = praas_get_u32(data + 24);
	if (count > PRAAS_FUNCTIONS_MAX || praas_get_u32(data + 28) != 0)
		return -EPROTO;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t head = at < bytes ? data[at] : 0;
		uint8_t n = head & (uint8_t)~FUNCTION_DIRECT;

		if (n == 0 || n > PRAAS_NAME_MAX || bytes - at - 1 < n ||
		    memchr(data + at + 1, 0, n) != NULL)
			return -EPROTO;
		memcpy(functions[i], data + at + 1, n);
		functions[i][n] = '\0';
		flags[i] = head & FUNCTION_DIRECT ? PRAAS_FUNCTION_DIRECT : 0;
		at += 1u + n;
	}
	if (at != bytes)
		return -EPROTO;
	*ret_w = (struct praas_welcome){
		.pid = praas_get_u64(data),
		.epoch = praas_get_u32(data + 8),
		.inflight_max = praas_get_u32(data + 12),
		.bytes_max = praas_get_u64(data + 16),
		.functions_count = count,
		.functions = (const char(*)[PRAAS_NAME_MAX + 1]) functions,
		.function_flags = flags,
	};
	return 0;
}
