/* SPDX-License-Identifier: Apache-2.0
 *
 * praas usage: what processes used.
 */
#include "client/cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECOND_NS 1000000000ull
#define DAY_NS (86400u * SECOND_NS)
#define PATH_BYTES (3 * PRAAS_NAME_MAX + 160)

/* What the verb was told; the program runs one. */
static struct {
	const char *app, *pid, *by, *tenant;
	uint64_t since_ns, until_ns;
} wanted = { .since_ns = DAY_NS };

static const struct praas_cli_option options[] = {
	{ .kind = PRAAS_CLI_NAME,
	  .value = &wanted.app,
	  .arg = "APP",
	  .optional = true },
	{ .kind = PRAAS_CLI_NAME,
	  .value = &wanted.pid,
	  .arg = "PID",
	  .optional = true },
	{ .name = "app",
	  .kind = PRAAS_CLI_NAME,
	  .value = &wanted.app,
	  .arg = "NAME",
	  .help = "Of this application alone" },
	{ .name = "by",
	  .kind = PRAAS_CLI_CHOICE,
	  .value = &wanted.by,
	  .arg = "process|app|tenant",
	  .help = "What has a line: process (with APP), app (else), tenant" },
	{ .name = "since",
	  .kind = PRAAS_CLI_DURATION,
	  .value = &wanted.since_ns,
	  .arg = "TIME",
	  .help = "From so long ago: 30m, 12h, 7d (1d)" },
	{ .name = "until",
	  .kind = PRAAS_CLI_DURATION,
	  .value = &wanted.until_ns,
	  .arg = "TIME",
	  .help = "Until so long ago (now)" },
	{ .name = "tenant",
	  .kind = PRAAS_CLI_NAME,
	  .value = &wanted.tenant,
	  .arg = "NAME",
	  .help = "Of another tenant (operators only)" },
	{ 0 },
};

static uint64_t seconds_ago(uint64_t ns)
{
	uint64_t now = (uint64_t)time(NULL), ago = ns / SECOND_NS;

	return now > ago ? now - ago : 0;
}

/* One more parameter of the query; they are names and numbers, and fit. */
static void add(char path[PATH_BYTES], const char *name, const char *value)
{
	size_t n = strlen(path);

	if (value)
		(void)snprintf(path + n, PATH_BYTES - n, "&%s=%s", name, value);
}

/* For people: byte seconds as the bytes that were held on average. */
static void add_averages(json_t *rows, uint64_t seconds)
{
	static const char *const members[][2] = { { "resident_byte_s", "resident" },
						  { "swapped_byte_s", "swapped" } };

	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);

		for (int k = 0; k < 2; k++) {
			double held =
				json_number_value(json_object_get(row, members[k][0]));

			(void)json_object_set_new(
				row, members[k][1],
				json_integer((json_int_t)(held / (double)seconds)));
		}
	}
}

static void table(const struct praas_cli *cli, json_t *rows, uint64_t seconds)
{
	static const struct praas_cli_column columns[] = {
		{ "TENANT", "tenant", PRAAS_COLUMN_PLAIN },
		{ "APP", "app", PRAAS_COLUMN_PLAIN },
		{ "PID", "pid", PRAAS_COLUMN_PLAIN },
		{ "CPU", "cpu_ns", PRAAS_COLUMN_NS },
		{ "SERVED", "wall_ns", PRAAS_COLUMN_NS },
		{ "CALLS", "calls", PRAAS_COLUMN_PLAIN },
		{ "IN", "bytes_in", PRAAS_COLUMN_BYTES },
		{ "OUT", "bytes_out", PRAAS_COLUMN_BYTES },
		{ "RESIDENT", "resident", PRAAS_COLUMN_BYTES },
		{ "SWAPPED", "swapped", PRAAS_COLUMN_BYTES },
	};

	if (!cli->json)
		add_averages(rows, seconds);
	praas_cli_table(cli, rows, columns, sizeof(columns) / sizeof(columns[0]));
}

static int usage(struct praas_cli *cli, int argc, char **argv)
{
	char path[PATH_BYTES];
	json_t *rows = NULL;
	uint64_t since;
	int rc;

	praas_cli_parse(cli,
			"Show what processes used: processor time, time served, calls, "
			"payloads, and how much state they held, in memory and swapped "
			"out, on average over the time. With --json state is in byte "
			"seconds.",
			options, argc, argv);
	if (wanted.until_ns > wanted.since_ns)
		return praas_cli_fail(PRAAS_EXIT_USAGE,
				      "--until is before --since; give a shorter time "
				      "to --until");
	if (!wanted.by)
		wanted.by = wanted.app ? "process" : "app";
	since = seconds_ago(wanted.since_ns);
	(void)snprintf(path, sizeof(path), "/v1/usage?since_s=%llu",
		       (unsigned long long)since);
	if (wanted.until_ns)
		(void)snprintf(path + strlen(path), sizeof(path) - strlen(path),
			       "&until_s=%llu",
			       (unsigned long long)seconds_ago(wanted.until_ns));
	add(path, "by", wanted.by);
	add(path, "application", wanted.app);
	add(path, "process", wanted.pid);
	add(path, "tenant", wanted.tenant);
	rc = praas_cli_list(cli, path, "usage", "read the usage", &rows);
	if (rc == 0)
		table(cli, rows, (wanted.since_ns - wanted.until_ns) / SECOND_NS + 1);
	json_decref(rows);
	return rc;
}

const struct praas_cli_verb praas_cli_usage_verbs[] = {
	{ "usage", NULL, usage, "[APP] [PID]", "what processes used" },
	{ 0 },
};
