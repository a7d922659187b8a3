/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/members.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller/json.h"

#define CHANGES_MAX (2u * PRAAS_MEMBERS_MAX) /* also those that are gone */

void praas_members_feed_release(struct praas_members_feed *f)
{
	free(f->list);
	free(f->items);
	*f = (struct praas_members_feed){ 0 };
}

static int parse_one(const json_t *item, struct praas_member_info *ret_info)
{
	/* In the order of enum praas_member_state. */
	static const char *const states[] = { "ACTIVATING", "ACTIVE", "DRAINING",
					      "SWAPPED",    "LOST",   "KILLED",
					      NULL };
	char error[PRAAS_JSON_ERROR_MAX] = "";
	struct praas_json_reader r = praas_json_reader(item, "members", error);
	const char *name;

	*ret_info = (struct praas_member_info){ 0 };
	ret_info->pid = praas_json_number(&r, "pid", 1, INT64_MAX);
	if (!json_object_get(item, "state"))
		return praas_json_failed(&r) ? -EPROTO : 0; /* gone */
	ret_info->state = (uint8_t)(1 + praas_json_choice(&r, "state", states, NULL));
	ret_info->epoch = (uint32_t)praas_json_number(&r, "epoch", 0, UINT32_MAX);
	ret_info->local = praas_json_bool(&r, "local", false);
	name = praas_json_string(&r, "name", PRAAS_NAME_MAX, NULL);
	if (praas_json_failed(&r) || !praas_json_is_name(name))
		return -EPROTO;
	memcpy(ret_info->name, name, strlen(name) + 1);
	return 0;
}

static int make_room(struct praas_members_feed *f, size_t more)
{
	struct praas_member_info *items;
	uint32_t room = f->room ? f->room : 64;

	if (more > CHANGES_MAX - f->count)
		return -EPROTO;
	while (room < f->count + more)
		room *= 2;
	if (room == f->room)
		return 0;
	items = realloc(f->items, room * sizeof(*items));
	if (!items)
		return -ENOMEM;
	f->items = items;
	f->room = room;
	return 0;
}

static int take_items(struct praas_members_feed *f, const json_t *list)
{
	size_t count = json_array_size(list);
	int rc = json_is_array(list) ? make_room(f, count) : -EPROTO;

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = parse_one(json_array_get(list, i), &f->items[f->count++]);
	return rc;
}

/* All parts are here, or there are too many for a list. */
static int finish(struct praas_members_feed *f, bool too_many)
{
	struct praas_members *list;
	int rc = praas_members_apply(f->from ? f->list : NULL, f->items, f->count,
				     f->version, &list);

	f->count = 0;
	if (rc == -ENOMEM)
		return rc;
	if (rc != 0)
		return -EPROTO;
	list->too_many = too_many;
	free(f->list);
	f->list = list;
	free(f->items); /* lists are long, and come seldom */
	f->items = NULL;
	f->room = 0;
	return 1;
}

int praas_members_feed(struct praas_members_feed *f, const json_t *line)
{
	char error[PRAAS_JSON_ERROR_MAX] = "";
	struct praas_json_reader r = praas_json_reader(line, "members", error);
	uint64_t from = praas_json_number(&r, "from", 0, PRAAS_MEMBERS_VERSION_MAX);
	uint64_t version =
		praas_json_number(&r, "version", 1, PRAAS_MEMBERS_VERSION_MAX);
	uint64_t at = praas_json_number_or(&r, "at", 0, CHANGES_MAX, 0);
	bool more = praas_json_bool(&r, "more", false);
	bool too_many = praas_json_bool(&r, "too_many", false);
	int rc;

	if (praas_json_failed(&r) || (too_many && (from || at || more)))
		return -EPROTO;
	if (at == 0) {
		f->from = from;
		f->version = version;
		f->count = 0;
	} else if (at != f->count || from != f->from || version != f->version) {
		return -ESTALE; /* a part is missing */
	}
	if (from != 0 && (!f->list || f->list->version != from))
		return -ESTALE;
	rc = take_items(f, json_object_get(line, "members"));
	if (rc != 0) {
		f->count = 0;
		return rc;
	}
	return more ? 0 : finish(f, too_many);
}
