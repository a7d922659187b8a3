/* SPDX-License-Identifier: Apache-2.0
 *
 * What has changed of a process, as bytes: for a log (docs/journal.md). A change is a record of the
 * snapshot that is another one now, or is gone. The data thread writes them down as they happen and takes
 * them when a turn of its loop is over; who reads them back trusts nothing.
 */
#ifndef PRAAS_DATAPLANE_CHANGES_H
#define PRAAS_DATAPLANE_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/process.h"

#define PRAAS_CHANGE_BYTES 80u /* of each, before its texts and value */
#define PRAAS_CHANGES_KEEP                                                             \
	(1u << 20) /* a buffer that had to grow beyond this is not kept */

struct praas_changes {
	uint8_t *data;
	uint64_t bytes, room;
	/* Of the process: a function is named, since numbers are of one revision of the code. */
	const struct praas_function *functions;
	uint32_t functions_count;
	bool inputs; /* what waits for triggers is not what it was: praas_process_changes_end() tells all of it */
	bool lost;   /* there was no memory: data is not all */
};

struct praas_change {
	struct praas_export_record record; /* function: not used */
	bool gone;                         /* of an input: all that were told before */
	const char *function;              /* not NUL-terminated */
	uint8_t function_bytes;            /* 0: none */
};

/* It is so now. For a praas_export_fn: always 0. */
int praas_changes_add(void *changes, const struct praas_export_record *record);
/* It is gone; of the record counts what tells it from others of its kind. */
void praas_changes_gone(struct praas_changes *c,
			const struct praas_export_record *record);
/* They were taken. */
void praas_changes_clear(struct praas_changes *c);
void praas_changes_release(struct praas_changes *c);

/* The next one of *left bytes at *at, which point into them. 0; -ENODATA that was the last; -EPROTO. */
int praas_changes_next(const uint8_t **at, uint64_t *left, struct praas_change *ret);

#endif
