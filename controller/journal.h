/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller has to say to people: JSON lines on stderr, one write each, text escaped.
 * Admin thread (and main before there are two).
 */
#ifndef PRAAS_CONTROLLER_JOURNAL_H
#define PRAAS_CONTROLLER_JOURNAL_H

#include <stdint.h>

#include "shm/log_ring.h"

/* Who speaks: in every line from now on. */
void praas_journal_setup(uint64_t pid, uint32_t epoch);

__attribute__((format(printf, 2, 3))) void praas_journal(enum praas_log_level level,
							 const char *format, ...);

/* A line of a function's own: text is a tenant's, of at most PRAAS_LOG_TEXT_MAX bytes. */
void praas_journal_function(enum praas_log_level level, const char *function,
			    const char *text);

#endif
