/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/http_head.h"

#include <string.h>
#include <strings.h>

#include <microhttpd.h>

#include "control/limits.h"

/* That we act upon: two of them could be read as either. */
enum {
	AUTHORIZATION,
	LENGTH,
	TYPE,
	EXPECT,
	HOST,
	CODING,
	IDEMPOTENCY,
	EVENT,
	DEADLINE,
	KEY,
	PID,
	TICKET,
	TIMING,
	SINGLES
};
static const struct {
	const char *name;
	size_t bytes;
} single[SINGLES] = {
#define SINGLE(text)                                                                   \
	{                                                                              \
		text, sizeof(text) - 1                                                 \
	}
	[AUTHORIZATION] = SINGLE(MHD_HTTP_HEADER_AUTHORIZATION),
	[LENGTH] = SINGLE(MHD_HTTP_HEADER_CONTENT_LENGTH),
	[TYPE] = SINGLE(MHD_HTTP_HEADER_CONTENT_TYPE),
	[EXPECT] = SINGLE(MHD_HTTP_HEADER_EXPECT),
	[HOST] = SINGLE(MHD_HTTP_HEADER_HOST),
	[CODING] = SINGLE(MHD_HTTP_HEADER_TRANSFER_ENCODING),
	[IDEMPOTENCY] = SINGLE("Idempotency-Key"),
	[EVENT] = SINGLE("Last-Event-ID"),
	[DEADLINE] = SINGLE("Praas-Deadline-Ms"),
	[KEY] = SINGLE("Praas-Key"),
	[PID] = SINGLE("Praas-Pid"),
	[TICKET] = SINGLE("Praas-Ticket"),
	[TIMING] = SINGLE("Praas-Timing"),
#undef SINGLE
};

struct walk {
	const char *line; /* where the next line must begin */
	unsigned headers;
	unsigned seen[SINGLES];
	const char *value[SINGLES]; /* of the first */
	bool torn;    /* a line does not end where the next begins, less CR and LF */
	bool illegal; /* a name or a value has what it must not */
};

