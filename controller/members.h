/* SPDX-License-Identifier: Apache-2.0
 *
 * The members of the application as the control service tells them (docs/control-link.md): the list, then what
 * changes, each line on top of what was told before. Admin thread.
 */
#ifndef PRAAS_CONTROLLER_MEMBERS_H
#define PRAAS_CONTROLLER_MEMBERS_H

#include <jansson.h>

#include "dataplane/members.h"

#define PRAAS_MEMBERS_VERSION_MAX (UINT64_C(1) << 53) /* a number of JSON */

/* Zeroed memory is the beginning. */
struct praas_members_feed {
	struct praas_members *list; /* NULL: none yet */
	/* Parts of what is being told. */
	uint64_t from, version;
	struct praas_member_info *items;
	uint32_t count, room;
};

void praas_members_feed_release(struct praas_members_feed *f);

/* A line "members". 1: the list is another one; 0: more is to come; -ESTALE it is not on top of what we have: to
 * be asked for again, from the version of the list on; -EPROTO it is not what it should be; -ENOMEM as -ESTALE. */
int praas_members_feed(struct praas_members_feed *f, const json_t *line);

#endif
