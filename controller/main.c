/* SPDX-License-Identifier: Apache-2.0
 *
 * praas-controller: one cloud process.
 */
#include <errno.h>
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
	"usage: praas-controller --config-fd N\n"
	"Runs one cloud process. Its configuration, which holds keys, is read from "
	"descriptor N\n"
	"(docs/control-link.md); the control service starts it so.\n";

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

/* The descriptor of --config-fd; negative: wrong usage. */
static int config_fd(int argc, char **argv)
{
	char *end;
	long fd;

	if (argc != 3 || strcmp(argv[1], "--config-fd") != 0)
		return -EINVAL;
	errno = 0;
	fd = strtol(argv[2], &end, 10);
	return errno == 0 && *end == '\0' && end != argv[2] && fd >= 0 && fd < 65536
		       ? (int)fd
		       : -EINVAL;
}

static int read_config(int fd, struct praas_config *ret_config)
{
	char error[PRAAS_JSON_ERROR_MAX];
	char *text;
	size_t bytes;
	int rc = praas_file_read_fd(fd, PRAAS_CONFIG_BYTES_MAX, &text, &bytes);

	if (rc != 0) {
		praas_journal(PRAAS_LOG_ERROR, "configuration: %s", strerror(-rc));
		return rc;
	}
	rc = praas_config_parse(text, bytes, ret_config, error);
	if (rc != 0)
		praas_journal(PRAAS_LOG_ERROR, "configuration: %s", error);
	explicit_bzero(text, bytes);
	free(text);
	(void)close(fd); /* read to its end */
	return rc;
}

static int run(int fd)
{
	struct praas_manifest manifest = { 0 };
	struct praas_config config = { 0 };
	char error[PRAAS_JSON_ERROR_MAX];
	int code;

	if (read_config(fd, &config) != 0)
		return PRAAS_EXIT_CONFIG;
	praas_journal_setup(config.pid, config.epoch);
	if (praas_manifest_load(config.code, &manifest, error) != 0) {
		praas_journal(PRAAS_LOG_ERROR, "praas.json: %s", error);
		praas_config_wipe(&config);
		return PRAAS_EXIT_CONFIG;
	}
	code = praas_admin_run(&config, &manifest);
	praas_manifest_release(&manifest);
	praas_config_wipe(&config);
	return code;
}

int main(int argc, char **argv)
{
	int rc, fd = config_fd(argc, argv);

	if (fd < 0) {
		(void)fputs(usage, argc == 2 && strcmp(argv[1], "--help") == 0
					   ? stdout
					   : stderr);
		return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
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
	return run(fd);
}
