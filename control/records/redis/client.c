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
#define BACK_OFF_FIRST_NS 2000000u
#define BACK_OFF_MOST_NS 500000000u

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
			if (!r->lanes[i].busy &&
			    (!found || (!found->link && r->lanes[i].link)))
				found = &r->lanes[i];
		if (!found)
			rc = pthread_cond_timedwait(&r->freed, &r->lock, &until);
	}
	if (found)
		found->busy = true;
	(void)pthread_mutex_unlock(&r->lock);
	return found;
}

static void give_lane(struct praas_redis *r, struct praas_redis_lane *lane)
{
	(void)pthread_mutex_lock(&r->lock);
	lane->busy = false;
	(void)pthread_cond_signal(&r->freed);
	(void)pthread_mutex_unlock(&r->lock);
}

static void cut_lane(struct praas_redis_lane *lane)
{
	praas_redis_link_free(lane->link);
	lane->link = NULL;
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
	if (praas_redis_number(reply, INT64_MAX, ret_changes))
		*ret_changes = 0; /* there are none: run.lua will say so */
	freeReplyObject(reply);
	return 0;
}

/* Another server, or the same one after a restart, must know all that was acknowledged. */
static int look_at_run(struct praas_redis *r, struct praas_redis_link *link,
		       const struct praas_redis_server *server, uint64_t deadline_ns,
		       char *ret_text)
{
	uint64_t changes = 0, known;
	bool other;
	int rc;

	(void)pthread_mutex_lock(&r->lock);
	other = r->run[0] && strcmp(r->run, server->run) != 0;
	known = r->changes;
	(void)pthread_mutex_unlock(&r->lock);
	rc = other ? ask_changes(r, link, deadline_ns, &changes, ret_text) : 0;
	if (rc)
		return rc;
	if (other && changes < known) {
		praas_redis_give_up(r, PRAAS_REDIS_LOST);
		return -ECANCELED;
	}
	(void)pthread_mutex_lock(&r->lock);
	memcpy(r->run, server->run, sizeof(r->run));
	(void)pthread_mutex_unlock(&r->lock);
	return 0;
}

static int connect_lane(struct praas_redis *r, struct praas_redis_lane *lane,
			uint64_t deadline_ns, char *ret_text)
{
	struct praas_redis_link *link;
	struct praas_redis_server server;
	char why[ERROR_TEXT] = "";
	bool durable;
	int rc = praas_redis_session_open(&r->session, deadline_ns, &link, &server,
					  ret_text);

	if (rc)
		return rc;
	rc = praas_redis_server_check(&server, ret_text);
	if (rc == 0)
		rc = look_at_run(r, link, &server, deadline_ns, ret_text);
	if (rc) {
		praas_redis_link_free(link);
		return rc;
	}
	durable = praas_redis_server_durable(&server, why);
	lane->link = link;
	(void)pthread_mutex_lock(&r->lock);
	rc = r->durable != durable || !r->keeps;
	r->durable = durable;
	(void)pthread_mutex_unlock(&r->lock);
	if (rc && !durable)
		praas_say(PRAAS_SAY_WARNING,
			  "records: what this Redis acknowledges is not durable: %s",
			  why);
	return 0;
}

/* ---- one call, until it is answered ------------------------------------------------- */

/* What an error is to us. */
static int classify(const redisReply *reply, char *ret_text)
{
	static const struct {
		const char *word;
		int rc;
	} all[] = {
		{ "NOSCRIPT", -ENOEXEC },   { "OOM", -ENOSPC },
		{ "LOADING", -EAGAIN },     { "BUSY", -EAGAIN },
		{ "READONLY", -ESHUTDOWN }, { "MASTERDOWN", -EAGAIN },
		{ "NOREPLICAS", -EAGAIN },  { "NOAUTH", -EACCES },
		{ "NOPERM", -EACCES },      { "MISCONF", -EIO },
	};
	int rc = -EPROTO;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (praas_redis_error(reply, all[i].word))
			rc = all[i].rc;
	(void)snprintf(ret_text, ERROR_TEXT, "%.250s", reply->str);
	return rc;
}

