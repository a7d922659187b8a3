/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes of one application, as those of them that ask are told: what each is now, and since which
 * version. What has changed since a version is told in lines for the link (docs/control-link.md); who is
 * too far behind gets all of it. No lock, no I/O.
 */
#ifndef PRAAS_CONTROL_ROSTER_H
#define PRAAS_CONTROL_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

struct praas_roster;
struct praas_roster_member;

/* version: of the list when it has been loaded. 0; -ENOMEM. */
int praas_roster_new(uint64_t version, struct praas_roster **ret_r);
void praas_roster_free(struct praas_roster *r); /* NULL is allowed */

/* Something happened to a process, which makes that version. state: a constant, as records have it; NULL: it is gone.
 * 0; -ENOMEM: the roster is not what it should be, and to be made anew. */
int praas_roster_change(struct praas_roster *r, uint64_t version, uint64_t number,
			const char *name, uint32_t epoch, const char *state);
/* Read from the records, where it may be older than what was told: it counts if nothing was. 0; -ENOMEM. */
int praas_roster_load(struct praas_roster *r, uint64_t number, const char *name,
		      uint32_t epoch, const char *state);

/* Where a process is: a number for the node, 0 unless it is said. */
void praas_roster_place(struct praas_roster *r, uint64_t number, uint32_t node);

uint64_t praas_roster_version(const struct praas_roster *r);
uint32_t praas_roster_count(const struct praas_roster *r);

/* What has changed after a version, line by line: after is set before the first of them, and the rest is zero. */
struct praas_roster_news {
	uint64_t after;
	uint32_t node; /* of who is told: set as after is */
	bool begun, whole;
	uint32_t at; /* members in the lines before */
	const struct praas_roster_member *next;
};
/* The next line; a new reference, NULL when there is no memory for it. *ret_more: another follows. The roster stays as
 * it is in between. */
json_t *praas_roster_line(const struct praas_roster *r, struct praas_roster_news *news,
			  bool *ret_more);

#endif
