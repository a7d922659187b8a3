/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of the keys: a treap whose priorities are the keys' seeded hashes, so that its shape
 * is that of a random tree whatever the keys. Private memory; nothing recursive.
 */
#include <string.h>

#include "dataplane/state.h"

#define RECORD_HEAD 32u /* bytes of a list record before its key */

static int compare(const char *a, uint32_t a_bytes, const char *b, uint32_t b_bytes)
{
	uint32_t n = a_bytes < b_bytes ? a_bytes : b_bytes;
	int c = n ? memcmp(a, b, n) : 0;

	if (c != 0)
		return c;
	return a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

static int compare_objects(const struct praas_state *s, const struct praas_object *a,
			   const struct praas_object *b)
{
	return compare(praas_state_key(s, a), a->key_bytes, praas_state_key(s, b),
		       b->key_bytes);
}

static uint32_t number(const struct praas_state *s, const struct praas_object *o)
{
	return (uint32_t)(o - s->objects) + 1;
}

void praas_state_order_put(struct praas_state *s, struct praas_object *o)
{
	uint32_t *at = &s->root;
	uint32_t *left = &o->left;
	uint32_t *right = &o->right;
	uint32_t rest;

	/* Down to the first one of lower priority: o takes its place … */
	while (*at && s->objects[*at - 1].hash >= o->hash) {
		struct praas_object *x = &s->objects[*at - 1];

		at = compare_objects(s, o, x) < 0 ? &x->left : &x->right;
	}
	/* … and what was below is split into what comes before o and what comes after. */
	rest = *at;
	*at = number(s, o);
	while (rest) {
		struct praas_object *x = &s->objects[rest - 1];

		if (compare_objects(s, x, o) < 0) {
			*left = rest;
			left = &x->right;
			rest = x->right;
		} else {
			*right = rest;
			right = &x->left;
			rest = x->left;
		}
	}
	*left = 0;
	*right = 0;
}

void praas_state_order_remove(struct praas_state *s, struct praas_object *o)
{
	uint32_t *at = &s->root;
	uint32_t left = o->left;
	uint32_t right = o->right;

	while (*at != number(s, o)) {
		struct praas_object *x = &s->objects[*at - 1];

		at = compare_objects(s, o, x) < 0 ? &x->left : &x->right;
	}
	/* Its two halves are merged, the higher priority on top. */
	while (left && right) {
		if (s->objects[left - 1].hash >= s->objects[right - 1].hash) {
			*at = left;
			at = &s->objects[left - 1].right;
			left = *at;
		} else {
			*at = right;
			at = &s->objects[right - 1].left;
			right = *at;
		}
	}
	*at = left ? left : right;
}

struct praas_object *praas_state_order_after(const struct praas_state *s,
					     const char *key, uint32_t key_bytes,
					     bool equal)
{
	uint32_t i = s->root;
	struct praas_object *best = NULL;

	while (i) {
		struct praas_object *x = &s->objects[i - 1];
		int c = compare(praas_state_key(s, x), x->key_bytes, key, key_bytes);

		if (c > 0 || (c == 0 && equal)) {
			best = x;
			i = x->left;
		} else {
			i = x->right;
		}
	}
	return best;
}

/* NOLINTNEXTLINE(readability-function-size): a range and two results, each of two words */
void praas_objects_list(const struct praas_state *s, const char *prefix,
			uint32_t prefix_bytes, const char *after, uint32_t after_bytes,
			uint8_t *ret_data, uint64_t bytes_max, uint64_t *ret_bytes,
			uint64_t *ret_count)
{
	bool from_prefix = compare(after, after_bytes, prefix, prefix_bytes) < 0;
	const struct praas_object *o =
		from_prefix ? praas_state_order_after(s, prefix, prefix_bytes, true)
			    : praas_state_order_after(s, after, after_bytes, false);
	uint64_t at = 0;
	uint64_t count = 0;

	for (; o; o = praas_state_order_after(s, praas_state_key(s, o), o->key_bytes,
					      false)) {
		const char *key = praas_state_key(s, o);
		uint64_t bytes = RECORD_HEAD + praas_align_up(o->key_bytes, 8);
		uint64_t words[4] = { o->version, o->modified_ns, o->value.bytes,
				      o->key_bytes };

		if (o->key_bytes < prefix_bytes ||
		    memcmp(key, prefix, prefix_bytes) != 0)
			break;
		if (o->version == 0)
			continue;
		if (bytes > bytes_max - at)
			break;
		memcpy(ret_data + at, words, sizeof(words));
		/* Cells are zero-padded to a multiple of 8. */
		memcpy(ret_data + at + RECORD_HEAD, key, bytes - RECORD_HEAD);
		at += bytes;
		count++;
	}
	*ret_bytes = at;
	*ret_count = count;
}
