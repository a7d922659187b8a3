/* SPDX-License-Identifier: Apache-2.0
 *
 * Linked into variants of the programs: calls of theirs are counted by kind, and one of them fails when
 * the block says so (fault_shim.h). By the linker's --wrap, so it is what *our* code calls that fails;
 * of the libraries jansson's and SQLite's memory and SQLite's files as well, by their own hooks.
 */
#include "tests/lib/fault_shim.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <jansson.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#ifdef PRAAS_FAULT_SQLITE
#include <sqlite3.h>
#endif

extern const char __executable_start[];

static struct praas_fault_block *block;

/* Where the call that fails comes from. */
static void remember(const char *call)
{
	void *at[PRAAS_FAULT_FRAMES + 2];
	int count = backtrace(at, (int)PRAAS_FAULT_FRAMES + 2);

	for (int i = 2; i < count; i++)
		block->frame[i - 2] =
			(uint64_t)((uintptr_t)at[i] - (uintptr_t)__executable_start);
	atomic_store(&block->frames, (uint64_t)(count > 2 ? count - 2 : 0));
	(void)snprintf(block->call, sizeof(block->call), "%s", call);
	(void)atomic_fetch_add(&block->fired, 1);
}

/* Counts a call; true when it is the one that fails. */
static bool fails(enum praas_fault_kind kind, const char *call)
{
	_Atomic uint64_t *countdown;
	uint64_t left;

	if (!block)
		return false;
	(void)atomic_fetch_add(&block->calls[PRAAS_FAULT_PROGRAM][kind], 1);
	countdown = &block->countdown[PRAAS_FAULT_PROGRAM][kind];
	left = atomic_load(countdown);
	while (left > 0 && !atomic_compare_exchange_weak(countdown, &left, left - 1))
		;
	if (left != 1)
		return false;
	remember(call);
	return true;
}

static bool fails_with(enum praas_fault_kind kind, const char *call, int error)
{
	if (!fails(kind, call))
		return false;
	errno = error;
	return true;
}

/* ---- memory -------------------------------------------------------------------------- */

#define WRAP(type, name, params, args, kind, error, result)                            \
	type __real_##name params;                                                     \
	type __wrap_##name params;                                                     \
	type __wrap_##name params                                                      \
	{                                                                              \
		return fails_with(kind, #name, error) ? (result) : __real_##name args; \
	}
#define ALLOC(name, params, args)                                                      \
	WRAP(void *, name, params, args, PRAAS_FAULT_ALLOC, ENOMEM, NULL)
#define FILE_CALL(name, params, args, error)                                           \
	WRAP(int, name, params, args, PRAAS_FAULT_FILE, error, -1)
#define SOCKET_CALL(name, params, args, error)                                         \
	WRAP(int, name, params, args, PRAAS_FAULT_SOCKET, error, -1)

ALLOC(malloc, (size_t bytes), (bytes))
ALLOC(calloc, (size_t count, size_t bytes), (count, bytes))
ALLOC(realloc, (void *p, size_t bytes), (p, bytes))
ALLOC(reallocarray, (void *p, size_t count, size_t bytes), (p, count, bytes))
ALLOC(aligned_alloc, (size_t align, size_t bytes), (align, bytes))
WRAP(char *, strdup, (const char *s), (s), PRAAS_FAULT_ALLOC, ENOMEM, NULL)
WRAP(char *, strndup, (const char *s, size_t n), (s, n), PRAAS_FAULT_ALLOC, ENOMEM,
     NULL)
WRAP(void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t offset),
     (at, n, prot, flags, fd, offset), PRAAS_FAULT_ALLOC, ENOMEM, MAP_FAILED)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags),
     PRAAS_FAULT_ALLOC, ENFILE, -1)

/* ---- files --------------------------------------------------------------------------- */

static bool is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int open_error(int flags)
{
	return flags & (O_CREAT | O_WRONLY | O_RDWR) ? ENOSPC : EMFILE;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails_with(PRAAS_FAULT_FILE, "open", open_error(flags))
		       ? -1
		       : __real_open(path, flags, mode);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails_with(PRAAS_FAULT_FILE, "openat", open_error(flags))
		       ? -1
		       : __real_openat(dir, path, flags, mode);
}

/* unlink(2) is left out: it removes sockets and pipes of ours, and what cannot be removed stays. */
/* Of pipes and events nothing fails: nothing there can. */
ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n)
{
	return is_file(fd) && fails_with(PRAAS_FAULT_FILE, "read", EIO)
		       ? -1
		       : __real_read(fd, to, n);
}

ssize_t __real_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n)
{
	return is_file(fd) && fails_with(PRAAS_FAULT_FILE, "write", ENOSPC)
		       ? -1
		       : __real_write(fd, from, n);
}

WRAP(ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at),
     PRAAS_FAULT_FILE, EIO, -1)
WRAP(ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at),
     PRAAS_FAULT_FILE, ENOSPC, -1)
