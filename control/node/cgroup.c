/* SPDX-License-Identifier: Apache-2.0 */
#include "control/node/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"
#define PATH_BYTES 512
#define PERIOD_US 100000u
#define CONTROLLER_LEAF "controller" /* version 2 allows processes in leaves only */
#define DEPTH_MAX 4                  /* of sub-groups that are looked into */

/* Hierarchies of version 1 that we use. Those that are not mounted are left out. */
static const char *const hierarchies[] = { "memory", "cpu", "pids" };
#define HIERARCHIES (sizeof(hierarchies) / sizeof(hierarchies[0]))

static int write_file(const char *folder, const char *file, const char *text)
{
	char path[PATH_BYTES + 64];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n < 0)
		n = -errno;
	(void)close(fd);
	return n < 0 ? (int)n : 0;
}

static int make_folder(const char *path)
{
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

/* The folder of group in hierarchy i (version 1) or in the one there is (version 2, i = 0).
 * false: there is no such hierarchy. */
static bool folder_of(enum praas_cgroup_version version, size_t i, const char *group,
		      char ret_path[PATH_BYTES])
{
	int n;

	if (version == PRAAS_CGROUP_V2 && i == 0) {
		n = snprintf(ret_path, PATH_BYTES, ROOT "/%s", group);
		return n > 0 && n < PATH_BYTES;
	}
	if (version != PRAAS_CGROUP_V1 || i >= HIERARCHIES)
		return false;
	n = snprintf(ret_path, PATH_BYTES, ROOT "/%s/%s", hierarchies[i], group);
	return n > 0 && n < PATH_BYTES;
}

static bool hierarchy_mounted(size_t i)
{
	char path[PATH_BYTES];

	(void)snprintf(path, sizeof(path), ROOT "/%s/cgroup.procs", hierarchies[i]);
	return access(path, W_OK) == 0;
}

enum praas_cgroup_version praas_cgroup_open(const char *parent)
{
	char path[PATH_BYTES];
	unsigned made = 0;

	if (access(ROOT "/cgroup.subtree_control", W_OK) == 0) {
		/* What the root does not offer cannot be limited below; the rest still is. */
		(void)write_file(ROOT, "cgroup.subtree_control", "+cpu");
		(void)write_file(ROOT, "cgroup.subtree_control", "+memory");
		(void)write_file(ROOT, "cgroup.subtree_control", "+pids");
		if (!folder_of(PRAAS_CGROUP_V2, 0, parent, path) || make_folder(path))
			return PRAAS_CGROUP_NONE;
		(void)write_file(path, "cgroup.subtree_control", "+cpu");
		(void)write_file(path, "cgroup.subtree_control", "+memory");
		(void)write_file(path, "cgroup.subtree_control", "+pids");
		return PRAAS_CGROUP_V2;
	}
	for (size_t i = 0; i < HIERARCHIES; i++)
		if (hierarchy_mounted(i) &&
		    folder_of(PRAAS_CGROUP_V1, i, parent, path) &&
		    make_folder(path) == 0)
			made++;
	return made ? PRAAS_CGROUP_V1 : PRAAS_CGROUP_NONE;
}

void praas_cgroup_close(enum praas_cgroup_version version, const char *parent)
{
	(void)praas_cgroup_remove(version, parent); /* what holds a process stays */
}

static void limit_v1(const char *path, size_t i,
		     const struct praas_cgroup_limits *limits)
{
	char text[32];

	if (!strcmp(hierarchies[i], "cpu") && limits->vcpu_milli) {
		(void)snprintf(text, sizeof(text), "%u",
			       limits->vcpu_milli * (PERIOD_US / 1000u));
		(void)write_file(path, "cpu.cfs_quota_us", text);
	}
	if (!strcmp(hierarchies[i], "pids") && limits->tasks_max) {
		(void)snprintf(text, sizeof(text), "%u", limits->tasks_max);
		(void)write_file(path, "pids.max", text);
	}
}

static void limit_v2(const char *path, const struct praas_cgroup_limits *limits)
{
	char text[64];

	if (limits->vcpu_milli) {
		(void)snprintf(text, sizeof(text), "%u %u",
			       limits->vcpu_milli * (PERIOD_US / 1000u), PERIOD_US);
		(void)write_file(path, "cpu.max", text);
	}
	if (limits->tasks_max) {
		(void)snprintf(text, sizeof(text), "%u", limits->tasks_max);
		(void)write_file(path, "pids.max", text);
	}
	(void)write_file(path, "cgroup.subtree_control", "+cpu");
	(void)write_file(path, "cgroup.subtree_control", "+memory");
	(void)write_file(path, "cgroup.subtree_control", "+pids");
}

int praas_cgroup_make(enum praas_cgroup_version version, const char *group,
		      const struct praas_cgroup_limits *limits)
{
	char path[PATH_BYTES];
	int rc = 0;

	for (size_t i = 0; rc == 0 && folder_of(version, i, group, path); i++) {
		if (version == PRAAS_CGROUP_V1 && !hierarchy_mounted(i))
			continue;
		rc = make_folder(path);
		if (rc == 0 && version == PRAAS_CGROUP_V1)
			limit_v1(path, i, limits);
		if (rc == 0 && version == PRAAS_CGROUP_V2)
			limit_v2(path, limits);
	}
	return rc;
}

int praas_cgroup_enter(enum praas_cgroup_version version, const char *group,
		       pid_t os_pid)
{
	char path[PATH_BYTES], leaf[PATH_BYTES + 32], text[32];
	int rc = 0;

	(void)snprintf(text, sizeof(text), "%d", (int)os_pid);
	for (size_t i = 0; rc == 0 && folder_of(version, i, group, path); i++) {
		if (version == PRAAS_CGROUP_V1) {
			if (hierarchy_mounted(i))
				rc = write_file(path, "cgroup.procs", text);
			continue;
		}
		(void)snprintf(leaf, sizeof(leaf), "%s/" CONTROLLER_LEAF, path);
		rc = make_folder(leaf);
		if (rc == 0)
			rc = write_file(leaf, "cgroup.procs", text);
	}
	return rc;
}

static void kill_listed(const char *path)
{
	char file[PATH_BYTES + 16], line[32];
	FILE *f;

	(void)snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	f = fopen(file, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		long pid = strtol(line, NULL, 10);

		if (pid > 1)
			(void)kill((pid_t)pid, SIGKILL); /* it may have gone */
	}
	(void)fclose(f);
}

/* Next sub-folder of an open folder into ret_path; false: no more. */
static bool next_folder(DIR *dir, const char *path, char ret_path[PATH_BYTES])
{
	struct dirent *e;

	while ((e = readdir(dir))) {
		int n;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		n = snprintf(ret_path, PATH_BYTES, "%s/%s", path, e->d_name);
		if (n > 0 && n < PATH_BYTES)
			return true;
	}
	return false;
}

/* Visits a folder and those below, the deepest first, by an explicit stack. */
static void walk(const char *top, void (*visit)(const char *path))
{
	char path[DEPTH_MAX + 1][PATH_BYTES];
	DIR *dir[DEPTH_MAX + 1] = { NULL };
	int depth = 0;

	(void)snprintf(path[0], PATH_BYTES, "%s", top);
	dir[0] = opendir(top);
	while (depth >= 0) {
		char child[PATH_BYTES];

		if (depth < DEPTH_MAX && dir[depth] &&
		    next_folder(dir[depth], path[depth], child)) {
			depth++;
			memcpy(path[depth], child, sizeof(child));
			dir[depth] = opendir(path[depth]);
			continue;
		}
		if (dir[depth])
			(void)closedir(dir[depth]);
		visit(path[depth]);
		depth--;
	}
}

void praas_cgroup_kill(enum praas_cgroup_version version, const char *group)
{
	char path[PATH_BYTES];

	for (size_t i = 0; folder_of(version, i, group, path); i++)
		if (version != PRAAS_CGROUP_V2 || write_file(path, "cgroup.kill", "1"))
			walk(path, kill_listed);
}

static void remove_folder(const char *path)
{
	(void)rmdir(path); /* EBUSY: something lives; its end is not ours to wait for */
}

bool praas_cgroup_remove(enum praas_cgroup_version version, const char *group)
{
	char path[PATH_BYTES];
	bool gone = true;

	for (size_t i = 0; folder_of(version, i, group, path); i++) {
		walk(path, remove_folder);
		gone = gone && access(path, F_OK) != 0;
	}
	return gone;
}

json_t *praas_cgroup_describe(enum praas_cgroup_version version, const char *group)
{
	char path[PATH_BYTES];

	switch (version) {
	case PRAAS_CGROUP_V2:
		return folder_of(version, 0, group, path)
			       ? json_pack("{s:i,s:s}", "version", 2, "path", path)
			       : NULL;
	case PRAAS_CGROUP_V1:
		return json_pack("{s:i,s:s}", "version", 1, "path", group);
	case PRAAS_CGROUP_NONE:
		return json_null();
	default:
		return NULL;
	}
}
