/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/span.h"

#include "internal/bytes.h"

#define FLAGS_AT 24u /* in a block, behind trace and span */

/* The finaliser of splitmix64: each bit of the input changes half of the output's. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

void praas_span_hand_on(const struct praas_call_info *info,
			uint8_t ret_block[PRAAS_TRACE_BYTES])
{
	uint64_t span =
		mix(praas_get_u64(info->span_id) ^ mix(info->id ^ mix(info->pid)));

	memset(ret_block, 0, PRAAS_TRACE_BYTES);
	memcpy(ret_block, info->trace_id, sizeof(info->trace_id));
	/* Zeros are no span. */
	praas_put_u64(ret_block + sizeof(info->trace_id), span ? span : 1);
	ret_block[FLAGS_AT] = info->trace_flags;
}

void praas_span_take_over(struct praas_call_info *info,
			  const uint8_t block[PRAAS_TRACE_BYTES])
{
	if (praas_span_traced(info))
		return;
	memcpy(info->trace_id, block, sizeof(info->trace_id));
	memcpy(info->span_id, block + sizeof(info->trace_id), sizeof(info->span_id));
	info->trace_flags = block[FLAGS_AT];
}
