/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process said, through REST. It is read from files: a swapped process is not woken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/limits.h"
#include "control/node/logs.h"
#include "control/rest/request.h"

#define TAIL_BYTES 65536u

/* from and tail_bytes of the query. false: answered. */
static bool parse(struct praas_request *rq, struct praas_logs_cursor *ret_cursor,
		  uint64_t *ret_tail)
{
	const char *from = praas_request_query(rq, "from");

	*ret_cursor = (struct praas_logs_cursor){ 0 };
	if ((!from || praas_logs_cursor_parse(from, ret_cursor) == 0) &&
	    praas_request_number(praas_request_query(rq, "tail_bytes"),
				 PRAAS_LOGS_BYTES_MAX, TAIL_BYTES, ret_tail) == 0)
		return true;
	praas_reply_error(rq, 400, "invalid_query",
			  "give Praas-Next of the answer before as from",
			  "from is where an answer before ended, tail_bytes a whole "
			  "number up to %u",
			  PRAAS_LOGS_BYTES_MAX);
	return false;
}

void praas_route_logs(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	struct praas_process_record process;
	struct praas_logs_cursor cursor;
	char next[PRAAS_LOGS_CURSOR_BYTES];
	uint64_t tail = 0;
	char *text = NULL;
	size_t bytes = 0;
	int rc;

	if (!parse(rq, &cursor, &tail) || !praas_request_app(rq))
		return;
	rc = records->ops->process_get(records, rq->app.id, rq->match.pid, &process);
	if (rc) {
		praas_reply_errno(rq, rc, "no such process");
		return;
	}
	rc = praas_logs_read(rq->service->log_dir, process.number, tail,
			     PRAAS_LOGS_BYTES_MAX, &cursor, &text, &bytes);
	if (rc) {
		praas_reply_errno(rq, rc, "the log cannot be read");
		return;
	}
	praas_logs_cursor_text(&cursor, next);
	praas_reply_header(rq, "Praas-Next", next);
	praas_reply_bytes(rq, 200, "application/x-ndjson", text, bytes);
}
