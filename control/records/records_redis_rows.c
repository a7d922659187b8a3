/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept in Redis, and what is believed of it.
 */
#include "control/records/records_redis.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/names.h"
#include "control/say.h"
#include "internal/base.h"

#define HELD_MAX 1e30 /* byte seconds */
#define WORD_BYTES 80u

/* ---- to a text ---------------------------------------------------------------------- */

void praas_redis_write_app(char ret_text[PRAAS_REDIS_ROW_BYTES],
			   const struct praas_app_record *app)
{
	char id[PRAAS_REDIS_HEX_ID], digest[PRAAS_REDIS_HEX_HASH], every[16] = "";
	char state[24] = "";

	if (app->checkpoint_ms > 0)
		(void)snprintf(every, sizeof(every), "@%u ", app->checkpoint_ms);
	if (app->state_bytes > 0)
		(void)snprintf(state, sizeof(state), "^%" PRIu64 " ", app->state_bytes);
	praas_hex_encode(app->id, sizeof(app->id), id);
	praas_hex_encode(app->digest, sizeof(app->digest), digest);
	(void)snprintf(ret_text, PRAAS_REDIS_ROW_BYTES,
		       "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		       " %u %u %d %d %u %s %s %s %u %" PRIu64 " %s %s%s%s",
		       app->version + 1, app->created_ns, app->memory_bytes,
		       app->bytes_max, app->vcpu_milli, app->concurrency,
		       app->isolation_inline, app->allow_weak_sandbox, app->wait, id,
		       app->tenant, app->name, app->revision, app->deployed_ns, digest,
		       every, state, app->code);
}

void praas_redis_write_process(char ret_text[PRAAS_REDIS_ROW_BYTES],
			       const struct praas_process_record *p)
{
	char app[PRAAS_REDIS_HEX_ID], controller[PRAAS_REDIS_HEX_ID],
		join[PRAAS_REDIS_HEX_HASH];

	praas_hex_encode(p->app, sizeof(p->app), app);
	praas_hex_encode(p->controller, sizeof(p->controller), controller);
	praas_hex_encode(p->join_hash, sizeof(p->join_hash), join);
	(void)snprintf(ret_text, PRAAS_REDIS_ROW_BYTES,
		       "%" PRIu64 " %u %" PRIu64 " %s %s %" PRIu64 " %" PRIu64
		       " %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		       " %d %u %u %u %u %s %s %" PRIu64 " %" PRIu64 " %" PRIu64
		       " %" PRIu64 " %" PRIu64 " %.17g %s%s%s%s",
		       p->version + 1, p->state, p->number, app, p->name, p->created_ns,
		       p->used_ns, p->slot, p->state_bytes, p->changed_ns, p->os_start,
		       p->named_bytes, p->os_pid, p->generation, p->epoch,
		       p->lost_epoch, p->revision, controller, join, p->counted.cpu_ns,
		       p->counted.wall_ns, p->counted.calls, p->counted.bytes_in,
		       p->counted.bytes_out, p->counted.resident, p->node[0] ? "@" : "",
		       p->node, p->node[0] ? " " : "", p->endpoints);
}

void praas_redis_write_memo(char ret_text[PRAAS_REDIS_ROW_BYTES],
			    const struct praas_memo *memo)
{
	char run[PRAAS_REDIS_HEX_ID], request[PRAAS_REDIS_HEX_HASH],
		id[PRAAS_REDIS_HEX_HASH];

	praas_hex_encode(memo->run, sizeof(memo->run), run);
	praas_hex_encode(memo->request, sizeof(memo->request), request);
	praas_hex_encode(memo->id, sizeof(memo->id), id);
	(void)snprintf(ret_text, PRAAS_REDIS_ROW_BYTES,
		       "%020" PRIu64 " %u %u %s %s %s %s", memo->made_ns, memo->status,
		       memo->answer_bytes, run, memo->tenant, request, id);
}

