/* SPDX-License-Identifier: Apache-2.0
 *
 * praas logs: what processes and their functions said.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"

#define LOOK_NS 300000000L /* between two looks of -f */
#define CURSOR_BYTES 64
#define PROCESSES_MAX 256

/* One process whose lines are printed. */
struct source {
	char pid[PRAAS_NAME_MAX + 1];
	char next[CURSOR_BYTES]; /* "": not begun */
};

struct logs {
	struct praas_cli *cli;
	const char *app;
	const char *trace, *function;
	uint64_t tail_bytes;
	struct source *sources;
	size_t count;
};

static bool text_is(const json_t *line, const char *name, const char *wanted)
{
	const char *text = json_string_value(json_object_get(line, name));

	return !wanted || (text && strcmp(text, wanted) == 0);
}

/* What a function wrote is a tenant's. */
static void print_plain(const char *text)
{
	char *copy = strdup(text);

	if (copy)
		(void)fputs(praas_cli_plain(copy), stdout);
	free(copy);
}

/* A line for people: time, process, level in colour, function, words. */
static void print_line(const struct logs *l, const struct source *s, const json_t *line)
{
	const char *level = json_string_value(json_object_get(line, "level"));
	const char *function = json_string_value(json_object_get(line, "function"));
	const char *words = json_string_value(json_object_get(line, "msg"));
	double ts = json_number_value(json_object_get(line, "ts"));
	time_t seconds = (time_t)ts;
	char when[32] = "-";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		(void)strftime(when, sizeof(when), "%H:%M:%S", &tm); /* else "-" */
	(void)printf("%s.%03d ", when, (int)((ts - (double)seconds) * 1000));
	if (l->count > 1)
		(void)printf("%-10s ", s->pid);
	if (level && strcmp(level, "error") == 0)
		praas_cli_colour(stdout, "31");
	else if (level && strcmp(level, "warning") == 0)
		praas_cli_colour(stdout, "33");
	print_plain(level ? level : "-");
	praas_cli_colour(stdout, NULL);
	(void)printf("%*s", level && strlen(level) < 7 ? 7 - (int)strlen(level) : 0,
		     "");
	if (function) {
		(void)putchar(' ');
		print_plain(function);
		(void)putchar(':');
	}
	(void)putchar(' ');
	print_plain(words ? words : "");
	(void)putchar('\n');
}

/* One line of the log, as it came or for people. Text that is no JSON (a tool that ran in
 * the process may write it) is shown, but never given to a terminal as it is. */
static void take_line(const struct logs *l, const struct source *s, const char *text,
		      size_t bytes)
{
	json_t *line = json_loadb(text, bytes, 0, NULL);

	if (!line && !l->trace && !l->function) {
		for (size_t i = 0; i < bytes; i++)
			(void)putchar((unsigned char)text[i] >= 0x20 && text[i] != 0x7f
					      ? text[i]
					      : ' ');
		(void)putchar('\n');
	} else if (line && text_is(line, "trace", l->trace) &&
		   text_is(line, "function", l->function)) {
		if (l->cli->json)
			(void)printf("%.*s\n", (int)bytes, text);
		else
			print_line(l, s, line);
	}
	json_decref(line);
}

/* What a process said since the last look. *ret_bytes: how much; 0: all is read. */
static int look(const struct logs *l, struct source *s, size_t *ret_bytes)
{
	char path[2 * PRAAS_NAME_MAX + CURSOR_BYTES + 64];
	char what[PRAAS_NAME_MAX + 64];
	char *text = NULL;
	const char *at;
	int rc;

	*ret_bytes = 0;
	if (*s->next)
		(void)snprintf(path, sizeof(path),
			       "/v1/apps/%s/processes/%s/logs?from=%s", l->app, s->pid,
			       s->next); /* fits */
	else
		(void)snprintf(path, sizeof(path),
			       "/v1/apps/%s/processes/%s/logs?tail_bytes=%" PRIu64,
			       l->app, s->pid, l->tail_bytes); /* fits */
	(void)snprintf(what, sizeof(what), "read the log of process %s", s->pid);
	rc = praas_cli_text(l->cli, path, "Praas-Next", what, &text, ret_bytes, s->next,
			    sizeof(s->next));
	for (at = text; rc == 0 && at && *at;) {
		size_t bytes = strcspn(at, "\n");

		take_line(l, s, at, bytes);
		at += bytes + (at[bytes] == '\n');
	}
	free(text);
	(void)fflush(stdout); /* main checks stdout at the end */
	return rc;
}

