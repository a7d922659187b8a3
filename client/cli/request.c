/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests to the control service, and connections to processes, with errors told.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEXT_BYTES (2 * PRAAS_NAME_MAX + 24) /* where the next page of a list begins */
#define PATH_BYTES (6 * PRAAS_NAME_MAX + 192)
#define PAGES_MAX 100000u /* more is a service that repeats itself */

/* Opens the control service on the first request. Returns an exit code. */
static int open_control(struct praas_cli *cli)
{
	int rc;

	if (cli->control)
		return PRAAS_EXIT_DONE;
	if (!cli->url)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"no control service is named and none of yours runs "
			"here; start one with praas up, or set PRAAS_URL");
	rc = praas_control_open(cli->url, cli->token, &cli->control);
	if (rc == -EINVAL)
		return praas_cli_fail(
			PRAAS_EXIT_USAGE,
			"'%s' is no address of a control service; it looks like "
			"http://127.0.0.1:8080 or unix:///path",
			cli->url);
	return rc == 0 ? PRAAS_EXIT_DONE
		       : praas_cli_fail_call(cli, rc, "open the control service");
}

/* {"error": {"code", "message", "hint"}} with an HTTP status, as an exit code and a
 * sentence. */
static int fail_status(const char *what, int status, const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *hint = json_string_value(json_object_get(error, "hint"));
	enum praas_exit code = PRAAS_EXIT_FAILED;

	if (status == 404)
		code = PRAAS_EXIT_NOT_FOUND;
	else if (status == 401 || status == 402 || status == 403)
		code = PRAAS_EXIT_REFUSED;
	else if (status == 408 || status == 429 || status == 503 || status == 504)
		code = PRAAS_EXIT_BUSY;
	if (!message)
		return praas_cli_fail(code,
				      "cannot %s: the control service answered %d",
				      what, status);
	return praas_cli_fail(code, "cannot %s: %s%s%s", what, message,
			      hint && *hint ? "; " : "", hint ? hint : "");
}

int praas_cli_request(struct praas_cli *cli, const char *method, const char *path,
		      json_t *body, const char *what, json_t **ret_answer)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	char *answer_text = NULL;
	size_t bytes = 0;
	json_t *answer;
	json_error_t error;
	int status = 0;
	int rc = open_control(cli);

	json_decref(body);
	if (rc != PRAAS_EXIT_DONE) {
		free(text);
		return rc;
	}
	rc = praas_control_request(
		cli->control, method, path, text ? "application/json" : NULL, text,
		text ? strlen(text) : 0, &status, &answer_text, &bytes);
	free(text);
	if (rc != 0)
		return praas_cli_fail_call(cli, rc, what);
	answer = json_loadb(answer_text ? answer_text : "", bytes, JSON_DECODE_ANY,
			    &error);
	free(answer_text);
	if (status < 200 || status > 299)
		rc = fail_status(what, status, answer);
	else if (!answer && bytes > 0)
		rc = praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"cannot %s: what answers at %s is no control service "
			"(no JSON); look at PRAAS_URL",
			what, cli->url);
	if (rc == 0 && ret_answer)
		*ret_answer = answer ? answer : json_null();
	else
		json_decref(answer);
	return rc;
}

int praas_cli_text(struct praas_cli *cli, const char *path, const char *header,
		   const char *what, char **ret_text, size_t *ret_bytes,
		   char *ret_value, size_t value_bytes)
{
	const char *value;
	char *text = NULL;
	json_t *answer;
	int status = 0;
	int rc = open_control(cli);

	if (rc != PRAAS_EXIT_DONE)
		return rc;
	rc = praas_control_request(cli->control, "GET", path, NULL, NULL, 0, &status,
				   &text, ret_bytes);
	if (rc != 0)
		return praas_cli_fail_call(cli, rc, what);
	if (status != 200) {
		answer = json_loadb(text, *ret_bytes, JSON_DECODE_ANY, NULL);
		rc = fail_status(what, status, answer);
		json_decref(answer);
		free(text);
		return rc;
	}
	value = praas_control_header(cli->control, header);
	(void)snprintf(ret_value, value_bytes, "%s",
		       value ? value : ""); /* cut: wrong */
	*ret_text = text;
	return 0;
}

/* One page of a list: appends to rows; *ret_next is where the next page begins, "" none. */
static int list_page(struct praas_cli *cli, const char *path, const char *member,
		     const char *what, json_t *rows, char ret_next[NEXT_BYTES])
{
	char page_path[PATH_BYTES];
	json_t *answer = NULL;
	const json_t *page;
	const char *next;
	int rc;

	(void)snprintf(page_path, sizeof(page_path), "%s%s%s%s", path,
		       !*ret_next          ? ""
		       : strchr(path, '?') ? "&"
					   : "?",
		       *ret_next ? "after=" : "", ret_next); /* fits */
	rc = praas_cli_request(cli, "GET", page_path, NULL, what, &answer);
	if (rc != 0)
		return rc;
	page = json_is_array(answer) ? answer : json_object_get(answer, member);
	next = json_string_value(json_object_get(answer, "next"));
	(void)snprintf(ret_next, NEXT_BYTES, "%s", next ? next : ""); /* names */
	if (!json_is_array(page))
		rc = praas_cli_fail(PRAAS_EXIT_FAILED,
				    "cannot %s: the control service sent no list",
				    what);
	for (size_t i = 0; i < json_array_size(page); i++)
		(void)json_array_append(rows, json_array_get(page, i));
	json_decref(answer);
	return rc;
}

