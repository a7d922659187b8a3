/* SPDX-License-Identifier: Apache-2.0
 *
 * A Redis that has our records, for any thread: a few connections, made when they are wanted and again when
 * they break; scripts run by their SHA-1 and loaded where the server does not know them; a change whose
 * answer is lost is asked for again and happens once (run.lua). Each call ends within its time.
 *
 * One client at a time has the records: run.lua refuses the changes of any other. That it has them it
 * says every few seconds; when it has not been heard of for PRAAS_REDIS_SILENCE_MS, another may take
 * them, and one at the same place at once.
 */
#ifndef PRAAS_CONTROL_REDIS_CLIENT_H
#define PRAAS_CONTROL_REDIS_CLIENT_H

#include "control/records/lease.h"
#include "control/records/redis/scripts.h"
#include "redis/link.h"

#define PRAAS_REDIS_LINKS 16u
#define PRAAS_REDIS_CALL_MS 5000u /* for a call, with all that is tried again */
#define PRAAS_REDIS_DOWN_MS 1000u /* the same while nothing answers */
#define PRAAS_REDIS_SILENCE_MS 15000u
#define PRAAS_REDIS_NUMBERS 16u /* of one call */

struct praas_redis;

/* What is asked for. Texts and bytes stay the caller's until it has run. */
struct praas_redis_call {
	struct praas_redis_args args;
	enum praas_redis_concept concept;
	enum praas_redis_kind kind;
	unsigned numbers;
	char number[PRAAS_REDIS_NUMBERS][24];
};

/* 0; -EINVAL the URL, or what it names, or the server's settings; -EBUSY another service has the records;
 * -EPROTO they have another format, or are something else; -EIO; -ENOMEM. ret_text (256 bytes) tells why.
 * place: where this service is, so that after a crash it has its records at once; hex. lease: kept until
 * praas_redis_close(); NULL: whoever has them is not waited for. */
int praas_redis_open(const char *url, const char *place, struct praas_lease *lease,
		     struct praas_redis **ret_redis, char *ret_text);
void praas_redis_close(struct praas_redis *redis);
/* Whether what was acknowledged is kept whatever crashes, as far as is known. */
bool praas_redis_durable(const struct praas_redis *redis);

void praas_redis_begin(struct praas_redis_call *call, enum praas_redis_concept concept,
		       enum praas_redis_kind kind, const char *op);
void praas_redis_add_text(struct praas_redis_call *call, const char *text);
void praas_redis_add_bytes(struct praas_redis_call *call, const void *data,
			   size_t bytes);
void praas_redis_add_number(struct praas_redis_call *call, uint64_t number);
/* In 20 digits, for what is compared. */
void praas_redis_add_wide(struct praas_redis_call *call, uint64_t number);

/* 0, and the reply: a text "OK …" of a change, an array that begins with OK of what reads. What the script
 * says else: -EEXIST, -ESTALE, -ENOENT, -ENOSPC, -ENOTEMPTY, with the reply, too. -ENOSPC without one: its memory
 * is full. -EPROTO what it has is damaged; -EIO. NULL, or for freeReplyObject(). */
int praas_redis_run(struct praas_redis *redis, struct praas_redis_call *call,
		    redisReply **ret_reply);
/* The same where only the verdict counts. */
int praas_redis_do(struct praas_redis *redis, struct praas_redis_call *call);

#endif
