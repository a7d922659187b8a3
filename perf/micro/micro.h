/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program of perf/micro is made of: a table of loops, one thread, nothing that depends on
 * time or chance. check-counts runs each with two counts under callgrind and divides the
 * difference, so that start-up does not matter.
 */
#ifndef PRAAS_PERF_MICRO_H
#define PRAAS_PERF_MICRO_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct praas_micro {
	const char *name;            /* as in counts.txt */
	void (*run)(uint64_t count); /* does count operations */
};

/* Keeps the compiler from seeing through a loop. */
static inline void praas_micro_keep(const void *p)
{
	__asm__ __volatile__("" : : "r"(p) : "memory");
}

/* main() of such a program: NAME COUNT runs a loop, no argument lists them. */
static inline int praas_micro_main(int argc, char **argv,
				   const struct praas_micro *table, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (argc == 3 && strcmp(argv[1], table[i].name) == 0) {
			table[i].run(strtoull(argv[2], NULL, 10));
			return 0;
		}
		if (argc == 1)
			(void)puts(table[i].name); /* a missing list is seen */
	}
	return argc == 1 ? 0 : 2;
}

#endif
