/* SPDX-License-Identifier: Apache-2.0
 *
 * What a tenant's code would try who wants out: one function each. A function returns 0 when it was
 * held back, 1 … when it got through; most do not return, because the sandbox ends the worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <praas/function.h>

/* 0 when the path cannot be opened in that mode. */
static int closed(const char *path, int flags)
{
	return open(path, flags, 0600) < 0 ? 0 : 1;
}

PRAAS_FUNCTION int open_passwd(struct praas_ctx *ctx)
{
	(void)ctx;
	return closed("/etc/passwd", O_RDONLY) + closed("/etc/shadow", O_RDONLY) +
	       closed("/root", O_RDONLY) + closed("/home", O_RDONLY);
}

PRAAS_FUNCTION int open_proc(struct praas_ctx *ctx)
{
	(void)ctx;
	return closed("/proc/self/mem", O_RDWR) + closed("/proc/self/maps", O_RDONLY) +
	       closed("/proc/1/environ", O_RDONLY) + closed("/proc", O_RDONLY) +
	       closed("/sys", O_RDONLY) + closed("/dev/null", O_RDWR);
}

PRAAS_FUNCTION int write_image(struct praas_ctx *ctx)
{
	(void)ctx;
	return closed("/new", O_CREAT | O_WRONLY) +
	       closed("/usr/lib/new", O_CREAT | O_WRONLY) +
	       closed(PRAAS_HOSTILE_CODE "/new", O_CREAT | O_WRONLY) +
	       closed(PRAAS_HOSTILE_CODE "/hostile.so", O_RDWR) +
	       (mkdir("/new", 0700) == 0);
}

/* /tmp is there, private, and ends. */
PRAAS_FUNCTION int fill_tmp(struct praas_ctx *ctx)
{
	static char block[1 << 16];
	uint64_t bytes = 0;
	int files = 0, fd = -1;

	(void)ctx;
	for (files = 0; files < 4000; files++) {
		char name[32];
		ssize_t n = 1;

		(void)snprintf(name, sizeof(name), "/tmp/f%d", files);
		fd = open(name, O_CREAT | O_WRONLY, 0600);
		if (fd < 0)
			break;
		/* FSIZE would end us at the last byte: stop before. */
		for (int i = 0; i < 16 && n > 0; i++) {
			n = write(fd, block, sizeof(block));
			bytes += n > 0 ? (uint64_t)n : 0;
		}
		(void)close(fd);
		if (n <= 0)
			break;
	}
	for (int i = 0; i <= files; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "/tmp/f%d", i);
		(void)unlink(name);
	}
	return bytes > 0 && bytes <= (16u << 20) ? 0 : 1;
}

PRAAS_FUNCTION int exec_from_tmp(struct praas_ctx *ctx)
{
	int fd = open("/tmp/x.so", O_CREAT | O_RDWR, 0700);

	(void)ctx;
	if (fd < 0 || write(fd,
			    "\x7f"
			    "ELF",
			    4) != 4)
		return 1;
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	return 1;
}

PRAAS_FUNCTION int map_exec(struct praas_ctx *ctx)
{
	(void)ctx;
	(void)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return 1;
}

PRAAS_FUNCTION int protect_exec(struct praas_ctx *ctx)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	(void)ctx;
	(void)mprotect(p, 4096, PROT_READ | PROT_EXEC);
	return 1;
}

/* The pool (input) is not ours to write, and cannot be made so. */
PRAAS_FUNCTION int protect_input(struct praas_ctx *ctx)
{
	struct praas_msg in;
	uintptr_t page;

	(void)praas_input(ctx, 0, &in);
	page = (uintptr_t)in.view.data & ~(uintptr_t)4095;
	return mprotect((void *)page, 4096, PROT_READ | PROT_WRITE) == 0 ? 1 : 0;
}

PRAAS_FUNCTION int write_input(struct praas_ctx *ctx)
{
	struct praas_msg in;

	(void)praas_input(ctx, 0, &in);
	*(volatile char *)(uintptr_t)in.view.data = 1;
	return 1;
}

/* No descriptor but what it needs: none that can be mapped, none of the host's. */
PRAAS_FUNCTION int spare_fds(struct praas_ctx *ctx)
{
	int open_fds = 0;

	(void)ctx;
	for (int fd = 5; fd < 64; fd++)
		open_fds += fcntl(fd, F_GETFD) >= 0;
	return open_fds;
}

