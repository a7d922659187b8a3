/* SPDX-License-Identifier: Apache-2.0
 *
 * praas dev: a control service in the foreground, with folders of functions deployed.
 * A library or manifest that changes on disk is loaded again: the processes of its
 * application are swapped out and in, so that they keep their state. Ctrl-C swaps every
 * process out, so that the next run finds its state, and leaves nothing running.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli/service.h"

#define QUIET_MS 200 /* a build writes several files: loaded again when it is done */
#define FOLDERS_MAX 64

struct dev {
	struct praas_cli_service service;
	json_t *folders;          /* deployed: their paths */
	int watch;                /* inotify; -1: nothing is watched */
	int watched[FOLDERS_MAX]; /* by folder: its watch */
	bool changed[FOLDERS_MAX];
	int signals; /* signalfd */
};

/* ---- processes of an application -------------------------------------------------- */

static int act(struct praas_cli *cli, const char *app, const char *pid,
	       const char *action, const char *what)
{
	char path[2 * PRAAS_NAME_MAX + 64];
	char text[2 * PRAAS_NAME_MAX + 64];

	(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes/%s/%s", app, pid,
		       action);                                         /* fits */
	(void)snprintf(text, sizeof(text), "%s %s/%s", what, app, pid); /* fits */
	return praas_cli_request(cli, "POST", path, NULL, text, NULL);
}

/* Swaps out what runs of an application, and in again when it is to go on. */
static void swap_app(struct praas_cli *cli, const char *app, bool wake)
{
	char path[PRAAS_NAME_MAX + 64];
	json_t *rows = NULL;

	(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes", app); /* fits */
	if (praas_cli_list(cli, path, "processes", "list the processes", &rows) != 0)
		return; /* told */
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *pid = json_string_value(json_object_get(row, "pid"));
		const char *state = json_string_value(json_object_get(row, "state"));

		if (!pid || !state || strlen(pid) > PRAAS_NAME_MAX ||
		    (strcmp(state, "ACTIVE") != 0 && strcmp(state, "IDLE") != 0))
			continue;
		if (act(cli, app, pid, "swap-out", "swap out") != 0)
			continue;
		if (!wake)
			(void)printf("swapped out  %s/%s\n", app, pid);
		else if (act(cli, app, pid, "swap-in", "wake") == 0)
			(void)printf("reloaded     %s/%s\n", app, pid);
	}
	json_decref(rows);
}

static void swap_out_all(struct praas_cli *cli)
{
	json_t *apps = NULL;

	if (praas_cli_list(cli, "/v1/apps", "apps", "list the applications", &apps) !=
	    0)
		return; /* told; the control service then ends as it can */
	for (size_t a = 0; a < json_array_size(apps); a++) {
		const char *app = json_string_value(
			json_object_get(json_array_get(apps, a), "name"));

		if (app && strlen(app) <= PRAAS_NAME_MAX)
			swap_app(cli, app, false);
	}
	json_decref(apps);
}

/* ---- changes on disk ------------------------------------------------------------------ */

static void watch_folders(struct dev *d)
{
	size_t count = json_array_size(d->folders);

	d->watch = count ? inotify_init1(IN_CLOEXEC | IN_NONBLOCK) : -1;
	for (size_t i = 0; d->watch >= 0 && i < count && i < FOLDERS_MAX; i++) {
		const char *folder = json_string_value(json_array_get(d->folders, i));

		d->watched[i] = inotify_add_watch(d->watch, folder,
						  IN_CLOSE_WRITE | IN_MOVED_TO);
		if (d->watched[i] < 0)
			(void)praas_cli_fail(PRAAS_EXIT_FAILED,
					     "changes in %s are not seen: %s", folder,
					     strerror(errno));
	}
}

/* What is loaded from a folder: the manifest and libraries. */
static bool matters(const char *name)
{
	size_t length = strlen(name);

	return strcmp(name, "praas.json") == 0 ||
	       (length > 3 && strcmp(name + length - 3, ".so") == 0);
}

static void read_changes(struct dev *d)
{
	_Alignas(struct inotify_event) char buffer[4096];
	size_t count = json_array_size(d->folders);
	const struct inotify_event *e;
	ssize_t n;

	while ((n = read(d->watch, buffer, sizeof(buffer))) > 0) {
		for (const char *at = buffer; at < buffer + n;
		     at += sizeof(*e) + e->len) {
			e = (const void *)at;
			for (size_t i = 0; i < count && i < FOLDERS_MAX; i++)
				d->changed[i] |= e->wd == d->watched[i] && e->len > 0 &&
						 matters(e->name);
		}
	}
}

static void reload(struct praas_cli *cli, struct dev *d)
{
	for (size_t i = 0; i < json_array_size(d->folders) && i < FOLDERS_MAX; i++) {
		const char *folder = json_string_value(json_array_get(d->folders, i));
		const char *slash = strrchr(folder, '/');

		if (!d->changed[i])
			continue;
		d->changed[i] = false;
		(void)printf("changed      %s\n", slash ? slash + 1 : folder);
		swap_app(cli, slash ? slash + 1 : folder, true);
		(void)fflush(stdout);
	}
}

