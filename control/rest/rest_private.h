/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to rest.c, which serves requests, and rest_start.c, which makes the daemons that call it.
 */
#ifndef PRAAS_CONTROL_REST_PRIVATE_H
#define PRAAS_CONTROL_REST_PRIVATE_H

#include <sys/socket.h>

#include <microhttpd.h>

#include "control/named_socket.h"
#include "control/rest/http_threads.h"
#include "control/rest/rest.h"

/* A listening socket, with threads of its own. */
struct praas_rest_door {
	struct praas_service *service;
	struct praas_http_threads *threads; /* NULL: it is not open */
	int fd;
	bool tls;
	bool inner; /* those who come are control services of ours that stand by */
};

/* Of a daemon; user is its door. */
enum MHD_Result praas_rest_may_come(void *user, const struct sockaddr *addr,
				    socklen_t bytes);
void praas_rest_on_connection(void *user, struct MHD_Connection *connection,
			      void **context, enum MHD_ConnectionNotificationCode code);
void *praas_rest_on_target(void *user, const char *target,
			   struct MHD_Connection *connection);
enum MHD_Result praas_rest_on_request(void *user, struct MHD_Connection *connection,
				      const char *url, const char *method,
				      const char *version, const char *data,
				      size_t *data_bytes, void **con_cls);
void praas_rest_on_completed(void *user, struct MHD_Connection *connection,
			     void **con_cls, enum MHD_RequestTerminationCode code);

#endif
