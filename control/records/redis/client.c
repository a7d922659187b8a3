/* SPDX-License-Identifier: Apache-2.0 */
#include "control/records/redis/client_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/names.h"
#include "control/say.h"
#include "internal/base.h"

#define ERROR_TEXT 256u

/* ---- connections ------------------------------------------------------------------- */

/* A lane for oneself. NULL: none was free in time. */
static struct praas_redis_lane *take_lane(struct praas_redis *r, uint64_t deadline_ns)
{
	struct timespec until = praas_redis_timespec(deadline_ns);
	struct praas_redis_lane *found = NULL;
	int rc = 0;

	(void)pthread_mutex_lock(&r->lock);
	while (!found && rc == 0) {
		/* One with a connection first. */
		for (unsigned i = 0; i < PRAAS_REDIS_LINKS; i++)
			if (!r->busy[i] &&
			    (!found || (!found->link && r->lanes[i].link)))
				found = &r->lanes[i];
		if (!found)
			rc = pthread_cond_timedwait(&r->freed, &r->lock, &until);
	}
	if (found)
		r->busy[found - r->lanes] = true;
	(void)pthread_mutex_unlock(&r->lock);
	return found;
}

static void give_lane(struct praas_redis *r, struct praas_redis_lane *lane)
{
	(void)pthread_mutex_lock(&r->lock);
	r->busy[lane - r->lanes] = false;
	(void)pthread_cond_signal(&r->freed);
	(void)pthread_mutex_unlock(&r->lock);
}

/* The first of many to see it tells. */
static void tell(struct praas_redis *r, bool down, const char *why)
{
	bool news;

	(void)pthread_mutex_lock(&r->lock);
	news = r->down != down;
	r->down = down;
	(void)pthread_mutex_unlock(&r->lock);
	if (news && down)
		praas_say(PRAAS_SAY_ERROR, "records: Redis: %s; trying again", why);
	else if (news)
		praas_say(PRAAS_SAY_INFO, "records: Redis answers again");
}

void praas_redis_give_up(struct praas_redis *r, enum praas_redis_verdict verdict)
{
	static const char *const words[] = {
		[PRAAS_REDIS_LOST] =
			"another Redis answers, or it was started again, and has lost "
			"changes that it had acknowledged; start this service again: "
			"then processes are looked up in their slot logs "
			"(docs/operations.md)",
		[PRAAS_REDIS_TAKEN] =
			"another control service has taken these records; this one "
			"does nothing more with them",
		[PRAAS_REDIS_GONE] =
			"they are gone, or others are in their place: somebody has "
			"emptied this Redis, or it was started without what it had; "
			"restore a back-up (docs/operations.md)",
	};
	bool news;

	(void)pthread_mutex_lock(&r->lock);
	news = r->verdict == PRAAS_REDIS_GOOD;
	r->verdict = news ? verdict : r->verdict;
	(void)pthread_mutex_unlock(&r->lock);
	if (news)
		praas_say(PRAAS_SAY_ERROR, "records: %s", words[verdict]);
	/* What is gone somebody has to put back: nobody else would find more. */
	if (news && r->lease && verdict != PRAAS_REDIS_GONE)
		r->lease->lost(r->lease->user);
}

/* How many changes it knows of. */
static int ask_changes(struct praas_redis *r, struct praas_redis_link *link,
		       uint64_t deadline_ns, uint64_t *ret_changes, char *ret_text)
{
	const char *const words[] = { "HGET", r->meta, "changes" };
	struct praas_redis_args args = { .count = 3 };
	redisReply *reply = NULL;
	int rc;

	for (int i = 0; i < 3; i++) {
		args.argv[i] = words[i];
		args.bytes[i] = strlen(words[i]);
	}
	rc = praas_redis_link_ask(link, &args, deadline_ns, &reply, ret_text);
	if (rc)
		return rc;
	if (reply->type == REDIS_REPLY_ERROR) /* that says nothing of what it has */
		rc = praas_redis_refusal(reply, ret_text);
	else if (praas_redis_number(reply, INT64_MAX, ret_changes))
		*ret_changes = 0; /* there are none: run.lua will say so */
	freeReplyObject(reply);
	return rc;
}

/* Whoever answers now, this server or another, after a restart, a fail-over or two, must know all that was acknowledged.
 */
static int look_at_changes(struct praas_redis *r, struct praas_redis_link *link,
			   uint64_t deadline_ns, char *ret_text)
{
	uint64_t changes = 0, known;
	int rc;

	(void)pthread_mutex_lock(&r->lock);
	known = r->changes;
	(void)pthread_mutex_unlock(&r->lock);
	rc = known > 0 ? ask_changes(r, link, deadline_ns, &changes, ret_text) : 0;
	if (rc == 0 && changes < known) {
		praas_redis_give_up(r, PRAAS_REDIS_LOST);
		rc = -ECANCELED;
	}
	return rc;
}

