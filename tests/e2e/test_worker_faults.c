/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/e2e/faults.h"

/* Workers that die, hang, take too much or scribble over all they can write, while clients call: a
 * clear error for that call alone, none of its state, and everybody else is served. */

/* With one more within a minute calls fail at once while no worker is there. */
#define DEATHS 4u

/* Others who call meanwhile, each on a connection of its own: all their calls must succeed. */
#define OTHERS 2u
struct other {
	pthread_t thread;
	praas_connection *conn;
	_Atomic bool stop;
	uint64_t calls, wrong,
		lost; /* lost: the worker under it was killed by the fault */
	int status;   /* of the last one lost */
	const char *function;
};

static void *other_body(void *user)
{
	struct other *o = user;

	while (!atomic_load(&o->stop)) {
		uint64_t sent = o->calls * 7919, back = 0;
		int status = fault_call(o->conn, "echo", &sent, sizeof(sent), 0, &back,
					sizeof(back));

		o->calls++;
		if (status == PRAAS_CRASHED) {
			o->lost++;
			o->status = status;
		} else if (status != 0 || back != sent) {
			o->wrong++;
			o->status = status;
		}
		(void)sched_yield();
	}
	return NULL;
}

static void others_start(struct fixture *f, struct other *o)
{
	static const char *const transports[] = { "tcp", "shm" };

	for (unsigned i = 0; i < OTHERS; i++) {
		o[i] = (struct other){ .conn = fault_connect(f, transports[i % 2]) };
		assert_int_equal(pthread_create(&o[i].thread, NULL, other_body, &o[i]),
				 0);
	}
}

/* Those may have lost a call that were in the very worker that was ended under them. */
static void others_stop(struct other *o, uint64_t lost_max)
{
	for (unsigned i = 0; i < OTHERS; i++) {
		atomic_store(&o[i].stop, true);
		assert_int_equal(pthread_join(o[i].thread, NULL), 0);
		if (o[i].wrong != 0)
			fail_msg("client %u: %" PRIu64 " of %" PRIu64
				 " calls went wrong, status %d",
				 i, o[i].wrong, o[i].calls, o[i].status);
		assert_true(o[i].calls > 0);
		if (o[i].lost > lost_max)
			fail_msg("client %u lost %" PRIu64 " calls, at most %" PRIu64,
				 i, o[i].lost, lost_max);
		praas_close(o[i].conn);
	}
}

/* The faulty function, again and again, over each path, while others call; status and text of each,
 * and the state stays what it was. */
static void faulty(struct fixture *f, const char *function, uint64_t timeout_ns,
		   int status, const char *says)
{
	static const char *const transports[] = { "tcp", "shm" };
	struct other others[OTHERS];
	uint64_t n = 0;

	f->o.concurrency = 3;
	controller_start(&f->c, &f->o);
	others_start(f, others);
	for (unsigned i = 0; i < DEATHS; i++) {
		praas_connection *conn = fault_connect(f, transports[i % 2]);
		char text[PRAAS_ERROR_TEXT_MAX] = "";
		int got;

		n = fault_count(conn);
		assert_int_equal(n, i + 1);
		got = fault_call(conn, function, NULL, 0, timeout_ns, text,
				 sizeof(text) - 1);
		/* By the direct path the client learns that it died, not how. */
		if (got != status || (says && !strstr(text, says) &&
				      !strstr(text, "the worker died in the function")))
			fail_msg("%s over %s: status %d \"%s\"", function,
				 praas_transport(conn), got, text);
		praas_close(conn);
	}
	others_stop(others, DEATHS);
	assert_int_equal(kill(f->c.pid, 0), 0);
	/* What it counted before is there after the swap, and nothing else. */
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	f->o.epoch = 2;
	controller_start(&f->c, &f->o);
	praas_connection *conn = fault_connect(f, "tcp");

	assert_int_equal(fault_count(conn), n + 1);
	praas_close(conn);
}

static void test_worker_faults_crash(void **state)
{
	/* Sanitizers catch the signal, and leave. */
	faulty(*state, "crash", 0, PRAAS_CRASHED, FAULT_SANITIZED ? NULL : "SIGSEGV");
}

static void test_worker_faults_exit(void **state)
{
	faulty(*state, "exits", 0, PRAAS_CRASHED, "7");
}

static void test_worker_faults_hang_ends_at_the_deadline(void **state)
{
	faulty(*state, "hang", 50000000, PRAAS_DEADLINE, NULL);
}

