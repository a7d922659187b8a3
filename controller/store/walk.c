/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/store/redis.h"
#include "controller/store/s3_private.h"

#define PATH_BYTES 4096
#define BELOW_BYTES (2u * PRAAS_STORE_KEY_MAX + 2u)

struct walk {
	const char *root; /* of files */
	struct praas_store *store;
	praas_store_list_fn fn;
	void *user;
	char app[PRAAS_STORE_KEY_MAX + 1];
};

static int told(struct walk *w, const char *name)
{
	char below[BELOW_BYTES];

	(void)snprintf(below, sizeof(below), "%s/%s", w->app, name); /* fits */
	return w->fn(w->user, below);
}

/* ---- files ---- */

static int no_dot(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static bool is_folder(const char *root, const char *a, const char *b, const char *c)
{
	char path[PATH_BYTES];
	struct stat st;
	int n = snprintf(path, sizeof(path), "%s/%s/%s/%s", root, a, b, c);

	return n > 0 && n < PATH_BYTES && lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Of each folder in root/part, in order. */
static int each_folder(struct walk *w, const char *part,
		       int (*fn)(struct walk *w, const char *name))
{
	char path[PATH_BYTES];
	struct dirent **entries = NULL;
	int n = snprintf(path, sizeof(path), "%s/%s", w->root, part), rc = 0;

	if (n < 0 || n >= PATH_BYTES)
		return -EINVAL;
	n = scandir(path, &entries, no_dot, alphasort);
	if (n < 0)
		return errno == ENOENT || errno == EACCES ? -errno : -EIO;
	for (int i = 0; i < n; i++) {
		if (rc == 0 && praas_store_key_check(entries[i]->d_name) == 0 &&
		    is_folder(w->root, part, entries[i]->d_name, ""))
			rc = fn(w, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

static int file_store(struct walk *w, const char *name)
{
	return is_folder(w->root, w->app, name, "log") ||
			       is_folder(w->root, w->app, name, "chunk")
		       ? told(w, name)
		       : 0;
}

static int file_app(struct walk *w, const char *name)
{
	int rc;

	(void)snprintf(w->app, sizeof(w->app), "%s", name); /* a key */
	rc = each_folder(w, name, file_store);
	return rc == -ENOENT ? 0 : rc; /* it just went */
}

static int walk_files(struct walk *w)
{
	if (is_folder(w->root, "log", "", ""))
		return w->fn(w->user, "");
	return each_folder(w, "", file_app);
}

/* ---- a bucket ---- */

struct names {
	char (*names)[PRAAS_STORE_KEY_MAX + 1];
	size_t count, room;
};

static int add_name(void *user, const char *name)
{
	struct names *n = user;

	if (n->count == n->room) {
		size_t room = n->room ? 2 * n->room : 64;
		void *more = realloc(n->names, room * sizeof(*n->names));

		if (!more)
			return -ENOMEM;
		n->names = more;
		n->room = room;
	}
	memcpy(n->names[n->count++], name, strlen(name) + 1);
	return 0;
}

static int bucket_app(struct walk *w, const char *app)
{
	char prefix[PRAAS_STORE_KEY_MAX + 2];
	struct names stores = { 0 };
	int rc;

	(void)snprintf(w->app, sizeof(w->app), "%s", app); /* a key */
	(void)snprintf(prefix, sizeof(prefix), "%s/", app);
	rc = praas_s3_folders(w->store, prefix, add_name, &stores);
	for (size_t i = 0; rc == 0 && i < stores.count; i++)
		rc = told(w, stores.names[i]);
	free(stores.names);
	return rc;
}

/* All of a folder's names before the first is told: who is told may ask the store as well. */
static int walk_bucket(struct walk *w)
{
	struct names apps = { 0 };
	bool is_one = false;
	int rc = praas_s3_folders(w->store, "", add_name, &apps);

	for (size_t i = 0; i < apps.count; i++)
		is_one |= strcmp(apps.names[i], "log") == 0;
	if (rc == 0 && is_one)
		rc = w->fn(w->user, "");
	for (size_t i = 0; rc == 0 && !is_one && i < apps.count; i++)
		rc = bucket_app(w, apps.names[i]);
	free(apps.names);
	return rc;
}

int praas_store_walk(const char *url, praas_store_list_fn fn, void *user,
		     char ret_why[PRAAS_STORE_WHY_BYTES])
{
	static const char file[] = "file://";
	struct walk w = { .fn = fn, .user = user };
	int rc;

	ret_why[0] = '\0';
	if (strncmp(url, file, sizeof(file) - 1) == 0 && url[sizeof(file) - 1] == '/') {
		w.root = url + sizeof(file) - 1;
		return walk_files(&w);
	}
	if (strncmp(url, "s3:", 3) != 0 && !praas_redis_store_is(url))
		return -EINVAL;
	rc = praas_store_open(url, &w.store);
	if (rc != 0)
		return rc;
	rc = praas_redis_store_is(url) ? praas_redis_store_walk(w.store, fn, user)
				       : walk_bucket(&w);
	if (rc != 0)
		memcpy(ret_why, w.store->why, PRAAS_STORE_WHY_BYTES);
	praas_store_free(w.store);
	return rc;
}
