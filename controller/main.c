/* SPDX-License-Identifier: Apache-2.0
 *
 * praas-controller: one cloud process.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "controller/admin.h"
#include "controller/file.h"
#include "controller/journal.h"
#include "shm/doorbell.h"

static const char usage[] =
	"usage: praas-controller --config-fd N [--prepare-fd M]\n"
	"Runs one cloud process. Its configuration, which holds keys, is read from "
	"descriptor N\n"
	"(docs/control-link.md); the control service starts it so. With M it first "
	"makes "
	"ready what\n"
	"does not depend on which process it will be.\n";

/* Nobody of our own user may look into us: no core, no ptrace, no /proc/PID/mem. */
static int harden(void)
{
	struct rlimit none = { 0, 0 };
	sigset_t set;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
	    setrlimit(RLIMIT_CORE, &none) != 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	/* A peer that went away, a file over its limit: errors, not our end. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return -errno;
	/* Inherited by the data thread: signals are the admin thread's, through its signalfd. */
	(void)sigemptyset(&set); /* cannot fail */
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* A descriptor's number; negative: it is none. */
static int descriptor(const char *text)
{
	char *end;
	long fd;

	errno = 0;
	fd = strtol(text, &end, 10);
	return errno == 0 && *end == '\0' && end != text && fd >= 0 && fd < 65536
		       ? (int)fd
		       : -EINVAL;
}

/* The descriptors of --config-fd and --prepare-fd (-1: not given). -EINVAL wrong usage. */
static int descriptors(int argc, char **argv, int *ret_config, int *ret_prepare)
{
	*ret_prepare = -1;
	if ((argc != 3 && argc != 5) || strcmp(argv[1], "--config-fd") != 0)
		return -EINVAL;
	*ret_config = descriptor(argv[2]);
	if (*ret_config < 0)
		return -EINVAL;
	if (argc == 3)
		return 0;
	if (strcmp(argv[3], "--prepare-fd") != 0)
		return -EINVAL;
	*ret_prepare = descriptor(argv[4]);
	return *ret_prepare < 0 ? -EINVAL : 0;
}

/* Reads it to its end and closes it. */
static int read_config(int fd, struct praas_config *ret_config)
{
	char error[PRAAS_JSON_ERROR_MAX];
	char *text;
	size_t bytes;
	int rc = praas_file_read_fd(fd, PRAAS_CONFIG_BYTES_MAX, &text, &bytes);

	(void)close(fd); /* a pipe, or memory */
	if (rc != 0) {
		praas_journal(PRAAS_LOG_ERROR, "configuration: %s", strerror(-rc));
		return rc;
	}
	rc = praas_config_parse(text, bytes, ret_config, error);
	if (rc != 0)
		praas_journal(PRAAS_LOG_ERROR, "configuration: %s", error);
	explicit_bzero(text, bytes);
	free(text);
	return rc;
}

/* The same program from its beginning, with a configuration that was not prepared for. */
static int begin_again(int fd)
{
	char number[16];
	char *argv[] = { (char[]){ "praas-controller" }, (char[]){ "--config-fd" },
			 number, NULL };

	(void)snprintf(number, sizeof(number), "%d", fd);
	if (fcntl(fd, F_SETFD, 0) == 0)
		(void)execv("/proc/self/exe", argv);
	praas_journal(PRAAS_LOG_ERROR, "start: %s", strerror(errno));
	return PRAAS_EXIT_START;
}

static int run(int fd, int prepare_fd)
{
	struct praas_manifest manifest = { 0 };
	struct praas_config config = { 0 };
	char error[PRAAS_JSON_ERROR_MAX];
	int code, again_fd;
	int rc = read_config(prepare_fd >= 0 ? prepare_fd : fd, &config);

	if (rc == 0 && config.prepare != (prepare_fd >= 0)) {
		praas_journal(PRAAS_LOG_ERROR, "configuration: of the other kind");
		rc = -EINVAL;
	}
	if (rc != 0)
		return PRAAS_EXIT_CONFIG;
	if (!config.prepare)
		praas_journal_setup(config.pid, config.epoch);
	if (praas_manifest_load(config.code, &manifest, error) != 0) {
		praas_journal(PRAAS_LOG_ERROR, "praas.json: %s", error);
		praas_config_wipe(&config);
		return PRAAS_EXIT_CONFIG;
	}
	code = praas_admin_run(&config, &manifest, config.prepare ? fd : -1, &again_fd);
	praas_manifest_release(&manifest);
	praas_config_wipe(&config);
	return again_fd >= 0 ? begin_again(again_fd) : code;
}

int main(int argc, char **argv)
{
	int fd, prepare_fd, rc = descriptors(argc, argv, &fd, &prepare_fd);

	if (rc != 0) {
		bool help = argc == 2 && strcmp(argv[1], "--help") == 0;

		(void)fputs(usage, help ? stdout : stderr);
		return help ? 0 : 2;
	}
	/* Threads allocate when they start and then no more: an arena of its own for each would
	 * cost memory and a hundred system calls. No result that could be of use. */
	(void)mallopt(M_ARENA_MAX, 1);
	rc = harden();
	if (rc == 0)
		rc = praas_doorbell_setup();
	if (rc != 0) {
		praas_journal(PRAAS_LOG_ERROR, "start: %s", strerror(-rc));
		return PRAAS_EXIT_START;
	}
	return run(fd, prepare_fd);
}
