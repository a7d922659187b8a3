/* SPDX-License-Identifier: Apache-2.0
 *
 * The escape suite: a hostile library tries each forbidden thing in a real worker, as root's child
 * and as an ordinary user's. Argument "user": become one first.
 */
#include "lib/skip.h"
#include "unit/worker_fixture.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Held back with an error; the function goes on. */
static const char *const refused[] = { "open_passwd", "open_proc",     "write_image",
				       "fill_tmp",    "protect_input", "spare_fds",
				       "many_fds",    "who_am_i",      "clones3" };

#ifndef PRAAS_SANITIZED
/* Ends the worker. */
static const char *const fatal[] = {
	"exec_from_tmp", "map_exec", "protect_exec",  "new_socket",
	"unix_socket",   "forks",    "clones",        "executes",
	"kills_parent",  "traces",   "reads_others",  "gets_fd",
	"opens_pidfd",   "rings",    "bpfs",          "perfs",
	"keys",          "faults",   "mounts",        "unmounts",
	"unshares",      "enters",   "roots",         "makes_memfd",
	"personalities", "modules",  "loads_kernel",  "becomes_root",
	"filters",       "dumps",    "shm_v",         "queues",
	"clock_sets",    "handles",  "signals_group", "makes_nodes",
	"limits",        "listens"
};
#define FATAL (sizeof(fatal) / sizeof(fatal[0]))
#endif
#define REFUSED (sizeof(refused) / sizeof(refused[0]))

static bool as_user;

static void begin(struct worker_fixture *w, const char *const *names, uint32_t count)
{
	const struct wf_options o = { .library = PRAAS_TEST_FUNCTIONS,
				      .names = names,
				      .count = count,
				      .memory_bytes = PRAAS_TEST_MEMORY,
				      .allow_weak = true };
	char text[PRAAS_ERROR_TEXT_MAX] = "";

	if (!wf_init(w, &o, text))
		fail_msg("the worker is not ready: %s", text);
}

/* Every layer is there, and is said to be. Control groups are root's to make. */
static void test_sandbox_layers(void **state)
{
	static const char *const layers[] = {
		"pid",     "net",          "ipc",       "uts",    "mount", "cgroup",
		"root",    "rlimits",      "uid",       "user",   "fds",   "caps",
		"private", "no-new-privs", "landlock-", "seccomp"
	};
	struct worker_fixture w;

	(void)state;
	begin(&w, refused, REFUSED);
	print_message("layers: %s\n", praas_worker_executor_layers(w.ex));
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
		if (!strstr(praas_worker_executor_layers(w.ex), layers[i]))
			fail_msg("layer %s is missing", layers[i]);
	wf_release(&w);
}

static void test_sandbox_refuses(void **state)
{
	struct worker_fixture w;

	(void)state;
	begin(&w, refused, REFUSED);
	for (size_t i = 0; i < REFUSED; i++) {
		struct praas_buf *buf = wf_call(&w, refused[i], "input", 5);

		if (buf->head.status != 0)
			fail_msg("%s: %d: %s", refused[i], buf->head.status,
				 buf->head.bytes ? (const char *)buf->data : "");
		praas_buf_release(buf);
	}
	wf_release(&w);
}

#ifndef PRAAS_SANITIZED
/* Each has to be the end of its worker, by the filter, and of nothing else. */
static void test_sandbox_kills(void **state)
{
	struct worker_fixture w;

	(void)state;
	/* A few at a time: after five deaths a process is degraded. */
	for (size_t first = 0; first < FATAL; first += 4) {
		size_t count = FATAL - first < 4 ? FATAL - first : 4;

		begin(&w, fatal + first, (uint32_t)count);
		for (size_t i = 0; i < count; i++)
			wf_expect(&w, fatal[first + i], PRAAS_CRASHED, "SIGSYS");
		wf_release(&w);
	}
}

#endif

static void test_sandbox_input_is_read_only(void **state)
{
	static const char *const names[] = { "write_input" };
	struct worker_fixture w;
	struct praas_buf *buf;

	(void)state;
	begin(&w, names, 1);
	buf = wf_call(&w, "write_input", "input", 5);
	assert_int_equal(buf->head.status, PRAAS_CRASHED);
	assert_non_null(strstr((const char *)buf->data, "SIGSEGV"));
	praas_buf_release(buf);
	wf_release(&w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sandbox_layers),
		cmocka_unit_test(test_sandbox_refuses),
#ifndef PRAAS_SANITIZED
		cmocka_unit_test(test_sandbox_kills),
#endif
		cmocka_unit_test(test_sandbox_input_is_read_only),
	};

	as_user = argc > 1 && strcmp(argv[1], "user") == 0;
	if (as_user && geteuid() == 0 &&
	    (setgroups(0, NULL) != 0 || setresgid(65534, 65534, 65534) != 0 ||
	     setresuid(65534, 65534, 65534) != 0))
		return skip_all("cannot become an ordinary user");
	(void)umask(077); /* as a careful controller */
	/* Who changed its user is not dumpable, and then cannot write its own maps. */
	if (as_user)
		(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (!as_user && geteuid() != 0)
		return skip_all("needs root; unit.sandbox-user tests users");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
