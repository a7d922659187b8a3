/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/json.h"

#include <stdio.h>
#include <string.h>

#include "praas/types.h"

json_t *praas_json_parse(const char *text, size_t bytes,
			 char error[PRAAS_JSON_ERROR_MAX])
{
	json_error_t why;
	json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);

	if (!value)
		(void)snprintf(error, PRAAS_JSON_ERROR_MAX, "line %d: %s", why.line,
			       why.text);
	return value;
}

struct praas_json_reader praas_json_reader(
	const json_t *value, const char *where,
	/* NOLINTNEXTLINE(readability-non-const-parameter): kept to be written */
	char error[PRAAS_JSON_ERROR_MAX])
{
	struct praas_json_reader r = { .object = value,
				       .where = where,
				       .error = error };

	if (!json_is_object(value))
		praas_json_fail(&r, "", "an object is wanted here");
	return r;
}

void praas_json_fail(struct praas_json_reader *r, const char *member, const char *text)
{
	const char *dot = r->where[0] != '\0' && member[0] != '\0' ? "." : "";
	const char *colon = r->where[0] != '\0' || member[0] != '\0' ? ": " : "";

	if (r->error[0] == '\0')
		(void)snprintf(r->error, PRAAS_JSON_ERROR_MAX, "%.90s%s%.60s%s%.98s",
			       r->where, dot, member, colon, text);
}

bool praas_json_failed(const struct praas_json_reader *r)
{
	return r->error[0] != '\0';
}

const json_t *praas_json_member(struct praas_json_reader *r, const char *member)
{
	const json_t *value;

	if (praas_json_failed(r))
		return NULL;
	value = json_object_get(r->object, member);
	if (value)
		r->seen++;
	return value;
}

/* As praas_json_member(), for one that must be there unless optional. */
static const json_t *wanted(struct praas_json_reader *r, const char *member,
			    bool optional)
{
	const json_t *value = praas_json_member(r, member);

	if (!value && !optional)
		praas_json_fail(r, member, "is missing");
	return value;
}

const char *praas_json_string(struct praas_json_reader *r, const char *member,
			      size_t bytes_max, const char *fallback)
{
	const json_t *value = wanted(r, member, fallback != NULL);

	if (!value)
		return fallback ? fallback : "";
	if (!json_is_string(value))
		praas_json_fail(r, member, "must be a string");
	else if (json_string_length(value) > bytes_max)
		praas_json_fail(r, member, "is too long");
	else
		return json_string_value(value);
	return "";
}

static uint64_t number(struct praas_json_reader *r, const char *member,
		       const json_t *value, uint64_t min, uint64_t max)
{
	char text[96];

	if (json_is_integer(value) && json_integer_value(value) >= 0 &&
	    (uint64_t)json_integer_value(value) >= min &&
	    (uint64_t)json_integer_value(value) <= max)
		return (uint64_t)json_integer_value(value);
	(void)snprintf(text, sizeof(text), "must be a whole number from %llu to %llu",
		       (unsigned long long)min, (unsigned long long)max);
	praas_json_fail(r, member, text);
	return min;
}

uint64_t praas_json_number(struct praas_json_reader *r, const char *member,
			   uint64_t min, uint64_t max)
{
	const json_t *value = wanted(r, member, false);

	return value ? number(r, member, value, min, max) : min;
}

uint64_t praas_json_number_or(struct praas_json_reader *r, const char *member,
			      uint64_t min, uint64_t max, uint64_t fallback)
{
	const json_t *value = wanted(r, member, true);

	return value ? number(r, member, value, min, max) : fallback;
}

bool praas_json_bool(struct praas_json_reader *r, const char *member, bool fallback)
{
	const json_t *value = wanted(r, member, true);

	if (value && !json_is_boolean(value))
		praas_json_fail(r, member, "must be true or false");
	return value ? json_is_true(value) : fallback;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void praas_json_hex(struct praas_json_reader *r, const char *member, uint8_t *ret_data,
		    size_t bytes)
{
	const char *text = praas_json_string(r, member, 2 * bytes, NULL);
	bool good = strlen(text) == 2 * bytes;

	memset(ret_data, 0, bytes);
	for (size_t i = 0; good && i < bytes; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		good = high >= 0 && low >= 0;
		if (good)
			ret_data[i] = (uint8_t)(high << 4 | low);
	}
	if (!good)
		praas_json_fail(r, member, "must be hex digits of the right number");
}

unsigned praas_json_choice(struct praas_json_reader *r, const char *member,
			   const char *const *names, const char *fallback)
{
	const char *text = praas_json_string(r, member, 64, fallback);

	for (unsigned i = 0; names[i]; i++) {
		if (strcmp(names[i], text) == 0)
			return i;
	}
	praas_json_fail(r, member, "is none of the values that exist");
	return 0;
}

void praas_json_end(struct praas_json_reader *r)
{
	if (!praas_json_failed(r) && json_object_size(r->object) != r->seen)
		praas_json_fail(r, "", "has a member that is not known (or misspelt)");
}

bool praas_json_is_name(const char *text)
{
	size_t bytes = strlen(text);

	if (bytes < 1 || bytes > PRAAS_NAME_MAX || strcmp(text, ".") == 0 ||
	    strcmp(text, "..") == 0)
		return false;
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			    "0123456789._-") == bytes;
}
