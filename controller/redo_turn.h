/* SPDX-License-Identifier: Apache-2.0
 *
 * The changes of one turn of the data thread as records of a log: one, or as many as it takes. A turn that is
 * not all there (its epoch ended before) counts for nothing.
 */
#ifndef PRAAS_CONTROLLER_REDO_TURN_H
#define PRAAS_CONTROLLER_REDO_TURN_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/redo_edit.h"
#include "controller/store/redo_format.h"

#define PRAAS_REDO_TURN_MAX (1ull << 30) /* bytes */

enum praas_redo_turn {
	PRAAS_REDO_TURN = 1, /* all of it */
	PRAAS_REDO_TURN_FIRST,
	PRAAS_REDO_TURN_NEXT,
	PRAAS_REDO_TURN_LAST
};

static inline uint16_t praas_redo_turn_kind(bool first, bool last)
{
	return first ? (last ? PRAAS_REDO_TURN : PRAAS_REDO_TURN_FIRST)
		     : (last ? PRAAS_REDO_TURN_LAST : PRAAS_REDO_TURN_NEXT);
}

/* From records back to turns. Zeroed but for edit. */
struct praas_redo_turns {
	struct praas_redo_edit *edit;
	uint8_t *data; /* of a turn that is not whole yet */
	uint64_t bytes, room;
	bool open;
	uint32_t
		undone; /* what epochs before that one did, a rollback has undone; 0: there was none */
};

/* A praas_redo_fn. 0; -EPROTO; -ENOMEM; -E2BIG. */
int praas_redo_turns_record(void *turns, const struct praas_redo_record *record);
void praas_redo_turns_release(struct praas_redo_turns *turns);

#endif
