/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP end: libmicrohttpd, and nowhere else.
 */
#ifndef PRAAS_CONTROL_REST_H
#define PRAAS_CONTROL_REST_H

#include <stdbool.h>
#include <stdint.h>

#include "control/service.h"

struct praas_rest;

struct praas_rest_config {
	const char *listen; /* "127.0.0.1:0", "[::1]:8080" */
	bool insecure;      /* other addresses than loopback are allowed without TLS */
	bool tls;           /* with what praas_tls_open() loaded */
	uint32_t threads;   /* 0: one per core, at most 4 */
	uint32_t head_s; /* for a head that has begun, and grace for the rest; 0: 5 */
	struct praas_service *service;
};

/* 0; -EINVAL the address; -EACCES it is not loopback, and there is no TLS; -EADDRINUSE; an errno. */
int praas_rest_start(const struct praas_rest_config *config,
		     struct praas_rest **ret_rest);
/* Those who stand by pass requests on to the socket of that path, in place of whoever had it. Once, before
 * praas_rest_refuse(). 0; -ENAMETOOLONG; an errno. */
int praas_rest_open_inner(struct praas_rest *rest, const char *path);
/* "http://127.0.0.1:41234" */
const char *praas_rest_url(const struct praas_rest *rest);
/* From now on a request that has not begun is answered with shutting_down (503). */
void praas_rest_refuse(struct praas_rest *rest);
/* After praas_rest_refuse(). All requests are answered by then (praas_life_stop() sees to it); waits for the last. */
void praas_rest_free(struct praas_rest *rest);

#endif
