/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names of the hierarchies of version 1, in the order of the parts. */
static const char *const v1_names[3] = { "memory", "pids", "cpu" };

#define LEAF_PREFIX "praas-"
#define LEAF_MIDDLE "-worker-"
#define FILE_MAX (PRAAS_CGROUP_PATH_MAX + 64u)

static bool join(char ret_path[FILE_MAX], const char *dir, const char *file)
{
	int n = snprintf(ret_path, FILE_MAX, "%s/%s", dir, file);

	return n > 0 && (unsigned)n < FILE_MAX;
}

static int write_text(const char *dir, const char *file, const char *text)
{
	char path[FILE_MAX];
	ssize_t n;
	int fd, rc;

	if (!join(path, dir, file))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	rc = n < 0 ? -errno : 0;
	(void)close(fd); /* nothing is buffered */
	return rc;
}

static int write_number(const char *dir, const char *file, uint64_t number)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, number);
	return write_text(dir, file, text);
}

static int read_text(const char *dir, const char *file, char *ret_text,
		     size_t text_bytes)
{
	char path[FILE_MAX];
	ssize_t n;
	int fd;

	if (!join(path, dir, file))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, ret_text, text_bytes - 1);
	(void)close(fd); /* read only */
	if (n < 0)
		return -EIO;
	ret_text[n] = '\0';
	return 0;
}

/* The number after a word at the start of a line, as in "oom_kill 3". */
static uint64_t keyed_number(const char *text, const char *word)
{
	size_t n = strlen(word);

	/* Read before, or the caller has left: errno is never 0 after a failure. */
	/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Branch): see above */
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, word, n) == 0 && line[n] == ' ')
			return strtoull(line + n + 1, NULL, 10);
		if (!*line)
			break;
	}
	return 0;
}

/* True when list names one of the words between colons: "4:memory:/x" and "memory". */
static bool line_has(const char *controllers, size_t n, const char *word)
{
	size_t w = strlen(word);

	for (size_t i = 0; i + w <= n; i++)
		if ((i == 0 || controllers[i - 1] == ',') &&
		    strncmp(controllers + i, word, w) == 0 &&
		    (i + w == n || controllers[i + w] == ','))
			return true;
	return false;
}

/* Our own group in the hierarchy of that controller ("": version 2), from /proc/self/cgroup. */
static int own_group(const char *controller, char *ret_path, size_t path_bytes)
{
	char text[4096], *save = NULL;

	if (read_text("/proc/self", "cgroup", text, sizeof(text)) != 0)
		return -ENOENT;
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *first = strchr(line, ':');
		char *second = first ? strchr(first + 1, ':') : NULL;
		bool match;

		if (!second)
			continue;
		match = *controller ? line_has(first + 1, (size_t)(second - first - 1),
					       controller)
				    : second == first + 1;
		if (!match)
			continue;
		if (strlen(second + 1) >= path_bytes)
			return -ENAMETOOLONG;
		(void)snprintf(ret_path, path_bytes, "%s", second + 1);
		return 0;
	}
	return -ENOENT;
}

static bool find_v2(const char *path, struct praas_cgroup_root *ret_root)
{
	static const char *const mounts[] = { "/sys/fs/cgroup",
					      "/sys/fs/cgroup/unified" };
	char own[PRAAS_CGROUP_PATH_MAX - 64], text[512];

	if (path) {
		(void)snprintf(ret_root->path[0], PRAAS_CGROUP_PATH_MAX, "%s", path);
		return read_text(path, "cgroup.controllers", text, sizeof(text)) == 0 &&
		       strstr(text, "memory") != NULL;
	}
	if (own_group("", own, sizeof(own)) != 0)
		return false;
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		(void)snprintf(ret_root->path[0], PRAAS_CGROUP_PATH_MAX, "%s%s",
			       mounts[i], strcmp(own, "/") == 0 ? "" : own);
		if (read_text(ret_root->path[0], "cgroup.controllers", text,
			      sizeof(text)) == 0 &&
		    strstr(text, "memory") && strstr(text, "pids"))
			return true;
	}
	return false;
}

