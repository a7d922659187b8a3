/* SPDX-License-Identifier: Apache-2.0
 *
 * Applications, and who belongs to one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/json.h"
#include "control/names.h"
#include "control/rest/page.h"
#include "control/rest/request.h"

#define MEMORY_DEFAULT (256ull << 20)
#define BYTES_MAX_DEFAULT (1ull << 30)
#define MANIFEST_BYTES_MAX (256u * 1024)

static const char *const wait_texts[] = { "adaptive", "spin", "block" };

static void refuse_json(struct praas_request *rq, const struct praas_json_error *error)
{
	praas_reply_error(rq, 400, "invalid", "see docs/rest.md, POST /v1/apps", "%s",
			  error->text);
}

static bool take_resources(json_t *object, struct praas_app_record *app,
			   struct praas_json_error *error)
{
	static const char *const known[] = { "memory_bytes", "vcpu_milli",
					     "concurrency", "bytes_max", NULL };
	uint64_t concurrency = 1, vcpu = 0;

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
			       &app->bytes_max, error))
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

static bool take_app(json_t *object, struct praas_app_record *app,
		     struct praas_json_error *error)
{
	static const char *const known[] = { "name",      "code", "resources",
					     "isolation", "wait", "allow_weak_sandbox",
					     NULL };
	static const char *const isolations[] = { "worker", "inline" };
	const char *name = "", *code = "", *isolation = "worker", *wait = "adaptive";
	unsigned inline_code = 0, policy = 0;

	if (!praas_json_known(object, known, error) ||
	    !praas_json_text(object, "name", 4096, &name, error) ||
	    !praas_json_text(object, "code", PRAAS_LIMIT_CODE_BYTES - 1, &code,
			     error) ||
	    !praas_json_text(object, "isolation", 64, &isolation, error) ||
	    !praas_json_text(object, "wait", 64, &wait, error) ||
	    !praas_json_bool(object, "allow_weak_sandbox", &app->allow_weak_sandbox,
			     error) ||
	    !take_choice("isolation", isolation, isolations, 2, &inline_code, error) ||
	    !take_choice("wait", wait, wait_texts, 3, &policy, error) ||
	    !take_resources(json_object_get(object, "resources"), app, error))
		return false;
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

/* What the controller would find missing when it starts. */
static bool libraries_there(json_t *functions, const char *code, char *ret_text,
			    size_t bytes)
{
	char path[2 * PRAAS_LIMIT_CODE_BYTES];
	const char *name, *library;
	json_t *function;

	json_object_foreach(functions, name, function)
	{
		library = json_string_value(json_object_get(function, "library"));
		if (!library || (size_t)snprintf(path, sizeof(path), "%s/%s", code,
						 library) >= sizeof(path))
			continue; /* the controller says what is wrong with it */
		if (access(path, R_OK) == 0)
			continue;
		(void)snprintf(ret_text, bytes, "function %.64s: library %.200s: %s",
			       name, path, strerror(errno));
		return false;
	}
	return true;
}

/* The folder must hold a praas.json that names a function. -EINVAL: text says what is wrong. */
static int code_check(const char *code, char *ret_text, size_t bytes)
{
	char file[PRAAS_LIMIT_CODE_BYTES + 16];
	json_t *manifest = NULL, *functions;
	bool good;
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
	good = json_object_size(functions) > 0;
	if (!good)
		(void)snprintf(ret_text, bytes, "%.200s: it names no functions", file);
	else
		good = libraries_there(functions, code, ret_text, bytes);
	json_decref(manifest);
	return good ? 0 : -EINVAL;
}

static json_t *app_json(const struct praas_app_record *app)
{
	char id[2 * PRAAS_RECORD_ID_BYTES + 1];

	praas_hex_encode(app->id, sizeof(app->id), id);
	return json_pack("{s:s,s:s,s:s,s:{s:I,s:I,s:I,s:I},s:s,s:s,s:b,s:I}", "name",
			 app->name, "id", id, "code", app->code, "resources",
			 "memory_bytes", (json_int_t)app->memory_bytes, "vcpu_milli",
			 (json_int_t)app->vcpu_milli, "concurrency",
			 (json_int_t)app->concurrency, "bytes_max",
			 (json_int_t)app->bytes_max, "isolation",
			 app->isolation_inline ? "inline" : "worker", "wait",
			 wait_texts[app->wait < 3 ? app->wait : 0],
			 "allow_weak_sandbox", app->allow_weak_sandbox, "created_s",
			 (json_int_t)(app->created_ns / 1000000000u));
}

