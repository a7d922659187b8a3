/* SPDX-License-Identifier: Apache-2.0
 *
 * Strict reading of JSON: every member has a type, a range and a limit; what is not known is
 * refused. The first mistake is kept in words, later calls do nothing, so that a reader is
 * straight code with one check at its end.
 */
#ifndef PRAAS_CONTROLLER_JSON_H
#define PRAAS_CONTROLLER_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRAAS_JSON_ERROR_MAX 256u

struct praas_json_reader {
	const json_t *object; /* borrowed */
	const char *where;    /* for messages: "functions.reduce" */
	char *error;          /* PRAAS_JSON_ERROR_MAX bytes; "" so far */
	unsigned seen;        /* members asked for that exist */
};

/* Parse text: an object, no duplicate members, nothing after it. NULL, and error is set. */
json_t *praas_json_parse(const char *text, size_t bytes,
			 char error[PRAAS_JSON_ERROR_MAX]);

/* value must be an object. error may hold an earlier mistake, which stays. */
struct praas_json_reader praas_json_reader(const json_t *value, const char *where,
					   char error[PRAAS_JSON_ERROR_MAX]);
/* A mistake in words: "where: member: text". */
void praas_json_fail(struct praas_json_reader *r, const char *member, const char *text);
bool praas_json_failed(const struct praas_json_reader *r);

/* The member, or NULL when it is missing (not a mistake) or after a mistake. */
const json_t *praas_json_member(struct praas_json_reader *r, const char *member);
/* A string of at most bytes_max bytes; fallback NULL: it must be there. */
const char *praas_json_string(struct praas_json_reader *r, const char *member,
			      size_t bytes_max, const char *fallback);
/* An integer in [min, max]. With has_fallback it may be missing. */
uint64_t praas_json_number(struct praas_json_reader *r, const char *member,
			   uint64_t min, uint64_t max);
uint64_t praas_json_number_or(struct praas_json_reader *r, const char *member,
			      uint64_t min, uint64_t max, uint64_t fallback);
bool praas_json_bool(struct praas_json_reader *r, const char *member, bool fallback);
/* Exactly 2 * bytes hex digits, lower case. */
void praas_json_hex(struct praas_json_reader *r, const char *member, uint8_t *ret_data,
		    size_t bytes);
/* One of the names in a NULL-ended list; its index. fallback NULL: it must be there. */
unsigned praas_json_choice(struct praas_json_reader *r, const char *member,
			   const char *const *names, const char *fallback);
/* A mistake when there are members that nobody asked for. Call last. */
void praas_json_end(struct praas_json_reader *r);

/* [A-Za-z0-9._-]{1,64}, not "." or "..". */
bool praas_json_is_name(const char *text);

#endif
