/* SPDX-License-Identifier: Apache-2.0
 *
 * What the control service has to say to its operator: a line on stderr, for people, or as JSON
 * (--log json) of the form that controllers write. Any thread; one write(2) a line.
 */
#ifndef PRAAS_CONTROL_SAY_H
#define PRAAS_CONTROL_SAY_H

#include <stdbool.h>

enum praas_say_level { PRAAS_SAY_INFO, PRAAS_SAY_WARNING, PRAAS_SAY_ERROR };

/* From now on; text if it is never called. */
void praas_say_json(bool json);

__attribute__((format(printf, 2, 3))) void praas_say(enum praas_say_level level,
						     const char *format, ...);

#endif