/* Killed from outside, as the kernel would. The others may lose what that worker ran for them. */
static void test_worker_faults_killed_while_clients_call(void **state)
{
	struct fixture *f = *state;
	struct other others[OTHERS];
	praas_connection *conn;
	uint64_t kills = 0, n;

	f->o.concurrency = 2;
	controller_start(&f->c, &f->o);
	others_start(f, others);
	conn = fault_connect(f, "tcp");
	n = fault_count(conn);
	for (unsigned i = 0; i < DEATHS; i++) {
		pid_t pids[8];
		unsigned count = fault_children(f->c.pid, pids, 8);

		if (count > 0) {
			(void)kill(pids[i % count], SIGKILL);
			kills++;
		}
		/* This one is served, whatever died: by the other worker, or by the next life. */
		for (unsigned k = 0; k < 3; k++) {
			int status = fault_call(conn, "count", NULL, 0, 0, NULL, 0);

			if (status == 0)
				n++;
			else
				assert_int_equal(status, PRAAS_CRASHED);
		}
	}
	assert_true(kills > 0);
	others_stop(others, kills);
	assert_int_equal(fault_count(conn), n + 1);
	praas_close(conn);
}

static void test_worker_faults_out_of_memory(void **state)
{
	struct fixture *f = *state;
	praas_connection *conn;
	char text[PRAAS_ERROR_TEXT_MAX] = "";
	struct other others[OTHERS];

	if (FAULT_SANITIZED)
		skip_because("a build with sanitizers sets no memory limit "
			     "(docs/sandbox.md)");
	f->o.memory_bytes = 64u << 20;
	controller_start(&f->c, &f->o);
	others_start(f, others);
	conn = fault_connect(f, "tcp");
	assert_int_equal(fault_count(conn), 1);
	for (unsigned i = 0; i < 2; i++) {
		int status =
			fault_call(conn, "oom", NULL, 0, 0, text, sizeof(text) - 1);

		/* With a control group the kernel ends it; without one mmap() says no. */
		if (status != 12 && (status != PRAAS_NO_MEMORY ||
				     !strstr(text, "ran out of its memory limit")))
			fail_msg("status %d \"%s\"", status, text);
	}
	others_stop(others, 2);
	praas_close(conn);
	assert_int_equal(kill(f->c.pid, 0), 0);
}

/* ---- scribbling ---- */

struct plan {
	uint64_t ns, mode, count, range[64][2];
};

/* All shared memory that worker can write. Its own heap and stack are its own business. */
static void plan_for(pid_t pid, struct plan *ret_plan)
{
	struct fault_map maps[FAULT_MAPS];
	unsigned count = fault_maps(pid, maps);

	ret_plan->count = 0;
	for (unsigned i = 0; i < count && ret_plan->count < 64; i++) {
		if (!maps[i].shared || !maps[i].writable || !maps[i].memfd)
			continue;
		ret_plan->range[ret_plan->count][0] = maps[i].from;
		ret_plan->range[ret_plan->count][1] = maps[i].to - maps[i].from;
		ret_plan->count++;
	}
}

static pid_t only_worker(const struct fixture *f)
{
	pid_t pids[8];

	for (unsigned i = 0; i < 2000; i++) {
		if (fault_children(f->c.pid, pids, 8) == 1)
			return pids[0];
		(void)usleep(5000);
	}
	fail_msg("not one worker");
	return -1;
}

/* Which memory is spoiled first decides what is noticed first, and where they lie is chance. */
static void plan_turn(struct plan *plan, bool reverse, uint64_t by)
{
	struct plan was = *plan;

	for (uint64_t i = 0; i < was.count; i++) {
		uint64_t from = (i + by) % was.count;

		if (reverse)
			from = was.count - 1 - from;
		memcpy(plan->range[i], was.range[from], sizeof(was.range[0]));
	}
}

/* Another client is served, by the next life of that worker. What it asks for before it is known that
 * this one writes nonsense goes to it, and ends with it. */
static void served_by_next_life(praas_connection *conn)
{
	int status = PRAAS_CRASHED;

	for (unsigned i = 0; status == PRAAS_CRASHED && i < 2; i++)
		status = fault_call(conn, "echo", "x", 1, 0, NULL, 0);
	assert_int_equal(status, 0);
}

/* The client of a worker that writes what it likes may be told anything by it but what crashes the
 * client or the controller; a call that ends does so with a status. */
