/* SPDX-License-Identifier: Apache-2.0
 *
 * praas complete WORD…: what may stand in the place of the last word, a line each; the
 * completions of bash, zsh and fish ask it (client/cli/praas.bash and so on). Verbs come
 * from the table of verbs, options from the verb's own, names from the control service: so
 * nothing here can be out of date.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"

#define PATIENCE_S 1 /* for the control service: a key press waits for it */

static void offer(const struct praas_cli *cli, const char *word)
{
	if (strncmp(word, cli->completing, strlen(cli->completing)) == 0)
		(void)puts(word); /* main checks stdout at the end */
}

/* "a|b|c" */
static void offer_choices(const struct praas_cli *cli, const char *choices)
{
	char word[64];

	while (choices) {
		size_t length = strcspn(choices, "|");

		(void)snprintf(word, sizeof(word), "%.*s", (int)length, choices);
		offer(cli, word);
		choices = choices[length] ? choices + length + 1 : NULL;
	}
}

static void offer_members(struct praas_cli *cli, const char *path, const char *list,
			  const char *member)
{
	json_t *rows = NULL;

	/* What goes wrong is no matter for a key press. */
	(void)fflush(stdout);
	if (!freopen("/dev/null", "w", stderr))
		return;
	(void)alarm(PATIENCE_S); /* ends us: nothing is offered */
	if (praas_cli_settings(cli) != 0 || !cli->url ||
	    praas_cli_list(cli, path, list, "complete", &rows) != 0)
		return;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const char *name = json_string_value(
			json_object_get(json_array_get(rows, i), member));

		if (name)
			offer(cli, name);
	}
	json_decref(rows);
}

/* What is meant by an argument's name in the help. app: the first argument; NULL. */
static void offer_value(struct praas_cli *cli, const struct praas_cli_option *o,
			const char *app)
{
	char path[PRAAS_NAME_MAX + 64];

	if (o->kind == PRAAS_CLI_CHOICE) {
		offer_choices(cli, o->arg);
	} else if (o->kind == PRAAS_CLI_NAME && strcmp(o->arg, "APP") == 0) {
		offer_members(cli, "/v1/apps", "apps", "name");
	} else if (o->kind == PRAAS_CLI_NAME && strcmp(o->arg, "PID") == 0 && app &&
		   strlen(app) <= PRAAS_NAME_MAX) {
		(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes",
			       app); /* fits */
		offer_members(cli, path, "processes", "pid");
	}
}

static void offer_options(const struct praas_cli *cli,
			  const struct praas_cli_option *options)
{
	static const char *const common[] = { "--url", "--token", "--json", "--help" };
	char word[64];

	for (const struct praas_cli_option *o = options; o->name || o->arg; o++) {
		if (!o->name)
			continue;
		(void)snprintf(word, sizeof(word), "--%s", o->name); /* fits: ours */
		offer(cli, word);
	}
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		offer(cli, common[i]);
}

/* The option that a word is and whose value is the next word; NULL: none. */
static const struct praas_cli_option *wants_value(
	const struct praas_cli_option *options, const char *word)
{
	for (const struct praas_cli_option *o = options; o->name || o->arg; o++) {
		if (!o->name || o->kind == PRAAS_CLI_FLAG)
			continue;
		if (word[1] == '-' ? strcmp(word + 2, o->name) == 0
				   : word[1] == o->key && word[2] == '\0')
			return o;
	}
	return NULL;
}

static bool is_common_with_value(const char *word)
{
	return strcmp(word, "--url") == 0 || strcmp(word, "--token") == 0;
}

static const struct praas_cli_option *position(const struct praas_cli_option *o,
					       unsigned n)
{
	for (; o->name || o->arg; o++)
		if (!o->name && n-- == 0)
			return o;
	return NULL;
}

void praas_cli_complete_verb(struct praas_cli *cli,
			     const struct praas_cli_option *options, int argc,
			     char **argv)
{
	const struct praas_cli_option *o = NULL;
	const char *app = NULL;
	unsigned positions = 0;
	bool skip = false; /* the next word is a value that we know nothing of */

	for (int i = 1; i < argc; i++) {
		if (o || skip) {
			o = NULL;
			skip = false;
		} else if (argv[i][0] == '-' && argv[i][1]) {
			o = wants_value(options, argv[i]);
			skip = is_common_with_value(argv[i]);
		} else {
			app = positions++ == 0 ? argv[i] : app;
		}
	}
	if (skip)
		return;
	if (!o && cli->completing[0] == '-')
		offer_options(cli, options);
	else if (o || (o = position(options, positions)))
		offer_value(cli, o, app);
}

/* What one verb has to offer for the words; true: it is the one, and has offered. */
static bool offer_verb(struct praas_cli *cli, const struct praas_cli_verb *v, int argc,
		       char **argv)
{
	int words = v->verb ? 2 : 1;

	if (strcmp(v->noun, argv[0]) != 0)
		return false;
	if (argc == 2 && v->verb) {
		offer(cli, v->verb);
		return false; /* there are more of this noun */
	}
	if (argc <= words || (v->verb && strcmp(v->verb, argv[1]) != 0))
		return false;
	argv[argc - 1] = NULL;
	(void)v->run(cli, argc - words, argv + words - 1); /* ends in its parsing */
	return true;
}

bool praas_cli_first_of_noun(const struct praas_cli_verb *const *tables,
			     const struct praas_cli_verb *v)
{
	for (size_t t = 0;; t++)
		for (const struct praas_cli_verb *w = tables[t]; w->noun; w++)
			if (strcmp(w->noun, v->noun) == 0)
				return w == v;
}

int praas_cli_complete(struct praas_cli *cli,
		       const struct praas_cli_verb *const *tables, size_t count,
		       int argc, char **argv)
{
	bool nouns = argc == 1 || (argc == 2 && strcmp(argv[0], "help") == 0);

	cli->completing = argv[argc - 1];
	for (size_t t = 0; t < count; t++) {
		for (const struct praas_cli_verb *v = tables[t]; v->noun; v++) {
			if (nouns && praas_cli_first_of_noun(tables, v))
				offer(cli, v->noun);
			if (!nouns && offer_verb(cli, v, argc, argv))
				return PRAAS_EXIT_DONE;
		}
	}
	if (argc == 1) {
		offer(cli, "help");
		offer(cli, "version");
	}
	return PRAAS_EXIT_DONE;
}
