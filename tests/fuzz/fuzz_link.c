/* SPDX-License-Identifier: Apache-2.0
 *
 * What a controller may send: taken in whole and in pieces (of the first byte's size) the same messages
 * come out, and the same mistake. A raw part for which there is no room is told as lost.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/limits.h"
#include "control/node/link_private.h"
#include "internal/base.h"

struct outcome {
	uint64_t hash, raw_bytes;
	uint32_t messages;
	int rc;
};

static void note(struct outcome *o, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < bytes; i++)
		o->hash = (o->hash ^ at[i]) * 0x100000001b3ull;
}

static void take(struct outcome *o, json_t *message, struct praas_link_raw *raw,
		 bool room)
{
	char *text = json_dumps(message, JSON_COMPACT | JSON_SORT_KEYS);

	praas_check(json_is_object(message) && text);
	praas_check(raw->bytes <= PRAAS_LIMIT_RAW_BYTES);
	praas_check(raw->bytes == 0 || (raw->data != NULL) == room);
	note(o, text, strlen(text));
	if (raw->data)
		note(o, raw->data, raw->bytes);
	o->raw_bytes += raw->bytes;
	o->messages++;
	free(raw->data);
	json_decref(message);
	free(text);
}

static struct outcome feed(const uint8_t *data, size_t bytes, size_t piece, bool room)
{
	size_t under_way = room ? 0 : PRAAS_LIMIT_RAWS_BYTES, before = under_way;
	struct outcome o = { .rc = 0 };
	struct praas_link_raw raw;
	struct praas_link_in in;
	json_t *message;

	praas_check(praas_link_in_init(&in, &under_way) == 0);
	while (bytes > 0 && o.rc == 0) {
		size_t n;
		void *to;

		praas_link_in_room(&in, &to, &n);
		praas_check(n > 0);
		n = praas_min_u64(praas_min_u64(n, piece), bytes);
		memcpy(to, data, n);
		praas_link_in_took(&in, n);
		data += n;
		bytes -= n;
		while ((o.rc = praas_link_in_next(&in, &message, &raw)) == 1)
			take(&o, message, &raw, room);
	}
	praas_link_in_release(&in);
	praas_check(under_way == before);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct outcome whole, pieces, lost;

	if (bytes == 0)
		return 0;
	whole = feed(data + 1, bytes - 1, SIZE_MAX, true);
	pieces = feed(data + 1, bytes - 1, 1 + data[0] % 64u, true);
	lost = feed(data + 1, bytes - 1, 1 + data[0] % 7u, false);
	praas_check(whole.rc == pieces.rc && whole.messages == pieces.messages &&
		    whole.hash == pieces.hash);
	praas_check(whole.rc == lost.rc && whole.messages == lost.messages &&
		    whole.raw_bytes == lost.raw_bytes);
	return 0;
}
