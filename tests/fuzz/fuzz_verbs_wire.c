/* SPDX-License-Identifier: Apache-2.0
 * What verbs peers say: a greeting, then a message. What is accepted says the same again. */
#include <string.h>

#include "internal/base.h"
#include "transport/verbs_wire.h"

static void greeting(const uint8_t *data, size_t bytes)
{
	uint8_t wire[PRAAS_VERBS_GREETING_BYTES];
	struct praas_verbs_greeting g;

	if (praas_verbs_greeting_decode(data, bytes, &g) != 0)
		return;
	praas_verbs_greeting_encode(&g, wire);
	praas_check(memcmp(wire, data, sizeof(wire)) == 0);
	praas_check(g.slots >= PRAAS_VERBS_SLOTS_MIN);
	praas_check(g.piece_bytes <= PRAAS_VERBS_PIECE_BYTES_MAX);
}

static void frame(const uint8_t *data, size_t bytes, bool offer)
{
	uint8_t trace[PRAAS_TRACE_BYTES];
	char key[PRAAS_KEY_MAX + 1];
	struct praas_frame f;
	uint64_t at;

	if (praas_verbs_frame_decode(data, bytes, offer, 1u << 20, &f, trace, key,
				     &at) != 0)
		return;
	praas_check(f.bytes <= 1u << 20);
	praas_check(strlen(key) == f.key_bytes);
	praas_check(at == bytes - (offer ? 0 : f.bytes));
	praas_check(!offer || f.bytes > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t wire[PRAAS_VERBS_WORDS_BYTES];
	struct praas_verbs_words w;

	greeting(data, bytes);
	if (praas_verbs_words_decode(data, bytes, &w) != 0)
		return 0;
	praas_verbs_words_encode(&w, wire);
	praas_check(memcmp(wire, data, sizeof(wire)) == 0);
	frame(data, bytes, false);
	frame(data, bytes, true);
	return 0;
}