/* A connection of the pool was made. */
static int on_joined(void *user, struct praas_redis_link *link,
		     const struct praas_redis_server *server, uint64_t deadline_ns,
		     char *ret_text)
{
	struct praas_redis *r = user;
	char why[ERROR_TEXT] = "";
	bool durable, news;
	int rc = look_at_changes(r, link, deadline_ns, ret_text);

	if (rc)
		return rc;
	durable = praas_redis_server_durable(server, why);
	(void)pthread_mutex_lock(&r->lock);
	news = r->durable != durable || !r->keeps;
	r->durable = durable;
	(void)pthread_mutex_unlock(&r->lock);
	if (news && !durable)
		praas_say(PRAAS_SAY_WARNING,
			  "records: what this Redis acknowledges is not durable: %s",
			  why);
	return 0;
}

/* ---- one call, until it is answered ------------------------------------------------- */

/* What became of a call, for the log. */
static void report(struct praas_redis *r, const struct praas_redis_call *call, int rc,
		   const char *why)
{
	bool news;

	if (rc == 0 || praas_redis_passes(rc))
		tell(r, rc != 0, why);
	if (rc == -ENOSPC || (rc == 0 && call->kind == PRAAS_REDIS_CHANGES)) {
		(void)pthread_mutex_lock(&r->lock);
		news = r->full != (rc != 0);
		r->full = rc != 0;
		(void)pthread_mutex_unlock(&r->lock);
		if (news && rc)
			praas_say(PRAAS_SAY_ERROR,
				  "records: the memory of Redis is full (maxmemory): "
				  "nothing new is taken: %s",
				  why);
		else if (news)
			praas_say(PRAAS_SAY_INFO, "records: Redis takes changes again");
	} else if (rc && !praas_redis_passes(rc) && rc != -ECANCELED) {
		praas_say(PRAAS_SAY_ERROR, "records: Redis: %s", why);
	}
}

int praas_redis_ask(struct praas_redis *r, struct praas_redis_call *call,
		    uint64_t deadline_ns, redisReply **ret_reply, char *ret_text)
{
	struct praas_redis_lane *lane = take_lane(r, deadline_ns);
	char turn[24] = "0";
	int rc;

	*ret_reply = NULL;
	if (!lane) {
		(void)snprintf(ret_text, ERROR_TEXT, "all connections are in use");
		return -EIO;
	}
	if (call->concept != PRAAS_REDIS_OWN && call->kind != PRAAS_REDIS_READS) {
		(void)snprintf(turn, sizeof(turn), "%" PRIu64, ++lane->turn);
		praas_redis_set_arg(call, 6, lane->id);
		praas_redis_set_arg(call, 7, turn);
	}
	rc = praas_redis_lane_ask(lane, &r->way, &call->args,
				  &r->scripts.all[call->concept][call->kind],
				  deadline_ns, ret_reply, ret_text);
	give_lane(r, lane);
	report(r, call, rc, ret_text);
	return rc == 0 || rc == -ENOSPC || rc == -EPROTO || rc == -EINVAL ? rc : -EIO;
}

