/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/worker/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/worker_proto.h"

/* Sanitizers make calls and take memory of their own at any time: said openly. */
#ifdef PRAAS_SANITIZED
#define SECCOMP "seccomp-relaxed"
#define LIMIT_DATA "limit-data-relaxed"
#else
#define SECCOMP "seccomp"
#define LIMIT_DATA "limit-data"
#endif

/* The layers are independent: one that the kernel refuses is noted and the next is tried, so that a
 * user sees all that is missing at once. The caller decides what that means. */

static void append(char *text, const char *word, const char *why)
{
	size_t used = strlen(text);

	(void)snprintf(text + used, PRAAS_SANDBOX_TEXT_MAX - used, "%s%s%s%s",
		       used ? (why ? "; " : " ") : "", word, why ? ": " : "",
		       why ? why : "");
}

static void note(struct praas_sandbox *s, const char *layer, int rc)
{
	if (rc == 0)
		append(s->layers, layer, NULL);
	else
		append(s->missing, layer, strerror(-rc));
}

static int errno_of(long rc)
{
	return rc < 0 ? -errno : 0;
}

static void namespaces(struct praas_sandbox *s)
{
	static const struct {
		const char *name;
		int flag;
	} spaces[] = { { "net", CLONE_NEWNET },
		       { "ipc", CLONE_NEWIPC },
		       { "uts", CLONE_NEWUTS },
		       { "mount", CLONE_NEWNS },
		       { "cgroup", CLONE_NEWCGROUP } };

	note(s, "pid", getpid() == 1 ? 0 : -ESRCH); /* the host's clone makes it */
	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		int rc = errno_of(unshare(spaces[i].flag));

		note(s, spaces[i].name, rc);
		if (spaces[i].flag == CLONE_NEWNS)
			note(s, "root", rc ? rc : praas_sandbox_root(s));
	}
	(void)!sethostname("praas", 5); /* refused where uts is missing */
}

/* What the host's control groups limit; all three have to. */
static void control_groups(struct praas_sandbox *s)
{
	static const char *const parts[] = { "memory", "pids", "cpu" };

	for (size_t i = 0; i < 3; i++) {
		char layer[32];

		(void)snprintf(layer, sizeof(layer), "limit-%s", parts[i]);
		if (s->cgroups && strstr(s->cgroups, parts[i]))
			note(s, layer, 0);
		else if (i == 0 && s->data_bytes)
			note(s, LIMIT_DATA, 0);
		else if (i == 0)
			note(s, layer, -EOPNOTSUPP);
	}
}

static int set_limit(__rlimit_resource_t what, uint64_t value)
{
	struct rlimit l = { .rlim_cur = value, .rlim_max = value };

	return errno_of(setrlimit(what, &l));
}

static int resource_limits(const struct praas_sandbox *s)
{
	int rc = set_limit(RLIMIT_NOFILE, 64);

	rc = rc ? rc : set_limit(RLIMIT_CORE, 0);
	rc = rc ? rc : set_limit(RLIMIT_MEMLOCK, 0);
	rc = rc ? rc : set_limit(RLIMIT_FSIZE, s->tmp_bytes);
	rc = rc ? rc : set_limit(RLIMIT_MSGQUEUE, 0);
#ifndef PRAAS_SANITIZED
	if (s->data_bytes)
		rc = rc ? rc : set_limit(RLIMIT_DATA, s->data_bytes);
#endif
	return rc;
}

/* As root: become somebody who owns nothing. In the host's user namespace we are nobody outside
 * already, and cannot become anybody else. */
static int drop_ids(const struct praas_sandbox *s)
{
	if (s->user_namespace)
		return 0;
	if (geteuid() != 0)
		return -EPERM;
	if (setgroups(0, NULL) != 0 || setresgid(s->uid, s->uid, s->uid) != 0 ||
	    setresuid(s->uid, s->uid, s->uid) != 0)
		return -errno;
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version =
							 _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } }, now[2] = { { 0 } };
	const unsigned long bits = SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_SETUID_FIXUP |
				   SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_NOROOT |
				   SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
				   SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
	int rc = 0;

	for (int cap = 0; cap <= 63 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			rc = -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0)
		rc = -errno;
	if (syscall(SYS_capset, &head, none) != 0 ||
	    syscall(SYS_capget, &head, now) != 0)
		return -errno;
	if (now[0].permitted | now[1].permitted | now[0].effective | now[1].effective)
		return -EPERM;
	return rc;
}

/* No core, no ptrace by others of our uid, and gone when the controller goes. Becoming another user
 * clears the last, so this comes after. */
static int own_attributes(void)
{
	struct pollfd controller = { .fd = PRAAS_WORKER_SOCKET_FD };
	int rc = errno_of(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));

	rc = rc ? rc : errno_of(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	/* It may have ended before that was asked for: nobody would tell us any more. */
	if (rc == 0 && poll(&controller, 1, 0) == 1 && (controller.revents & POLLHUP))
		_exit(0);
	return rc;
}

static int verdict(const struct praas_sandbox *s)
{
	return s->missing[0] && !s->allow_weak ? -EPERM : 0;
}

int praas_sandbox_enter(struct praas_sandbox *s)
{
	char layer[32];
	int abi = 0, rc;

	s->layers[0] = '\0';
	s->missing[0] = '\0';
	namespaces(s);
	control_groups(s);
	note(s, "rlimits", resource_limits(s));
	note(s, "uid", drop_ids(s));
	/* A namespace without any mapping: what we are in it is nothing outside. */
	note(s, "user", s->user_namespace ? 0 : errno_of(unshare(CLONE_NEWUSER)));
	note(s, "fds", errno_of(close_range(PRAAS_WORKER_WAKE_FD + 1, ~0u, 0)));
	note(s, "caps", drop_capabilities());
	note(s, "private", own_attributes());
	note(s, "no-new-privs", errno_of(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)));
	rc = praas_sandbox_landlock(s, &abi);
	(void)snprintf(layer, sizeof(layer), "landlock-%d", abi);
	note(s, layer, rc);
	rc = praas_sandbox_seccomp(true);
	if (rc != 0)
		note(s, "seccomp", rc);
	return verdict(s);
}

int praas_sandbox_close(struct praas_sandbox *s)
{
	note(s, SECCOMP, praas_sandbox_seccomp(false));
	return verdict(s);
}
