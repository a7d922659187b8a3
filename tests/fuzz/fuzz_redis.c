/* SPDX-License-Identifier: Apache-2.0
 *
 * A Redis out of its mind, or what somebody wrote into ours. First byte: a URL; what INFO answers; else bytes of
 * replies, in pieces whose size it says, and each reply taken for everything that a reply may be. It is refused,
 * or says only what we would have written.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/names.h"
#include "control/records/records_redis.h"
#include "controller/store/redis_private.h"
#include "internal/base.h"
#include "redis/server.h"

static void try_url(const uint8_t *data, size_t bytes)
{
	char text[2048], why[256] = "";
	char below[PRAAS_STORE_URL_MAX + 1];
	struct praas_redis_url url;

	bytes = bytes < sizeof(text) ? bytes : sizeof(text) - 1;
	memcpy(text, data, bytes);
	text[bytes] = 0;
	if (praas_redis_url_parse(text, &url, why)) {
		praas_check(why[0] != 0);
		return;
	}
	praas_check(praas_redis_url_is(text) && praas_name_valid(url.prefix));
	praas_check(url.local ? url.socket[0] == '/' : url.host[0] != 0);
	praas_check(!url.user[0] || praas_name_valid(url.user));
	praas_check(url.tls || (!url.ca[0] && !url.cert[0]));
	if (praas_redis_store_below(text, "a/1-1", below, sizeof(below)) == 0)
		praas_check(praas_redis_url_is(below));
}

static void try_info(const uint8_t *data, size_t bytes)
{
	struct praas_redis_server server;
	char why[256] = "";

	praas_redis_server_parse((const char *)data, bytes, &server);
	if (praas_redis_server_check(&server, why))
		praas_check(why[0] != 0);
	praas_check(!praas_redis_server_durable(&server, why)); /* it was not asked */
}

static redisReply reply_of(char *text)
{
	return (redisReply){ .type = REDIS_REPLY_STRING,
			     .str = text,
			     .len = strlen(text) };
}

/* What was read is what is read of it when we have written it. */
static void again_process(struct praas_process_record *p)
{
	char text[PRAAS_REDIS_ROW_BYTES];
	struct praas_process_record back;
	redisReply reply;

	p->version--;
	praas_redis_write_process(text, p);
	reply = reply_of(text);
	praas_check(praas_redis_read_process(&reply, &back) == 0);
	praas_check(back.version == p->version + 1 && back.number == p->number &&
		    back.state == p->state && strcmp(back.name, p->name) == 0 &&
		    strcmp(back.endpoints, p->endpoints) == 0);
}

static void again_memo(const struct praas_memo *memo)
{
	char text[PRAAS_REDIS_ROW_BYTES];
	struct praas_memo back;
	redisReply reply;

	praas_redis_write_memo(text, memo);
	reply = reply_of(text);
	praas_check(praas_redis_read_memo(&reply, &back) == 0);
	praas_check(back.status == memo->status && back.made_ns == memo->made_ns);
}

static void try_records(const redisReply *text)
{
	struct praas_app_record app;
	struct praas_process_record p;
	struct praas_item item;
	struct praas_memo memo;
	char again[PRAAS_REDIS_ROW_BYTES];

	if (praas_redis_read_app(text, &app) == 0) {
		praas_check(praas_name_valid(app.name) && praas_name_valid(app.tenant));
		app.version--;
		praas_redis_write_app(again, &app);
		praas_check(strlen(again) <= text->len + 64);
	}
	if (praas_redis_read_process(text, &p) == 0) {
		praas_check(praas_name_valid(p.name) && p.number > 0);
		praas_check(p.state >= PRAAS_LIFE_SWAPPED &&
			    p.state <= PRAAS_LIFE_MIGRATING);
		again_process(&p);
	}
	if (praas_redis_read_item(text, text, &item) == 0)
		praas_check(praas_name_valid(item.id));
	if (praas_redis_read_memo(text, &memo) == 0) {
		praas_check(memo.answer_bytes <= PRAAS_LIMIT_MEMO_BYTES);
		again_memo(&memo);
	}
}

static void try_rest(const redisReply *text, const redisReply *other)
{
	struct praas_usage_sum sum;
	struct praas_usage_row row;
	struct praas_queued m;
	uint64_t number;

	if (praas_redis_read_usage(text, &sum, &row) == 0) {
		praas_check(row.from_ns < row.to_ns && row.used.resident >= 0);
		praas_check(row.used.calls <= PRAAS_USAGE_ROW_MAX);
	}
	if (text && praas_redis_read_census(text->str, text->len, &sum, &number) == 0)
		praas_check(praas_name_valid(sum.tenant) && sum.slot >= -1);
	if (praas_redis_read_queued(text, other, &m) == 0) {
		praas_check(m.epoch > 0 && m.number > 0 && other != NULL);
		praas_check(m.key_bytes + m.bytes == other->len);
	}
	for (unsigned i = 0; i < 4; i++)
		if (praas_redis_word(text, i, &number) == 0)
			praas_check(number <= INT64_MAX);
	if (praas_redis_number(text, 1000, &number) == 0)
		praas_check(number <= 1000);
}

/* As a page of names of a store: each is one, and comes after the one before. */
static void try_list(const redisReply *reply)
{
	const char *text, *last = "";

	for (size_t i = 0;
	     i < reply->elements &&
	     praas_redis_listed(reply, i, last, PRAAS_STORE_KEY_MAX, &text) == 0;
	     i++) {
		praas_check(praas_store_key_check(text) == 0);
		praas_check(strcmp(last, text) < 0);
		last = text;
	}
}

static void try_reply(const redisReply *reply)
{
	struct praas_queue_state state;
	char why[256];

	(void)praas_redis_says(reply, "OK");
	if (reply->type == REDIS_REPLY_ERROR)
		praas_check(praas_redis_refusal(reply, why) < 0 &&
			    strlen(why) < sizeof(why));
	(void)praas_redis_error(reply, "NOSCRIPT");
	if (praas_redis_read_queue_state(reply, &state) == 0)
		praas_check(state.tail - state.trimmed == state.messages);
	if (reply->type == REDIS_REPLY_STRING) {
		try_records(reply);
		try_rest(reply, reply);
	}
	if (reply->type == REDIS_REPLY_ARRAY)
		try_list(reply);
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements;
	     i++) {
		const redisReply *text = praas_redis_text(reply, i);

		try_records(text);
		try_rest(text, praas_redis_text(reply, i + 1));
	}
}

static void try_replies(const uint8_t *data, size_t bytes, size_t piece)
{
	struct praas_redis_reader reader;
	redisReply *reply;
	int rc = praas_redis_reader_open(&reader);

	praas_check(rc == 0);
	for (size_t at = 0; rc == 0 && at < bytes; at += piece) {
		size_t n = bytes - at < piece ? bytes - at : piece;

		rc = praas_redis_reader_feed(&reader, (const char *)data + at, n,
					     &reply);
		while (rc == 0 && reply) {
			try_reply(reply);
			freeReplyObject(reply);
			rc = praas_redis_reader_feed(&reader, NULL, 0, &reply);
		}
	}
	praas_redis_reader_close(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static int quiet;

	if (!quiet++ && !freopen("/dev/null", "w", stderr)) /* damage is told there */
		abort();
	if (bytes == 0)
		return 0;
	switch (data[0]) {
	case 'u':
		try_url(data + 1, bytes - 1);
		break;
	case 'i':
		try_info(data + 1, bytes - 1);
		break;
	default:
		try_replies(data + 1, bytes - 1, 1u + data[0]);
	}
	return 0;
}
