/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the files of the link: what comes in on a connection, taken apart (link_in.c).
 */
#ifndef PRAAS_CONTROL_LINK_PRIVATE_H
#define PRAAS_CONTROL_LINK_PRIVATE_H

#include <stddef.h>

#include "control/node/link.h"

/* A connection's input: lines of JSON, each perhaps with a raw part behind it. Pure: whoever has the
 * connection reads into room(), says took(), and calls next() until it has nothing. */
struct praas_link_in {
	char *line;       /* PRAAS_LIMIT_LINE_BYTES */
	size_t at, bytes; /* of it: taken apart, and there */
	json_t *message;  /* whose raw part is awaited; NULL none is */
	struct praas_link_raw raw;
	size_t raw_have;
	/* Of all connections of one link: bytes of raw parts under way. At most
	 * PRAAS_LIMIT_RAWS_BYTES; what would be more is read and not kept. */
	size_t *under_way;
};

/* 0; -ENOMEM. under_way stays the caller's. */
int praas_link_in_init(struct praas_link_in *in, size_t *under_way);
void praas_link_in_release(struct praas_link_in *in);
/* Where the next bytes go, at least one. Only after next() had nothing. */
void praas_link_in_room(struct praas_link_in *in, void **ret_to, size_t *ret_bytes);
void praas_link_in_took(struct praas_link_in *in, size_t bytes);
/* 1: a message, whole; it and the raw bytes are the caller's. 0: more has to come. -EPROTO what came
 * is no line of JSON, or says a raw part that cannot be; the connection is over. */
int praas_link_in_next(struct praas_link_in *in, json_t **ret_message,
		       struct praas_link_raw *ret_raw);

#endif
