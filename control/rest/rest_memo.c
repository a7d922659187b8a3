/* SPDX-License-Identifier: Apache-2.0
 *
 * Idempotency-Key, as requests see it: what a request is, what of its answer is kept, and how it is
 * told again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/json.h"
#include "control/records/memo.h"
#include "control/rest/request.h"
#include "control/tenants/keys.h"

#define RULE "1 to 255 visible characters; a new one for each thing to be done"

/* Those that make a difference to what is done. */
static const char *const told[] = { "Praas-Pid", "Praas-Key", "Praas-Deadline-Ms" };

static void refuse(struct praas_request *rq, int status, const char *code,
		   const char *hint, const char *message)
{
	if (status == 503)
		praas_reply_header(rq, "Retry-After", "60");
	praas_reply_error(rq, status, code, hint, "%s", message);
}

static bool key_good(const char *key)
{
	size_t n = strlen(key);

	for (const char *c = key; *c; c++)
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
			return false;
	return n > 0 && n <= PRAAS_LIMIT_MEMO_KEY_BYTES;
}

/* The same for the same route, path, headers and body. */
static void hash_request(const struct praas_request *rq,
			 uint8_t ret_hash[PRAAS_RECORD_HASH_BYTES])
{
	const struct praas_match *m = &rq->match;
	uint8_t body[PRAAS_RECORD_HASH_BYTES], all[PRAAS_RECORD_HASH_BYTES];
	const char *texts[] = { m->route->id, m->app, m->pid, m->fn, m->id,
				m->key,       NULL,   NULL,   NULL };

	praas_hash(rq->body ? rq->body : "", rq->body_bytes, all);
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
		texts[6 + i] = praas_request_header(rq, told[i]);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		uint8_t two[2 * PRAAS_RECORD_HASH_BYTES];

		/* Each hashed alone: where one ends and the next begins is not in doubt. */
		praas_hash(texts[i] ? texts[i] : "", texts[i] ? strlen(texts[i]) : 0,
			   body);
		memcpy(two, all, sizeof(all));
		memcpy(two + sizeof(all), body, sizeof(body));
		praas_hash(two, sizeof(two), all);
	}
	memcpy(ret_hash, all, sizeof(all));
}

/* ---- what is kept of an answer ------------------------------------------------------ */

/* {"type": …, "headers": {…}} without what is told once, a zero, the body. */
static json_t *head_json(const struct praas_request *rq)
{
	json_t *headers = json_object();

	for (unsigned i = 0; i < rq->headers_count; i++)
		(void)json_object_set_new(headers, rq->headers[i].name,
					  json_string(rq->headers[i].value));
	return json_pack("{s:s?,s:o}", "type", rq->content_type, "headers", headers);
}

/* Without tickets and keys: they are secrets that are told once and never stored. NULL: as it is.
 * false: no memory to tell. */
static bool without_secrets(const struct praas_request *rq, char **ret_text)
{
	bool good = true;
	json_t *object;

	*ret_text = NULL;
	if (!rq->content_type || strcmp(rq->content_type, "application/json") != 0)
		return true;
	object = json_loadb(rq->reply, rq->reply_bytes, 0, NULL);
	if (!object)
		return false; /* it is ours, and JSON */
	if (json_object_get(object, "ticket") || json_object_get(object, "token")) {
		(void)json_object_del(object, "ticket");
		(void)json_object_del(object, "token");
		*ret_text = praas_json_dump(object);
		good = *ret_text != NULL;
	}
	json_decref(object);
	return good;
}

/* false: it is too large, or there is no memory: only that it was answered is kept. */
static bool pack_answer(const struct praas_request *rq, struct praas_memo *memo)
{
	json_t *head = head_json(rq);
	char *head_text = head ? praas_json_dump(head) : NULL, *clean;
	bool safe = without_secrets(rq, &clean);
	size_t head_bytes = head_text ? strlen(head_text) + 1 : 0;
	size_t body_bytes = clean ? strlen(clean) : rq->reply_bytes;

	json_decref(head);
	if (safe && head_text && head_bytes + body_bytes <= PRAAS_LIMIT_MEMO_BYTES)
		memo->answer = malloc(head_bytes + body_bytes);
	if (memo->answer) {
		memcpy(memo->answer, head_text, head_bytes);
		if (body_bytes > 0)
			memcpy((char *)memo->answer + head_bytes,
			       clean ? clean : rq->reply, body_bytes);
		memo->answer_bytes = (uint32_t)(head_bytes + body_bytes);
	}
	free(head_text);
	free(clean);
	return memo->answer != NULL;
}