WRAP(DIR *, opendir, (const char *path), (path), PRAAS_FAULT_FILE, EMFILE, NULL)
WRAP(DIR *, fdopendir, (int fd), (fd), PRAAS_FAULT_FILE, ENOMEM, NULL)
WRAP(FILE *, fopen, (const char *path, const char *mode), (path, mode),
     PRAAS_FAULT_FILE, EMFILE, NULL)
FILE_CALL(fsync, (int fd), (fd), EIO)
FILE_CALL(rename, (const char *from, const char *to), (from, to), EIO)
FILE_CALL(link, (const char *from, const char *to), (from, to), ENOSPC)
FILE_CALL(linkat, (int d, const char *from, int e, const char *to, int flags),
	  (d, from, e, to, flags), ENOSPC)
FILE_CALL(unlinkat, (int dir, const char *path, int flags), (dir, path, flags), EIO)
FILE_CALL(mkdir, (const char *path, mode_t mode), (path, mode), ENOSPC)
FILE_CALL(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), ENOSPC)
FILE_CALL(ftruncate, (int fd, off_t bytes), (fd, bytes), ENOSPC)
FILE_CALL(fallocate, (int fd, int mode, off_t at, off_t bytes), (fd, mode, at, bytes),
	  ENOSPC)

/* ---- sockets, and what waits for them -------------------------------------------------- */

SOCKET_CALL(socket, (int domain, int type, int protocol), (domain, type, protocol),
	    EMFILE)
SOCKET_CALL(socketpair, (int domain, int type, int protocol, int fds[2]),
	    (domain, type, protocol, fds), EMFILE)
SOCKET_CALL(bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n),
	    EADDRINUSE)
SOCKET_CALL(listen, (int fd, int backlog), (fd, backlog), EADDRINUSE)
SOCKET_CALL(connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n),
	    ECONNREFUSED)
SOCKET_CALL(accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags),
	    (fd, a, n, flags), EMFILE)
SOCKET_CALL(setsockopt, (int fd, int level, int name, const void *value, socklen_t n),
	    (fd, level, name, value, n), ENOBUFS)
SOCKET_CALL(epoll_create1, (int flags), (flags), EMFILE)
SOCKET_CALL(eventfd, (unsigned count, int flags), (count, flags), EMFILE)
SOCKET_CALL(timerfd_create, (int clock, int flags), (clock, flags), EMFILE)

/* Not the ring of a doorbell (8 bytes): it fails when it has rung already or nobody is there any more, and
 * neither is an error. */
ssize_t __real_send(int fd, const void *from, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t n, int flags)
{
	return n != sizeof(uint64_t) &&
			       fails_with(PRAAS_FAULT_SOCKET, "send", ECONNRESET)
		       ? -1
		       : __real_send(fd, from, n, flags);
}

WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags),
     PRAAS_FAULT_SOCKET, ECONNRESET, -1)
WRAP(ssize_t, recv, (int fd, void *to, size_t n, int flags), (fd, to, n, flags),
     PRAAS_FAULT_SOCKET, ECONNRESET, -1)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags),
     PRAAS_FAULT_SOCKET, ECONNRESET, -1)

WRAP(int, io_uring_queue_init,
     (unsigned entries, struct io_uring *ring, unsigned flags), (entries, ring, flags),
     PRAAS_FAULT_SOCKET, ENOMEM, -ENOMEM)
WRAP(int, io_uring_queue_init_params,
     (unsigned entries, struct io_uring *ring, struct io_uring_params *params),
     (entries, ring, params), PRAAS_FAULT_SOCKET, ENOMEM, -ENOMEM)

int __real_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
/* Only adding can fail. */
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	return op == EPOLL_CTL_ADD &&
			       fails_with(PRAAS_FAULT_SOCKET, "epoll_ctl", ENOSPC)
		       ? -1
		       : __real_epoll_ctl(epoll, op, fd, event);
}

/* ---- processes and threads ------------------------------------------------------------- */

WRAP(int, posix_spawn,
     (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]),
     (pid, path, actions, attributes, argv, envp), PRAAS_FAULT_SPAWN, EAGAIN, EAGAIN)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*body)(void *),
      void *user),
     (thread, attributes, body, user), PRAAS_FAULT_SPAWN, EAGAIN, EAGAIN)
WRAP(int, pipe2, (int fds[2], int flags), (fds, flags), PRAAS_FAULT_SPAWN, EMFILE, -1)
WRAP(int, dup, (int fd), (fd), PRAAS_FAULT_SPAWN, EMFILE, -1)