void praas_redis_write_queued(char ret_text[PRAAS_REDIS_ROW_BYTES],
			      const struct praas_queued *m)
{
	char trace[2 * PRAAS_QUEUE_TRACE_BYTES + 1] = "-";

	if (m->traced)
		praas_hex_encode(m->trace, sizeof(m->trace), trace);
	(void)snprintf(ret_text, PRAAS_REDIS_ROW_BYTES,
		       "%" PRIu64 " %u %020" PRIu64 " %u %u %s", m->source, m->epoch,
		       m->number, m->key_bytes, m->key_bytes + m->bytes, trace);
}

static uint64_t most(uint64_t number)
{
	return praas_min_u64(number, PRAAS_USAGE_ROW_MAX);
}

void praas_redis_write_usage(char ret_text[PRAAS_REDIS_ROW_BYTES],
			     const struct praas_process_record *p,
			     const struct praas_app_record *app,
			     const struct praas_usage_row *row)
{
	const struct praas_usage *u = &row->used;

	(void)snprintf(ret_text, PRAAS_REDIS_ROW_BYTES,
		       "%020" PRIu64 " %020" PRIu64 " 0 %" PRIu64 " %s %s %s %" PRIu64
		       " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %.17g %.17g",
		       row->from_ns, row->to_ns, p->number, app->tenant, app->name,
		       p->name, most(u->cpu_ns), most(u->wall_ns), most(u->calls),
		       most(u->bytes_in), most(u->bytes_out), u->resident, u->stored);
}

/* ---- from a text --------------------------------------------------------------------- */

/* Words that were not read yet; which of them was the first that is not what it should be. */
struct words {
	const char *at, *end;
	int count, fault; /* 0: none */
};

static struct words words_of(const redisReply *text)
{
	if (!text || !text->str ||
	    (text->type != REDIS_REPLY_STRING && text->type != REDIS_REPLY_STATUS))
		return (struct words){ .fault = 1 };
	return (struct words){ .at = text->str, .end = text->str + text->len };
}

static void check(struct words *w, bool good)
{
	if (!good && w->fault == 0)
		w->fault = w->count;
}

static void word(struct words *w, char ret_word[WORD_BYTES])
{
	const char *blank = w->at && w->at < w->end
				    ? memchr(w->at, ' ', (size_t)(w->end - w->at))
				    : NULL;
	const char *end = blank ? blank : w->end;
	size_t bytes = w->at && w->at < w->end ? (size_t)(end - w->at) : 0;

	ret_word[0] = 0;
	w->count++;
	if (bytes == 0 || bytes >= WORD_BYTES || memchr(w->at, 0, bytes)) {
		check(w, false);
		return;
	}
	memcpy(ret_word, w->at, bytes);
	ret_word[bytes] = 0;
	w->at = blank ? blank + 1 : w->end;
}

static uint64_t number(struct words *w, uint64_t min, uint64_t max)
{
	char text[WORD_BYTES];
	uint64_t n = 0;

	word(w, text);
	check(w, praas_number_parse(text, max, &n) == 0 && n >= min);
	return n;
}

static int64_t slot_of(struct words *w)
{
	char text[WORD_BYTES];
	uint64_t n = 0;

	word(w, text);
	if (!strcmp(text, "-1"))
		return -1;
	check(w, praas_number_parse(text, INT64_MAX, &n) == 0);
	return (int64_t)n;
}

static double held(struct words *w, double value_max)
{
	char text[WORD_BYTES], *end = text;
	double value;

	word(w, text);
	value = strtod(text, &end);
	check(w, end != text && *end == 0 && value >= 0 && value <= value_max);
	return value >= 0 && value < HELD_MAX ? value : w->fault ? 0 : HELD_MAX;
}

static void hex(struct words *w, uint8_t *ret_data, size_t bytes)
{
	char text[WORD_BYTES];

	word(w, text);
	check(w, praas_hex_decode(text, ret_data, bytes) == 0);
}

