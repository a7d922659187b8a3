/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading what a process and its functions said: NUMBER.log of the log folder, lines of JSON, and
 * NUMBER.log.1, what it was before it grew too long. Who reads on gives back where he stopped, and
 * loses nothing when the file changes its name meanwhile.
 */
#ifndef PRAAS_CONTROL_LOGS_H
#define PRAAS_CONTROL_LOGS_H

#include <stddef.h>
#include <stdint.h>

#define PRAAS_LOGS_CURSOR_BYTES 40   /* "file-offset" in hexadecimal, with NUL */
#define PRAAS_LOGS_BYTES_MAX 262144u /* of one answer */

/* Where a reader stopped; zeros: he has not begun. */
struct praas_logs_cursor {
	uint64_t file, offset;
};

/* 0; -EINVAL. */
int praas_logs_cursor_parse(const char *text, struct praas_logs_cursor *ret_cursor);
void praas_logs_cursor_text(const struct praas_logs_cursor *cursor,
			    char ret_text[PRAAS_LOGS_CURSOR_BYTES]);

/**
 * Whole lines from cursor on, at most bytes_max of them; a reader that has not begun gets the
 * last tail_bytes. *cursor moves on. When what he has not read is gone (it was rotated twice) he
 * goes on with the oldest there is. ret_text: malloc'd, with a NUL behind; "" there is nothing
 * yet. Any thread; blocks for a read of the file.
 * 0; -ENOMEM; -EIO and what open(2) says, but a missing file is an empty one.
 */
int praas_logs_read(const char *folder, uint64_t number, uint64_t tail_bytes,
		    size_t bytes_max, struct praas_logs_cursor *cursor, char **ret_text,
		    size_t *ret_bytes);

#endif
