/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "client/connection.h"
#include "praas/client.h"
#include "tests/lib/skip.h"
#include "tests/unit/client_server.h"

/* In the steady state a call over shared memory costs no system call and no allocation. The
 * calling thread runs under a seccomp filter that counts every system call by a signal; the
 * allocator is wrapped by the linker. */

#define CALLS 200u

static _Atomic uint64_t allocations;
static _Thread_local bool counting;
static volatile sig_atomic_t trapped, trapped_number;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);

static void note(void)
{
	if (counting)
		atomic_fetch_add(&allocations, 1);
}

void *__wrap_malloc(size_t bytes)
{
	note();
	return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	note();
	return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
	note();
	return __real_realloc(p, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
	note();
	return __real_aligned_alloc(align, bytes);
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
	ucontext_t *at = context;

	(void)signal;
	trapped++;
	trapped_number = info->si_syscall;
#ifdef __x86_64__
	at->uc_mcontext.gregs[REG_RAX] = -EINTR; /* else it "returns" its number */
#else
	(void)at;
#endif
}

/* From now on each system call of this thread is a SIGSYS, but for those of its end. */
static void forbid(void)
{
	static const uint32_t allowed[] = { __NR_exit,         __NR_munmap,
					    __NR_madvise,      __NR_futex,
					    __NR_rt_sigreturn, __NR_rt_sigprocmask };
	struct sock_filter code[2 + 2 * 6];
	struct sock_fprog program = { .filter = code };
	unsigned short n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < 6; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							 allowed[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
							 SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	program.len = n;
	praas_check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	praas_check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

struct job {
	praas_connection *conn;
	void *buffer;
	uint32_t function;
	uint32_t good;
};

static void calls(struct job *j, uint32_t count)
{
	struct praas_call call = { .function = j->function,
				   .data = j->buffer,
				   .bytes = 64 };

	for (uint32_t i = 0; i < count; i++) {
		struct praas_result result;

		if (praas_call(j->conn, &call, &result) == 0 && result.status == 0 &&
		    result.view.bytes == 64)
			j->good++;
		praas_result_release(j->conn, &result);
	}
}

static void submits(struct job *j, uint32_t count)
{
	struct praas_call call = { .function = j->function,
				   .data = j->buffer,
				   .bytes = 64 };

	for (uint32_t sent = 0, taken = 0; taken < count;) {
		struct praas_result results[8];
		int n;

		if (sent < count && sent - taken < 8 &&
		    praas_submit(j->conn, &call, NULL) == 0)
			sent++;
		n = praas_poll(j->conn, results, 8);
		for (int i = 0; i < n; i++) {
			j->good += results[i].status == 0;
			praas_result_release(j->conn, &results[i]);
		}
		taken += (uint32_t)(n > 0 ? n : 0);
	}
}

static void *steady_calls(void *user)
{
	struct job *j = user;

	calls(j, CALLS);
	j->good = 0;
	/* It never gives up looking, and learns nothing from a busy machine: waiting is not what is measured. */
	praas_waiter_init(&j->conn->waiter, PRAAS_WAIT_MODE_SPIN);
	j->conn->waiter.pauses = UINT32_MAX / 16;
	forbid();
	counting = true;
	calls(j, CALLS);
	counting = false;
	return NULL;
}

static void *steady_submits(void *user)
{
	struct job *j = user;

	submits(j, CALLS);
	j->good = 0;
	counting = true;
	submits(j, CALLS);
	counting = false;
	return NULL;
}

static void run(void *(*body)(void *), uint32_t *ret_good)
{
	static struct server server;
	struct praas_connect_config config = { .transport = "shm" };
	struct job job = { .function = FN_ECHO };
	pthread_t thread;

	server_start(&server, 1u << 20);
	assert_int_equal(praas_connect_ticket(server.ticket_json, &config, &job.conn),
			 0);
	assert_int_equal(praas_buffer_alloc(job.conn, 64, &job.buffer), 0);
	memset(job.buffer, 1, 64);
	atomic_store(&allocations, 0);
	trapped = 0;
	assert_int_equal(pthread_create(&thread, NULL, body, &job), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	*ret_good = job.good;
	praas_buffer_free(job.conn, job.buffer);
	praas_close(job.conn);
	server_stop(&server);
}

static void test_client_steady_calls_cost_no_syscall_and_no_allocation(void **state)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	uint32_t good;

	(void)state;
	assert_int_equal(sigaction(SIGSYS, &action, NULL), 0);
	run(steady_calls, &good);
	assert_int_equal(good, CALLS);
	assert_int_equal(atomic_load(&allocations), 0);
	if (trapped != 0)
		print_error("system call %d\n", (int)trapped_number);
	assert_int_equal(trapped, 0);
}

static void test_client_steady_pipeline_allocates_nothing(void **state)
{
	uint32_t good;

	(void)state;
	run(steady_submits, &good);
	assert_int_equal(good, CALLS);
	assert_int_equal(atomic_load(&allocations), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_steady_pipeline_allocates_nothing),
		cmocka_unit_test(
			test_client_steady_calls_cost_no_syscall_and_no_allocation),
	};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return skip_all("sanitizers make system calls and allocations of their own");
#endif
	return cmocka_run_group_tests_name("client_steady", tests, NULL, NULL);
}
