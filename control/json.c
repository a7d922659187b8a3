/* SPDX-License-Identifier: Apache-2.0 */
#include "control/json.h"

#include <stdio.h>
#include <string.h>

#include "control/limits.h"

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
	json_t *object;

	*ret_error = (struct praas_json_error){ .no_memory = false };
	if (!depth_fits(text, bytes)) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "nested deeper than %u", PRAAS_LIMIT_JSON_DEPTH);
		return NULL;
	}
	object = praas_json_load(text, bytes, ret_error);
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
