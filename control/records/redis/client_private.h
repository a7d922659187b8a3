/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the files of the client.
 */
#ifndef PRAAS_CONTROL_REDIS_CLIENT_PRIVATE_H
#define PRAAS_CONTROL_REDIS_CLIENT_PRIVATE_H

#include <pthread.h>
#include <time.h>

#include "control/records/redis/client.h"
#include "praas/types.h"
#include "redis/lane.h"

#define PRAAS_REDIS_PLACE_BYTES 65u /* in hex, with the zero */

enum praas_redis_verdict {
	PRAAS_REDIS_GOOD,
	PRAAS_REDIS_LOST,  /* another Redis answers, which knows less */
	PRAAS_REDIS_TAKEN, /* another service has the records */
	PRAAS_REDIS_GONE   /* they are not there any more */
};

struct praas_redis {
	struct praas_redis_url url;
	struct praas_redis_way way;
	struct praas_redis_scripts scripts;
	char meta[PRAAS_NAME_MAX + 16];
	char id[2 * PRAAS_REDIS_ID_BYTES + 1]; /* of the records */
	char place[PRAAS_REDIS_PLACE_BYTES],
		owner[PRAAS_REDIS_PLACE_BYTES + 2 * PRAAS_REDIS_ID_BYTES + 1];
	char other[PRAAS_REDIS_PLACE_BYTES + 2 * PRAAS_REDIS_ID_BYTES +
		   1];             /* who had them when we asked; of who opens */
	struct praas_lease *lease; /* NULL: nobody waits for them */
	pthread_t keeper;
	bool keeps;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t freed, ended;
	struct praas_redis_lane lanes[PRAAS_REDIS_LINKS];
	bool busy[PRAAS_REDIS_LINKS]; /* of them */
	bool down, full, closing, durable;
	enum praas_redis_verdict verdict;
	uint64_t changes; /* the most that an answer told of */
};

/* call.c */
void praas_redis_set_arg(struct praas_redis_call *call, int at, const char *text);

/* client.c */
/* Runs what is whole already, within its time. As praas_redis_run(), but what the script says is the
 * caller's to look at. ret_text (256 bytes) tells why not. */
int praas_redis_ask(struct praas_redis *r, struct praas_redis_call *call,
		    uint64_t deadline_ns, redisReply **ret_reply, char *ret_text);
/* From now on nothing is done: whoever starts the service again has all looked at anew. */
void praas_redis_give_up(struct praas_redis *r, enum praas_redis_verdict verdict);

/* owner.c: who has the records. */
int praas_redis_own(struct praas_redis *r, char *ret_text); /* as praas_redis_open() */
/* Says every few seconds that somebody has them, until they are left. -EAGAIN no thread. */
int praas_redis_keep(struct praas_redis *r);
void praas_redis_leave(struct praas_redis *r);

#endif
