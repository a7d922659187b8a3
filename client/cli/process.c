/* SPDX-License-Identifier: Apache-2.0
 *
 * praas process, praas ps: cloud processes and their life.
 */
#include "client/cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES (2 * PRAAS_NAME_MAX + 64)

static int process_create(struct praas_cli *cli, int argc, char **argv)
{
	const char *app = "";
	const char *pid = NULL, *node = NULL;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &app, .arg = "APP" },
		{ .name = "pid",
		  .key = 'p',
		  .kind = PRAAS_CLI_NAME,
		  .value = &pid,
		  .arg = "PID",
		  .help = "Its name; one is made up when missing" },
		{ .name = "node",
		  .kind = PRAAS_CLI_NAME,
		  .value = &node,
		  .arg = "NODE",
		  .help = "Where it starts, if it does not serve; else one is chosen" },
		{ 0 },
	};
	char path[PATH_BYTES];
	json_t *answer = NULL;
	const char *name;
	const char *state;
	int rc;

	praas_cli_parse(cli, "Create a process, or wake the swapped one of that name.",
			options, argc, argv);
	(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes", app); /* fits */
	rc = praas_cli_request(
		cli, "POST", path,
		json_pack("{s:s*,s:s*,s:b}", "pid", pid, "node", node, "wait", 1),
		"create the process", &answer);
	if (rc != 0)
		return rc;
	name = json_string_value(json_object_get(answer, "pid"));
	state = json_string_value(json_object_get(answer, "state"));
	if (cli->json) {
		/* The credential is for programs that ask for it, not for a terminal's
		 * history. */
		(void)json_object_del(answer, "ticket");
		praas_cli_print(cli, answer);
	} else {
		(void)printf("process %s is %s; next: praas invoke %s FUNCTION -p %s\n",
			     name ? name : "?", state ? state : "created", app,
			     name ? name : "?");
	}
	json_decref(answer);
	return PRAAS_EXIT_DONE;
}

static const struct praas_cli_column process_columns[] = {
	{ "APP", "app", PRAAS_COLUMN_PLAIN },
	{ "PID", "pid", PRAAS_COLUMN_PLAIN },
	{ "STATE", "state", PRAAS_COLUMN_PLAIN },
	{ "NODE", "node", PRAAS_COLUMN_PLAIN },
	{ "EPOCH", "epoch", PRAAS_COLUMN_PLAIN },
	{ "RUNNING", "metrics.running", PRAAS_COLUMN_PLAIN },
	{ "QUEUED", "metrics.queued", PRAAS_COLUMN_PLAIN },
	{ "MAILBOX", "metrics.mailbox_depth", PRAAS_COLUMN_PLAIN },
	{ "STATE BYTES", "metrics.state_bytes", PRAAS_COLUMN_BYTES },
	{ "IDLE", "metrics.idle_ns", PRAAS_COLUMN_NS },
	{ "TRANSPORTS", "transports", PRAAS_COLUMN_PLAIN },
};

static bool has_word(const char *list, const char *word, size_t bytes)
{
	for (; *list; list += strcspn(list, ","), list += *list == ',')
		if (strcspn(list, ",") == bytes && memcmp(list, word, bytes) == 0)
			return true;
	return false;
}

/* The kinds of a process's endpoints, "shm,verbs,tls", as a member of its own. */
static void add_transports(json_t *process)
{
	const json_t *endpoints = json_object_get(process, "endpoints");
	char kinds[64] = "";

	for (size_t i = 0; i < json_array_size(endpoints); i++) {
		const char *one = json_string_value(json_array_get(endpoints, i));
		size_t bytes = one ? strcspn(one, ":") : 0, at = strlen(kinds);

		if (bytes > 0 && at + bytes + 2 < sizeof(kinds) &&
		    !has_word(kinds, one, bytes))
			(void)snprintf(kinds + at, sizeof(kinds) - at, "%s%.*s",
				       at ? "," : "", (int)bytes, one);
	}
	if (*kinds)
		(void)json_object_set_new(process, "transports", json_string(kinds));
}

