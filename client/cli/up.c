/* SPDX-License-Identifier: Apache-2.0
 *
 * praas up, down, status: a control service of this user in the background.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/cli/service.h"

#define DOWN_SECONDS 30u /* more than it ever takes to swap all out */
#define LOOK_MS 20u

static struct praas_cli_service service = { .listen = "127.0.0.1:0" };
static const char *listen_on;
static const char *data;

/* As one word of a shell. */
static void print_quoted(const char *text)
{
	(void)putchar('\'');
	for (; *text; text++) {
		if (*text == '\'')
			(void)fputs("'\\'", stdout);
		(void)putchar(*text);
	}
	(void)putchar('\'');
}

/* The key itself stays in its file: what is printed here may be kept in a log. */
static void print_next(void)
{
	(void)printf("\nThe other verbs look elsewhere unless they are told:\n"
		     "  export PRAAS_URL=%s PRAAS_TOKEN=\"$(cat ",
		     service.url);
	print_quoted(service.token_file);
	(void)printf(")\"\n");
}

static void print_service(const struct praas_cli *cli, bool started)
{
	json_t *answer;

	if (!cli->json) {
		(void)printf("control      %s %s\ndata         %s\n", service.url,
			     started ? "(started)" : "(runs)", service.data);
		if (data)
			print_next();
		return;
	}
	answer = json_pack("{s:s,s:i,s:s,s:s,s:b}", "url", service.url, "os_pid",
			   (int)service.pid, "data", service.data, "token_file",
			   service.token_file, "started", started);
	praas_cli_print(cli, answer);
	json_decref(answer);
}

/* http://ADDRESS:PORT is that one. */
static bool listens_on(const char *url, const char *address)
{
	size_t bytes = strlen(url), end = strlen(address);

	return bytes > end && url[bytes - end - 1] == '/' &&
	       strcmp(url + bytes - end, address) == 0;
}

/* One runs already: with what it was begun with. Returns an exit code. */
static int check_running(void)
{
	if (service.snapshots)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"a control service runs on %s already; praas down ends it, "
			"then --snapshots can be chosen",
			service.data);
	if (listen_on && !listens_on(service.url, listen_on))
		return praas_cli_fail(PRAAS_EXIT_FAILED,
				      "a control service runs on %s already, at %s; "
				      "praas down ends it, then --listen can be chosen",
				      service.data, service.url);
	return PRAAS_EXIT_DONE;
}

static int up(struct praas_cli *cli, int argc, char **argv)
{
	const char *folder = NULL;
	bool weak = false;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_TEXT,
		  .value = &folder,
		  .arg = "FOLDER",
		  .optional = true },
		{ .name = "listen",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &listen_on,
		  .arg = "ADDRESS:PORT",
		  .help = "Where to listen (127.0.0.1:0: any port)" },
		{ .name = "data",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &data,
		  .arg = "FOLDER",
		  .help = "Where all is kept (~/.local/state/praas/dev)" },
		{ .name = "snapshots",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &service.snapshots,
		  .arg = "URL",
		  .help = "Where snapshots are kept: s3://BUCKET/PREFIX, redis://HOST "
			  "or file:///FOLDER (in --data)" },
		{ .name = "allow-weak-sandbox",
		  .value = &weak,
		  .help = "Run functions even if a layer of the sandbox is missing "
			  "here" },
		{ 0 },
	};
	bool started = false;
	int rc;

	praas_cli_parse(cli,
			"Run a control service in the background; the other verbs "
			"find it by themselves. FOLDER is deployed as praas dev does.",
			options, argc, argv);
	/* Before anything is begun that would go on without it. */
	rc = praas_cli_here(cli, "starts one; try praas app deploy");
	if (rc == 0 && folder)
		rc = praas_cli_deploy_check(folder);
	if (listen_on)
		service.listen = listen_on;
	if (rc == 0)
		rc = praas_cli_service_prepare(&service, data);
	if (rc == 0 && praas_cli_service_find(&service) != 0) {
		started = true;
		rc = praas_cli_service_start(&service, true);
	}
	if (rc == 0 && !started)
		rc = check_running();
	cli->url = service.url;
	cli->token = service.token;
	if (rc == 0)
		print_service(cli, started);
	if (rc == 0 && folder)
		rc = praas_cli_deploy_all(cli, folder, weak, NULL);
	return rc;
}

