/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts and stops the system under test.
 */
#include "perf/target.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/store/store.h"
#include "internal/base.h"
#include "perf/fabric.h"
#include "perf/verbs.h"

extern char **environ;

static struct praas_target targets[PRAAS_TARGETS];

/* Removes the folder of the run; what it may hold is ours alone. */
static void remove_dir(const char *dir)
{
	char *argv[] = { (char[]){ "rm" }, (char[]){ "-rf" }, (char[]){ "--" }, NULL,
			 NULL };
	char copy[128];
	pid_t pid;

	(void)snprintf(copy, sizeof copy, "%s", dir);
	argv[3] = copy;
	if (posix_spawnp(&pid, "rm", NULL, NULL, argv, environ) == 0)
		(void)waitpid(pid, NULL, 0);
}

/* The service and its folder. */
static void end(struct praas_target *t)
{
	if (t->pid > 0) {
		(void)kill(t->pid, SIGTERM);
		(void)waitpid(t->pid, NULL, 0);
	}
	if (t->dir[0])
		remove_dir(t->dir);
	t->dir[0] = '\0';
}

static void stop(struct praas_target *t)
{
	praas_control_close(t->control);
	t->control = NULL;
	end(t);
	if (t->pid > 0)
		t->pid = 0;
}

void praas_target_abandon(void)
{
	for (unsigned i = 0; i < PRAAS_TARGETS; i++)
		end(&targets[i]);
}

static void stop_all(void)
{
	for (unsigned i = 0; i < PRAAS_TARGETS; i++)
		stop(&targets[i]);
}

/* Reads the one line that praas-control prints when it is ready: {"url":…}. */
static int read_ready(int fd, char *url, size_t url_bytes)
{
	char text[512];
	size_t n = 0;
	json_t *o;
	const char *s;
	int rc = -EPROTO;

	while (n < sizeof text - 1 && read(fd, text + n, 1) == 1 && text[n] != '\n')
		n++;
	text[n] = '\0';
	o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	s = json_string_value(json_object_get(o, "url"));
	if (s) {
		(void)snprintf(url, url_bytes, "%s", s);
		rc = 0;
	}
	json_decref(o);
	return rc;
}

/* What one kind of service has beside the others: an option (name has room) and its value. */
static bool add_option(enum praas_target_kind kind, char *name, char *value,
		       size_t room)
{
	const char *host;

	switch (kind) {
	case PRAAS_TARGET_VERBS:
		host = praas_perf_verbs_host() ? praas_perf_verbs_host() : "";
		(void)snprintf(value, room, "verbs://%.90s:0,verbs+sealed://%.90s:0",
			       host, host);
		return true;
	case PRAAS_TARGET_OFI:
		host = praas_perf_fabric_host();
		(void)snprintf(value, room,
			       "ofi://%.40s@%.60s:0,ofi+sealed://%.40s@%.60s:0",
			       praas_perf_fabric(), host, praas_perf_fabric(), host);
		return true;
	case PRAAS_TARGET_S3:
		memcpy(name, "--snapshots", sizeof "--snapshots"); /* shorter */
		return praas_store_url_below(praas_options.s3, "service", value,
					     room) == 0;
	case PRAAS_TARGET_PLAIN:
	case PRAAS_TARGET_PREWARMED:
	case PRAAS_TARGET_CROWDED:
	case PRAAS_TARGET_TLS:
	case PRAAS_TARGET_NODES:
	case PRAAS_TARGETS:
		break;
	}
	return false;
}

static char node[] = "--node", here[] = PRAAS_TARGET_NODE ",listen=127.0.0.1",
	    there[] = PRAAS_TARGET_NODE_FAR ",listen=127.0.0.2";
static char *nodes[] = { node, here, node, there };

static int spawn_control(struct praas_target *t, const char *token_file,
			 enum praas_target_kind kind)
{
	char data_tls[] = "off", more[] = "--data-listen", listen[1100];
	char exe[600], ctl[600], wrk[600], dir[160];
	char *argv[] = { exe,
			 (char[]){ "--data" },
			 dir,
			 (char[]){ "--listen" },
			 (char[]){ "127.0.0.1:0" },
			 (char[]){ "--token-file" },
			 NULL,
			 (char[]){ "--controller" },
			 ctl,
			 (char[]){ "--worker" },
			 wrk,
			 (char[]){ "--prewarm" },
			 (char[]){ "0" },
			 (char[]){ "--data-tls" },
			 data_tls,
			 NULL,
			 listen,
			 NULL,
			 NULL,
			 NULL };
	posix_spawn_file_actions_t fa;
	char tokens[200];
	int out[2], rc;
	pid_t pid;

	(void)snprintf(exe, sizeof exe, "%s/praas-control", praas_options.bin);
	(void)snprintf(ctl, sizeof ctl, "%s/praas-controller", praas_options.bin);
	(void)snprintf(wrk, sizeof wrk, "%s/praas-worker", praas_options.bin);
	(void)snprintf(dir, sizeof dir, "%s/data", t->dir);
	(void)snprintf(tokens, sizeof tokens, "%s", token_file);
	argv[6] = tokens;
	if (pipe2(out, O_CLOEXEC) != 0)
		return -errno;
	if (kind == PRAAS_TARGET_PREWARMED)
		argv[12][0] = '8';
	if (kind == PRAAS_TARGET_TLS)
		(void)strcpy(data_tls, "on");
	if (add_option(kind, more, listen, sizeof listen))
		argv[15] = more;
	if (kind == PRAAS_TARGET_NODES)
		memcpy(argv + 15, nodes, sizeof nodes);
	(void)posix_spawn_file_actions_init(&fa);
	(void)posix_spawn_file_actions_adddup2(&fa, out[1], STDOUT_FILENO);
	rc = -posix_spawn(&pid, exe, &fa, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&fa);
	(void)close(out[1]);
	if (rc == 0) {
		t->pid = pid;
		rc = read_ready(out[0], t->url, sizeof t->url);
	}
	(void)close(out[0]);
	return rc;
}

