/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

/* The control service: REST over libcurl, the only place of the library that knows it. */

#define URL_MAX 4096u
#define ANSWER_MAX                                                                     \
	(1ull << 32) /* bytes of one answer: state objects come this way too */
#define CONNECT_TIMEOUT_MS 5000L
#define TIMEOUT_MS 60000L
#define UNIX_PREFIX "unix://"
#define TICKET_FRESH_NS                                                                \
	10000000000u /* older ones leave a connection less than its time */

struct praas_control {
	CURL *curl;   /* keeps the connection between requests */
	char *base;   /* "http://host:port", no slash at the end */
	char *path;   /* of the UNIX socket, or NULL */
	char *bearer; /* header line, or NULL */
	char *ca; /* file of certificates to trust instead of the system's, or NULL */
	/* That came with a process which was just created, for its first connection. */
	char *ticket;          /* JSON text, or NULL */
	char ticket_path[256]; /* where another would be asked for */
	uint64_t ticket_ns;    /* when it came */
};

static void init_curl(void)
{
	(void)curl_global_init(
		CURL_GLOBAL_DEFAULT); /* a failure shows in curl_easy_init() */
}

static char *bearer_line(const char *token)
{
	size_t bytes = strlen(token) + sizeof("Authorization: Bearer ");
	char *line = malloc(bytes);

	if (line)
		(void)snprintf(line, bytes, "Authorization: Bearer %s", token);
	return line;
}

int praas_control_open(const char *url, const char *token,
		       struct praas_control **ret_control)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const char *ca = getenv("PRAAS_CA");
	struct praas_control *c;

	if (!url)
		url = getenv("PRAAS_URL");
	if (!token)
		token = getenv("PRAAS_TOKEN");
	if (!url || *url == '\0')
		return praas_fail_with(-EINVAL,
				       "no control service named; set PRAAS_URL");
	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0 &&
	    strncmp(url, UNIX_PREFIX "/", 8) != 0)
		return praas_fail_with(
			-EINVAL, "'%s' is not http://, https:// or unix:///", url);
	if (strlen(url) > URL_MAX || (token && strpbrk(token, "\r\n")))
		return praas_fail_with(-EINVAL,
				       "url too long, or a line break in the token");
	(void)pthread_once(&once, init_curl); /* cannot fail with these arguments */
	c = calloc(1, sizeof(*c));
	if (!c)
		return praas_fail_with(-ENOMEM, "out of memory");
	if (strncmp(url, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
		c->path = strdup(url + strlen(UNIX_PREFIX));
		c->base = strdup("http://localhost");
	} else {
		c->base = strdup(url);
	}
	if (token && *token != '\0')
		c->bearer = bearer_line(token);
	if (ca && *ca != '\0')
		c->ca = strdup(ca);
	c->curl = curl_easy_init();
	if (!c->curl || !c->base || (token && *token != '\0' && !c->bearer) ||
	    (ca && *ca != '\0' && !c->ca)) {
		praas_control_close(c);
		return praas_fail_with(-ENOMEM, "out of memory");
	}
	while (c->base[0] != '\0' && c->base[strlen(c->base) - 1] == '/')
		c->base[strlen(c->base) - 1] = '\0';
	*ret_control = c;
	return 0;
}

static void wipe_ticket(char *ticket)
{
	if (ticket)
		explicit_bzero(ticket, strlen(ticket)); /* it has a session key */
	free(ticket);
}

void praas_control_close(struct praas_control *control)
{
	if (!control)
		return;
	wipe_ticket(control->ticket);
	curl_easy_cleanup(control->curl);
	free(control->base);
	free(control->path);
	free(control->ca);
	if (control->bearer)
		explicit_bzero(control->bearer, strlen(control->bearer));
	free(control->bearer);
	free(control);
}

/* ---- one request ------------------------------------------------------------------------- */

