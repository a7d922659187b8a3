/* SPDX-License-Identifier: Apache-2.0
 *
 * praas top: who works now. Rates are what the counters of the processes grew by between two
 * looks; a process that ended or began in between has none. On a terminal until q or Ctrl-C,
 * the screen as it was comes back; elsewhere one look.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"

#define LOOK_MS 1000

static const struct praas_cli_column columns[] = {
	{ "APP", "app", PRAAS_COLUMN_PLAIN },
	{ "PID", "pid", PRAAS_COLUMN_PLAIN },
	{ "STATE", "state", PRAAS_COLUMN_PLAIN },
	{ "CPU %", "cpu_percent", PRAAS_COLUMN_PLAIN },
	{ "CALLS/S", "calls_per_s", PRAAS_COLUMN_PLAIN },
	{ "RUNNING", "metrics.running", PRAAS_COLUMN_PLAIN },
	{ "QUEUED", "metrics.queued", PRAAS_COLUMN_PLAIN },
	{ "MAILBOX", "metrics.mailbox_depth", PRAAS_COLUMN_PLAIN },
	{ "STATE BYTES", "metrics.state_bytes", PRAAS_COLUMN_BYTES },
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static json_int_t metric(const json_t *row, const char *name)
{
	return json_integer_value(
		json_object_get(json_object_get(row, "metrics"), name));
}

/* The same epoch of the same process in an earlier look; NULL. */
static const json_t *find_before(const json_t *before, const json_t *row)
{
	static const char *const same[] = { "app", "pid", "epoch" };
	size_t i;
	const json_t *other;

	json_array_foreach((json_t *)(uintptr_t)before, i, other)
	{
		size_t n = 0;

		while (n < 3 && json_equal(json_object_get(row, same[n]),
					   json_object_get(other, same[n])))
			n++;
		if (n == 3)
			return other;
	}
	return NULL;
}

/* What the counters grew by, a second; processes that neither ran nor run have none. */
static void add_rates(json_t *rows, const json_t *before, uint64_t ns)
{
	for (size_t i = 0; ns != 0 && i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);
		const json_t *old = find_before(before, row);
		json_int_t cpu =
			old ? metric(row, "cpu_ns") - metric(old, "cpu_ns") : 0;
		json_int_t calls =
			old ? metric(row, "invocations") - metric(old, "invocations")
			    : 0;

		if (!old || !json_object_get(row, "metrics"))
			continue;
		(void)json_object_set_new(
			row, "cpu_percent",
			json_integer((json_int_t)(100.0 * (double)cpu / (double)ns)));
		(void)json_object_set_new(
			row, "calls_per_s",
			json_integer((json_int_t)((double)calls * 1e9 / (double)ns)));
	}
}

static json_int_t rank(const json_t *row)
{
	return json_integer_value(json_object_get(row, "cpu_percent")) * 1000000 +
	       json_integer_value(json_object_get(row, "calls_per_s"));
}

static int by_load(const void *a, const void *b)
{
	json_int_t x = rank(*(json_t *const *)a);
	json_int_t y = rank(*(json_t *const *)b);

	return (x < y) - (x > y);
}

/* The busiest first, as many as fit. Takes rows over. */
static json_t *sort(json_t *rows, size_t most)
{
	size_t count = json_array_size(rows);
	json_t **all = calloc(count ? count : 1, sizeof(json_t *));
	json_t *sorted = json_array();

	for (size_t i = 0; all && i < count; i++)
		all[i] = json_array_get(rows, i);
	if (all)
		qsort(all, count, sizeof(json_t *), by_load);
	for (size_t i = 0; all && i < count && i < most; i++)
		(void)json_array_append(sorted, all[i]);
	free(all);
	json_decref(rows);
	return sorted;
}

static size_t screen_lines(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 5)
		return 20;
	return (size_t)size.ws_row - 4u;
}

static void draw(const struct praas_cli *cli, json_t *rows, size_t count)
{
	char clock_text[16];
	time_t now = time(NULL);
	struct tm tm;

	if (!localtime_r(&now, &tm) ||
	    strftime(clock_text, sizeof(clock_text), "%H:%M:%S", &tm) == 0)
		clock_text[0] = '\0';
	(void)printf("\033[H\033[J%s  %s  %zu processes  (q ends)\n\n", clock_text,
		     cli->url, count);
	praas_cli_table(cli, rows, columns, COLUMNS);
	(void)fflush(stdout); /* main checks stdout at the end */
}

