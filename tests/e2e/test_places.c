/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/e2e/faults.h"

/* A payload is where it was written: the address that a function sees, translated to the memory that
 * it means, is the place where the client wrote (shm) or the kernel received (tcp); and the client
 * reads the result where the function wrote it. */

#define CALLS 50u

struct seen {
	uint64_t input, output, first;
};

static void call_where(praas_connection *conn, const void *data, size_t bytes,
		       struct praas_result *ret_result, struct seen *ret_seen)
{
	struct praas_call call = { .function = fault_function(conn, "where"),
				   .data = data,
				   .bytes = bytes };

	assert_int_equal(praas_call(conn, &call, ret_result), 0);
	assert_int_equal(ret_result->status, 0);
	assert_int_equal(ret_result->view.bytes, sizeof(*ret_seen));
	memcpy(ret_seen, ret_result->view.data, sizeof(*ret_seen));
}

static bool same_place(const struct fixture *f, uint64_t theirs, const void *ours)
{
	uint64_t inode, offset, my_inode, my_offset;

	assert_true(fault_translate(getpid(), (uint64_t)(uintptr_t)ours, &my_inode,
				    &my_offset));
	assert_true(fault_translate_in(f, theirs, &inode, &offset));
	return inode == my_inode && offset == my_offset;
}

static void by_shm(struct fixture *f, bool direct)
{
	struct praas_connect_config config = { .transport = "shm",
					       .no_direct = !direct };
	struct praas_conn_stats before, after;
	unsigned outputs = 0;
	praas_connection *conn;
	uint64_t *buffer;
	void *data;

	f->o.concurrency = 1; /* addresses of two workers may look the same */
	f->o.wait = direct ? "spin" : NULL;
	controller_start(&f->c, &f->o);
	conn = fault_connect_as(f, &config);
	if (direct)
		assert_true(fault_warm(conn));
	assert_int_equal(praas_buffer_alloc(conn, 100000, &data), 0);
	buffer = data;
	praas_stats(conn, &before);
	for (uint64_t i = 0; i < CALLS; i++) {
		struct praas_result result;
		struct seen seen;

		buffer[0] = i * 0x0101010101010101u;
		call_where(conn, data, i % 2 ? 100000 : 64, &result, &seen);
		assert_int_equal(seen.first, buffer[0]);
		assert_true(same_place(f, seen.input, data));
		outputs += same_place(f, seen.output, result.view.data);
		praas_result_release(conn, &result);
	}
	/* Calls taken back from a worker that slept have gone through the controller, whose clients
	 * map no arena. */
	assert_true(direct ? outputs > 0 : outputs == CALLS);
	praas_stats(conn, &after);
	assert_int_equal(after.copies, before.copies);
	praas_buffer_free(conn, data);
	praas_close(conn);
}

static void test_places_shm_through_the_controller(void **state)
{
	if (fault_workers())
		return; /* there a result passes through an arena: one reference more */
	by_shm(*state, false);
}

static void test_places_shm_direct(void **state)
{
	if (!fault_workers())
		return; /* inline has no direct path */
	by_shm(*state, true);
}

/* Over the controller's path the input still lies where the client wrote it. */
static void test_places_shm_input_in_worker(void **state)
{
	struct fixture *f = *state;
	struct praas_connect_config config = { .transport = "shm", .no_direct = true };
	struct praas_result result;
	praas_connection *conn;
	struct seen seen;
	void *data;

	f->o.concurrency = 1;
	controller_start(&f->c, &f->o);
	conn = fault_connect_as(f, &config);
	assert_int_equal(praas_buffer_alloc(conn, 5000, &data), 0);
	memset(data, 1, 5000);
	call_where(conn, data, 5000, &result, &seen);
	assert_true(same_place(f, seen.input, data));
	praas_result_release(conn, &result);
	praas_close(conn);
}

/* By tcp: in the pool, which the controller alone can write, and into which the kernel received. */
static void test_places_tcp_in_the_pool(void **state)
{
	struct fixture *f = *state;
	struct fault_map maps[FAULT_MAPS];
	uint8_t *data = calloc(1, 1 << 20);
	uint64_t inode = 0, offset = 0;
	praas_connection *conn;
	unsigned count, found = 0;

	assert_non_null(data);
	f->o.concurrency = 1;
	controller_start(&f->c, &f->o);
	conn = fault_connect(f, "tcp");
	for (unsigned i = 0; i < CALLS; i++) {
		struct praas_result result;
		struct seen seen;

		data[0] = (uint8_t)i;
		call_where(conn, data, i % 2 ? 1 << 20 : 64, &result, &seen);
		assert_int_equal(seen.first, i);
		assert_int_equal(seen.input % 64, 0);
		assert_true(fault_translate_in(f, seen.input, &inode, &offset));
		praas_result_release(conn, &result);
	}
	count = fault_maps(f->c.pid, maps);
	for (unsigned i = 0; i < count; i++)
		found += maps[i].inode == inode && maps[i].shared && maps[i].writable &&
			 offset >= maps[i].offset &&
			 offset < maps[i].offset + (maps[i].to - maps[i].from);
	assert_int_equal(found, 1);
	praas_close(conn);
	free(data);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_places_shm_through_the_controller),
		FAULT_TEST(test_places_shm_direct),
		FAULT_TEST(test_places_shm_input_in_worker),
		FAULT_TEST(test_places_tcp_in_the_pool),
	};

	if (fault_arguments(argc, argv) != 0)
		return 2;
	if (geteuid() != 0)
		return skip_all("only root sees the mappings of a worker");
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
