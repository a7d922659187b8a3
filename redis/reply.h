/* SPDX-License-Identifier: Apache-2.0
 *
 * What a Redis answers, read by hiredis's reader, which does no I/O: bytes in, replies out. The server is
 * believed in nothing: how much it may make us hold has limits, and what a reply says is looked at by
 * the functions below.
 */
#ifndef PRAAS_REDIS_REPLY_H
#define PRAAS_REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#define PRAAS_REDIS_REPLY_ELEMENTS 65536 /* of one array */
#define PRAAS_REDIS_REPLY_BYTES (256u << 20)

struct praas_redis_reader {
	redisReader *hiredis;
	redisReplyObjectFunctions functions; /* hiredis's, but for arrays */
	void *(*plain)(const redisReadTask *task, int elements);
	uint64_t bytes; /* fed since the last whole reply */
};

int praas_redis_reader_open(struct praas_redis_reader *reader); /* -ENOMEM */
void praas_redis_reader_close(struct praas_redis_reader *reader);
/* 0, *ret_reply NULL: not whole yet; it is freed with freeReplyObject(). -EPROTO not the protocol, or
 * more than the limits: nothing can follow. -ENOMEM. */
int praas_redis_reader_feed(struct praas_redis_reader *reader, const char *data,
			    size_t bytes, redisReply **ret_reply);

/* Does it say so, as a text or as the first element of an array? Behind a text a blank and more may follow. */
bool praas_redis_says(const redisReply *reply, const char *word);
/* Is it an error that begins with that word? */
bool praas_redis_error(const redisReply *reply, const char *word);
/* What an error is to who asked, and its words in ret_text (256 bytes): -EAGAIN it passes; -ESHUTDOWN it takes no
 * changes; -ENOEXEC it does not know the script; -ENOSPC; -EACCES; -EIO it cannot write; -EPROTO anything else. */
int praas_redis_refusal(const redisReply *reply, char *ret_text);
/* The element of an array; NULL: there is none, or it is no text. */
const redisReply *praas_redis_text(const redisReply *reply, size_t at);
/* A number below 2^63, of decimal digits; at most max. -EPROTO. */
int praas_redis_number(const redisReply *text, uint64_t max, uint64_t *ret_number);
/* The n-th word behind the first of a text, as number. -EPROTO. */
int praas_redis_word(const redisReply *text, unsigned n, uint64_t *ret_number);

#endif