static bool find_v1(const char *path, struct praas_cgroup_root *ret_root)
{
	for (uint32_t i = 0; i < 3; i++) {
		char own[PRAAS_CGROUP_PATH_MAX - 64];
		struct stat st;

		if (path)
			(void)snprintf(own, sizeof(own), "/%s", path);
		else if (own_group(v1_names[i], own, sizeof(own)) != 0)
			continue;
		(void)snprintf(ret_root->path[i], PRAAS_CGROUP_PATH_MAX,
			       "/sys/fs/cgroup/%s%s", v1_names[i],
			       strcmp(own, "/") == 0 ? "" : own);
		if (stat(ret_root->path[i], &st) == 0 && S_ISDIR(st.st_mode))
			ret_root->parts |= 1u << i;
	}
	return ret_root->parts != 0;
}

void praas_cgroup_find(uint32_t version, const char *path,
		       struct praas_cgroup_root *ret_root)
{
	*ret_root = (struct praas_cgroup_root){ 0 };
	if (version != 1 && find_v2(version == 2 ? path : NULL, ret_root)) {
		ret_root->version = 2;
		ret_root->parts = PRAAS_CGROUP_ALL;
		return;
	}
	if (version != 2 && find_v1(version == 1 ? path : NULL, ret_root))
		ret_root->version = 1;
}

/* CPU time of one period of 100 ms. */
static uint64_t quota_us(uint32_t cpu_milli)
{
	return (uint64_t)cpu_milli * 100;
}

static uint32_t limit_v2(const char *dir, const struct praas_cgroup_limits *l)
{
	uint32_t parts = 0;
	char text[64];

	if (l->memory_bytes && write_number(dir, "memory.max", l->memory_bytes) == 0) {
		(void)write_text(dir, "memory.swap.max", "0"); /* absent without swap */
		(void)write_text(dir, "memory.oom.group", "1"); /* since Linux 4.19 */
		parts |= PRAAS_CGROUP_MEMORY;
	}
	if (l->pids_max && write_number(dir, "pids.max", l->pids_max) == 0)
		parts |= PRAAS_CGROUP_PIDS;
	(void)snprintf(text, sizeof(text), "%" PRIu64 " 100000",
		       quota_us(l->cpu_milli));
	if (l->cpu_milli && write_text(dir, "cpu.max", text) == 0)
		parts |= PRAAS_CGROUP_CPU;
	return parts;
}

static bool limit_v1(uint32_t part, const char *dir,
		     const struct praas_cgroup_limits *l)
{
	switch (part) {
	case 0:
		if (!l->memory_bytes ||
		    write_number(dir, "memory.limit_in_bytes", l->memory_bytes) != 0)
			return false;
		/* With swap accounting only: memory and swap together. */
		(void)write_number(dir, "memory.memsw.limit_in_bytes", l->memory_bytes);
		(void)write_number(dir, "memory.swappiness", 0); /* best effort */
		return true;
	case 1:
		return l->pids_max && write_number(dir, "pids.max", l->pids_max) == 0;
	default:
		return l->cpu_milli &&
		       write_number(dir, "cpu.cfs_period_us", 100000) == 0 &&
		       write_number(dir, "cpu.cfs_quota_us", quota_us(l->cpu_milli)) ==
			       0;
	}
}

/* mkdir -p for the last missing folders of a version 1 path. */
static int make_dirs(const char *path)
{
	char part[PRAAS_CGROUP_PATH_MAX];
	size_t n = strlen(path);

	if (n >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return -errno;
		part[i] = path[i];
	}
	return 0;
}

static int procs_of(const char *dir)
{
	char file[PRAAS_CGROUP_PATH_MAX + 16];

	(void)snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
	return open(file, O_WRONLY | O_CLOEXEC);
}

static int leaf_part(struct praas_cgroup_leaf *leaf, uint32_t part, const char *root,
		     const char *name)
{
	int n = snprintf(leaf->path[part], PRAAS_CGROUP_PATH_MAX, "%s/%s", root, name);
	int rc;

	if (n < 0 || (unsigned)n >= PRAAS_CGROUP_PATH_MAX)
		return -ENAMETOOLONG;
	rc = make_dirs(leaf->path[part]);
	if (rc != 0)
		return rc;
	leaf->procs_fd[part] = procs_of(leaf->path[part]);
	if (leaf->procs_fd[part] < 0) {
		rc = -errno;
		(void)rmdir(leaf->path[part]); /* best effort: it is empty */
	}
	return rc;
}

/* Who yields to a worker in a group for the processor of its own waits for it: four times the latency of a call.
 * So it has none without a limit, nor where the group of the whole process has one: it goes there then. */
static bool whole_cpu(const char *dir)
{
	char text[32] = "";

	return read_text(dir, "cpu.cfs_quota_us", text, sizeof(text)) == 0 &&
	       text[0] >= '1' && text[0] <= '9';
}