/* Appends the processes of one application to rows, each with the application's name.
 */
static int append_processes(struct praas_cli *cli, const char *app, json_t *rows)
{
	char path[PATH_BYTES];
	json_t *more = NULL;
	int rc;

	(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes", app); /* fits */
	rc = praas_cli_list(cli, path, "processes", "list the processes", &more);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < json_array_size(more); i++) {
		json_t *row = json_array_get(more, i);

		if (json_is_object(row) && !json_object_get(row, "app"))
			(void)json_object_set_new(row, "app", json_string(app));
		(void)json_array_append(rows, row);
	}
	json_decref(more);
	return PRAAS_EXIT_DONE;
}

static int append_all(struct praas_cli *cli, json_t *rows)
{
	json_t *apps = NULL;
	int rc =
		praas_cli_list(cli, "/v1/apps", "apps", "list the applications", &apps);

	for (size_t i = 0; rc == 0 && i < json_array_size(apps); i++) {
		const char *name = json_string_value(
			json_object_get(json_array_get(apps, i), "name"));

		if (name && strlen(name) <= PRAAS_NAME_MAX)
			rc = append_processes(cli, name, rows);
		if (rc == PRAAS_EXIT_NOT_FOUND)
			rc = 0; /* deleted since it was listed */
	}
	json_decref(apps);
	return rc;
}

int praas_cli_processes(struct praas_cli *cli, const char *app, json_t **ret_rows)
{
	json_t *rows = json_array();
	int rc = app ? append_processes(cli, app, rows) : append_all(cli, rows);

	if (rc == 0)
		*ret_rows = rows;
	else
		json_decref(rows);
	return rc;
}

static int print_processes(struct praas_cli *cli, const char *app)
{
	json_t *rows = NULL;
	int rc = praas_cli_processes(cli, app, &rows);

	for (size_t i = 0; !cli->json && i < json_array_size(rows); i++)
		add_transports(json_array_get(rows, i));
	if (rc == 0)
		praas_cli_table(cli, rows, process_columns,
				sizeof(process_columns) / sizeof(process_columns[0]));
	json_decref(rows);
	return rc;
}

static int ps(struct praas_cli *cli, int argc, char **argv)
{
	const char *app = NULL;
	bool watch = false;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME,
		  .value = &app,
		  .arg = "APP",
		  .optional = true },
		{ .name = "watch",
		  .key = 'w',
		  .value = &watch,
		  .help = "Print again every second, until Ctrl-C" },
		{ 0 },
	};
	const struct timespec second = { .tv_sec = 1 };
	int rc;

	praas_cli_parse(cli,
			"List processes: state, epoch, load, mailbox, state, idle "
			"time, transports.",
			options, argc, argv);
	rc = print_processes(cli, app);
	while (watch && rc == 0) {
		(void)fflush(stdout);
		(void)nanosleep(&second, NULL); /* a signal ends the program */
		(void)fputs(isatty(STDOUT_FILENO) ? "\033[H\033[2J" : "\n", stdout);
		rc = print_processes(cli, app);
		if (ferror(stdout))
			rc = PRAAS_EXIT_FAILED;
	}
	return rc;
}

/* A process after an action: in short, all with --json; NULL when it was deleted. */
static void print_process(const struct praas_cli *cli, json_t *process, bool in_short)
{
	const char *pid = json_string_value(json_object_get(process, "pid"));
	const char *state = json_string_value(json_object_get(process, "state"));

	/* The credential is for programs that ask for it, not for a terminal's history. */
	(void)json_object_del(process, "ticket");
	if (in_short && !cli->json && pid && state)
		(void)printf("process %s is %s\n", pid, state);
	else
		praas_cli_print(cli, process);
}

