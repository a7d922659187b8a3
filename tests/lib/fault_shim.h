/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests/torture shares with the programs that it tortures: a file of this form, mapped by both,
 * named by PRAAS_FAULT_BLOCK. tests/torture/block.py has the same offsets.
 */
#ifndef PRAAS_FAULT_SHIM_H
#define PRAAS_FAULT_SHIM_H

#include <stdatomic.h>
#include <stdint.h>

enum praas_fault_program {
	PRAAS_FAULT_CONTROL = 0,
	PRAAS_FAULT_CONTROLLER = 1,
	PRAAS_FAULT_PROGRAMS = 2
};
enum praas_fault_kind {
	PRAAS_FAULT_ALLOC = 0,
	PRAAS_FAULT_FILE = 1,
	PRAAS_FAULT_SOCKET = 2,
	PRAAS_FAULT_SPAWN = 3,
	PRAAS_FAULT_KINDS = 4
};
#define PRAAS_FAULT_FRAMES 12u

struct praas_fault_block {
	/* [program][kind]: calls so far, and how many more succeed before one fails (0: none does) */
	_Atomic uint64_t calls[PRAAS_FAULT_PROGRAMS][PRAAS_FAULT_KINDS];
	_Atomic uint64_t countdown[PRAAS_FAULT_PROGRAMS][PRAAS_FAULT_KINDS];
	_Atomic uint64_t fired;             /* calls that failed */
	_Atomic uint64_t frames;            /* of the last one, */
	uint64_t frame[PRAAS_FAULT_FRAMES]; /* from the program's start */
	char call[32];                      /* its name */
};

#endif
