/* SPDX-License-Identifier: Apache-2.0
 * Shared memory between users: who may connect to a socket, and what the others are told. The
 * clients are programs of their own, of other users. */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal/base.h"
#include "tests/lib/skip.h"
#include "transport/shm.h"

#define FRIEND 65533u   /* the user that the port is told of */
#define STRANGER 65532u /* nobody knows him */
#define TRIES 70u       /* more than may be without a handshake at a time */
#define NOT_HIM 255     /* the child's exit code */
#define WAIT_NS UINT64_C(30000000000)

static const struct scheme scheme = { .name = "shm", .listen = "shm://%/s.sock" };
static struct rig rig;

static unsigned open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	(void)closedir(dir);
	return count;
}

/* In the child, which shares nothing of the rig's ports. 0 when it was served; else an errno. */
static int connect_once(struct praas_port *port)
{
	static struct side side;
	struct praas_session_client_config c = { .events = &rig_side_events,
						 .user = &side };
	struct praas_ticket t = rig_ticket();
	struct praas_conn *conn;
	uint64_t end_ns = praas_now_ns() + WAIT_NS;
	bool asked = false;

	memset(&side, 0, sizeof(side));
	side.rig = &rig;
	if (praas_ticket_issue(rig.controller_key, &t, c.ticket, c.session_key) != 0 ||
	    praas_session_connect(port, rig.addr, &c, &conn) != 0)
		return EIO;
	while (side.closed == 0 && side.frames == 0 && praas_now_ns() < end_ns) {
		rig_poll_or_sleep(&rig, port);
		if (side.opened && !asked)
			asked = rig_invoke(side.conn, 1, 100000) == 0;
	}
	if (side.closed)
		return -side.closed_rc;
	if (side.frames == 0)
		return ETIME;
	side.conn->ops->close(side.conn, true);
	return 0;
}

static int be_client(uid_t uid, unsigned tries)
{
	struct praas_port_config p = { .conns_max = 8 };
	struct praas_heap *heap;
	struct praas_port *port;
	int first = 0, rc;

	if (setgroups(0, NULL) != 0 || setgid(uid) != 0 || setuid(uid) != 0)
		return NOT_HIM;
	if (praas_heap_new(NULL, &heap) != 0)
		return ENOMEM;
	p.memory = praas_heap_memory(heap);
	if (rig.ops->open(&p, &port) != 0)
		return EIO;
	for (unsigned i = 0; i < tries; i++) {
		rc = connect_once(port);
		if (i == 0)
			first = rc;
		if (rc != first) {
			(void)fprintf(stderr, "try %u: %s, not %s\n", i, strerror(rc),
				      strerror(first));
			return EILSEQ;
		}
	}
	rig.ops->free(port);
	return first;
}

/* What a program of that user gets, so many times in a row, while we serve. */
static int outcome(uid_t uid, unsigned tries)
{
	uint64_t end_ns = praas_now_ns() + 2 * WAIT_NS;
	pid_t child, ended = 0;
	int status = 0;

	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(be_client(uid, tries));
	while (ended == 0 && praas_now_ns() < end_ns) {
		rig_poll_or_sleep(&rig, rig.server_port);
		ended = waitpid(child, &status, WNOHANG);
	}
	assert_int_equal(ended, child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NOT_HIM) {
		rig_stop(&rig);
		skip_because("another user cannot be had here");
	}
	return WEXITSTATUS(status);
}

static void start(const struct praas_shm_config *config)
{
	if (geteuid() != 0)
		skip_because("other users are made by root");
	rig_start(&rig, &scheme, NULL);
	rig.server.echo = true;
	assert_int_equal(chmod(rig.folder, 0755), 0); /* the socket alone decides */
	if (config)
		assert_int_equal(praas_shm_configure(rig.server_port, config), 0);
}

/* The socket's mode keeps them out: nobody is asked. */
static void test_shm_another_user(void **state)
{
	(void)state;
	start(NULL);
	assert_int_equal(outcome(STRANGER, TRIES), EPERM);
	assert_int_equal(rig.server.opened + rig.server.closed, 0);
	assert_int_equal(outcome(0, 1), 0);
	rig_stop(&rig);
}

/* A port that serves another user, too: by the socket everyone comes in, and who is neither is told
 * so. Nothing of him stays, and he takes no place that others need. */
static void test_shm_neither_user(void **state)
{
	const struct praas_shm_config config = { .uid = FRIEND };
	unsigned files;

	(void)state;
	start(&config);
	files = open_files();
	assert_int_equal(outcome(STRANGER, TRIES), EPERM);
	assert_int_equal(rig.server.opened + rig.server.closed, 0);
	assert_int_equal(open_files(), files);
	assert_int_equal(outcome(FRIEND, 3), 0);
	assert_int_equal(rig.server.opened, 3);
	assert_int_equal(outcome(0, 1), 0);
	rig_until(&rig, &rig.server.closed, 4);
	assert_int_equal(rig.server.closed_rc, 0);
	rig_stop(&rig);
}

/* Too many at a time are told so, as over any transport. */
static void test_shm_too_many(void **state)
{
	struct rig_config config = { .conns_max = 1 };

	(void)state;
	rig_start(&rig, &scheme, &config);
	rig_connect(&rig, &rig.client);
	rig_connect_begin(&rig, &rig.client, NULL);
	rig_until(&rig, &rig.client.closed, 1);
	assert_int_equal(rig.client.closed_rc, -EBUSY);
	assert_int_equal(rig.server.opened, 1);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shm_another_user),
		cmocka_unit_test(test_shm_neither_user),
		cmocka_unit_test(test_shm_too_many),
	};

	return cmocka_run_group_tests_name("shm", tests, NULL, NULL);
}
