/* SPDX-License-Identifier: Apache-2.0
 *
 * praas token, praas tenant: who may ask the service for what, and how much of it.
 */
#include "client/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES (2 * PRAAS_NAME_MAX + 64)
#define SECOND_NS 1000000000ull

/* "read,invoke" as a list; the service knows which there are. */
static json_t *scopes_json(const char *text)
{
	json_t *list = json_array();
	size_t n;

	for (; *text; text += n + (text[n] == ',')) {
		n = strcspn(text, ",");
		(void)json_array_append_new(list, json_stringn(text, n));
	}
	return list;
}

static void set_text(json_t *object, const char *member, const char *value)
{
	if (value)
		(void)json_object_set_new(object, member, json_string(value));
}

/* What verbs were told; the program runs one. */
static struct {
	const char *scopes, *app, *label, *tenant;
	uint64_t ttl_ns;
} wanted;

static const struct praas_cli_option create_options[] = {
	{ .name = "scopes",
	  .kind = PRAAS_CLI_TEXT,
	  .value = &wanted.scopes,
	  .arg = "LIST",
	  .help = "Of read, invoke, deploy, admin, between commas" },
	{ .name = "ttl",
	  .kind = PRAAS_CLI_DURATION,
	  .value = &wanted.ttl_ns,
	  .above_zero = true,
	  .arg = "TIME",
	  .help = "Ends by itself after 30s, 5m, 24h (else never)" },
	{ .name = "app",
	  .kind = PRAAS_CLI_NAME,
	  .value = &wanted.app,
	  .arg = "NAME",
	  .help = "For this application alone" },
	{ .name = "label",
	  .kind = PRAAS_CLI_NAME,
	  .value = &wanted.label,
	  .arg = "NAME",
	  .help = "What it is for" },
	{ .name = "tenant",
	  .kind = PRAAS_CLI_NAME,
	  .value = &wanted.tenant,
	  .arg = "NAME",
	  .help = "Of another tenant (operators only)" },
	{ 0 },
};

static int token_create(struct praas_cli *cli, int argc, char **argv)
{
	json_t *answer = NULL, *body;
	const char *text;
	int rc;

	praas_cli_parse(cli, "Make a key. It is printed once, and cannot be had again.",
			create_options, argc, argv);
	if (!wanted.scopes)
		return praas_cli_fail(PRAAS_EXIT_USAGE,
				      "--scopes is missing; give a list like "
				      "--scopes invoke,read");
	body = json_pack("{s:o}", "scopes", scopes_json(wanted.scopes));
	set_text(body, "app", wanted.app);
	set_text(body, "label", wanted.label);
	set_text(body, "tenant", wanted.tenant);
	if (wanted.ttl_ns)
		(void)json_object_set_new(
			body, "ttl_s",
			json_integer((json_int_t)((wanted.ttl_ns + SECOND_NS - 1) /
						  SECOND_NS)));
	rc = praas_cli_request(cli, "POST", "/v1/tokens", body, "create a key",
			       &answer);
	text = json_string_value(json_object_get(answer, "token"));
	if (rc == 0 && !cli->json && text)
		(void)puts(text);
	else if (rc == 0)
		praas_cli_print(cli, answer);
	json_decref(answer);
	return rc;
}

/* A list as one text: what cells show. */
static void join_scopes(json_t *rows)
{
	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);
		const json_t *list = json_object_get(row, "scopes");
		char text[64] = "";

		for (size_t k = 0; k < json_array_size(list); k++) {
			const char *one = json_string_value(json_array_get(list, k));
			size_t n = strlen(text);

			(void)snprintf(text + n, sizeof(text) - n, "%s%s", n ? "," : "",
				       one ? one : "?");
		}
		(void)json_object_set_new(row, "scopes", json_string(text));
	}
}

