/* SPDX-License-Identifier: Apache-2.0
 *
 * praas dev: a control service in the foreground, with folders of functions deployed.
 * Ctrl-C swaps every process out, so that the next run finds its state, and leaves
 * nothing running.
 */
#include "client/cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_BYTES 32
#define STOP_SECONDS                                                                   \
	30 /* then the control service is killed: more than it ever takes */
#define SWAP_SECONDS "15" /* for it to swap all out; then it ends what is left */
#define FOLDERS_MAX 64

struct dev {
	char data[PATH_MAX]; /* where everything is kept */
	char token_file[PATH_MAX + 16];
	char token[2 * TOKEN_BYTES + 1];
	char url[512];
	const char *listen;
	bool weak;       /* applications may run without a full sandbox */
	pid_t control;   /* 0: not running */
	sigset_t waited; /* signals that are waited for, not handled */
};

int praas_cli_program_folder(char ret_folder[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", ret_folder, PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return praas_cli_fail(PRAAS_EXIT_FAILED,
				      "cannot find my own folder: %s", strerror(errno));
	ret_folder[n] = '\0';
	slash = strrchr(ret_folder, '/');
	if (slash)
		*slash = '\0';
	return PRAAS_EXIT_DONE;
}

/* A program of ours: beside this one (build folder), or in libexec/praas (installed).
 */
static int find_program(const char *name, char ret_path[PATH_MAX + 64])
{
	char folder[PATH_MAX];
	int rc = praas_cli_program_folder(folder);

	if (rc != 0)
		return rc;
	(void)snprintf(ret_path, PATH_MAX + 64, "%s/%s", folder, name); /* fits */
	if (access(ret_path, X_OK) == 0)
		return PRAAS_EXIT_DONE;
	(void)snprintf(ret_path, PATH_MAX + 64, "%s/../libexec/praas/%s", folder, name);
	if (access(ret_path, X_OK) == 0)
		return PRAAS_EXIT_DONE;
	return praas_cli_fail(
		PRAAS_EXIT_FAILED,
		"%s is missing: it should be in %s or ../libexec/praas; install "
		"PraaS again",
		name, folder);
}

/* ---- data folder and key
 * --------------------------------------------------------------- */

/* Makes a folder and those above it, for its owner alone. 0 or an errno. */
static int make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(path, 0700) != 0 && errno != EEXIST ? -errno : 0;
}

/* The key of this data folder: made once, kept for the next run. 0 or an errno. */
static int load_token(struct dev *dev)
{
	uint8_t raw[TOKEN_BYTES];
	ssize_t n;
	int fd = open(dev->token_file, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		n = read(fd, dev->token, sizeof(dev->token) - 1);
		(void)close(fd); /* read only */
		if (n == (ssize_t)sizeof(dev->token) - 1)
			return 0;
	}
	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -errno;
	for (size_t i = 0; i < sizeof(raw); i++)
		(void)snprintf(dev->token + 2 * i, 3, "%02x", raw[i]); /* fits */
	fd = open(dev->token_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = write(fd, dev->token, sizeof(dev->token) - 1);
	if (close(fd) != 0 || n != (ssize_t)sizeof(dev->token) - 1)
		return -EIO;
	return 0;
}

static int prepare_data(struct dev *dev, const char *data)
{
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");
	int rc;

	if (data)
		(void)snprintf(dev->data, sizeof(dev->data), "%s", data);
	else if (state && *state)
		(void)snprintf(dev->data, sizeof(dev->data), "%s/praas/dev", state);
	else
		(void)snprintf(dev->data, sizeof(dev->data),
			       "%s/.local/state/praas/dev",
			       home && *home ? home : "/tmp");
	(void)snprintf(dev->token_file, sizeof(dev->token_file), "%s/token", dev->data);
	rc = make_folders(dev->data);
	if (rc == 0)
		rc = load_token(dev);
	return rc == 0 ? PRAAS_EXIT_DONE
		       : praas_cli_fail(
				 PRAAS_EXIT_FAILED,
				 "cannot keep data in %s: %s; name another folder with "
				 "--data",
				 dev->data, strerror(-rc));
}

/* ---- the control service
 * --------------------------------------------------------------- */

/* In the child: a group of its own, so that Ctrl-C reaches us alone, and we decide. */
static _Noreturn void become_control(const struct dev *dev, int out,
				     const char *const *args)
{
	sigset_t none;

	(void)setpgid(0, 0);                    /* then it only gets the signal twice */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* if we are killed, it ends too */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	if (dup2(out, STDOUT_FILENO) >= 0)
		(void)execv(args[0], (char *const *)(uintptr_t)args); /* else below */
	(void)fprintf(stderr, "praas: cannot start %s in %s: %s\n", args[0], dev->data,
		      strerror(errno));
	_exit(127);
}

/* The line that it prints when it is ready: {"url": …}. */
static int read_ready(struct dev *dev, int fd)
{
	char line[1024];
	size_t n = 0;
	json_t *ready;
	const char *url;

	while (n < sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
	ready = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	url = json_string_value(json_object_get(ready, "url"));
	if (url)
		(void)snprintf(dev->url, sizeof(dev->url), "%s", url);
	json_decref(ready);
	return *dev->url ? 0 : -EPROTO;
}

static int start_control(struct dev *dev)
{
	char program[PATH_MAX + 64];
	char controller[PATH_MAX + 64];
	char worker[PATH_MAX + 64];
	const char *args[] = { program,         "--data",
			       dev->data,       "--listen",
			       dev->listen,     "--token-file",
			       dev->token_file, "--controller",
			       controller,      "--worker",
			       worker,          "--stop-seconds",
			       SWAP_SECONDS,    NULL };
	int out[2];
	int rc = find_program("praas-control", program);

	if (rc == 0)
		rc = find_program("praas-controller", controller);
	if (rc == 0)
		rc = find_program("praas-worker", worker);
	if (rc != 0)
		return rc;
	if (pipe2(out, O_CLOEXEC) != 0)
		return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot make a pipe: %s",
				      strerror(errno));
	dev->control = fork();
	if (dev->control == 0)
		become_control(dev, out[1], args);
	(void)close(out[1]); /* ours; the child has its own */
	rc = dev->control > 0 ? read_ready(dev, out[0]) : -errno;
	(void)close(out[0]); /* read only */
	if (rc == 0)
		return PRAAS_EXIT_DONE;
	return praas_cli_fail(
		PRAAS_EXIT_FAILED,
		"the control service did not start; what it said is above (is "
		"another one using %s? then name another folder with --data)",
		dev->data);
}

static void stop_control(struct dev *dev)
{
	const struct timespec limit = { .tv_sec = STOP_SECONDS };
	sigset_t child;

	if (dev->control <= 0)
		return;
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)kill(dev->control, SIGTERM); /* gone already: waitpid says so */
	while (waitpid(dev->control, NULL, WNOHANG) == 0) {
		if (sigtimedwait(&child, NULL, &limit) >= 0 || errno == EINTR)
			continue;
		(void)praas_cli_fail(PRAAS_EXIT_FAILED,
				     "the control service does not end; it is killed");
		(void)kill(dev->control, SIGKILL);
		(void)waitpid(dev->control, NULL, 0);
		break;
	}
	dev->control = 0;
}

