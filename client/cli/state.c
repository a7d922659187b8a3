/* SPDX-License-Identifier: Apache-2.0
 *
 * praas state: the objects that a process keeps.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 64

static const struct praas_cli_column columns[] = {
	{ "KEY", "key", PRAAS_COLUMN_PLAIN },
	{ "BYTES", "bytes", PRAAS_COLUMN_PLAIN },
	{ "VERSION", "version", PRAAS_COLUMN_PLAIN },
	{ "MODIFIED", "modified_ns", PRAAS_COLUMN_WHEN },
};

/* Lists page by page into rows; what a process can hold bounds it. */
static int list_into(praas_connection *conn, const char *prefix, json_t *rows)
{
	static struct praas_state_info infos[PAGE];
	char after[PRAAS_KEY_MAX + 1] = "";
	uint32_t count = PAGE;

	while (count == PAGE) {
		int rc =
			praas_state_enumerate(conn, prefix, after, infos, PAGE, &count);

		if (rc != 0)
			return rc;
		for (uint32_t i = 0; i < count; i++)
			(void)json_array_append_new(
				rows,
				json_pack("{s:s,s:I,s:I,s:I}", "key", infos[i].key,
					  "bytes", (json_int_t)infos[i].bytes,
					  "version", (json_int_t)infos[i].version,
					  "modified_ns",
					  (json_int_t)infos[i].modified_ns));
		if (count > 0)
			memcpy(after, infos[count - 1].key, sizeof(after));
	}
	return 0;
}

static int state_ls(struct praas_cli *cli, int argc, char **argv)
{
	const char *app = "";
	const char *pid = "";
	const char *prefix = "";
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &pid, .arg = "PID" },
		{ .kind = PRAAS_CLI_TEXT,
		  .value = &prefix,
		  .arg = "PREFIX",
		  .optional = true },
		{ 0 },
	};
	praas_connection *conn = NULL;
	json_t *rows;
	int rc;

	praas_cli_parse(cli, "List state objects whose key begins with PREFIX.",
			options, argc, argv);
	rc = praas_cli_connect(cli, app, pid, &conn);
	if (rc != 0)
		return rc;
	rows = json_array();
	rc = list_into(conn, prefix, rows);
	if (rc == 0)
		praas_cli_table(cli, rows, columns,
				sizeof(columns) / sizeof(columns[0]));
	else
		rc = praas_cli_fail_call(cli, rc, "list the state");
	json_decref(rows);
	praas_close(conn);
	return rc;
}

/* What get, put and rm have in common. */
struct object {
	const char *app;
	const char *pid;
	const char *key;
	praas_connection *conn;
};

static int fail_object(const struct praas_cli *cli, const struct object *o, int rc,
		       const char *verb)
{
	char what[PRAAS_KEY_MAX + 64];

	if (rc == -ENOENT)
		return praas_cli_fail(PRAAS_EXIT_NOT_FOUND,
				      "cannot %s '%s': process %s has no such key; "
				      "try praas state ls %s %s",
				      verb, o->key, o->pid, o->app, o->pid);
	(void)snprintf(what, sizeof(what), "%s '%s'", verb, o->key); /* fits */
	return praas_cli_fail_call(cli, rc, what);
}

static int state_get(struct praas_cli *cli, int argc, char **argv)
{
	struct object o = { .app = "", .pid = "", .key = "" };
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &o.app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &o.pid, .arg = "PID" },
		{ .kind = PRAAS_CLI_KEY, .value = &o.key, .arg = "KEY" },
		{ 0 },
	};
	void *data = NULL;
	size_t bytes = 0;
	uint64_t version = 0;
	int rc;

	praas_cli_parse(cli, "Write a state object to standard output, as it is.",
			options, argc, argv);
	rc = praas_cli_connect(cli, o.app, o.pid, &o.conn);
	if (rc != 0)
		return rc;
	rc = praas_state_read(o.conn, o.key, &data, &bytes, &version);
	praas_close(o.conn);
	if (rc != 0)
		return fail_object(cli, &o, rc, "get");
	if (cli->json) {
		json_t *answer = praas_cli_payload_json(data, bytes);

		(void)json_object_set_new(answer, "key", json_string(o.key));
		(void)json_object_set_new(answer, "version",
					  json_integer((json_int_t)version));
		praas_cli_print(cli, answer);
		json_decref(answer);
	} else {
		praas_cli_write(data, bytes);
	}
	free(data);
	return PRAAS_EXIT_DONE;
}

static int state_put(struct praas_cli *cli, int argc, char **argv)
{
	struct object o = { .app = "", .pid = "", .key = "" };
	const char *spec = "-";
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &o.app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &o.pid, .arg = "PID" },
		{ .kind = PRAAS_CLI_KEY, .value = &o.key, .arg = "KEY" },
		{ .name = "data",
		  .key = 'd',
		  .kind = PRAAS_CLI_TEXT,
		  .value = &spec,
		  .arg = "TEXT|@FILE|-",
		  .help = "The value; standard input when missing" },
		{ 0 },
	};
	void *data = NULL;
	size_t bytes = 0;
	int rc;

	praas_cli_parse(cli, "Write a state object.", options, argc, argv);
	rc = praas_cli_data(spec, &data, &bytes);
	if (rc == 0)
		rc = praas_cli_connect(cli, o.app, o.pid, &o.conn);
	if (rc == 0) {
		int failed = praas_state_write(o.conn, o.key, data, bytes);

		praas_close(o.conn);
		rc = failed ? fail_object(cli, &o, failed, "put") : PRAAS_EXIT_DONE;
	}
	free(data);
	return rc;
}

static int state_rm(struct praas_cli *cli, int argc, char **argv)
{
	struct object o = { .app = "", .pid = "", .key = "" };
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &o.app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &o.pid, .arg = "PID" },
		{ .kind = PRAAS_CLI_KEY, .value = &o.key, .arg = "KEY" },
		{ 0 },
	};
	int rc;

	praas_cli_parse(cli, "Delete a state object.", options, argc, argv);
	rc = praas_cli_connect(cli, o.app, o.pid, &o.conn);
	if (rc != 0)
		return rc;
	rc = praas_state_remove(o.conn, o.key);
	praas_close(o.conn);
	return rc ? fail_object(cli, &o, rc, "delete") : PRAAS_EXIT_DONE;
}

const struct praas_cli_verb praas_cli_state_verbs[] = {
	{ "state", "ls", state_ls, "APP PID [PREFIX]",
	  "list the objects of a process" },
	{ "state", "get", state_get, "APP PID KEY", "write one to standard output" },
	{ "state", "put", state_put, "APP PID KEY [-d DATA]", "set one" },
	{ "state", "rm", state_rm, "APP PID KEY", "delete one" },
	{ 0 },
};