/* Sends it again. */
static void replay(struct praas_request *rq, struct praas_memo *memo)
{
	const char *text = memo->answer, *name;
	size_t head_bytes = text ? strnlen(text, memo->answer_bytes) + 1 : 0;
	json_t *head, *value;
	const char *type;
	char *body;

	if (head_bytes == 0 || head_bytes > memo->answer_bytes) {
		refuse(rq, 409, "outcome_not_kept", "it was done: do not do it again",
		       "the answer was too large to be kept for the key");
		return;
	}
	head = json_loads(text, 0, NULL);
	json_object_foreach(json_object_get(head, "headers"), name, value)
		praas_reply_header_copy(rq, name, json_string_value(value));
	praas_reply_header(rq, "Praas-Replayed", "true");
	type = json_string_value(json_object_get(head, "type"));
	body = malloc(memo->answer_bytes);
	if (body)
		memcpy(body, text + head_bytes, memo->answer_bytes - head_bytes);
	if (!body || !type) {
		praas_reply_empty(rq, body ? (int)memo->status : 500);
		free(body);
	} else if (strcmp(type, "application/json") != 0) {
		praas_reply_raw(rq, (int)memo->status, body,
				memo->answer_bytes - head_bytes);
	} else {
		praas_reply_stored_json(rq, (int)memo->status, body,
					memo->answer_bytes - head_bytes);
	}
	json_decref(head);
}

/* ---- a request ---------------------------------------------------------------------- */

static void tell_other(struct praas_request *rq, int rc, struct praas_memo *there)
{
	switch (rc) {
	case -EEXIST:
		replay(rq, there);
		break;
	case -EKEYREJECTED:
		refuse(rq, 422, "key_reused", RULE,
		       "the Idempotency-Key was used for another request");
		break;
	case -EINPROGRESS:
		refuse(rq, 409, "in_progress", "wait, then ask again",
		       "a request with that Idempotency-Key is under way");
		break;
	case -EUNATCH:
		refuse(rq, 409, "outcome_unknown",
		       "look what is there, and use a new key",
		       "the service ended while it was under way: it may or may not "
		       "have happened");
		break;
	case -EDQUOT:
		refuse(rq, 503, "limit_outcomes", "outcomes are kept for a day",
		       "the tenant keeps too many outcomes");
		break;
	default:
		praas_reply_unstored(rq, rc, "the outcome cannot be kept");
	}
}

bool praas_request_recall(struct praas_request *rq)
{
	const char *key = rq->match.route->effect == PRAAS_READS
				  ? NULL
				  : praas_request_header(rq, "Idempotency-Key");
	struct praas_memo there;
	struct timespec now;
	int rc;

	if (!key)
		return false;
	if (!key_good(key)) {
		refuse(rq, 400, "invalid_header", RULE, "Idempotency-Key is not one");
		return true;
	}
	memset(&rq->memo, 0, sizeof(rq->memo));
	memcpy(rq->memo.tenant, rq->caller.tenant, sizeof(rq->memo.tenant));
	praas_memo_id(rq->caller.tenant, key, rq->memo.id);
	hash_request(rq, rq->memo.request);
	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	rc = praas_memo_begin(
		rq->service->memos, &rq->memo, rq->match.route->effect == PRAAS_SETS,
		(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, &there);
	rq->remembers = rc == 0;
	if (rc)
		tell_other(rq, rc, &there);
	free(there.answer);
	return rc != 0;
}

/* It was refused before anything was done, or may be done again without harm: then the key is as
 * new, and a retry is not told for a day what was wrong for a moment. */
static bool worth_keeping(const struct praas_request *rq)
{
	if (rq->status < 400)
		return true;
	if (rq->match.route->effect == PRAAS_SETS)
		return false;
	return rq->status == 409 || rq->status == 422 ||
	       (rq->status >= 500 && rq->status != 503);
}

bool praas_request_remember(struct praas_request *rq)
{
	bool whole = false;

	rq->remembers = false;
	if (worth_keeping(rq)) {
		rq->memo.status = (uint32_t)rq->status;
		whole = pack_answer(rq, &rq->memo);
	}
	if (praas_memo_end(rq->service->memos, &rq->memo))
		whole = false;
	free(rq->memo.answer);
	rq->memo.answer = NULL;
	return whole;
}
