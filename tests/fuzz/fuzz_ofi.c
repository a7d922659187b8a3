/* SPDX-License-Identifier: Apache-2.0
 *
 * A packet of a fabric from anybody, and an address: refused, or the same again when encoded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/ofi_addr.h"
#include "transport/ofi_packet.h"

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void try_frame(const struct praas_ofi_packet *p, const uint8_t *wire,
		      uint64_t limit)
{
	uint8_t again[PRAAS_FRAME_BYTES + PRAAS_META_MAX];
	const uint8_t *payload = NULL, *end = p->body + p->body_bytes;
	struct praas_buf buf = { .data = NULL };
	uint64_t head, left;
	int rc = praas_ofi_frame_decode(p, limit, &buf, &payload);

	require(rc == 0 || rc == -EPROTO || rc == -EMSGSIZE);
	if (rc != 0)
		return;
	require(buf.head.bytes <= limit && strlen(buf.key) == buf.head.key_bytes);
	require(payload >= p->body + PRAAS_FRAME_BYTES && payload <= end);
	left = (uint64_t)(end - payload);
	if (p->type == PRAAS_OFI_FRAME)
		require(left == buf.head.bytes);
	else if (p->type == PRAAS_OFI_OFFER)
		require(left == 0 && buf.head.bytes > 0);
	else
		require(left > 0 && left < buf.head.bytes);
	head = praas_ofi_frame_encode(&buf, p->type == PRAAS_OFI_FRAME ? p : NULL,
				      again);
	require(head == (uint64_t)(payload - p->body));
	require(memcmp(again, p->body, PRAAS_FRAME_BYTES) == 0);
	if (p->type == PRAAS_OFI_FRAME)
		require(p->body == wire);
}

static void try_packet(const uint8_t *data, size_t bytes)
{
	static const uint64_t limits[] = { 0, 4096, UINT64_C(1) << 30, UINT64_MAX };
	uint8_t again[PRAAS_FRAME_BYTES];
	struct praas_ofi_packet p;
	int rc = praas_ofi_packet_decode(data, bytes, &p);

	require(rc == 0 || rc == -EPROTO);
	if (rc != 0)
		return;
	require(p.type < PRAAS_OFI_TYPES && p.body >= data &&
		p.body + p.body_bytes == data + bytes);
	if (p.type != PRAAS_OFI_FRAME) {
		require(praas_ofi_packet_encode(&p, again) == PRAAS_FRAME_BYTES);
		require(memcmp(again, data, 48) == 0);
	}
	if (p.type <= PRAAS_OFI_BEGIN) {
		for (unsigned i = 0; i < 4; i++)
			try_frame(&p, data, limits[i]);
	}
}

static void try_address(const uint8_t *data, size_t bytes)
{
	struct praas_ofi_addr addr, same;
	char text[PRAAS_ADDR_MAX + 64], again[PRAAS_ADDR_MAX];
	size_t n = bytes < sizeof(text) - 7 ? bytes : sizeof(text) - 7;

	memcpy(text, "ofi://", 6);
	memcpy(text + 6, data, n);
	text[6 + n] = '\0';
	if (praas_ofi_addr_parse(text, &addr) != 0 ||
	    praas_ofi_addr_format(&addr, again) != 0)
		return;
	require(praas_ofi_addr_parse(again, &same) == 0);
	require(memcmp(&addr, &same, sizeof(addr)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	try_packet(data, bytes);
	try_address(data, bytes);
	return 0;
}
