/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "controller/file.h"
#include "dataplane/invocation.h"

#define TRIGGER_TIMEOUT_MS_MAX (24u * 3600u * 1000u)

/* A C identifier. */
static bool is_symbol(const char *text)
{
	size_t bytes = strlen(text);

	return bytes >= 1 && bytes <= PRAAS_NAME_MAX &&
	       !(text[0] >= '0' && text[0] <= '9') &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			    "0123456789_") == bytes;
}

/* Relative, and never out of the folder. */
static bool is_inside(const char *path)
{
	if (path[0] == '\0' || path[0] == '/')
		return false;
	for (const char *part = path; part; part = strchr(part, '/')) {
		if (*part == '/')
			part++;
		if (*part == '\0' || *part == '/' || strcmp(part, "..") == 0 ||
		    strncmp(part, "../", 3) == 0)
			return false;
	}
	return true;
}

static void read_trigger(struct praas_json_reader *parent, const char *where,
			 struct praas_function *f)
{
	static const char *const types[] = { "standard", "multi-source", "batch",
					     NULL };
	const json_t *value = praas_json_member(parent, "trigger");
	struct praas_json_reader r;

	f->trigger = PRAAS_TRIGGER_STANDARD;
	f->trigger_count = 1;
	if (!value)
		return;
	r = praas_json_reader(value, where, parent->error);
	f->trigger = praas_json_choice(&r, "type", types, NULL);
	if (f->trigger != PRAAS_TRIGGER_STANDARD) {
		f->trigger_count =
			(uint32_t)praas_json_number(&r, "count", 1, PRAAS_INPUTS_MAX);
		f->trigger_timeout_ns =
			1000000u * praas_json_number_or(&r, "timeout_ms", 1,
							TRIGGER_TIMEOUT_MS_MAX, 0);
	}
	(void)praas_json_string(&r, "description", 4096, ""); /* for people */
	praas_json_end(&r);
}

/* A function, and what its result goes on to: "" to the caller. */
struct read {
	struct praas_function f;
	const char *then;
};

/* The name of a function, or {"function": NAME, "process": NAME}. */
static void read_then(struct praas_json_reader *parent, const char *function,
		      struct read *ret)
{
	const json_t *value = praas_json_member(parent, "then");
	char where[PRAAS_NAME_MAX + 32];
	struct praas_json_reader r;
	const char *process;

	ret->then = "";
	if (!value)
		return;
	if (json_is_string(value)) {
		ret->then = json_string_value(value);
		if (json_string_length(value) > PRAAS_NAME_MAX)
			praas_json_fail(parent, "then", "is too long");
		return;
	}
	if (!json_is_object(value)) {
		praas_json_fail(parent, "then", "must be a string or an object");
		return;
	}
	(void)snprintf(where, sizeof(where), "functions.%.64s.then", function);
	r = praas_json_reader(value, where, parent->error);
	ret->then = praas_json_string(&r, "function", PRAAS_NAME_MAX, NULL);
	process = praas_json_string(&r, "process", PRAAS_NAME_MAX, NULL);
	(void)praas_json_string(&r, "description", 4096, ""); /* for people */
	if (!praas_json_failed(&r) && ret->then[0] == '\0')
		praas_json_fail(&r, "function", "must be the name of a function");
	if (!praas_json_failed(&r) && !praas_json_is_name(process))
		praas_json_fail(
			&r, "process",
			"is no name of a process: 1 to 64 of A-Z a-z 0-9 . _ -");
	praas_json_end(&r);
	if (!praas_json_failed(&r))
		(void)snprintf(ret->f.then_process, sizeof(ret->f.then_process), "%s",
			       process); /* checked */
}

static void read_function(const char *name, const json_t *value, const char *code,
			  struct read *ret, char *error)
{
	struct praas_function *ret_f = &ret->f;
	static const char *const modes[] = { "parallel", "serial", "serial-per-key",
					     NULL };
	char where[PRAAS_NAME_MAX + 32];
	struct praas_json_reader r;
	const char *library, *symbol;

