/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes in on a connection of the link (docs/control-link.md).
 */
#include "control/node/link_private.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/limits.h"
#include "internal/base.h"

int praas_link_in_init(struct praas_link_in *in, size_t *under_way)
{
	*in = (struct praas_link_in){ .line = NULL };
	in->under_way = under_way;
	in->line = malloc(PRAAS_LIMIT_LINE_BYTES);
	return in->line ? 0 : -ENOMEM;
}

/* The raw part awaited is no longer under way. */
static void settle(struct praas_link_in *in)
{
	if (in->raw.data)
		*in->under_way -= in->raw.bytes;
	in->raw = (struct praas_link_raw){ .data = NULL };
	in->raw_have = 0;
	in->message = NULL;
}

void praas_link_in_release(struct praas_link_in *in)
{
	uint8_t *data = in->raw.data;

	json_decref(in->message);
	settle(in);
	free(data);
	free(in->line);
	*in = (struct praas_link_in){ .line = NULL };
}

void praas_link_in_room(struct praas_link_in *in, void **ret_to, size_t *ret_bytes)
{
	if (in->message) { /* of the line nothing is left: it went to the raw part */
		size_t left = in->raw.bytes - in->raw_have;

		*ret_to = in->raw.data ? in->raw.data + in->raw_have
				       : (uint8_t *)in->line;
		*ret_bytes = in->raw.data ? left
					  : praas_min_u64(left, PRAAS_LIMIT_LINE_BYTES);
		return;
	}
	memmove(in->line, in->line + in->at, in->bytes - in->at);
	in->bytes -= in->at;
	in->at = 0;
	*ret_to = in->line + in->bytes;
	*ret_bytes = PRAAS_LIMIT_LINE_BYTES - in->bytes;
}

void praas_link_in_took(struct praas_link_in *in, size_t bytes)
{
	if (in->message)
		in->raw_have += bytes;
	else
		in->bytes += bytes;
}

/* How many raw bytes follow the message; -EPROTO it says what cannot be. */
static int64_t raw_bytes_of(const json_t *message)
{
	const json_t *bytes = json_object_get(message, "bytes");
	json_int_t n = json_integer_value(bytes);

	if (!bytes || strcmp(praas_json_text_or(message, "t", ""), "append") != 0)
		return 0;
	if (!json_is_integer(bytes) || n < 0 || n > (json_int_t)PRAAS_LIMIT_RAW_BYTES)
		return -EPROTO;
	return n;
}

/* The next line is the message awaited. 1; 0 it has not come whole; -EPROTO. */
static int take_line(struct praas_link_in *in)
{
	const char *begin = in->line + in->at;
	const char *end = memchr(begin, '\n', in->bytes - in->at);
	struct praas_json_error error;
	int64_t raw;

	if (!end)
		return in->bytes - in->at < PRAAS_LIMIT_LINE_BYTES ? 0 : -EPROTO;
	praas_json_begin();
	in->message = praas_json_parse(begin, (size_t)(end - begin), &error);
	in->at += (size_t)(end - begin) + 1;
	if (!in->message)
		return -EPROTO;
	raw = raw_bytes_of(in->message);
	if (raw < 0)
		return -EPROTO;
	in->raw.bytes = (uint32_t)raw;
	if (raw > 0 && *in->under_way + (size_t)raw <= PRAAS_LIMIT_RAWS_BYTES)
		in->raw.data = malloc((size_t)raw); /* NULL: it is read all the same */
	if (in->raw.data)
		*in->under_way += (size_t)raw;
	return 1;
}

/* What of the raw part came behind the line. */
static void take_raw(struct praas_link_in *in)
{
	size_t n = praas_min_u64(in->bytes - in->at, in->raw.bytes - in->raw_have);

	if (in->raw.data && n > 0)
		memcpy(in->raw.data + in->raw_have, in->line + in->at, n);
	in->raw_have += n;
	in->at += n;
}

int praas_link_in_next(struct praas_link_in *in, json_t **ret_message,
		       struct praas_link_raw *ret_raw)
{
	if (!in->message) {
		int rc = take_line(in);

		if (rc <= 0)
			return rc;
	}
	take_raw(in);
	if (in->raw_have < in->raw.bytes)
		return 0;
	*ret_message = in->message;
	*ret_raw = in->raw;
	settle(in);
	return 1;
}
