/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/moved.h"

#include <errno.h>
#include <string.h>

#include "transport/mac.h"

/* ticket 152 | session key, sealed, 32 | count 1 | for each endpoint: length 1, text | proof 32 */

enum {
	AT_KEY = PRAAS_TICKET_BYTES,
	AT_COUNT = AT_KEY + PRAAS_KEY_BYTES,
	AT_ENDPOINTS = AT_COUNT + 1
};

static const char key_label[] = "praas moved key 1";
static const char proof_label[] = "praas moved proof 1";

/* One pad a ticket, and a ticket is made once. */
static int apply_pad(const uint8_t session_key[PRAAS_KEY_BYTES],
		     const uint8_t ticket[PRAAS_TICKET_BYTES],
		     const uint8_t from[PRAAS_KEY_BYTES], uint8_t to[PRAAS_KEY_BYTES])
{
	const struct praas_mac_part parts[] = {
		{ key_label, sizeof(key_label) - 1 },
		{ ticket, PRAAS_TICKET_BYTES },
	};
	uint8_t pad[PRAAS_KEY_BYTES];
	int rc = praas_mac_once(session_key, parts, 2, pad);

	for (unsigned i = 0; rc == 0 && i < PRAAS_KEY_BYTES; i++)
		to[i] = from[i] ^ pad[i];
	praas_mac_wipe(pad, sizeof(pad));
	return rc;
}

static int proof_of(const uint8_t session_key[PRAAS_KEY_BYTES], const uint8_t *data,
		    uint64_t bytes, uint8_t ret_proof[PRAAS_KEY_BYTES])
{
	const struct praas_mac_part parts[] = {
		{ proof_label, sizeof(proof_label) - 1 },
		{ data, bytes },
	};

	return praas_mac_once(session_key, parts, 2, ret_proof);
}

/* "scheme://rest" of printable characters. */
static bool is_address(const char *text, size_t bytes)
{
	const char *at = memchr(text, ':', bytes);

	for (size_t i = 0; i < bytes; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return false;
	return bytes != 0 && bytes < PRAAS_ADDR_MAX && at != NULL && at != text &&
	       (size_t)(text + bytes - at) > 3 && memcmp(at, "://", 3) == 0;
}

static void add(struct praas_moved *m, const char *text, size_t bytes)
{
	char *to = m->endpoints[m->endpoints_count++];

	memcpy(to, text, bytes);
	to[bytes] = '\0';
}

void praas_moved_endpoints(const char *text, struct praas_moved *ret_moved)
{
	ret_moved->endpoints_count = 0;
	while (*text != '\0' &&
	       ret_moved->endpoints_count < PRAAS_MOVED_ENDPOINTS_MAX) {
		size_t bytes = strcspn(text, "\n");

		if (is_address(text, bytes))
			add(ret_moved, text, bytes);
		text += bytes;
		text += *text == '\n';
	}
}

int praas_moved_encode(const struct praas_moved *moved,
		       const uint8_t session_key[PRAAS_KEY_BYTES],
		       uint8_t ret_data[PRAAS_MOVED_BYTES_MAX], uint64_t *ret_bytes)
{
	uint64_t at = AT_ENDPOINTS;
	int rc;

	memcpy(ret_data, moved->secret.ticket, PRAAS_TICKET_BYTES);
	rc = apply_pad(session_key, moved->secret.ticket, moved->secret.session_key,
		       ret_data + AT_KEY);
	ret_data[AT_COUNT] = (uint8_t)moved->endpoints_count;
	for (uint32_t i = 0; i < moved->endpoints_count; i++) {
		size_t bytes = strlen(moved->endpoints[i]);

		ret_data[at] = (uint8_t)bytes;
		memcpy(ret_data + at + 1, moved->endpoints[i], bytes);
		at += 1 + bytes;
	}
	if (rc == 0)
		rc = proof_of(session_key, ret_data, at, ret_data + at);
	*ret_bytes = at + PRAAS_KEY_BYTES;
	return rc;
}

static int decode_endpoints(const uint8_t *data, uint64_t bytes, uint8_t count,
			    struct praas_moved *m)
{
	if (count == 0 || count > PRAAS_MOVED_ENDPOINTS_MAX)
		return -EPROTO;
	while (bytes > 0 && m->endpoints_count < count) {
		uint64_t length = data[0];

		if (length > bytes - 1 || !is_address((const char *)data + 1, length))
			return -EPROTO;
		add(m, (const char *)data + 1, length);
		data += 1 + length;
		bytes -= 1 + length;
	}
	return bytes == 0 && m->endpoints_count == count ? 0 : -EPROTO;
}

int praas_moved_decode(const uint8_t *data, uint64_t bytes,
		       const uint8_t session_key[PRAAS_KEY_BYTES],
		       struct praas_moved *ret_moved)
{
	struct praas_moved m = { .endpoints_count = 0 };
	uint8_t proof[PRAAS_KEY_BYTES];
	uint64_t end;
	int rc;

	if (bytes < AT_ENDPOINTS + PRAAS_KEY_BYTES || bytes > PRAAS_MOVED_BYTES_MAX)
		return -EPROTO;
	end = bytes - PRAAS_KEY_BYTES;
	rc = proof_of(session_key, data, end, proof);
	if (rc == 0 && !praas_mac_equal(proof, data + end))
		rc = -EACCES;
	if (rc == 0)
		rc = decode_endpoints(data + AT_ENDPOINTS, end - AT_ENDPOINTS,
				      data[AT_COUNT], &m);
	if (rc != 0)
		return rc;
	memcpy(m.secret.ticket, data, PRAAS_TICKET_BYTES);
	rc = apply_pad(session_key, data, data + AT_KEY, m.secret.session_key);
	if (rc == 0)
		*ret_moved = m;
	praas_mac_wipe(&m.secret, sizeof(m.secret));
	return rc;
}