/* An action on one process: method and the last part of the path ("" none); body is taken, NULL: none. */
static int act_on(struct praas_cli *cli, const char *method, const char *action,
		  const char *what, const char *app, const char *pid, json_t *body)
{
	char path[PATH_BYTES];
	char text[PATH_BYTES];
	json_t *answer = NULL;
	int rc;

	(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes/%s%s%s", app, pid,
		       *action ? "/" : "", action); /* fits */
	(void)snprintf(text, sizeof(text), "%s process %s of %s", what, pid,
		       app); /* fits */
	rc = praas_cli_request(cli, method, path, body, text, &answer);
	if (rc == 0)
		print_process(cli, answer, *method == 'P');
	json_decref(answer);
	return rc;
}

/* The same with nothing but APP and PID. */
static int act(struct praas_cli *cli, const char *method, const char *action,
	       const char *doc, const char *what, int argc, char **argv)
{
	const char *app = "";
	const char *pid = "";
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &pid, .arg = "PID" },
		{ 0 },
	};

	praas_cli_parse(cli, doc, options, argc, argv);
	return act_on(cli, method, action, what, app, pid, NULL);
}

static int process_show(struct praas_cli *cli, int argc, char **argv)
{
	return act(cli, "GET", "", "Show a process.", "show", argc, argv);
}

static int process_rm(struct praas_cli *cli, int argc, char **argv)
{
	return act(cli, "DELETE", "", "Delete a process and all it keeps, for good.",
		   "delete", argc, argv);
}

static int process_swap(struct praas_cli *cli, int argc, char **argv)
{
	return act(cli, "POST", "swap-out",
		   "Write state and mailbox to the store and end the process; an "
		   "invocation "
		   "wakes it.",
		   "swap out", argc, argv);
}

static int process_wake(struct praas_cli *cli, int argc, char **argv)
{
	return act(cli, "POST", "swap-in", "Wake a swapped process.", "wake", argc,
		   argv);
}

static int process_checkpoint(struct praas_cli *cli, int argc, char **argv)
{
	return act(cli, "POST", "checkpoint",
		   "Write state and mailbox to the store; the process goes on serving.",
		   "checkpoint", argc, argv);
}

static int process_move(struct praas_cli *cli, int argc, char **argv)
{
	const char *app = "", *pid = "", *to = NULL;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &pid, .arg = "PID" },
		{ .name = "to",
		  .kind = PRAAS_CLI_NAME,
		  .value = &to,
		  .arg = "NODE",
		  .help = "Another node; without it the process stays on its own" },
		{ 0 },
	};

	praas_cli_parse(cli,
			"Move a process to another controller; it serves all the time, "
			"but for a moment.",
			options, argc, argv);
	return act_on(cli, "POST", "migrate", "move", app, pid,
		      to ? json_pack("{s:s}", "node", to) : NULL);
}

static int process_kill(struct praas_cli *cli, int argc, char **argv)
{
	return act(cli, "POST", "kill",
		   "End a process at once, without a swap: what followed its last "
		   "snapshot is "
		   "lost.",
		   "kill", argc, argv);
}

const struct praas_cli_verb praas_cli_process_verbs[] = {
	{ "ps", NULL, ps, "[APP]", "list processes" },
	{ "process", "create", process_create, "APP [-p PID]",
	  "create or wake a process" },
	{ "process", "show", process_show, "APP PID", "show one" },
	{ "process", "swap", process_swap, "APP PID", "swap it out to the store" },
	{ "process", "wake", process_wake, "APP PID", "swap it in" },
	{ "process", "checkpoint", process_checkpoint, "APP PID",
	  "snapshot while it serves" },
	{ "process", "move", process_move, "APP PID [--to NODE]",
	  "to another controller, while it serves" },
	{ "process", "kill", process_kill, "APP PID", "end it without a swap" },
	{ "process", "rm", process_rm, "APP PID", "delete it for good" },
	{ 0 },
};