/* ---- applications
 * ---------------------------------------------------------------------- */

/* An application of the folder's name; one that is there already with that code stays.
 */
static int deploy(struct praas_cli *cli, const struct dev *dev, const char *folder)
{
	const char *slash = strrchr(folder, '/');
	const char *name = slash ? slash + 1 : folder;
	char path[PRAAS_NAME_MAX + 16];
	const char *why = "";
	const char *code;
	json_t *apps = NULL;
	bool known = false;
	int rc;

	if (praas_cli_value(PRAAS_CLI_NAME, NULL, name, &name, &why) != 0)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"cannot deploy %s: its name becomes the application's, and "
			"%s; rename the folder",
			folder, why);
	rc = praas_cli_list(cli, "/v1/apps", "apps", "list the applications", &apps);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < json_array_size(apps); i++) {
		const json_t *app = json_array_get(apps, i);
		const char *other = json_string_value(json_object_get(app, "name"));

		if (!other || strcmp(other, name) != 0)
			continue;
		code = json_string_value(json_object_get(app, "code"));
		if (code && strcmp(code, folder) != 0)
			(void)praas_cli_fail(
				PRAAS_EXIT_FAILED,
				"application %s exists with the code of %s, which "
				"stays; to change it: praas app rm %s",
				name, code, name);
		known = true;
	}
	json_decref(apps);
	(void)snprintf(path, sizeof(path), "deploy %s",
		       name); /* fits: a checked name */
	if (!known)
		rc = praas_cli_request(cli, "POST", "/v1/apps",
				       json_pack("{s:s,s:s,s:b}", "name", name, "code",
						 folder, "allow_weak_sandbox",
						 dev->weak),
				       path, NULL);
	if (rc == 0)
		(void)printf("application  %s\n", name);
	return rc;
}

static bool has_manifest(const char *folder)
{
	char path[PATH_MAX + NAME_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/praas.json", folder); /* fits */
	return access(path, R_OK) == 0;
}

/* The folder itself, or each folder in it that has a praas.json. */
static int deploy_all(struct praas_cli *cli, const struct dev *dev, const char *given)
{
	char folder[PATH_MAX];
	char sub[PATH_MAX + NAME_MAX + 2];
	struct dirent **entries = NULL;
	int found = 0;
	int count;
	int rc = 0;

	if (!realpath(given, folder))
		return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot deploy %s: %s", given,
				      strerror(errno));
	if (has_manifest(folder))
		return deploy(cli, dev, folder);
	count = scandir(folder, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		(void)snprintf(sub, sizeof(sub), "%s/%s", folder,
			       entries[i]->d_name); /* fits */
		if (entries[i]->d_name[0] != '.' && has_manifest(sub) && rc == 0 &&
		    found++ < FOLDERS_MAX)
			rc = deploy(cli, dev, sub);
		free(entries[i]);
	}
	free(entries);
	if (found == 0)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"cannot deploy %s: neither it nor a folder in it has a "
			"praas.json",
			given);
	return rc;
}

