/* SPDX-License-Identifier: Apache-2.0
 *
 * praas-worker CODE LIMITS UID TMP_BYTES DATA_BYTES user|no-user weak|strict
 *
 * Started by controller/spawn_child.c, with the control socket as descriptor 3; not for people.
 * Order: map what the controller gives, close the sandbox, load the libraries, close the rest.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/worker/sandbox.h"
#include "controller/worker/worker.h"

#define EXIT_FAILED 1 /* could not start; the text went by the socket */
#define EXIT_USAGE 2
#define EXIT_PROTOCOL 3
#define EXIT_ABORT (128 + SIGABRT)

#ifdef PRAAS_SANITIZED
/* Looking for leaks needs ptrace and threads, which the sandbox does not have. */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "detect_leaks=0:handle_abort=0:handle_segv=0:handle_sigbus=0:handle_"
	       "sigfpe=0";
}

const char *__tsan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void)
{
	return "handle_abort=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0";
}
#endif

static int parse(int argc, char **argv, struct praas_sandbox *ret_sandbox)
{
	if (argc != 8)
		return -EINVAL;
	*ret_sandbox = (struct praas_sandbox){
		.code = argv[1],
		.cgroups = argv[2],
		.uid = (uint32_t)strtoul(argv[3], NULL, 10),
		.tmp_bytes = strtoull(argv[4], NULL, 10),
		.data_bytes = strtoull(argv[5], NULL, 10),
		.user_namespace = strcmp(argv[6], "user") == 0,
		.allow_weak = strcmp(argv[7], "weak") == 0,
	};
	return ret_sandbox->uid != 0 && argv[1][0] == '/' ? 0 : -EINVAL;
}

/* The first process of a PID namespace ignores signals whose handler is the default, so abort()
 * would die of something else. Says what it was by the exit code. */
static void on_abort(int sig)
{
	(void)sig;
	_exit(EXIT_ABORT);
}

static void say_ready(struct worker *w, const struct praas_sandbox *sandbox)
{
	size_t bytes = strlen(sandbox->layers);
	struct praas_frame f = { .kind = PRAAS_WORKER_READY, .bytes = bytes };
	struct praas_worker_buffer b;

	if (praas_worker_end_alloc(&w->end, bytes, &b) != 0)
		worker_fatal(w, "no buffer for READY");
	memcpy(b.data, sandbox->layers, bytes);
	if (praas_worker_end_push(&w->end, &f, NULL, b.segment, b.offset) != 0)
		worker_fatal(w, "cannot say READY");
}

static int fail(const char *text)
{
	praas_worker_end_failed(text);
	return EXIT_FAILED;
}

static int start(struct worker *w, struct praas_sandbox *sandbox, char *text)
{
	int rc = praas_worker_end_open(&w->end, text);

	if (rc != 0)
		return rc;
	worker_clock_start(w);
	rc = praas_state_reader_init(&w->reader, &w->end.pool_segment,
				     w->end.start.state_index_offset,
				     &w->end.line->reader);
	if (rc != 0) {
		(void)snprintf(text, PRAAS_ERROR_TEXT_MAX, "the state index: %s",
			       strerror(-rc));
		return rc;
	}
	rc = praas_sandbox_enter(sandbox);
	if (rc == 0)
		rc = worker_load(w, text);
	if (rc == 0)
		rc = praas_sandbox_close(sandbox);
	if (rc == -EPERM && !text[0])
		(void)snprintf(text, PRAAS_ERROR_TEXT_MAX,
			       "sandbox: %.440s (--allow-weak-sandbox goes on without)",
			       sandbox->missing);
	return rc;
}

int main(int argc, char **argv)
{
	static struct worker worker; /* large, and gone with the process */
	struct praas_sandbox sandbox;
	char text[PRAAS_ERROR_TEXT_MAX] = "";
	int type = 0;
	socklen_t type_bytes = sizeof(type);

	if (parse(argc, argv, &sandbox) != 0 ||
	    getsockopt(PRAAS_WORKER_SOCKET_FD, SOL_SOCKET, SO_TYPE, &type,
		       &type_bytes) != 0 ||
	    type != SOCK_SEQPACKET) {
		(void)fprintf(stderr, "praas-worker is started by praas-controller\n");
		return EXIT_USAGE;
	}
	(void)praas_doorbell_setup(); /* never fails */
	(void)signal(SIGABRT, on_abort);
	(void)signal(SIGPIPE, SIG_IGN);
	if (start(&worker, &sandbox, text) != 0)
		return fail(text[0] ? text : "out of memory");
	worker.end.result = worker_on_result;
	say_ready(&worker, &sandbox);
	return worker_loop(&worker) == 0 ? 0 : EXIT_PROTOCOL;
}