static int token_ls(struct praas_cli *cli, int argc, char **argv)
{
	static const struct praas_cli_column columns[] = {
		{ "ID", "id", PRAAS_COLUMN_PLAIN },
		{ "LABEL", "label", PRAAS_COLUMN_PLAIN },
		{ "TENANT", "tenant", PRAAS_COLUMN_PLAIN },
		{ "SCOPES", "scopes", PRAAS_COLUMN_PLAIN },
		{ "APP", "app", PRAAS_COLUMN_PLAIN },
		{ "EXPIRES", "expires_s", PRAAS_COLUMN_PLAIN },
	};
	const struct praas_cli_option options[] = { { 0 } };
	json_t *rows = NULL;
	int rc;

	praas_cli_parse(cli, "List the keys of your tenant.", options, argc, argv);
	rc = praas_cli_list(cli, "/v1/tokens", "tokens", "list the keys", &rows);
	if (rc == 0 && !cli->json)
		join_scopes(rows);
	if (rc == 0)
		praas_cli_table(cli, rows, columns,
				sizeof(columns) / sizeof(columns[0]));
	json_decref(rows);
	return rc;
}

/* Deletes what is at FOLDER/NAME. */
static int delete_one(struct praas_cli *cli, const char *folder, const char *what,
		      const char *doc, int argc, char **argv)
{
	const char *id = "";
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &id, .arg = what },
		{ 0 },
	};
	char path[PATH_BYTES], text[PATH_BYTES];

	praas_cli_parse(cli, doc, options, argc, argv);
	(void)snprintf(path, sizeof(path), "%s/%s", folder, id);            /* fits */
	(void)snprintf(text, sizeof(text), "remove %s %s", folder + 4, id); /* fits */
	return praas_cli_request(cli, "DELETE", path, NULL, text, NULL);
}

static int token_revoke(struct praas_cli *cli, int argc, char **argv)
{
	return delete_one(cli, "/v1/tokens", "ID",
			  "Revoke a key, by the ID that praas token ls shows.", argc,
			  argv);
}

/* ---- tenants ------------------------------------------------------------------------ */

static struct {
	const char *name;
	uint64_t apps, processes, memory, state, calls, rate;
} limits;

static const struct praas_cli_option limit_options[] = {
	{ .kind = PRAAS_CLI_NAME, .value = &limits.name, .arg = "NAME" },
	{ .name = "apps",
	  .kind = PRAAS_CLI_COUNT,
	  .value = &limits.apps,
	  .arg = "N",
	  .help = "Applications" },
	{ .name = "processes",
	  .kind = PRAAS_CLI_COUNT,
	  .value = &limits.processes,
	  .arg = "N",
	  .help = "Processes, swapped ones too" },
	{ .name = "memory",
	  .kind = PRAAS_CLI_SIZE,
	  .value = &limits.memory,
	  .above_zero = true,
	  .arg = "SIZE",
	  .help = "Memory of all running processes, like 16G" },
	{ .name = "state",
	  .kind = PRAAS_CLI_SIZE,
	  .value = &limits.state,
	  .above_zero = true,
	  .arg = "SIZE",
	  .help = "State of all processes, like 64G" },
	{ .name = "calls",
	  .kind = PRAAS_CLI_COUNT,
	  .value = &limits.calls,
	  .arg = "N",
	  .help = "Requests under way" },
	{ .name = "rate",
	  .kind = PRAAS_CLI_COUNT,
	  .value = &limits.rate,
	  .arg = "N",
	  .help = "Requests a second" },
	{ 0 },
};

static json_t *limits_json(void)
{
	const struct {
		const char *member;
		uint64_t value;
	} rows[] = {
		{ "apps", limits.apps },           { "processes", limits.processes },
		{ "memory_bytes", limits.memory }, { "state_bytes", limits.state },
		{ "calls", limits.calls },         { "requests_per_s", limits.rate }
	};
	json_t *object = json_object();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].value)
			(void)json_object_set_new(
				object, rows[i].member,
				json_integer((json_int_t)rows[i].value));
	return object;
}