static int scribbled(struct fixture *f, const char *transport, uint64_t mode,
		     uint64_t turn)
{
	struct plan plan = { .ns = 20000000, .mode = mode };
	struct praas_connect_config config = { .transport = transport };
	praas_connection *conn, *after;
	int status;

	f->o.concurrency = 1;
	if (f->c.pid < 0)
		controller_start(&f->c, &f->o);
	after = fault_connect(f, "tcp");
	conn = fault_connect_as(f, &config);
	/* One that lived on with what it spoiled before, and answered since, is found out now. */
	if (strcmp(transport, "shm") == 0)
		(void)fault_warm_up(conn, 1);
	plan_for(only_worker(f), &plan);
	assert_true(plan.count >= 2);
	plan_turn(&plan, turn & 1, turn / 2);
	/* A worker that ends up answering nothing is given up at the deadline. */
	status = fault_call(conn, "scribble", &plan, sizeof(plan), 1000000000, NULL, 0);
	if (status > 0 ||
	    (status < 0 && status != PRAAS_CRASHED && status != PRAAS_DEADLINE &&
	     status != PRAAS_UNKNOWN && status != -ENOTCONN))
		fail_msg("status %d over %s, mode %d", status, transport, (int)mode);
	assert_int_equal(kill(f->c.pid, 0), 0);
	praas_close(conn);
	served_by_next_life(after);
	praas_close(after);
	return status;
}

static void scribble_all(struct fixture *f, const char *transport, uint64_t turn)
{
	uint64_t before, n = 0;
	praas_connection *conn;
	bool kept = false;
	void *data = NULL;
	size_t bytes = 0;

	f->o.epoch++;
	f->o.concurrency = 1;
	controller_start(&f->c, &f->o);
	conn = fault_connect(f, "tcp");
	before = fault_count(conn);
	assert_int_equal(praas_state_write(conn, "kept", "as it was", 9), 0);
	praas_close(conn);
	for (uint64_t mode = 0; mode < DEATHS; mode++)
		kept |= scribbled(f, transport, mode, turn) != PRAAS_CRASHED;
	conn = fault_connect(f, "tcp");
	assert_int_equal(fault_call(conn, "total", NULL, 0, 0, &n, sizeof(n)), 0);
	/* When nobody was told that it came to nothing, what it wrote may count: bytes of its choice. */
	if (!kept && n != before)
		fail_msg("turn %d: all of its calls crashed, and \"n\" is %" PRIx64,
			 (int)turn, n);
	assert_int_equal(praas_state_read(conn, "kept", &data, &bytes, NULL), 0);
	assert_int_equal(bytes, 9);
	assert_memory_equal(data, "as it was", 9);
	free(data);
	praas_close(conn);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
}

/* Each memory first, and each last: there are six. */
#define TURNS 12u

static void test_worker_faults_scribbling_reached_by_tcp(void **state)
{
	for (uint64_t turn = 0; turn < TURNS; turn += 3)
		scribble_all(*state, "tcp", turn);
}

static void test_worker_faults_scribbling_reached_by_shm(void **state)
{
	for (uint64_t turn = 0; turn < TURNS; turn++)
		scribble_all(*state, "shm", turn);
}

/* ---- what is told of a call whose writes are kept ---- */

static int total(praas_connection *conn)
{
	uint64_t n = 0;

	assert_int_equal(fault_call(conn, "total", NULL, 0, 0, &n, sizeof(n)), 0);
	return (int)n;
}

/* They are in the index when the worker ends before its result: not "crashed", which is a promise. */
static void test_worker_faults_committed_and_no_result(void **state)
{
	struct fixture *f = *state;
	praas_connection *tcp;
	char text[PRAAS_ERROR_TEXT_MAX] = "";

	f->o.concurrency = 1;
	controller_start(&f->c, &f->o);
	tcp = fault_connect(f, "tcp");
	assert_int_equal(
		fault_call(tcp, "mislabels", NULL, 0, 0, text, sizeof(text) - 1),
		PRAAS_UNKNOWN);
	assert_string_equal(text, "the worker broke the protocol and was ended");
	assert_int_equal(total(tcp), 77);
	/* What it committed itself, and before it crashed, is no secret. */
	assert_int_equal(fault_call(tcp, "commits", NULL, 0, 0, NULL, 0),
			 PRAAS_CRASHED);
	assert_int_equal(total(tcp), 78);
	praas_close(tcp);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
}

