/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects in a Redis, each a string under its name; names in sorted sets beside them. Changes are scripts that happen
 * once (redis.lua), what only reads is plain commands: an object never changes.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/redis_private.h"
#include "internal/base.h"
#include "internal/text.h"

#define ERROR_TEXT 256u
#define BELOW_ROOM 80u /* "APPLICATION/NUMBER-GENERATION" behind the address */
#define REMEMBERS_NS 1800000000000u /* half of what redis.lua does */
#define WORDS_MAX 8
#define CHANGE_ARGS 15

PRAAS_REDIS_TEXT(redis);

/* Of all stores of the program. */
static pthread_mutex_t totals_lock = PTHREAD_MUTEX_INITIALIZER;
static struct praas_redis_store_stats totals;

/* ---- connections ---- */

static const char has_lost[] = "it has lost what it had acknowledged";

static uint64_t deadline(void)
{
	return praas_now_ns() + PRAAS_REDIS_STORE_MS * UINT64_C(1000000);
}

/* The last change that was answered, of which the server must know; 0: none, or it may have forgotten that by now. */
static uint64_t known_turn(const struct praas_store_redis *s)
{
	return praas_now_ns() - s->turn_ns < REMEMBERS_NS ? s->turn : 0;
}

static int ask_link(struct praas_redis_link *link, const char *command, const char *key,
		    uint64_t deadline_ns, redisReply **ret_reply, char *ret_text)
{
	struct praas_redis_args args = { .count = 2,
					 .argv = { command, key },
					 .bytes = { strlen(command), strlen(key) } };
	int rc = praas_redis_link_ask(link, &args, deadline_ns, ret_reply, ret_text);

	if (rc == 0 && (*ret_reply)->type == REDIS_REPLY_ERROR) {
		/* That says nothing of what it has. */
		rc = praas_redis_refusal(*ret_reply, ret_text);
		freeReplyObject(*ret_reply);
	}
	return rc;
}

/* Whoever answers now, this server or another, after a restart, a fail-over or two. What it says of our last change goes
 * by its clock, which may have been set: then what we created last tells. */
static int look_at_turn(struct praas_store_redis *s, struct praas_redis_link *link,
			uint64_t deadline_ns, char *ret_text)
{
	redisReply *reply = NULL;
	uint64_t turn = 0;
	int rc = ask_link(link, "GET", s->done, deadline_ns, &reply, ret_text);

	if (rc)
		return rc;
	if (reply->type != REDIS_REPLY_NIL || !s->last[0]) {
		s->lost = praas_redis_word(reply, 0, &turn) || turn < s->turn;
		freeReplyObject(reply);
		return 0;
	}
	freeReplyObject(reply);
	rc = ask_link(link, "EXISTS", s->last, deadline_ns, &reply, ret_text);
	if (rc)
		return rc;
	s->lost = reply->type != REDIS_REPLY_INTEGER || reply->integer != 1;
	if (!s->lost)
		s->turn = 0; /* nothing is known of it any more */
	freeReplyObject(reply);
	return 0;
}

static int on_joined(void *user, struct praas_redis_link *link,
		     const struct praas_redis_server *server, uint64_t deadline_ns,
		     char *ret_text)
{
	struct praas_store_redis *s = user;
	char why[ERROR_TEXT] = "";
	int rc = 0;

	if (known_turn(s) > 0)
		rc = look_at_turn(s, link, deadline_ns, ret_text);
	if (rc)
		return rc;
	if (s->lost) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "another one answers, or it was started again, and has "
			       "lost what it had acknowledged");
		return -ECANCELED;
	}
	(void)praas_redis_server_durable(server, why); /* says what is missing */
	(void)snprintf(s->base.weak, sizeof(s->base.weak), "%.230s", why);
	return 0;
}

static void account(struct praas_redis_counts *counts)
{
	(void)pthread_mutex_lock(&totals_lock);
	totals.requests += counts->requests;
	totals.retries += counts->retries;
	totals.failures += counts->failures;
	totals.bytes_sent += counts->bytes_sent;
	totals.bytes_received += counts->bytes_received;
	(void)pthread_mutex_unlock(&totals_lock);
	*counts = (struct praas_redis_counts){ 0 };
}

void praas_redis_store_totals(struct praas_redis_store_stats *ret_totals)
{
	(void)pthread_mutex_lock(&totals_lock);
	*ret_totals = totals;
	(void)pthread_mutex_unlock(&totals_lock);
}

