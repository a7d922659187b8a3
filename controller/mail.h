/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages between processes as they pass between the data thread, the admin thread and the control link
 * (docs/control-link.md): questions for the way, parts of the backup queue, and their answers.
 */
#ifndef PRAAS_CONTROLLER_MAIL_H
#define PRAAS_CONTROLLER_MAIL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/inbox.h"
#include "dataplane/outbox.h"

#define PRAAS_MAIL_POSITION_MAX (UINT64_C(1) << 53) /* of the queue: a number of JSON */

/* A question of the outbox with all that it refers to; one piece of memory, freed with free(). */
struct praas_mail_ask {
	struct praas_outbox_question question; /* its texts lie in raw */
	uint8_t traces[PRAAS_OUTBOX_APPEND_MAX][PRAAS_TRACE_BYTES];
	uint64_t raw_bytes; /* key and payload of each message, one behind the other */
	uint8_t raw[];
};

/* A part of the backup queue; as above. */
struct praas_mail_batch {
	uint32_t count;
	bool more; /* the queue goes on */
	struct praas_queued messages[PRAAS_OUTBOX_APPEND_MAX];
	uint8_t traces[PRAAS_OUTBOX_APPEND_MAX][PRAAS_TRACE_BYTES];
	uint8_t raw[];
};

/* A copy. NULL: no memory. */
struct praas_mail_ask *praas_mail_ask_new(const struct praas_outbox_question *question);
/* The line for it, with "id"; its raw part is ask->raw. NULL: no memory. */
json_t *praas_mail_ask_line(const struct praas_mail_ask *ask, uint64_t id);

/* A line "queue" without "rc", and its raw part. 0; -EPROTO it is not what it should be; -ENOMEM. */
int praas_mail_batch_parse(const json_t *line, const uint8_t *raw, uint64_t bytes,
			   struct praas_mail_batch **ret_batch);
/* A line "way". receiver and attempt are the caller's to set. 0; -EPROTO. */
int praas_mail_way_parse(const json_t *line, struct praas_way *ret_way);

#endif
