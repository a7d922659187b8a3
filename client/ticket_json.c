/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ticket_json.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "client/connection.h"
#include "internal/text.h"

static int decode_hex(const json_t *value, uint8_t *ret_bytes, size_t bytes)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) != 2 * bytes)
		return -EINVAL;
	for (size_t i = 0; i < bytes; i++) {
		int high = praas_hex_digit(text[2 * i]),
		    low = praas_hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		ret_bytes[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int decode_endpoints(const json_t *list, struct praas_ticket_json *t)
{
	if (!json_is_array(list) || json_array_size(list) == 0)
		return -EINVAL;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *addr = json_string_value(json_array_get(list, i));

		if (!addr || strlen(addr) >= PRAAS_ADDR_MAX)
			return -EINVAL;
		if (t->endpoints_count < PRAAS_ENDPOINTS_MAX)
			memcpy(t->endpoints[t->endpoints_count++], addr,
			       strlen(addr) + 1);
	}
	return 0;
}

static int decode(const json_t *root, struct praas_ticket_json *t)
{
	const char *process = json_string_value(json_object_get(root, "pid"));
	json_int_t lost = json_integer_value(json_object_get(root, "lost_epoch"));

	if (process && strlen(process) <= PRAAS_NAME_MAX)
		memcpy(t->process, process, strlen(process) + 1);
	if (lost < 0 || lost > UINT32_MAX)
		return praas_fail_with(-EINVAL, "ticket: 'lost_epoch' is no epoch");
	t->lost_epoch = (uint32_t)lost;
	if (decode_hex(json_object_get(root, "ticket"), t->ticket, sizeof(t->ticket)) !=
	    0)
		return praas_fail_with(-EINVAL, "ticket: 'ticket' is not %u hex digits",
				       2 * PRAAS_TICKET_BYTES);
	if (decode_hex(json_object_get(root, "session_key"), t->session_key,
		       sizeof(t->session_key)) != 0)
		return praas_fail_with(-EINVAL,
				       "ticket: 'session_key' is not %u hex digits",
				       2 * PRAAS_KEY_BYTES);
	if (decode_endpoints(json_object_get(root, "endpoints"), t) != 0)
		return praas_fail_with(
			-EINVAL, "ticket: 'endpoints' is not a list of addresses");
	return 0;
}

int praas_ticket_json_decode(const char *text, struct praas_ticket_json *ret_ticket)
{
	struct praas_ticket_json t = { .endpoints_count = 0 };
	json_error_t error;
	json_t *root, *inner;
	int rc;

	if (!text || strnlen(text, PRAAS_TICKET_JSON_MAX + 1) > PRAAS_TICKET_JSON_MAX)
		return praas_fail_with(-EINVAL, "ticket: no text, or too long");
	root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return praas_fail_with(-EINVAL, "ticket: not JSON: %s", error.text);
	/* POST …/processes answers with the ticket as a member. */
	inner = json_object_get(root, "ticket");
	rc = decode(json_is_object(inner) ? inner : root, &t);
	json_decref(root);
	if (rc == 0)
		*ret_ticket = t;
	explicit_bzero(&t, sizeof(t));
	return rc;
}
