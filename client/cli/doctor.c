/* SPDX-License-Identifier: Apache-2.0
 *
 * praas doctor: what this machine offers, what PraaS would miss, and what to do about it.
 * It only looks: nothing is changed, and nothing outside this process is started.
 */
#include "client/cli/doctor.h"
#include "client/cli/cli.h"
#include "client/cli/service.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOFILE_WANTED 4096u
#define DISK_WANTED (1ull << 30)

static const char *const verdict_names[] = { "ok", "note", "bad" };

void praas_doctor_found(struct praas_finding *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(f->found, sizeof(f->found), format,
			args); /* cut: still tells */
	va_end(args);
}

bool praas_doctor_line(const char *path, char ret_line[PRAAS_FINDING_BYTES])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, ret_line, PRAAS_FINDING_BYTES - 1);
	(void)close(fd); /* read only */
	if (n < 0)
		return false;
	ret_line[n] = '\0';
	ret_line[strcspn(ret_line, "\n")] = '\0';
	return true;
}

static bool file_number(const char *path, uint64_t *ret_number)
{
	char line[PRAAS_FINDING_BYTES];
	char *end;

	if (!praas_doctor_line(path, line))
		return false;
	*ret_number = strtoull(line, &end, 10);
	return end != line;
}

/* ---- what the data plane needs --------------------------------------------------- */

static void look_kernel(struct praas_finding *f)
{
	struct utsname name = { 0 };
	unsigned long major;
	unsigned long minor;
	char *end;

	(void)uname(&name); /* cannot fail with valid memory */
	major = strtoul(name.release, &end, 10);
	minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	praas_doctor_found(f, "%s %s on %s", name.sysname, name.release, name.machine);
	if (major < 6 || (major == 6 && minor < 1)) {
		f->verdict = PRAAS_FINDING_BAD;
		f->advice = "Linux 6.1 or newer is needed (Debian 12 has it)";
	}
}

static void look_cpus(struct praas_finding *f)
{
	cpu_set_t set;
	int count;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) != 0) {
		praas_doctor_found(f, "more than %d", CPU_SETSIZE);
		return;
	}
	count = CPU_COUNT(&set);
	praas_doctor_found(f, "%d to run on", count);
	if (count < 2) {
		f->verdict = PRAAS_FINDING_NOTE;
		f->advice = "with one processor a caller and a worker cannot poll at "
			    "the same time: calls take microseconds";
	}
}

static void look_clock(struct praas_finding *f)
{
	char source[PRAAS_FINDING_BYTES];

	if (!praas_doctor_line("/sys/devices/system/clocksource/clocksource0/"
			       "current_clocksource",
			       source))
		(void)snprintf(source, sizeof(source), "unknown"); /* fits */
	praas_doctor_found(f, "clock source %.200s", source);
	if (strcmp(source, "tsc") != 0 && strcmp(source, "kvm-clock") != 0) {
		f->verdict = PRAAS_FINDING_NOTE;
		f->advice = "reading the time may take a system call; tsc or kvm-clock "
			    "is faster (kernel parameter clocksource=tsc)";
	}
}

static void look_io_uring(struct praas_finding *f)
{
	struct io_uring_params params = { 0 };
	long fd = syscall(SYS_io_uring_setup, 8, &params);

	if (fd >= 0) {
		(void)close((int)fd); /* nothing was submitted */
		praas_doctor_found(f, "works, features 0x%x", params.features);
		return;
	}
	f->verdict = PRAAS_FINDING_BAD;
	praas_doctor_found(f, "not usable: %s", strerror(errno));
	f->advice = "TCP needs it: sysctl kernel.io_uring_disabled=0, and no container "
		    "profile that forbids it";
}

static void look_memfd(struct praas_finding *f)
{
	int fd = memfd_create("praas-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, 4096) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0) {
		praas_doctor_found(f, "sealed memory works");
	} else {
		f->verdict = PRAAS_FINDING_BAD;
		praas_doctor_found(f, "sealed memory does not work: %s",
				   strerror(errno));
		f->advice = "shared memory needs memfd_create() with seals";
	}
	if (fd >= 0)
		(void)close(fd); /* of no further use */
}

