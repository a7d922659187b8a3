/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that is built with every hardening turned off: check_elf must refuse all of
 * it.
 */
#include <stdio.h>
#include <string.h>

__attribute__((section(".wx,\"awx\",@progbits#"))) static int writable_code;

int main(int argc, char **argv)
{
	char copy[16] = "";

	(void)strncat(copy, argv[0], sizeof(copy) - 1); /* cut on purpose */
	(void)fprintf(stdout, "%d %s %d\n", argc, copy,
		      writable_code); /* a test program */
	return 0;
}
