/* SPDX-License-Identifier: Apache-2.0
 *
 * praas bench: runs the benchmark program, which measures ours and the floors in one
 * run.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 12

static int bench(struct praas_cli *cli, int argc, char **argv)
{
	const char *name = NULL;
	bool quick = false;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_CHOICE,
		  .value = &name,
		  .optional = true,
		  .arg = "floor|invoke|throughput|chain|message|state|reduce|swap|wake|"
			 "allocate|idle|growth" },
		{ .name = "quick",
		  .value = &quick,
		  .help = "Fewer operations and rounds" },
		{ 0 },
	};
	char folder[PATH_MAX];
	char program[PATH_MAX + 32];
	char functions[PATH_MAX + 32];
	const char *args[ARGS_MAX] = { "praas-perf", "--bin", folder, "--functions",
				       functions };
	size_t n = 5;
	int rc;

	praas_cli_parse(
		cli,
		"Measure: JSON lines, each with the floor of the same run. It starts a "
		"control service of its own.",
		options, argc, argv);
	rc = praas_cli_here(cli, "measures one of its own; to measure that one try "
				 "praas invoke APP FUNCTION -n 1000");
	if (rc == 0)
		rc = praas_cli_program_folder(folder);
	if (rc != 0)
		return rc;
	(void)snprintf(program, sizeof(program), "%s/praas-perf", folder); /* fits */
	(void)snprintf(functions, sizeof(functions), "%s/../perf/functions",
		       folder); /* fits */
	if (access(program, X_OK) != 0)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"the benchmarks are not here (%s); in a source tree run "
			"perf/run",
			program);
	if (name) {
		args[n++] = "--only";
		args[n++] = name;
	}
	if (quick)
		args[n++] = "--quick";
	(void)execv(program,
		    (char *const *)(uintptr_t)args); /* returns only on failure */
	return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot start %s: %s", program,
			      strerror(errno));
}

const struct praas_cli_verb praas_cli_bench_verbs[] = {
	{ "bench", NULL, bench, "[NAME] [--quick]", "measure, next to the floors" },
	{ 0 },
};
