/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that say Idempotency-Key: what came of one is kept for a day, and told to whoever asks
 * for the same with the same key. Survives a restart. Any thread; blocks for a commit.
 */
#ifndef PRAAS_CONTROL_MEMO_H
#define PRAAS_CONTROL_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "control/records/records.h"

struct praas_memos;

/* 0; -ENOMEM; -EIO. */
int praas_memos_new(struct praas_records *records, struct praas_memos **ret_memos);
void praas_memos_free(struct praas_memos *memos);

/* The id of a tenant's key. */
void praas_memo_id(const char *tenant, const char *key,
		   uint8_t ret_id[PRAAS_RECORD_HASH_BYTES]);

/* memo says id, request and tenant. again: doing it twice is as once, so what a service that ended
 * began may be begun again. 0: it is new, and is the caller's to end. Else:
 *   -EEXIST   it was answered: *ret_there (its answer is malloc'd)
 *   -EINPROGRESS, -EKEYREJECTED the key was used for another request
 *   -EUNATCH  a service that ended began it: it may or may not have happened
 *   -EDQUOT   the tenant keeps too many; -EIO, -ENOMEM */
int praas_memo_begin(struct praas_memos *memos, struct praas_memo *memo, bool again,
		     uint64_t now_ns, struct praas_memo *ret_there);

/* With status 0 it is as if it had never begun; else the answer is kept. 0; -EIO, -ENOMEM, and it is logged: then
 * the key stays in progress until the service starts again. */
int praas_memo_end(struct praas_memos *memos, const struct praas_memo *memo);

/* What a tenant keeps, and what is reserved for requests under way, in bytes. For tests. */
void praas_memos_use(struct praas_memos *memos, const char *tenant,
		     uint64_t *ret_stored, uint64_t *ret_reserved);

#endif
