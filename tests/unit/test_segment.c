/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/skip.h"

/* Segments: what they promise about sealing, who may write, and their surroundings. */

#define BYTES 65536u

static struct praas_segment make(unsigned flags)
{
	struct praas_segment s;

	assert_int_equal(praas_segment_create("test", BYTES, 7, flags, &s), 0);
	return s;
}

/* The signal that ends a child which touches address; 0 when it lives on. */
static int signal_of_touch(volatile uint8_t *address, bool write)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGSEGV,
			     SIG_DFL); /* sanitizers have handlers of their own */
		(void)signal(SIGBUS, SIG_DFL);
		(void)close(STDERR_FILENO);
		if (write)
			*address = 1;
		else
			(void)*address;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* A new segment is zero, writable, allocated in full and sealed. */
static void test_segment_create_is_sealed_and_zero(void **state)
{
	struct praas_segment s = make(PRAAS_SEGMENT_POPULATE);
	struct stat st;

	(void)state;
	for (unsigned i = 0; i < BYTES; i++)
		assert_int_equal(s.base[i], 0);
	s.base[BYTES - 1] = 1;
	assert_int_equal(s.id, 7);
	assert_true(s.writable);
	assert_int_equal(ftruncate(s.fd, BYTES / 2), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(s.fd, BYTES * 2), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(s.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_true(st.st_blocks * 512 >= BYTES);
	assert_int_equal(st.st_mode & 0777, 0400);
	assert_int_equal(fcntl(s.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	praas_segment_release(&s);
	assert_null(s.base);
	praas_segment_release(&s);
}

/* A segment that cannot be is refused before anything is made. */
static void test_segment_create_refuses_sizes(void **state)
{
	struct praas_segment s = { .fd = -2 };

	(void)state;
	assert_int_equal(praas_segment_create("t", 0, 1, 0, &s), -EINVAL);
	assert_int_equal(praas_segment_create("t", 4097, 1, 0, &s), -EINVAL);
	assert_int_equal(praas_segment_create("t", 1ull << 47, 1, 0, &s), -EINVAL);
	assert_int_equal(praas_segment_create("t", UINT64_MAX & ~4095ull, 1, 0, &s),
			 -EINVAL);
	assert_int_equal(s.fd, -2);
}

/* More than the machine has comes back as an error; nothing tries to allocate it. */
static void test_segment_create_without_memory_fails(void **state)
{
	struct praas_segment s;
	/* All there is, and one page: no machine has it available. */
	uint64_t bytes = ((uint64_t)sysconf(_SC_PHYS_PAGES) + 1) * 4096;

	(void)state;
	assert_int_equal(praas_segment_create("t", bytes, 1, 0, &s), -ENOMEM);
	assert_int_equal(praas_segment_create("t", 1ull << 45, 1, 0, &s), -ENOMEM);
}

/* Both maps show the same bytes; the reader's cannot be written, nor be made writable.
 */
static void test_segment_read_only_fd_cannot_be_written(void **state)
{
	struct praas_segment s = make(0), reader, writer;
	int fd;

	(void)state;
	assert_int_equal(praas_segment_read_only_fd(&s, &fd), 0);
	assert_int_equal(praas_segment_attach(fd, BYTES, 8, true, &writer), -EPROTO);
	assert_int_equal(praas_segment_attach(fd, BYTES, 8, false, &reader), 0);
	praas_segment_populate(&reader);
	s.base[100] = 42;
	assert_int_equal(reader.base[100], 42);
	assert_int_equal(mprotect(reader.base, BYTES, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(write(fd, "x", 1), -1);
	praas_segment_release(&reader);
	praas_segment_release(&s);
}

/* What only its creator writes cannot be mapped writable by anybody, with any
 * descriptor. */
static void test_segment_own_cannot_be_mapped_writable(void **state)
{
	struct praas_segment s = make(PRAAS_SEGMENT_OWN), other;
	int fd = dup(s.fd);

	(void)state;
	s.base[0] = 1; /* ours was there first */
	assert_int_equal(praas_segment_attach(fd, BYTES, 8, true, &other), -EPROTO);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(praas_segment_attach(fd, BYTES, 8, false, &other), 0);
	assert_int_equal(mprotect(other.base, BYTES, PROT_READ | PROT_WRITE), -1);
	praas_segment_release(&other);
	praas_segment_release(&s);
}

/* The writer that the controller made it for maps the descriptor itself writable. */
static void test_segment_attach_writable_shares(void **state)
{
	struct praas_segment s = make(0), writer;

	(void)state;
	assert_int_equal(praas_segment_attach(dup(s.fd), BYTES, 9, true, &writer), 0);
	writer.base[5] = 55;
	assert_int_equal(s.base[5], 55);
	praas_segment_close_fd(&writer);
	assert_int_equal(writer.fd, -1);
	writer.base[6] = 66; /* the mapping stays */
	assert_int_equal(s.base[6], 66);
	praas_segment_release(&writer);
	praas_segment_release(&s);
}

/* Attach takes a sealed memfd of exactly the size that was said, and nothing else. */
static void test_segment_attach_refuses_others(void **state)
{
	struct praas_segment s = make(0), other = { .fd = -2 };
	char path[] = "/tmp/praas-test-XXXXXX";
	int pipe_fd[2], fd;

	(void)state;
	assert_int_equal(praas_segment_attach(s.fd, BYTES + 4096, 1, false, &other),
			 -EPROTO);
	assert_int_equal(praas_segment_attach(s.fd, BYTES - 4096, 1, false, &other),
			 -EPROTO);
	assert_int_equal(praas_segment_attach(s.fd, BYTES - 1, 1, false, &other),
			 -EPROTO);
	assert_int_equal(praas_segment_attach(s.fd, 0, 1, false, &other), -EPROTO);
	assert_int_equal(praas_segment_attach(s.fd, BYTES, 0, false, &other), -EPROTO);
	assert_int_equal(praas_segment_attach(-1, BYTES, 1, false, &other), -EPROTO);
	praas_segment_release(&s);

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(praas_segment_attach(pipe_fd[0], BYTES, 1, false, &other),
			 -EPROTO);
	(void)close(pipe_fd[0]);
	(void)close(pipe_fd[1]);

	fd = mkstemp(path);
	assert_true(fd >= 0);
	(void)unlink(path);
	assert_int_equal(posix_fallocate(fd, 0, BYTES), 0);
	assert_int_equal(praas_segment_attach(fd, BYTES, 1, false, &other), -EPROTO);
	(void)close(fd);

	fd = memfd_create("unsealed", MFD_ALLOW_SEALING);
	assert_int_equal(posix_fallocate(fd, 0, BYTES), 0);
	assert_int_equal(praas_segment_attach(fd, BYTES, 1, false, &other), -EPROTO);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(praas_segment_attach(fd, BYTES, 1, false, &other), 0);
	praas_segment_release(&other);

	fd = memfd_create("with a hole", MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(praas_segment_attach(fd, BYTES, 1, true, &other), -EPROTO);
	(void)close(fd);
}

/* One byte before and one behind a segment fault, and a child does not inherit it. */
static void test_segment_has_guards_and_no_heirs(void **state)
{
	struct praas_segment s = make(0);
	unsigned char resident;

	(void)state;
	/* The guard pages are ours: mapped, so that nothing else can come to lie there.
	 */
	assert_int_equal(mincore(s.base - 4096, 4096, &resident), 0);
	assert_int_equal(mincore(s.base + BYTES, 4096, &resident), 0);
	assert_int_not_equal(signal_of_touch(s.base - 1, false), 0);
	assert_int_not_equal(signal_of_touch(s.base + BYTES, false), 0);
	assert_int_not_equal(signal_of_touch(s.base, false), 0); /* not inherited */
	praas_segment_release(&s);
}

/* True when the mapping that begins at base has a flag of /proc/self/smaps. */
static bool has_flag(const uint8_t *base, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512], begin[32];
	bool ours = false, found = false;

	assert_non_null(f);
	(void)snprintf(begin, sizeof(begin), "%lx-", (unsigned long)(uintptr_t)base);
	while (!found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, begin, strlen(begin)) == 0)
			ours = true;
		else if (ours && strncmp(line, "VmFlags:", 8) == 0)
			break;
	}
	found = ours && strstr(line, flag) != NULL;
	(void)fclose(f);
	return found;
}

/* No payload in a core dump, none in a child, none executable. */
static void test_segment_is_private_to_the_process(void **state)
{
	struct praas_segment s = make(0);

	(void)state;
	assert_true(has_flag(s.base, " dd")); /* MADV_DONTDUMP */
	assert_true(has_flag(s.base, " dc")); /* MADV_DONTFORK */
	assert_true(has_flag(s.base, " wr"));
	assert_false(has_flag(s.base, " ex"));
	praas_segment_release(&s);
}

/* Release gives the whole range back, guards included. */
static void test_segment_release_leaves_nothing(void **state)
{
	struct praas_segment s = make(0);
	uint8_t *base = s.base;
	unsigned char resident;
	int fd = s.fd;

	(void)state;
	praas_segment_release(&s);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	for (uint64_t at = 0; at < BYTES + 2 * 4096; at += 4096)
		assert_int_equal(mincore(base - 4096 + at, 4096, &resident), -1);
}

/* Asked for large pages it works with and without them, and is aligned for them. */
#define RESERVED "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

/* How many 2 MiB pages the machine has reserved; wanted not negative: sets it, as far as it can. */
static long huge_pages(long wanted)
{
	FILE *f = fopen(RESERVED, wanted < 0 ? "r" : "w");
	long pages = -1;

	if (!f)
		return -1;
	if (wanted >= 0 ? fprintf(f, "%ld", wanted) < 0 : fscanf(f, "%ld", &pages) != 1)
		pages = -1;
	(void)fclose(f); /* what was written is read again */
	return wanted >= 0 ? huge_pages(-1) : pages;
}

/* A payload's segment, and that of somebody who is shown it. */
static void payload(uint64_t bytes, bool huge)
{
	uint64_t size = praas_segment_payload_bytes(bytes, UINT64_MAX);
	struct praas_segment s, other;
	int fd;

	assert_true(size >= bytes && size - bytes < (huge ? 2u << 20 : 4096u));
	assert_int_equal(
		praas_segment_create("payload", size, 1, PRAAS_SEGMENT_HUGE, &s), 0);
	assert_int_equal(s.huge, huge);
	memset(s.base, 7, size);
	fd = dup(s.fd);
	assert_int_equal(praas_segment_attach(fd, size, 1, true, &other), 0);
	assert_int_equal(other.huge, huge);
	praas_segment_populate(&other);
	other.base[size - 1] = 8;
	praas_segment_release(&other);
	assert_int_equal(praas_segment_read_only_fd(&s, &fd), 0);
	assert_int_equal(praas_segment_attach(fd, size, 1, false, &other), 0);
	assert_int_equal(other.base[size - 1], 8);
	assert_int_equal(mprotect(other.base, size, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(ftruncate(s.fd, 2 << 20), -1);
	praas_segment_release(&other);
	praas_segment_release(&s);
}

/* Large payloads lie on 2 MiB pages while some are free, and only then. */
static void test_segment_payload_takes_huge_pages(void **state)
{
	uint64_t large = (16u << 20) + 5;
	long before = huge_pages(-1);

	(void)state;
	assert_int_equal(praas_segment_payload_bytes(large, 17u << 20),
			 (16u << 20) + 4096); /* no room for a page that is not full */
	if (before < 0 || huge_pages(before + 9) < before + 9) {
		(void)huge_pages(before);
		skip_because("no 2 MiB pages can be reserved here");
	}
	payload(large, true);
	payload((16u << 20) - 4096, false);
	assert_int_equal(huge_pages(before), before);
	if (before == 0)
		payload(large, false);
}

static void test_segment_huge_or_small_works(void **state)
{
	struct praas_segment s, reader;
	uint64_t bytes = PRAAS_SEGMENT_HUGE_BYTES;
	int fd;

	(void)state;
	assert_int_equal(
		praas_segment_create("huge", bytes, 1,
				     PRAAS_SEGMENT_HUGE | PRAAS_SEGMENT_POPULATE, &s),
		0);
	assert_int_equal((uintptr_t)s.base % PRAAS_SEGMENT_HUGE_BYTES, 0);
	assert_int_equal(praas_segment_read_only_fd(&s, &fd), 0);
	assert_int_equal(praas_segment_attach(fd, bytes, 2, false, &reader), 0);
	assert_int_equal(reader.huge, s.huge);
	s.base[bytes - 1] = 9;
	assert_int_equal(reader.base[bytes - 1], 9);
	print_message("2 MiB pages: %s\n",
		      s.huge ? "yes" : "none reserved, small ones");
	praas_segment_release(&reader);
	praas_segment_release(&s);
	/* Not a multiple: small pages without an error. */
	assert_int_equal(
		praas_segment_create("odd", bytes + 4096, 1, PRAAS_SEGMENT_HUGE, &s),
		0);
	assert_false(s.huge);
	praas_segment_release(&s);
}

/* Page faults of this thread while every page of s is read, or written; of our memory alone, not of a
 * sanitizer's. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static long
faults_of_use(const struct praas_segment *s, bool write)
{
	volatile uint8_t *page = s->base;
	struct rusage before, after;

	assert_int_equal(getrusage(RUSAGE_THREAD, &before), 0);
	for (uint64_t at = 0; at < s->bytes; at += 4096) {
		uint8_t byte = page[at];

		if (write)
			page[at] = byte;
	}
	assert_int_equal(getrusage(RUSAGE_THREAD, &after), 0);
	return after.ru_minflt - before.ru_minflt;
}

/* Populated, nobody pays for a page later: not its creator, not the one who attaches and writes, not
 * the one who reads; whether pages could be joined or not. It is zero and allocated in full as any. */
static void test_segment_populated_never_faults(void **state)
{
	static const uint64_t sizes[] = { 1u << 20, (4u << 20) + 24576, 6u << 20 };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		unsigned flags =
			PRAAS_SEGMENT_POPULATE | (i < 3 ? 0 : PRAAS_SEGMENT_JOIN);
		struct praas_segment s, writer, reader;
		struct stat st;
		int fd;

		assert_int_equal(
			praas_segment_create("test", sizes[i % 3], 1, flags, &s), 0);
		assert_true(faults_of_use(&s, true) < 4);
		for (uint64_t at = 0; at < sizes[i % 3]; at += 8)
			assert_int_equal(*(uint64_t *)(void *)(s.base + at), 0);
		assert_int_equal(fstat(s.fd, &st), 0);
		assert_true((uint64_t)st.st_blocks * 512 >= sizes[i % 3]);
		assert_int_equal(ftruncate(s.fd, 4096), -1);
		fd = dup(s.fd);
		assert_int_equal(
			praas_segment_attach(fd, sizes[i % 3], 1, true, &writer), 0);
		praas_segment_populate(&writer);
		assert_true(faults_of_use(&writer, true) < 4);
		assert_int_equal(praas_segment_read_only_fd(&s, &fd), 0);
		assert_int_equal(
			praas_segment_attach(fd, sizes[i % 3], 1, false, &reader), 0);
		praas_segment_populate(&reader);
		assert_true(faults_of_use(&reader, false) < 4);
		praas_segment_release(&reader);
		praas_segment_release(&writer);
		praas_segment_release(&s);
	}
}

/* The bounds check cannot be wrapped around. */
static void test_segment_holds_is_overflow_safe(void **state)
{
	struct praas_segment s = { .bytes = 8192 };

	(void)state;
	assert_true(praas_segment_holds(&s, 0, 8192));
	assert_true(praas_segment_holds(&s, 8192, 0));
	assert_true(praas_segment_holds(&s, 8191, 1));
	assert_false(praas_segment_holds(&s, 8192, 1));
	assert_false(praas_segment_holds(&s, 1, 8192));
	assert_false(praas_segment_holds(&s, UINT64_MAX, 2));
	assert_false(praas_segment_holds(&s, 2, UINT64_MAX));
	assert_false(praas_segment_holds(&s, UINT64_MAX, UINT64_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segment_create_is_sealed_and_zero),
		cmocka_unit_test(test_segment_create_refuses_sizes),
		cmocka_unit_test(test_segment_create_without_memory_fails),
		cmocka_unit_test(test_segment_read_only_fd_cannot_be_written),
		cmocka_unit_test(test_segment_own_cannot_be_mapped_writable),
		cmocka_unit_test(test_segment_attach_writable_shares),
		cmocka_unit_test(test_segment_attach_refuses_others),
		cmocka_unit_test(test_segment_has_guards_and_no_heirs),
		cmocka_unit_test(test_segment_is_private_to_the_process),
		cmocka_unit_test(test_segment_release_leaves_nothing),
		cmocka_unit_test(test_segment_huge_or_small_works),
		cmocka_unit_test(test_segment_payload_takes_huge_pages),
		cmocka_unit_test(test_segment_populated_never_faults),
		cmocka_unit_test(test_segment_holds_is_overflow_safe),
	};

	return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
