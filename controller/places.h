/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a committed snapshot has the state objects of a process, for state beyond memory
 * (dataplane/overflow.h). Made by whoever knows the snapshot, used by the data thread.
 */
#ifndef PRAAS_CONTROLLER_PLACES_H
#define PRAAS_CONTROLLER_PLACES_H

#include "controller/snapshot.h"
#include "dataplane/overflow.h"

struct praas_places {
	struct praas_place *place; /* in the order of the records */
	uint64_t count;
	struct praas_snapshot_chunk *chunks; /* by a place's number */
	bool *known;                         /* by chunk: values in it have places */
};

/**
 * Keys are borrowed from the snapshot. base: only what lies in a chunk of that one, too, has a place; NULL: all that lies
 * in a chunk. 0; -ENOMEM.
 */
int praas_places_new(const struct praas_snapshot *snapshot,
		     const struct praas_snapshot *base,
		     struct praas_places **ret_places);
/* NULL is allowed. */
void praas_places_free(struct praas_places *places);

/* The value of this record of the snapshot has a place. */
bool praas_places_has(const struct praas_places *places,
		      const struct praas_snapshot_record *record);

#endif