static int ask(struct praas_store_redis *s, const struct praas_redis_args *args,
	       const struct praas_redis_script *script, redisReply **ret_reply)
{
	char text[ERROR_TEXT] = "";
	int rc = 0;

	s->base.why[0] = '\0';
	if (s->lost) {
		(void)snprintf(text, sizeof(text), "%s", has_lost);
		rc = -ECANCELED;
	}
	if (rc == 0 && s->url.tls && !s->way.session.tls)
		rc = praas_redis_tls_context_new(&s->url, &s->way.session.tls, text);
	if (rc == 0)
		rc = praas_redis_lane_ask(&s->lane, &s->way, args, script, deadline(),
					  ret_reply, text);
	account(&s->lane.counts);
	if (rc == 0)
		return 0;
	rc = praas_redis_store_fails(s, rc, text[0] ? text : strerror(-rc));
	praas_check(rc != 0); /* there is no reply */
	return rc;
}

int praas_redis_store_ask(struct praas_store_redis *s, const char *const *words,
			  int count, redisReply **ret_reply)
{
	struct praas_redis_args args = { .count = count };

	praas_check(count <= WORDS_MAX);
	for (int i = 0; i < count; i++) {
		args.argv[i] = words[i];
		args.bytes[i] = strlen(words[i]);
	}
	return ask(s, &args, NULL, ret_reply);
}

static int verdict(struct praas_store_redis *s, const redisReply *reply)
{
	if (praas_redis_says(reply, "OK"))
		return 0;
	if (praas_redis_says(reply, "EXIST"))
		return -EEXIST;
	if (praas_redis_says(reply, "NOENT"))
		return -ENOENT;
	if (praas_redis_says(reply, "GONE"))
		return -ESTALE; /* our last change, as far as it knows */
	if (praas_redis_says(reply, "LOST"))
		return praas_redis_store_fails(
			s, -EIO, "pieces of an object are gone; put it again");
	return praas_redis_store_fails(s, -EIO, "an answer that is none");
}

static int change_once(struct praas_store_redis *s,
		       const struct praas_redis_change *change)
{
	const char *key = change->key ? change->key : "";
	char object[PRAAS_REDIS_STORE_KEY_MAX + 1] = "", turn[24], number[24],
						known[24];
	const char *other = change->other ? change->other : s->pieces;
	const char *words[CHANGE_ARGS - 2] = { "EVALSHA",    change->script->sha,
					       "5",          s->done,
					       s->stores,    s->names,
					       object,       other,
					       turn,         change->op,
					       s->url.below, key,
					       number };
	struct praas_redis_args args = { .count = CHANGE_ARGS };
	redisReply *reply = NULL;
	int rc = change->key ? praas_redis_store_key(s, key, object) : 0;

	if (rc)
		return rc;
	if (!change->key) /* a key has to have a name */
		memcpy(object, s->pieces, sizeof(object));
	(void)snprintf(turn, sizeof(turn), "%" PRIu64, ++s->lane.turn);
	(void)snprintf(number, sizeof(number), "%" PRIu64, change->number);
	(void)snprintf(known, sizeof(known), "%" PRIu64, known_turn(s));
	for (int i = 0; i < CHANGE_ARGS - 2; i++) {
		args.argv[i] = words[i];
		args.bytes[i] = strlen(words[i]);
	}
	args.argv[CHANGE_ARGS - 2] = change->bytes > 0 ? change->data : "";
	args.bytes[CHANGE_ARGS - 2] = change->bytes;
	args.argv[CHANGE_ARGS - 1] = known;
	args.bytes[CHANGE_ARGS - 1] = strlen(known);
	rc = ask(s, &args, change->script, &reply);
	if (rc)
		return rc;
	rc = verdict(s, reply);
	freeReplyObject(reply);
	if (rc == -ESTALE)
		return rc; /* it was not done */
	s->turn = s->lane.turn;
	s->turn_ns = praas_now_ns();
	if (rc == 0 && change->key && change->script == &s->changes)
		memcpy(s->last, object, sizeof(s->last));
	else if (rc == 0 && change->key && strcmp(s->last, object) == 0)
		s->last[0] = '\0';
	return rc;
}

int praas_redis_store_change(struct praas_store_redis *s,
			     const struct praas_redis_change *change)
{
	char text[ERROR_TEXT] = "";
	int rc = change_once(s, change);

	if (rc != -ESTALE)
		return rc;
	rc = look_at_turn(s, s->lane.link, deadline(), text);
	if (rc) {
		praas_redis_lane_cut(&s->lane);
		return praas_redis_store_fails(s, rc, text);
	}
	if (!s->lost)
		rc = change_once(s, change);
	return s->lost || rc == -ESTALE ? praas_redis_store_fails(s, -EIO, has_lost)
					: rc;
}

/* ---- objects ---- */

int praas_redis_store_key(const struct praas_store_redis *s, const char *key,
			  char ret_name[PRAAS_REDIS_STORE_KEY_MAX + 1])
{
	int rc = praas_store_key_check(key);

	if (rc == 0)
		(void)snprintf(ret_name, PRAAS_REDIS_STORE_KEY_MAX + 1,
			       "{%s}:store:object:%s:%s", s->url.prefix, s->url.below,
			       key); /* fits */
	return rc;
}