/* Waits for the time of the next look. False: q. */
static bool pause_or_end(void)
{
	struct pollfd keys = { .fd = STDIN_FILENO, .events = POLLIN };
	uint64_t until = now_ns() + LOOK_MS * 1000000ull;
	char key;

	for (uint64_t now = now_ns(); now < until; now = now_ns()) {
		int n = poll(&keys, 1, (int)((until - now) / 1000000u) + 1);

		if (n > 0 && keys.revents) {
			ssize_t got = read(STDIN_FILENO, &key, 1);

			if (got <= 0)
				keys.fd = -1; /* nobody types */
			else if (key == 'q')
				return false;
		}
	}
	return true;
}

/* How the terminal was. */
static struct {
	struct termios keys;
	bool raw;
} terminal;

/* Async-signal-safe. The screen first: an error is told on the one that stays. */
static void leave_screen(void)
{
	static const char leave[] = "\033[?25h\033[?1049l";

	if (write(STDOUT_FILENO, leave, sizeof(leave) - 1) < 0 || !terminal.raw)
		return; /* no terminal any more */
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal.keys); /* else it stays raw */
}

/* The program ends by the signal, as any other does, whatever it waits for; the terminal is as it was. */
static void on_signal(int number)
{
	leave_screen();
	(void)raise(number); /* SA_RESETHAND */
}

/* A screen of its own, no cursor; keys come one by one, without echo. */
static void enter_screen(void)
{
	struct sigaction ends = { .sa_handler = on_signal,
				  .sa_flags = (int)SA_RESETHAND };
	struct termios raw;

	terminal.raw = tcgetattr(STDIN_FILENO, &terminal.keys) == 0;
	for (const int *s = (const int[]){ SIGINT, SIGTERM, SIGHUP, SIGQUIT, 0 }; *s;
	     s++)
		(void)sigaction(*s, &ends, NULL); /* cannot fail for these */
	raw = terminal.keys;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	if (terminal.raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw); /* else with Enter */
	(void)fputs("\033[?1049h\033[?25l", stdout);
	(void)fflush(stdout); /* main checks stdout at the end */
	praas_cli_before_error = leave_screen;
}

static int watch_screen(struct praas_cli *cli, const char *app)
{
	json_t *before = NULL;
	uint64_t looked = 0;
	int rc = 0;

	do {
		json_t *rows = NULL;
		json_t *kept;
		uint64_t now = now_ns();
		size_t count;

		rc = praas_cli_processes(cli, app, &rows);
		if (rc != 0)
			break;
		count = json_array_size(rows);
		kept = json_incref(rows);
		add_rates(rows, before, before ? now - looked : 0);
		rows = sort(rows, screen_lines());
		draw(cli, rows, count);
		json_decref(rows);
		json_decref(before);
		before = kept;
		looked = now;
	} while (pause_or_end());
	json_decref(before);
	return rc;
}

static int on_screen(struct praas_cli *cli, const char *app)
{
	int rc;

	enter_screen();
	rc = watch_screen(cli, app);
	if (praas_cli_before_error) /* not yet left for an error */
		leave_screen();
	return rc;
}

/* One look at the rates of a moment. */
static int once(struct praas_cli *cli, const char *app)
{
	const struct timespec moment = { .tv_sec = LOOK_MS / 1000 };
	json_t *before = NULL;
	json_t *rows = NULL;
	uint64_t start = now_ns();
	int rc = praas_cli_processes(cli, app, &before);

	if (rc == 0) {
		(void)nanosleep(&moment, NULL); /* a signal ends the program */
		rc = praas_cli_processes(cli, app, &rows);
	}
	if (rc == 0) {
		add_rates(rows, before, now_ns() - start);
		rows = sort(rows, SIZE_MAX);
		praas_cli_table(cli, rows, columns, COLUMNS);
	}
	json_decref(before);
	json_decref(rows);
	return rc;
}

static int top(struct praas_cli *cli, int argc, char **argv)
{
	const char *app = NULL;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME,
		  .value = &app,
		  .arg = "APP",
		  .optional = true },
		{ 0 },
	};

	praas_cli_parse(cli,
			"Show which processes work: processor time, calls a second, "
			"what runs and waits. On a terminal until q; else one look.",
			options, argc, argv);
	return isatty(STDOUT_FILENO) && !cli->json ? on_screen(cli, app)
						   : once(cli, app);
}

const struct praas_cli_verb praas_cli_top_verbs[] = {
	{ "top", NULL, top, "[APP]", "which processes work, as it happens" },
	{ 0 },
};
