/* SPDX-License-Identifier: Apache-2.0
 *
 * The description of the service for programs: what control/rest/openapi.json says of bodies and
 * parameters, with the paths that the table of routes has. There is no second list to forget.
 */
#include "control/rest/openapi.h"

#include <stdio.h>
#include <string.h>

/* control/rest/openapi.json, put here by the assembler. */
__asm__(".pushsection .rodata\n"
	".local praas_openapi_text\n"
	"praas_openapi_text: .incbin \"" PRAAS_OPENAPI_FILE "\"\n"
	".local praas_openapi_end\n"
	"praas_openapi_end: .byte 0\n"
	".popsection");
extern const char praas_openapi_text[], praas_openapi_end[];

static json_t *reference(const char *kind, const char *name, size_t bytes)
{
	return json_pack("{s:o}", "$ref",
			 json_sprintf("#/components/%s/%.*s", kind, (int)bytes, name));
}

/* One reference for each word of a list between blanks. */
static void add_words(json_t *parameters, const char *words)
{
	while (words && *words) {
		size_t n = strcspn(words, " ");

		(void)json_array_append_new(parameters,
					    reference("parameters", words, n));
		words += n + (words[n] == ' ');
	}
}

static void add_path_parameters(json_t *parameters, const char *pattern)
{
	while ((pattern = strchr(pattern, '{'))) {
		size_t n = strcspn(++pattern, "}");

		(void)json_array_append_new(parameters,
					    reference("parameters", pattern, n));
	}
}

static json_t *content(const char *type, json_t *schema)
{
	return json_pack("{s:{s:o}}", type, "schema", schema);
}

/* "*": bytes. "text/…": text. Else the name of a schema. */
static json_t *content_of(const char *what, size_t bytes)
{
	char type[64];

	if (*what == '*')
		return content("application/octet-stream", json_object());
	if (!memchr(what, '/', bytes))
		return content("application/json", reference("schemas", what, bytes));
	(void)snprintf(type, sizeof(type), "%.*s", (int)bytes, what);
	return content(type, json_pack("{s:s}", "type", "string"));
}

/* "200 Process 202 Process", "204" */
static json_t *responses_of(const char *gives)
{
	json_t *responses =
		json_pack("{s:o}", "default", reference("responses", "Error", 5));

	while (*gives) {
		json_t *response = json_pack("{s:s}", "description", "Done.");
		char status[4];

		(void)snprintf(status, sizeof(status), "%.3s", gives);
		gives += strlen(status);
		gives += *gives == ' ';
		if (*gives && (*gives < '0' || *gives > '9')) {
			size_t n = strcspn(gives, " ");

			(void)json_object_set_new(response, "content",
						  content_of(gives, n));
			gives += n + (gives[n] == ' ');
		}
		(void)json_object_set_new(responses, status, response);
	}
	return responses;
}

static json_t *operation_of(const struct praas_route *r)
{
	const char *scope = praas_scope_text(r->scope);
	json_t *parameters = json_array();
	json_t *operation = json_pack("{s:s,s:s,s:o,s:o}", "operationId", r->id,
				      "summary", r->summary, "parameters", parameters,
				      "responses", responses_of(r->gives));

	add_path_parameters(parameters, r->pattern);
	add_words(parameters, r->query);
	add_words(parameters, r->headers);
	if (r->effect != PRAAS_READS)
		add_words(parameters, "Idempotency-Key");
	if (r->body != PRAAS_BODY_NONE)
		(void)json_object_set_new(
			operation, "requestBody",
			json_pack("{s:o}", "content",
				  content_of(r->takes ? r->takes : "*",
					     r->takes ? strlen(r->takes) : 1)));
	if (scope)
		(void)json_object_set_new(operation, "x-praas-scope",
					  json_string(scope));
	else
		(void)json_object_set_new(operation, "security", json_array());
	return operation;
}

json_t *praas_openapi(const struct praas_route *routes)
{
	static const char *const methods[PRAAS_METHODS] = { "get", "post", "put",
							    "delete" };
	json_t *doc =
		json_loadb(praas_openapi_text,
			   (uintptr_t)praas_openapi_end - (uintptr_t)praas_openapi_text,
			   JSON_REJECT_DUPLICATES, NULL);
	json_t *paths = json_object_get(doc, "paths");

	for (const struct praas_route *r = routes; paths && r->pattern; r++) {
		json_t *item = json_object_get(paths, r->pattern);

		if (!item) {
			item = json_object();
			(void)json_object_set_new(paths, r->pattern, item);
		}
		(void)json_object_set_new(item, methods[r->method], operation_of(r));
	}
	return doc;
}
