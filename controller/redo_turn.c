/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/redo_turn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

static int collect(struct praas_redo_turns *t, const struct praas_redo_record *r)
{
	uint64_t room = praas_max_u64(t->room, PRAAS_REDO_RECORD_MAX);
	uint8_t *data;

	if (r->bytes > PRAAS_REDO_TURN_MAX - t->bytes)
		return -E2BIG;
	while (room < t->bytes + r->bytes)
		room *= 2;
	if (room != t->room) {
		data = realloc(t->data, (size_t)room);
		if (!data)
			return -ENOMEM;
		t->data = data;
		t->room = room;
	}
	if (r->bytes)
		memcpy(t->data + t->bytes, r->data, r->bytes);
	t->bytes += r->bytes;
	return 0;
}

int praas_redo_turns_record(void *turns, const struct praas_redo_record *r)
{
	struct praas_redo_turns *t = turns;
	bool begins = r->kind == PRAAS_REDO_TURN || r->kind == PRAAS_REDO_TURN_FIRST;
	int rc;

	if (r->kind < PRAAS_REDO_TURN || r->kind > PRAAS_REDO_TURN_LAST ||
	    (!begins && !t->open))
		return -EPROTO;
	if (begins)
		t->bytes = 0; /* one that is not all there was the last of its epoch */
	t->open = r->kind == PRAAS_REDO_TURN_FIRST || r->kind == PRAAS_REDO_TURN_NEXT;
	if (r->kind == PRAAS_REDO_TURN)
		return praas_redo_edit_turn(t->edit, r->epoch < t->undone, r->data,
					    r->bytes);
	rc = collect(t, r);
	if (rc == 0 && !t->open)
		rc = praas_redo_edit_turn(t->edit, r->epoch < t->undone, t->data,
					  t->bytes);
	return rc;
}

void praas_redo_turns_release(struct praas_redo_turns *t)
{
	free(t->data);
	*t = (struct praas_redo_turns){ 0 };
}
