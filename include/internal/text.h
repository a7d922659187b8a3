/* SPDX-License-Identifier: Apache-2.0
 *
 * Names, hex, numbers and escapes in text from outside: checked here, once, before anything uses them.
 * Header only.
 */
#ifndef PRAAS_INTERNAL_TEXT_H
#define PRAAS_INTERNAL_TEXT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "praas/types.h"

/* Of [A-Za-z0-9._-]. */
static inline bool praas_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

/* [A-Za-z0-9._-]{1,64}, but neither "." nor "..". */
static inline bool praas_name_valid(const char *name)
{
	size_t n;

	if (!name)
		return false;
	n = strnlen(name, PRAAS_NAME_MAX + 1);
	if (n == 0 || n > PRAAS_NAME_MAX || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!praas_name_char(name[i]))
			return false;
	return true;
}

/* Lower-case hex of bytes; ret_text has 2 * bytes + 1 bytes. */
static inline void praas_hex_encode(const uint8_t *data, size_t bytes, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes; i++) {
		ret_text[2 * i] = digits[data[i] >> 4];
		ret_text[2 * i + 1] = digits[data[i] & 15];
	}
	ret_text[2 * bytes] = 0;
}

/* -1: it is none. */
static inline int praas_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Exactly bytes of hex, nothing else. 0; -EINVAL. */
static inline int praas_hex_decode(const char *text, uint8_t *ret_data, size_t bytes)
{
	if (!text || strnlen(text, 2 * bytes + 1) != 2 * bytes)
		return -EINVAL;
	for (size_t i = 0; i < 2 * bytes; i++)
		if (praas_hex_digit(text[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < bytes; i++)
		ret_data[i] = (uint8_t)(praas_hex_digit(text[2 * i]) * 16 +
					praas_hex_digit(text[2 * i + 1]));
	return 0;
}

/* A whole decimal number of at most max, no sign, no blanks. 0; -EINVAL; -ERANGE. */
static inline int praas_number_parse(const char *text, uint64_t max,
				     uint64_t *ret_value)
{
	uint64_t v = 0;

	if (!text || !text[0])
		return -EINVAL;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9')
			return -EINVAL;
		if (v > (UINT64_MAX - 9) / 10)
			return -ERANGE;
		v = v * 10 + (uint64_t)(*c - '0');
	}
	if (v > max)
		return -ERANGE;
	*ret_value = v;
	return 0;
}

/* Percent-decoding of bytes of text into ret_text (bytes_max with the zero). 0; -EINVAL a broken
 * escape or an encoded zero or control character; -EMSGSIZE. */
static inline int praas_percent_decode(const char *text, size_t bytes, char *ret_text,
				       size_t bytes_max)
{
	size_t out = 0;

	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '%') {
			int high = bytes - i < 3 ? -1 : praas_hex_digit(text[i + 1]);
			int low = high < 0 ? -1 : praas_hex_digit(text[i + 2]);

			if (low < 0)
				return -EINVAL;
			c = (unsigned char)(high * 16 + low);
			i += 2;
		}
		if (c < 0x20 || c == 0x7f)
			return -EINVAL;
		if (out + 1 >= bytes_max)
			return -EMSGSIZE;
		ret_text[out++] = (char)c;
	}
	if (bytes_max == 0)
		return -EMSGSIZE;
	ret_text[out] = 0;
	return 0;
}

#endif
