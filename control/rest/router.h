/* SPDX-License-Identifier: Apache-2.0
 *
 * From method and path to a route and its parameters. Pure; hostile input is its daily bread
 * (tests/fuzz/fuzz_rest.c).
 */
#ifndef PRAAS_CONTROL_ROUTER_H
#define PRAAS_CONTROL_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/limits.h"
#include "control/tenants/scope.h"
#include "praas/types.h"

enum praas_method { PRAAS_GET, PRAAS_POST, PRAAS_PUT, PRAAS_DELETE, PRAAS_METHODS };
const char *praas_method_text(enum praas_method method);
/* 0; -EINVAL none of ours. */
int praas_method_parse(const char *text, enum praas_method *ret_method);

struct praas_request;
enum praas_at_once { /* what came of trying to do it without a job */
		     PRAAS_NOT_AT_ONCE,
		     PRAAS_BEGUN /* praas_burst_look() ends it */
};

enum praas_body { PRAAS_BODY_NONE, PRAAS_BODY_JSON, PRAAS_BODY_RAW };

/* What doing it twice does. */
enum praas_effect {
	PRAAS_READS, /* changes nothing */
	PRAAS_SETS,  /* changes something; twice is as once */
	PRAAS_ADDS   /* changes something; twice is twice */
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order a table is read */
struct praas_route {
	enum praas_method method;
	const char *
		pattern; /* "/v1/apps/{app}": {app}, {pid}, {fn}, {id} are names, {key} a key */
	void (*handle)(struct praas_request *rq);
	enum praas_scope scope;
	enum praas_body body;
	enum praas_effect effect;
	bool own; /* about the service that is asked, not what it keeps: never passed on */
	bool quick; /* never waits: done by the thread of HTTP itself */
	/* Tries that before a job does it; NULL: no. */
	enum praas_at_once (*at_once)(struct praas_request *rq);
	/* For readers (/v1/openapi.json is made of it). */
	const char *id; /* operationId */
	const char *
		query; /* names of query parameters, between blanks; others are refused */
	const char *headers; /* those it reads, between blanks */
	const char *takes;   /* schema of its JSON body */
	const char *gives; /* "200 Process 202 Process", "204", "200 *" for raw bytes */
	const char *summary;
};

/* The most that its body may have; NULL: 0. */
size_t praas_route_body_max(const struct praas_route *route);

#define PRAAS_HEAD_ALLOWED (1u << PRAAS_METHODS) /* GET takes nothing there */

struct praas_match {
	const struct praas_route *route;
	uint32_t allowed; /* methods of that path, 1 << enum praas_method, and
			  * PRAAS_HEAD_ALLOWED; set on -EOPNOTSUPP */
	char app[PRAAS_NAME_MAX + 1], pid[PRAAS_NAME_MAX + 1], fn[PRAAS_NAME_MAX + 1];
	char id[PRAAS_NAME_MAX + 1]; /* {id}: of a key, of a tenant */
	char key[PRAAS_KEY_MAX + 1];
};

/* path as it came, percent-encoded, without the query. routes ends with a NULL pattern.
 * 0; -ENOENT no such path; -EOPNOTSUPP another method; -EINVAL a name or an escape is wrong. */
int praas_route_match(const struct praas_route *routes, enum praas_method method,
		      const char *path, struct praas_match *ret_match);

#endif
