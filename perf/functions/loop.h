/* SPDX-License-Identifier: Apache-2.0
 *
 * What a benchmark tells a function that measures by itself.
 */
#ifndef PRAAS_PERF_FUNCTIONS_LOOP_H
#define PRAAS_PERF_FUNCTIONS_LOOP_H

#include <stdint.h>

struct praas_loop {
	uint32_t n;     /* samples */
	uint32_t batch; /* operations a sample: for those shorter than reading the clock
			 */
	uint64_t bytes; /* of the value or message */
	char key[48];   /* of state or message, or the function called */
};

#endif
