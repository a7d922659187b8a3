/* SPDX-License-Identifier: Apache-2.0
 *
 * Landlock: a second opinion on files beside the mount namespace, no TCP, no abstract UNIX
 * sockets and no signals out. The structures are our own because distributions' headers are
 * older than kernels: what the running kernel knows is asked at run time.
 */
#include "controller/worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

/* As the kernel's ABI 6 has it; older kernels take a prefix (man page landlock(7)). */
struct ruleset {
	uint64_t fs, net, scoped;
};
struct path_rule {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

enum {
	VERSION_FLAG = 1,
	RULE_PATH = 1,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_DIR = 1 << 7,
	FS_MAKE_REG = 1 << 8,
	FS_REFER = 1 << 13,
	FS_TRUNCATE = 1 << 14,
	FS_IOCTL = 1 << 15,
	FS_ABI_1 = (1 << 13) - 1, /* execute … make-sym */
	NET_TCP = 3,              /* bind, connect */
	SCOPES = 3,               /* abstract sockets, signals */
	READ_ONLY = FS_READ_FILE | FS_READ_DIR,
	SCRATCH = READ_ONLY | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE |
		  FS_MAKE_DIR | FS_MAKE_REG
};

static int allow(int ruleset, const char *path, uint64_t what)
{
	struct path_rule rule = { .allowed = what };
	int rc = 0;

	rule.parent = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent < 0)
		return errno == ENOENT ? 0 : -errno;
	if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &rule, 0) != 0)
		rc = -errno;
	(void)close(rule.parent); /* O_PATH */
	return rc;
}

int praas_sandbox_landlock(const struct praas_sandbox *s, int *ret_abi)
{
	static const char *const system_dirs[] = { "/usr/lib", "/usr/lib64", "/lib",
						   "/lib64" };
	struct ruleset set = { .fs = FS_ABI_1 };
	uint64_t scratch = SCRATCH;
	size_t bytes = sizeof(set.fs);
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_FLAG);
	int fd, rc = 0;

	if (abi < 1)
		return abi < 0 ? -errno : -EOPNOTSUPP;
	set.fs |= abi >= 2 ? FS_REFER : 0;
	set.fs |= abi >= 3 ? FS_TRUNCATE : 0;
	scratch |= abi >= 3 ? FS_TRUNCATE : 0;
	set.fs |= abi >= 5 ? FS_IOCTL : 0;
	if (abi >= 4) {
		set.net = NET_TCP;
		bytes += sizeof(set.net);
	}
	if (abi >= 6) {
		set.scoped = SCOPES;
		bytes += sizeof(set.scoped);
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &set, bytes, 0);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; rc == 0 && i < sizeof(system_dirs) / sizeof(system_dirs[0]);
	     i++)
		rc = allow(fd, system_dirs[i], READ_ONLY);
	if (rc == 0)
		rc = allow(fd, s->code, READ_ONLY);
	if (rc == 0 && s->private_root)
		rc = allow(fd, "/tmp", scratch);
	if (rc == 0 && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
		rc = -errno;
	(void)close(fd); /* in force, or not */
	if (rc == 0)
		*ret_abi = (int)abi;
	return rc;
}
