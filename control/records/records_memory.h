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

/* records_memory.c */
struct praas_memory_memos *praas_memory_memos_of(struct praas_records *r);

/* records_memory_memos.c */
extern const struct praas_memos_ops praas_memory_memos_ops;
void praas_memory_memos_free(struct praas_memory_memos *memos);

#endif
