/* SPDX-License-Identifier: Apache-2.0 */
#include "ofi_raw.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "internal/base.h"
#include "transport/handshake.h"

#define PATIENCE_NS UINT64_C(5000000000)

struct raw raw;
static struct rig *rig;

void raw_open(struct rig *with)
{
	struct praas_ofi_addr addr;
	uint8_t name[PRAAS_OFI_NAME_MAX];
	uint32_t bytes, receives = RAW_RECEIVES;

	rig = with;
	memset(&raw, 0, sizeof(raw));
	assert_int_equal(praas_ofi_addr_parse(rig->addr, &addr), 0);
	assert_int_equal(praas_ofi_fabric_open(&raw.fabric, &addr, false, &receives),
			 0);
	assert_int_equal(praas_ofi_fabric_resolve(&raw.fabric, &addr, name, &bytes), 0);
	assert_int_equal(fi_av_insert(raw.fabric.av, name, 1, &raw.server, 0, NULL), 1);
	for (unsigned i = 0; i < RAW_RECEIVES; i++)
		assert_int_equal(fi_recv(raw.fabric.ep, raw.in[i], sizeof(raw.in[i]),
					 NULL, FI_ADDR_UNSPEC, &raw.context[i]),
				 0);
}

void raw_close(void)
{
	praas_ofi_fabric_close(&raw.fabric);
}

static void raw_take(uint8_t *packet, size_t bytes)
{
	unsigned type = packet[1] == 0x4f ? packet[3] : PRAAS_OFI_FRAME;

	assert_true(type < PRAAS_OFI_TYPES);
	raw.ack += praas_ofi_counted((uint8_t)type);
	memcpy(raw.kept[type], packet, praas_min_u64(bytes, sizeof(raw.kept[type])));
	raw.came[type] = true;
	assert_int_equal(fi_recv(raw.fabric.ep, packet, PRAAS_OFI_PACKET_BYTES, NULL,
				 FI_ADDR_UNSPEC,
				 &raw.context[(packet - raw.in[0]) /
					      (ptrdiff_t)PRAAS_OFI_PACKET_BYTES]),
			 0);
}

/* One look, and one turn of the server. */
static void raw_look(void)
{
	struct fi_cq_msg_entry entry;
	struct fi_cq_err_entry error = { .err = 0 };
	ssize_t n = fi_cq_read(raw.fabric.cq, &entry, 1);

	if (n == -FI_EAVAIL) {
		(void)fi_cq_readerr(raw.fabric.cq, &error, 0);
		raw.busy &= error.op_context != &raw.sending;
	} else if (n == 1 && entry.op_context == &raw.sending) {
		raw.busy = false;
	} else if (n == 1) {
		raw_take(raw.in[(struct fi_context2 *)entry.op_context - raw.context],
			 entry.len);
	}
	rig_turn(rig);
}

void raw_until(unsigned type)
{
	uint64_t end_ns = praas_now_ns() + PATIENCE_NS;

	while (!raw.came[type]) {
		raw_look();
		sched_yield();
		if (praas_now_ns() > end_ns)
			fail_msg("no packet of type %u came", type);
	}
	raw.came[type] = false;
	memcpy(raw.last, raw.kept[type], sizeof(raw.kept[type]));
}

void raw_send(const void *wire, size_t bytes)
{
	uint64_t end_ns = praas_now_ns() + PATIENCE_NS;
	ssize_t rc;

	while ((rc = fi_send(raw.fabric.ep, wire, bytes, NULL, raw.server,
			     &raw.sending)) == -FI_EAGAIN) {
		raw_look();
		if (praas_now_ns() > end_ns)
			fail_msg("the provider takes nothing");
	}
	assert_int_equal(rc, 0);
	raw.busy = true;
	while (raw.busy) {
		raw_look();
		if (praas_now_ns() > end_ns)
			fail_msg("a packet does not leave");
	}
}

struct praas_ofi_packet raw_packet_of(uint8_t type)
{
	return (struct praas_ofi_packet){ .type = type,
					  .to = raw.peer_id,
					  .from = 0x7000000000000001,
					  .number = raw.number + 1,
					  .ack = raw.ack };
}

void raw_packet(const struct praas_ofi_packet *p, const void *body, size_t bytes)
{
	static uint8_t wire[PRAAS_OFI_PACKET_BYTES];

	(void)praas_ofi_packet_encode(p, wire);
	if (bytes > 0)
		memcpy(wire + PRAAS_FRAME_BYTES, body, bytes);
	raw.number += praas_ofi_counted(p->type);
	raw_send(wire, PRAAS_FRAME_BYTES + bytes);
}

void raw_frame(const struct praas_frame *head, const void *data)
{
	static uint8_t wire[PRAAS_OFI_PACKET_BYTES];
	struct praas_ofi_packet p = raw_packet_of(PRAAS_OFI_FRAME);
	struct praas_buf buf = { .head = *head };
	uint64_t bytes = praas_ofi_frame_encode(&buf, &p, wire);

	if (head->bytes > 0)
		memcpy(wire + bytes, data, head->bytes);
	raw.number++;
	raw_send(wire, bytes + head->bytes);
}

void raw_connect(void)
{
	struct praas_ofi_packet p = raw_packet_of(PRAAS_OFI_CONNECT);

	raw.number = 0;
	raw.ack = 0;
	p.to = 0;
	p.number = 0;
	raw_packet(&p, raw.fabric.name, raw.fabric.name_bytes);
	raw_until(PRAAS_OFI_ACCEPT);
	raw.peer_id = praas_get_u64(raw.last + 8);
	assert_int_not_equal(raw.peer_id, 0);
}

void raw_handshake(void)
{
	struct praas_ticket t = rig_ticket();
	struct praas_frame f = { .kind = PRAAS_FRAME_HELLO,
				 .bytes = PRAAS_HELLO_BYTES };
	uint8_t hello[PRAAS_HELLO_BYTES], proof[PRAAS_KEY_BYTES];
	const uint8_t *challenge = raw.last + PRAAS_FRAME_BYTES;
	struct praas_handshake h;
	unsigned opened = rig->server.opened;

	raw_connect();
	assert_int_equal(
		praas_ticket_issue(rig->controller_key, &t, h.ticket, h.session_key),
		0);
	memset(h.client_nonce, 7, sizeof(h.client_nonce));
	praas_hello_encode(&h, hello);
	raw_frame(&f, hello);
	raw_until(PRAAS_OFI_FRAME);
	assert_int_equal(raw.last[3], PRAAS_FRAME_CHALLENGE);
	memcpy(h.server_nonce, challenge, PRAAS_NONCE_BYTES);
	assert_int_equal(praas_handshake_proof(&h, false, proof), 0);
	f = (struct praas_frame){ .kind = PRAAS_FRAME_PROOF,
				  .bytes = PRAAS_PROOF_BYTES };
	raw_frame(&f, proof);
	rig_until(rig, &rig->server.opened, opened + 1);
	raw_until(PRAAS_OFI_FRAME);
	assert_int_equal(raw.last[3], PRAAS_FRAME_WELCOME);
}
