/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller has to say to people: JSON lines on stderr, one write each, text escaped.
 * Admin thread (and main before there are two).
 */
#ifndef PRAAS_CONTROLLER_JOURNAL_H
#define PRAAS_CONTROLLER_JOURNAL_H

#include <stdint.h>

#include "shm/log_ring.h"

#define PRAAS_JOURNAL_BYTES_MAX (16ull << 20) /* of one file */
#define PRAAS_JOURNAL_FILES_MAX 4u /* of a process: PATH, and PATH.1 … .3, older ones */

/* Who speaks: in every line from now on. */
void praas_journal_setup(uint64_t pid, uint32_t epoch);

/* From now on stdout and stderr go to the end of that file, whoever writes to them. When it has
 * bytes_max (0: PRAAS_JOURNAL_BYTES_MAX) it becomes PATH.1, and that PATH.2, …; the oldest goes.
 * Looked at with each line of ours: what others write in between is not cut. path "": nothing
 * changes. 0; negative errno, nothing has changed. */
int praas_journal_file(const char *path, uint64_t bytes_max);

__attribute__((format(printf, 2, 3))) void praas_journal(enum praas_log_level level,
							 const char *format, ...);

/* A line of a function's own: text is a tenant's, of at most PRAAS_LOG_TEXT_MAX bytes. function
 * "": not known; trace: of W3C, zeros: none. */
void praas_journal_function(enum praas_log_level level, const char *function,
			    const uint8_t trace[16], const char *text);

#endif