static void look_membarrier(struct praas_finding *f)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	if (commands > 0 && commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) {
		praas_doctor_found(f, "global expedited barriers work");
		return;
	}
	f->verdict = PRAAS_FINDING_BAD;
	praas_doctor_found(f, "no global expedited barriers");
	f->advice = "sleeping and waking need membarrier(2); a container profile may "
		    "forbid it";
}

static void look_hugepages(struct praas_finding *f)
{
	uint64_t total = 0;
	uint64_t free_pages = 0;

	if (!file_number("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
			 &total) ||
	    !file_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
			 &free_pages)) {
		f->verdict = PRAAS_FINDING_NOTE;
		praas_doctor_found(f, "this kernel has none of 2 MiB");
		return;
	}
	praas_doctor_found(f, "%" PRIu64 " of 2 MiB, %" PRIu64 " free", total,
			   free_pages);
	if (total == 0) {
		f->verdict = PRAAS_FINDING_NOTE;
		f->advice = "large payloads are faster with some: "
			    "sysctl vm.nr_hugepages=512";
	}
}

static void look_limits(struct praas_finding *f)
{
	struct rlimit files = { 0 };
	struct rlimit locked = { 0 };

	(void)getrlimit(RLIMIT_NOFILE, &files);   /* cannot fail */
	(void)getrlimit(RLIMIT_MEMLOCK, &locked); /* cannot fail */
	if (locked.rlim_cur == RLIM_INFINITY)
		praas_doctor_found(f, "%" PRIu64 " open files, any locked memory",
				   (uint64_t)files.rlim_cur);
	else
		praas_doctor_found(
			f, "%" PRIu64 " open files, %" PRIu64 " KiB of locked memory",
			(uint64_t)files.rlim_cur, (uint64_t)locked.rlim_cur / 1024);
	if (files.rlim_cur < NOFILE_WANTED && files.rlim_max < NOFILE_WANTED) {
		f->verdict = PRAAS_FINDING_NOTE;
		f->advice = "each process and client takes descriptors: raise the hard "
			    "limit of open files (ulimit -Hn)";
	}
}

/* ---- what the sandbox of a worker needs ------------------------------------------- */

static void look_landlock(struct praas_finding *f)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_CREATE_RULESET_VERSION);

	if (abi > 0) {
		praas_doctor_found(f, "version %ld", abi);
		return;
	}
	f->verdict = PRAAS_FINDING_NOTE;
	praas_doctor_found(f, "not there: %s", strerror(errno));
	f->advice = "add landlock to the kernel parameter lsm=, or create applications "
		    "with --allow-weak-sandbox";
}

static void look_seccomp(struct praas_finding *f)
{
	char actions[PRAAS_FINDING_BYTES];

	if (praas_doctor_line("/proc/sys/kernel/seccomp/actions_avail", actions) &&
	    strstr(actions, "kill_process")) {
		praas_doctor_found(f, "filters work");
		return;
	}
	f->verdict = PRAAS_FINDING_NOTE;
	praas_doctor_found(f, "no filters");
	f->advice = "a kernel with CONFIG_SECCOMP_FILTER is needed, or applications "
		    "with --allow-weak-sandbox";
}

static void look_namespaces(struct praas_finding *f)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
			      CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0
			      ? 0
			      : errno & 0xff);
	if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0) {
		praas_doctor_found(f, "user, mount, pid, net, ipc, uts");
		return;
	}
	f->verdict = PRAAS_FINDING_NOTE;
	praas_doctor_found(
		f, "cannot be made: %s",
		strerror(child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : errno));
	f->advice = "sysctl user.max_user_namespaces, or applications with "
		    "--allow-weak-sandbox";
}

