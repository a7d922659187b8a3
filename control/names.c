/* SPDX-License-Identifier: Apache-2.0 */
#include "control/names.h"

#include <string.h>

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

bool praas_equal_constant(const void *a, const void *b, size_t bytes)
{
	const uint8_t *x = a, *y = b;
	uint8_t diff = 0;

	for (size_t i = 0; i < bytes; i++)
		diff = (uint8_t)(diff | (x[i] ^ y[i]));
	return diff == 0;
}