struct answer {
	char *data;
	size_t bytes, capacity;
};

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
	struct answer *a = user;
	size_t bytes = size * count;

	if (bytes > ANSWER_MAX - a->bytes)
		return 0;
	if (!a->data || a->bytes + bytes + 1 > a->capacity) {
		size_t capacity = 2 * (a->bytes + bytes + 512);
		char *more = realloc(a->data, capacity);

		if (!more)
			return 0;
		a->data = more;
		a->capacity = capacity;
	}
	memcpy(a->data + a->bytes, data, bytes);
	a->bytes += bytes;
	a->data[a->bytes] = '\0';
	return bytes;
}

static int curl_errno(CURLcode rc)
{
	switch ((int)rc) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
		return -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_URL_MALFORMAT:
		return -EINVAL;
	case CURLE_PEER_FAILED_VERIFICATION: /* it is not who it should be */
	case CURLE_SSL_CACERT_BADFILE:
		return -EACCES;
	case CURLE_OUT_OF_MEMORY:
	case CURLE_WRITE_ERROR:
		return -ENOMEM;
	default:
		return -ECONNRESET;
	}
}

static struct curl_slist *headers(const struct praas_control *c,
				  const char *content_type)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	char line[256];

	if (list && c->bearer)
		list = curl_slist_append(list, c->bearer);
	(void)snprintf(line, sizeof(line), "Content-Type: %s",
		       content_type ? content_type : "application/json");
	return list ? curl_slist_append(list, line) : NULL;
}

static void set_options(struct praas_control *c, const char *method, const char *url,
			struct curl_slist *list, struct answer *answer)
{
	CURL *h = c->curl;

	curl_easy_reset(h);
	/* Options that this libcurl does not know would fail the request itself. */
	(void)curl_easy_setopt(h, CURLOPT_URL, url);
	(void)curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
	(void)curl_easy_setopt(h, CURLOPT_HTTPHEADER, list);
	(void)curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	(void)curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	(void)curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_data);
	(void)curl_easy_setopt(h, CURLOPT_WRITEDATA, answer);
	(void)curl_easy_setopt(h, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	if (c->ca)
		(void)curl_easy_setopt(h, CURLOPT_CAINFO, c->ca);
	if (c->path)
		(void)curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, c->path);
}

/* NOLINTNEXTLINE(readability-function-size): its parameters are the ABI */
int praas_control_request(struct praas_control *control, const char *method,
			  const char *path, const char *content_type, const void *body,
			  size_t body_bytes, int *ret_status, char **ret_body,
			  size_t *ret_bytes)
{
	struct answer answer = { .data = NULL };
	struct curl_slist *list;
	char url[2 * URL_MAX];
	long status = 0;
	CURLcode code;

	if (!path || path[0] != '/' || strlen(path) >= URL_MAX ||
	    strpbrk(path, " \r\n"))
		return praas_fail_with(-EINVAL, "not a path: '%s'", path ? path : "");
	(void)snprintf(url, sizeof(url), "%s%s", control->base, path);
	list = headers(control, content_type);
	if (!list)
		return praas_fail_with(-ENOMEM, "out of memory");
	set_options(control, method, url, list, &answer);
	if (body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
		(void)curl_easy_setopt(control->curl, CURLOPT_POSTFIELDSIZE_LARGE,
				       (curl_off_t)body_bytes);
		(void)curl_easy_setopt(control->curl, CURLOPT_POSTFIELDS,
				       body ? body : "");
	}
	code = curl_easy_perform(control->curl);
	curl_slist_free_all(list);
	if (code == CURLE_OK)
		code = curl_easy_getinfo(control->curl, CURLINFO_RESPONSE_CODE,
					 &status);
	if (code == CURLE_OK && !answer.data)
		(void)on_data((char *)(uintptr_t) "", 1, 0, &answer);
	if (code != CURLE_OK || !answer.data) {
		free(answer.data);
		return praas_fail_with(code != CURLE_OK ? curl_errno(code) : -ENOMEM,
				       "control service at %s: %s%s",
				       control->path ? control->path : control->base,
				       curl_easy_strerror(code),
				       curl_errno(code) == -EACCES
					       ? "; PRAAS_CA names the file of "
						 "certificates to trust"
					       : "");
	}
	*ret_status = (int)status;
	if (ret_bytes)
		*ret_bytes = answer.bytes;
	if (ret_body)
		*ret_body = answer.data;
	else
		free(answer.data);
	return 0;
}

