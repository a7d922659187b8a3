/* SPDX-License-Identifier: Apache-2.0 */
#include "control/json.h"

#include <stdio.h>
#include <stdlib.h>

/* jansson's memory: whether there was enough of it for a value read or made. Its tests make allocations fail
 * (tests/torture); what any text does to us is json.c's and fuzzed. */

/* jansson takes a string that it has no memory for as bad JSON, and drops a byte that its buffer cannot
 * grow for without a word: what was read while memory failed is not what was sent. */
static _Thread_local bool memory_failed;

/* What is read in between must not make a thread forget what failed while it made a value. */
static bool begin_reading(void)
{
	bool before = memory_failed;

	memory_failed = false;
	return before;
}

static void *allocate(size_t bytes)
{
	void *p = malloc(bytes);

	memory_failed = memory_failed || !p;
	return p;
}

void praas_json_prepare(void)
{
	json_set_alloc_funcs(allocate, free);
}

char *praas_json_dump_as(const json_t *value, size_t flags)
{
	char *text = json_dumps(value, JSON_COMPACT | flags);

	if (memory_failed) {
		free(text);
		text = NULL;
	}
	memory_failed = false;
	return text;
}

char *praas_json_dump(const json_t *value)
{
	return praas_json_dump_as(value, 0);
}

/* value, unless memory failed while it was read. */
static json_t *whole(json_t *value)
{
	if (!value || !memory_failed)
		return value;
	json_decref(value);
	return NULL;
}

void praas_json_begin(void)
{
	memory_failed = false;
}

static void explain(const json_error_t *error, struct praas_json_error *ret_error)
{
	ret_error->no_memory = memory_failed;
	if (memory_failed)
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "out of memory");
	else
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "line %d, column %d: %.120s", error->line, error->column,
			       error->text);
}

/* What is read of fd, or of bytes at text when that is negative. */
static json_t *load(int fd, const char *text, size_t bytes,
		    struct praas_json_error *ret_error)
{
	bool before = begin_reading();
	json_error_t error;
	json_t *value;

	*ret_error = (struct praas_json_error){ .no_memory = false };
	value = whole(fd < 0 ? json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error)
			     : json_loadfd(fd, JSON_REJECT_DUPLICATES, &error));
	if (!value)
		explain(&error, ret_error);
	memory_failed = before;
	return value;
}

json_t *praas_json_load(const char *text, size_t bytes,
			struct praas_json_error *ret_error)
{
	return load(-1, text, bytes, ret_error);
}

json_t *praas_json_load_fd(int fd, struct praas_json_error *ret_error)
{
	return load(fd, NULL, 0, ret_error);
}