	(void)snprintf(where, sizeof(where), "functions.%.64s", name);
	r = praas_json_reader(value, where, error);
	if (!praas_json_is_name(name))
		praas_json_fail(
			&r, "",
			"is no name of a function: 1 to 64 of A-Z a-z 0-9 . _ -");
	library = praas_json_string(&r, "library", sizeof(ret_f->library) - 1, NULL);
	if (!praas_json_failed(&r) && !is_inside(library))
		praas_json_fail(&r, "library", "must be a path inside the code folder");
	symbol = praas_json_string(&r, "symbol", PRAAS_NAME_MAX, name);
	if (!praas_json_failed(&r) && !is_symbol(symbol))
		praas_json_fail(&r, "symbol", "must be a name as C has them");
	ret_f->concurrency = praas_json_choice(&r, "concurrency", modes, "parallel");
	read_trigger(&r, where, ret_f);
	read_then(&r, name, ret);
	(void)praas_json_string(&r, "description", 4096, ""); /* for people */
	praas_json_end(&r);
	if (praas_json_failed(&r))
		return;
	(void)snprintf(ret_f->name, sizeof(ret_f->name), "%s", name); /* checked */
	(void)snprintf(ret_f->symbol, sizeof(ret_f->symbol), "%s",
		       symbol); /* checked */
	if ((size_t)snprintf(ret_f->library, sizeof(ret_f->library), "%s/%s", code,
			     library) >= sizeof(ret_f->library))
		praas_json_fail(&r, "library", "has too long a path");
}

static int by_name(const void *a, const void *b)
{
	const struct read *x = a, *y = b;

	return strcmp(x->f.name, y->f.name);
}

/* Pipelines have an end. */
static void check_stages(const struct praas_function *all, uint32_t first, char *error)
{
	uint32_t stages = 1;

	for (uint32_t i = first; all[i].then != 0; i = all[i].then - 1)
		if (++stages > PRAAS_MANIFEST_STAGES_MAX) {
			(void)snprintf(error, PRAAS_JSON_ERROR_MAX,
				       "functions.%.64s.then: leads in a circle, or "
				       "through more than %u functions",
				       all[first].name, PRAAS_MANIFEST_STAGES_MAX);
			return;
		}
}

/* Names of functions become their numbers, + 1. */
static void link_stages(const struct read *in, uint32_t count,
			struct praas_function *all, char *error)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t then = 0;

		all[i] = in[i].f;
		while (in[i].then[0] != '\0' && then < count &&
		       strcmp(in[then].f.name, in[i].then) != 0)
			then++;
		if (then == count) {
			(void)snprintf(error, PRAAS_JSON_ERROR_MAX,
				       "functions.%.64s.then: there is no function "
				       "%.64s",
				       all[i].name, in[i].then);
			return;
		}
		all[i].then = in[i].then[0] != '\0' ? then + 1 : 0;
	}
	for (uint32_t i = 0; i < count && error[0] == '\0'; i++)
		check_stages(all, i, error);
}

static int read_functions(const json_t *functions, const char *code,
			  struct praas_manifest *ret_manifest, char *error)
{
	size_t count = json_object_size(functions);
	struct praas_function *all;
	struct read *in;
	const char *name;
	json_t *value;
	uint32_t i = 0;

	if (count < 1 || count > PRAAS_MANIFEST_FUNCTIONS_MAX) {
		(void)snprintf(error, PRAAS_JSON_ERROR_MAX,
			       "functions: must be 1 to %u functions",
			       PRAAS_MANIFEST_FUNCTIONS_MAX);
		return -EINVAL;
	}
	all = calloc(count, sizeof(*all));
	in = calloc(count, sizeof(*in));
	if (!all || !in) {
		free(all);
		free(in);
		return -ENOMEM;
	}
	json_object_foreach((json_t *)(uintptr_t)functions, name, value)
		read_function(name, value, code, &in[i++], error);
	if (error[0] == '\0') {
		qsort(in, count, sizeof(*in), by_name);
		link_stages(in, (uint32_t)count, all, error);
	}
	free(in);
	if (error[0] != '\0') {
		free(all);
		return -EINVAL;
	}
	ret_manifest->functions = all;
	ret_manifest->count = (uint32_t)count;
	return 0;
}

