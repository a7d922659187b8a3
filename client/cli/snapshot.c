/* SPDX-License-Identifier: Apache-2.0
 *
 * praas state snapshot …: what a process was, under names.
 */
#include "client/cli/cli.h"

#include <stdio.h>

#define PATH_BYTES (3 * PRAAS_NAME_MAX + 64)

static const struct praas_cli_column columns[] = {
	{ "NAME", "name", PRAAS_COLUMN_PLAIN },
	{ "BYTES", "bytes", PRAAS_COLUMN_BYTES },
	{ "RECORDS", "records", PRAAS_COLUMN_PLAIN },
	{ "EPOCH", "epoch", PRAAS_COLUMN_PLAIN },
	{ "SLOT", "slot", PRAAS_COLUMN_PLAIN },
};

/* The words that all verbs here have; what: "take snapshot". */
struct words {
	const char *app, *pid, *name;
	char path[PATH_BYTES], what[PATH_BYTES];
};

static void parse(struct praas_cli *cli, struct words *w, const char *doc,
		  const char *what, int argc, char **argv)
{
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &w->app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &w->pid, .arg = "PID" },
		{ .kind = PRAAS_CLI_NAME, .value = &w->name, .arg = "NAME" },
		{ 0 },
	};

	w->app = w->pid = w->name = "";
	praas_cli_parse(cli, doc, options, argc, argv);
	(void)snprintf(w->what, sizeof(w->what), "%s %s of process %s of %s", what,
		       w->name, w->pid, w->app); /* fits */
	(void)snprintf(w->path, sizeof(w->path), "/v1/apps/%s/processes/%s", w->app,
		       w->pid); /* fits */
}

/* One line for people, all for programs. */
static void tell(const struct praas_cli *cli, const struct words *w, json_t *answer,
		 const char *done)
{
	if (cli->json)
		praas_cli_print(cli, answer);
	else
		(void)printf("%s %s\n", done, w->name);
	json_decref(answer);
}

static int snapshot(struct praas_cli *cli, int argc, char **argv)
{
	json_t *answer = NULL;
	char path[PATH_BYTES + 16];
	struct words w;
	int rc;

	parse(cli, &w,
	      "Save a process under a name; what has one is kept until praas state "
	      "forget.",
	      "take snapshot", argc, argv);
	(void)snprintf(path, sizeof(path), "%s/snapshots", w.path); /* fits */
	rc = praas_cli_request(cli, "POST", path, json_pack("{s:s}", "name", w.name),
			       w.what, &answer);
	if (rc == 0)
		tell(cli, &w, answer, "saved as");
	return rc;
}

static int rollback(struct praas_cli *cli, int argc, char **argv)
{
	json_t *answer = NULL;
	char path[PATH_BYTES + 16];
	struct words w;
	int rc;

	parse(cli, &w,
	      "Make a process what it was in a named snapshot; it is swapped out, and "
	      "what it did since is gone.",
	      "roll back to", argc, argv);
	(void)snprintf(path, sizeof(path), "%s/rollback", w.path); /* fits */
	rc = praas_cli_request(cli, "POST", path,
			       json_pack("{s:s}", "snapshot", w.name), w.what, &answer);
	if (rc == 0)
		tell(cli, &w, answer, "rolled back to");
	return rc;
}

static int forget(struct praas_cli *cli, int argc, char **argv)
{
	char path[PATH_BYTES + PRAAS_NAME_MAX + 16];
	struct words w;

	parse(cli, &w, "Delete a named snapshot; the process goes on as it is.",
	      "delete snapshot", argc, argv);
	(void)snprintf(path, sizeof(path), "%s/snapshots/%s", w.path,
		       w.name); /* fits */
	return praas_cli_request(cli, "DELETE", path, NULL, w.what, NULL);
}

static int process_fork(struct praas_cli *cli, int argc, char **argv)
{
	const char *app = "";
	const char *pid = "";
	const char *name = NULL;
	const char *from = NULL;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &pid, .arg = "PID" },
		{ .name = "pid",
		  .key = 'p',
		  .kind = PRAAS_CLI_NAME,
		  .value = &name,
		  .arg = "NEW",
		  .help = "Name of the new process; one is made up when missing" },
		{ .name = "snapshot",
		  .key = 's',
		  .kind = PRAAS_CLI_NAME,
		  .value = &from,
		  .arg = "NAME",
		  .help = "A named snapshot; as it is now when missing" },
		{ 0 },
	};
	char path[PATH_BYTES];
	json_t *answer = NULL;
	const char *made;
	int rc;

	praas_cli_parse(cli,
			"Make a process that begins as another one is, or was. It is "
			"swapped; an invocation wakes it.",
			options, argc, argv);
	(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes/%s/fork", app,
		       pid); /* fits */
	rc = praas_cli_request(cli, "POST", path,
			       json_pack("{s:s*,s:s*}", "pid", name, "snapshot", from),
			       "fork the process", &answer);
	if (rc != 0)
		return rc;
	made = json_string_value(json_object_get(answer, "pid"));
	if (cli->json)
		praas_cli_print(cli, answer);
	else
		(void)printf("process %s is SWAPPED\n", made ? made : "?");
	json_decref(answer);
	return PRAAS_EXIT_DONE;
}

static int snapshots(struct praas_cli *cli, int argc, char **argv)
{
	const char *app = "";
	const char *pid = "";
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &pid, .arg = "PID" },
		{ 0 },
	};
	char path[PATH_BYTES];
	json_t *rows = NULL;
	int rc;

	praas_cli_parse(cli, "List the named snapshots of a process.", options, argc,
			argv);
	(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes/%s/snapshots", app,
		       pid); /* fits */
	rc = praas_cli_list(cli, path, "snapshots", "list the snapshots", &rows);
	if (rc == 0)
		praas_cli_table(cli, rows, columns,
				sizeof(columns) / sizeof(columns[0]));
	json_decref(rows);
	return rc;
}

const struct praas_cli_verb praas_cli_snapshot_verbs[] = {
	{ "process", "fork", process_fork, "APP PID [-p NEW]",
	  "make one that begins as it is, or was" },
	{ "state", "snapshot", snapshot, "APP PID NAME",
	  "save all of it under a name" },
	{ "state", "snapshots", snapshots, "APP PID", "list what was saved so" },
	{ "state", "rollback", rollback, "APP PID NAME",
	  "make the process what it was then" },
	{ "state", "forget", forget, "APP PID NAME", "delete a named snapshot" },
	{ 0 },
};
