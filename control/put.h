/* SPDX-License-Identifier: Apache-2.0
 *
 * Text that is put together where printf() would be most of the work. The caller has room for it.
 */
#ifndef PRAAS_CONTROL_PUT_H
#define PRAAS_CONTROL_PUT_H

#include <stdint.h>
#include <string.h>

#define PRAAS_PUT_NUMBER_MAX 20u /* digits */

/* Both return the end, where no zero is written. */
static inline char *praas_put_text(char *at, const char *text)
{
	size_t bytes = strlen(text);

	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): what follows goes on */
	memcpy(at, text, bytes);
	return at + bytes;
}

static inline char *praas_put_number(char *at, uint64_t number)
{
	char digits[PRAAS_PUT_NUMBER_MAX];
	size_t n = sizeof(digits);

	do
		digits[--n] = (char)('0' + number % 10);
	while ((number /= 10) != 0);
	memcpy(at, digits + n, sizeof(digits) - n);
	return at + sizeof(digits) - n;
}

#endif
