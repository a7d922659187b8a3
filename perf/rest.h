/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP for benchmarks: a client that does no more than it must, and a bare libmicrohttpd to compare
 * with.
 */
#ifndef PRAAS_PERF_REST_H
#define PRAAS_PERF_REST_H

#include <stddef.h>

#define PRAAS_REST_ROOM (1u << 20)

struct praas_rest_client {
	int fd;
	char *data; /* PRAAS_REST_ROOM */
	size_t have;
};

/* 0 or negative errno, here and below. url: "http://127.0.0.1:41234". */
int praas_rest_connect(struct praas_rest_client *c, const char *url);
void praas_rest_disconnect(struct praas_rest_client *c);
int praas_rest_send(struct praas_rest_client *c, const char *request, size_t bytes);
/* The answer to the oldest request; its body's length. -EPROTO it is not 200. */
int praas_rest_receive(struct praas_rest_client *c, size_t *ret_body_bytes);
int praas_rest_ask(struct praas_rest_client *c, const char *request, size_t bytes,
		   size_t *ret_body_bytes);

/* The floor, in a process of its own: epoll, a thread per core, GET /N is answered with N bytes, a
 * POST with its body. */
struct praas_rest_peer {
	int pid; /* 0: none */
	int go;  /* closed: it ends */
	char url[64];
};
int praas_rest_peer_start(struct praas_rest_peer *p);
void praas_rest_peer_stop(struct praas_rest_peer *p);

#endif
