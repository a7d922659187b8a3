/* SPDX-License-Identifier: Apache-2.0
 *
 * praas node: where processes run (operators only).
 */
#include "client/cli/cli.h"

#include <stdio.h>

#define PATH_BYTES (PRAAS_NAME_MAX + 32)

static int node_ls(struct praas_cli *cli, int argc, char **argv)
{
	static const struct praas_cli_column columns[] = {
		{ "NAME", "name", PRAAS_COLUMN_PLAIN },
		{ "STATE", "state", PRAAS_COLUMN_PLAIN },
		{ "LISTENS", "listen", PRAAS_COLUMN_PLAIN },
		{ "PROCESSES", "processes", PRAAS_COLUMN_PLAIN },
		{ "MEMORY", "memory_used_bytes", PRAAS_COLUMN_BYTES },
		{ "OF", "memory_bytes", PRAAS_COLUMN_BYTES },
		{ "VCPU/1000", "vcpu_used_milli", PRAAS_COLUMN_PLAIN },
		{ "OF", "vcpu_milli", PRAAS_COLUMN_PLAIN },
		{ "READY", "controllers_ready", PRAAS_COLUMN_PLAIN },
		{ "MOVED", "drain.moved", PRAAS_COLUMN_PLAIN },
		{ "MOVING", "drain.moving", PRAAS_COLUMN_PLAIN },
		{ "BUSY", "drain.busy", PRAAS_COLUMN_PLAIN },
		{ "STUCK", "drain.stuck", PRAAS_COLUMN_PLAIN },
		{ "WHY", "drain.why", PRAAS_COLUMN_PLAIN },
	};
	const struct praas_cli_option options[] = { { 0 } };
	json_t *rows = NULL;
	int rc;

	praas_cli_parse(cli,
			"List the nodes, and what their processes have taken of each; "
			"0 of 0 is not counted. Of one that is drained: processes that "
			"have moved away, move now, have work and time for it, or "
			"cannot be moved, and why.",
			options, argc, argv);
	rc = praas_cli_list(cli, "/v1/nodes", "nodes", "list the nodes", &rows);
	if (rc == 0)
		praas_cli_table(cli, rows, columns,
				sizeof(columns) / sizeof(columns[0]));
	json_decref(rows);
	return rc;
}

/* body is taken. */
static int act(struct praas_cli *cli, const char *action, const char *name,
	       json_t *body)
{
	char path[PATH_BYTES], text[PATH_BYTES];
	json_t *answer = NULL;
	int rc;

	(void)snprintf(path, sizeof(path), "/v1/nodes/%s/%s", name, action); /* fits */
	(void)snprintf(text, sizeof(text), "%s node %s", action, name);      /* fits */
	rc = praas_cli_request(cli, "POST", path, body, text, &answer);
	if (rc == 0 && cli->json)
		praas_cli_print(cli, answer);
	else if (rc == 0)
		(void)printf(
			"node %s is %s, with %d processes\n", name,
			json_string_value(json_object_get(answer, "state")),
			(int)json_integer_value(json_object_get(answer, "processes")));
	json_decref(answer);
	return rc;
}

static int node_drain(struct praas_cli *cli, int argc, char **argv)
{
	const char *name = "";
	bool swap_out = false;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &name, .arg = "NAME" },
		{ .name = "swap-out",
		  .value = &swap_out,
		  .help = "do not move them: swap them out as soon as they have no "
			  "work" },
		{ 0 },
	};

	praas_cli_parse(cli,
			"Start nothing new on a node, and move its processes to other "
			"nodes while they serve; praas node ls tells how far that is. "
			"One that cannot be moved is swapped out as soon as it has no "
			"work, and wakes elsewhere.",
			options, argc, argv);
	return act(cli, "drain", name,
		   swap_out ? json_pack("{s:b}", "swap_out", 1) : json_object());
}

static int node_resume(struct praas_cli *cli, int argc, char **argv)
{
	const char *name = "";
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &name, .arg = "NAME" },
		{ 0 },
	};

	praas_cli_parse(cli,
			"Use a drained node again; a drain that is not over is called "
			"off.",
			options, argc, argv);
	return act(cli, "resume", name, json_object());
}

const struct praas_cli_verb praas_cli_node_verbs[] = {
	{ "node", "ls", node_ls, "", "list nodes" },
	{ "node", "drain", node_drain, "NAME", "move all off one" },
	{ "node", "resume", node_resume, "NAME", "use it again" },
	{ 0 },
};
