/* SPDX-License-Identifier: Apache-2.0
 *
 * Tickets from anybody are refused; tickets that were signed, whatever they say, are accepted only
 * when they say what is expected.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/mac.h"
#include "transport/ticket.h"

static const uint8_t key[PRAAS_KEY_BYTES] = { 1, 2, 3 };

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* The input with a right MAC: gets beyond the first check. */
static void try_signed(const uint8_t *data, const struct praas_ticket_expect *expect)
{
	uint8_t wire[PRAAS_TICKET_BYTES], again[PRAAS_TICKET_BYTES],
		sk[PRAAS_KEY_BYTES], sk2[PRAAS_KEY_BYTES];
	struct praas_mac_part part = { wire, PRAAS_TICKET_BYTES - PRAAS_KEY_BYTES };
	struct praas_ticket t;
	int rc;

	memcpy(wire, data, part.bytes);
	require(praas_mac_once(key, &part, 1, wire + part.bytes) == 0);
	rc = praas_ticket_verify(key, wire, sizeof(wire), expect, &t, sk);
	require(rc == 0 || rc == -EPROTO || rc == -EACCES || rc == -ESTALE ||
		rc == -EKEYEXPIRED);
	if (rc != 0)
		return;
	require(t.pid == expect->pid && t.epoch == expect->epoch &&
		memcmp(t.tenant, expect->tenant, PRAAS_ID_BYTES) == 0 &&
		(t.rights & ~(uint32_t)PRAAS_RIGHT_ALL) == 0);
	require(praas_ticket_issue(key, &t, again, sk2) == 0);
	require(memcmp(again, wire, sizeof(wire)) == 0 &&
		memcmp(sk, sk2, sizeof(sk)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_ticket_expect expect = { .pid = 1, .epoch = 1, .now_s = 1000 };
	uint8_t sk[PRAAS_KEY_BYTES], controller_key[PRAAS_KEY_BYTES];
	struct praas_ticket t;

	require(praas_ticket_verify(key, data, bytes, &expect, &t, sk) != 0);
	if (bytes < PRAAS_TICKET_BYTES)
		return 0;
	require(praas_ticket_controller_key(data, data + PRAAS_KEY_BYTES,
					    controller_key) == 0);
	try_signed(data, &expect);
	/* What the ticket itself names, so that the later checks are reached. */
	memcpy(expect.tenant, data + 8, PRAAS_ID_BYTES);
	memcpy(expect.app, data + 24, PRAAS_ID_BYTES);
	memcpy(expect.controller, data + 40, PRAAS_ID_BYTES);
	memcpy(&expect.pid, data + 56, sizeof(expect.pid));
	try_signed(data, &expect);
	memcpy(&expect.epoch, data + 4, sizeof(expect.epoch));
	try_signed(data, &expect);
	memcpy(&expect.now_s, data + 96, sizeof(expect.now_s));
	try_signed(data, &expect);
	return 0;
}