int praas_manifest_parse(const char *text, size_t bytes, const char *code,
			 struct praas_manifest *ret_manifest,
			 char error[PRAAS_JSON_ERROR_MAX])
{
	struct praas_json_reader r;
	const json_t *functions;
	json_t *root;
	int rc;

	error[0] = '\0';
	if (bytes > PRAAS_MANIFEST_BYTES_MAX) {
		(void)snprintf(error, PRAAS_JSON_ERROR_MAX, "is larger than 1 MiB");
		return -EINVAL;
	}
	root = praas_json_parse(text, bytes, error);
	if (!root)
		return -EINVAL;
	r = praas_json_reader(root, "", error);
	(void)praas_json_string(&r, "description", 4096, ""); /* for people */
	functions = praas_json_member(&r, "functions");
	if (!json_is_object(functions))
		praas_json_fail(&r, "functions", "is missing or no object");
	praas_json_end(&r);
	rc = praas_json_failed(&r)
		     ? -EINVAL
		     : read_functions(functions, code, ret_manifest, error);
	json_decref(root);
	return rc;
}

/* Whatever a changed file changes: its inode when it is replaced, its times when it is written. */
static uint64_t add_stamp(uint64_t stamp, const char *path)
{
	struct stat st;
	uint64_t words[7] = { stamp };

	if (stat(path, &st) == 0) {
		words[1] = (uint64_t)st.st_ino;
		words[2] = (uint64_t)st.st_size;
		words[3] = (uint64_t)st.st_mtim.tv_sec;
		words[4] = (uint64_t)st.st_mtim.tv_nsec;
		words[5] = (uint64_t)st.st_ctim.tv_sec;
		words[6] = (uint64_t)st.st_ctim.tv_nsec;
	}
	return XXH3_64bits(words, sizeof(words));
}

static uint64_t stamp_of(const char *code, const struct praas_manifest *m)
{
	uint64_t stamp;
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/" PRAAS_MANIFEST_FILE,
		       code); /* fitted when it was read */
	stamp = add_stamp(0, path);
	for (uint32_t i = 0; i < m->count; i++)
		if (i == 0 ||
		    strcmp(m->functions[i].library, m->functions[i - 1].library) != 0)
			stamp = add_stamp(stamp, m->functions[i].library);
	return stamp;
}

bool praas_manifest_stale(const char *code, const struct praas_manifest *manifest)
{
	return stamp_of(code, manifest) != manifest->stamp;
}

int praas_manifest_load(const char *code, struct praas_manifest *ret_manifest,
			char error[PRAAS_JSON_ERROR_MAX])
{
	char path[512];
	char *text;
	size_t bytes;
	int rc;

	error[0] = '\0';
	if ((size_t)snprintf(path, sizeof(path), "%s/" PRAAS_MANIFEST_FILE, code) >=
	    sizeof(path)) {
		(void)snprintf(error, PRAAS_JSON_ERROR_MAX, "too long a path");
		return -EINVAL;
	}
	rc = praas_file_read(path, PRAAS_MANIFEST_BYTES_MAX, &text, &bytes);
	if (rc != 0) {
		(void)snprintf(error, PRAAS_JSON_ERROR_MAX, "cannot read %.180s: %s",
			       path, strerror(-rc));
		return rc == -ENOMEM ? rc : -EINVAL;
	}
	rc = praas_manifest_parse(text, bytes, code, ret_manifest, error);
	free(text);
	for (uint32_t i = 0; rc == 0 && i < ret_manifest->count; i++) {
		const struct praas_function *f = &ret_manifest->functions[i];

		if (access(f->library, R_OK) == 0)
			continue;
		(void)snprintf(error, PRAAS_JSON_ERROR_MAX,
			       "functions.%s.library: cannot read %.120s: %s", f->name,
			       f->library, strerror(errno));
		praas_manifest_release(ret_manifest);
		rc = -EINVAL;
	}
	if (rc == 0)
		ret_manifest->stamp = stamp_of(code, ret_manifest);
	return rc;
}

void praas_manifest_release(struct praas_manifest *manifest)
{
	free(manifest->functions);
	*manifest = (struct praas_manifest){ 0 };
}
