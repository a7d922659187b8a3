/* SPDX-License-Identifier: Apache-2.0
 *
 * The executors of this build, one line each. With a name as argument: only that one.
 */
#include "conformance/executor/suite.h"

#ifdef PRAAS_TEST_WORKER
#include <sched.h>

#include "controller/spawn.h"
#include "dataplane/worker_executor.h"
#endif

static int make_inline(struct fixture *f, const struct praas_function *functions,
		       uint32_t count, struct praas_process_config *config)
{
	(void)f;
	return praas_executor_inline_new(functions, count, &config->executor);
}

#ifdef PRAAS_TEST_WORKER
static struct praas_spawner *spawner;
static struct praas_executor *workers;

static int make_worker(struct fixture *f, const struct praas_function *functions,
		       uint32_t count, struct praas_process_config *config)
{
	const struct praas_spawner_config spawn = { .program = PRAAS_TEST_WORKER,
						    .code = PRAAS_TEST_CODE,
						    .allow_weak = true };
	const struct praas_worker_executor_config ec = { .pid = FIXTURE_PID,
							 .epoch = FIXTURE_EPOCH,
							 .workers = 2,
							 .functions = functions,
							 .functions_count = count,
							 .pool_segment = &f->segment,
							 .memory = &f->memory,
							 .bytes_max = config->bytes_max,
							 .host = praas_spawner_host() };
	struct praas_worker_executor_config c = ec;
	int rc;

	praas_spawner_free(spawner); /* of the test before */
	spawner = NULL;
	rc = praas_spawner_new(&spawn, &spawner);
	if (rc != 0)
		return rc;
	c.host_user = spawner;
	rc = praas_worker_executor_new(&c, &workers);
	if (rc != 0)
		return rc;
	config->executor = workers;
	praas_spawner_event_fd_set(spawner, praas_worker_executor_event_fd(workers));
	return 0;
}

static void worker_turn(struct fixture *f)
{
	(void)f;
	praas_spawner_poll(spawner);
}

static void worker_started(struct fixture *f)
{
	uint64_t end = praas_now_ns() + 20000000000u;
	char text[PRAAS_ERROR_TEXT_MAX] = "";

	while (praas_worker_executor_ready(workers, text) == 0 &&
	       praas_now_ns() < end) {
		(void)praas_process_poll(f->p, 64);
		praas_spawner_poll(spawner);
		(void)sched_yield();
	}
	if (praas_worker_executor_ready(workers, text) != 1)
		fail_msg("the workers are not ready: %s", text);
}
#endif

static const struct executor_case cases[] = {
	{ .name = "inline", .make = make_inline, .waits = false, .depth = 31 },
#ifdef PRAAS_TEST_WORKER
	{ .name = "worker",
	  .make = make_worker,
	  .started = worker_started,
	  .turn = worker_turn,
	  .waits = true,
	  .depth = 3 },
#endif
};

int main(int argc, char **argv)
{
	int failed = 0;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (argc < 2 || strcmp(argv[1], cases[i].name) == 0)
			failed += executor_suite(&cases[i]);
#ifdef PRAAS_TEST_WORKER
	praas_spawner_free(spawner);
#endif
	return failed ? 1 : 0;
}
