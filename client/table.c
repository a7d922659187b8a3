/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "internal/base.h"

/* The table of invocations: a fixed array, a free list, a list of those done. */

int praas_table_init(struct praas_connection *conn, uint32_t inflight_max)
{
	praas_check(inflight_max != 0);
	praas_check((inflight_max & (inflight_max - 1)) == 0);
	conn->entries = calloc(inflight_max, sizeof(*conn->entries));
	if (!conn->entries)
		return -ENOMEM;
	conn->mask = inflight_max - 1;
	for (uint32_t i = 0; i < inflight_max; i++)
		conn->entries[i].next = i + 1 < inflight_max ? i + 1 : PRAAS_ENTRY_NONE;
	conn->free_head = 0;
	conn->done_head = PRAAS_ENTRY_NONE;
	conn->done_tail = PRAAS_ENTRY_NONE;
	/* Connections with one credential must not make up the same id. */
	if (getrandom(&conn->sequence, sizeof(conn->sequence), 0) !=
	    sizeof(conn->sequence))
		return -EIO;
	return 0;
}

uint64_t praas_id_next(struct praas_connection *conn)
{
	uint64_t id;

	do { /* 0 means none on the wire */
		id = (++conn->sequence * ((uint64_t)conn->mask + 1)) | conn->free_head;
	} while (praas_unlikely(id == 0));
	return id;
}

struct praas_entry *praas_entry_find(struct praas_connection *conn, uint64_t id)
{
	struct praas_entry *e = &conn->entries[id & conn->mask];

	if (praas_likely(e->head.id == id && e->state != PRAAS_ENTRY_FREE))
		return e;
	if (praas_likely(conn->own_ids == 0))
		return NULL;
	for (uint32_t i = 0; i <= conn->mask; i++) {
		e = &conn->entries[i];
		if (e->head.id == id && e->state != PRAAS_ENTRY_FREE)
			return e;
	}
	return NULL;
}

struct praas_entry *praas_entry_new(struct praas_connection *conn, uint64_t id)
{
	uint32_t index = conn->free_head;
	struct praas_entry *e;

	if (praas_unlikely(index == PRAAS_ENTRY_NONE))
		return NULL;
	if (praas_unlikely(id != 0 && praas_entry_find(conn, id)))
		return NULL;
	if (id == 0)
		id = praas_id_next(conn);
	e = &conn->entries[index];
	conn->free_head = e->next;
	conn->under_way++;
	if (praas_unlikely((id & conn->mask) != index))
		conn->own_ids++;
	e->head = (struct praas_frame){ .id = id };
	e->state = PRAAS_ENTRY_PENDING;
	e->via = PRAAS_VIA_CONTROLLER;
	e->request = false;
	e->extra = 0;
	e->marked = false;
	e->cancelled = false;
	e->order = 0;
	e->kept = NULL;
	e->ref = PRAAS_SHM_NO_REF;
	return e;
}

void praas_entry_free(struct praas_connection *conn, struct praas_entry *e)
{
	uint32_t index = (uint32_t)(e - conn->entries);

	if (praas_unlikely((e->head.id & conn->mask) != index))
		conn->own_ids--;
	if (praas_unlikely(e->kept != NULL))
		praas_kept_drop(e);
	e->state = PRAAS_ENTRY_FREE;
	e->next = conn->free_head;
	conn->free_head = index;
	conn->under_way--;
}

void praas_entry_done(struct praas_connection *conn, struct praas_entry *e)
{
	uint32_t index = (uint32_t)(e - conn->entries);

	if (praas_unlikely(e->kept != NULL))
		praas_kept_drop(e);
	e->state = PRAAS_ENTRY_DONE;
	e->next = PRAAS_ENTRY_NONE;
	e->prev = conn->done_tail;
	if (conn->done_tail == PRAAS_ENTRY_NONE)
		conn->done_head = index;
	else
		conn->entries[conn->done_tail].next = index;
	conn->done_tail = index;
}

void praas_entry_undone(struct praas_connection *conn, struct praas_entry *e)
{
	if (e->prev == PRAAS_ENTRY_NONE)
		conn->done_head = e->next;
	else
		conn->entries[e->prev].next = e->next;
	if (e->next == PRAAS_ENTRY_NONE)
		conn->done_tail = e->prev;
	else
		conn->entries[e->next].prev = e->prev;
}