int __real_clone(int (*body)(void *), void *stack, int flags, void *user, ...);
int __wrap_clone(int (*body)(void *), void *stack, int flags, void *user, ...);
int __wrap_clone(int (*body)(void *), void *stack, int flags, void *user, ...)
{
	va_list ap;
	pid_t *parent;

	va_start(ap, user);
	parent = va_arg(ap, pid_t *);
	va_end(ap);
	return fails_with(PRAAS_FAULT_SPAWN, "clone", EAGAIN)
		       ? -1
		       : __real_clone(body, stack, flags, user, parent);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return number == SYS_pidfd_open &&
			       fails_with(PRAAS_FAULT_SPAWN, "pidfd_open", EMFILE)
		       ? -1
		       : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- libraries ------------------------------------------------------------------------- */

#ifdef PRAAS_FAULT_SQLITE
#define HEAD 16 /* the size, and what follows aligned */

static void *sqlite_alloc(int bytes)
{
	char *p = fails(PRAAS_FAULT_ALLOC, "sqlite")
			  ? NULL
			  : __real_malloc((size_t)bytes + HEAD);

	if (!p)
		return NULL;
	memcpy(p, &bytes, sizeof(bytes));
	return p + HEAD;
}

static void sqlite_free(void *p)
{
	if (p)
		free((char *)p - HEAD);
}

static void *sqlite_realloc(void *old, int bytes)
{
	char *p = fails(PRAAS_FAULT_ALLOC, "sqlite")
			  ? NULL
			  : __real_realloc((char *)old - HEAD, (size_t)bytes + HEAD);

	if (!p)
		return NULL;
	memcpy(p, &bytes, sizeof(bytes));
	return p + HEAD;
}

static int sqlite_size(void *p)
{
	int bytes = 0;

	if (p)
		memcpy(&bytes, (char *)p - HEAD, sizeof(bytes));
	return bytes;
}

static int sqlite_round(int bytes)
{
	return (bytes + 7) & ~7;
}

static int sqlite_begin(void *user)
{
	(void)user;
	return SQLITE_OK;
}

static void sqlite_end(void *user)
{
	(void)user;
}

static int sqlite_open(const char *path, int flags, int mode)
{
	return fails_with(PRAAS_FAULT_FILE, "sqlite open", ENOSPC)
		       ? -1
		       : __real_open(path, flags, mode);
}

static ssize_t sqlite_pread(int fd, void *to, size_t n, off_t at)
{
	return fails_with(PRAAS_FAULT_FILE, "sqlite pread", EIO)
		       ? -1
		       : __real_pread(fd, to, n, at);
}

static ssize_t sqlite_pwrite(int fd, const void *from, size_t n, off_t at)
{
	return fails_with(PRAAS_FAULT_FILE, "sqlite pwrite", ENOSPC)
		       ? -1
		       : __real_pwrite(fd, from, n, at);
}

static int sqlite_ftruncate(int fd, off_t bytes)
{
	return fails_with(PRAAS_FAULT_FILE, "sqlite ftruncate", EIO)
		       ? -1
		       : __real_ftruncate(fd, bytes);
}

static void hook_sqlite(void)
{
	static const struct {
		const char *name;
		sqlite3_syscall_ptr call;
	} calls[] = { { "open", (sqlite3_syscall_ptr)sqlite_open },
		      { "pread", (sqlite3_syscall_ptr)sqlite_pread },
		      { "pread64", (sqlite3_syscall_ptr)sqlite_pread },
		      { "pwrite", (sqlite3_syscall_ptr)sqlite_pwrite },
		      { "pwrite64", (sqlite3_syscall_ptr)sqlite_pwrite },
		      { "ftruncate", (sqlite3_syscall_ptr)sqlite_ftruncate } };
	static const sqlite3_mem_methods memory = {
		.xMalloc = sqlite_alloc,
		.xFree = sqlite_free,
		.xRealloc = sqlite_realloc,
		.xSize = sqlite_size,
		.xRoundup = sqlite_round,
		.xInit = sqlite_begin,
		.xShutdown = sqlite_end,
	};
	sqlite3_vfs *vfs;

	(void)sqlite3_config(SQLITE_CONFIG_MALLOC, &memory);
	vfs = sqlite3_vfs_find(NULL);
	for (size_t i = 0; vfs && i < sizeof(calls) / sizeof(calls[0]); i++)
		(void)vfs->xSetSystemCall(vfs, calls[i].name, calls[i].call);
}
#endif

static void *json_alloc(size_t bytes)
{
	return fails(PRAAS_FAULT_ALLOC, "jansson") ? NULL : __real_malloc(bytes);
}

__attribute__((constructor)) static void attach(void)
{
	const char *path = getenv("PRAAS_FAULT_BLOCK");
	void *warm[2], *at;
	int fd = path ? __real_open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	at = __real_mmap(NULL, sizeof(*block), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 0);
	(void)close(fd);
	if (at == MAP_FAILED)
		return;
	(void)backtrace(warm, 2); /* the first use loads a library */
	json_set_alloc_funcs(json_alloc, free);
#ifdef PRAAS_FAULT_SQLITE
	hook_sqlite();
#endif
	block = at;
}
