/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of members, as functions ask for it. It is not there before the first of them does: most
 * processes never need it, and what all are told of each would cost more with each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/process_private.h"
#include "internal/base.h"

void praas_process_members_host_set(struct praas_process *p, int (*ask)(void *user),
				    void *user)
{
	p->members_ask = ask;
	p->members_user = user;
}

void praas_process_members_give(struct praas_process *p, struct praas_members *list)
{
	struct praas_fn_wait *wait, *next;

	free(p->members);
	p->members = list;
	p->activity++;
	for (wait = p->members_waits; wait; wait = next) {
		next = wait->all_next;
		if (wait->order == list->version)
			continue;
		praas_process_members_wait_remove(p, wait);
		praas_process_wait_over(wait, 0);
		next = p->members_waits; /* done() may have changed it: from the front */
	}
	if (p->stages.count != 0)
		praas_stage_calls_look(p);
}

/* 0; -EAGAIN it is not here, and is asked for; -E2BIG. */
static int known(struct praas_process *p)
{
	if (praas_likely(p->members != NULL))
		return p->members->too_many ? -E2BIG : 0;
	if (!p->members_asked && p->members_ask)
		p->members_asked = p->members_ask(p->members_user) == 0;
	return -EAGAIN;
}

void praas_process_members_want(struct praas_process *p)
{
	(void)known(p); /* if it is not, it is asked for, or was */
}

int praas_process_fn_member(struct praas_process *p, const char *name,
			    uint32_t name_bytes, uint64_t *ret_pid)
{
	const struct praas_member_info *info;
	int rc = known(p);

	if (rc != 0)
		return rc;
	info = praas_members_named(p->members, name, name_bytes);
	if (!info)
		return -ENOENT;
	*ret_pid = info->pid;
	return 0;
}

int praas_process_fn_members(struct praas_process *p, uint64_t after,
			     const struct praas_members **ret_list, uint32_t *ret_first)
{
	int rc = known(p);

	if (rc != 0)
		return rc;
	*ret_list = p->members;
	*ret_first = praas_members_after(p->members, after);
	return 0;
}

uint64_t praas_process_members_version(const struct praas_process *p)
{
	return p->members ? p->members->version : 0;
}

void praas_process_members_wait_remove(struct praas_process *p,
				       struct praas_fn_wait *wait)
{
	*(wait->all_prev ? &wait->all_prev->all_next : &p->members_waits) =
		wait->all_next;
	if (wait->all_next)
		wait->all_next->all_prev = wait->all_prev;
	wait->queue = 0;
}

int praas_process_fn_members_wait(struct praas_process *p, uint64_t version,
				  struct praas_fn_wait *wait)
{
	int rc = known(p);

	wait->queue = 0;
	wait->timer.position = 0;
	if (rc != -EAGAIN && p->members->version != version)
		return 0;
	if (wait->deadline_ns == 0 || (wait->deadline_ns < PRAAS_DEADLINE_NEVER &&
				       wait->deadline_ns <= praas_now_ns()))
		return -EAGAIN;
	if (!p->open)
		return -ESHUTDOWN;
	rc = praas_process_wait_arm(p, wait, PRAAS_WAIT_MEMBERS);
	if (rc != 0)
		return rc;
	wait->order = version;
	wait->queue = 1;
	wait->all_prev = NULL;
	wait->all_next = p->members_waits;
	if (wait->all_next)
		wait->all_next->all_prev = wait;
	p->members_waits = wait;
	return -EINPROGRESS;
}
