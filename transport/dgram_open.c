/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dgram_open.h"

#include <errno.h>
#include <string.h>

#include "internal/base.h"
#include "internal/bytes.h"
#include "transport/arq.h"
#include "transport/mac.h"

#define MAGIC 0x5150u /* the bytes P Q */
#define VERSION 1u
#define PROOF_BYTES PRAAS_MAC_BYTES

static const char open_label[] = "praas dgram open 1";
static const char accept_label[] = "praas dgram accept 1";
static const char key_label[] = "praas dgram key 1";

void praas_dgram_head_encode(const struct praas_dgram_head *head, uint8_t *to)
{
	praas_put_u16(to, MAGIC);
	to[2] = VERSION;
	to[3] = (uint8_t)head->kind;
	praas_put_u32(to + 4, 0);
	praas_put_u64(to + 8, head->connection);
	praas_put_u64(to + 16, head->number);
}

int praas_dgram_head_decode(const uint8_t *data, uint32_t bytes,
			    struct praas_dgram_head *ret_head)
{
	if (bytes < PRAAS_DGRAM_HEAD_BYTES || praas_get_u16(data) != MAGIC ||
	    data[2] != VERSION || data[3] < PRAAS_DGRAM_OPEN ||
	    data[3] > PRAAS_DGRAM_DATA || praas_get_u32(data + 4) != 0)
		return -EPROTO;
	*ret_head = (struct praas_dgram_head){ (enum praas_dgram_kind)data[3],
					       praas_get_u64(data + 8),
					       praas_get_u64(data + 16) };
	if ((ret_head->kind == PRAAS_DGRAM_DATA) != (ret_head->number != 0) ||
	    (ret_head->kind == PRAAS_DGRAM_OPEN) != (ret_head->connection == 0))
		return -EPROTO;
	return 0;
}

static int open_proof(const struct praas_dgram_open *open, const uint8_t *data,
		      uint8_t ret_proof[PROOF_BYTES])
{
	const struct praas_mac_part parts[] = {
		{ open_label, sizeof(open_label) - 1 },
		{ data, PRAAS_DGRAM_OPEN_BYTES - PROOF_BYTES },
	};

	return praas_mac_once(open->session_key, parts, 2, ret_proof);
}

int praas_dgram_open_encode(const struct praas_dgram_open *open,
			    uint8_t ret_data[PRAAS_DGRAM_OPEN_BYTES])
{
	struct praas_dgram_head head = { .kind = PRAAS_DGRAM_OPEN };

	memset(ret_data, 0, PRAAS_DGRAM_OPEN_BYTES);
	praas_dgram_head_encode(&head, ret_data);
	praas_put_u64(ret_data + 24, open->client);
	memcpy(ret_data + 32, open->client_nonce, PRAAS_DGRAM_NONCE_BYTES);
	memcpy(ret_data + 64, open->ticket, PRAAS_TICKET_BYTES);
	praas_put_u32(ret_data + 216, open->segment_bytes);
	praas_put_u16(ret_data + 220, open->flags);
	return open_proof(open, ret_data, ret_data + 224);
}

static bool segment_fits(uint32_t bytes)
{
	return bytes >= PRAAS_ARQ_SEGMENT_MIN && bytes <= PRAAS_ARQ_SEGMENT_MAX &&
	       bytes % 64 == 0;
}

int praas_dgram_open_decode(const uint8_t *data, uint32_t bytes,
			    struct praas_dgram_open *ret_open)
{
	if (bytes != PRAAS_DGRAM_OPEN_BYTES || praas_get_u64(data + 24) == 0 ||
	    (praas_get_u16(data + 220) & ~PRAAS_DGRAM_CLEAR) != 0 ||
	    praas_get_u16(data + 222) != 0 || !segment_fits(praas_get_u32(data + 216)))
		return -EPROTO;
	memset(ret_open, 0, sizeof(*ret_open));
	ret_open->client = praas_get_u64(data + 24);
	memcpy(ret_open->client_nonce, data + 32, PRAAS_DGRAM_NONCE_BYTES);
	memcpy(ret_open->ticket, data + 64, PRAAS_TICKET_BYTES);
	ret_open->segment_bytes = praas_get_u32(data + 216);
	ret_open->flags = praas_get_u16(data + 220);
	return 0;
}

int praas_dgram_open_check(const struct praas_dgram_open *open, const uint8_t *data)
{
	uint8_t proof[PROOF_BYTES];
	int rc = open_proof(open, data, proof);

	if (rc != 0)
		return rc;
	return praas_mac_equal(proof, data + 224) ? 0 : -EACCES;
}

static int accept_proof(const struct praas_dgram_open *open, const uint8_t *data,
			uint8_t ret_proof[PROOF_BYTES])
{
	const struct praas_mac_part parts[] = {
		{ accept_label, sizeof(accept_label) - 1 },
		{ open->client_nonce, PRAAS_DGRAM_NONCE_BYTES },
		{ data, PRAAS_DGRAM_ACCEPT_BYTES - PROOF_BYTES },
	};

	return praas_mac_once(open->session_key, parts, 3, ret_proof);
}

