/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_packet.h"

#include <errno.h>
#include <string.h>

#include "internal/base.h"
#include "internal/bytes.h"

#define MAGIC 0x4f50u /* "PO" */
#define AT_SOURCE 16u /* of a frame's header */
#define AT_SEQUENCE 24u

uint64_t praas_ofi_packet_encode(const struct praas_ofi_packet *p,
				 uint8_t ret_wire[PRAAS_FRAME_BYTES])
{
	praas_put_u16(ret_wire, MAGIC);
	ret_wire[2] = PRAAS_OFI_VERSION;
	ret_wire[3] = p->type;
	praas_put_u32(ret_wire + 4, p->reason);
	praas_put_u64(ret_wire + 8, p->from);
	praas_put_u64(ret_wire + 16, p->to);
	praas_put_u32(ret_wire + 24, p->number);
	praas_put_u32(ret_wire + 28, p->ack);
	praas_put_u64(ret_wire + 32, p->addr);
	praas_put_u64(ret_wire + 40, p->key);
	praas_put_u64(ret_wire + 48, 0);
	praas_put_u64(ret_wire + 56, 0);
	return PRAAS_FRAME_BYTES;
}

uint64_t praas_ofi_frame_encode(const struct praas_buf *buf,
				const struct praas_ofi_packet *p, uint8_t *ret_wire)
{
	uint64_t bytes = PRAAS_FRAME_BYTES;

	praas_frame_encode(&buf->head, ret_wire);
	if (p != NULL) {
		praas_put_u64(ret_wire + AT_SOURCE, p->to);
		praas_put_u32(ret_wire + AT_SEQUENCE, p->number);
		praas_put_u32(ret_wire + AT_SEQUENCE + 4, p->ack);
	}
	if ((buf->head.flags & PRAAS_FRAME_TRACE) != 0 || buf->head.key_bytes != 0)
		bytes += praas_frame_meta_encode(&buf->head, buf->trace, buf->key,
						 ret_wire + bytes);
	return bytes;
}

/* What has a body, and of which size, the frame in it not looked at. */
static bool body_fits(const struct praas_ofi_packet *p)
{
	switch ((enum praas_ofi_type)p->type) {
	case PRAAS_OFI_FRAME:
	case PRAAS_OFI_OFFER:
	case PRAAS_OFI_BEGIN:
		return p->body_bytes >= PRAAS_FRAME_BYTES;
	case PRAAS_OFI_MORE:
		return p->body_bytes > 0;
	case PRAAS_OFI_CONNECT:
		return p->body_bytes > 0 && p->from != 0;
	case PRAAS_OFI_ACCEPT:
		return p->body_bytes == 0 && p->from != 0;
	case PRAAS_OFI_FIN:
	case PRAAS_OFI_REFUSE:
	case PRAAS_OFI_ACK:
	case PRAAS_OFI_PING:
	case PRAAS_OFI_RESET:
		return p->body_bytes == 0;
	case PRAAS_OFI_TYPES:
		break;
	}
	return false;
}

int praas_ofi_packet_decode(const uint8_t *wire, uint64_t bytes,
			    struct praas_ofi_packet *ret_p)
{
	struct praas_ofi_packet p = { .type = PRAAS_OFI_FRAME };

	if (bytes < PRAAS_FRAME_BYTES || bytes > PRAAS_OFI_PACKET_BYTES)
		return -EPROTO;
	p.to = praas_get_u64(wire + AT_SOURCE);
	p.number = praas_get_u32(wire + AT_SEQUENCE);
	p.ack = praas_get_u32(wire + AT_SEQUENCE + 4);
	p.body = wire;
	p.body_bytes = (uint32_t)bytes;
	if (praas_get_u16(wire) == PRAAS_FRAME_MAGIC) {
		*ret_p = p;
		return 0;
	}
	if (praas_get_u16(wire) != MAGIC || wire[2] != PRAAS_OFI_VERSION ||
	    wire[3] == PRAAS_OFI_FRAME)
		return -EPROTO;
	p.type = wire[3];
	p.reason = praas_get_u32(wire + 4);
	p.from = praas_get_u64(wire + 8);
	p.addr = praas_get_u64(wire + 32);
	p.key = praas_get_u64(wire + 40);
	p.body += PRAAS_FRAME_BYTES;
	p.body_bytes -= PRAAS_FRAME_BYTES;
	if (!body_fits(&p))
		return -EPROTO;
	*ret_p = p;
	return 0;
}

int praas_ofi_frame_decode(const struct praas_ofi_packet *p, uint64_t bytes_max,
			   struct praas_buf *ret_buf, const uint8_t **ret_payload)
{
	uint64_t meta, left = p->body_bytes - PRAAS_FRAME_BYTES;
	int rc = praas_frame_decode(p->body, bytes_max, &ret_buf->head);

	if (rc != 0)
		return rc;
	meta = praas_frame_meta_bytes(&ret_buf->head);
	if (meta > left)
		return -EPROTO;
	left -= meta;
	if ((p->type == PRAAS_OFI_FRAME && left != ret_buf->head.bytes) ||
	    (p->type == PRAAS_OFI_OFFER && (left != 0 || ret_buf->head.bytes == 0)) ||
	    (p->type == PRAAS_OFI_BEGIN && (left == 0 || left >= ret_buf->head.bytes)))
		return -EPROTO;
	ret_buf->key[0] = '\0';
	*ret_payload = p->body + PRAAS_FRAME_BYTES + meta;
	if (meta == 0)
		return 0;
	return praas_frame_meta_decode(&ret_buf->head, p->body + PRAAS_FRAME_BYTES,
				       ret_buf->trace, ret_buf->key);
}
