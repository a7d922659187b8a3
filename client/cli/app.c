/* SPDX-License-Identifier: Apache-2.0
 *
 * praas app: applications.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Looks at the folder before the service does, to say clearly what is missing. */
static int check_code(const char *code, char ret_path[PATH_MAX])
{
	char manifest[PATH_MAX + 16];

	if (!realpath(code, ret_path))
		return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot deploy %s: %s", code,
				      strerror(errno));
	(void)snprintf(manifest, sizeof(manifest), "%s/praas.json",
		       ret_path); /* fits */
	if (access(manifest, R_OK) != 0)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"cannot deploy %s: there is no praas.json in it; give the "
			"folder with praas.json and its libraries",
			code);
	return PRAAS_EXIT_DONE;
}

/* What `app create` or `app deploy` was told; the program runs one verb. */
static struct {
	const char *name;
	const char *code;
	const char *isolation;
	const char *durability;
	uint64_t memory;
	uint64_t state;
	uint64_t vcpu;
	uint64_t concurrency;
	bool weak, no_roll;
} wanted;

#define APP_OPTIONS                                                                    \
	{ .kind = PRAAS_CLI_NAME, .value = &wanted.name, .arg = "NAME" },              \
		{ .name = "code",                                                      \
		  .kind = PRAAS_CLI_TEXT,                                              \
		  .value = &wanted.code,                                               \
		  .arg = "FOLDER",                                                     \
		  .help = "Folder with praas.json and its libraries" },                \
		{ .name = "memory",                                                    \
		  .kind = PRAAS_CLI_SIZE,                                              \
		  .value = &wanted.memory,                                             \
		  .above_zero = true,                                                  \
		  .arg = "SIZE",                                                       \
		  .help = "Memory of each process, like 256M" },                       \
		{ .name = "state",                                                     \
		  .kind = PRAAS_CLI_SIZE,                                              \
		  .value = &wanted.state,                                              \
		  .above_zero = true,                                                  \
		  .arg = "SIZE",                                                       \
		  .help = "State of each process, like 4G, when it may be more than "  \
			  "its memory: the rest lies in the store" },                  \
		{ .name = "vcpu",                                                      \
		  .kind = PRAAS_CLI_MILLI,                                             \
		  .value = &wanted.vcpu,                                               \
		  .arg = "N",                                                          \
		  .help = "Processors of each process, like 1 or 0.5" },               \
		{ .name = "concurrency",                                               \
		  .kind = PRAAS_CLI_COUNT,                                             \
		  .value = &wanted.concurrency,                                        \
		  .arg = "N",                                                          \
		  .help = "Functions of a process that run at once" },                 \
		{ .name = "isolation",                                                 \
		  .kind = PRAAS_CLI_CHOICE,                                            \
		  .value = &wanted.isolation,                                          \
		  .arg = "worker|inline",                                              \
		  .help = "worker: sandboxed (default); inline: trusted code, "        \
			  "fastest" },                                                 \
		{ .name = "durability",                                                \
		  .kind = PRAAS_CLI_TEXT,                                              \
		  .value = &wanted.durability,                                         \
		  .arg = "swap|checkpoint:T|journal|gate",                             \
		  .help = "What a crash leaves: the last swap (default), or at most "  \
			  "T, like 10s, less than now" },                              \
	{                                                                              \
		.name = "allow-weak-sandbox", .value = &wanted.weak,                   \
		.help = "Run even where a layer of the sandbox is missing"             \
	}

static const struct praas_cli_option create_options[] = { APP_OPTIONS, { 0 } };
static const struct praas_cli_option deploy_options[] = {
	APP_OPTIONS,
	{ .name = "no-roll",
	  .value = &wanted.no_roll,
	  .help = "Leave running processes alone: they follow at their next start" },
	{ 0 },
};

static void set_number(json_t *object, const char *member, uint64_t value)
{
	if (value > 0)
		(void)json_object_set_new(object, member,
					  json_integer((json_int_t)value));
}

/* code may be NULL: that which it has. */
static json_t *app_body(const char *code)
{
	json_t *resources = json_object();
	json_t *body = json_pack("{s:s,s:s*}", "name", wanted.name, "code", code);

	set_number(resources, "memory_bytes", wanted.memory);
	set_number(resources, "state_bytes", wanted.state);
	set_number(resources, "vcpu_milli", wanted.vcpu);
	set_number(resources, "concurrency", wanted.concurrency);
	(void)json_object_set_new(body, "resources", resources);
	if (wanted.isolation)
		(void)json_object_set_new(body, "isolation",
					  json_string(wanted.isolation));
	if (wanted.durability)
		(void)json_object_set_new(body, "durability",
					  json_string(wanted.durability));
	if (wanted.weak)
		(void)json_object_set_new(body, "allow_weak_sandbox", json_true());
	return body;
}

