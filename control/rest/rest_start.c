/* SPDX-License-Identifier: Apache-2.0
 *
 * Start and stop of the HTTP end: its doors, each a listening socket with threads of its own.
 */
#include "control/rest/rest_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <microhttpd.h>

#include "control/rest/listen.h"
#include "control/rest/peers.h"
#include "control/rest/spare.h"
#include "control/rest/tls.h"
#include "internal/base.h"

#define TIMEOUT_S 60u             /* of an idle or stalled connection */
#define MEMORY_BYTES (32u * 1024) /* of a connection: request line and headers */
#define HEAD_S 5u                 /* for a head that has begun */
#define RATE 8192u                /* bytes a second, the least that a client may have */
#define DRAIN_TRIES 600           /* of 10 ms, for the last answers to be queued */

struct praas_rest {
	struct praas_rest_door open;  /* for anybody */
	struct praas_rest_door inner; /* for those who stand by */
	struct praas_named_socket inner_socket;
	char inner_path[108];
	unsigned threads; /* of each door */
	char url[128];
};

static unsigned default_threads(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores < 1 ? 1
			 : (unsigned)praas_min_u64((uint64_t)cores,
						   PRAAS_HTTP_THREADS_MAX);
}

/* As many as there may be descriptors for, with as many left for controllers and the rest. */
static uint32_t connections_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return PRAAS_LIMIT_CONNECTIONS;
	return (uint32_t)praas_min_u64(PRAAS_LIMIT_CONNECTIONS,
				       limit.rlim_cur - limit.rlim_cur / 8);
}

static void on_look(void *user, uint64_t now_ns)
{
	const struct praas_rest *rest = user;

	praas_events_tick(rest->open.service->events, now_ns);
}

static int start_peers(struct praas_rest *rest, const struct praas_rest_config *config,
		       uint32_t per_address)
{
	struct praas_peers_config peers = {
		.look = on_look,
		.user = rest,
		.max = connections_max(),
		.per_address = per_address,
		.head_ns = (config->head_s ? config->head_s : HEAD_S) * 1000000000ull,
		.idle_ns = TIMEOUT_S * 1000000000ull,
		.rate = RATE
	};

	return praas_peers_new(&peers, &rest->open.service->peers);
}

/* Names and keys are decoded by the router, after the path was split. */
static size_t keep_escapes(void *user, struct MHD_Connection *connection, char *text)
{
	(void)user;
	(void)connection;
	return strlen(text);
}

/* Takes a descriptor of its own for the listening socket: it is closed with the daemon. */
static struct MHD_Daemon *start_daemon(void *user, unsigned share)
{
	struct praas_rest_door *door = user;
	int fd = fcntl(door->fd, F_DUPFD_CLOEXEC, 0);
	struct MHD_Daemon *daemon;
	/* A function's address is no pointer to data in C; libmicrohttpd takes it as one. */
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_PRIORITIES, 0,
		  (void *)(uintptr_t)PRAAS_TLS_PRIORITIES },
		{ MHD_OPTION_HTTPS_CERT_CALLBACK2, 0,
		  (void *)(uintptr_t)praas_tls_retrieve },
		{ MHD_OPTION_END, 0, NULL },
	};

	if (fd < 0)
		return NULL;
	daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
			(door->tls ? MHD_USE_TLS : 0u),
		0, praas_rest_may_come, door, praas_rest_on_request, door,
		MHD_OPTION_ARRAY, door->tls ? tls : tls + 2, MHD_OPTION_LISTEN_SOCKET,
		fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)connections_max() / share,
		MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES,
		MHD_OPTION_STRICT_FOR_CLIENT, 0,
		/* http_head.c is */ MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
		MHD_OPTION_URI_LOG_CALLBACK, praas_rest_on_target, door,
		MHD_OPTION_NOTIFY_CONNECTION, praas_rest_on_connection, door,
		MHD_OPTION_NOTIFY_COMPLETED, praas_rest_on_completed, NULL,
		MHD_OPTION_END);
	if (!daemon)
		(void)close(fd);
	return daemon;
}

