/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/page.h"

#include <errno.h>
#include <stdlib.h>

#include "control/names.h"

int praas_page_limit(const struct praas_request *rq, uint32_t *ret_limit)
{
	uint64_t limit;

	if (praas_request_number(praas_request_query(rq, "limit"), PRAAS_LIMIT_PAGE,
				 PRAAS_LIMIT_PAGE, &limit) ||
	    limit == 0)
		return -EINVAL;
	*ret_limit = (uint32_t)limit;
	return 0;
}

bool praas_page_parse(struct praas_request *rq, struct praas_page *ret_page)
{
	int rc = praas_request_query_text(rq, "after", ret_page->after,
					  sizeof(ret_page->after));

	if (rc == -ENOENT)
		ret_page->after[0] = 0;
	else if (rc || !praas_name_valid(ret_page->after))
		rc = -EINVAL;
	if (rc == 0 || rc == -ENOENT)
		rc = praas_page_limit(rq, &ret_page->limit);
	if (rc)
		praas_reply_error(rq, 400, "invalid_query",
				  "give the next of the answer before as after",
				  "after is a name, limit a whole number from 1 to %u",
				  PRAAS_LIMIT_PAGE);
	return rc == 0;
}

bool praas_page_more(const struct praas_page *page, uint32_t *count)
{
	bool more = *count > page->limit;

	if (more)
		*count = page->limit;
	return more;
}

json_t *praas_page_json(const char *name, json_t *list, const char *next)
{
	json_t *reply =
		json_pack("{s:o}", name, list); /* takes list, even if it fails */

	if (reply && next && json_object_set_new(reply, "next", json_string(next))) {
		json_decref(reply);
		return NULL;
	}
	return reply;
}

int praas_page_processes(struct praas_request *rq, const char *name,
			 json_t *(*entry)(struct praas_request *rq,
					  const struct praas_process_record *process),
			 json_t **ret_reply)
{
	struct praas_records *records = rq->service->records;
	struct praas_process_record *processes;
	struct praas_page page;
	uint32_t count = 0;
	json_t *list;
	bool more;
	int rc;

	*ret_reply = NULL;
	if (!praas_page_parse(rq, &page) || !praas_request_app(rq))
		return 1;
	processes = calloc(page.limit + 1, sizeof(*processes));
	list = json_array();
	rc = processes && list
		     ? records->ops->process_list(records, rq->app.id,
						  page.after[0] ? page.after : NULL,
						  page.limit + 1, processes, &count)
		     : -ENOMEM;
	more = praas_page_more(&page, &count);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		if (json_array_append_new(list, entry(rq, &processes[i])))
			rc = -ENOMEM;
	*ret_reply =
		praas_page_json(name, list, more ? processes[count - 1].name : NULL);
	free(processes);
	return rc;
}

void praas_reply_list(struct praas_request *rq, int rc, const char *what, json_t *reply)
{
	if (rc == 0) {
		praas_reply_json(rq, 200, reply);
		return;
	}
	json_decref(reply);
	praas_reply_errno(rq, rc, what);
}