int praas_cli_list(struct praas_cli *cli, const char *path, const char *member,
		   const char *what, json_t **ret_rows)
{
	char next[NEXT_BYTES] = "";
	json_t *rows = json_array();

	for (unsigned pages = 0; pages < PAGES_MAX; pages++) {
		int rc = list_page(cli, path, member, what, rows, next);

		if (rc != 0) {
			json_decref(rows);
			return rc;
		}
		if (!*next)
			break;
	}
	*ret_rows = rows;
	return PRAAS_EXIT_DONE;
}

/* A process to use when none is named: one that serves, else any, else a new one. */
static int choose_process(struct praas_cli *cli, const char *app, char *ret_name)
{
	char path[PRAAS_NAME_MAX + 32];
	json_t *rows = NULL;
	const char *chosen = NULL;
	int rc;

	(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes", app);
	rc = praas_cli_list(cli, path, "processes", "list the processes", &rows);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *name = json_string_value(json_object_get(row, "pid"));
		const char *state = json_string_value(json_object_get(row, "state"));

		if (!name || !state || strcmp(state, "DELETING") == 0)
			continue;
		if (!chosen || strcmp(state, "ACTIVE") == 0)
			chosen = name;
	}
	if (chosen)
		(void)snprintf(ret_name, PRAAS_NAME_MAX + 1, "%s",
			       chosen); /* a checked name */
	else
		rc = praas_process_create(cli->control, app, NULL, ret_name);
	json_decref(rows);
	return rc == 0 ? 0 : praas_cli_fail_call(cli, rc, "create a process");
}

static int connect_to(struct praas_cli *cli, const char *app, const char *process,
		      const struct praas_connect_config *config, bool make_missing,
		      char *ret_name, praas_connection **ret_conn)
{
	char what[2 * PRAAS_NAME_MAX + 64];
	int rc = open_control(cli);

	if (rc == 0 && process)
		(void)snprintf(ret_name, PRAAS_NAME_MAX + 1, "%s", process); /* fits */
	else if (rc == 0)
		rc = choose_process(cli, app, ret_name);
	if (rc != 0)
		return rc;
	rc = praas_connect(cli->control, app, ret_name, config, ret_conn);
	if (rc == -ENOENT && make_missing) {
		rc = praas_process_create(cli->control, app, ret_name, NULL);
		if (rc == 0)
			rc = praas_connect(cli->control, app, ret_name, config,
					   ret_conn);
	}
	if (rc == 0)
		return PRAAS_EXIT_DONE;
	(void)snprintf(what, sizeof(what), "connect to process %s of application %s",
		       ret_name, app);
	return praas_cli_fail_call(cli, rc, what);
}

int praas_cli_connect(struct praas_cli *cli, const char *app, const char *process,
		      praas_connection **ret_conn)
{
	char name[PRAAS_NAME_MAX + 1];

	return connect_to(cli, app, process, NULL, false, name, ret_conn);
}

int praas_cli_connect_any(struct praas_cli *cli, const char *app, const char *process,
			  const struct praas_connect_config *config, char *ret_name,
			  praas_connection **ret_conn)
{
	return connect_to(cli, app, process, config, true, ret_name, ret_conn);
}

/* All of a stream. 0; -EIO, -ENOMEM. */
static int read_all(FILE *from, void **ret_data, size_t *ret_bytes)
{
	size_t room = 65536;
	size_t bytes = 0;
	char *data = malloc(room);

	while (data) {
		char *grown;

		bytes += fread(data + bytes, 1, room - bytes, from);
		if (bytes < room)
			break;
		room *= 2;
		grown = realloc(data, room);
		if (!grown)
			free(data);
		data = grown;
	}
	if (!data)
		return -ENOMEM;
	if (ferror(from)) {
		int rc = errno ? -errno : -EIO; /* of the read that failed */

		free(data);
		return rc;
	}
	*ret_data = data;
	*ret_bytes = bytes;
	return 0;
}

int praas_cli_data(const char *spec, void **ret_data, size_t *ret_bytes)
{
	const char *name = spec && *spec == '@' ? spec + 1 : "standard input";
	FILE *from = stdin;
	int rc;

	if (!spec || (*spec != '@' && strcmp(spec, "-") != 0)) {
		*ret_data = strdup(spec ? spec : "");
		*ret_bytes = spec ? strlen(spec) : 0;
		return *ret_data ? PRAAS_EXIT_DONE
				 : praas_cli_fail(PRAAS_EXIT_FAILED, "no memory");
	}
	if (*spec == '@')
		from = fopen(name, "rbe");
	if (!from)
		return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot read %s: %s", name,
				      strerror(errno));
	rc = read_all(from, ret_data, ret_bytes);
	if (from != stdin)
		(void)fclose(from); /* read only */
	return rc == 0 ? PRAAS_EXIT_DONE
		       : praas_cli_fail(PRAAS_EXIT_FAILED, "cannot read %s: %s", name,
					strerror(-rc));
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool praas_cli_trace(struct praas_trace_context *ret_trace)
{
	uint8_t *to = (uint8_t *)ret_trace; /* bytes alone, in this order */
	const char *text = getenv("TRACEPARENT");

	if (!text || strlen(text) != 55 || strncmp(text, "00-", 3) != 0 ||
	    text[35] != '-' || text[52] != '-')
		return false;
	for (size_t i = 0; i < sizeof(*ret_trace); i++) {
		const char *at = text + 3 + 2 * i + (i >= 16) + (i >= 24);
		int high = hex(at[0]);
		int low = hex(at[1]);

		if (high < 0 || low < 0)
			return false;
		to[i] = (uint8_t)(high * 16 + low);
	}
	return true;
}
