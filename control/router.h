/* SPDX-License-Identifier: Apache-2.0
 *
 * From method and path to a route and its parameters. Pure; hostile input is its daily bread
 * (tests/fuzz/fuzz_rest.c).
 */
#ifndef PRAAS_CONTROL_ROUTER_H
#define PRAAS_CONTROL_ROUTER_H

#include <stdbool.h>
#include <stdint.h>

#include "control/limits.h"
#include "praas/types.h"

enum praas_method { PRAAS_GET, PRAAS_POST, PRAAS_PUT, PRAAS_DELETE, PRAAS_METHODS };
const char *praas_method_text(enum praas_method method);
/* 0; -EINVAL none of ours. */
int praas_method_parse(const char *text, enum praas_method *ret_method);

struct praas_request;

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order a table is read */
struct praas_route {
	enum praas_method method;
	const char *
		pattern; /* "/v1/apps/{app}": {app}, {pid}, {fn} are names, {key} a key */
	void (*handle)(struct praas_request *rq);
	bool open; /* needs no token */
	bool raw;  /* its body is a payload, not JSON */
	bool bodiless;
};

struct praas_match {
	const struct praas_route *route;
	uint32_t
		allowed; /* methods of that path, 1 << enum praas_method; set on -EOPNOTSUPP */
	char app[PRAAS_NAME_MAX + 1], pid[PRAAS_NAME_MAX + 1], fn[PRAAS_NAME_MAX + 1];
	char key[PRAAS_KEY_MAX + 1];
};

/* path as it came, percent-encoded, without the query. routes ends with a NULL pattern.
 * 0; -ENOENT no such path; -EOPNOTSUPP another method; -EINVAL a name or an escape is wrong. */
int praas_route_match(const struct praas_route *routes, enum praas_method method,
		      const char *path, struct praas_match *ret_match);

#endif
