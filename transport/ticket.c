/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ticket.h"

#include <errno.h>
#include <string.h>

#include "internal/bytes.h"
#include "transport/mac.h"

/*
 * Layout, keys and the order of the checks: docs/tickets.md. Nothing of a ticket is believed,
 * or even looked at beyond version and length, before its MAC is right.
 */

enum { /* offsets on the wire */
       AT_VERSION = 0,
       AT_KID = 1,
       AT_ZERO = 2,
       AT_EPOCH = 4,
       AT_TENANT = 8,
       AT_APP = 24,
       AT_CONTROLLER = 40,
       AT_PID = 56,
       AT_SOURCE = 64,
       AT_RIGHTS = 72,
       AT_ZERO_2 = 76,
       AT_BYTES_MAX = 80,
       AT_NOT_BEFORE = 88,
       AT_EXPIRES = 96,
       AT_JTI = 104,
       AT_MAC = 120
};

_Static_assert(AT_MAC + PRAAS_KEY_BYTES == PRAAS_TICKET_BYTES,
	       "the MAC ends the ticket");
_Static_assert(PRAAS_KEY_BYTES == PRAAS_MAC_BYTES, "keys and MACs have one size");

static const char controller_info[] = "praas controller";
static const char session_label[] = "praas session";

static int session_key(struct praas_mac *mac, const uint8_t *wire,
		       uint8_t ret_key[PRAAS_KEY_BYTES])
{
	const struct praas_mac_part parts[] = {
		{ session_label, sizeof(session_label) - 1 },
		{ wire, PRAAS_TICKET_BYTES },
	};

	return praas_mac_sign(mac, parts, 2, ret_key);
}

static int ticket_mac(struct praas_mac *mac, const uint8_t *wire,
		      uint8_t ret_mac[PRAAS_KEY_BYTES])
{
	const struct praas_mac_part part = { wire, AT_MAC };

	return praas_mac_sign(mac, &part, 1, ret_mac);
}

static void encode(const struct praas_ticket *t, uint8_t wire[PRAAS_TICKET_BYTES])
{
	memset(wire, 0, PRAAS_TICKET_BYTES);
	wire[AT_VERSION] = PRAAS_TICKET_VERSION;
	wire[AT_KID] = t->kid;
	praas_put_u32(wire + AT_EPOCH, t->epoch);
	memcpy(wire + AT_TENANT, t->tenant, PRAAS_ID_BYTES);
	memcpy(wire + AT_APP, t->app, PRAAS_ID_BYTES);
	memcpy(wire + AT_CONTROLLER, t->controller, PRAAS_ID_BYTES);
	praas_put_u64(wire + AT_PID, t->pid);
	praas_put_u64(wire + AT_SOURCE, t->source);
	praas_put_u32(wire + AT_RIGHTS, t->rights);
	praas_put_u64(wire + AT_BYTES_MAX, t->bytes_max);
	praas_put_u64(wire + AT_NOT_BEFORE, t->not_before_s);
	praas_put_u64(wire + AT_EXPIRES, t->expires_s);
	memcpy(wire + AT_JTI, t->jti, PRAAS_ID_BYTES);
}

static void decode(const uint8_t *wire, struct praas_ticket *t)
{
	t->kid = wire[AT_KID];
	t->epoch = praas_get_u32(wire + AT_EPOCH);
	memcpy(t->tenant, wire + AT_TENANT, PRAAS_ID_BYTES);
	memcpy(t->app, wire + AT_APP, PRAAS_ID_BYTES);
	memcpy(t->controller, wire + AT_CONTROLLER, PRAAS_ID_BYTES);
	t->pid = praas_get_u64(wire + AT_PID);
	t->source = praas_get_u64(wire + AT_SOURCE);
	t->rights = praas_get_u32(wire + AT_RIGHTS);
	t->bytes_max = praas_get_u64(wire + AT_BYTES_MAX);
	t->not_before_s = praas_get_u64(wire + AT_NOT_BEFORE);
	t->expires_s = praas_get_u64(wire + AT_EXPIRES);
	memcpy(t->jti, wire + AT_JTI, PRAAS_ID_BYTES);
}

