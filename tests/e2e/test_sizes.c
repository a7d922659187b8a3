/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <sys/sysinfo.h>

#include "internal/base.h"
#include "tests/e2e/faults.h"

/* Payloads of every size, over every path, there and back, byte by byte; and beyond the limit. With
 * the argument huge: only 4 GiB + 1, where there is memory for it. With ofi or verbs and an address: only
 * there, where there is libfabric or, in a machine of its own (tests/rdma), a device. */

#define KIB ((size_t)1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

static const size_t sizes[] = { 0,       1,           63,
				64,      65,          4 * KIB - 1,
				4 * KIB, 4 * KIB + 1, 16 * KIB + 1,
				1 * MIB, 64 * MIB };

static bool small_machine; /* the last of them is too much for it */

/* A pattern in which no two places look the same. */
static void fill(uint8_t *data, size_t bytes, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < bytes; i += 8) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		memcpy(data + i, &x, bytes - i < 8 ? bytes - i : 8);
	}
}

static bool same(const uint8_t *data, size_t bytes, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < bytes; i += 8) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		if (memcmp(data + i, &x, bytes - i < 8 ? bytes - i : 8) != 0)
			return false;
	}
	return true;
}

static void there_and_back(praas_connection *conn, const char *function,
			   const uint8_t *data, size_t bytes, uint64_t seed)
{
	struct praas_call call = { .function = fault_function(conn, function),
				   .data = data,
				   .bytes = bytes };
	struct praas_result result = { 0 };
	int rc = praas_call(conn, &call, &result);

	if (rc != 0 || result.status != 0)
		fail_msg("%s of %zu bytes over %s: %d, status %d %s", function, bytes,
			 praas_transport(conn), rc, result.status,
			 rc == 0 ? (const char *)result.view.data : praas_error());
	assert_int_equal(result.view.bytes, bytes);
	if (!same(result.view.data, bytes, seed))
		fail_msg("%s of %zu bytes over %s: other bytes came back", function,
			 bytes, praas_transport(conn));
	praas_result_release(conn, &result);
}

static uint64_t copies_of(praas_connection *conn, bool by_device)
{
	struct praas_conn_stats stats;

	praas_stats(conn, &stats);
	return by_device ? stats.copies + stats.transport_copies : stats.copies;
}

/* From memory of the caller's, which costs one copy, from registered memory, which costs none; copied
 * by the function, and by reference. */
static void all_ways(praas_connection *conn, size_t bytes, uint64_t seed)
{
	bool device = strcmp(praas_transport(conn), "verbs") == 0;
	uint8_t *own = malloc(bytes + 8);
	void *registered = NULL;
	uint64_t copies = copies_of(conn, device);

	assert_non_null(own);
	fill(own, bytes, seed);
	there_and_back(conn, "echo", bytes ? own : NULL, bytes, seed);
	copies += bytes > 0;
	assert_int_equal(copies_of(conn, device), copies);
	assert_int_equal(praas_buffer_alloc(conn, bytes ? bytes : 1, &registered), 0);
	fill(registered, bytes, seed + 1);
	there_and_back(conn, "echo", registered, bytes, seed + 1);
	there_and_back(conn, "pass", registered, bytes, seed + 1);
	assert_int_equal(copies_of(conn, device), copies);
	praas_buffer_free(conn, registered);
	free(own);
}

static void through(struct fixture *f, const struct praas_connect_config *config,
		    bool direct)
{
	praas_connection *conn;
	struct praas_conn_stats before, after;

	f->o.memory_bytes = small_machine ? 128 * MIB : 1 * GIB;
	controller_start(&f->c, &f->o);
	conn = fault_connect_as(f, config);
	if (direct)
		assert_true(fault_warm(conn));
	praas_stats(conn, &before);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes) - small_machine; i++)
		all_ways(conn, sizes[i], i);
	praas_stats(conn, &after);
	if (config->wait == PRAAS_WAIT_BLOCK)
		assert_true(after.sleeps > before.sleeps);
	if (direct)
		assert_true(after.direct > before.direct);
	else
		assert_int_equal(after.direct, before.direct);
	praas_close(conn);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
}

static void test_sizes_over_tcp(void **state)
{
	struct praas_connect_config config = { .transport = "tcp" };

	through(*state, &config, false);
}

static void test_sizes_over_tls(void **state)
{
	struct praas_connect_config config = { .transport = "tls" };

	through(*state, &config, false);
}

static void test_sizes_over_shm_through_the_controller(void **state)
{
	struct praas_connect_config config = { .transport = "shm", .no_direct = true };

	through(*state, &config, false);
}

static void test_sizes_over_shm_direct(void **state)
{
	struct praas_connect_config config = { .transport = "shm" };

	if (!fault_workers())
		return; /* inline has no direct path */
	through(*state, &config, true);
}

