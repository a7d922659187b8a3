/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * A store in memory: for tests, and for the simulation of crashes and lost responses. A sorted
 * array, since listing is in order and there are few objects.
 */

struct object {
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint8_t *data;
	uint64_t bytes;
};

struct memory_store {
	struct praas_store base;
	struct object *objects; /* sorted by key */
	size_t count, room;
	praas_store_fault_fn fault;
	void *fault_user;
};

static struct memory_store *memory_store_of(struct praas_store *s)
{
	return (struct memory_store *)(void *)s;
}

static int fault(struct memory_store *m, const char *op, const char *key, int done)
{
	return m->fault ? m->fault(m->fault_user, op, key, done) : 0;
}

/* Index of the first object whose key is not before `key`. */
static size_t lower_bound(const struct memory_store *m, const char *key)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(m->objects[mid].key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct object *find(const struct memory_store *m, const char *key)
{
	size_t i = lower_bound(m, key);

	return i < m->count && strcmp(m->objects[i].key, key) == 0 ? &m->objects[i]
								   : NULL;
}

/* data is given on success. */
static int insert(struct memory_store *m, const char *key, uint8_t *data,
		  uint64_t bytes)
{
	size_t i = lower_bound(m, key);

	if (i < m->count && strcmp(m->objects[i].key, key) == 0)
		return -EEXIST;
	if (m->count == m->room) {
		size_t room = m->room ? m->room * 2 : 64;
		struct object *more = realloc(m->objects, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->objects = more;
		m->room = room;
	}
	memmove(&m->objects[i + 1], &m->objects[i],
		(m->count - i) * sizeof(*m->objects));
	memcpy(m->objects[i].key, key, strlen(key) + 1);
	m->objects[i].data = data;
	m->objects[i].bytes = bytes;
	m->count++;
	m->base.bytes_written += bytes;
	return 0;
}

static int memory_put_if_absent(struct praas_store *s, const char *key,
				const void *data, size_t bytes)
{
	struct memory_store *m = memory_store_of(s);
	uint8_t *copy;
	int rc = praas_store_key_check(key);

	if (rc == 0)
		rc = fault(m, "put_if_absent", key, 0);
	if (rc != 0)
		return rc;
	copy = malloc(bytes > 0 ? bytes : 1);
	if (!copy)
		return -ENOMEM;
	if (bytes > 0)
		memcpy(copy, data, bytes);
	rc = insert(m, key, copy, bytes);
	if (rc != 0) {
		free(copy);
		return rc;
	}
	return fault(m, "put_if_absent", key, 1);
}

static int memory_put(struct praas_store *s, const struct praas_store_source *source)
{
	struct memory_store *m = memory_store_of(s);
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint8_t *data;
	int rc = fault(m, "put", "", 0);

	if (rc != 0)
		return rc;
	data = malloc(source->bytes > 0 ? (size_t)source->bytes : 1);
	if (!data)
		return -ENOSPC;
	rc = source->bytes > 0 ? source->fill(source->user, data, (size_t)source->bytes)
			       : 0;
	if (rc == 0)
		rc = source->name(source->user, key);
	if (rc == 0)
		rc = praas_store_key_check(key);
	if (rc == 0)
		rc = insert(m, key, data, source->bytes);
	if (rc != 0) {
		free(data);
		return rc == -EEXIST ? 0 : rc;
	}
	return fault(m, "put", key, 1);
}

static int memory_get(struct praas_store *s, const char *key, uint64_t offset,
		      void *data, size_t bytes, size_t *ret_bytes)
{
	struct memory_store *m = memory_store_of(s);
	const struct object *o;
	uint64_t left;
	int rc = praas_store_key_check(key);

	if (rc == 0)
		rc = fault(m, "get", key, 0);
	if (rc != 0)
		return rc;
	o = find(m, key);
	if (!o)
		return -ENOENT;
	left = offset < o->bytes ? o->bytes - offset : 0;
	if (bytes > left)
		bytes = (size_t)left;
	if (bytes > 0)
		memcpy(data, o->data + offset, bytes);
	s->bytes_read += bytes;
	*ret_bytes = bytes;
	return 0;
}

static int memory_stat(struct praas_store *s, const char *key, uint64_t *ret_bytes)
{
	struct memory_store *m = memory_store_of(s);
	const struct object *o;
	int rc = praas_store_key_check(key);

	if (rc == 0)
		rc = fault(m, "stat", key, 0);
	if (rc != 0)
		return rc;
	o = find(m, key);
	if (!o)
		return -ENOENT;
	*ret_bytes = o->bytes;
	return 0;
}

static int memory_list(struct praas_store *s, const char *prefix, const char *after,
		       praas_store_list_fn fn, void *user)
{
	struct memory_store *m = memory_store_of(s);
	size_t prefix_bytes = strlen(prefix);
	int rc = fault(m, "list", prefix, 0);

	for (size_t i = lower_bound(m, prefix); rc == 0 && i < m->count; i++) {
		const char *key = m->objects[i].key;

		if (strncmp(key, prefix, prefix_bytes) != 0)
			break;
		if (strchr(key + prefix_bytes, '/') ||
		    (after && strcmp(key, after) <= 0))
			continue;
		rc = fn(user, key);
	}
	return rc;
}

static int memory_delete(struct praas_store *s, const char *key)
{
	struct memory_store *m = memory_store_of(s);
	struct object *o;
	int rc = praas_store_key_check(key);

	if (rc == 0)
		rc = fault(m, "delete", key, 0);
	if (rc != 0)
		return rc;
	o = find(m, key);
	if (o) {
		size_t i = (size_t)(o - m->objects);

		free(o->data);
		m->count--;
		memmove(o, o + 1, (m->count - i) * sizeof(*o));
	}
	return fault(m, "delete", key, 1);
}

static void memory_free(struct praas_store *s)
{
	struct memory_store *m = memory_store_of(s);

	for (size_t i = 0; i < m->count; i++)
		free(m->objects[i].data);
	free(m->objects);
	free(m);
}

static const struct praas_store_ops memory_ops = {
	.scheme = "memory",
	.put_if_absent = memory_put_if_absent,
	.put = memory_put,
	.get = memory_get,
	.stat = memory_stat,
	.list = memory_list,
	.delete = memory_delete,
	.free = memory_free,
};

int praas_store_memory_open(struct praas_store **ret_store)
{
	struct memory_store *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->base.ops = &memory_ops;
	*ret_store = &m->base;
	return 0;
}

void praas_store_memory_faults(struct praas_store *store, praas_store_fault_fn fn,
			       void *user)
{
	struct memory_store *m = memory_store_of(store);

	m->fault = fn;
	m->fault_user = user;
}

int praas_store_memory_corrupt(struct praas_store *store, const char *key,
			       uint64_t offset)
{
	struct object *o = find(memory_store_of(store), key);

	if (!o)
		return -ENOENT;
	if (offset >= o->bytes)
		return -EINVAL;
	o->data[offset] ^= 0x10;
	return 0;
}
