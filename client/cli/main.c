/* SPDX-License-Identifier: Apache-2.0
 *
 * praas: the command line. Finds the verb and runs it.
 */
#include "client/cli/cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct praas_cli_verb *const tables[] = {
	praas_cli_dev_verbs,     praas_cli_up_verbs,       praas_cli_doctor_verbs,
	praas_cli_app_verbs,     praas_cli_process_verbs,  praas_cli_top_verbs,
	praas_cli_logs_verbs,    praas_cli_invoke_verbs,   praas_cli_state_verbs,
	praas_cli_archive_verbs, praas_cli_msg_verbs,      praas_cli_bench_verbs,
	praas_cli_token_verbs,   praas_cli_snapshot_verbs, praas_cli_usage_verbs,
	praas_cli_node_verbs,
};

#define TABLES (sizeof(tables) / sizeof(tables[0]))

static void print_verb(FILE *to, const struct praas_cli_verb *v)
{
	char line[128];

	(void)snprintf(line, sizeof(line), "praas %s%s%s %s", v->noun,
		       v->verb ? " " : "", v->verb ? v->verb : "",
		       v->arguments); /* fits: they are ours */
	(void)fprintf(to, "  %-42s %s\n", line, v->summary);
}

/* What a noun has. Returns how many were printed. */
static unsigned print_noun(FILE *to, const char *noun)
{
	unsigned count = 0;

	for (size_t t = 0; t < TABLES; t++) {
		for (const struct praas_cli_verb *v = tables[t]; v->noun; v++) {
			if (strcmp(noun, v->noun) != 0)
				continue;
			print_verb(to, v);
			count++;
		}
	}
	return count;
}

/* Everything; the verbs of a noun together, also those of several tables. */
static void print_all(FILE *to)
{
	for (size_t t = 0; t < TABLES; t++)
		for (const struct praas_cli_verb *v = tables[t]; v->noun; v++)
			if (praas_cli_first_of_noun(tables, v))
				(void)print_noun(to, v->noun);
}

/* All verbs, for programs. */
static int help_json(void)
{
	const struct praas_cli cli = { .json = true };
	json_t *rows = json_array();

	for (size_t t = 0; t < TABLES; t++)
		for (const struct praas_cli_verb *v = tables[t]; v->noun; v++)
			(void)json_array_append_new(
				rows, json_pack("{s:s,s:s?,s:s,s:s}", "noun", v->noun,
						"verb", v->verb, "arguments",
						v->arguments, "summary", v->summary));
	praas_cli_print(&cli, rows);
	json_decref(rows);
	return PRAAS_EXIT_DONE;
}

static int help(FILE *to)
{
	(void)fputs("praas: cloud processes, functions with state and a mailbox\n\n",
		    to);
	print_all(to);
	(void)fputs(
		"\nEvery verb has --help, and --json for programs. The control "
		"service is named by\n"
		"--url and --token, PRAAS_URL and PRAAS_TOKEN, or "
		"~/.config/praas/config; else\n"
		"it is the one that praas dev or praas up runs here.\n"
		"Exit: 0 done, 1 failed, 2 wrong usage, 3 the function's own error, "
		"4 no such\n"
		"thing, 5 refused, 6 overloaded or timed out.\n",
		to);
	return PRAAS_EXIT_DONE;
}

/* The verb that the words name; *ret_words is how many of them it took. */
static const struct praas_cli_verb *find(int argc, char **argv, int *ret_words)
{
	for (size_t t = 0; t < TABLES; t++) {
		for (const struct praas_cli_verb *v = tables[t]; v->noun; v++) {
			if (strcmp(argv[1], v->noun) != 0)
				continue;
			if (v->verb && (argc < 3 || strcmp(argv[2], v->verb) != 0))
				continue;
			*ret_words = v->verb ? 2 : 1;
			return v;
		}
	}
	return NULL;
}

static int unknown(int argc, char **argv)
{
	if (argv[1][0] == '-')
		return praas_cli_fail(PRAAS_EXIT_USAGE,
				      "'%s' stands before the verb: options stand "
				      "behind it; try praas help",
				      argv[1]);
	if (print_noun(stderr, argv[1]) == 0)
		return praas_cli_fail(PRAAS_EXIT_USAGE,
				      "there is no command '%s'; try praas help",
				      argv[1]);
	if (argc < 3)
		return praas_cli_fail(PRAAS_EXIT_USAGE,
				      "praas %s needs one of these verbs", argv[1]);
	return praas_cli_fail(PRAAS_EXIT_USAGE,
			      "praas %s has no verb '%s'; try one of these", argv[1],
			      argv[2]);
}

/* At the end of all ways out: what could not be written is no success. */
static void check_output(void)
{
	int failed = praas_cli_flush("the output");

	if (failed)
		_exit(failed);
}

static int run(const struct praas_cli_verb *verb, int words, int argc, char **argv)
{
	struct praas_cli cli = { 0 };
	char command[64];
	int rc;

	(void)snprintf(command, sizeof(command), "praas %s%s%s", verb->noun,
		       verb->verb ? " " : "", verb->verb ? verb->verb : ""); /* fits */
	cli.command = command;
	rc = verb->run(&cli, argc - words, argv + words);
	praas_control_close(cli.control);
	free(cli.config);
	return rc;
}

/* praas help WORD…: of a verb its --help, of a noun what it has. */
static int help_of(int argc, char **argv)
{
	static char option[] = "--help";
	int words = 0;
	char *args[] = { argv[0], argv[2], option, NULL, NULL };
	const struct praas_cli_verb *verb;

	if (strcmp(argv[2], "--json") == 0)
		return help_json();
	if (argc > 3) {
		args[2] = argv[3];
		args[3] = option;
	}
	verb = argc > 4 ? NULL : find(argc > 3 ? 3 : 2, args, &words);
	if (verb && words == argc - 2)
		return run(verb, words, words + 2, args);
	if (argc > 3)
		return unknown(argc - 1, argv + 1);
	if (print_noun(stdout, argv[2]) == 0)
		return praas_cli_fail(PRAAS_EXIT_USAGE,
				      "there is no '%s'; try praas help", argv[2]);
	return PRAAS_EXIT_DONE;
}

/* For the completion of shells; not a verb that people write. */
static int complete(int argc, char **argv)
{
	struct praas_cli cli = { .command = "praas complete" };

	return praas_cli_complete(&cli, tables, TABLES, argc, argv);
}

/* Standard input, output and error are there, or fail: a connection that got their number would be
 * written to. */
static void keep_numbers(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
			_exit(PRAAS_EXIT_FAILED);
}

int main(int argc, char **argv)
{
	const struct praas_cli_verb *verb;
	int words = 0;

	keep_numbers();

	/* A closed pipe is an error of the write, which is told; it does not end us
	 * silently. */
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail for this signal */
	(void)signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow */
	(void)atexit(check_output);     /* one of 32 that there is room for */
	if (argc < 2) {
		(void)help(stderr);
		return PRAAS_EXIT_USAGE;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "-?") == 0)
		return argc > 2 ? help_of(argc, argv) : help(stdout);
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
		(void)puts("praas " PRAAS_VERSION);
		return PRAAS_EXIT_DONE;
	}
	if (strcmp(argv[1], "complete") == 0 && argc > 2)
		return complete(argc - 2, argv + 2);
	verb = find(argc, argv, &words);
	if (verb)
		return run(verb, words, argc, argv);
	if (argc > 2 && strcmp(argv[2], "--help") == 0)
		return help_of(3, (char *[]){ argv[0], argv[2], argv[1], NULL });
	return unknown(argc, argv);
}