/* By the direct path that cannot be told from a commit at its end. A call that the worker does not take in
 * time goes through the controller, which knows: again, then. */
static void test_worker_faults_committed_by_the_direct_path(void **state)
{
	struct fixture *f = *state;
	int status = PRAAS_CRASHED;

	f->o.concurrency = 1;
	for (unsigned i = 0; status == PRAAS_CRASHED && i < 20; i++) {
		praas_connection *conn;

		f->o.epoch++;
		controller_start(&f->c, &f->o);
		conn = fault_connect(f, "shm");
		(void)fault_warm(conn);
		status = fault_call(conn, "commits", NULL, 0, 0, NULL, 0);
		praas_close(conn);
		conn = fault_connect(f, "shm");
		(void)fault_warm(conn);
		assert_int_equal(total(conn), 78);
		/* A later one is not what was committed. */
		(void)fault_count(conn);
		assert_int_equal(fault_call(conn, "crash", NULL, 0, 0, NULL, 0),
				 PRAAS_CRASHED);
		praas_close(conn);
		assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	}
	assert_int_equal(status, PRAAS_UNKNOWN);
}

/* The same while others call the other worker and this one. Those in the scribbling worker may get
 * what it forges; so they only count that each call ends, and afterwards all is well again. */
struct caller {
	pthread_t thread;
	praas_connection *conn;
	_Atomic bool stop;
	uint64_t calls;
	struct fixture *f;
	const char *transport;
};

static void *caller_body(void *user)
{
	struct caller *c = user;
	struct praas_connect_config config = { .transport = c->transport };

	c->conn = fault_connect_as(c->f, &config);
	while (!atomic_load(&c->stop)) {
		uint64_t n = c->calls++;
		int status =
			fault_call(c->conn, "echo", &n, sizeof(n), 1000000000, NULL, 0);

		if (status == -ENOTCONN) { /* the forged answer broke the protocol */
			praas_close(c->conn);
			c->conn = fault_connect_as(c->f, &config);
		}
		(void)sched_yield();
	}
	praas_close(c->conn);
	return NULL;
}

static void test_worker_faults_scribbling_while_clients_call(void **state)
{
	struct fixture *f = *state;
	struct caller callers[3] = { 0 };
	praas_connection *conn;

	f->o.concurrency = 2;
	controller_start(&f->c, &f->o);
	for (unsigned i = 0; i < 3; i++) {
		callers[i].f = f;
		callers[i].transport = i == 0 ? "tcp" : "shm";
		assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_body,
						&callers[i]),
				 0);
	}
	for (unsigned i = 0; i < DEATHS; i++) {
		struct plan plan = { .ns = 20000000, .mode = i % 4 };
		pid_t pids[8];
		unsigned count = fault_children(f->c.pid, pids, 8);

		conn = fault_connect(f, i % 2 ? "shm" : "tcp");
		if (count > 0) {
			/* The ranges of one worker; what runs in the other dies of them. */
			plan_for(pids[i % count], &plan);
			(void)fault_call(conn, "scribble", &plan, sizeof(plan),
					 1000000000, NULL, 0);
		}
		praas_close(conn);
		assert_int_equal(kill(f->c.pid, 0), 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		atomic_store(&callers[i].stop, true);
		assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
		assert_true(callers[i].calls > 1);
	}
	conn = fault_connect(f, "tcp");
	for (uint64_t i = 0; i < 20; i++) {
		uint64_t back = 0;

		assert_int_equal(
			fault_call(conn, "echo", &i, sizeof(i), 0, &back, sizeof(back)),
			0);
		assert_int_equal(back, i);
	}
	praas_close(conn);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_worker_faults_crash),
		FAULT_TEST(test_worker_faults_exit),
		FAULT_TEST(test_worker_faults_hang_ends_at_the_deadline),
		FAULT_TEST(test_worker_faults_killed_while_clients_call),
		FAULT_TEST(test_worker_faults_out_of_memory),
		FAULT_TEST(test_worker_faults_scribbling_reached_by_tcp),
		FAULT_TEST(test_worker_faults_scribbling_reached_by_shm),
		FAULT_TEST(test_worker_faults_committed_and_no_result),
		FAULT_TEST(test_worker_faults_committed_by_the_direct_path),
		FAULT_TEST(test_worker_faults_scribbling_while_clients_call),
	};

	if (fault_arguments(argc, argv) != 0)
		return 2;
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