static void look_cgroups(struct praas_finding *f)
{
	static const char *const v1[] = { "memory", "cpu", "pids" };
	char line[PRAAS_FINDING_BYTES] = "";
	char path[PATH_MAX];
	unsigned usable = 0;

	if (praas_doctor_line("/sys/fs/cgroup/cgroup.controllers", line) &&
	    strstr(line, "memory") && strstr(line, "cpu") && strstr(line, "pids")) {
		praas_doctor_found(f, "version 2: %.200s", line);
		usable = access("/sys/fs/cgroup", W_OK) == 0 ? 3 : 0;
	} else {
		for (size_t i = 0; i < 3; i++) {
			(void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s",
				       v1[i]); /* fits */
			usable += access(path, W_OK) == 0;
		}
		praas_doctor_found(f, "version 1: %u of memory, cpu, pids", usable);
	}
	if (usable < 3) {
		f->verdict = PRAAS_FINDING_NOTE;
		f->advice = "limits of memory, processors and tasks need cgroups that "
			    "the control service may write: run it as root or with "
			    "delegated cgroups";
	}
}

/* ---- what the control service needs ------------------------------------------------ */

static void look_disk(struct praas_finding *f)
{
	char folder[PATH_MAX];
	char text[16];
	struct statvfs st;
	char *slash;

	praas_cli_data_folder(folder);
	while (statvfs(folder, &st) != 0 && (slash = strrchr(folder, '/')) &&
	       slash != folder)
		*slash = '\0'; /* not made yet: what is above it */
	if (statvfs(folder, &st) != 0) {
		f->verdict = PRAAS_FINDING_NOTE;
		praas_doctor_found(f, "%.100s: %s", folder, strerror(errno));
		return;
	}
	praas_cli_bytes_text((uint64_t)st.f_bavail * st.f_frsize, text);
	praas_doctor_found(f, "%s free below %.200s", text, folder);
	if ((uint64_t)st.f_bavail * st.f_frsize < DISK_WANTED) {
		f->verdict = PRAAS_FINDING_NOTE;
		f->advice = "snapshots of swapped processes lie there; choose another "
			    "folder with --data";
	}
}

/* Whether it says that it can do its work, and of its records that they survive a crash. */
static void look_ready(struct praas_control *control, const char *url,
		       struct praas_finding *f)
{
	char *answer = NULL;
	size_t bytes = 0;
	int status = 0;
	const char *message;
	json_t *said = NULL;

	if (praas_control_request(control, "GET", "/readyz", NULL, NULL, 0, &status,
				  &answer, &bytes) == 0)
		said = json_loadb(answer ? answer : "", bytes, 0, NULL);
	if (status == 503) {
		message = json_string_value(
			json_object_get(json_object_get(said, "error"), "message"));
		f->verdict = PRAAS_FINDING_BAD;
		praas_doctor_found(f, "%.100s answers, but is not ready: %.120s", url,
				   message ? message : "it does not say why");
		(void)praas_cli_plain(f->found); /* others wrote that */
		f->advice = "put that right where the service runs; its log says more";
	} else {
		praas_doctor_found(f, "%.200s answers", url);
	}
	if (json_is_false(json_object_get(said, "durable"))) {
		f->verdict = PRAAS_FINDING_NOTE;
		f->advice =
			"its records may lose the last changes in a crash: with Redis "
			"set appendonly yes and appendfsync always";
	}
	json_decref(said);
	free(answer);
}

static void look_service(const struct praas_cli *cli, struct praas_finding *f)
{
	struct praas_control *control = NULL;
	char *answer = NULL;
	size_t bytes = 0;
	int status = 0;
	int rc;

	if (!cli->url) {
		praas_doctor_found(f, "none is named");
		f->advice =
			"praas dev or praas up starts one here; PRAAS_URL names one";
		return;
	}
	rc = praas_control_open(cli->url, cli->token, &control);
	if (rc == 0)
		rc = praas_control_request(control, "GET", "/v1/apps", NULL, NULL, 0,
					   &status, &answer, &bytes);
	free(answer);
	if (rc == 0 && status == 200)
		look_ready(control, cli->url, f);
	praas_control_close(control);
	if (rc == 0 && status == 200)
		return;
	f->verdict = PRAAS_FINDING_BAD;
	if (rc != 0)
		praas_doctor_found(f, "%.150s: %.80s", cli->url,
				   *praas_error() ? praas_error() : strerror(-rc));
	else
		praas_doctor_found(f, "%.200s answers %d", cli->url, status);
	f->advice = status == 401 || status == 403
			    ? "PRAAS_TOKEN must be a key of that service"
			    : "is it running? PRAAS_URL, or praas up";
}