int praas_cgroup_leaf_open(const struct praas_cgroup_root *root, const char *name,
			   const struct praas_cgroup_limits *limits,
			   struct praas_cgroup_leaf *ret_leaf)
{
	struct praas_cgroup_leaf leaf = { .version = root->version,
					  .procs_fd = { -1, -1, -1 } };
	int rc = -EOPNOTSUPP;

	if (root->version == 2) {
		/* Refused when the folder has processes of its own. */
		(void)write_text(root->path[0], "cgroup.subtree_control",
				 "+memory +pids +cpu");
		rc = leaf_part(&leaf, 0, root->path[0], name);
		if (rc == 0)
			leaf.parts = limit_v2(leaf.path[0], limits);
	}
	for (uint32_t i = 0; root->version == 1 && i < 3; i++) {
		int one;

		if (!(root->parts & 1u << i))
			continue;
		if (i == 2 && !limits->cpu_milli)
			continue;
		if (i == 2 && whole_cpu(root->path[i])) {
			leaf.procs_fd[i] = procs_of(root->path[i]);
			leaf.parts |= leaf.procs_fd[i] >= 0 ? 1u << i : 0;
			continue;
		}
		one = leaf_part(&leaf, i, root->path[i], name);
		if (one != 0) {
			rc = leaf.parts ? 0 : one;
			continue;
		}
		rc = 0;
		if (limit_v1(i, leaf.path[i], limits))
			leaf.parts |= 1u << i;
	}
	if (rc == 0)
		*ret_leaf = leaf;
	return rc;
}

void praas_cgroup_leaf_name(uint32_t worker, char ret_name[PRAAS_CGROUP_NAME_MAX])
{
	(void)snprintf(ret_name, PRAAS_CGROUP_NAME_MAX,
		       LEAF_PREFIX "%d" LEAF_MIDDLE "%" PRIu32, (int)getpid(), worker);
}

/* True for a leaf whose controller does not live. One that does in another PID namespace has
 * processes in its leaves, which cannot be removed then, or makes them again. */
static bool is_orphan(const char *name)
{
	char *end;
	long pid;

	if (strncmp(name, LEAF_PREFIX, strlen(LEAF_PREFIX)) != 0)
		return false;
	pid = strtol(name + strlen(LEAF_PREFIX), &end, 10);
	return pid > 0 && pid <= INT32_MAX &&
	       strncmp(end, LEAF_MIDDLE, strlen(LEAF_MIDDLE)) == 0 &&
	       kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

void praas_cgroup_sweep(const struct praas_cgroup_root *root)
{
	for (uint32_t i = 0; i < 3 && root->version != 0; i++) {
		DIR *dir = root->path[i][0] ? opendir(root->path[i]) : NULL;
		const struct dirent *entry;

		while (dir && (entry = readdir(dir)) != NULL)
			if (is_orphan(entry->d_name))
				(void)unlinkat(dirfd(dir), entry->d_name,
					       AT_REMOVEDIR); /* EBUSY: not empty yet */
		if (dir)
			(void)closedir(dir); /* read only */
	}
}

uint64_t praas_cgroup_leaf_ooms(const struct praas_cgroup_leaf *leaf)
{
	char text[1024];

	if (!(leaf->parts & PRAAS_CGROUP_MEMORY))
		return 0;
	if (read_text(leaf->path[0],
		      leaf->version == 2 ? "memory.events" : "memory.oom_control", text,
		      sizeof(text)) != 0)
		return 0;
	return keyed_number(text, "oom_kill");
}

uint64_t praas_cgroup_leaf_cpu_ns(const struct praas_cgroup_leaf *leaf)
{
	char text[1024];

	if (leaf->version != 2 ||
	    read_text(leaf->path[0], "cpu.stat", text, sizeof(text)) != 0)
		return 0;
	return keyed_number(text, "usage_usec") * 1000;
}

int praas_cgroup_leaf_close(struct praas_cgroup_leaf *leaf)
{
	int rc = 0;

	for (uint32_t i = 0; i < 3 && leaf->version != 0; i++) {
		if (leaf->procs_fd[i] >= 0)
			(void)close(leaf->procs_fd[i]); /* nothing is buffered */
		leaf->procs_fd[i] = -1;
		if (leaf->path[i][0] == '\0')
			continue;
		if (rmdir(leaf->path[i]) != 0 && errno == EBUSY)
			rc = -EBUSY;
		else
			leaf->path[i][0] = '\0';
	}
	return rc;
}
