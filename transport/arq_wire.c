/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/arq_state.h"

/*
 * The body of a packet as docs/arq.md has it. Decoding checks what can be checked without the
 * connection: sizes, flags, zeros.
 */

#define FLAGS (PRAAS_ARQ_FLAG_ASKS | PRAAS_ARQ_FLAG_RESET)

uint32_t praas_arq_ack_encode(const struct praas_arq_ack *ack, uint8_t *to)
{
	praas_put_u64(to, ack->largest);
	praas_put_u64(to + 8, ack->next);
	praas_put_u64(to + 16, ack->limit);
	praas_put_u32(to + 24, ack->delay_us);
	to[28] = ack->flags;
	to[29] = ack->words;
	praas_put_u16(to + 30, ack->pieces);
	for (unsigned i = 0; i < ack->words; i++)
		praas_put_u64(to + PRAAS_ARQ_ACK_BYTES + (size_t)8 * i, ack->word[i]);
	return PRAAS_ARQ_ACK_BYTES + 8u * ack->words;
}

uint32_t praas_arq_ack_decode(const uint8_t *data, uint32_t bytes,
			      struct praas_arq_ack *ret_ack)
{
	if (bytes < PRAAS_ARQ_ACK_BYTES || (data[28] & ~FLAGS) != 0 ||
	    data[29] > PRAAS_ARQ_WORDS_MAX ||
	    bytes < PRAAS_ARQ_ACK_BYTES + 8u * data[29])
		return 0;
	ret_ack->largest = praas_get_u64(data);
	ret_ack->next = praas_get_u64(data + 8);
	ret_ack->limit = praas_get_u64(data + 16);
	ret_ack->delay_us = praas_get_u32(data + 24);
	ret_ack->flags = data[28];
	ret_ack->words = data[29];
	ret_ack->pieces = praas_get_u16(data + 30);
	for (unsigned i = 0; i < ret_ack->words; i++)
		ret_ack->word[i] =
			praas_get_u64(data + PRAAS_ARQ_ACK_BYTES + (size_t)8 * i);
	return PRAAS_ARQ_ACK_BYTES + 8u * ret_ack->words;
}

void praas_arq_piece_encode(const struct praas_arq_piece *piece, uint8_t *to)
{
	praas_put_u64(to, piece->segment);
	praas_put_u64(to + 8, piece->total);
	praas_put_u32(to + 16, piece->index);
	praas_put_u16(to + 20, piece->bytes);
	to[22] = piece->head;
	to[23] = 0;
}

uint32_t praas_arq_piece_decode(const uint8_t *data, uint32_t bytes,
				struct praas_arq_piece *ret_piece)
{
	if (bytes < PRAAS_ARQ_PIECE_BYTES || data[23] != 0)
		return 0;
	ret_piece->segment = praas_get_u64(data);
	ret_piece->total = praas_get_u64(data + 8);
	ret_piece->index = praas_get_u32(data + 16);
	ret_piece->bytes = praas_get_u16(data + 20);
	ret_piece->head = data[22];
	ret_piece->data = data + PRAAS_ARQ_PIECE_BYTES;
	if (ret_piece->bytes > bytes - PRAAS_ARQ_PIECE_BYTES)
		return 0;
	return PRAAS_ARQ_PIECE_BYTES + ret_piece->bytes;
}