void praas_route_apps_create(struct praas_request *rq)
{
	struct praas_app_record app = { .memory_bytes = MEMORY_DEFAULT,
					.bytes_max = BYTES_MAX_DEFAULT };
	struct praas_records *records = rq->service->records;
	struct praas_json_error error;
	struct timespec now;
	char text[400];
	int rc;

	if (json_object_get(rq->json, "triggers")) {
		praas_reply_error(rq, 400, "invalid", "write them into praas.json",
				  "triggers are those of the code's manifest");
		return;
	}
	if (!take_app(rq->json, &app, &error)) {
		refuse_json(rq, &error);
		return;
	}
	rc = code_check(app.code, text, sizeof(text));
	if (rc && rc != -EINVAL) {
		praas_reply_errno(rq, rc, "praas.json cannot be read");
		return;
	}
	if (rc) {
		praas_reply_error(
			rq, 400, "invalid_code",
			"give the absolute path of a folder with praas.json and its "
			"libraries",
			"%s", text);
		return;
	}
	memcpy(app.tenant, rq->caller.tenant, sizeof(app.tenant));
	praas_random(app.id, sizeof(app.id));
	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	app.created_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (praas_tenants_take(rq->service->tenants, app.tenant, PRAAS_QUOTA_APPS, 1)) {
		praas_reply_quota(rq, PRAAS_QUOTA_APPS);
		return;
	}
	memcpy(rq->made, app.name, sizeof(app.name));
	rc = records->ops->app_put(records, &app);
	if (rc)
		praas_tenants_give(rq->service->tenants, app.tenant, PRAAS_QUOTA_APPS,
				   1);
	if (rc == -EEXIST)
		praas_reply_error(rq, 409, "exists",
				  "choose another name, or delete it first",
				  "there is an application of that name");
	else if (rc == -ENOSPC)
		praas_reply_error(rq, 409, "limit_apps",
				  "delete applications that are not "
				  "needed",
				  "there may be %u applications", PRAAS_LIMIT_APPS);
	else if (rc)
		praas_reply_errno(rq, rc, "the record cannot be written");
	else
		praas_reply_json(rq, 201, app_json(&app));
}

void praas_route_apps_list(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	struct praas_app_record *apps;
	struct praas_page page;
	json_t *list, *reply;
	uint32_t count = 0;
	bool more;
	int rc;

	if (!praas_page_parse(rq, &page))
		return;
	apps = calloc(page.limit + 1, sizeof(*apps));
	list = json_array();
	rc = apps && list ? records->ops->app_list(records, rq->caller.tenant,
						   page.after[0] ? page.after : NULL,
						   page.limit + 1, apps, &count)
			  : -ENOMEM;
	more = praas_page_more(&page, &count);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		if (json_array_append_new(list, app_json(&apps[i])))
			rc = -ENOMEM;
	reply = praas_page_json("apps", list, more ? apps[count - 1].name : NULL);
	free(apps);
	praas_reply_list(rq, rc, "applications", reply);
}

void praas_route_apps_show(struct praas_request *rq)
{
	if (praas_request_app(rq))
		praas_reply_json(rq, 200, app_json(&rq->app));
}

void praas_route_apps_delete(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	int rc;

	if (!praas_request_app(rq))
		return;
	rc = records->ops->app_delete(records, rq->app.id);
	if (rc == 0)
		praas_tenants_give(rq->service->tenants, rq->app.tenant,
				   PRAAS_QUOTA_APPS, 1);
	if (rc == -ENOTEMPTY)
		praas_reply_error(rq, 409, "not_empty", "delete its processes first",
				  "the application has processes");
	else if (rc)
		praas_reply_errno(rq, rc, "application");
	else
		praas_reply_empty(rq, 204);
}

static json_t *member_json(struct praas_request *rq,
			   const struct praas_process_record *p)
{
	struct praas_life_view view = { .record = *p };

	praas_life_view(rq->service->life, &view);
	return json_pack(
		"{s:s,s:I,s:s,s:I}", "pid", view.record.name, "number",
		(json_int_t)view.record.number, "state",
		praas_life_state_text((enum praas_life_state)view.record.state),
		"epoch", (json_int_t)view.record.epoch);
}

void praas_route_members(struct praas_request *rq)
{
	char version[PRAAS_EVENT_ID_BYTES];
	json_t *reply;
	int rc;

	praas_events_now(rq->service->events, version); /* before what is read */
	rc = praas_page_processes(rq, "members", member_json, &reply);
	if (rc > 0)
		return; /* answered */
	if (reply && (json_object_set_new(reply, "app", json_string(rq->app.name)) ||
		      json_object_set_new(reply, "version", json_string(version))))
		rc = -ENOMEM;
	praas_reply_list(rq, rc, "members", reply);
}
