/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/members.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t *places(struct praas_members *list)
{
	return (uint32_t *)(void *)(list->items + list->count);
}

static const uint32_t *places_const(const struct praas_members *list)
{
	return (const uint32_t *)(const void *)(list->items + list->count);
}

static int by_number(const void *a, const void *b)
{
	const struct praas_member_info *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* The youngest of a name first. */
static int by_name(const void *a, const void *b, void *user)
{
	const struct praas_members *list = user;
	const uint32_t *x = a, *y = b;
	int order = strcmp(list->items[*x].name, list->items[*y].name);

	return order ? order : (*x < *y) - (*x > *y);
}

static struct praas_members *new_list(uint32_t count, uint64_t version)
{
	size_t bytes =
		sizeof(struct praas_members) +
		(size_t)count * (sizeof(struct praas_member_info) + sizeof(uint32_t));
	struct praas_members *list = calloc(1, bytes);

	if (!list)
		return NULL;
	list->version = version;
	list->bytes = bytes;
	list->count = count;
	return list;
}

/* Both are sorted; list NULL: how many there will be. */
static uint32_t merge(const struct praas_members *old,
		      const struct praas_member_info *changes, uint32_t count,
		      struct praas_members *list)
{
	uint32_t old_count = old ? old->count : 0, i = 0, k = 0, n = 0;

	while (i < old_count || k < count) {
		const struct praas_member_info *from;

		if (k == count ||
		    (i < old_count && old->items[i].pid < changes[k].pid)) {
			from = &old->items[i++];
		} else {
			i += i < old_count && old->items[i].pid == changes[k].pid;
			from = &changes[k++];
		}
		if (from->state == 0)
			continue;
		if (list)
			list->items[n] = *from;
		n++;
	}
	return n;
}

int praas_members_apply(const struct praas_members *old,
			struct praas_member_info *changes, uint32_t count,
			uint64_t version, struct praas_members **ret_list)
{
	struct praas_members *list;
	uint32_t n;

	if (count > 1)
		qsort(changes, count, sizeof(*changes), by_number);
	for (uint32_t i = 1; i < count; i++)
		if (changes[i].pid == changes[i - 1].pid)
			return -EINVAL;
	n = merge(old, changes, count, NULL);
	if (n > PRAAS_MEMBERS_MAX)
		return -E2BIG;
	list = new_list(n, version);
	if (!list)
		return -ENOMEM;
	(void)merge(old, changes, count, list);
	for (uint32_t i = 0; i < n; i++)
		places(list)[i] = i;
	if (n > 1)
		qsort_r(places(list), n, sizeof(uint32_t), by_name, list);
	*ret_list = list;
	return 0;
}

struct praas_members *praas_members_copy(const struct praas_members *list)
{
	struct praas_members *copy = malloc(list->bytes);

	if (copy)
		memcpy(copy, list, list->bytes);
	return copy;
}

const struct praas_member_info *praas_members_named(const struct praas_members *list,
						    const char *name,
						    uint32_t name_bytes)
{
	const uint32_t *place = places_const(list);
	uint32_t low = 0, high = list->count;
	char text[PRAAS_NAME_MAX + 1];

	if (name_bytes == 0 || name_bytes > PRAAS_NAME_MAX)
		return NULL;
	memcpy(text, name, name_bytes);
	text[name_bytes] = '\0';
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (strcmp(list->items[place[mid]].name, text) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == list->count || strcmp(list->items[place[low]].name, text) != 0)
		return NULL;
	return &list->items[place[low]];
}

uint32_t praas_members_after(const struct praas_members *list, uint64_t number)
{
	uint32_t low = 0, high = list->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (list->items[mid].pid <= number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}
