/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "controller/store/redo_format.h"
#include "controller/store/refs.h"
#include "internal/bytes.h"

/*
 * A folder may hold anything. The first byte chooses: bit 0, the head is made right; bit 1, so are the checksums of
 * records, as far as they follow each other; the others, the last record that must be there.
 */

static const struct praas_slot_id id = { .pid = 1 };

struct seen {
	const struct praas_redo_head *head;
	const uint8_t *data;
	uint64_t next;
	size_t at;
};

/* What is accepted is what a writer writes, byte for byte, and follows what came before. */
static int use(void *user, const struct praas_redo_record *r)
{
	struct seen *s = user;
	uint8_t *again = malloc(praas_redo_room(r->bytes));

	if (!again)
		abort();
	praas_redo_place(r, again);
	if (praas_redo_close_record(s->head, r->synced, again) !=
		    praas_redo_room(r->bytes) ||
	    memcmp(again, s->data + s->at, praas_redo_room(r->bytes)) != 0 ||
	    r->sequence != s->next || r->synced >= r->sequence)
		__builtin_trap();
	s->next++;
	s->at += praas_redo_room(r->bytes);
	free(again);
	return 0;
}

static void repair(const struct praas_redo_head *head, uint8_t *data, size_t bytes)
{
	size_t at = PRAAS_REDO_FILE_HEAD_BYTES;
	uint64_t next = head->first;

	while (at + PRAAS_REDO_HEAD_BYTES <= bytes) {
		uint64_t holds = praas_get_le(data + at + 20, 4);

		if (praas_get_le(data + at + 16, 4) == 0)
			break;
		if (holds > PRAAS_REDO_RECORD_MAX ||
		    praas_redo_room((uint32_t)holds) > bytes - at)
			break;
		memcpy(data + at + 16, "PRRC", 4);
		/* One that is out of turn stays so now and then. */
		if (data[at + 24] != 0xff)
			praas_put_le(data + at + 24, next, 8);
		at += praas_redo_close_record(head, praas_get_le(data + at + 32, 8),
					      data + at);
		next++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_redo_head head = { .id = id, .epoch = 1, .first = 1, .salt = 1 };
	struct seen s = { 0 };
	uint64_t next = 0, last;
	uint8_t *copy, choice;

	if (bytes < 1)
		return 0;
	choice = *data++;
	bytes--;
	copy = malloc(bytes + 1);
	if (!copy)
		return 0;
	if (bytes > 0)
		memcpy(copy, data, bytes);
	if (choice & 1 && bytes >= PRAAS_REDO_FILE_HEAD_BYTES)
		praas_redo_head_encode(&head, copy);
	if (choice & 2)
		repair(&head, copy, bytes);
	last = choice >> 2;
	if (praas_redo_head_decode(&id, 1, 1, copy, bytes, &head) == 0) {
		s = (struct seen){ &head, copy, 1, PRAAS_REDO_FILE_HEAD_BYTES };
		if (praas_redo_walk(&head, copy, bytes, last, use, &s, &next) == 0 &&
		    last != 0 && next != last + 1)
			__builtin_trap();
		if (next != s.next)
			__builtin_trap();
	}
	free(copy);
	return 0;
}
