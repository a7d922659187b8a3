/* SPDX-License-Identifier: Apache-2.0
 *
 * What the control service has to say to its operator: a line on stderr, for people, or as JSON
 * (--log json) of the form that controllers write. Any thread; one write(2) a line. To a file of our own
 * (--log-file) when nobody reads stderr.
 */
#ifndef PRAAS_CONTROL_SAY_H
#define PRAAS_CONTROL_SAY_H

#include <stdbool.h>
#include <stdint.h>

enum praas_say_level { PRAAS_SAY_INFO, PRAAS_SAY_WARNING, PRAAS_SAY_ERROR };

/* From now on; text if it is never called. */
void praas_say_json(bool json);

/* From now on stderr is that file, whoever writes to it; at bytes_max (0: 16 MiB) it becomes FILE.1, that FILE.2,
 * FILE.3 goes. 0; an errno: all is as before. */
int praas_say_file(const char *path, uint64_t bytes_max);

/* For any log: FILE.7 becomes FILE.8, …, FILE becomes FILE.1; the oldest, FILE.old_max, goes. What cannot be
 * renamed stays. */
void praas_log_files_turn(const char *path, uint32_t old_max);

__attribute__((format(printf, 2, 3))) void praas_say(enum praas_say_level level,
						     const char *format, ...);

#endif