/* Of a name, RFC 9110 section 5.6.2. */
static bool token_char(char c)
{
	return c != 0 && (((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
			  (c >= '0' && c <= '9') || strchr("!#$%&'*+-.^_`|~", c));
}

static bool value_legal(const char *value)
{
	for (; *value; value++)
		if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

/* The parts of a line lie in the buffer that the head was received in, so their distances tell what
 * was between them: a line that ends in a bare LF, that hides a NUL, or that is continued on the
 * next one (folded) leaves another gap than CR and LF. */
static enum MHD_Result take_header(void *user, enum MHD_ValueKind kind,
				   const char *name, const char *value)
{
	struct walk *w = user;
	size_t bytes = strlen(name);

	(void)kind;
	w->torn |= name != w->line;
	w->headers++;
	if (!value) {
		w->illegal = true;
		return MHD_YES;
	}
	w->line = value + strlen(value) + 2;
	for (const char *c = name; *c; c++)
		w->illegal |= !token_char(*c);
	w->illegal |= bytes == 0 || !value_legal(value);
	for (size_t i = 0; i < SINGLES; i++)
		if (bytes == single[i].bytes && strcasecmp(name, single[i].name) == 0 &&
		    w->seen[i]++ == 0)
			w->value[i] = value;
	return MHD_YES;
}

bool praas_head_target_legal(const char *target)
{
	for (; *target; target++)
		if ((unsigned char)*target <= 0x20 || *target == 0x7f)
			return false;
	return true;
}

static bool refuse(struct praas_head_fault *fault, int status, const char *code,
		   const char *hint, const char *message)
{
	*fault = (struct praas_head_fault){ status, code, hint, message };
	return false;
}

/* One blank on either side of the target, and no other there or in the version. */
static bool request_line_whole(const struct praas_head *h)
{
	return h->target_legal && h->url == h->method + strlen(h->method) + 1 &&
	       h->version == h->url + h->target_bytes + 1 &&
	       strncmp(h->version, "HTTP/1.", 7) == 0 && strlen(h->version) == 8;
}

static bool lines_good(const struct praas_head *h, struct walk *w,
		       struct praas_head_fault *fault)
{
	const union MHD_ConnectionInfo *size = MHD_get_connection_info(
		h->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	for (const char *c = h->method; *c; c++)
		if (!token_char(*c))
			return refuse(fault, 400, "invalid", "see RFC 9110",
				      "the method is not a token");
	(void)MHD_get_connection_values(h->connection, MHD_HEADER_KIND, take_header, w);
	if (w->headers > PRAAS_LIMIT_HEADERS + h->added)
		return refuse(fault, 431, "limit_headers", "send fewer",
			      "there are too many header lines");
	if (!request_line_whole(h) || w->torn || !size ||
	    w->line + 2 != h->method + size->header_size)
		return refuse(fault, 400, "invalid", "see RFC 9112",
			      "lines end in CR LF, are not folded, have no NUL, and "
			      "single "
			      "blanks");
	if (w->illegal)
		return refuse(fault, 400, "invalid_header", "see RFC 9110 section 5",
			      "a header has a character that it must not have");
	if (strcmp(h->version, "HTTP/1.0") != 0 && !w->value[HOST])
		return refuse(fault, 400, "invalid_header", "send Host",
			      "Host is missing");
	for (size_t i = 0; i < SINGLES; i++)
		if (w->seen[i] > 1)
			return refuse(fault, 400, "invalid_header", "send one of each",
				      "a header that may come once came twice");
	return true;
}

/* How long the body is must be said in one way. */
static bool framing_good(const struct praas_head *h, const struct walk *w,
			 struct praas_head_fault *fault)
{
	const char *coding = w->value[CODING], *length = w->value[LENGTH],
		   *expect = w->value[EXPECT];

	if (coding && (length || strcmp(h->version, "HTTP/1.1") != 0))
		return refuse(fault, 400, "invalid", "send one Content-Length",
			      "the length of the body is ambiguous");
	if (coding && strcasecmp(coding, "chunked") != 0)
		return refuse(fault, 501, "unsupported", "send it plain or chunked",
			      "there is no such transfer coding");
	if (length && (!*length || strspn(length, "0123456789") != strlen(length)))
		return refuse(fault, 400, "invalid", "send its length in decimal",
			      "Content-Length is not a number");
	if (expect && strcasecmp(expect, "100-continue") != 0)
		return refuse(fault, 417, "unsupported", "100-continue is known",
			      "what Expect asks for cannot be done");
	return true;
}

bool praas_head_good(const struct praas_head *head, struct praas_head_fault *ret_fault)
{
	struct walk w = { .line = head->version + strlen(head->version) + 2 };

	if (head->target_bytes > PRAAS_LIMIT_URI_BYTES ||
	    strlen(head->url) > PRAAS_LIMIT_PATH_BYTES)
		return refuse(ret_fault, 414, "limit_uri", "put less into it",
			      "the path or the query is too long");
	return lines_good(head, &w, ret_fault) && framing_good(head, &w, ret_fault);
}

/* ---- query -------------------------------------------------------------------------- */

struct query_walk {
	const struct praas_route *route;
	uint32_t seen; /* bit: the parameter's place in the route's list */
	bool bad;
};

static enum MHD_Result take_parameter(void *user, enum MHD_ValueKind kind,
				      const char *name, const char *value)
{
	struct query_walk *w = user;
	const char *list = w->route->query ? w->route->query : "";
	unsigned bit = 0;

	(void)kind;
	for (; *list; bit++) {
		size_t n = strcspn(list, " ");

		if (strlen(name) == n && !memcmp(list, name, n))
			break;
		list += n + (list[n] == ' ');
	}
	w->bad |= !*list || !value || (w->seen & 1u << bit);
	w->seen |= 1u << bit;
	return MHD_YES;
}

bool praas_head_query_good(struct MHD_Connection *connection,
			   const struct praas_route *route)
{
	struct query_walk w = { .route = route };

	(void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND,
					take_parameter, &w);
	return !w.bad;
}