static void close_rest(struct praas_rest *rest)
{
	praas_spare_end();
	praas_peers_free(rest->open.service->peers);
	rest->open.service->peers = NULL;
	free(rest);
}

int praas_rest_start(const struct praas_rest_config *config,
		     struct praas_rest **ret_rest)
{
	struct sockaddr_storage addr = { 0 };
	struct praas_rest *rest;
	socklen_t bytes;
	int rc = praas_listen_parse(config->listen, &addr, &bytes);

	if (rc)
		return rc;
	if (!config->insecure && !config->tls && !praas_listen_loopback(&addr))
		return -EACCES;
	rest = calloc(1, sizeof(*rest));
	if (!rest)
		return -ENOMEM;
	rest->inner_socket.fd = -1;
	rest->threads = config->threads ? config->threads : default_threads();
	rest->open = (struct praas_rest_door){ .service = config->service,
					       .tls = config->tls };
	rc = start_peers(
		rest, config,
		praas_listen_loopback(&addr) ? 0 : PRAAS_LIMIT_CONNECTIONS_PER_PEER);
	if (rc == 0) {
		rest->open.fd = praas_listen_open(&addr, bytes);
		rc = rest->open.fd < 0 ? rest->open.fd : 0;
	}
	if (rc) {
		close_rest(rest);
		return rc;
	}
	praas_listen_url(rest->open.fd, config->tls, rest->url, sizeof(rest->url));
	rc = praas_http_threads_start(rest->threads, start_daemon, &rest->open,
				      &rest->open.threads);
	if (rc) {
		(void)close(rest->open.fd);
		close_rest(rest);
		return rc;
	}
	*ret_rest = rest;
	return 0;
}

int praas_rest_open_inner(struct praas_rest *rest, const char *path)
{
	int rc;

	if (strlen(path) >= sizeof(rest->inner_path))
		return -ENAMETOOLONG;
	(void)snprintf(rest->inner_path, sizeof(rest->inner_path), "%s", path);
	rc = praas_named_socket_open(path, true, &rest->inner_socket);
	if (rc)
		return rc;
	rest->inner = (struct praas_rest_door){ .service = rest->open.service,
						.fd = rest->inner_socket.fd,
						.inner = true };
	return praas_http_threads_start(rest->threads, start_daemon, &rest->inner,
					&rest->inner.threads);
}

const char *praas_rest_url(const struct praas_rest *rest)
{
	return rest->url;
}

/* Not MHD_quiesce_daemon(): it takes the listener out of the epoll sets of threads that do the same
 * when they see its flag, and aborts when it comes second (libmicrohttpd 0.9.75). */
void praas_rest_refuse(struct praas_rest *rest)
{
	/* In the one order that begin_work() speaks of. */
	atomic_store_explicit(&rest->open.service->stopping, true,
			      memory_order_seq_cst);
}

static uint64_t requests_open(const struct praas_rest *rest)
{
	/* In the one order that begin_work() speaks of. */
	return atomic_load_explicit(&rest->open.service->requests_open,
				    memory_order_seq_cst);
}

void praas_rest_free(struct praas_rest *rest)
{
	if (!rest)
		return;
	praas_events_close(rest->open.service->events);
	/* A suspended connection must not be left when the daemon stops. All requests have
	 * deadlines, and what they wait for was told that it is over. */
	for (int i = 0; i < DRAIN_TRIES && requests_open(rest) > 0; i++) {
		struct timespec pause = { .tv_nsec = 10000000 };

		(void)nanosleep(&pause, NULL);
	}
	if (requests_open(rest) > 0)
		_exit(0); /* calls that hang in a dead data plane; all else is done */
	praas_http_threads_stop(rest->open.threads);
	praas_http_threads_stop(rest->inner.threads);
	praas_named_socket_close(&rest->inner_socket, rest->inner_path);
	(void)close(rest->open.fd);
	close_rest(rest);
}
