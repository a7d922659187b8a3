/* SPDX-License-Identifier: Apache-2.0
 *
 * praas msg: messages into and out of the mailbox of a process.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int msg_send(struct praas_cli *cli, int argc, char **argv)
{
	const char *app = "";
	const char *pid = "";
	const char *key = "";
	const char *spec = "-";
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &pid, .arg = "PID" },
		{ .kind = PRAAS_CLI_KEY, .value = &key, .arg = "KEY" },
		{ .name = "data",
		  .key = 'd',
		  .kind = PRAAS_CLI_TEXT,
		  .value = &spec,
		  .arg = "TEXT|@FILE|-",
		  .help = "The message; standard input when missing" },
		{ 0 },
	};
	praas_connection *conn = NULL;
	void *data = NULL;
	size_t bytes = 0;
	int rc;

	praas_cli_parse(cli, "Send a message into the mailbox of a process.", options,
			argc, argv);
	rc = praas_cli_data(spec, &data, &bytes);
	if (rc == 0)
		rc = praas_cli_connect(cli, app, pid, &conn);
	if (rc == 0) {
		struct praas_trace_context trace;
		bool traced = praas_cli_trace(&trace);
		int failed = praas_msg_send_context(conn, key, data, bytes,
						    traced ? &trace : NULL);

		praas_close(conn);
		rc = failed ? praas_cli_fail_call(cli, failed, "send the message")
			    : PRAAS_EXIT_DONE;
	}
	free(data);
	return rc;
}

/* As a traceparent, so that it can be handed on in TRACEPARENT. */
static void add_trace(json_t *answer, const struct praas_trace_context *trace)
{
	static const struct praas_trace_context none;
	char text[64] = "00-";
	size_t at = 3;

	if (memcmp(trace, &none, sizeof(none)) == 0)
		return;
	for (size_t i = 0; i < sizeof(none); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%02x",
				       i == 16 || i == 24 ? "-" : "",
				       ((const uint8_t *)trace)[i]);
	(void)json_object_set_new(answer, "traceparent", json_string(text));
}

/* answer is taken over. */
static void print_json(const struct praas_cli *cli, const char *key, json_t *answer,
		       praas_pid_t source, const struct praas_trace_context *trace)
{
	(void)json_object_set_new(answer, "key", json_string(key));
	(void)json_object_set_new(answer, "source", praas_cli_source_json(source));
	add_trace(answer, trace);
	praas_cli_print(cli, answer);
	json_decref(answer);
}

/* Writes it, and only then is it taken: what cannot be written stays. data is freed. */
static int write_and_take(const struct praas_cli *cli, praas_connection *conn,
			  const char *key, void *data, size_t bytes,
			  const struct praas_msg_held *held)
{
	json_t *answer = cli->json ? praas_cli_payload_json(data, bytes) : NULL;
	int rc;

	if (answer)
		print_json(cli, key, answer, held->source, &held->trace);
	else if (!cli->json)
		praas_cli_write(data, bytes);
	free(data);
	if (cli->json && !answer)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"no memory to show the message, which stays in the mailbox");
	rc = praas_cli_flush("the message, which stays in the mailbox");
	if (rc != 0)
		return rc;
	rc = praas_msg_taken(conn, held);
	return rc ? praas_cli_fail_call(
			    cli, rc,
			    "take the message out of the mailbox, where it stays")
		  : PRAAS_EXIT_DONE;
}

static int fail_recv(const struct praas_cli *cli, int rc, const char *pid,
		     const char *key, bool waited)
{
	if (rc == -EAGAIN && !waited)
		return praas_cli_fail(
			PRAAS_EXIT_NOT_FOUND,
			"no message '%s' is in the mailbox of %s; wait for one "
			"with --timeout 10s",
			key, pid);
	if (rc == -EAGAIN)
		return praas_cli_fail(PRAAS_EXIT_BUSY, "no message '%s' came in time",
				      key);
	return praas_cli_fail_call(cli, rc, "receive a message");
}

static int msg_recv(struct praas_cli *cli, int argc, char **argv)
{
	const char *app = "";
	const char *pid = "";
	const char *key = "";
	uint64_t timeout_ns = 0;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &pid, .arg = "PID" },
		{ .kind = PRAAS_CLI_KEY, .value = &key, .arg = "KEY" },
		{ .name = "timeout",
		  .key = 't',
		  .kind = PRAAS_CLI_DURATION,
		  .value = &timeout_ns,
		  .arg = "TIME",
		  .help = "Wait that long for one; at once when missing" },
		{ 0 },
	};
	praas_connection *conn = NULL;
	struct praas_msg_held held = { .id = 0 };
	void *data = NULL;
	size_t bytes = 0;
	int rc;

	praas_cli_parse(cli, "Take the oldest message of that key out of the mailbox.",
			options, argc, argv);
	rc = praas_cli_connect(cli, app, pid, &conn);
	if (rc != 0)
		return rc;
	rc = praas_msg_hold(conn, key,
			    timeout_ns > INT64_MAX ? INT64_MAX : (int64_t)timeout_ns,
			    &data, &bytes, &held);
	if (rc == 0)
		rc = write_and_take(cli, conn, key, data, bytes, &held);
	else
		rc = fail_recv(cli, rc, pid, key, timeout_ns != 0);
	praas_close(conn);
	return rc;
}

#define PAGE 256

static int list_into(praas_connection *conn, const char *prefix, json_t *rows)
{
	static struct praas_msg_info infos[PAGE];
	uint32_t count = PAGE;
	uint64_t after = 0;

	while (count == PAGE) {
		int rc = praas_msg_enumerate(conn, prefix, after, infos, PAGE, &count);

		if (rc != 0)
			return rc;
		for (uint32_t i = 0; i < count; i++)
			(void)json_array_append_new(
				rows, json_pack("{s:I,s:s,s:o,s:I}", "sequence",
						(json_int_t)infos[i].sequence, "key",
						infos[i].key, "source",
						praas_cli_source_json(infos[i].source),
						"bytes", (json_int_t)infos[i].bytes));
		if (count > 0)
			after = infos[count - 1].sequence;
	}
	return 0;
}

static int msg_ls(struct praas_cli *cli, int argc, char **argv)
{
	static const struct praas_cli_column columns[] = {
		{ "SEQUENCE", "sequence", PRAAS_COLUMN_PLAIN },
		{ "KEY", "key", PRAAS_COLUMN_PLAIN },
		{ "SOURCE", "source", PRAAS_COLUMN_PLAIN },
		{ "BYTES", "bytes", PRAAS_COLUMN_PLAIN },
	};
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

	praas_cli_parse(cli,
			"List the messages that wait in a mailbox, oldest first, whose "
			"key begins with PREFIX; they stay there.",
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
		rc = praas_cli_fail_call(cli, rc, "list the messages");
	json_decref(rows);
	praas_close(conn);
	return rc;
}

const struct praas_cli_verb praas_cli_msg_verbs[] = {
	{ "msg", "send", msg_send, "APP PID KEY [-d DATA]",
	  "send a message to a process" },
	{ "msg", "ls", msg_ls, "APP PID [PREFIX]", "list what waits in its mailbox" },
	{ "msg", "recv", msg_recv, "APP PID KEY [-t TIME]",
	  "take one out of its mailbox" },
	{ 0 },
};
