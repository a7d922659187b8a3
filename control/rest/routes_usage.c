/* SPDX-License-Identifier: Apache-2.0
 *
 * What processes used.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/names.h"
#include "control/rest/page.h"
#include "control/rest/request.h"

#define SECOND_NS 1000000000ull
#define SECONDS_MAX 9000000000ull /* in nanoseconds it fits a signed number */
#define EXACT_MAX 9e15            /* whole numbers up to it are exact in any JSON */

/* The query, with room for what it points to. */
struct asked {
	struct praas_usage_query query;
	uint64_t since_s, until_s;
	char tenant[PRAAS_NAME_MAX + 1], app[PRAAS_NAME_MAX + 1],
		pid[PRAAS_NAME_MAX + 1], after[PRAAS_USAGE_AFTER_BYTES];
};

static bool wrong(struct praas_request *rq, const char *what)
{
	praas_reply_error(rq, 400, "invalid_query", "see docs/rest.md, GET /v1/usage",
			  "%s", what);
	return false;
}

/* 0; -ENOENT it is not there; -EINVAL. */
static int take_name(const struct praas_request *rq, const char *name,
		     char ret_name[PRAAS_NAME_MAX + 1])
{
	int rc = praas_request_query_text(rq, name, ret_name, PRAAS_NAME_MAX + 1);

	if (rc == 0 && !praas_name_valid(ret_name))
		rc = -EINVAL;
	return rc;
}

static int take_by(const struct praas_request *rq, enum praas_usage_by *ret_by)
{
	static const char *const texts[] = { "process", "app", "tenant" };
	const char *text = praas_request_query(rq, "by");

	*ret_by = PRAAS_BY_APP;
	for (int i = 0; text && i < 3; i++) {
		if (strcmp(text, texts[i]) != 0)
			continue;
		*ret_by = (enum praas_usage_by)i;
		return 0;
	}
	return text ? -EINVAL : 0;
}

static bool take_time(struct praas_request *rq, struct asked *a)
{
	uint64_t now_s = (uint64_t)time(NULL) + 1; /* what was used just now, too */

	if (praas_request_number(praas_request_query(rq, "since_s"), SECONDS_MAX, 0,
				 &a->since_s) ||
	    praas_request_number(praas_request_query(rq, "until_s"), SECONDS_MAX, now_s,
				 &a->until_s))
		return wrong(rq, "since_s and until_s are seconds since 1970");
	if (a->until_s > now_s)
		a->until_s = now_s;
	if (a->since_s > a->until_s)
		return wrong(rq, "since_s must not be after until_s, nor after now");
	a->query.since_ns = a->since_s * SECOND_NS;
	/* Until now is until whenever the accounts are read: no row may be cut by a second's end. */
	a->query.until_ns = a->until_s == now_s ? INT64_MAX : a->until_s * SECOND_NS;
	return true;
}

/* Whose: his own, or as an operator asks. */
static bool take_tenant(struct praas_request *rq, struct asked *a)
{
	bool all = rq->caller.scopes & 1u << PRAAS_SCOPE_OPERATOR;
	int rc = take_name(rq, "tenant", a->tenant);

	if (rc == -EINVAL)
		return wrong(rq, "tenant must be [A-Za-z0-9._-]{1,64}");
	if (rc == -ENOENT && all && a->query.by == PRAAS_BY_TENANT)
		return true; /* all of them */
	if (rc == -ENOENT)
		memcpy(a->tenant, rq->caller.tenant, sizeof(a->tenant));
	a->query.tenant = a->tenant;
	if (all || !strcmp(a->tenant, rq->caller.tenant))
		return true;
	praas_reply_error(rq, 404, "not_found", "leave it out for your own",
			  "no such tenant");
	return false;
}

