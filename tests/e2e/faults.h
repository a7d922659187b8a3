/* SPDX-License-Identifier: Apache-2.0
 *
 * What the end-to-end fault tests share: a real controller with the functions of
 * tests/lib/faultfns, its clients, and a look into its OS processes from outside. Include after
 * cmocka.h. Arguments of each program: praas-controller, praas-worker, folder of the functions,
 * inline or worker.
 */
#ifndef PRAAS_TESTS_E2E_FAULTS_H
#define PRAAS_TESTS_E2E_FAULTS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include <praas/client.h>

#include "tests/lib/controller.h"
#include "tests/lib/skip.h"

static struct controller_options fault_base;

struct fixture {
	struct controller c;
	struct controller_options o;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAULT_SANITIZED 1
#else
#define FAULT_SANITIZED 0
#endif

static inline bool fault_workers(void)
{
	return strcmp(fault_base.isolation, "worker") == 0;
}

static inline int fault_arguments(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	fault_base = (struct controller_options){ .program = argv[1],
						  .worker = argv[2],
						  .code = argv[3],
						  .isolation = argv[4],
						  .memory_bytes = 256u << 20,
						  .concurrency = 2 };
	return 0;
}

static inline int fault_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->o = fault_base;
	controller_init(&f->c);
	*state = f;
	return 0;
}

/* Whatever happened: no sanitizer of the controller or a worker has said anything. */
static inline int fault_teardown(void **state)
{
	struct fixture *f = *state;
	bool reported =
		f->c.pid > 0 && (controller_logged(&f->c, "ERROR: AddressSanitizer") ||
				 controller_logged(&f->c, "runtime error:") ||
				 controller_logged(&f->c, "ThreadSanitizer"));

	controller_release(&f->c);
	free(f);
	return reported ? -1 : 0;
}

static inline praas_connection *fault_connect_as(
	const struct fixture *f, const struct praas_connect_config *config)
{
	char *ticket = controller_ticket(&f->c, config->transport);
	praas_connection *conn = NULL;
	int rc = praas_connect_ticket(ticket, config, &conn);

	if (rc != 0)
		fail_msg("connect: %d %s", rc, praas_error());
	free(ticket);
	return conn;
}

static inline praas_connection *fault_connect(const struct fixture *f,
					      const char *transport)
{
	struct praas_connect_config config = { .transport = transport };

	return fault_connect_as(f, &config);
}

static inline uint32_t fault_function(praas_connection *conn, const char *name)
{
	uint32_t function = 0;

	assert_int_equal(praas_function_lookup(conn, name, &function), 0);
	return function;
}

/* Calls, and returns the status; -errno when the call could not be made. The first bytes of the
 * result are copied. */
static inline int fault_call(praas_connection *conn, const char *name, const void *data,
			     size_t bytes, uint64_t timeout_ns, void *ret_data,
			     size_t room)
{
	struct praas_call call = { .function = fault_function(conn, name),
				   .data = data,
				   .bytes = bytes,
				   .timeout_ns = timeout_ns };
	struct praas_result result = { 0 };
	int rc = praas_call(conn, &call, &result);

	if (rc != 0)
		return rc;
	if (ret_data && room) {
		memset(ret_data, 0, room);
		if (result.view.bytes)
			memcpy(ret_data, result.view.data,
			       result.view.bytes < room ? result.view.bytes : room);
	}
	rc = result.status;
	praas_result_release(conn, &result);
	return rc;
}

/* One more; the new value. */
static inline uint64_t fault_count(praas_connection *conn)
{
	uint64_t n = 0;

	assert_int_equal(fault_call(conn, "count", NULL, 0, 0, &n, sizeof(n)), 0);
	return n;
}

/* Until the direct path is open (only then does it return true); so many of its calls may crash. */
static inline bool fault_warm_up(praas_connection *conn, unsigned crashes)
{
	struct praas_conn_stats stats = { 0 };
	uint64_t n = 1;

	for (unsigned i = 0; i < 50000 && stats.direct == 0; i++) {
		int status = fault_call(conn, "echo", &n, sizeof(n), 0, NULL, 0);

		if (status == PRAAS_CRASHED && crashes > 0)
			crashes--;
		else
			assert_int_equal(status, 0);
		praas_stats(conn, &stats);
		if (!fault_workers() && i == 100)
			break;
	}
	return stats.direct != 0;
}

static inline bool fault_warm(praas_connection *conn)
{
	return fault_warm_up(conn, 0);
}

/* ---- other OS processes, from outside ---- */

static inline pid_t fault_parent(pid_t pid)
{
	char path[64], text[512];
	const char *at;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strrchr(text, ')');
	return at && at[2] != 'Z' ? (pid_t)atoi(at + 4) : -1;
}

/* The living children of a process; at most room. */
static inline unsigned fault_children(pid_t parent, pid_t *ret_pids, unsigned room)
{
	DIR *proc = opendir("/proc");
	const struct dirent *e;
	unsigned count = 0;

	assert_non_null(proc);
	while ((e = readdir(proc)) != NULL && count < room) {
		pid_t pid = (pid_t)atoi(e->d_name);

		if (pid > 0 && fault_parent(pid) == parent)
			ret_pids[count++] = pid;
	}
	(void)closedir(proc);
	return count;
}

/* Mappings of a process: a sanitizer makes hundreds of small ones beside ours. */
#define FAULT_MAPS 4096

/* A mapping of a process. */
struct fault_map {
	uint64_t from, to, offset, inode;
	bool shared, writable, memfd;
};

static inline unsigned fault_maps(pid_t pid, struct fault_map ret_maps[FAULT_MAPS])
{
	char path[64], line[1024];
	unsigned count = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		struct fault_map m = { 0 };
		char mode[8] = "";

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %" SCNu64,
			   &m.from, &m.to, mode, &m.offset, &m.inode) != 5)
			continue;
		m.shared = mode[3] == 's';
		m.writable = mode[1] == 'w';
		m.memfd = strstr(line, "memfd:") != NULL;
		assert_true(count <
			    FAULT_MAPS); /* a list cut short would show nothing */
		ret_maps[count++] = m;
	}
	(void)fclose(f);
	return count;
}

/* Which memory an address of a process means: the inode and the offset in it; false: private. */
static inline bool fault_translate(pid_t pid, uint64_t address, uint64_t *ret_inode,
				   uint64_t *ret_offset)
{
	struct fault_map maps[FAULT_MAPS];
	unsigned count = fault_maps(pid, maps);

	for (unsigned i = 0; i < count; i++) {
		if (address < maps[i].from || address >= maps[i].to)
			continue;
		*ret_inode = maps[i].inode;
		*ret_offset = address - maps[i].from + maps[i].offset;
		return maps[i].shared && maps[i].memfd;
	}
	return false;
}

/* The process of the controller's in which that address is mapped memory shared by memfd. */
static inline bool fault_translate_in(const struct fixture *f, uint64_t address,
				      uint64_t *ret_inode, uint64_t *ret_offset)
{
	pid_t pids[64];
	unsigned count = 0;

	if (!fault_workers())
		return fault_translate(f->c.pid, address, ret_inode, ret_offset);
	count = fault_children(f->c.pid, pids, 64);
	for (unsigned i = 0; i < count; i++)
		if (fault_translate(pids[i], address, ret_inode, ret_offset))
			return true;
	return false;
}

#define FAULT_TEST(name)                                                               \
	cmocka_unit_test_setup_teardown(name, fault_setup, fault_teardown)

#endif