/* A script that the server does not know, or has forgotten. */
static int load_script(struct praas_redis_lane *lane,
		       const struct praas_redis_script *script, uint64_t deadline_ns,
		       char *ret_text)
{
	struct praas_redis_args args = {
		.count = 3,
		.argv = { "SCRIPT", "LOAD", script->text },
		.bytes = { 6, 4, script->bytes },
	};
	redisReply *reply = NULL;
	int rc = praas_redis_link_ask(lane->link, &args, deadline_ns, &reply, ret_text);

	if (rc)
		return rc;
	if (reply->type == REDIS_REPLY_ERROR) {
		rc = classify(reply, ret_text);
	} else if (!praas_redis_says(reply, script->sha)) {
		(void)snprintf(ret_text, ERROR_TEXT, "not the script that was sent");
		rc = -EPROTO;
	}
	freeReplyObject(reply);
	return rc;
}

static int try_once(struct praas_redis *r, struct praas_redis_lane *lane,
		    struct praas_redis_call *call, uint64_t deadline_ns,
		    redisReply **ret_reply, char *ret_text)
{
	int rc = lane->link ? 0 : connect_lane(r, lane, deadline_ns, ret_text);

	if (rc == 0)
		rc = praas_redis_link_ask(lane->link, &call->args, deadline_ns,
					  ret_reply, ret_text);
	if (rc || (*ret_reply)->type != REDIS_REPLY_ERROR)
		return rc;
	rc = classify(*ret_reply, ret_text);
	freeReplyObject(*ret_reply);
	*ret_reply = NULL;
	return rc;
}

/* It is worth to ask again. */
static bool passes(int rc)
{
	return rc != 0 && rc != -ENOSPC && rc != -EACCES && rc != -EPROTO &&
	       rc != -EINVAL && rc != -ENOMEM && rc != -EIO && rc != -ECANCELED;
}

static void pause_for(uint64_t *back_off_ns, uint64_t deadline_ns)
{
	uint64_t now = praas_now_ns();
	uint64_t until = praas_min_u64(now + *back_off_ns, deadline_ns);
	struct timespec span = praas_redis_timespec(until > now ? until - now : 0);

	(void)nanosleep(&span, NULL);
	*back_off_ns = praas_min_u64(2 * *back_off_ns, BACK_OFF_MOST_NS);
}

/* Asks until there is an answer, or the time is over. */
static int ask_over(struct praas_redis *r, struct praas_redis_lane *lane,
		    struct praas_redis_call *call, uint64_t deadline_ns,
		    redisReply **ret_reply, char *ret_text)
{
	uint64_t back_off_ns = BACK_OFF_FIRST_NS;
	char text[ERROR_TEXT] = "";
	int rc;

	for (;;) {
		rc = try_once(r, lane, call, deadline_ns, ret_reply, text);
		if (rc == -ENOEXEC)
			rc = load_script(lane,
					 &r->scripts.all[call->concept][call->kind],
					 deadline_ns, text);
		else if (rc == 0)
			return 0;
		/* That the time was over says less than what went wrong before. */
		if (rc && (rc != -ETIMEDOUT || !ret_text[0]))
			memcpy(ret_text, text, sizeof(text));
		/* On a connection that is left in the middle nothing can follow. */
		if (rc && rc != -ENOSPC && rc != -EIO && rc != -EAGAIN)
			cut_lane(lane);
		if ((rc && !passes(rc)) || praas_now_ns() >= deadline_ns)
			return rc ? rc : -ETIMEDOUT;
		if (rc)
			pause_for(&back_off_ns, deadline_ns);
	}
}

/* What became of a call, for the log. */
static void report(struct praas_redis *r, const struct praas_redis_call *call, int rc,
		   const char *why)
{
	bool news;

	if (rc == 0 || passes(rc))
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
	} else if (rc && !passes(rc) && rc != -ECANCELED) {
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
	rc = ask_over(r, lane, call, deadline_ns, ret_reply, ret_text);
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
	for (unsigned i = 0; i < PRAAS_REDIS_LINKS; i++) {
		praas_random(random, sizeof(random));
		praas_hex_encode(random, sizeof(random), r->lanes[i].id);
	}
}

static int prepare(struct praas_redis *r, const char *url, const char *place,
		   char *ret_text)
{
	int rc = praas_redis_url_parse(url, &r->url, ret_text);

	if (rc == 0 && r->url.tls)
		rc = praas_redis_tls_context_new(&r->url, &r->session.tls, ret_text);
	if (rc == 0)
		rc = praas_redis_scripts_make(&r->scripts);
	if (rc)
		return rc;
	r->session.url = &r->url;
	name_all(r, place);
	return 0;
}

int praas_redis_open(const char *url, const char *place, struct praas_redis **ret_redis,
		     char *ret_text)
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
		cut_lane(&redis->lanes[i]);
	praas_redis_scripts_free(&redis->scripts);
	praas_redis_tls_context_free(redis->session.tls);
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
