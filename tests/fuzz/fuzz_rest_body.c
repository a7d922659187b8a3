/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of REST, as the routes read them: the first word is a route's operationId (or, when there is
 * no such, its first byte says which), the rest is what somebody sent. There is no application, so
 * nothing that is well formed starts a process; what it may make (applications, tenants, keys) it
 * makes in records in memory. Every request is answered once, in the form of an answer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/life/lifecycle_private.h"
#include "control/rest/page.h"
#include "control/rest/request.h"
#include "internal/base.h"

/* In place of HTTP (rest.c): no headers, no query, and the answer is looked at. */
static unsigned answers;

const char *praas_request_header(const struct praas_request *rq, const char *name)
{
	(void)rq;
	(void)name;
	return NULL;
}

const char *praas_request_query(const struct praas_request *rq, const char *name)
{
	(void)rq;
	(void)name;
	return NULL;
}

const char *praas_request_from(const struct praas_request *rq)
{
	(void)rq;
	return "192.0.2.1";
}

void praas_request_free(struct praas_request *rq)
{
	(void)rq; /* each is the caller's */
}

void praas_request_finish(struct praas_request *rq)
{
	json_error_t error;
	json_t *answer;

	answers++;
	praas_check(rq->status >= 200 && rq->status < 600);
	if (rq->reply_bytes == 0)
		return;
	answer = json_loadb(rq->reply, rq->reply_bytes, JSON_REJECT_DUPLICATES, &error);
	praas_check(json_is_object(answer));
	praas_check((rq->status >= 400) == (json_object_get(answer, "error") != NULL));
	json_decref(answer);
}

/* Without applications, and without a node. */
static const struct praas_nodes no_nodes;
static struct praas_life life;

static void open_service(struct praas_service *s)
{
	char text[256];

	memset(s, 0, sizeof(*s));
	life.config.nodes = &no_nodes;
	s->life = &life;
	praas_check(praas_records_memory_open(&s->records) == 0);
	praas_check(praas_tenants_open(s->records, &s->tenants, text) == 0);
	praas_check(praas_tokens_open(s->records, &s->tokens, text) == 0);
}

static void close_service(struct praas_service *s)
{
	praas_tokens_close(s->tokens);
	praas_tenants_close(s->tenants);
	s->records->ops->close(s->records);
}

/* One of those with a JSON body. */
static const struct praas_route *route_of(const char *word, size_t bytes)
{
	const struct praas_route *found[64];
	unsigned count = 0;

	for (const struct praas_route *r = praas_routes; r->pattern; r++) {
		if (r->body != PRAAS_BODY_JSON)
			continue;
		if (strlen(r->id) == bytes && memcmp(r->id, word, bytes) == 0)
			return r;
		praas_check(count < sizeof(found) / sizeof(found[0]));
		found[count++] = r;
	}
	praas_check(count > 0);
	return found[(uint8_t)word[0] % count];
}

static void ask(struct praas_service *s, const struct praas_route *route,
		const char *body, size_t bytes)
{
	struct praas_request *rq = calloc(1, sizeof(*rq));
	struct praas_json_error error = { 0 };

	if (!rq)
		return;
	rq->service = s;
	rq->match.route = route;
	strcpy(rq->match.app, "none");
	strcpy(rq->match.pid, "p");
	strcpy(rq->match.id, "t");
	strcpy(rq->caller.tenant, PRAAS_TENANT_DEFAULT);
	rq->caller.scopes = (1u << PRAAS_SCOPES) - 1;
	rq->json = bytes ? praas_json_parse(body, bytes, &error) : json_object();
	if (rq->json) {
		/* As messages of controllers are read: what has another type is not there. */
		(void)praas_json_text_or(rq->json, "name", "");
		(void)praas_json_number_or(rq->json, "ttl_s", 0);
		answers = 0;
		route->handle(rq);
		praas_check(answers == 1);
	} else {
		praas_check(error.text[0]);
	}
	json_decref(rq->json);
	free(rq->reply);
	free(rq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const char *word = (const char *)data, *end = memchr(data, ' ', bytes);
	struct praas_service service;

	if (!end || end == word)
		return 0;
	open_service(&service);
	/* Twice: what is made by the first is in the way of the second. */
	for (int i = 0; i < 2; i++)
		ask(&service, route_of(word, (size_t)(end - word)), end + 1,
		    bytes - (size_t)(end + 1 - word));
	close_service(&service);
	return 0;
}