/* ---- the verb ----------------------------------------------------------------------------- */

static void print_next(const struct praas_cli_service *s)
{
	(void)printf("control      %s\n"
		     "data         %s\n\n"
		     "In another terminal:\n"
		     "  export PRAAS_URL=%s PRAAS_TOKEN=%s\n"
		     "  praas app ls\n"
		     "  praas process create APP\n"
		     "  praas invoke APP FUNCTION -d TEXT\n\n"
		     "Ctrl-C swaps the processes out and ends everything.\n",
		     s->url, s->data, s->url, s->token);
	(void)fflush(stdout);
}

/* True when a signal asks to end; *ret_rc is not 0 when the service ended by itself. */
static bool take_signal(struct dev *d, int *ret_rc)
{
	struct signalfd_siginfo info;
	int status = 0;

	if (read(d->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return false;
	if (info.ssi_signo != SIGCHLD)
		return true;
	if (waitpid(d->service.pid, &status, WNOHANG) != d->service.pid)
		return false;
	d->service.pid = 0;
	*ret_rc = praas_cli_fail(PRAAS_EXIT_FAILED,
				 "the control service ended by itself (%s %d); what "
				 "it said is above",
				 WIFSIGNALED(status) ? "signal" : "code",
				 WIFSIGNALED(status) ? WTERMSIG(status)
						     : WEXITSTATUS(status));
	return true;
}

/* Until a signal asks to end (then swaps out), or the control service ends by itself. */
static int serve(struct praas_cli *cli, struct dev *d)
{
	struct pollfd fds[] = { { .fd = d->signals, .events = POLLIN },
				{ .fd = d->watch, .events = POLLIN } };
	bool pending = false;
	int rc = 0;

	for (;;) {
		int n = poll(fds, 2, pending ? QUIET_MS : -1);

		if (n == 0 && pending) {
			pending = false;
			reload(cli, d);
		}
		if (n > 0 && fds[1].revents & POLLIN) {
			pending = true;
			read_changes(d);
		}
		if (n > 0 && fds[0].revents & POLLIN && take_signal(d, &rc))
			break;
	}
	if (rc == 0) {
		(void)putchar('\n');
		swap_out_all(cli);
	}
	return rc;
}

static int take_signals(struct dev *d)
{
	sigset_t set;

	(void)sigemptyset(&set);
	for (const int *s = (const int[]){ SIGINT, SIGTERM, SIGHUP, SIGCHLD, 0 }; *s;
	     s++)
		(void)sigaddset(&set, *s);
	(void)sigprocmask(SIG_BLOCK, &set, NULL); /* cannot fail: a valid set */
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return d->signals >= 0
		       ? PRAAS_EXIT_DONE
		       : praas_cli_fail(PRAAS_EXIT_FAILED,
					"cannot wait for signals: %s", strerror(errno));
}

static int dev(struct praas_cli *cli, int argc, char **argv)
{
	static struct dev d = { .service = { .listen = "127.0.0.1:0" }, .watch = -1 };
	const char *folder = NULL, *data = NULL;
	bool weak = false;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_TEXT,
		  .value = &folder,
		  .arg = "FOLDER",
		  .optional = true },
		{ .name = "listen",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &d.service.listen,
		  .arg = "ADDRESS:PORT",
		  .help = "Where to listen (127.0.0.1:0: any port)" },
		{ .name = "data",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &data,
		  .arg = "FOLDER",
		  .help = "Where all is kept (~/.local/state/praas/dev)" },
		{ .name = "snapshots",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &d.service.snapshots,
		  .arg = "URL",
		  .help = "Where snapshots are kept: s3://BUCKET/PREFIX, redis://HOST "
			  "or file:///FOLDER (in --data)" },
		{ .name = "allow-weak-sandbox",
		  .value = &weak,
		  .help = "Run functions even if a layer of the sandbox is missing "
			  "here" },
		{ 0 },
	};
	int rc;

	praas_cli_parse(
		cli,
		"Run a control service in the foreground, with FOLDER (or each folder "
		"in it that has a praas.json) deployed as an application of its name. "
		"Libraries that change are loaded again; processes keep their state.",
		options, argc, argv);
	rc = praas_cli_here(cli, "starts one; try praas app deploy");
	if (rc == 0)
		rc = praas_cli_service_prepare(&d.service, data);
	if (rc == 0)
		rc = take_signals(&d);
	if (rc == 0)
		rc = praas_cli_service_start(&d.service, false);
	cli->url = d.service.url;
	cli->token = d.service.token;
	if (rc == 0 && folder)
		rc = praas_cli_deploy_all(cli, folder, weak, &d.folders);
	if (rc == 0) {
		watch_folders(&d);
		print_next(&d.service);
		rc = serve(cli, &d);
	}
	praas_cli_service_stop(&d.service);
	json_decref(d.folders);
	return rc;
}

const struct praas_cli_verb praas_cli_dev_verbs[] = {
	{ "dev", NULL, dev, "[FOLDER]", "a control service here, until Ctrl-C" },
	{ 0 },
};