const char *praas_control_header(struct praas_control *control, const char *name)
{
	struct curl_header *header = NULL;

	return curl_easy_header(control->curl, name, 0, CURLH_HEADER, -1, &header) ==
			       CURLHE_OK
		       ? header->value
		       : NULL;
}

/* ---- applications and processes ------------------------------------------------------------ */

static int status_errno(int status)
{
	if (status >= 200 && status < 300)
		return 0;
	switch (status) {
	case 400:
	case 422:
		return -EINVAL;
	case 401:
	case 403:
		return -EACCES;
	case 404:
	case 410:
		return -ENOENT;
	case 409:
		return -EEXIST;
	case 413:
		return -EMSGSIZE;
	case 429:
	case 503:
		return -EAGAIN;
	case 504:
		return -ETIMEDOUT;
	default:
		return -EIO;
	}
}

/* The words of {"error": {"message": …, "hint": …}}. */
static void keep_words(int rc, int status, const char *body, size_t bytes)
{
	json_t *root = json_loadb(body, bytes, 0, NULL);
	const json_t *error = json_object_get(root, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *hint = json_string_value(json_object_get(error, "hint"));

	(void)praas_fail_with(rc, "%s%s%s",
			      message ? message : "the control service refused",
			      hint ? "; " : "", hint ? hint : "");
	if (!message)
		(void)praas_fail_with(rc, "the control service answered %d", status);
	json_decref(root);
}

/* A request that succeeds or fails; ret_body may be NULL. */
static int call(struct praas_control *control, const char *method, const char *path,
		const char *body, char **ret_body)
{
	char *answer = NULL;
	size_t bytes = 0;
	int status = 0;
	int rc = praas_control_request(control, method, path, NULL, body,
				       body ? strlen(body) : 0, &status, &answer,
				       &bytes);

	if (rc != 0)
		return rc;
	rc = status_errno(status);
	if (rc != 0)
		keep_words(rc, status, answer, bytes);
	if (rc == 0 && ret_body)
		*ret_body = answer;
	else
		free(answer);
	return rc;
}

/* Names go into paths as they are. */
static int check_name(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	if (!name || name[0] == '\0' || strlen(name) > PRAAS_NAME_MAX ||
	    strspn(name, allowed) != strlen(name) || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return praas_fail_with(-EINVAL, "'%s' is not a name", name ? name : "");
	return 0;
}

int praas_app_create(struct praas_control *control, const char *app, const char *code,
		     const char *resources)
{
	json_t *limits = NULL, *body;
	char text[1024];
	char *dump;
	int rc = check_name(app);

	if (rc != 0)
		return rc;
	if (resources) {
		if (snprintf(text, sizeof(text), "{%s}", resources) >=
		    (int)sizeof(text))
			return praas_fail_with(-EINVAL, "resources: too long");
		limits = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		if (!limits)
			return praas_fail_with(-EINVAL,
					       "resources: not members of JSON: %s",
					       resources);
	}
	body = json_pack("{s:s, s:s, s:o*}", "name", app, "code", code, "resources",
			 limits);
	dump = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	if (!dump)
		return praas_fail_with(-EINVAL, "name, code: not UTF-8");
	rc = call(control, "POST", "/v1/apps", dump, NULL);
	free(dump);
	return rc;
}

static int app_path(const char *app, const char *process, const char *tail,
		    char *ret_path, size_t bytes)
{
	int rc = check_name(app);

	if (rc == 0 && process)
		rc = check_name(process);
	if (rc == 0)
		(void)snprintf(ret_path, bytes, "/v1/apps/%s%s%s%s", app,
			       process ? "/processes/" : "", process ? process : "",
			       tail);
	return rc;
}

int praas_app_delete(struct praas_control *control, const char *app)
{
	char path[256] = "";
	int rc = app_path(app, NULL, "", path, sizeof(path));

	return rc ? rc : call(control, "DELETE", path, NULL, NULL);
}

/* The ticket of an answer to POST …/processes; without memory another is asked for. */
static void keep_ticket(struct praas_control *control, const char *app, const char *pid,
			const json_t *answer)
{
	const json_t *ticket = json_object_get(answer, "ticket");

	wipe_ticket(control->ticket);
	control->ticket = NULL;
	if (!json_is_object(ticket) ||
	    app_path(app, pid, "/tickets", control->ticket_path,
		     sizeof(control->ticket_path)) != 0)
		return;
	control->ticket = json_dumps(ticket, JSON_COMPACT);
	control->ticket_ns = praas_now_ns();
}

int praas_process_create(struct praas_control *control, const char *app,
			 const char *name, char *ret_name)
{
	char path[256] = "", body[256] = "{}";
	char *answer;
	const char *pid;
	json_t *root;
	int rc = app_path(app, NULL, "/processes", path, sizeof(path));

	if (rc == 0 && name)
		rc = check_name(name);
	if (rc != 0)
		return rc;
	if (name)
		(void)snprintf(body, sizeof(body), "{\"pid\":\"%s\"}", name);
	rc = call(control, "POST", path, body, &answer);
	if (rc != 0)
		return rc;
	root = json_loads(answer, 0, NULL);
	pid = json_string_value(json_object_get(root, "pid"));
	if (!pid || strlen(pid) > PRAAS_NAME_MAX)
		rc = praas_fail_with(-EPROTO, "the control service named no process");
	else if (ret_name)
		memcpy(ret_name, pid, strlen(pid) + 1);
	if (rc == 0)
		keep_ticket(control, app, pid, root);
	json_decref(root);
	explicit_bzero(answer, strlen(answer)); /* it may hold a session key */
	free(answer);
	return rc;
}

static int process_call(struct praas_control *control, const char *method,
			const char *app, const char *name, const char *tail)
{
	char path[256] = "";
	int rc =
		name ? app_path(app, name, tail, path, sizeof(path)) : check_name(name);

	return rc ? rc : call(control, method, path, NULL, NULL);
}

int praas_process_swap_out(struct praas_control *control, const char *app,
			   const char *name)
{
	return process_call(control, "POST", app, name, "/swap-out");
}

int praas_process_swap_in(struct praas_control *control, const char *app,
			  const char *name)
{
	return process_call(control, "POST", app, name, "/swap-in");
}

int praas_process_delete(struct praas_control *control, const char *app,
			 const char *name)
{
	return process_call(control, "DELETE", app, name, "");
}

/* With the ticket that came with the process, once. -ENOENT: there is none. */
static int connect_created(struct praas_control *control, const char *path,
			   const struct praas_connect_config *config,
			   praas_connection **ret_conn)
{
	char *ticket = control->ticket;
	int rc = -ENOENT;

	if (!ticket || strcmp(control->ticket_path, path) != 0)
		return rc;
	control->ticket = NULL;
	if (praas_now_ns() - control->ticket_ns < TICKET_FRESH_NS)
		rc = praas_connect_ticket(ticket, config, ret_conn);
	wipe_ticket(ticket);
	return rc;
}

int praas_connect(struct praas_control *control, const char *app, const char *process,
		  const struct praas_connect_config *config,
		  praas_connection **ret_conn)
{
	char path[256] = "";
	char *ticket = NULL;
	int rc = process ? app_path(app, process, "/tickets", path, sizeof(path))
			 : check_name(process);

	if (rc != 0)
		return rc;
	/* It may have been swapped or deleted since: then a new ticket tells. */
	if (connect_created(control, path, config, ret_conn) == 0)
		return 0;
	rc = call(control, "POST", path, NULL, &ticket);
	if (rc != 0)
		return rc;
	rc = praas_connect_ticket(ticket, config, ret_conn);
	wipe_ticket(ticket);
	return rc;
}
