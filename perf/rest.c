/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/rest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <microhttpd.h>

/* ---- client ------------------------------------------------------------------------- */

int praas_rest_connect(struct praas_rest_client *c, const char *url)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	const char *colon = strrchr(url, ':');
	int on = 1;

	*c = (struct praas_rest_client){ .fd = -1 };
	if (!colon)
		return -EINVAL;
	to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->data = malloc(PRAAS_REST_ROOM);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!c->data || c->fd < 0 ||
	    connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
		return errno ? -errno : -ENOMEM;
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return 0;
}

void praas_rest_disconnect(struct praas_rest_client *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	free(c->data);
}

int praas_rest_send(struct praas_rest_client *c, const char *request, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = send(c->fd, request, bytes, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		request += n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* Bytes of head and body once they are all there, else 0. */
static size_t whole(const struct praas_rest_client *c, size_t *ret_body_bytes)
{
	static const char name[] = "\r\nContent-Length: ";
	const char *end, *at;

	end = memmem(c->data, c->have, "\r\n\r\n", 4);
	if (!end)
		return 0;
	*ret_body_bytes = 0;
	for (at = c->data; at < end; at++)
		if (*at == '\r' && strncasecmp(at, name, sizeof name - 1) == 0) {
			*ret_body_bytes = strtoul(at + sizeof name - 1, NULL, 10);
			break;
		}
	end += 4 + *ret_body_bytes;
	return (size_t)(end - c->data) <= c->have ? (size_t)(end - c->data) : 0;
}

int praas_rest_receive(struct praas_rest_client *c, size_t *ret_body_bytes)
{
	static const char good[] = "HTTP/1.1 200 ";
	size_t bytes;
	int rc;

	while (c->have == 0 || (bytes = whole(c, ret_body_bytes)) == 0) {
		ssize_t n =
			recv(c->fd, c->data + c->have, PRAAS_REST_ROOM - c->have, 0);

		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		c->have += (size_t)n;
	}
	rc = strncmp(c->data, good, sizeof good - 1) == 0 ? 0 : -EPROTO;
	memmove(c->data, c->data + bytes, c->have - bytes);
	c->have -= bytes;
	return rc;
}

int praas_rest_ask(struct praas_rest_client *c, const char *request, size_t bytes,
		   size_t *ret_body_bytes)
{
	int rc = praas_rest_send(c, request, bytes);

	return rc ? rc : praas_rest_receive(c, ret_body_bytes);
}

/* ---- floor -------------------------------------------------------------------------- */

struct echo {
	size_t bytes;
	char *data;
};

static enum MHD_Result answer(struct MHD_Connection *connection, void *data,
			      size_t bytes, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(bytes, data, mode);
	enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_OK, r);

	MHD_destroy_response(r);
	return queued;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection,
				  const char *url, const char *method,
				  const char *version, const char *data,
				  size_t *data_bytes, void **con_cls)
{
	static char zeros[PRAAS_REST_ROOM];
	struct echo *e = *con_cls;

	(void)user;
	(void)version;
	if (!e) {
		*con_cls = calloc(1, sizeof *e);
		return *con_cls ? MHD_YES : MHD_NO;
	}
	if (*data_bytes > 0) {
		char *more = realloc(e->data, e->bytes + *data_bytes);

		if (!more)
			return MHD_NO;
		e->data = more;
		memcpy(e->data + e->bytes, data, *data_bytes);
		e->bytes += *data_bytes;
		*data_bytes = 0;
		return MHD_YES;
	}
	if (*method == 'P') {
		data = e->data;
		e->data = NULL; /* the answer's */
		return answer(connection, (void *)(uintptr_t)data, e->bytes,
			      MHD_RESPMEM_MUST_FREE);
	}
	return answer(connection, zeros, strtoul(url + 1, NULL, 10) % sizeof zeros,
		      MHD_RESPMEM_MUST_COPY);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode code)
{
	struct echo *e = *con_cls;

	(void)user;
	(void)connection;
	(void)code;
	if (e)
		free(e->data);
	free(e);
}

/* As the service has it, less the service. */
static void serve(int ready)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct MHD_Daemon *d = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, NULL,
		MHD_OPTION_THREAD_POOL_SIZE,
		(unsigned)(cores < 1   ? 1
			   : cores > 4 ? 4
				       : cores),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	const union MHD_DaemonInfo *info =
		d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
	unsigned port = info ? info->port : 0;

	(void)!write(ready, &port, sizeof port);
	for (;;)
		(void)pause(); /* until it is killed */
}

int praas_rest_peer_start(struct praas_rest_peer *p)
{
	unsigned port = 0;
	int ready[2], rc = 0;
	pid_t pid;

	if (pipe(ready) != 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(ready[0]);
		serve(ready[1]);
	}
	(void)close(ready[1]);
	p->pid = pid;
	if (pid < 0 || read(ready[0], &port, sizeof port) != (ssize_t)sizeof port ||
	    port == 0)
		rc = -EIO;
	(void)close(ready[0]);
	(void)snprintf(p->url, sizeof p->url, "http://127.0.0.1:%u", port);
	return rc;
}

void praas_rest_peer_stop(struct praas_rest_peer *p)
{
	if (p->pid <= 0)
		return;
	(void)kill(p->pid, SIGKILL);
	(void)waitpid(p->pid, NULL, 0);
	p->pid = 0;
}
