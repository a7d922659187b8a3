/* SPDX-License-Identifier: Apache-2.0
 *
 * The system calls that a worker may make: an allow-list, everything else ends the process.
 * Two filters are stacked. The first is for loading libraries (their constructors are the
 * tenant's code already), the second takes away what only loading needs: new executable
 * memory, and adding filters.
 */
#include "controller/worker/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "dataplane/worker_proto.h"

/* Allowed whatever their arguments are. */
static const char *const plain[] = {
	/* time, waiting, threads */
	"clock_gettime",
	"clock_getres",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"time",
	"sched_yield",
	"sched_getaffinity",
	"sched_get_priority_max",
	"sched_get_priority_min",
	"sched_getparam",
	"sched_getscheduler",
	"getcpu",
	"futex",
	"membarrier",
	"poll",
	"ppoll",
	"restart_syscall",
	"set_robust_list",
	"set_tid_address",
	"rseq",
	"exit",
	"exit_group",
	"getpid",
	"gettid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"uname",
	"sysinfo",
	"getrusage",
	"times",
	"getrandom",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sigaltstack",
	"arch_prctl",
	/* memory */
	"brk",
	"munmap",
	"mremap",
	"madvise",
	"msync",
	/* files: in the private /tmp, and descriptors that we were given */
	"read",
	"write",
	"readv",
	"writev",
	"preadv2",
	"pread64",
	"pwrite64",
	"lseek",
	"close",
	"fstat",
	"newfstatat",
	"stat",
	"lstat",
	"statx",
	"fstatfs",
	"statfs",
	"open",
	"openat",
	"access",
	"faccessat",
	"faccessat2",
	"getcwd",
	"readlink",
	"readlinkat",
	"getdents64",
	"ftruncate",
	"truncate",
	"unlink",
	"unlinkat",
	"mkdir",
	"mkdirat",
	"rmdir",
	"rename",
	"renameat",
	"renameat2",
	"fsync",
	"fdatasync",
	"fallocate",
	"fcntl",
	"dup",
	"umask",
	"copy_file_range",
};

/* Refused with an error instead of death: libraries probe them and have another way. */
static const struct {
	const char *name;
	uint16_t error;
} refused[] = { { "clone3", ENOSYS },           { "ioctl", ENOTTY },
		{ "prlimit64", EPERM },         { "getppid", EPERM },
		{ "sched_setaffinity", EPERM }, { "mlock", EPERM },
		{ "setpriority", EPERM },       { "getrlimit", EPERM } };

static int add_plain(scmp_filter_ctx ctx)
{
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		int nr = seccomp_syscall_resolve_name(plain[i]);
		int rc = nr < 0 ? 0 : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);

		/* Architectures lack some: those have no number (below zero). */
		if (rc != 0)
			return rc;
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		int nr = seccomp_syscall_resolve_name(refused[i].name);
		int rc = nr < 0 ? 0
				: seccomp_rule_add(
					  ctx, SCMP_ACT_ERRNO(refused[i].error), nr, 0);

		/* EACCES: what happens to everything else in this build anyway. */
		if (rc != 0 && rc != -EACCES)
			return rc;
	}
	return 0;
}

/* Calls that are allowed with some arguments only. */
static int add_checked(scmp_filter_ctx ctx, bool loading)
{
	const scmp_datum_t exec = loading ? 0 : PROT_EXEC;
	const scmp_datum_t thread = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
	/* All CLONE_NEW… and what a plain thread has no use for. */
	const scmp_datum_t never = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
				   CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
				   CLONE_NEWNET | CLONE_PTRACE | CLONE_PARENT |
				   CLONE_VFORK;
	int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				  SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));

	rc = rc ? rc
		: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				   SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));
	rc = rc ? rc
		: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				   SCMP_A0(SCMP_CMP_MASKED_EQ, thread | never, thread));
	/* The control socket, and no other (there is none). */
	rc = rc ? rc
		: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(recvmsg), 1,
				   SCMP_A0(SCMP_CMP_EQ, PRAAS_WORKER_SOCKET_FD));
	rc = rc ? rc
		: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1,
				   SCMP_A0(SCMP_CMP_EQ, PRAAS_WORKER_SOCKET_FD));
	/* Wakes on sockets that we were given; no address, so nowhere else. */
	rc = rc ? rc
		: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1,
				   SCMP_A4(SCMP_CMP_EQ, 0));
	rc = rc ? rc
		: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(recvfrom), 1,
				   SCMP_A4(SCMP_CMP_EQ, 0));
	/* raise() and abort(): a signal to ourselves. */
	rc = rc ? rc
		: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				   SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	rc = rc ? rc
		: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				   SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	if (!loading)
		return rc;
	/* What putting the second filter on top takes. */
	rc = rc ? rc : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(seccomp), 0);
	return rc ? rc
		  : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				     SCMP_A0(SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS));
}

int praas_sandbox_seccomp(bool loading)
{
#ifdef PRAAS_SANITIZED
	const uint32_t otherwise = SCMP_ACT_ERRNO(EPERM);
#else
	const uint32_t otherwise = SCMP_ACT_KILL_PROCESS;
#endif
	scmp_filter_ctx ctx = seccomp_init(otherwise);
	int rc;

	if (!ctx)
		return -ENOMEM;
	rc = add_plain(ctx);
	rc = rc ? rc : add_checked(ctx, loading);
	/* As a balanced tree: fewer comparisons a call. Older libraries have none. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	rc = rc ? rc : seccomp_load(ctx);
	seccomp_release(ctx);
	return rc;
}
