/* SPDX-License-Identifier: Apache-2.0
 *
 * What a test cannot do here is told in a line that tests/run repeats at its end.
 */
#ifndef PRAAS_TESTS_SKIP_H
#define PRAAS_TESTS_SKIP_H

#include <stdio.h>

/* As a word of main()'s: `return skip_all("needs root");`. */
static inline int skip_all(const char *why)
{
	(void)printf("SKIPPED: %s\n", why);
	return 77;
}

/* Ends one test of cmocka's. */
#define skip_because(why)                                                              \
	do {                                                                           \
		(void)printf("SKIPPED: %s\n", why);                                    \
		skip();                                                                \
	} while (0)

#endif