static void name(struct words *w, char ret_name[PRAAS_NAME_MAX + 1])
{
	char text[WORD_BYTES];

	word(w, text);
	check(w, praas_name_valid(text));
	ret_name[0] = 0;
	if (w->fault == 0)
		memcpy(ret_name, text, strlen(text) + 1); /* a valid one is short */
}

/* Before what not every row has: "@", or "^". What comes behind that never begins so. */
static bool marked(struct words *w, char mark)
{
	if (!w->at || w->at >= w->end || *w->at != mark)
		return false;
	w->at++;
	return true;
}

/* All that is left; there is at least the blank before it. */
static void rest(struct words *w, char *ret_text, size_t bytes_max)
{
	size_t bytes = w->at ? (size_t)(w->end - w->at) : 0;

	w->count++;
	ret_text[0] = 0;
	if (w->fault || !w->at || bytes >= bytes_max || memchr(w->at, 0, bytes) ||
	    w->at[-1] != ' ') {
		check(w, false);
		return;
	}
	memcpy(ret_text, w->at, bytes);
	ret_text[bytes] = 0;
	w->at = w->end;
}

static int verdict(struct words *w, const char *what, const char *which)
{
	check(w, w->at == w->end);
	if (w->fault == 0)
		return 0;
	praas_say(PRAAS_SAY_ERROR,
		  "records: %s%s%s is damaged: word %d; restore a back-up "
		  "(docs/operations.md)",
		  what, which && praas_name_valid(which) ? " " : "",
		  which && praas_name_valid(which) ? which : "", w->fault);
	return -EPROTO;
}

int praas_redis_read_app(const redisReply *text, struct praas_app_record *ret_app)
{
	struct words w = words_of(text);

	memset(ret_app, 0, sizeof(*ret_app));
	ret_app->version = number(&w, 1, PRAAS_REDIS_NUMBER_MAX);
	ret_app->created_ns = number(&w, 0, INT64_MAX);
	ret_app->memory_bytes = number(&w, 1, PRAAS_LIMIT_MEMORY_BYTES);
	ret_app->bytes_max = number(&w, 0, PRAAS_LIMIT_MEMORY_BYTES);
	ret_app->vcpu_milli = (uint32_t)number(&w, 0, PRAAS_LIMIT_VCPU_MILLI);
	ret_app->concurrency = (uint32_t)number(&w, 0, PRAAS_LIMIT_CONCURRENCY);
	ret_app->isolation_inline = number(&w, 0, 1) != 0;
	ret_app->allow_weak_sandbox = number(&w, 0, 1) != 0;
	ret_app->wait = (uint8_t)number(&w, 0, 2);
	hex(&w, ret_app->id, sizeof(ret_app->id));
	name(&w, ret_app->tenant);
	name(&w, ret_app->name);
	ret_app->revision = (uint32_t)number(&w, 0, UINT32_MAX);
	ret_app->deployed_ns = number(&w, 0, INT64_MAX);
	hex(&w, ret_app->digest, sizeof(ret_app->digest));
	if (marked(&w, '@'))
		ret_app->checkpoint_ms = (uint32_t)number(&w, 1, UINT32_MAX);
	check(&w, praas_checkpoint_every(ret_app->checkpoint_ms) <=
			  PRAAS_LIMIT_CHECKPOINT_MS);
	if (marked(&w, '^'))
		ret_app->state_bytes = number(&w, 1, PRAAS_LIMIT_STATE_BYTES);
	rest(&w, ret_app->code, sizeof(ret_app->code));
	return verdict(&w, "application", ret_app->name);
}