/* A command about an object whose answer is a number. */
static int ask_number(struct praas_store_redis *s, const char *command,
		      const char *object, uint64_t *ret_number)
{
	const char *words[2] = { command, object };
	redisReply *reply = NULL;
	int rc = praas_redis_store_ask(s, words, 2, &reply);

	if (rc)
		return rc;
	if (reply->type != REDIS_REPLY_INTEGER || reply->integer < 0)
		rc = praas_redis_store_fails(s, -EIO, "an answer that is no number");
	else
		*ret_number = (uint64_t)reply->integer;
	freeReplyObject(reply);
	return rc;
}

/* Bytes of an object, which is there. */
static int measure(struct praas_store_redis *s, const char *object, uint64_t *ret_bytes)
{
	uint64_t bytes = 0, there = 1;
	int rc = ask_number(s, "STRLEN", object, &bytes);

	if (rc == 0 && bytes == 0)
		rc = ask_number(s, "EXISTS", object, &there);
	if (rc == 0 && there == 0)
		rc = -ENOENT;
	if (rc == 0)
		*ret_bytes = bytes;
	return rc;
}

/* Up to bytes from offset on, at once. */
static int get_piece(struct praas_store_redis *s, const char *object, uint64_t offset,
		     uint8_t *data, size_t bytes, size_t *ret_bytes)
{
	char first[24], last[24];
	const char *words[4] = { "GETRANGE", object, first, last };
	redisReply *reply = NULL;
	int rc;

	(void)snprintf(first, sizeof(first), "%" PRIu64, offset);
	(void)snprintf(last, sizeof(last), "%" PRIu64, offset + bytes - 1);
	rc = praas_redis_store_ask(s, words, 4, &reply);
	if (rc)
		return rc;
	if (reply->type != REDIS_REPLY_STRING || reply->len > bytes) {
		rc = praas_redis_store_fails(s, -EIO,
					     "not the bytes that were asked for");
	} else {
		memcpy(data, reply->str, reply->len);
		*ret_bytes = reply->len;
	}
	freeReplyObject(reply);
	return rc;
}

static int redis_get(struct praas_store *store, const char *key, uint64_t offset,
		     void *data, size_t bytes, size_t *ret_bytes)
{
	struct praas_store_redis *s = praas_store_redis_of(store);
	char object[PRAAS_REDIS_STORE_KEY_MAX + 1];
	size_t got = 0, n = PRAAS_REDIS_STORE_PIECE;
	uint64_t there = 0;
	int rc = praas_redis_store_key(s, key, object);

	if (offset > PRAAS_REDIS_OBJECT_MAX) /* behind every object */
		bytes = 0;
	for (; rc == 0 && got < bytes && n == PRAAS_REDIS_STORE_PIECE; got += n)
		rc = get_piece(s, object, offset + got, (uint8_t *)data + got,
			       praas_min_u64(PRAAS_REDIS_STORE_PIECE, bytes - got), &n);
	/* Did it end there, or is there none, or not any more? */
	if (rc == 0 && (got == 0 || (got < bytes && got >= PRAAS_REDIS_STORE_PIECE))) {
		rc = measure(s, object, &there);
		if (rc == 0 && got > 0 && there != offset + got)
			rc = praas_redis_store_fails(s, -EIO, "an object that changes");
	}
	if (rc)
		return rc;
	store->bytes_read += got;
	*ret_bytes = got;
	return 0;
}

static int redis_stat(struct praas_store *store, const char *key, uint64_t *ret_bytes)
{
	struct praas_store_redis *s = praas_store_redis_of(store);
	char object[PRAAS_REDIS_STORE_KEY_MAX + 1];
	int rc = praas_redis_store_key(s, key, object);

	return rc ? rc : measure(s, object, ret_bytes);
}

static bool same_place(const struct praas_redis_url *a, const struct praas_redis_url *b)
{
	return a->local == b->local && a->tls == b->tls && a->db == b->db &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0 &&
	       strcmp(a->socket, b->socket) == 0 && strcmp(a->user, b->user) == 0;
}

/* Copied by the server: no byte comes here. */
static int redis_share(struct praas_store *store, struct praas_store *from,
		       const char *key)
{
	struct praas_store_redis *s = praas_store_redis_of(store);
	const struct praas_store_redis *f = praas_store_redis_of(from);
	char there[PRAAS_REDIS_STORE_KEY_MAX + 1];
	const struct praas_redis_change share = {
		.op = "share", .key = key, .other = there, .script = &s->changes
	};
	int rc = praas_redis_store_key(f, key, there);

	if (rc)
		return rc;
	if (!same_place(&s->url, &f->url))
		return -EXDEV;
	rc = praas_redis_store_change(s, &share);
	return rc == -EEXIST ? 0 : rc;
}

