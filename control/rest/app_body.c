/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/app_body.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/life/checkpoint.h"
#include "control/names.h"

static const char *const wait_texts[] = { "adaptive", "spin", "block" };

/* What of the state has no memory is in the store. */
static bool state_fits(const struct praas_app_record *app,
		       struct praas_json_error *error)
{
	if (app->state_bytes == 0)
		return true;
	if (app->state_bytes < app->memory_bytes) {
		(void)snprintf(
			error->text, sizeof(error->text),
			"\"state_bytes\" must be at least \"memory_bytes\", or 0: "
			"then state is what has room in memory");
		return false;
	}
	return true;
}

static bool take_resources(json_t *object, struct praas_app_record *app,
			   struct praas_json_error *error)
{
	static const char *const known[] = { "memory_bytes", "vcpu_milli",
					     "concurrency",  "bytes_max",
					     "state_bytes",  NULL };
	uint64_t concurrency = app->concurrency, vcpu = app->vcpu_milli;

	if (object && !json_is_object(object)) {
		(void)snprintf(error->text, sizeof(error->text),
			       "\"resources\" must be an object");
		return false;
	}
	if (!praas_json_known(object, known, error) ||
	    !praas_json_number(object, "memory_bytes", PRAAS_LIMIT_MEMORY_MIN_BYTES,
			       PRAAS_LIMIT_MEMORY_BYTES, &app->memory_bytes, error) ||
	    !praas_json_number(object, "vcpu_milli", 0, PRAAS_LIMIT_VCPU_MILLI, &vcpu,
			       error) ||
	    !praas_json_number(object, "concurrency", 1, PRAAS_LIMIT_CONCURRENCY,
			       &concurrency, error) ||
	    !praas_json_number(object, "bytes_max", 1, PRAAS_LIMIT_MEMORY_BYTES,
			       &app->bytes_max, error) ||
	    !praas_json_number(object, "state_bytes", 0, PRAAS_LIMIT_STATE_BYTES,
			       &app->state_bytes, error))
		return false;
	if (concurrency > app->memory_bytes / PRAAS_LIMIT_MEMORY_PER_WORKER) {
		(void)snprintf(error->text, sizeof(error->text),
			       "\"concurrency\" is at most %llu with this "
			       "\"memory_bytes\": one for each 16 MiB",
			       (unsigned long long)app->memory_bytes /
				       PRAAS_LIMIT_MEMORY_PER_WORKER);
		return false;
	}
	if (!state_fits(app, error))
		return false;
	app->vcpu_milli = (uint32_t)vcpu;
	app->concurrency = (uint32_t)concurrency;
	if (app->bytes_max > app->memory_bytes)
		app->bytes_max = app->memory_bytes;
	return true;
}

static bool take_choice(const char *name, const char *text, const char *const *choices,
			unsigned count, unsigned *ret_choice,
			struct praas_json_error *error)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(text, choices[i]) != 0)
			continue;
		*ret_choice = i;
		return true;
	}
	(void)snprintf(error->text, sizeof(error->text),
		       "\"%s\" is none of those known", name);
	return false;
}

bool praas_app_take(json_t *object, const char *const *known,
		    struct praas_app_record *app, struct praas_json_error *error)
{
	static const char *const isolations[] = { "worker", "inline" };
	char name_before[sizeof(app->name)], code_before[sizeof(app->code)];
	const char *name = name_before, *code = code_before;
	const char *isolation = isolations[app->isolation_inline];
	const char *wait = wait_texts[app->wait < 3 ? app->wait : 0];
	char durability_before[PRAAS_DURABILITY_BYTES];
	const char *durability = durability_before;
	unsigned inline_code = 0, policy = 0;

	praas_durability_text(app->checkpoint_ms, durability_before);
	memcpy(name_before, app->name, sizeof(name_before));
	memcpy(code_before, app->code, sizeof(code_before));
	if (!praas_json_known(object, known, error) ||
	    !praas_json_text(object, "name", 4096, &name, error) ||
	    !praas_json_text(object, "code", PRAAS_LIMIT_CODE_BYTES - 1, &code,
			     error) ||
	    !praas_json_text(object, "isolation", 64, &isolation, error) ||
	    !praas_json_text(object, "wait", 64, &wait, error) ||
	    !praas_json_text(object, "durability", 64, &durability, error) ||
	    !praas_json_bool(object, "allow_weak_sandbox", &app->allow_weak_sandbox,
			     error) ||
	    !take_choice("isolation", isolation, isolations, 2, &inline_code, error) ||
	    !take_choice("wait", wait, wait_texts, 3, &policy, error) ||
	    !take_resources(json_object_get(object, "resources"), app, error))
		return false;
	if (!praas_durability_parse(durability, &app->checkpoint_ms)) {
		(void)snprintf(error->text, sizeof(error->text),
			       "\"durability\" must be swap, journal, gate, or "
			       "checkpoint:T with T from 100ms to 24h");
		return false;
	}
	if (!praas_name_valid(name)) {
		(void)snprintf(error->text, sizeof(error->text),
			       "\"name\" must be [A-Za-z0-9._-]{1,64}");
		return false;
	}
	app->isolation_inline = inline_code != 0;
	app->wait = (uint8_t)policy;
	(void)snprintf(app->name, sizeof(app->name), "%s", name);
	(void)snprintf(app->code, sizeof(app->code), "%s", code);
	return true;
}

/* Failures that say nothing about the folder. */
static bool is_ours(int error)
{
	return error == ENOMEM || error == EMFILE || error == ENFILE || error == EIO;
}

/* A praas.json. -EINVAL: text says what is wrong with it; else an errno of ours. Whoever made the folder
 * may have put a pipe there, or a file without an end. */