/* Ends when descriptors do, not before the limit is a small number. */
PRAAS_FUNCTION int many_fds(struct praas_ctx *ctx)
{
	int n = 0;

	(void)ctx;
	while (n < 1000 && dup(0) >= 0)
		n++;
	for (int fd = 5; fd < 64; fd++)
		(void)close(fd);
	return n < 64 ? 0 : 1;
}

PRAAS_FUNCTION int who_am_i(struct praas_ctx *ctx)
{
	(void)ctx;
	/* The first of its own processes, and nobody outside. */
	return (getpid() == 1 ? 0 : 1) + (access("/etc", F_OK) == 0 ? 2 : 0);
}

/* ---- what ends the worker ---- */

PRAAS_FUNCTION int new_socket(struct praas_ctx *ctx)
{
	(void)ctx;
	return socket(AF_INET, SOCK_STREAM, 0) + 2;
}

PRAAS_FUNCTION int unix_socket(struct praas_ctx *ctx)
{
	int fds[2];

	(void)ctx;
	return socketpair(AF_UNIX, SOCK_STREAM, 0, fds) + 2;
}

PRAAS_FUNCTION int forks(struct praas_ctx *ctx)
{
	(void)ctx;
	for (int i = 0; i < 100; i++)
		(void)syscall(SYS_fork);
	return 1;
}

PRAAS_FUNCTION int clones(struct praas_ctx *ctx)
{
	(void)ctx;
	(void)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	return 1;
}

PRAAS_FUNCTION int clones3(struct praas_ctx *ctx)
{
	(void)ctx;
	return syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS ? 0 : 1;
}

PRAAS_FUNCTION int executes(struct praas_ctx *ctx)
{
	char *const argv[] = { NULL };

	(void)ctx;
	(void)execve("/lib64/ld-linux-x86-64.so.2", argv, argv);
	return 1;
}

PRAAS_FUNCTION int kills_parent(struct praas_ctx *ctx)
{
	(void)ctx;
	(void)kill(0, SIGKILL);
	return 1;
}

#define ENDS(name, ...)                                                                \
	PRAAS_FUNCTION int name(struct praas_ctx *ctx)                                 \
	{                                                                              \
		(void)ctx;                                                             \
		(void)syscall(__VA_ARGS__);                                            \
		return 1;                                                              \
	}

ENDS(traces, SYS_ptrace, PTRACE_TRACEME, 0, 0, 0)
ENDS(reads_others, SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0)
ENDS(gets_fd, SYS_pidfd_getfd, 0, 0, 0)
ENDS(opens_pidfd, SYS_pidfd_open, 1, 0)
ENDS(rings, SYS_io_uring_setup, 1, NULL)
ENDS(bpfs, SYS_bpf, 0, NULL, 0)
ENDS(perfs, SYS_perf_event_open, NULL, 0, 0, 0, 0)
ENDS(keys, SYS_keyctl, 0, 0, 0, 0, 0)
ENDS(faults, SYS_userfaultfd, 0)
ENDS(mounts, SYS_mount, "none", "/tmp", "tmpfs", 0, NULL)
ENDS(unmounts, SYS_umount2, "/tmp", 0)
ENDS(unshares, SYS_unshare, CLONE_NEWUSER)
ENDS(enters, SYS_setns, 0, 0)
ENDS(roots, SYS_chroot, "/tmp")
ENDS(makes_memfd, SYS_memfd_create, "x", 0)
ENDS(personalities, SYS_personality, 0)
ENDS(modules, SYS_init_module, NULL, 0, "")
ENDS(loads_kernel, SYS_kexec_load, 0, 0, NULL, 0)
ENDS(becomes_root, SYS_setresuid, 0, 0, 0)
ENDS(filters, SYS_seccomp, 0, 0, NULL)
ENDS(dumps, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
ENDS(shm_v, SYS_shmget, 1, 4096, 0600)
ENDS(queues, SYS_mq_open, "/x", O_CREAT, 0600, NULL)
ENDS(clock_sets, SYS_clock_settime, 0, NULL)
ENDS(handles, SYS_open_by_handle_at, 0, NULL, 0)
ENDS(signals_group, SYS_tgkill, 2, 2, SIGKILL)
ENDS(makes_nodes, SYS_mknod, "/tmp/x", S_IFCHR | 0600, 0x103)
ENDS(limits, SYS_setrlimit, RLIMIT_NOFILE, NULL)
ENDS(listens, SYS_listen, 3, 1)
