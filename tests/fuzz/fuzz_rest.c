/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes from HTTP before anybody is trusted: paths, names, escapes, numbers, JSON bodies.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/json.h"
#include "control/names.h"
#include "control/rest/request.h" /* the real table */
#include "internal/base.h"

static void try_path(const char *text)
{
	struct praas_match m;

	for (unsigned method = 0; method < PRAAS_METHODS; method++) {
		if (praas_route_match(praas_routes, (enum praas_method)method, text,
				      &m))
			continue;
		/* A name that got through is one. */
		praas_check(!m.app[0] || praas_name_valid(m.app));
		praas_check(!m.pid[0] || praas_name_valid(m.pid));
		praas_check(!m.fn[0] || praas_name_valid(m.fn));
		praas_check(!m.id[0] || praas_name_valid(m.id));
		praas_check(strlen(m.key) <= PRAAS_KEY_MAX);
		praas_check(praas_route_body_max(m.route) <= PRAAS_LIMIT_BODY_BYTES);
	}
	/* No method fits: what is there is told. */
	if (praas_route_match(praas_routes, PRAAS_METHODS, text, &m) == -EOPNOTSUPP)
		praas_check(m.allowed != 0);
}

/* Words that come as methods and scopes: those we know come back as they were. */
static void try_words(const char *text)
{
	enum praas_method method;
	enum praas_scope scope;

	if (praas_method_parse(text, &method) == 0)
		praas_check(!strcmp(praas_method_text(method), text));
	if (praas_scope_parse(text, &scope) == 0)
		praas_check(!strcmp(praas_scope_text(scope), text));
}

/* Hex that is taken says the same when it is written again, but for the case of its letters. */
static void try_hex(const char *text)
{
	char again[2 * 16 + 1];
	uint8_t id[16], other[16] = { 0 };

	if (praas_hex_decode(text, id, sizeof(id)))
		return;
	praas_hex_encode(id, sizeof(id), again);
	praas_check(strcasecmp(text, again) == 0);
	praas_check(praas_equal_constant(id, other, sizeof(id)) ==
		    !memcmp(id, other, sizeof(id)));
}

/* Text cut anywhere loses at most the character that was cut, and nothing more the second time. */
static void try_cut(char *text)
{
	size_t n = strlen(text), left;

	praas_text_whole(text);
	left = strlen(text);
	praas_check(left <= n && n - left <= 3);
	praas_text_whole(text);
	praas_check(left - strlen(text) <= 3);
}

static void try_body(const char *data, size_t bytes)
{
	static const char *const known[] = { "name", "rights", NULL };
	struct praas_json_error error;
	json_t *object = praas_json_parse(data, bytes, &error);
	const char *text = NULL;
	uint64_t number = 5;
	bool yes = false;

	if (!object) {
		praas_check(error.text[0]);
		return;
	}
	(void)praas_json_known(object, known, &error);
	if (praas_json_text(object, "name", 8, &text, &error) && text)
		praas_check(strlen(text) <= 8);
	if (praas_json_number(object, "ttl_s", 3, 9, &number, &error))
		praas_check(number >= 3 && number <= 9);
	(void)praas_json_bool(object, "wait", &yes, &error);
	(void)praas_json_text_or(object, "name", "");
	(void)praas_json_number_or(object, "ttl_s", 0);
	json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char decoded[64], *text = malloc(bytes + 1);
	uint64_t number;

	if (!text)
		return 0;
	if (bytes > 0)
		memcpy(text, data, bytes);
	text[bytes] = 0;
	try_path(text);
	try_body(text, bytes);
	if (praas_percent_decode(text, bytes, decoded, sizeof(decoded)) == 0)
		praas_check(strlen(decoded) < sizeof(decoded));
	try_words(text);
	try_hex(text);
	if (praas_number_parse(text, 1000, &number) == 0)
		praas_check(number <= 1000);
	try_cut(text);
	free(text);
	return 0;
}
