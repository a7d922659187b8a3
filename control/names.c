/* SPDX-License-Identifier: Apache-2.0 */
#include "control/names.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "internal/base.h"
#include "praas/types.h"

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

void praas_text_whole(char *text)
{
	size_t n = strlen(text), tail = 0;
	unsigned char lead;

	while (tail < 3 && tail < n &&
	       ((unsigned char)text[n - 1 - tail] & 0xc0) == 0x80)
		tail++;
	lead = tail < n ? (unsigned char)text[n - 1 - tail] : 0;
	if (lead >= 0xc0 && tail < (lead >= 0xf0 ? 3u : lead >= 0xe0 ? 2u : 1u))
		text[n - 1 - tail] = 0;
}

bool praas_name_valid(const char *name)
{
	size_t n;

	if (!name)
		return false;
	n = strnlen(name, PRAAS_NAME_MAX + 1);
	if (n == 0 || n > PRAAS_NAME_MAX || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!name_char(name[i]))
			return false;
	return true;
}

void praas_hex_encode(const uint8_t *data, size_t bytes, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes; i++) {
		ret_text[2 * i] = digits[data[i] >> 4];
		ret_text[2 * i + 1] = digits[data[i] & 15];
	}
	ret_text[2 * bytes] = 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int praas_hex_decode(const char *text, uint8_t *ret_data, size_t bytes)
{
	if (!text || strnlen(text, 2 * bytes + 1) != 2 * bytes)
		return -EINVAL;
	for (size_t i = 0; i < 2 * bytes; i++)
		if (hex_digit(text[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < bytes; i++)
		ret_data[i] = (uint8_t)((unsigned)hex_digit(text[2 * i]) << 4 |
					(unsigned)hex_digit(text[2 * i + 1]));
	return 0;
}

int praas_number_parse(const char *text, uint64_t max, uint64_t *ret_value)
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

int praas_percent_decode(const char *text, size_t bytes, char *ret_text,
			 size_t bytes_max)
{
	size_t out = 0;

	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '%') {
			if (bytes - i < 3 || hex_digit(text[i + 1]) < 0 ||
			    hex_digit(text[i + 2]) < 0)
				return -EINVAL;
			c = (unsigned char)(hex_digit(text[i + 1]) << 4 |
					    hex_digit(text[i + 2]));
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

bool praas_equal_constant(const void *a, const void *b, size_t bytes)
{
	const uint8_t *x = a, *y = b;
	uint8_t diff = 0;

	for (size_t i = 0; i < bytes; i++)
		diff = (uint8_t)(diff | (x[i] ^ y[i]));
	return diff == 0;
}

void praas_random(void *ret_data, size_t bytes)
{
	uint8_t *at = ret_data;

	while (bytes > 0) {
		ssize_t n = getrandom(at, bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		praas_check(n > 0);
		at += n;
		bytes -= (size_t)n;
	}
}
