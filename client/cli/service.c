/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting, finding and ending a control service of this user. The service holds a lock on
 * the file `lock` of its data folder while it lives, and writes there where it answers: so
 * what a file says is believed only while the lock is held, whatever became of its process.
 */
#include "client/cli/service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_SECONDS 30   /* then it is killed: more than it ever takes */
#define SWAP_SECONDS "15" /* for it to swap all out; then it ends what is left */
#define READY_BYTES 1024

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

int praas_cli_find_program(const char *name, char ret_path[PATH_MAX + 64])
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

/* ---- data folder and key ----------------------------------------------------------- */

void praas_cli_data_folder(char ret_folder[PATH_MAX])
{
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");

	if (state && *state)
		(void)snprintf(ret_folder, PATH_MAX, "%s/praas/dev", state);
	else
		(void)snprintf(ret_folder, PATH_MAX, "%s/.local/state/praas/dev",
			       home && *home ? home : "/tmp"); /* cut: not usable */
}

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

/* The key of the data folder, when it has one. */
static int read_token(struct praas_cli_service *s)
{
	int fd = open(s->token_file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, s->token, PRAAS_CLI_TOKEN_CHARS);
	(void)close(fd); /* read only */
	s->token[n > 0 ? n : 0] = '\0';
	return n == (ssize_t)PRAAS_CLI_TOKEN_CHARS ? 0 : -EINVAL;
}

/* Made once, kept for the next run. 0 or an errno. */
static int make_token(struct praas_cli_service *s)
{
	uint8_t raw[PRAAS_CLI_TOKEN_CHARS / 2];
	int fd, rc = 0;

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -errno;
	for (size_t i = 0; i < sizeof(raw); i++)
		(void)snprintf(s->token + 2 * i, 3, "%02x", raw[i]); /* fits */
	fd = open(s->token_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	errno = ENOSPC; /* of a short write */
	if (write(fd, s->token, PRAAS_CLI_TOKEN_CHARS) !=
	    (ssize_t)PRAAS_CLI_TOKEN_CHARS)
		rc = -errno;
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	if (rc != 0)
		(void)unlink(s->token_file); /* half a key is none */
	return rc;
}

/* Only the names; makes nothing. */
static void name_files(struct praas_cli_service *s, const char *data)
{
	if (data)
		(void)snprintf(s->data, sizeof(s->data), "%s", data);
	else
		praas_cli_data_folder(s->data);
	(void)snprintf(s->token_file, sizeof(s->token_file), "%s/token", s->data);
}

int praas_cli_service_prepare(struct praas_cli_service *s, const char *data)
{
	int rc;

	name_files(s, data);
	rc = make_folders(s->data);
	if (rc == 0 && read_token(s) != 0)
		rc = make_token(s);
	return rc == 0 ? PRAAS_EXIT_DONE
		       : praas_cli_fail(
				 PRAAS_EXIT_FAILED,
				 "cannot keep data in %s: %s; name another folder with "
				 "--data",
				 s->data, strerror(-rc));
}

/* ---- finding one --------------------------------------------------------------------- */

/* {"url": …, "pid": …} */
static int read_ready(struct praas_cli_service *s, const char *text)
{
	json_t *ready = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *url = json_string_value(json_object_get(ready, "url"));
	json_int_t pid = json_integer_value(json_object_get(ready, "pid"));
	int rc = -EPROTO;

	if (url && strlen(url) < sizeof(s->url) && pid > 1 && pid <= INT_MAX) {
		(void)snprintf(s->url, sizeof(s->url), "%s", url); /* fits */
		s->pid = (pid_t)pid;
		rc = 0;
	}
	json_decref(ready);
	return rc;
}

int praas_cli_service_find(struct praas_cli_service *s)
{
	/* Also against the locks of several that share it. */
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[PATH_MAX + 16];
	char text[READY_BYTES];
	ssize_t n = 0;
	int rc = -ENOENT;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/lock", s->data); /* fits */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ENOENT;
	if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
		n = pread(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		rc = read_ready(s, text) == 0 ? 0 : -ENOENT; /* it is starting */
	}
	(void)close(fd);
	return rc;
}

int praas_cli_service_name(struct praas_cli_service *s, const char *data)
{
	name_files(s, data);
	return read_token(s) == 0 ? 0 : -ENOENT;
}

int praas_cli_service_own(char ret_url[512], char ret_token[65])
{
	struct praas_cli_service s = { 0 };

	if (praas_cli_service_name(&s, NULL) != 0 || praas_cli_service_find(&s) != 0)
		return -ENOENT;
	memcpy(ret_url, s.url, sizeof(s.url));
	memcpy(ret_token, s.token, sizeof(s.token));
	return 0;
}

/* ---- starting and ending --------------------------------------------------------------- */

/* Where one in the background says what it has to say. */
static void log_path(const struct praas_cli_service *s, char ret_path[PATH_MAX + 16])
{
	(void)snprintf(ret_path, PATH_MAX + 16, "%s/control.log", s->data); /* fits */
}

/* In the child: a group of its own, so that Ctrl-C reaches us alone, and we decide. */
static _Noreturn void become_control(const struct praas_cli_service *s, int out,
				     bool detached, const char *const *args)
{
	char log[PATH_MAX + 16];
	sigset_t none;
	int fd;

	if (detached) {
		(void)setsid(); /* a new child leads no group */
		log_path(s, log);
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (fd >= 0)
			(void)dup2(fd, STDERR_FILENO); /* else it speaks here */
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			(void)dup2(fd, STDIN_FILENO); /* it does not read it */
	} else {
		(void)setpgid(0, 0); /* then it only gets the signal twice */
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* killed: it ends too */
	}
	(void)sigemptyset(&none);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGXFSZ, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(out, STDOUT_FILENO) >= 0)
		(void)execv(args[0], (char *const *)(uintptr_t)args); /* else below */
	(void)fprintf(stderr, "praas: cannot start %s in %s: %s\n", args[0], s->data,
		      strerror(errno));
	_exit(127);
}

