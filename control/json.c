/* SPDX-License-Identifier: Apache-2.0 */
#include "control/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/limits.h"

/* jansson takes a string that it has no memory for as bad JSON, and drops a byte that its buffer cannot
 * grow for without a word: what was read while memory failed is not what was sent. */
static _Thread_local bool memory_failed;

/* What is read in between must not make a thread forget what failed while it made a value. */
static bool begin_reading(void)
{
	bool before = memory_failed;

	memory_failed = false;
	return before;
}

static void *allocate(size_t bytes)
{
	void *p = malloc(bytes);

	memory_failed = memory_failed || !p;
	return p;
}

void praas_json_prepare(void)
{
	json_set_alloc_funcs(allocate, free);
}

char *praas_json_dump_as(const json_t *value, size_t flags)
{
	char *text = json_dumps(value, JSON_COMPACT | flags);

	if (memory_failed) {
		free(text);
		text = NULL;
	}
	memory_failed = false;
	return text;
}

char *praas_json_dump(const json_t *value)
{
	return praas_json_dump_as(value, 0);
}

/* value, unless memory failed while it was read. */
static json_t *whole(json_t *value)
{
	if (!value || !memory_failed)
		return value;
	json_decref(value);
	return NULL;
}

void praas_json_begin(void)
{
	memory_failed = false;
}

static void explain(const json_error_t *error, struct praas_json_error *ret_error)
{
	ret_error->no_memory = memory_failed;
	if (memory_failed)
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "out of memory");
	else
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "line %d, column %d: %.120s", error->line, error->column,
			       error->text);
}

json_t *praas_json_load_fd(int fd, struct praas_json_error *ret_error)
{
	bool before = begin_reading();
	json_error_t error;
	json_t *value;

	*ret_error = (struct praas_json_error){ .no_memory = false };
	value = whole(json_loadfd(fd, JSON_REJECT_DUPLICATES, &error));
	if (!value)
		explain(&error, ret_error);
	memory_failed = before;
	return value;
}

/* Nesting is checked before parsing: jansson's own bound (2048) is for its stack's sake. */
static bool depth_fits(const char *text, size_t bytes)
{
	bool quoted = false;
	unsigned depth = 0;

	for (size_t i = 0; i < bytes; i++) {
		char c = text[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '{' || c == '[') &&
			 ++depth > PRAAS_LIMIT_JSON_DEPTH)
			return false;
		else if (!quoted && (c == '}' || c == ']') && depth > 0)
			depth--;
	}
	return true;
}

json_t *praas_json_parse(const char *text, size_t bytes,
			 struct praas_json_error *ret_error)
{
	json_error_t error;
	json_t *object;
	bool before;

	*ret_error = (struct praas_json_error){ .no_memory = false };
	if (!depth_fits(text, bytes)) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "nested deeper than %u", PRAAS_LIMIT_JSON_DEPTH);
		return NULL;
	}
	before = begin_reading();
	object = whole(json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error));
	if (!object)
		explain(&error, ret_error);
	memory_failed = before;
	if (!object)
		return NULL;
	if (!json_is_object(object)) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "an object is wanted");
		json_decref(object);
		return NULL;
	}
	return object;
}

bool praas_json_known(json_t *object, const char *const *names,
		      struct praas_json_error *ret_error)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		size_t i = 0;

		while (names[i] && strcmp(names[i], key) != 0)
			i++;
		if (!names[i]) {
			(void)snprintf(ret_error->text, sizeof(ret_error->text),
				       "no member \"%.64s\" is known here", key);
			return false;
		}
	}
	return true;
}

bool praas_json_text(const json_t *object, const char *name, size_t bytes_max,
		     const char **ret_text, struct praas_json_error *ret_error)
{
	const json_t *value = json_object_get(object, name);

	if (!value)
		return true;
	if (!json_is_string(value)) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "\"%s\" must be a string", name);
		return false;
	}
	if (json_string_length(value) > bytes_max) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "\"%s\" may have %zu bytes", name, bytes_max);
		return false;
	}
	*ret_text = json_string_value(value);
	return true;
}

bool praas_json_number(const json_t *object, const char *name, uint64_t min,
		       uint64_t max, uint64_t *ret_number,
		       struct praas_json_error *ret_error)
{
	const json_t *value = json_object_get(object, name);
	json_int_t n;

	if (!value)
		return true;
	n = json_is_integer(value) ? json_integer_value(value) : -1;
	if (n < 0 || (uint64_t)n < min || (uint64_t)n > max) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "\"%s\" must be a whole number from %llu to %llu", name,
			       (unsigned long long)min, (unsigned long long)max);
		return false;
	}
	*ret_number = (uint64_t)n;
	return true;
}

bool praas_json_bool(const json_t *object, const char *name, bool *ret_bool,
		     struct praas_json_error *ret_error)
{
	const json_t *value = json_object_get(object, name);

	if (!value)
		return true;
	if (!json_is_boolean(value)) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "\"%s\" must be true or false", name);
		return false;
	}
	*ret_bool = json_is_true(value);
	return true;
}

const char *praas_json_text_or(const json_t *object, const char *name,
			       const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : otherwise;
}

uint64_t praas_json_number_or(const json_t *object, const char *name,
			      uint64_t otherwise)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return otherwise;
	return (uint64_t)json_integer_value(value);
}
