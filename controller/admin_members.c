/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller/admin_private.h"
#include "controller/journal.h"

/*
 * The members of the application: asked for when a function wants them first, and told by the control service from
 * then on. After a connection that has ended it goes on from what is known.
 */

static void subscribe(struct praas_admin *a)
{
	const struct praas_members *list = a->members.list;

	if (!a->members_wanted || !a->joined)
		return; /* said when we have joined */
	if (praas_link_send(a->link,
			    json_pack("{ss sI}", "t", "members", "after",
				      (json_int_t)(list ? list->version : 0))) != 0)
		praas_link_renew(a->link);
}

void praas_admin_members_ask(struct praas_admin *a)
{
	a->members_wanted = true;
	subscribe(a);
}

void praas_admin_members_joined(struct praas_admin *a)
{
	if (a->joined)
		return;
	a->joined = true;
	subscribe(a);
}

/* The data thread gets one of its own. */
static void give(struct praas_admin *a)
{
	struct praas_members *copy = praas_members_copy(a->members.list);

	if (copy && praas_exchange_order(a->exchange, PRAAS_ORDER_MEMBERS,
					 (uint64_t)(uintptr_t)copy, 0) == 0)
		return;
	free(copy);
	praas_link_renew(a->link); /* it is told again */
	a->members.list->version = 0;
}

void praas_admin_members_line(struct praas_admin *a, const json_t *line)
{
	int rc = praas_members_feed(&a->members, line);

	if (!a->members_wanted)
		return; /* nobody has asked */
	if (rc > 0) {
		if (a->members.list->too_many)
			praas_journal(PRAAS_LOG_WARNING,
				      "the application has more members than functions "
				      "can be told of");
		give(a);
	} else if (rc == -EPROTO) {
		praas_journal(PRAAS_LOG_WARNING,
			      "the control service tells members that cannot be");
		praas_link_renew(a->link);
	} else if (rc < 0) {
		subscribe(a);
	}
}
