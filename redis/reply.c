/* SPDX-License-Identifier: Apache-2.0 */
#include "redis/reply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal/text.h"

#define NUMBER_BYTES 20u
#define ERROR_TEXT 256u

/* hiredis makes room for as many elements as the head of an array says, before there is one of them; none
 * of our answers has arrays in arrays. */
static void *create_array(const redisReadTask *task, int elements)
{
	const struct praas_redis_reader *reader = task->privdata;

	if (elements > PRAAS_REDIS_REPLY_ELEMENTS || task->parent)
		return NULL;
	return reader->plain(task, elements);
}

int praas_redis_reader_open(struct praas_redis_reader *reader)
{
	*reader = (struct praas_redis_reader){ .hiredis = redisReaderCreate() };
	if (!reader->hiredis)
		return -ENOMEM;
	reader->functions = *reader->hiredis->fn;
	reader->plain = reader->functions.createArray;
	reader->functions.createArray = create_array;
	reader->hiredis->fn = &reader->functions;
	reader->hiredis->privdata = reader;
	return 0;
}

void praas_redis_reader_close(struct praas_redis_reader *reader)
{
	if (reader->hiredis)
		redisReaderFree(reader->hiredis);
	reader->hiredis = NULL;
}

int praas_redis_reader_feed(struct praas_redis_reader *reader, const char *data,
			    size_t bytes, redisReply **ret_reply)
{
	void *reply = NULL;

	*ret_reply = NULL;
	reader->bytes += bytes;
	if (reader->bytes > PRAAS_REDIS_REPLY_BYTES)
		return -EPROTO;
	if ((bytes > 0 && redisReaderFeed(reader->hiredis, data, bytes) != REDIS_OK) ||
	    redisReaderGetReply(reader->hiredis, &reply) != REDIS_OK)
		return -EPROTO;
	if (reply)
		reader->bytes = 0;
	*ret_reply = reply;
	return 0;
}

static bool begins(const char *text, size_t bytes, const char *word)
{
	size_t n = strlen(word);

	return bytes >= n && !memcmp(text, word, n) && (bytes == n || text[n] == ' ');
}

static bool is_text(const redisReply *reply)
{
	return reply && reply->str &&
	       (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS);
}

bool praas_redis_says(const redisReply *reply, const char *word)
{
	if (reply && reply->type == REDIS_REPLY_ARRAY)
		reply = praas_redis_text(reply, 0);
	return is_text(reply) && begins(reply->str, reply->len, word);
}

bool praas_redis_error(const redisReply *reply, const char *word)
{
	return reply && reply->type == REDIS_REPLY_ERROR &&
	       begins(reply->str, reply->len, word);
}

int praas_redis_refusal(const redisReply *reply, char *ret_text)
{
	static const struct {
		const char *word;
		int rc;
	} all[] = {
		{ "NOSCRIPT", -ENOEXEC },
		{ "OOM", -ENOSPC },
		{ "LOADING", -EAGAIN },
		{ "BUSY", -EAGAIN },
		{ "READONLY", -ESHUTDOWN },
		{ "MASTERDOWN", -EAGAIN },
		{ "NOREPLICAS", -EAGAIN },
		{ "ERR max number of clients reached", -EAGAIN },
		{ "NOAUTH", -EACCES },
		{ "NOPERM", -EACCES },
		{ "MISCONF", -EIO },
	};
	int rc = -EPROTO;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (praas_redis_error(reply, all[i].word))
			rc = all[i].rc;
	(void)snprintf(ret_text, ERROR_TEXT, "%.250s", reply->str);
	return rc;
}

const redisReply *praas_redis_text(const redisReply *reply, size_t at)
{
	if (!reply || reply->type != REDIS_REPLY_ARRAY || at >= reply->elements)
		return NULL;
	return is_text(reply->element[at]) ? reply->element[at] : NULL;
}

static int number_of(const char *text, size_t bytes, uint64_t max, uint64_t *ret_number)
{
	char digits[NUMBER_BYTES + 1];

	if (bytes == 0 || bytes > NUMBER_BYTES)
		return -EPROTO;
	(void)snprintf(digits, sizeof(digits), "%.*s", (int)bytes, text);
	return strlen(digits) != bytes || praas_number_parse(digits, max, ret_number)
		       ? -EPROTO
		       : 0;
}

int praas_redis_number(const redisReply *text, uint64_t max, uint64_t *ret_number)
{
	return is_text(text) ? number_of(text->str, text->len, max, ret_number)
			     : -EPROTO;
}

int praas_redis_word(const redisReply *text, unsigned n, uint64_t *ret_number)
{
	const char *at = is_text(text) ? text->str : NULL;
	const char *end = at ? at + text->len : NULL, *blank;

	for (; at && n > 0; n--) {
		blank = memchr(at, ' ', (size_t)(end - at));
		at = blank ? blank + 1 : NULL;
	}
	if (!at)
		return -EPROTO;
	blank = memchr(at, ' ', (size_t)(end - at));
	return number_of(at, (size_t)((blank ? blank : end) - at), INT64_MAX,
			 ret_number);
}
