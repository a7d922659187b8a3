/* SPDX-License-Identifier: Apache-2.0
 *
 * A header, a meta block and a descriptor from anybody: refused, or the same again when encoded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/frame.h"

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void try_meta(const struct praas_frame *f, const uint8_t *data, size_t bytes)
{
	uint8_t meta[PRAAS_META_MAX] = { 0 }, again[PRAAS_META_MAX];
	uint8_t trace[PRAAS_TRACE_BYTES] = { 0 };
	char key[PRAAS_KEY_MAX + 1];
	uint64_t used =
		(f->flags & PRAAS_FRAME_TRACE ? PRAAS_TRACE_BYTES : 0u) + f->key_bytes;

	memcpy(meta, data, bytes < sizeof(meta) ? bytes : sizeof(meta));
	if (praas_frame_meta_decode(f, meta, trace, key) != 0)
		return;
	require(strlen(key) == f->key_bytes);
	require(praas_frame_meta_encode(f, trace, key, again) ==
		praas_frame_meta_bytes(f));
	require(memcmp(meta, again, used) == 0);
}

static void try_descriptor(const uint8_t *data)
{
	struct praas_desc d, again;
	struct praas_frame f;
	uint16_t segment;
	uint64_t offset;

	memcpy(&d, data, sizeof(d));
	if (praas_frame_from_desc(&d, &f, &segment, &offset) != 0)
		return;
	praas_frame_to_desc(&f, segment, offset, &again);
	require(memcmp(&d, &again, sizeof(d)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const uint64_t limits[] = { 0, 4096, UINT64_C(1) << 30, UINT64_MAX };
	uint8_t wire[PRAAS_FRAME_BYTES];
	struct praas_frame f;

	if (bytes < PRAAS_FRAME_BYTES)
		return 0;
	try_descriptor(data);
	for (unsigned i = 0; i < 4; i++) {
		int rc = praas_frame_decode(data, limits[i], &f);

		require(rc == 0 || rc == -EPROTO || rc == -EMSGSIZE);
		if (rc != 0)
			continue;
		require(f.bytes <= limits[i] && praas_frame_body_bytes(&f) >= f.bytes);
		praas_frame_encode(&f, wire);
		require(memcmp(wire, data, sizeof(wire)) == 0);
		try_meta(&f, data + PRAAS_FRAME_BYTES, bytes - PRAAS_FRAME_BYTES);
	}
	return 0;
}