int praas_redis_read_process(const redisReply *text, struct praas_process_record *ret_p)
{
	struct words w = words_of(text);

	memset(ret_p, 0, sizeof(*ret_p));
	ret_p->version = number(&w, 1, PRAAS_REDIS_NUMBER_MAX);
	ret_p->state = (uint8_t)number(&w, PRAAS_LIFE_SWAPPED, PRAAS_LIFE_MIGRATING);
	ret_p->number = number(&w, 1, PRAAS_REDIS_NUMBER_MAX);
	hex(&w, ret_p->app, sizeof(ret_p->app));
	name(&w, ret_p->name);
	ret_p->created_ns = number(&w, 0, INT64_MAX);
	ret_p->used_ns = number(&w, 0, INT64_MAX);
	ret_p->slot = slot_of(&w);
	ret_p->state_bytes = number(&w, 0, INT64_MAX);
	ret_p->changed_ns = number(&w, 0, INT64_MAX);
	ret_p->os_start = number(&w, 0, INT64_MAX);
	ret_p->named_bytes = number(&w, 0, INT64_MAX);
	ret_p->os_pid = (int32_t)number(&w, 0, INT32_MAX);
	ret_p->generation = (uint32_t)number(&w, 0, UINT32_MAX);
	ret_p->epoch = (uint32_t)number(&w, 0, UINT32_MAX);
	ret_p->lost_epoch = (uint32_t)number(&w, 0, UINT32_MAX);
	ret_p->revision = (uint32_t)number(&w, 0, UINT32_MAX);
	hex(&w, ret_p->controller, sizeof(ret_p->controller));
	hex(&w, ret_p->join_hash, sizeof(ret_p->join_hash));
	ret_p->counted.cpu_ns = number(&w, 0, PRAAS_USAGE_MAX);
	ret_p->counted.wall_ns = number(&w, 0, PRAAS_USAGE_MAX);
	ret_p->counted.calls = number(&w, 0, PRAAS_USAGE_MAX);
	ret_p->counted.bytes_in = number(&w, 0, PRAAS_USAGE_MAX);
	ret_p->counted.bytes_out = number(&w, 0, PRAAS_USAGE_MAX);
	ret_p->counted.resident = held(&w, HELD_MAX);
	if (marked(&w, '@'))
		name(&w, ret_p->node);
	rest(&w, ret_p->endpoints, sizeof(ret_p->endpoints));
	return verdict(&w, "process", ret_p->name);
}

int praas_redis_read_item(const redisReply *id, const redisReply *text,
			  struct praas_item *ret_item)
{
	struct words w = words_of(text), of_id = words_of(id);

	memset(ret_item, 0, sizeof(*ret_item));
	name(&of_id, ret_item->id);
	check(&of_id, of_id.at == of_id.end);
	ret_item->version = number(&w, 1, PRAAS_REDIS_NUMBER_MAX);
	rest(&w, ret_item->body, sizeof(ret_item->body));
	check(&w, of_id.fault == 0);
	return verdict(&w, "item", ret_item->id);
}

int praas_redis_read_memo(const redisReply *text, struct praas_memo *ret_memo)
{
	struct words w = words_of(text);

	memset(ret_memo, 0, sizeof(*ret_memo));
	ret_memo->made_ns = number(&w, 0, INT64_MAX);
	ret_memo->status = (uint32_t)number(&w, 0, 599);
	ret_memo->answer_bytes = (uint32_t)number(&w, 0, PRAAS_LIMIT_MEMO_BYTES);
	hex(&w, ret_memo->run, sizeof(ret_memo->run));
	name(&w, ret_memo->tenant);
	hex(&w, ret_memo->request, sizeof(ret_memo->request));
	hex(&w, ret_memo->id, sizeof(ret_memo->id));
	return verdict(&w, "memo", ret_memo->tenant);
}

int praas_redis_read_queued(const redisReply *head, const redisReply *data,
			    struct praas_queued *ret_message)
{
	struct praas_queued *m = ret_message;
	struct words w = words_of(head);
	char trace[WORD_BYTES];
	uint64_t bytes;