static bool take_what(struct praas_request *rq, struct asked *a)
{
	int app = take_name(rq, "application", a->app);
	int pid = take_name(rq, "process", a->pid);

	if (app == -EINVAL || pid == -EINVAL)
		return wrong(rq,
			     "application and process must be [A-Za-z0-9._-]{1,64}");
	if (pid == 0 && app != 0)
		return wrong(rq, "process names one of an application: give that, too");
	a->query.app = app == 0 ? a->app : NULL;
	a->query.process = pid == 0 ? a->pid : NULL;
	return true;
}

static bool take_page(struct praas_request *rq, struct asked *a)
{
	int rc = praas_request_query_text(rq, "after", a->after, sizeof(a->after));

	if (rc == 0)
		a->query.after = a->after;
	if ((rc == 0 || rc == -ENOENT) && praas_page_limit(rq, &a->query.max) == 0)
		return true;
	praas_reply_error(rq, 400, "invalid_query",
			  "give the next of the answer before as after",
			  "after is what an answer before said, limit a whole number "
			  "from 1 to %u",
			  PRAAS_LIMIT_PAGE);
	return false;
}

/* Whole where that is exact. */
static json_t *held_json(double byte_s)
{
	return byte_s < EXACT_MAX ? json_integer((json_int_t)byte_s)
				  : json_real(byte_s);
}

/* What fails for lack of memory is noticed when the answer becomes text. */
static json_t *line_json(const struct praas_usage_line *line)
{
	const struct praas_usage *u = &line->used;
	json_t *object = json_pack(
		"{s:s,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "tenant", line->tenant, "cpu_ns",
		(json_int_t)u->cpu_ns, "wall_ns", (json_int_t)u->wall_ns, "calls",
		(json_int_t)u->calls, "bytes_in", (json_int_t)u->bytes_in, "bytes_out",
		(json_int_t)u->bytes_out, "resident_byte_s", held_json(u->resident),
		"swapped_byte_s", held_json(u->stored));

	if (line->app[0])
		(void)json_object_set_new(object, "app", json_string(line->app));
	if (line->number) {
		(void)json_object_set_new(object, "pid", json_string(line->process));
		(void)json_object_set_new(object, "number",
					  json_integer((json_int_t)line->number));
	}
	return object;
}

static json_t *lines_json(const struct asked *a, const struct praas_usage_line *lines,
			  uint32_t count, bool more)
{
	static const char *const texts[] = { "process", "app", "tenant" };
	char next[PRAAS_USAGE_AFTER_BYTES];
	json_t *list = json_array(), *reply;

	for (uint32_t i = 0; i < count; i++)
		(void)json_array_append_new(list, line_json(&lines[i]));
	if (more)
		praas_usage_after(a->query.by, &lines[count - 1], next);
	reply = praas_page_json("usage", list, more ? next : NULL);
	(void)json_object_set_new(reply, "by", json_string(texts[a->query.by]));
	(void)json_object_set_new(reply, "since_s",
				  json_integer((json_int_t)a->since_s));
	(void)json_object_set_new(reply, "until_s",
				  json_integer((json_int_t)a->until_s));
	return reply;
}

void praas_route_usage(struct praas_request *rq)
{
	struct praas_usage_line *lines;
	struct asked a = { .query = { .by = PRAAS_BY_APP } };
	uint32_t count = 0, limit;
	json_t *reply = NULL;
	int rc;

	if (take_by(rq, &a.query.by)) {
		(void)wrong(rq, "by is process, app or tenant");
		return;
	}
	if (!take_page(rq, &a) || !take_time(rq, &a) || !take_what(rq, &a) ||
	    !take_tenant(rq, &a))
		return;
	limit = a.query.max++; /* one more tells that there are more */
	lines = calloc(a.query.max, sizeof(*lines));
	rc = lines ? praas_life_usage(rq->service->life, &a.query, lines, &count)
		   : -ENOMEM;
	if (rc == -EINVAL) {
		free(lines);
		(void)wrong(rq, "after is not what an answer before said");
		return;
	}
	if (rc == 0)
		reply = lines_json(&a, lines, count > limit ? limit : count,
				   count > limit);
	free(lines);
	praas_reply_list(rq, rc, "usage", reply);
}
