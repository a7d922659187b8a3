/* SPDX-License-Identifier: Apache-2.0
 *
 * The executors of this build, one line each. With a name as argument: only that one.
 */
#include "conformance/executor/suite.h"

static int make_inline(struct fixture *f, const struct praas_function *functions, uint32_t count,
		       struct praas_process_config *config)
{
	(void)f;
	return praas_executor_inline_new(functions, count, &config->executor);
}

static const struct executor_case cases[] = {
	{ .name = "inline", .make = make_inline, .waits = false, .depth = 31 },
};

int main(int argc, char **argv)
{
	int failed = 0;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (argc < 2 || strcmp(argv[1], cases[i].name) == 0)
			failed += executor_suite(&cases[i]);
	return failed ? 1 : 0;
}