/* The line that it prints when it is ready. */
static int wait_ready(struct praas_cli_service *s, int fd)
{
	char line[READY_BYTES];
	size_t n = 0;

	while (n < sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
	return read_ready(s, line);
}

/* Another one has the folder. Returns an exit code. */
static int refuse_second(const struct praas_cli_service *s)
{
	struct praas_cli_service other = *s; /* not ours: s->pid is never it */

	if (praas_cli_service_find(&other) != 0)
		return PRAAS_EXIT_DONE;
	return praas_cli_fail(PRAAS_EXIT_FAILED,
			      "a control service runs on %s already, at %s; "
			      "praas down ends it, --data names another folder",
			      other.data, other.url);
}

/* So full that it cannot even be said in control.log. */
static bool disk_full(const struct praas_cli_service *s)
{
	struct statvfs disk;

	return statvfs(s->data, &disk) == 0 &&
	       (uint64_t)disk.f_bavail * disk.f_frsize < 64u << 10;
}

static int fail_start(struct praas_cli_service *s, bool detached)
{
	int rc;

	if (s->pid > 0)
		(void)waitpid(s->pid, NULL, 0); /* has closed its output: it ends */
	s->pid = 0;
	rc = refuse_second(s);
	if (rc != 0)
		return rc;
	if (disk_full(s))
		return praas_cli_fail(PRAAS_EXIT_FAILED,
				      "the control service did not start: no space is "
				      "left on the disk of %s; make some, or name "
				      "another folder with --data",
				      s->data);
	return praas_cli_fail(PRAAS_EXIT_FAILED,
			      "the control service did not start; what it said is %s%s",
			      detached ? "at the end of the file control.log in "
				       : "above",
			      detached ? s->data : "");
}

static volatile pid_t starting; /* in the background, and not ready; 0: none */

/* Who ends us before it is ready wants none. */
static void on_end(int number)
{
	if (starting > 0)
		(void)kill(starting, SIGTERM);
	(void)raise(number); /* SA_RESETHAND */
}

/* One that is in the background hears nothing of Ctrl-C: from the fork until it is ready it ends with us. */
static pid_t fork_control(bool detached)
{
	const struct sigaction ends = { .sa_handler = on_end,
					.sa_flags = (int)SA_RESETHAND };
	struct sigaction old;
	sigset_t set, before;
	pid_t pid;

	if (!detached)
		return fork();
	(void)sigemptyset(&set);
	for (const int *n = (const int[]){ SIGINT, SIGTERM, SIGHUP, 0 }; *n; n++) {
		(void)sigaddset(&set, *n);
		(void)sigaction(*n, NULL, &old); /* cannot fail for these */
		if (old.sa_handler != SIG_IGN)   /* nohup */
			(void)sigaction(*n, &ends, NULL);
	}
	(void)sigprocmask(SIG_BLOCK, &set, &before);
	pid = fork();
	starting = pid;
	if (pid !=
	    0) /* the child has them blocked until it has done with our handlers */
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static int find_programs(char ret_control[PATH_MAX + 64],
			 char ret_controller[PATH_MAX + 64],
			 char ret_worker[PATH_MAX + 64])
{
	int rc = praas_cli_find_program("praas-control", ret_control);

	if (rc == 0)
		rc = praas_cli_find_program("praas-controller", ret_controller);
	if (rc == 0)
		rc = praas_cli_find_program("praas-worker", ret_worker);
	return rc;
}

int praas_cli_service_start(struct praas_cli_service *s, bool detached)
{
	char program[PATH_MAX + 64];
	char controller[PATH_MAX + 64];
	char worker[PATH_MAX + 64];
	char log[PATH_MAX + 16];
	/* What one in the background says is for programs that collect it. */
	const char *args[] = { program,
			       "--data",
			       s->data,
			       "--listen",
			       s->listen,
			       "--token-file",
			       s->token_file,
			       "--controller",
			       controller,
			       "--worker",
			       worker,
			       "--stop-seconds",
			       SWAP_SECONDS,
			       "--log",
			       detached ? "json" : "text",
			       NULL,
			       NULL,
			       NULL,
			       NULL,
			       NULL };
	size_t more = sizeof(args) / sizeof(args[0]) - 5;
	int out[2];
	int rc = refuse_second(s); /* or later: somebody may be as quick as we are */

	log_path(s, log);
	if (detached) {
		args[more++] = "--log-file";
		args[more++] = log;
	}
	if (s->snapshots) {
		args[more++] = "--snapshots";
		args[more++] = s->snapshots;
	}
	if (rc == 0)
		rc = find_programs(program, controller, worker);
	if (rc != 0)
		return rc;
	if (pipe2(out, O_CLOEXEC) != 0)
		return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot make a pipe: %s",
				      strerror(errno));
	(void)fflush(stdout); /* the child has none of it */
	s->pid = fork_control(detached);
	if (s->pid == 0)
		become_control(s, out[1], detached, args);
	(void)close(out[1]); /* ours; the child has its own */
	rc = s->pid > 0 ? wait_ready(s, out[0]) : -EAGAIN;
	starting = 0;
	(void)close(out[0]); /* read only */
	return rc == 0 ? PRAAS_EXIT_DONE : fail_start(s, detached);
}

void praas_cli_service_stop(struct praas_cli_service *s)
{
	const struct timespec limit = { .tv_sec = STOP_SECONDS };
	sigset_t child;

	if (s->pid <= 0)
		return;
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)kill(s->pid, SIGTERM); /* gone already: waitpid says so */
	while (waitpid(s->pid, NULL, WNOHANG) == 0) {
		if (sigtimedwait(&child, NULL, &limit) >= 0 || errno == EINTR)
			continue;
		(void)praas_cli_fail(PRAAS_EXIT_FAILED,
				     "the control service does not end; it is killed");
		(void)kill(s->pid, SIGKILL);
		(void)waitpid(s->pid, NULL, 0);
		break;
	}
	s->pid = 0;
}
