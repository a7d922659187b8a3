/* SPDX-License-Identifier: Apache-2.0
 *
 * Listings come in pages: ?limit=N&after=NAME. An answer with "next" is not the last.
 */
#ifndef PRAAS_CONTROL_PAGE_H
#define PRAAS_CONTROL_PAGE_H

#include "control/rest/request.h"

struct praas_page {
	char after[PRAAS_NAME_MAX + 1]; /* "" from the beginning */
	uint32_t limit;                 /* 1 … PRAAS_LIMIT_PAGE */
};

/* false: answered with what is wrong. */
bool praas_page_parse(struct praas_request *rq, struct praas_page *ret_page);
/* 1 … PRAAS_LIMIT_PAGE, or that when there is none. -EINVAL. */
int praas_page_limit(const struct praas_request *rq, uint32_t *ret_limit);

/* A read of the records that was asked for one entry more than the page has tells whether there is
 * more: takes that one off *count. */
bool praas_page_more(const struct praas_page *page, uint32_t *count);

/* {name: list, "next": …}; list is given. next NULL: it is the last. NULL: no memory. */
json_t *praas_page_json(const char *name, json_t *list, const char *next);

/* A page of the processes of the application in the path, as {name: […], "next": …}. 0; a negative
 * errno; 1: answered with what is wrong. */
int praas_page_processes(struct praas_request *rq, const char *name,
			 json_t *(*entry)(struct praas_request *rq,
					  const struct praas_process_record *process),
			 json_t **ret_reply);

/* reply (given) with 200, or what rc says. */
void praas_reply_list(struct praas_request *rq, int rc, const char *what,
		      json_t *reply);

#endif