/* The processes: the one that was named, or all of the application that are not yet known. */
static int find_sources(struct logs *l)
{
	json_t *rows = NULL;
	int rc = praas_cli_processes(l->cli, l->app, &rows);

	for (size_t i = 0; rc == 0 && i < json_array_size(rows); i++) {
		const char *pid = json_string_value(
			json_object_get(json_array_get(rows, i), "pid"));
		size_t at = 0;

		while (at < l->count && pid && strcmp(l->sources[at].pid, pid) != 0)
			at++;
		if (!pid || strlen(pid) > PRAAS_NAME_MAX || at < l->count ||
		    l->count == PROCESSES_MAX)
			continue;
		(void)snprintf(l->sources[l->count].pid, sizeof(l->sources->pid), "%s",
			       pid); /* fits */
		l->sources[l->count++].next[0] = '\0';
	}
	json_decref(rows);
	return rc;
}

/* All that is there to read now. */
static int look_at_all(struct logs *l)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->count; i++) {
		size_t bytes = 1;

		while (rc == 0 && bytes != 0)
			rc = look(l, &l->sources[i], &bytes);
		/* Deleted since: its log went with it. */
		if (rc == PRAAS_EXIT_NOT_FOUND && l->count > 1) {
			l->sources[i--] = l->sources[--l->count];
			rc = 0;
		}
	}
	return rc;
}

static int follow(struct logs *l, bool all)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	int rc = 0;

	while (rc == 0 && !ferror(stdout)) {
		(void)nanosleep(&pause, NULL); /* a signal ends the program */
		if (all)
			rc = find_sources(l);
		if (rc == 0)
			rc = look_at_all(l);
	}
	return rc;
}

static int logs(struct praas_cli *cli, int argc, char **argv)
{
	static struct source sources[PROCESSES_MAX];
	struct logs l = { .cli = cli, .sources = sources, .tail_bytes = 65536 };
	const char *pid = NULL;
	bool on = false;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &l.app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME,
		  .value = &pid,
		  .arg = "PID",
		  .optional = true },
		{ .name = "follow",
		  .key = 'f',
		  .value = &on,
		  .help = "Go on with what is said from now on, until Ctrl-C" },
		{ .name = "tail",
		  .kind = PRAAS_CLI_SIZE,
		  .value = &l.tail_bytes,
		  .arg = "SIZE",
		  .help = "How much of what was said before (64K)" },
		{ .name = "trace",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &l.trace,
		  .arg = "ID",
		  .help = "Only lines of that trace (32 hex digits)" },
		{ .name = "function",
		  .kind = PRAAS_CLI_NAME,
		  .value = &l.function,
		  .arg = "NAME",
		  .help = "Only lines of that function" },
		{ 0 },
	};
	int rc = 0;

	praas_cli_parse(cli,
			"Print what a process and its functions said, or all processes "
			"of an application; a swapped one is not woken.",
			options, argc, argv);
	if (l.tail_bytes > 262144)
		return praas_cli_fail(PRAAS_EXIT_USAGE, "--tail is at most 256K");
	if (pid)
		(void)snprintf(sources[l.count++].pid, sizeof(sources->pid), "%s",
			       pid); /* fits: a name */
	else
		rc = find_sources(&l);
	if (rc == 0)
		rc = look_at_all(&l);
	return rc == 0 && on ? follow(&l, !pid) : rc;
}

const struct praas_cli_verb praas_cli_logs_verbs[] = {
	{ "logs", NULL, logs, "APP [PID] [-f]", "what processes and functions said" },
	{ 0 },
};
