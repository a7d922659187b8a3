/* SPDX-License-Identifier: Apache-2.0 */
#include "control/records/redis/client_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/names.h"
#include "internal/base.h"

#define ERROR_TEXT 256u
#define FORMAT "1" /* of what the scripts keep */

/* own.lua, with what its last answer was. */
static int run_own(struct praas_redis *r, const char *op, const char *fresh,
		   uint64_t ms, redisReply **ret_reply, char *ret_text)
{
	struct praas_redis_call call = { .concept = PRAAS_REDIS_OWN,
					 .kind = PRAAS_REDIS_FREES };
	uint64_t deadline_ns = praas_now_ns() + ms * 1000000u;

	call.args.count = 4;
	praas_redis_set_arg(&call, 0, "EVALSHA");
	praas_redis_set_arg(&call, 1, r->scripts.all[call.concept][call.kind].sha);
	praas_redis_set_arg(&call, 2, "1");
	praas_redis_set_arg(&call, 3, r->meta);
	praas_redis_add_text(&call, op);
	praas_redis_add_text(&call, FORMAT);
	praas_redis_add_text(&call, fresh);
	praas_redis_add_text(&call, r->place);
	praas_redis_add_text(&call, r->owner);
	praas_redis_add_number(&call, PRAAS_REDIS_SILENCE_MS);
	return praas_redis_ask(r, &call, deadline_ns, ret_reply, ret_text);
}

/* Says every few seconds that somebody has the records. */
static void *keep(void *arg)
{
	struct praas_redis *r = arg;
	uint64_t span_ns = PRAAS_REDIS_SILENCE_MS * UINT64_C(1000000) / 4;

	(void)pthread_mutex_lock(&r->lock);
	while (!r->closing) {
		struct timespec until = praas_redis_timespec(praas_now_ns() + span_ns);
		char text[ERROR_TEXT] = "";
		redisReply *reply = NULL;

		if (pthread_cond_timedwait(&r->ended, &r->lock, &until) != ETIMEDOUT ||
		    r->closing)
			continue;
		(void)pthread_mutex_unlock(&r->lock);
		(void)run_own(r, "stay", "", PRAAS_REDIS_CALL_MS / 2, &reply, text);
		if (praas_redis_says(reply, "TAKEN"))
			praas_redis_give_up(r, PRAAS_REDIS_TAKEN);
		if (reply)
			freeReplyObject(reply);
		(void)pthread_mutex_lock(&r->lock);
	}
	(void)pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* What own.lua says to who wants the records. */
static int read_owned(struct praas_redis *r, const redisReply *reply, char *ret_text)
{
	const redisReply *id = praas_redis_text(reply, 1),
			 *changes = praas_redis_text(reply, 2);

	if (praas_redis_says(reply, "BUSY")) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "another control service has these records (prefix "
			       "%.64s), and was heard of a moment ago",
			       r->url.prefix);
		return -EBUSY;
	}
	if (praas_redis_says(reply, "FORMAT") && id) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "they have format %.20s, this program knows " FORMAT
			       "; run the program of that format",
			       id->len ? id->str : "none");
		return -EPROTO;
	}
	if (!praas_redis_says(reply, "OK") || !id || id->len != sizeof(r->id) - 1 ||
	    praas_redis_number(changes, INT64_MAX, &r->changes)) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "what is there is no head of records: %.64s", r->meta);
		return -EPROTO;
	}
	memcpy(r->id, id->str, sizeof(r->id));
	return 0;
}

int praas_redis_own(struct praas_redis *r, char *ret_text)
{
	char fresh[2 * PRAAS_REDIS_ID_BYTES + 1];
	uint8_t random[PRAAS_REDIS_ID_BYTES];
	redisReply *reply = NULL;
	int rc;

	praas_random(random, sizeof(random));
	praas_hex_encode(random, sizeof(random), fresh);
	rc = run_own(r, "own", fresh, PRAAS_REDIS_CALL_MS, &reply, ret_text);
	if (rc == 0)
		rc = read_owned(r, reply, ret_text);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

int praas_redis_keep(struct praas_redis *r)
{
	int rc = -pthread_create(&r->keeper, NULL, keep, r);

	r->keeps = rc == 0;
	return rc;
}

void praas_redis_leave(struct praas_redis *r)
{
	redisReply *reply = NULL;
	char text[ERROR_TEXT] = "";
	bool down;

	(void)pthread_mutex_lock(&r->lock);
	r->closing = true;
	down = r->down;
	(void)pthread_cond_signal(&r->ended);
	(void)pthread_mutex_unlock(&r->lock);
	(void)pthread_join(r->keeper, NULL);
	/* So that another may have them at once. */
	(void)run_own(r, "leave", "", down ? PRAAS_REDIS_DOWN_MS : PRAAS_REDIS_CALL_MS,
		      &reply, text);
	if (reply)
		freeReplyObject(reply);
}
