/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON from outside: strict (one object, no duplicate members, bounded depth, no members that we
 * do not know), with words for what is wrong.
 */
#ifndef PRAAS_CONTROL_JSON_H
#define PRAAS_CONTROL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct praas_json_error {
	char text[200];
	bool no_memory; /* nothing is wrong with what came */
};

/* Once, before the first use of JSON: jansson then tells a lack of memory from bad JSON. */
void praas_json_prepare(void);
/* The text of a value, malloc'd; NULL: no memory, here or while this thread made the value: whoever
 * makes one need not look at each member. Forgets it then. */
char *praas_json_dump(const json_t *value);
/* The same with flags of json_dumps(), beside JSON_COMPACT. */
char *praas_json_dump_as(const json_t *value, size_t flags);
/* A thread begins with something new: what failed before does not count. */
void praas_json_begin(void);
/* Whatever value the bytes, or the file, are; NULL: ret_error. */
json_t *praas_json_load(const char *text, size_t bytes,
			struct praas_json_error *ret_error);
json_t *praas_json_load_fd(int fd, struct praas_json_error *ret_error);

/* One object of bytes; NULL and words when it is not. */
json_t *praas_json_parse(const char *text, size_t bytes,
			 struct praas_json_error *ret_error);

/* Members of an object. Each checker returns true when the member is absent (ret is untouched) or
 * good; otherwise false, with words. praas_json_known() finds members nobody asked for. */
bool praas_json_known(json_t *object, const char *const *names,
		      struct praas_json_error *ret_error);
bool praas_json_text(const json_t *object, const char *name, size_t bytes_max,
		     const char **ret_text, struct praas_json_error *ret_error);
bool praas_json_number(const json_t *object, const char *name, uint64_t min,
		       uint64_t max, uint64_t *ret_number,
		       struct praas_json_error *ret_error);
bool praas_json_bool(const json_t *object, const char *name, bool *ret_bool,
		     struct praas_json_error *ret_error);

/* Members of messages from a controller, where a wrong type counts as absent. */
const char *praas_json_text_or(const json_t *object, const char *name,
			       const char *otherwise);
uint64_t praas_json_number_or(const json_t *object, const char *name,
			      uint64_t otherwise);

#endif