/* A row for each limit: what may be used, and what is. */
static void print_limits(const struct praas_cli *cli, json_t *answer)
{
	static const struct praas_cli_column columns[] = {
		{ "LIMIT", "name", PRAAS_COLUMN_PLAIN },
		{ "USED", "used", PRAAS_COLUMN_PLAIN },
		{ "OF", "limit", PRAAS_COLUMN_PLAIN },
	};
	json_t *rows = json_array(), *limit;
	const char *name;

	if (cli->json) {
		praas_cli_print(cli, answer);
		json_decref(rows);
		return;
	}
	json_object_foreach(json_object_get(answer, "limits"), name, limit)
	{
		json_t *used = json_object_get(json_object_get(answer, "used"), name);
		json_t *row = json_pack("{s:s,s:O}", "name", name, "limit", limit);

		if (used)
			(void)json_object_set(row, "used", used);
		(void)json_array_append_new(rows, row);
	}
	praas_cli_table(cli, rows, columns, sizeof(columns) / sizeof(columns[0]));
	json_decref(rows);
}

static int put_tenant(struct praas_cli *cli, const char *method, const char *path,
		      json_t *body, const char *what)
{
	json_t *answer = NULL;
	int rc = praas_cli_request(cli, method, path, body, what, &answer);

	if (rc == 0)
		print_limits(cli, answer);
	json_decref(answer);
	return rc;
}

static int tenant_create(struct praas_cli *cli, int argc, char **argv)
{
	praas_cli_parse(cli, "Make a tenant (operators only).", limit_options, argc,
			argv);
	return put_tenant(
		cli, "POST", "/v1/tenants",
		json_pack("{s:s,s:o}", "name", limits.name, "limits", limits_json()),
		"create the tenant");
}

static int tenant_limits(struct praas_cli *cli, int argc, char **argv)
{
	char path[PATH_BYTES];
	json_t *said;

	praas_cli_parse(cli, "Show or set the limits of a tenant (operators only).",
			limit_options, argc, argv);
	(void)snprintf(path, sizeof(path), "/v1/tenants/%s", limits.name); /* fits */
	said = limits_json();
	if (json_object_size(said) > 0)
		return put_tenant(cli, "PUT", path, json_pack("{s:o}", "limits", said),
				  "set the limits");
	json_decref(said);
	return put_tenant(cli, "GET", path, NULL, "show the tenant");
}

static int tenant_ls(struct praas_cli *cli, int argc, char **argv)
{
	static const struct praas_cli_column columns[] = {
		{ "NAME", "name", PRAAS_COLUMN_PLAIN },
		{ "APPS", "used.apps", PRAAS_COLUMN_PLAIN },
		{ "PROCESSES", "used.processes", PRAAS_COLUMN_PLAIN },
		{ "MEMORY", "used.memory_bytes", PRAAS_COLUMN_BYTES },
		{ "STATE", "used.state_bytes", PRAAS_COLUMN_BYTES },
	};
	const struct praas_cli_option options[] = { { 0 } };
	json_t *rows = NULL;
	int rc;

	praas_cli_parse(cli, "List the tenants, and what they use (operators only).",
			options, argc, argv);
	rc = praas_cli_list(cli, "/v1/tenants", "tenants", "list the tenants", &rows);
	if (rc == 0)
		praas_cli_table(cli, rows, columns,
				sizeof(columns) / sizeof(columns[0]));
	json_decref(rows);
	return rc;
}

static int tenant_rm(struct praas_cli *cli, int argc, char **argv)
{
	return delete_one(cli, "/v1/tenants", "NAME",
			  "Delete a tenant without applications, and its keys.", argc,
			  argv);
}

static int app_limits(struct praas_cli *cli, int argc, char **argv)
{
	const struct praas_cli_option options[] = { { 0 } };

	praas_cli_parse(cli, "Show what your applications may use, and use.", options,
			argc, argv);
	return put_tenant(cli, "GET", "/v1/limits", NULL, "show the limits");
}

const struct praas_cli_verb praas_cli_token_verbs[] = {
	{ "app", "limits", app_limits, "", "what they may use, and use" },
	{ "token", "create", token_create, "--scopes LIST", "make a key" },
	{ "token", "ls", token_ls, "", "list keys" },
	{ "token", "revoke", token_revoke, "ID", "end one" },
	{ "tenant", "create", tenant_create, "NAME", "make a tenant" },
	{ "tenant", "ls", tenant_ls, "", "list tenants" },
	{ "tenant", "limits", tenant_limits, "NAME", "show or set what one may use" },
	{ "tenant", "rm", tenant_rm, "NAME", "delete one" },
	{ 0 },
};