/* Swaps out every process that runs, so that its state is there the next time. */
static void swap_out_all(struct praas_cli *cli)
{
	json_t *apps = NULL;

	if (praas_cli_list(cli, "/v1/apps", "apps", "list the applications", &apps) !=
	    0)
		return; /* told; the control service then ends as it can */
	for (size_t a = 0; a < json_array_size(apps); a++) {
		const char *app = json_string_value(
			json_object_get(json_array_get(apps, a), "name"));
		char path[2 * PRAAS_NAME_MAX + 64];
		json_t *rows = NULL;

		(void)snprintf(path, sizeof(path), "/v1/apps/%s/processes",
			       app ? app : "");
		if (praas_cli_list(cli, path, "processes", "list the processes",
				   &rows) != 0)
			continue;
		for (size_t i = 0; i < json_array_size(rows); i++) {
			const json_t *row = json_array_get(rows, i);
			const char *pid =
				json_string_value(json_object_get(row, "pid"));
			const char *state =
				json_string_value(json_object_get(row, "state"));

			if (!pid || !state ||
			    (strcmp(state, "ACTIVE") != 0 &&
			     strcmp(state, "IDLE") != 0))
				continue;
			(void)snprintf(path, sizeof(path),
				       "/v1/apps/%s/processes/%s/swap-out", app, pid);
			if (praas_cli_request(cli, "POST", path, NULL,
					      "swap a process out", NULL) == 0)
				(void)printf("swapped out  %s/%s\n", app, pid);
		}
		json_decref(rows);
	}
	json_decref(apps);
}

/* ---- the verb
 * -------------------------------------------------------------------------- */

static void print_next(const struct dev *dev)
{
	(void)printf("control      %s\n"
		     "data         %s\n\n"
		     "In another terminal:\n"
		     "  export PRAAS_URL=%s PRAAS_TOKEN=%s\n"
		     "  praas app ls\n"
		     "  praas process create APP\n"
		     "  praas invoke APP FUNCTION -d TEXT\n\n"
		     "Ctrl-C swaps the processes out and ends everything.\n",
		     dev->url, dev->data, dev->url, dev->token);
	(void)fflush(stdout);
}

/* Until a signal asks to end (then swaps out), or the control service ends by itself.
 */
static int serve(struct praas_cli *cli, struct dev *dev)
{
	int status = 0;

	for (;;) {
		int sig = sigwaitinfo(&dev->waited, NULL);

		if (sig == SIGCHLD &&
		    waitpid(dev->control, &status, WNOHANG) == dev->control) {
			dev->control = 0;
			return praas_cli_fail(
				PRAAS_EXIT_FAILED,
				"the control service ended by itself (%s %d); what "
				"it said is above",
				WIFSIGNALED(status) ? "signal" : "code",
				WIFSIGNALED(status) ? WTERMSIG(status)
						    : WEXITSTATUS(status));
		}
		if (sig == SIGINT || sig == SIGTERM || sig == SIGHUP)
			break;
	}
	(void)putchar('\n');
	swap_out_all(cli);
	return PRAAS_EXIT_DONE;
}

static int dev(struct praas_cli *cli, int argc, char **argv)
{
	static struct dev d = { .listen = "127.0.0.1:0" };
	const char *folder = NULL;
	const char *data = NULL;
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_TEXT,
		  .value = &folder,
		  .arg = "FOLDER",
		  .optional = true },
		{ .name = "listen",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &d.listen,
		  .arg = "ADDRESS:PORT",
		  .help = "Where to listen (127.0.0.1:0: any port)" },
		{ .name = "data",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &data,
		  .arg = "FOLDER",
		  .help = "Where all is kept (~/.local/state/praas/dev)" },
		{ .name = "allow-weak-sandbox",
		  .value = &d.weak,
		  .help = "Run functions even if a layer of the sandbox is missing "
			  "here" },
		{ 0 },
	};
	int rc;

	praas_cli_parse(
		cli,
		"Run a control service in the foreground, with FOLDER (or each folder "
		"in "
		"it that has a praas.json) deployed as an application of its name.",
		options, argc, argv);
	rc = prepare_data(&d, data);
	if (rc != 0)
		return rc;
	(void)sigemptyset(&d.waited);
	for (const int *s = (const int[]){ SIGINT, SIGTERM, SIGHUP, SIGCHLD, 0 }; *s;
	     s++)
		(void)sigaddset(&d.waited, *s);
	(void)sigprocmask(SIG_BLOCK, &d.waited, NULL); /* cannot fail: a valid set */
	rc = start_control(&d);
	cli->url = d.url;
	cli->token = d.token;
	if (rc == 0 && folder)
		rc = deploy_all(cli, &d, folder);
	if (rc == 0) {
		print_next(&d);
		rc = serve(cli, &d);
	}
	stop_control(&d);
	return rc;
}

const struct praas_cli_verb praas_cli_dev_verbs[] = {
	{ "dev", NULL, dev, "[FOLDER]", "a control service here, until Ctrl-C" },
	{ 0 },
};
