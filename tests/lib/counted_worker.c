/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts the real worker with its allocations counted: a controller gives workers no environment.
 */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	(void)argc;
	if (setenv("LD_PRELOAD", PRAAS_TEST_PRELOAD, 1) != 0 ||
	    setenv("PRAAS_TEST_ALLOCATIONS", PRAAS_TEST_WORKER_COUNT, 1) != 0)
		return 1;
	(void)execv(PRAAS_TEST_WORKER, argv);
	return 1;
}
