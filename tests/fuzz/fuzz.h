/* SPDX-License-Identifier: Apache-2.0
 *
 * What libFuzzer, or our driver, calls. Included in front of every fuzz target by the
 * build.
 */
#ifndef PRAAS_TESTS_FUZZ_H
#define PRAAS_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* One input. Always returns 0; a mistake ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
/* Once, before the first input; a target need not have it. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif
