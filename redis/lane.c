/* SPDX-License-Identifier: Apache-2.0 */
#include "redis/lane.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal/base.h"
#include "internal/text.h"

#define ERROR_TEXT 256u
#define BACK_OFF_FIRST_NS 2000000u
#define BACK_OFF_MOST_NS 500000000u

void praas_redis_lane_init(struct praas_redis_lane *lane)
{
	uint8_t random[PRAAS_REDIS_ID_BYTES];

	*lane = (struct praas_redis_lane){ .link = NULL };
	praas_random(random, sizeof(random));
	praas_hex_encode(random, sizeof(random), lane->id);
}

void praas_redis_lane_cut(struct praas_redis_lane *lane)
{
	praas_redis_link_free(lane->link);
	lane->link = NULL;
}

static int join(struct praas_redis_lane *lane, const struct praas_redis_way *way,
		uint64_t deadline_ns, char *ret_text)
{
	struct praas_redis_link *link;
	struct praas_redis_server server;
	int rc = praas_redis_session_open(&way->session, deadline_ns, &link, &server,
					  ret_text);

	if (rc)
		return rc;
	rc = praas_redis_server_check(&server, ret_text);
	if (rc == 0)
		rc = way->joined(way->user, link, &server, deadline_ns, ret_text);
	if (rc)
		praas_redis_link_free(link);
	else
		lane->link = link;
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

	if (rc) {
		praas_redis_lane_cut(lane);
		return rc;
	}
	if (reply->type == REDIS_REPLY_ERROR) {
		rc = praas_redis_refusal(reply, ret_text);
	} else if (!praas_redis_says(reply, script->sha)) {
		(void)snprintf(ret_text, ERROR_TEXT, "not the script that was sent");
		rc = -EPROTO;
	}
	freeReplyObject(reply);
	return rc;
}

static uint64_t reply_bytes(const redisReply *reply)
{
	uint64_t bytes = reply->str ? reply->len : 0;

	for (size_t i = 0; i < reply->elements; i++) /* none has arrays in it */
		bytes += reply->element[i]->str ? reply->element[i]->len : 0;
	return bytes;
}

static int ask(struct praas_redis_lane *lane, const struct praas_redis_args *args,
	       uint64_t deadline_ns, redisReply **ret_reply, char *ret_text)
{
	int rc = praas_redis_link_ask(lane->link, args, deadline_ns, ret_reply,
				      ret_text);

	lane->counts.requests++;
	for (int i = 0; i < args->count; i++)
		lane->counts.bytes_sent += args->bytes[i];
	if (rc) /* nothing can follow on it */
		praas_redis_lane_cut(lane);
	else
		lane->counts.bytes_received += reply_bytes(*ret_reply);
	return rc;
}

static int try_once(struct praas_redis_lane *lane, const struct praas_redis_way *way,
		    const struct praas_redis_args *args, uint64_t deadline_ns,
		    redisReply **ret_reply, char *ret_text)
{
	int rc = lane->link ? 0 : join(lane, way, deadline_ns, ret_text);

	if (rc == 0)
		rc = ask(lane, args, deadline_ns, ret_reply, ret_text);
	if (rc || (*ret_reply)->type != REDIS_REPLY_ERROR)
		return rc;
	rc = praas_redis_refusal(*ret_reply, ret_text);
	freeReplyObject(*ret_reply);
	*ret_reply = NULL;
	return rc;
}

bool praas_redis_passes(int rc)
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

int praas_redis_lane_ask(struct praas_redis_lane *lane,
			 const struct praas_redis_way *way,
			 const struct praas_redis_args *args,
			 const struct praas_redis_script *script, uint64_t deadline_ns,
			 redisReply **ret_reply, char *ret_text)
{
	uint64_t back_off_ns = BACK_OFF_FIRST_NS;
	char text[ERROR_TEXT] = "";
	int rc;

	for (;;) {
		rc = try_once(lane, way, args, deadline_ns, ret_reply, text);
		if (rc == -ENOEXEC && script)
			rc = load_script(lane, script, deadline_ns, text);
		else if (rc == 0)
			return 0;
		/* That the time was over says less than what went wrong before. */
		if (rc && (rc != -ETIMEDOUT || !ret_text[0]))
			memcpy(ret_text, text, sizeof(text));
		/* What it is may change with another connection. */
		if (rc && rc != -ENOSPC && rc != -EIO && rc != -EAGAIN)
			praas_redis_lane_cut(lane);
		if ((rc && !praas_redis_passes(rc)) || praas_now_ns() >= deadline_ns)
			break;
		lane->counts.retries += rc != 0;
		if (rc)
			pause_for(&back_off_ns, deadline_ns);
	}
	lane->counts.failures++;
	return rc ? rc : -ETIMEDOUT;
}
