/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages between processes as the lines of the link describe them, with their bytes in the raw part
 * (docs/control-link.md). Pure.
 */
#ifndef PRAAS_CONTROL_MAIL_WORDS_H
#define PRAAS_CONTROL_MAIL_WORDS_H

#include <jansson.h>

#include "control/limits.h"
#include "control/records/queued.h"

/**
 * The messages of an append from source, whose highest epoch is that one: in the order of their places, and
 * exactly as many bytes as came with it; they refer to data. 0; -EPROTO that is not so.
 */
int praas_mail_read(const json_t *append, uint64_t source, uint32_t epoch,
		    const uint8_t *data, uint32_t bytes,
		    struct praas_queued ret_messages[PRAAS_LIMIT_MAIL_BATCH],
		    uint32_t *ret_count);
/* One of the messages of a queue. NULL: no memory. */
json_t *praas_mail_describe(const struct praas_queued *message);

#endif
