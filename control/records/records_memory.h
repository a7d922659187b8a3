/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the files of the store in memory.
 */
#ifndef PRAAS_CONTROL_RECORDS_MEMORY_H
#define PRAAS_CONTROL_RECORDS_MEMORY_H

#include <pthread.h>

#include "control/records/records.h"

struct praas_memory_memo;

struct praas_memory_memos {
	pthread_mutex_t lock;
	struct praas_memory_memo *head;
};

struct praas_memory_row {
	uint64_t number;
	bool folded;
	struct praas_usage_row row;
	char tenant[PRAAS_NAME_MAX + 1], app[PRAAS_NAME_MAX + 1],
		name[PRAAS_NAME_MAX + 1];
};

struct praas_memory_usage {
	pthread_mutex_t frozen; /* from freeze to thaw; before the store's own lock */
	struct praas_memory_row *rows;
	uint32_t count, room;
};

struct praas_memory_queue;

/* records_memory.c */
struct praas_memory_memos *praas_memory_memos_of(struct praas_records *r);
struct praas_memory_usage *praas_memory_usage_of(struct praas_records *r);
/* Calls fn with each process that there is, by number, and its application. 0; what fn says. */
int praas_memory_each(struct praas_records *r,
		      int (*fn)(void *user, const struct praas_process_record *process,
				const struct praas_app_record *app),
		      void *user);
/* Calls fn with the queues, and the process of that number (NULL: there is none), while nobody else
 * has the store. What fn says. */
int praas_memory_queues(struct praas_records *r, uint64_t number,
			int (*fn)(void *user, struct praas_memory_queue **queues,
				  const struct praas_process_record *process),
			void *user);
int praas_memory_grow(void **items, uint32_t count, uint32_t *room, size_t item_bytes);

/* records_memory_memos.c */
extern const struct praas_memos_ops praas_memory_memos_ops;
void praas_memory_memos_free(struct praas_memory_memos *memos);

/* records_memory_usage.c */
extern const struct praas_usage_ops praas_memory_usage_ops;

/* records_memory_queue.c */
extern const struct praas_queue_ops praas_memory_queue_ops;
/* Of a process that is deleted; 0: of all. */
void praas_memory_queue_free(struct praas_memory_queue **queues, uint64_t number);

#endif
