/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes from HTTP before anybody is trusted: paths, names, escapes, numbers, JSON bodies.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/names.h"
#include "control/router.h"
#include "internal/base.h"

static const struct praas_route routes[] = {
	{ .method = PRAAS_GET, .pattern = "/v1/apps" },
	{ .method = PRAAS_DELETE, .pattern = "/v1/apps/{app}" },
	{ .method = PRAAS_POST, .pattern = "/v1/apps/{app}/invoke/{fn}" },
	{ .method = PRAAS_GET,
	  .pattern = "/v1/apps/{app}/processes/{pid}/state/{key}" },
	{ .pattern = NULL },
};

static void try_path(const char *text)
{
	struct praas_match m;

	for (unsigned method = 0; method < PRAAS_METHODS; method++) {
		if (praas_route_match(routes, (enum praas_method)method, text, &m))
			continue;
		/* A name that got through is one. */
		praas_check(!m.app[0] || praas_name_valid(m.app));
		praas_check(!m.pid[0] || praas_name_valid(m.pid));
		praas_check(!m.fn[0] || praas_name_valid(m.fn));
		praas_check(strlen(m.key) <= PRAAS_KEY_MAX);
	}
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
	uint8_t id[16];
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
	(void)praas_hex_decode(text, id, sizeof(id));
	if (praas_number_parse(text, 1000, &number) == 0)
		praas_check(number <= 1000);
	free(text);
	return 0;
}
