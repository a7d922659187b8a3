/* SPDX-License-Identifier: Apache-2.0 */
#include "control/records/redis/client_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/names.h"
#include "internal/base.h"

#define ERROR_TEXT 256u
#define FORMAT "1" /* of what the scripts keep */

/* What is done for the lease, or instead of it. */
struct own {
	const char *op, *fresh;
	const char *ended; /* the owner that it is known of */
};

static uint64_t lease_ms(const struct praas_redis *r)
{
	return r->lease ? r->lease->ms : PRAAS_REDIS_SILENCE_MS;
}

/* Counted from before it was asked for: the server's own count began later. */
static void extend(struct praas_redis *r, uint64_t asked_ns)
{
	if (r->lease)
		atomic_store_explicit(&r->lease->until_ns,
				      asked_ns + lease_ms(r) * 1000000u,
				      memory_order_relaxed);
}

/* own.lua, with what its last answer was. */
static int run_own(struct praas_redis *r, const struct own *own, uint64_t ms,
		   redisReply **ret_reply, char *ret_text)
{
	struct praas_redis_call call = { .concept = PRAAS_REDIS_OWN,
					 .kind = PRAAS_REDIS_FREES };
	uint64_t deadline_ns = praas_now_ns() + ms * 1000000u;

	call.args.count = 4;
	praas_redis_set_arg(&call, 0, "EVALSHA");
	praas_redis_set_arg(&call, 1, r->scripts.all[call.concept][call.kind].sha);
	praas_redis_set_arg(&call, 2, "1");
	praas_redis_set_arg(&call, 3, r->meta);
	praas_redis_add_text(&call, own->op);
	praas_redis_add_text(&call, FORMAT);
	praas_redis_add_text(&call, own->fresh);
	praas_redis_add_text(&call, r->place);
	praas_redis_add_text(&call, r->owner);
	praas_redis_add_number(&call, lease_ms(r));
	praas_redis_add_text(&call, own->ended);
	praas_redis_add_text(&call, r->id);
	return praas_redis_ask(r, &call, deadline_ns, ret_reply, ret_text);
}

/* Says every few seconds that somebody has the records. */
static void *keep(void *arg)
{
	struct praas_redis *r = arg;
	uint64_t span_ns = lease_ms(r) * UINT64_C(1000000) / 4;
	static const struct own stay = { "stay", "", "" };

	(void)pthread_mutex_lock(&r->lock);
	while (!r->closing) {
		struct timespec until = praas_redis_timespec(praas_now_ns() + span_ns);
		char text[ERROR_TEXT] = "";
		redisReply *reply = NULL;
		uint64_t asked_ns;

		if (pthread_cond_timedwait(&r->ended, &r->lock, &until) != ETIMEDOUT ||
		    r->closing)
			continue;
		(void)pthread_mutex_unlock(&r->lock);
		asked_ns = praas_now_ns();
		(void)run_own(r, &stay,
			      praas_min_u64(PRAAS_REDIS_CALL_MS, lease_ms(r)) / 2,
			      &reply, text);
		if (praas_redis_says(reply, "OK"))
			extend(r, asked_ns);
		if (praas_redis_says(reply, "TAKEN"))
			praas_redis_give_up(r, PRAAS_REDIS_TAKEN);
		if (praas_redis_says(reply, "GONE"))
			praas_redis_give_up(r, PRAAS_REDIS_GONE);
		if (reply)
			freeReplyObject(reply);
		(void)pthread_mutex_lock(&r->lock);
	}
	(void)pthread_mutex_unlock(&r->lock);
	return NULL;
}

static int say_busy(struct praas_redis *r, const redisReply *owner,
		    const redisReply *id, char *ret_text)
{
	(void)snprintf(ret_text, ERROR_TEXT,
		       "another control service has these records (prefix %.64s), and "
		       "was heard of a moment ago",
		       r->url.prefix);
	(void)snprintf(r->other, sizeof(r->other), "%s", owner ? owner->str : "");
	/* From now on it is these that are waited for. */
	if (r->lease && id && id->len == sizeof(r->id) - 1)
		memcpy(r->id, id->str, sizeof(r->id));
	return -EBUSY;
}

/* What own.lua says to who wants the records. */
static int read_owned(struct praas_redis *r, const redisReply *reply, char *ret_text)
{
	const redisReply *first = praas_redis_text(reply, 1),
			 *second = praas_redis_text(reply, 2);
	uint64_t term;

	if (praas_redis_says(reply, "BUSY"))
		return say_busy(r, first, second, ret_text);
	if (praas_redis_says(reply, "GONE")) {
		(void)snprintf(
			ret_text, ERROR_TEXT,
			"the records that were waited for are gone: somebody has "
			"emptied this Redis, or others are in their place");
		return -EPROTO;
	}
	if (praas_redis_says(reply, "FORMAT") && first) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "they have format %.20s, this program knows " FORMAT
			       "; run the program of that format",
			       first->len ? first->str : "none");
		return -EPROTO;
	}
	if (!praas_redis_says(reply, "OK") || !first ||
	    first->len != sizeof(r->id) - 1 ||
	    praas_redis_number(second, INT64_MAX, &r->changes) ||
	    praas_redis_number(praas_redis_text(reply, 3), INT64_MAX, &term)) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "what is there is no head of records: %.64s", r->meta);
		return -EPROTO;
	}
	memcpy(r->id, first->str, sizeof(r->id));
	if (r->lease)
		atomic_store_explicit(&r->lease->term, term, memory_order_relaxed);
	return 0;
}

/* ended: an owner from whom they may be taken. */
static int own_once(struct praas_redis *r, const char *ended, char *ret_text)
{
	char fresh[2 * PRAAS_REDIS_ID_BYTES + 1];
	struct own own = { "own", fresh, ended };
	uint8_t random[PRAAS_REDIS_ID_BYTES];
	uint64_t asked_ns = praas_now_ns();
	redisReply *reply = NULL;
	int rc;

	praas_random(random, sizeof(random));
	praas_hex_encode(random, sizeof(random), fresh);
	rc = run_own(r, &own, PRAAS_REDIS_CALL_MS, &reply, ret_text);
	if (rc == 0)
		rc = read_owned(r, reply, ret_text);
	if (rc == 0)
		extend(r, asked_ns);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

int praas_redis_own(struct praas_redis *r, char *ret_text)
{
	char ended[sizeof(r->other)] = "";
	int next, rc;

	for (;;) {
		rc = own_once(r, ended, ret_text);
		if (!r->lease || (rc != -EBUSY && rc != -EIO))
			return rc;
		next = r->lease->busy(r->lease->user, rc == -EBUSY ? r->other : NULL,
				      ret_text);
		if (next < 0)
			return next;
		(void)snprintf(ended, sizeof(ended), "%s",
			       next == PRAAS_LEASE_ENDED ? r->other : "");
	}
}

int praas_redis_keep(struct praas_redis *r)
{
	int rc = -pthread_create(&r->keeper, NULL, keep, r);

	r->keeps = rc == 0;
	return rc;
}

void praas_redis_leave(struct praas_redis *r)
{
	static const struct own leave = { "leave", "", "" };
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
	(void)run_own(r, &leave, down ? PRAAS_REDIS_DOWN_MS : PRAAS_REDIS_CALL_MS,
		      &reply, text);
	if (reply)
		freeReplyObject(reply);
}