static int app_create(struct praas_cli *cli, int argc, char **argv)
{
	char path[PATH_MAX];
	json_t *answer = NULL;
	int rc;

	praas_cli_parse(cli, "Create an application from a folder of functions.",
			create_options, argc, argv);
	if (!wanted.code)
		return praas_cli_fail(
			PRAAS_EXIT_USAGE,
			"--code is missing; give the folder with praas.json: "
			"praas app create %s --code FOLDER",
			wanted.name);
	rc = check_code(wanted.code, path);
	if (rc == 0)
		rc = praas_cli_request(cli, "POST", "/v1/apps", app_body(path),
				       "create the application", &answer);
	if (rc == 0 && cli->json)
		praas_cli_print(cli, answer);
	else if (rc == 0)
		(void)printf("application %s created; next: praas process create %s\n",
			     wanted.name, wanted.name);
	json_decref(answer);
	return rc;
}

static int app_deploy(struct praas_cli *cli, int argc, char **argv)
{
	char path[PRAAS_NAME_MAX + 16], code[PATH_MAX];
	json_t *answer = NULL, *body;
	int rc = 0;

	praas_cli_parse(cli,
			"Deploy another revision of an application: its code is copied "
			"(from the folder that it came from, unless --code names "
			"another), and running processes are swapped out and in, one "
			"after the other, with their state. What is not said stays. If "
			"one does not start, the revision before is back.",
			deploy_options, argc, argv);
	if (wanted.code)
		rc = check_code(wanted.code, code);
	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "/v1/apps/%s", wanted.name); /* fits */
	body = app_body(wanted.code ? code : NULL);
	if (wanted.no_roll)
		(void)json_object_set_new(body, "roll", json_false());
	rc = praas_cli_request(cli, "PUT", path, body, "deploy the application",
			       &answer);
	if (rc == 0 && cli->json)
		praas_cli_print(cli, answer);
	else if (rc == 0)
		(void)printf("application %s %s revision %lld; %lld processes rolled\n",
			     wanted.name,
			     json_is_true(json_object_get(answer, "changed"))
				     ? "has now"
				     : "has already",
			     (long long)json_integer_value(json_object_get(
				     json_object_get(answer, "app"), "revision")),
			     (long long)json_integer_value(
				     json_object_get(answer, "rolled")));
	json_decref(answer);
	return rc;
}

static int app_ls(struct praas_cli *cli, int argc, char **argv)
{
	static const struct praas_cli_column columns[] = {
		{ "NAME", "name", PRAAS_COLUMN_PLAIN },
		{ "ISOLATION", "isolation", PRAAS_COLUMN_PLAIN },
		{ "MEMORY", "resources.memory_bytes", PRAAS_COLUMN_BYTES },
		{ "WORKERS", "resources.concurrency", PRAAS_COLUMN_PLAIN },
		{ "REVISION", "revision", PRAAS_COLUMN_PLAIN },
		{ "CODE", "code", PRAAS_COLUMN_PLAIN },
	};
	const struct praas_cli_option options[] = { { 0 } };
	json_t *rows = NULL;
	int rc;

	praas_cli_parse(cli, "List the applications.", options, argc, argv);
	rc = praas_cli_list(cli, "/v1/apps", "apps", "list the applications", &rows);
	if (rc == 0)
		praas_cli_table(cli, rows, columns,
				sizeof(columns) / sizeof(columns[0]));
	json_decref(rows);
	return rc;
}

/* GET or DELETE of one application. */
static int one_app(struct praas_cli *cli, const char *method, const char *doc,
		   const char *what, int argc, char **argv)
{
	const char *name = "";
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &name, .arg = "NAME" },
		{ 0 },
	};
	char path[PRAAS_NAME_MAX + 16];
	char text[PRAAS_NAME_MAX + 64];
	json_t *answer = NULL;
	int rc;

	praas_cli_parse(cli, doc, options, argc, argv);
	(void)snprintf(path, sizeof(path), "/v1/apps/%s", name);             /* fits */
	(void)snprintf(text, sizeof(text), "%s application %s", what, name); /* fits */
	rc = praas_cli_request(cli, method, path, NULL, text, &answer);
	if (rc == 0)
		praas_cli_print(cli, answer);
	json_decref(answer);
	return rc;
}

static int app_show(struct praas_cli *cli, int argc, char **argv)
{
	return one_app(cli, "GET", "Show an application.", "show", argc, argv);
}

static int app_rm(struct praas_cli *cli, int argc, char **argv)
{
	return one_app(cli, "DELETE", "Delete an application that has no processes.",
		       "delete", argc, argv);
}

const struct praas_cli_verb praas_cli_app_verbs[] = {
	{ "app", "create", app_create, "NAME --code FOLDER", "create an application" },
	{ "app", "deploy", app_deploy, "NAME [--code FOLDER]",
	  "deploy another revision of one" },
	{ "app", "ls", app_ls, "", "list the applications" },
	{ "app", "show", app_show, "NAME", "show one" },
	{ "app", "rm", app_rm, "NAME", "delete one" },
	{ 0 },
};