static int redis_delete(struct praas_store *store, const char *key)
{
	struct praas_store_redis *s = praas_store_redis_of(store);
	const struct praas_redis_change drop = { .op = "drop",
						 .key = key,
						 .script = &s->frees };

	return praas_redis_store_change(s, &drop);
}

static void redis_free(struct praas_store *store)
{
	struct praas_store_redis *s = praas_store_redis_of(store);

	praas_redis_lane_cut(&s->lane);
	praas_redis_tls_context_free(s->way.session.tls);
	praas_redis_script_free(&s->changes);
	praas_redis_script_free(&s->frees);
	free(s);
}

static const struct praas_store_ops redis_ops = {
	.scheme = "redis",
	.put_if_absent = praas_redis_put_if_absent,
	.put = praas_redis_put,
	.get = redis_get,
	.share = redis_share,
	.stat = redis_stat,
	.list = praas_redis_list,
	.delete = redis_delete,
	.free = redis_free,
};

/* ---- addresses ---- */

bool praas_redis_store_is(const char *url)
{
	return praas_redis_url_is(url);
}

static int parse(const char *url, struct praas_redis_url *ret_url, char *ret_text)
{
	int rc = praas_redis_url_parse(url, ret_url, ret_text);

	if (rc == 0 && ret_url->below[0] &&
	    praas_store_path_check(ret_url->below, PRAAS_REDIS_BELOW_MAX)) {
		(void)snprintf(
			ret_text, ERROR_TEXT,
			"below= is names of [A-Za-z0-9._-] joined by \"/\", none "
			"beginning with a dot");
		rc = -EINVAL;
	}
	return rc;
}

int praas_redis_store_check(const char *url, const char **ret_why)
{
	static _Thread_local char why[ERROR_TEXT];
	struct praas_redis_url parsed;
	int rc = parse(url, &parsed, why);

	*ret_why = why;
	if (rc == 0 && strlen(parsed.below) + BELOW_ROOM > PRAAS_REDIS_BELOW_MAX) {
		*ret_why = "below= has more than 320 characters";
		rc = -EINVAL;
	}
	return rc;
}

/* The value of below=, to its end; NULL: there is none. */
static const char *below_end(const char *url)
{
	const char *at = strchr(url, '?');

	for (; at; at = strchr(at + 1, '&'))
		if (!strncmp(at + 1, "below=", 6))
			return at + 1 + strcspn(at + 1, "&");
	return NULL;
}

int praas_redis_store_below(const char *url, const char *parts, char *ret_url,
			    size_t room)
{
	const char *end = below_end(url);
	size_t bytes = end ? (size_t)(end - url) : strlen(url);
	int n = snprintf(ret_url, room, "%.*s%s%s%s", (int)bytes, url,
			 end                ? "/"
			 : strchr(url, '?') ? "&below="
					    : "?below=",
			 parts, url + bytes);

	return n > 0 && (size_t)n < room ? 0 : -ENAMETOOLONG;
}

static void name_all(struct praas_store_redis *s)
{
	const char *prefix = s->url.prefix;

	praas_redis_lane_init(&s->lane);
	(void)snprintf(s->stores, sizeof(s->stores), "{%s}:store:all", prefix);
	(void)snprintf(s->names, sizeof(s->names), "{%s}:store:names:%s", prefix,
		       s->url.below);
	(void)snprintf(s->done, sizeof(s->done), "{%s}:store:done:%s", prefix,
		       s->lane.id);
	(void)snprintf(s->pieces, sizeof(s->pieces), "{%s}:store:pieces:%s", prefix,
		       s->lane.id);
}

int praas_store_redis_open(const char *url, struct praas_store **ret_store)
{
	static const char *const parts[3] = { praas_lua_redis, "", "" };
	struct praas_store_redis *s = calloc(1, sizeof(*s));
	char text[ERROR_TEXT];
	int rc = s ? parse(url, &s->url, text) : -ENOMEM;

	if (rc == 0) {
		name_all(s);
		rc = praas_redis_script_make(&s->changes, PRAAS_REDIS_CHANGES, parts);
	}
	if (rc == 0)
		rc = praas_redis_script_make(&s->frees, PRAAS_REDIS_FREES, parts);
	if (rc) {
		if (s)
			redis_free(&s->base);
		return rc;
	}
	s->way = (struct praas_redis_way){ .session = { .url = &s->url },
					   .joined = on_joined,
					   .user = s };
	s->base.ops = &redis_ops;
	s->base.chunk_bytes = PRAAS_REDIS_CHUNK_BYTES;
	*ret_store = &s->base;
	return 0;
}