/* Over the limit: its own error, said in words, before anything is sent; the connection lives. */
static void too_large_to_send(struct fixture *f, const char *transport)
{
	praas_connection *conn;
	uint8_t *data = calloc(1, 2 * MIB);
	void *buffer = NULL;

	f->o.memory_bytes = 64 * MIB;
	f->o.bytes_max = 1 * MIB;
	assert_non_null(data);
	controller_start(&f->c, &f->o);
	conn = fault_connect(f, transport);
	assert_int_equal(fault_call(conn, "total", data, 1 * MIB, 0, NULL, 0), 0);
	assert_int_equal(fault_call(conn, "total", data, 1 * MIB + 1, 0, NULL, 0),
			 -EMSGSIZE);
	assert_non_null(strstr(praas_error(), "1048576"));
	assert_int_equal(praas_buffer_alloc(conn, 1 * MIB + 1, &buffer), -EMSGSIZE);
	assert_non_null(strstr(praas_error(), "1048576"));
	assert_int_equal(praas_state_write(conn, "k", data, 1 * MIB + 1), -EMSGSIZE);
	assert_int_equal(praas_msg_send(conn, "k", data, 1 * MIB + 1), -EMSGSIZE);
	assert_int_equal(fault_count(conn), 1);
	praas_close(conn);
	free(data);
}

static void test_sizes_over_the_limit_are_refused_by_tcp(void **state)
{
	too_large_to_send(*state, "tcp");
}

static void test_sizes_over_the_limit_are_refused_by_shm(void **state)
{
	too_large_to_send(*state, "shm");
}

/* A result over the limit is refused to the function, which may hand the refusal on. */
static void test_sizes_of_results_are_limited(void **state)
{
	struct fixture *f = *state;
	static const char *const transports[] = { "tcp", "shm" };

	f->o.memory_bytes = 64 * MIB;
	f->o.bytes_max = 1 * MIB;
	controller_start(&f->c, &f->o);
	for (size_t i = 0; i < 2; i++) {
		praas_connection *conn = fault_connect(f, transports[i]);
		uint64_t bytes = 1 * MIB;
		char text[64];

		assert_int_equal(fault_call(conn, "large", &bytes, 8, 0, NULL, 0), 0);
		bytes++;
		assert_int_equal(
			fault_call(conn, "large", &bytes, 8, 0, text, sizeof(text)), 9);
		assert_string_equal(text, "Message too long");
		assert_int_equal(
			fault_call(conn, "too_large", &bytes, 8, 0, text, sizeof(text)),
			EMSGSIZE);
		(void)fault_count(conn);
		praas_close(conn);
	}
}

/* What a process keeps of what it received is the same when much more has been received. */
static void kept(struct fixture *f, const char *transport)
{
	static const size_t bytes[] = { 65,    3000,  4097,  9000, 17000,
					20000, 33000, 60000, 65000 };
	const size_t count = 90;
	uint8_t *data = malloc(65536);
	praas_connection *conn;
	char key[32];

	assert_non_null(data);
	controller_start(&f->c, &f->o);
	conn = fault_connect(f, transport);
	for (size_t i = 0; i < count; i++) {
		size_t n = bytes[i % (sizeof(bytes) / sizeof(*bytes))];

		(void)snprintf(key, sizeof(key), "kept%zu", i);
		fill(data, n, i);
		assert_int_equal(praas_state_write(conn, key, data, n), 0);
		fill(data, n, i + count);
		assert_int_equal(praas_msg_send(conn, key, data, n), 0);
	}
	for (size_t i = 0; i < count; i++) {
		size_t n = bytes[i % (sizeof(bytes) / sizeof(*bytes))], got = 0;
		void *back = NULL;

		(void)snprintf(key, sizeof(key), "kept%zu", i);
		assert_int_equal(praas_state_read(conn, key, &back, &got, NULL), 0);
		assert_int_equal(got, n);
		if (!same(back, n, i))
			fail_msg("state of %zu bytes over %s has changed", n,
				 transport);
		free(back);
		assert_int_equal(praas_msg_recv(conn, key, 0, &back, &got, NULL), 0);
		assert_int_equal(got, n);
		if (!same(back, n, i + count))
			fail_msg("a message of %zu bytes over %s has changed", n,
				 transport);
		free(back);
	}
	praas_close(conn);
	free(data);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
}

static void test_sizes_of_what_is_kept_over_tcp(void **state)
{
	kept(*state, "tcp");
}

static void test_sizes_of_what_is_kept_over_tls(void **state)
{
	kept(*state, "tls");
}

static void test_sizes_of_what_is_kept_over_shm(void **state)
{
	kept(*state, "shm");
}

/* Beyond 32 bits. The controller's memory and both payloads must fit. */
static void huge(struct fixture *f, const char *transport)
{
	const size_t bytes = 4 * GIB + 1;
	praas_connection *conn;
	struct sysinfo info;
	void *data = NULL;

	assert_int_equal(sysinfo(&info), 0);
	if ((uint64_t)info.freeram * info.mem_unit < 20 * GIB)
		skip_because("less than 20 GiB of memory are free");
	f->o.memory_bytes = 10 * GIB;
	f->o.bytes_max = 5 * GIB;
	controller_start(&f->c, &f->o);
	conn = fault_connect(f, transport);
	if (praas_buffer_alloc(conn, bytes, &data) != 0)
		fail_msg("%s over %s", praas_error(), transport);
	fill(data, bytes, 4);
	there_and_back(conn, "pass", data, bytes, 4);
	praas_buffer_free(conn, data);
	assert_int_equal(fault_count(conn), 1);
	praas_close(conn);
}