	memset(m, 0, sizeof(*m));
	m->source = number(&w, 1, INT64_MAX);
	m->epoch = (uint32_t)number(&w, 1, UINT32_MAX);
	m->number = number(&w, 1, INT64_MAX);
	m->key_bytes = (uint8_t)number(&w, 0, PRAAS_KEY_MAX);
	bytes = number(&w, m->key_bytes, PRAAS_KEY_MAX + PRAAS_LIMIT_MESSAGE_BYTES);
	word(&w, trace);
	m->traced = strcmp(trace, "-") != 0;
	check(&w, !m->traced || !praas_hex_decode(trace, m->trace, sizeof(m->trace)));
	check(&w, bytes - m->key_bytes <= PRAAS_LIMIT_MESSAGE_BYTES);
	check(&w, data && data->len == bytes);
	if (w.fault == 0 && data) {
		m->bytes = (uint32_t)bytes - m->key_bytes;
		m->data = (const uint8_t *)data->str;
	}
	return verdict(&w, "a queued message", NULL);
}

int praas_redis_read_queue_state(const redisReply *reply,
				 struct praas_queue_state *ret_state)
{
	struct praas_queue_state s = { 0 };

	*ret_state = s;
	if (praas_redis_number(praas_redis_text(reply, 1), PRAAS_REDIS_NUMBER_MAX,
			       &s.tail) ||
	    praas_redis_number(praas_redis_text(reply, 2), s.tail, &s.trimmed) ||
	    s.tail - s.trimmed > PRAAS_LIMIT_QUEUED_MESSAGES ||
	    praas_redis_number(praas_redis_text(reply, 3), PRAAS_LIMIT_QUEUED_BYTES,
			       &s.bytes)) {
		praas_say(PRAAS_SAY_ERROR,
			  "records: a backup queue is damaged; restore a back-up "
			  "(docs/operations.md)");
		return -EPROTO;
	}
	s.messages = s.tail - s.trimmed;
	*ret_state = s;
	return 0;
}

int praas_redis_read_usage(const redisReply *text, struct praas_usage_sum *ret_whose,
			   struct praas_usage_row *ret_row)
{
	struct words w = words_of(text);

	*ret_whose = (struct praas_usage_sum){ .slot = -1 };
	ret_row->from_ns = number(&w, 0, INT64_MAX);
	ret_row->to_ns = number(&w, 0, INT64_MAX);
	(void)number(&w, 0, 1);
	ret_whose->number = number(&w, 1, PRAAS_REDIS_NUMBER_MAX);
	name(&w, ret_whose->tenant);
	name(&w, ret_whose->app);
	name(&w, ret_whose->name);
	ret_row->used.cpu_ns = number(&w, 0, PRAAS_USAGE_ROW_MAX);
	ret_row->used.wall_ns = number(&w, 0, PRAAS_USAGE_ROW_MAX);
	ret_row->used.calls = number(&w, 0, PRAAS_USAGE_ROW_MAX);
	ret_row->used.bytes_in = number(&w, 0, PRAAS_USAGE_ROW_MAX);
	ret_row->used.bytes_out = number(&w, 0, PRAAS_USAGE_ROW_MAX);
	ret_row->used.resident = held(&w, INFINITY);
	ret_row->used.stored = held(&w, INFINITY);
	check(&w, ret_row->from_ns < ret_row->to_ns);
	return verdict(&w, "usage of process", ret_whose->name);
}

int praas_redis_read_census(const char *line, size_t bytes,
			    struct praas_usage_sum *ret_sum, uint64_t *ret_created_ns)
{
	struct words w = { .at = line, .end = line + bytes };

	*ret_sum = (struct praas_usage_sum){ .slot = -1 };
	ret_sum->number = number(&w, 1, PRAAS_REDIS_NUMBER_MAX);
	name(&w, ret_sum->tenant);
	name(&w, ret_sum->app);
	name(&w, ret_sum->name);
	ret_sum->state = (uint8_t)number(&w, PRAAS_LIFE_SWAPPED, PRAAS_LIFE_MIGRATING);
	*ret_created_ns = number(&w, 0, INT64_MAX);
	ret_sum->used_ns = number(&w, 0, INT64_MAX);
	ret_sum->slot = slot_of(&w);
	ret_sum->state_bytes = number(&w, 0, INT64_MAX);
	return verdict(&w, "process", ret_sum->name);
}