/* What a script says besides OK. */
static int verdict_of(struct praas_redis *r, const redisReply *reply)
{
	static const struct {
		const char *word;
		int rc;
	} all[] = {
		{ "OK", 0 },          { "EXIST", -EEXIST },
		{ "STALE", -ESTALE }, { "NOENT", -ENOENT },
		{ "NOSPC", -ENOSPC }, { "NOTEMPTY", -ENOTEMPTY },
		{ "LATE", -EIO },     { "DAMAGED", -EPROTO },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (praas_redis_says(reply, all[i].word))
			return all[i].rc;
	if (praas_redis_says(reply, "GONE"))
		praas_redis_give_up(r, PRAAS_REDIS_GONE);
	else if (praas_redis_says(reply, "TAKEN"))
		praas_redis_give_up(r, PRAAS_REDIS_TAKEN);
	else
		praas_say(PRAAS_SAY_ERROR, "records: Redis: an answer that is none");
	return -EIO;
}

/* The last word of a change's answer is which change it was. */
static void note_change(struct praas_redis *r, redisReply *reply)
{
	uint64_t changes;
	unsigned words = 0;

	if (!reply || reply->type != REDIS_REPLY_STRING)
		return;
	for (size_t i = 0; i < reply->len; i++)
		words += reply->str[i] == ' ';
	if (words == 0 || praas_redis_word(reply, words, &changes))
		return;
	(void)pthread_mutex_lock(&r->lock);
	r->changes = praas_max_u64(r->changes, changes);
	(void)pthread_mutex_unlock(&r->lock);
}

static uint64_t deadline_of(struct praas_redis *r, bool *ret_good)
{
	uint64_t ms;

	(void)pthread_mutex_lock(&r->lock);
	ms = r->down ? PRAAS_REDIS_DOWN_MS : PRAAS_REDIS_CALL_MS;
	*ret_good = r->verdict == PRAAS_REDIS_GOOD;
	(void)pthread_mutex_unlock(&r->lock);
	return praas_now_ns() + ms * 1000000u;
}

int praas_redis_run(struct praas_redis *redis, struct praas_redis_call *call,
		    redisReply **ret_reply)
{
	struct praas_redis *r = redis;
	char text[ERROR_TEXT] = "";
	bool good;
	uint64_t deadline_ns = deadline_of(r, &good);
	int rc;

	*ret_reply = NULL;
	if (!good)
		return -EIO;
	praas_redis_set_arg(call, 0, "EVALSHA");
	praas_redis_set_arg(call, 1, r->scripts.all[call->concept][call->kind].sha);
	praas_redis_set_arg(call, 2, "1");
	praas_redis_set_arg(call, 3, r->meta);
	praas_redis_set_arg(call, 4, r->id);
	praas_redis_set_arg(call, 5, r->owner);
	praas_redis_set_arg(call, 6, "");
	praas_redis_set_arg(call, 7, "0");
	rc = praas_redis_ask(r, call, deadline_ns, ret_reply, text);
	if (rc)
		return rc;
	if (call->kind != PRAAS_REDIS_READS)
		note_change(r, *ret_reply);
	return verdict_of(r, *ret_reply);
}

int praas_redis_do(struct praas_redis *redis, struct praas_redis_call *call)
{
	redisReply *reply;
	int rc = praas_redis_run(redis, call, &reply);

	if (reply)
		freeReplyObject(reply);
	return rc;
}

/* ---- its life ----------------------------------------------------------------------- */

static void name_all(struct praas_redis *r, const char *place)
{
	uint8_t random[PRAAS_REDIS_ID_BYTES];
	char hex[2 * PRAAS_REDIS_ID_BYTES + 1];

	(void)snprintf(r->meta, sizeof(r->meta), "{%s}:meta", r->url.prefix);
	praas_random(random, sizeof(random));
	praas_hex_encode(random, sizeof(random), hex);
	(void)snprintf(r->place, sizeof(r->place), "%s", place && *place ? place : hex);
	(void)snprintf(r->owner, sizeof(r->owner), "%s:%s", r->place, hex);
	for (unsigned i = 0; i < PRAAS_REDIS_LINKS; i++)
		praas_redis_lane_init(&r->lanes[i]);
}

static int prepare(struct praas_redis *r, const char *url, const char *place,
		   char *ret_text)
{
	int rc = praas_redis_url_parse(url, &r->url, ret_text);

	if (rc == 0 && r->url.below[0]) {
		(void)snprintf(ret_text, ERROR_TEXT, "below= is of a store of objects");
		rc = -EINVAL;
	}
	if (rc == 0 && r->url.tls)
		rc = praas_redis_tls_context_new(&r->url, &r->way.session.tls,
						 ret_text);
	if (rc == 0)
		rc = praas_redis_scripts_make(&r->scripts);
	if (rc)
		return rc;
	r->way.session.url = &r->url;
	r->way.joined = on_joined;
	r->way.user = r;
	name_all(r, place);
	return 0;
}

int praas_redis_open(const char *url, const char *place, struct praas_lease *lease,
		     struct praas_redis **ret_redis, char *ret_text)
{
	struct praas_redis *r = calloc(1, sizeof(*r));
	pthread_condattr_t monotonic;
	int rc;

	ret_text[0] = 0;
	if (!r)
		return -ENOMEM;
	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&r->freed, &monotonic);
	(void)pthread_cond_init(&r->ended, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	r->lease = lease;
	rc = prepare(r, url, place, ret_text);
	if (rc == 0)
		rc = praas_redis_own(r, ret_text);
	if (rc == 0)
		rc = praas_redis_keep(r);
	if (rc) {
		praas_redis_close(r);
		return rc;
	}
	*ret_redis = r;
	return 0;
}

void praas_redis_close(struct praas_redis *redis)
{
	if (redis->keeps)
		praas_redis_leave(redis);
	for (unsigned i = 0; i < PRAAS_REDIS_LINKS; i++)
		praas_redis_lane_cut(&redis->lanes[i]);
	praas_redis_scripts_free(&redis->scripts);
	praas_redis_tls_context_free(redis->way.session.tls);
	(void)pthread_cond_destroy(&redis->freed);
	(void)pthread_cond_destroy(&redis->ended);
	(void)pthread_mutex_destroy(&redis->lock);
	free(redis);
}

bool praas_redis_durable(const struct praas_redis *redis)
{
	struct praas_redis *r = (struct praas_redis *)(uintptr_t)redis;
	bool durable;

	(void)pthread_mutex_lock(&r->lock);
	durable = r->durable;
	(void)pthread_mutex_unlock(&r->lock);
	return durable;
}