static int manifest_read(const char *file, json_t **ret_manifest, char *ret_text,
			 size_t bytes)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct praas_json_error error = { .no_memory = false };
	const char *why = NULL;
	int rc = -EINVAL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		rc = is_ours(errno) ? -errno : -EINVAL;
		why = strerror(errno);
	} else if (!S_ISREG(st.st_mode))
		why = "is not a file";
	else if (st.st_size > PRAAS_LIMIT_MANIFEST_BYTES)
		why = "is larger than 1 MiB";
	if (!why) {
		*ret_manifest = praas_json_load_fd(fd, &error);
		why = *ret_manifest ? NULL : error.text;
		rc = error.no_memory ? -ENOMEM : -EINVAL;
	}
	if (why)
		(void)snprintf(ret_text, bytes, "%.200s: %.100s", file, why);
	if (fd >= 0)
		(void)close(fd); /* only read */
	return why ? rc : 0;
}

/* The head of a library that this machine can load: 0; -EINVAL it is none; else an errno of ours. What is
 * behind the head is found out by who loads it. */
static int loadable(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), self;
	Elf64_Ehdr own, head;
	int rc = -EINVAL;
	ssize_t n;

	if (fd < 0)
		return is_ours(errno) ? -errno : -EINVAL;
	self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self < 0 || read(self, &own, sizeof(own)) != (ssize_t)sizeof(own))
		rc = -EIO; /* it says nothing about the library */
	else if ((n = read(fd, &head, sizeof(head))) < 0)
		rc = is_ours(errno) ? -errno : -EINVAL;
	else if (n == (ssize_t)sizeof(head) &&
		 memcmp(head.e_ident, own.e_ident, EI_OSABI) == 0 &&
		 head.e_machine == own.e_machine && head.e_type == ET_DYN)
		rc = 0;
	if (self >= 0)
		(void)close(self); /* both are only read */
	(void)close(fd);
	return rc;
}

/* What the controller would find missing when it starts. strict: or broken. As praas_app_code_check(). */
static int libraries_there(json_t *functions, const char *code, bool strict,
			   char *ret_text, size_t bytes)
{
	char path[2 * PRAAS_LIMIT_CODE_BYTES];
	const char *name, *library;
	json_t *function;
	int rc;

	json_object_foreach(functions, name, function)
	{
		library = json_string_value(json_object_get(function, "library"));
		if (!library || (size_t)snprintf(path, sizeof(path), "%s/%s", code,
						 library) >= sizeof(path))
			continue; /* the controller says what is wrong with it */
		if (access(path, R_OK)) {
			(void)snprintf(ret_text, bytes,
				       "function %.64s: library %.200s: %s", name, path,
				       strerror(errno));
			return -EINVAL;
		}
		rc = strict ? loadable(path) : 0;
		if (rc == 0)
			continue;
		(void)snprintf(ret_text, bytes, "function %.64s: %.200s %s", name, path,
			       rc == -EINVAL ? "is no library of this machine"
					     : strerror(-rc));
		return rc;
	}
	return 0;
}

/* The folder must hold a praas.json that names a function. -EINVAL: text says what is wrong. */
int praas_app_code_check(const char *code, bool strict, char *ret_text, size_t bytes)
{
	char file[PRAAS_LIMIT_CODE_BYTES + 16];
	json_t *manifest = NULL, *functions;
	int rc;

	if (code[0] != '/') {
		(void)snprintf(ret_text, bytes, "\"code\" must be an absolute path");
		return -EINVAL;
	}
	(void)snprintf(file, sizeof(file), "%s/praas.json", code);
	rc = manifest_read(file, &manifest, ret_text, bytes);
	if (rc)
		return rc;
	functions = json_object_get(manifest, "functions");
	if (json_object_size(functions) > 0) {
		rc = libraries_there(functions, code, strict, ret_text, bytes);
	} else {
		(void)snprintf(ret_text, bytes, "%.200s: it names no functions", file);
		rc = -EINVAL;
	}
	json_decref(manifest);
	return rc;
}

json_t *praas_app_json(const struct praas_app_record *app)
{
	char id[2 * PRAAS_RECORD_ID_BYTES + 1];
	char digest[2 * PRAAS_RECORD_HASH_BYTES + 1];
	char durability[PRAAS_DURABILITY_BYTES];
	json_t *object;

	praas_durability_text(app->checkpoint_ms, durability);
	praas_hex_encode(app->id, sizeof(app->id), id);
	object = json_pack(
		"{s:s,s:s,s:s,s:{s:I,s:I,s:I,s:I,s:I,s:I},s:s,s:s,s:s,s:b,s:I,s:I}",
		"name", app->name, "id", id, "code", app->code, "resources",
		"memory_bytes", (json_int_t)app->memory_bytes, "vcpu_milli",
		(json_int_t)app->vcpu_milli, "concurrency",
		(json_int_t)app->concurrency, "tasks_max",
		(json_int_t)(app->isolation_inline ? 0 : PRAAS_LIMIT_TASKS_PER_WORKER),
		"bytes_max", (json_int_t)app->bytes_max, "state_bytes",
		(json_int_t)app->state_bytes, "isolation",
		app->isolation_inline ? "inline" : "worker", "wait",
		wait_texts[app->wait < 3 ? app->wait : 0], "durability", durability,
		"allow_weak_sandbox", app->allow_weak_sandbox, "created_s",
		(json_int_t)(app->created_ns / 1000000000u), "revision",
		(json_int_t)app->revision);
	if (!object || app->revision == 0)
		return object;
	praas_hex_encode(app->digest, sizeof(app->digest), digest);
	(void)json_object_set_new(object, "digest", json_string(digest));
	(void)json_object_set_new(
		object, "deployed_s",
		json_integer((json_int_t)(app->deployed_ns / 1000000000u)));
	return object;
}