int praas_dgram_accept_encode(const struct praas_dgram_open *open,
			      uint8_t ret_data[PRAAS_DGRAM_ACCEPT_BYTES])
{
	struct praas_dgram_head head = { .kind = PRAAS_DGRAM_ACCEPT,
					 .connection = open->client };

	memset(ret_data, 0, PRAAS_DGRAM_ACCEPT_BYTES);
	praas_dgram_head_encode(&head, ret_data);
	praas_put_u64(ret_data + 24, open->server);
	memcpy(ret_data + 32, open->server_nonce, PRAAS_DGRAM_NONCE_BYTES);
	praas_put_u32(ret_data + 64, open->segment_bytes);
	praas_put_u16(ret_data + 68, open->flags);
	return accept_proof(open, ret_data, ret_data + 72);
}

int praas_dgram_accept_decode(const uint8_t *data, uint32_t bytes,
			      struct praas_dgram_open *open)
{
	uint8_t proof[PROOF_BYTES];
	int rc;

	if (bytes != PRAAS_DGRAM_ACCEPT_BYTES)
		return -EPROTO;
	rc = accept_proof(open, data, proof);
	if (rc != 0)
		return rc;
	if (!praas_mac_equal(proof, data + 72))
		return -EACCES;
	/* It holds the key; what it says may still be wrong. */
	if (praas_get_u64(data + 24) == 0 ||
	    praas_get_u32(data + 64) > open->segment_bytes ||
	    !segment_fits(praas_get_u32(data + 64)) ||
	    (praas_get_u16(data + 68) & ~open->flags) != 0 ||
	    praas_get_u16(data + 70) != 0)
		return -EPROTO;
	open->server = praas_get_u64(data + 24);
	memcpy(open->server_nonce, data + 32, PRAAS_DGRAM_NONCE_BYTES);
	open->segment_bytes = praas_get_u32(data + 64);
	open->flags = praas_get_u16(data + 68);
	return 0;
}

void praas_dgram_refuse_encode(const struct praas_dgram_open *open,
			       enum praas_dgram_reason reason,
			       uint8_t ret_data[PRAAS_DGRAM_REFUSE_BYTES])
{
	struct praas_dgram_head head = { .kind = PRAAS_DGRAM_REFUSE,
					 .connection = open->client };

	memset(ret_data, 0, PRAAS_DGRAM_REFUSE_BYTES);
	praas_dgram_head_encode(&head, ret_data);
	memcpy(ret_data + 24, open->client_nonce, PRAAS_DGRAM_NONCE_BYTES);
	praas_put_u32(ret_data + 56, (uint32_t)reason);
}

int praas_dgram_refuse_decode(const uint8_t *data, uint32_t bytes,
			      const struct praas_dgram_open *open)
{
	if (bytes != PRAAS_DGRAM_REFUSE_BYTES ||
	    memcmp(data + 24, open->client_nonce, PRAAS_DGRAM_NONCE_BYTES) != 0)
		return -EPROTO;
	switch (praas_get_u32(data + 56)) {
	case PRAAS_DGRAM_NOBODY:
		return -ECONNREFUSED;
	case PRAAS_DGRAM_TICKET:
		return -EACCES;
	case PRAAS_DGRAM_LIMIT:
		return -EBUSY;
	default:
		return -EPROTO;
	}
}

/* The key of one direction: 'c' what the client sends. */
static int key_of(const struct praas_dgram_open *open, char direction,
		  uint8_t ret_key[PRAAS_SEAL_KEY_BYTES])
{
	uint8_t info[sizeof(key_label) + 2 * PRAAS_DGRAM_NONCE_BYTES];

	memcpy(info, key_label, sizeof(key_label) - 1);
	info[sizeof(key_label) - 1] = (uint8_t)direction;
	memcpy(info + sizeof(key_label), open->client_nonce, PRAAS_DGRAM_NONCE_BYTES);
	memcpy(info + sizeof(key_label) + PRAAS_DGRAM_NONCE_BYTES, open->server_nonce,
	       PRAAS_DGRAM_NONCE_BYTES);
	return praas_mac_derive(open->session_key, info, sizeof(info), ret_key);
}

int praas_dgram_keys(const struct praas_dgram_open *open, bool is_server,
		     struct praas_seal **ret_out, struct praas_seal **ret_in)
{
	bool clear = (open->flags & PRAAS_DGRAM_CLEAR) != 0;
	uint8_t out_key[PRAAS_SEAL_KEY_BYTES], in_key[PRAAS_SEAL_KEY_BYTES];
	struct praas_seal *out = NULL, *in = NULL;
	int rc = key_of(open, is_server ? 's' : 'c', out_key);

	if (rc == 0)
		rc = key_of(open, is_server ? 'c' : 's', in_key);
	if (rc == 0)
		rc = praas_seal_new(out_key, clear, PRAAS_SEAL_EPOCH_SHIFT, &out);
	if (rc == 0)
		rc = praas_seal_new(in_key, clear, PRAAS_SEAL_EPOCH_SHIFT, &in);
	praas_mac_wipe(out_key, sizeof(out_key));
	praas_mac_wipe(in_key, sizeof(in_key));
	if (rc != 0) {
		praas_seal_free(out);
		return rc;
	}
	*ret_out = out;
	*ret_in = in;
	return 0;
}