static void test_sizes_beyond_32_bits_over_shm(void **state)
{
	huge(*state, "shm");
}

static void test_sizes_beyond_32_bits_over_tcp(void **state)
{
	huge(*state, "tcp");
}

static void test_sizes_over_ofi(void **state)
{
	struct praas_connect_config config = { .transport = "ofi" };

	through(*state, &config, false);
}

static void test_sizes_over_the_limit_are_refused_by_ofi(void **state)
{
	too_large_to_send(*state, "ofi");
}

static void test_sizes_of_what_is_kept_over_ofi(void **state)
{
	kept(*state, "ofi");
}

/* The controller is killed under a client: that is told, and soon. */
static void test_killed_controller_over_ofi(void **state)
{
	struct fixture *f = *state;
	praas_connection *conn;
	uint64_t began_ns;
	int rc;

	controller_start(&f->c, &f->o);
	conn = fault_connect(f, "ofi");
	(void)fault_count(conn);
	assert_int_equal(kill(f->c.pid, SIGKILL), 0);
	began_ns = praas_now_ns();
	rc = fault_call(conn, "count", NULL, 0, UINT64_C(60000000000), NULL, 0);
	assert_int_equal(rc, PRAAS_UNKNOWN);
	(void)printf("told after %.1f s\n", (double)(praas_now_ns() - began_ns) / 1e9);
	assert_true(praas_now_ns() - began_ns < UINT64_C(30000000000));
	praas_close(conn);
}

static void test_sizes_over_verbs(void **state)
{
	struct praas_connect_config config = { .transport = "verbs" };

	through(*state, &config, false);
}

/* A client that sleeps at once is woken by the device, for small payloads and large ones. */
static void test_sizes_over_verbs_asleep(void **state)
{
	struct praas_connect_config config = { .transport = "verbs",
					       .wait = PRAAS_WAIT_BLOCK };

	through(*state, &config, false);
}

static void test_sizes_over_the_limit_are_refused_by_verbs(void **state)
{
	too_large_to_send(*state, "verbs");
}

static bool libfabric_is_here(void)
{
	glob_t found = { 0 };
	bool here = glob("/usr/lib/*/libfabric.so.1", 0, NULL, &found) == 0;

	globfree(&found);
	return here;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest ofi_tests[] = {
		FAULT_TEST(test_sizes_over_ofi),
		FAULT_TEST(test_sizes_over_the_limit_are_refused_by_ofi),
		FAULT_TEST(test_sizes_of_what_is_kept_over_ofi),
		FAULT_TEST(test_killed_controller_over_ofi),
	};
	const struct CMUnitTest verbs_tests[] = {
		FAULT_TEST(test_sizes_over_verbs),
		FAULT_TEST(test_sizes_over_verbs_asleep),
		FAULT_TEST(test_sizes_over_the_limit_are_refused_by_verbs),
	};
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_sizes_over_tcp),
		FAULT_TEST(test_sizes_over_tls),
		FAULT_TEST(test_sizes_over_shm_through_the_controller),
		FAULT_TEST(test_sizes_over_shm_direct),
		FAULT_TEST(test_sizes_over_the_limit_are_refused_by_tcp),
		FAULT_TEST(test_sizes_over_the_limit_are_refused_by_shm),
		FAULT_TEST(test_sizes_of_results_are_limited),
		FAULT_TEST(test_sizes_of_what_is_kept_over_tcp),
		FAULT_TEST(test_sizes_of_what_is_kept_over_tls),
		FAULT_TEST(test_sizes_of_what_is_kept_over_shm),
	};
	const struct CMUnitTest huge_tests[] = {
		FAULT_TEST(test_sizes_beyond_32_bits_over_shm),
		FAULT_TEST(test_sizes_beyond_32_bits_over_tcp),
	};

	if (fault_arguments(argc, argv) != 0)
		return 2;
	if (argc > 6 && strcmp(argv[5], "ofi") == 0) {
		if (!libfabric_is_here())
			return skip_all("libfabric is not installed");
		fault_base.listen = argv[6];
		return cmocka_run_group_tests_name(argv[6], ofi_tests, NULL, NULL);
	}
	if (argc > 6 && strcmp(argv[5], "verbs") == 0) {
		fault_base.listen = argv[6];
		small_machine = true;
		return cmocka_run_group_tests_name(argv[6], verbs_tests, NULL, NULL);
	}
	if (argc > 5 && strcmp(argv[5], "huge") == 0)
		return cmocka_run_group_tests_name(argv[5], huge_tests, NULL, NULL);
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