static const struct {
	const char *about;
	void (*look)(struct praas_finding *f);
} looks[] = {
	{ "kernel", look_kernel },
	{ "processors", look_cpus },
	{ "clock", look_clock },
	{ "io_uring", look_io_uring },
	{ "memfd", look_memfd },
	{ "membarrier", look_membarrier },
	{ "hugepages", look_hugepages },
	{ "rdma", praas_look_rdma },
	{ "ofi", praas_look_ofi },
	{ "dpdk", praas_look_dpdk },
	{ "iommu", praas_look_iommu },
	{ "limits", look_limits },
	{ "landlock", look_landlock },
	{ "seccomp", look_seccomp },
	{ "namespaces", look_namespaces },
	{ "cgroups", look_cgroups },
	{ "disk", look_disk },
};

#define LOOKS (sizeof(looks) / sizeof(looks[0]))

static void print_finding(const struct praas_cli *cli, json_t *rows,
			  const struct praas_finding *f)
{
	static const char *const colours[] = { "32", "33", "31" };

	if (cli->json) {
		(void)json_array_append_new(
			rows, json_pack("{s:s,s:s,s:s,s:s?}", "about", f->about,
					"verdict", verdict_names[f->verdict], "found",
					f->found, "advice", f->advice));
		return;
	}
	praas_cli_colour(stdout, colours[f->verdict]);
	(void)printf("%-5s", verdict_names[f->verdict]);
	praas_cli_colour(stdout, NULL);
	(void)printf(" %-12s %s\n", f->about, f->found);
	if (f->advice)
		(void)printf("%-18s -> %s\n", "", f->advice);
}

/* The control service's program knows stores; it becomes us. */
static int look_at_store(const struct praas_cli *cli, const char *url, const char *key)
{
	const char *args[8] = { NULL, "--check-store", url };
	unsigned n = 3;
	char program[PATH_MAX + 64];
	int rc = praas_cli_find_program("praas-control", program);

	if (rc != PRAAS_EXIT_DONE)
		return rc;
	args[0] = program;
	if (key) {
		args[n++] = "--store-key";
		args[n++] = key;
	}
	if (cli->json)
		args[n++] = "--json";
	(void)execv(program, (char *const *)(uintptr_t)args);
	return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot start %s: %s", program,
			      strerror(errno));
}

static int doctor(struct praas_cli *cli, int argc, char **argv)
{
	const char *store = NULL, *key = NULL;
	const struct praas_cli_option options[] = {
		{ "store", 0, PRAAS_CLI_TEXT, &store, "URL",
		  "look at what is stored there instead: file:///DIR, s3://BUCKET/… or "
		  "redis://HOST; a service may run on it",
		  false, false },
		{ "store-key", 0, PRAAS_CLI_TEXT, &key, "WHERE",
		  "keys of what is sealed there: file:PATH or cmd:COMMAND", false,
		  false },
		{ 0 }
	};
	json_t *rows = json_array();
	unsigned bad = 0;

	praas_cli_parse(cli,
			"Look at this machine: what the data plane, the sandbox and "
			"the control service need, what is missing, what to do.",
			options, argc, argv);
	if (store)
		return look_at_store(cli, store, key);
	for (size_t i = 0; i <= LOOKS; i++) {
		struct praas_finding f = { .about = i < LOOKS ? looks[i].about
							      : "service" };

		if (i < LOOKS)
			looks[i].look(&f);
		else
			look_service(cli, &f);
		bad += f.verdict == PRAAS_FINDING_BAD;
		print_finding(cli, rows, &f);
	}
	if (cli->json)
		praas_cli_print(cli, rows);
	json_decref(rows);
	return bad == 0 ? PRAAS_EXIT_DONE
			: praas_cli_fail(PRAAS_EXIT_FAILED,
					 "%u of these must be mended first", bad);
}

const struct praas_cli_verb praas_cli_doctor_verbs[] = {
	{ "doctor", NULL, doctor, "", "what this machine offers, what is missing" },
	{ 0 },
};