/* The checks after the MAC, in the order of docs/tickets.md. */
static int check(const uint8_t *wire, const struct praas_ticket *t,
		 const struct praas_ticket_expect *expect)
{
	if (praas_get_u16(wire + AT_ZERO) != 0 || praas_get_u32(wire + AT_ZERO_2) != 0)
		return -EPROTO;
	if ((t->rights & ~(uint32_t)PRAAS_RIGHT_ALL) != 0 ||
	    t->expires_s < t->not_before_s)
		return -EPROTO;
	if (memcmp(t->tenant, expect->tenant, PRAAS_ID_BYTES) != 0 ||
	    memcmp(t->app, expect->app, PRAAS_ID_BYTES) != 0 ||
	    memcmp(t->controller, expect->controller, PRAAS_ID_BYTES) != 0 ||
	    t->pid != expect->pid)
		return -EACCES;
	if (t->epoch != expect->epoch)
		return -ESTALE;
	/* Differences, not sums: the ends may lie anywhere in 64 bits. */
	if (t->not_before_s > expect->now_s &&
	    t->not_before_s - expect->now_s > PRAAS_TICKET_SKEW_S)
		return -EKEYEXPIRED;
	if (expect->now_s > t->expires_s &&
	    expect->now_s - t->expires_s > PRAAS_TICKET_SKEW_S)
		return -EKEYEXPIRED;
	return 0;
}

int praas_ticket_controller_key(const uint8_t root[PRAAS_KEY_BYTES],
				const uint8_t controller[PRAAS_ID_BYTES],
				uint8_t ret_key[PRAAS_KEY_BYTES])
{
	uint8_t info[sizeof(controller_info) - 1 + PRAAS_ID_BYTES];

	memcpy(info, controller_info, sizeof(controller_info) - 1);
	memcpy(info + sizeof(controller_info) - 1, controller, PRAAS_ID_BYTES);
	return praas_mac_derive(root, info, sizeof(info), ret_key);
}

int praas_ticket_issue_keyed(struct praas_mac *controller_mac,
			     const struct praas_ticket *ticket,
			     uint8_t ret_wire[PRAAS_TICKET_BYTES],
			     uint8_t ret_session_key[PRAAS_KEY_BYTES])
{
	int rc;

	encode(ticket, ret_wire);
	rc = ticket_mac(controller_mac, ret_wire, ret_wire + AT_MAC);
	return rc == 0 ? session_key(controller_mac, ret_wire, ret_session_key) : rc;
}

int praas_ticket_issue(const uint8_t controller_key[PRAAS_KEY_BYTES],
		       const struct praas_ticket *ticket,
		       uint8_t ret_wire[PRAAS_TICKET_BYTES],
		       uint8_t ret_session_key[PRAAS_KEY_BYTES])
{
	struct praas_mac *mac;
	int rc = praas_mac_new(controller_key, &mac);

	if (rc != 0)
		return rc;
	rc = praas_ticket_issue_keyed(mac, ticket, ret_wire, ret_session_key);
	praas_mac_free(mac);
	return rc;
}

/* Is it ours? */
static int authentic(struct praas_mac *controller_mac, const uint8_t *wire,
		     size_t wire_bytes)
{
	uint8_t mac[PRAAS_KEY_BYTES];
	int rc;

	if (wire_bytes != PRAAS_TICKET_BYTES ||
	    wire[AT_VERSION] != PRAAS_TICKET_VERSION)
		return -EPROTO;
	rc = ticket_mac(controller_mac, wire, mac);
	if (rc != 0)
		return rc;
	return praas_mac_equal(mac, wire + AT_MAC) ? 0 : -EACCES;
}

int praas_ticket_session_key(struct praas_mac *controller_mac, const uint8_t *wire,
			     size_t wire_bytes,
			     uint8_t ret_session_key[PRAAS_KEY_BYTES])
{
	int rc = authentic(controller_mac, wire, wire_bytes);

	return rc == 0 ? session_key(controller_mac, wire, ret_session_key) : rc;
}

int praas_ticket_verify_keyed(struct praas_mac *controller_mac, const uint8_t *wire,
			      size_t wire_bytes,
			      const struct praas_ticket_expect *expect,
			      struct praas_ticket *ret_ticket,
			      uint8_t ret_session_key[PRAAS_KEY_BYTES])
{
	struct praas_ticket ticket;
	int rc = authentic(controller_mac, wire, wire_bytes);

	if (rc != 0)
		return rc;
	decode(wire, &ticket);
	rc = check(wire, &ticket, expect);
	if (rc != 0)
		return rc;
	rc = session_key(controller_mac, wire, ret_session_key);
	if (rc != 0)
		return rc;
	*ret_ticket = ticket;
	return 0;
}

int praas_ticket_verify(const uint8_t controller_key[PRAAS_KEY_BYTES],
			const uint8_t *wire, size_t wire_bytes,
			const struct praas_ticket_expect *expect,
			struct praas_ticket *ret_ticket,
			uint8_t ret_session_key[PRAAS_KEY_BYTES])
{
	struct praas_mac *mac;
	int rc = praas_mac_new(controller_key, &mac);

	if (rc != 0)
		return rc;
	rc = praas_ticket_verify_keyed(mac, wire, wire_bytes, expect, ret_ticket,
				       ret_session_key);
	praas_mac_free(mac);
	return rc;
}