/* Names the folder and finds what runs on it. */
static int find(struct praas_cli *cli, const char *doc, int argc, char **argv)
{
	const struct praas_cli_option options[] = {
		{ .name = "data",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &data,
		  .arg = "FOLDER",
		  .help = "Where all is kept (~/.local/state/praas/dev)" },
		{ 0 },
	};
	int rc;

	praas_cli_parse(cli, doc, options, argc, argv);
	rc = praas_cli_here(cli, "is about the one that keeps its data here; --data "
				 "FOLDER says where");
	if (rc != 0)
		return rc;
	rc = praas_cli_service_name(&service, data);
	if (rc == 0)
		rc = praas_cli_service_find(&service);
	return rc == 0 ? PRAAS_EXIT_DONE
		       : praas_cli_fail(PRAAS_EXIT_NOT_FOUND,
					"no control service runs on %s; praas up "
					"starts one",
					service.data);
}

static int down(struct praas_cli *cli, int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000l };
	struct praas_cli_service again;
	unsigned looks = DOWN_SECONDS * 1000u / LOOK_MS;
	int rc = find(cli,
		      "End the control service in the background: every process is "
		      "swapped out, so that the next praas up finds its state.",
		      argc, argv);

	if (rc != 0)
		return rc;
	if (kill(service.pid, SIGTERM) != 0 && errno != ESRCH)
		return praas_cli_fail(PRAAS_EXIT_REFUSED,
				      "cannot end the control service (process %d): %s",
				      (int)service.pid, strerror(errno));
	again = service;
	while (praas_cli_service_find(&again) == 0 && again.pid == service.pid) {
		if (looks-- == 0)
			return praas_cli_fail(PRAAS_EXIT_BUSY,
					      "the control service (process %d) has "
					      "not ended yet; look at %s/control.log",
					      (int)service.pid, service.data);
		(void)nanosleep(&pause, NULL); /* cut short: looks once more */
	}
	if (!cli->json)
		(void)printf("ended        %s\n", service.url);
	return PRAAS_EXIT_DONE;
}

/* How many processes of all applications are in which state. */
static int count_states(struct praas_cli *cli, json_t *counts)
{
	json_t *rows = NULL;
	int rc = praas_cli_processes(cli, NULL, &rows);

	for (size_t i = 0; i < json_array_size(rows); i++) {
		const char *state = json_string_value(
			json_object_get(json_array_get(rows, i), "state"));
		json_int_t n =
			state ? json_integer_value(json_object_get(counts, state)) : 0;

		if (state)
			(void)json_object_set_new(counts, state, json_integer(n + 1));
	}
	json_decref(rows);
	return rc;
}

static int status(struct praas_cli *cli, int argc, char **argv)
{
	json_t *answer;
	json_t *counts = json_object();
	int rc = find(cli,
		      "Is a control service of yours running here, and what runs "
		      "in it?",
		      argc, argv);

	if (rc == 0) {
		cli->url = service.url;
		cli->token = service.token;
		rc = count_states(cli, counts);
	}
	if (rc == 0) {
		answer = json_pack("{s:s,s:i,s:s,s:O}", "url", service.url, "os_pid",
				   (int)service.pid, "data", service.data, "processes",
				   counts);
		praas_cli_print(cli, answer);
		json_decref(answer);
	}
	json_decref(counts);
	return rc;
}

const struct praas_cli_verb praas_cli_up_verbs[] = {
	{ "up", NULL, up, "[FOLDER]", "a control service in the background" },
	{ "down", NULL, down, "", "end it, all processes swapped out" },
	{ "status", NULL, status, "", "what of it runs" },
	{ 0 },
};
