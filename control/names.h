/* SPDX-License-Identifier: Apache-2.0
 *
 * What the control service does with texts, its own part and those of internal/text.h.
 */
#ifndef PRAAS_CONTROL_NAMES_H
#define PRAAS_CONTROL_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "internal/base.h"
#include "internal/text.h"

/* A text in UTF-8 that was cut somewhere: without the part of a character that is left at its end. */
void praas_text_whole(char *text);

/* Equal, in a time that does not depend on where they differ. */
bool praas_equal_constant(const void *a, const void *b, size_t bytes);

#endif