static int create_app(struct praas_target *t, const char *name, const char *isolation,
		      const char *durability, unsigned long long memory_bytes)
{
	char body[1024], *answer = NULL;
	int status = 0, rc;

	(void)snprintf(body, sizeof body,
		       "{\"name\":\"%s\",\"code\":\"%s\",\"isolation\":\"%s\","
		       "\"durability\":\"%s\",\"resources\":"
		       "{\"memory_bytes\":%llu,\"concurrency\":1}}",
		       name, praas_options.functions, isolation, durability,
		       memory_bytes);
	rc = praas_control_request(t->control, "POST", "/v1/apps", "application/json",
				   body, strlen(body), &status, &answer, NULL);
	if (rc == 0 && status / 100 != 2) {
		(void)fprintf(stderr, "praas-perf: application %s: %d %s\n", name,
			      status, answer ? answer : "");
		rc = -EPROTO;
	}
	free(answer);
	return rc;
}

static int prepare_dir(struct praas_target *t, char token_file[200])
{
	FILE *f;

	(void)snprintf(t->dir, sizeof t->dir, "%.90s/praas-perf-XXXXXX",
		       praas_options.work);
	if (!mkdtemp(t->dir))
		return -errno;
	(void)chmod(t->dir, 0755);
	(void)snprintf(token_file, 200, "%s/token", t->dir);
	(void)snprintf(t->token, sizeof t->token, "perf-%d-%llx", (int)getpid(),
		       (unsigned long long)praas_now_ns());
	f = fopen(token_file, "we");
	if (!f)
		return -errno;
	(void)fchmod(fileno(f), 0600);
	(void)fprintf(f, "%s\n", t->token);
	return fclose(f) ? -errno : 0;
}

int praas_target_start(enum praas_target_kind kind, struct praas_target **ret_target)
{
	/* A device is told of all of it, and so has it all. */
	bool device = kind == PRAAS_TARGET_VERBS ||
		      (kind == PRAAS_TARGET_OFI && praas_perf_verbs_host());
	unsigned long long memory_bytes = device ? 64ull << 20 : 4ull << 30;
	struct praas_target *t = &targets[kind];
	static bool stops;
	char token_file[200];
	int rc;

	if (t->control) {
		*ret_target = t;
		return 0;
	}
	if (t->pid < 0)
		return -ENOTCONN; /* failed before; said then */
	if (!stops)
		(void)atexit(stop_all);
	stops = true;
	rc = prepare_dir(t, token_file);
	if (rc == 0)
		rc = spawn_control(t, token_file, kind);
	if (rc == 0)
		rc = praas_control_open(t->url, t->token, &t->control);
	if (rc == 0)
		rc = create_app(t, "inline", "inline", "swap", memory_bytes);
	if (rc == 0)
		rc = create_app(t, "worker", "worker", "swap", memory_bytes);
	if (rc == 0 && kind == PRAAS_TARGET_PLAIN)
		rc = create_app(t, "gate", "inline", "gate", memory_bytes);
	if (rc != 0) {
		(void)fprintf(stderr, "praas-perf: the service does not start: %s\n",
			      strerror(-rc));
		stop(t);
		t->pid = -1;
		return rc;
	}
	*ret_target = t;
	return 0;
}

int praas_target_process(struct praas_target *t, const char *app, const char *name)
{
	int rc = praas_process_create(t->control, app, name, NULL);

	if (rc != 0)
		(void)fprintf(stderr, "praas-perf: process %s/%s: %s (%s)\n", app, name,
			      strerror(-rc), praas_error());
	return rc;
}

int praas_target_os_pid(struct praas_target *t, const char *app, const char *name)
{
	char path[200], *body = NULL;
	int status = 0, pid = -1;

	(void)snprintf(path, sizeof path, "/v1/apps/%s/processes/%s", app, name);
	if (praas_control_request(t->control, "GET", path, NULL, NULL, 0, &status,
				  &body, NULL) == 0 &&
	    status == 200) {
		json_t *o = json_loads(body, 0, NULL);

		if (json_is_integer(json_object_get(o, "os_pid")))
			pid = (int)json_integer_value(json_object_get(o, "os_pid"));
		json_decref(o);
	}
	free(body);
	return pid;
}

int praas_target_connect(struct praas_target *t, const char *app, const char *name,
			 const char *transport, bool direct,
			 praas_connection **ret_conn)
{
	struct praas_connect_config config = { .transport = transport,
					       .no_direct = !direct };
	int rc = praas_connect(t->control, app, name, &config, ret_conn);
	int pid;

	if (rc != 0) {
		(void)fprintf(stderr, "praas-perf: connect %s/%s by %s: %s (%s)\n", app,
			      name, transport, strerror(-rc), praas_error());
		return rc;
	}
	pid = praas_target_os_pid(t, app, name);
	if (pid > 0)
		praas_bench_pin_tree(pid, praas_options.cpu_server);
	return 0;
}
