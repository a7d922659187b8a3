/* SPDX-License-Identifier: Apache-2.0
 *
 * Is the head of a request what RFC 9110 and 9112 say, to the letter? libmicrohttpd 0.9.75 is lenient
 * where two readers of the same bytes could differ, and that is where requests are smuggled.
 */
#ifndef PRAAS_CONTROL_HTTP_HEAD_H
#define PRAAS_CONTROL_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "control/rest/router.h"

struct MHD_Connection;

/* A head as libmicrohttpd took it apart, in place. */
struct praas_head {
	struct MHD_Connection *connection;
	const char *method, *url, *version; /* as the handler gets them */
	size_t target_bytes;                /* with its query */
	bool target_legal;                  /* praas_head_target_legal() of it */
	unsigned added; /* headers that were put in on the way, by one who stands by */
};

struct praas_head_fault {
	int status;
	const char *code, *hint, *message;
};

/* Whether a target, before it is taken apart, has no blanks or control characters. */
bool praas_head_target_legal(const char *target);

/* false: it is to be refused, and the connection with it: where its end is may be in doubt. */
bool praas_head_good(const struct praas_head *head, struct praas_head_fault *ret_fault);

/* Whether the query has parameters that the route takes, each once, with a value. */
bool praas_head_query_good(struct MHD_Connection *connection,
			   const struct praas_route *route);

#endif
