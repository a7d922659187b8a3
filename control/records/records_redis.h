/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the files of the store in Redis: records as the texts that are kept there. A text is words with
 * blanks between, so that scripts, and people, can read what they need; the last word may have blanks.
 */
#ifndef PRAAS_CONTROL_RECORDS_REDIS_H
#define PRAAS_CONTROL_RECORDS_REDIS_H

#include <pthread.h>

#include "control/records/records.h"
#include "control/records/redis/client.h"

#define PRAAS_REDIS_NUMBER_MAX (1ull << 53) /* a script's numbers are doubles */
#define PRAAS_REDIS_HEX_ID (2u * PRAAS_RECORD_ID_BYTES + 1)
#define PRAAS_REDIS_HEX_HASH (2u * PRAAS_RECORD_HASH_BYTES + 1)
#define PRAAS_REDIS_ROW_BYTES (PRAAS_LIMIT_CODE_BYTES + PRAAS_ENDPOINTS_BYTES + 1024u)
#define PRAAS_REDIS_SOME 1000u /* things of one call, where there may be many */

struct praas_redis_store {
	struct praas_records base;
	struct praas_redis *redis;
	pthread_mutex_t number_lock;      /* of the two below */
	uint64_t number_last, number_end; /* as those of SQLite (records_numbers.c) */
	pthread_mutex_t usage_lock;       /* from freeze to thaw; of the two below */
	redisReply *census;
	uint64_t last_row;
};

struct praas_redis_store *praas_redis_store_of(struct praas_records *r);

/* ---- records_redis_rows.c ------------------------------------------------------------ */

void praas_redis_write_app(char ret_text[PRAAS_REDIS_ROW_BYTES],
			   const struct praas_app_record *app);
void praas_redis_write_process(char ret_text[PRAAS_REDIS_ROW_BYTES],
			       const struct praas_process_record *p);
void praas_redis_write_memo(char ret_text[PRAAS_REDIS_ROW_BYTES],
			    const struct praas_memo *memo);
void praas_redis_write_queued(char ret_text[PRAAS_REDIS_ROW_BYTES],
			      const struct praas_queued *m);
void praas_redis_write_usage(char ret_text[PRAAS_REDIS_ROW_BYTES],
			     const struct praas_process_record *p,
			     const struct praas_app_record *app,
			     const struct praas_usage_row *row);
/* A text is believed only when every word of it is what we would have written. 0; -EPROTO it is damaged (the log
 * says what); text may be NULL. */
int praas_redis_read_app(const redisReply *text, struct praas_app_record *ret_app);
int praas_redis_read_process(const redisReply *text,
			     struct praas_process_record *ret_p);
int praas_redis_read_item(const redisReply *id, const redisReply *text,
			  struct praas_item *ret_item);
/* Its answer is the caller's to add. */
int praas_redis_read_memo(const redisReply *text, struct praas_memo *ret_memo);
/* Its data stays the reply's. */
int praas_redis_read_queued(const redisReply *head, const redisReply *data,
			    struct praas_queued *ret_message);
/* Numbers that are no more than there may be. */
int praas_redis_read_queue_state(const redisReply *reply,
				 struct praas_queue_state *ret_state);
/* Of a row: whose, and what; of a line of the census: the rest. */
int praas_redis_read_usage(const redisReply *text, struct praas_usage_sum *ret_whose,
			   struct praas_usage_row *ret_row);
int praas_redis_read_census(const char *line, size_t bytes,
			    struct praas_usage_sum *ret_sum, uint64_t *ret_created_ns);

/* ---- the others ----------------------------------------------------------------------- */

extern const struct praas_items_ops praas_redis_items;
extern const struct praas_memos_ops praas_redis_memos;
extern const struct praas_usage_ops praas_redis_usage;
extern const struct praas_queue_ops praas_redis_queue;

/* records_redis.c: what an update of a process says. */
void praas_redis_add_process(struct praas_redis_call *call,
			     const struct praas_process_record *p,
			     char app[PRAAS_REDIS_HEX_ID],
			     char text[PRAAS_REDIS_ROW_BYTES]);
/* Asks again and again while there is some more; "OK COUNT". 0 and how many in all. */
int praas_redis_do_all(struct praas_redis_store *s, enum praas_redis_concept concept,
		       const char *op, uint64_t before_ns, uint32_t *ret_count);

#endif
