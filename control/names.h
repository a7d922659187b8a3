/* SPDX-License-Identifier: Apache-2.0
 *
 * Names, hex and paths from outside: checked here, once, before anything uses them.
 */
#ifndef PRAAS_CONTROL_NAMES_H
#define PRAAS_CONTROL_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* [A-Za-z0-9._-]{1,64}, but neither "." nor "..". */
bool praas_name_valid(const char *name);

/* A text in UTF-8 that was cut somewhere: without the part of a character that is left at its end. */
void praas_text_whole(char *text);

/* Lower-case hex of bytes; ret_text has 2 * bytes + 1 bytes. */
void praas_hex_encode(const uint8_t *data, size_t bytes, char *ret_text);
/* Exactly bytes of hex, nothing else. 0; -EINVAL. */
int praas_hex_decode(const char *text, uint8_t *ret_data, size_t bytes);

/* A whole decimal number of at most max, no sign, no blanks. 0; -EINVAL; -ERANGE. */
int praas_number_parse(const char *text, uint64_t max, uint64_t *ret_value);

/* Percent-decoding of bytes of text into ret_text (bytes_max with the zero). 0; -EINVAL a broken
 * escape or an encoded zero or control character; -EMSGSIZE. */
int praas_percent_decode(const char *text, size_t bytes, char *ret_text,
			 size_t bytes_max);

/* Equal, in a time that does not depend on where they differ. */
bool praas_equal_constant(const void *a, const void *b, size_t bytes);

/* bytes of the kernel's randomness; ends the program when there is none. */
void praas_random(void *ret_data, size_t bytes);

#endif
