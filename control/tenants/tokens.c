/* SPDX-License-Identifier: Apache-2.0 */
#include "control/tenants/tokens.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>
#include <utlist.h>

#include "control/json.h"
#include "control/names.h"
#include "control/table.h"
#include "internal/base.h"

#define PAGE 256u
#define ERROR_TEXT 256u
#define SECRET_AT (6 + 2 * PRAAS_TOKEN_ID_BYTES + 1) /* in the text */

static const char prefix[] = "praas_";

struct entry {
	struct praas_token token;
	UT_hash_handle hh;
};

struct praas_tokens {
	struct praas_records *records;
	pthread_mutex_t change_lock; /* of whoever stores a change */
	pthread_rwlock_t lock;       /* of entries */
	struct entry *entries;       /* by id */
};

/* ---- as stored ---------------------------------------------------------------------- */

static json_t *scopes_json(uint32_t scopes)
{
	json_t *list = json_array();

	for (unsigned s = PRAAS_SCOPE_ADMIN; s <= PRAAS_SCOPE_READ; s++)
		if (scopes & 1u << s)
			(void)json_array_append_new(
				list,
				json_string(praas_scope_text((enum praas_scope)s)));
	return list;
}

static int encode(const struct praas_token *t, struct praas_item *ret_item)
{
	char hash[2 * PRAAS_HASH_BYTES + 1];
	json_t *body;
	size_t n = 0;

	praas_hex_encode(t->hash, sizeof(t->hash), hash);
	body = json_pack("{s:s,s:s,s:s,s:o,s:I,s:I,s:s}", "tenant", t->tenant, "label",
			 t->label, "app", t->app, "scopes", scopes_json(t->scopes),
			 "created_s", (json_int_t)t->created_s, "expires_s",
			 (json_int_t)t->expires_s, "hash", hash);
	*ret_item = (struct praas_item){ 0 };
	memcpy(ret_item->id, t->id, sizeof(t->id));
	if (body)
		n = json_dumpb(body, ret_item->body, sizeof(ret_item->body) - 1,
			       JSON_COMPACT);
	json_decref(body);
	return n > 0 && n < sizeof(ret_item->body) ? 0 : -EIO;
}

static int take_scopes(const json_t *list, uint32_t *ret_scopes)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		enum praas_scope scope;

		if (praas_scope_parse(json_string_value(json_array_get(list, i)),
				      &scope))
			return -EPROTO;
		*ret_scopes |= 1u << scope;
	}
	return *ret_scopes ? 0 : -EPROTO;
}

static int take_name(const json_t *body, const char *member, bool empty,
		     char ret_name[PRAAS_NAME_MAX + 1])
{
	const char *text = json_string_value(json_object_get(body, member));

	if (!text || (!(empty && !*text) && !praas_name_valid(text)))
		return -EPROTO;
	memcpy(ret_name, text, strlen(text) + 1);
	return 0;
}

static int decode_body(const json_t *body, struct praas_token *t)
{
	static const char *const known[] = { "tenant",    "label",     "app",  "scopes",
					     "created_s", "expires_s", "hash", NULL };
	const char *hash = json_string_value(json_object_get(body, "hash"));
	struct praas_json_error error;

	if (!praas_json_known((json_t *)(uintptr_t)body, known, &error) ||
	    take_name(body, "tenant", false, t->tenant) ||
	    take_name(body, "label", true, t->label) ||
	    take_name(body, "app", true, t->app) ||
	    take_scopes(json_object_get(body, "scopes"), &t->scopes) ||
	    !praas_json_number(body, "created_s", 0, INT64_MAX, &t->created_s,
			       &error) ||
	    !praas_json_number(body, "expires_s", 0, INT64_MAX, &t->expires_s,
			       &error) ||
	    !hash || praas_hex_decode(hash, t->hash, sizeof(t->hash)))
		return -EPROTO;
	return 0;
}

int praas_token_decode(const struct praas_item *item, struct praas_token *ret_token)
{
	struct praas_token t = { 0 };
	struct praas_json_error error;
	uint8_t id[PRAAS_TOKEN_ID_BYTES];
	json_t *body;
	int rc = -EPROTO;

	if (praas_hex_decode(item->id, id, sizeof(id)))
		return -EPROTO;
	body = praas_json_parse(item->body, strlen(item->body), &error);
	if (body)
		rc = decode_body(body, &t);
	json_decref(body);
	if (rc)
		return rc;
	memcpy(t.id, item->id, sizeof(t.id));
	*ret_token = t;
	return 0;
}

/* ---- the table ---------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static int add(struct praas_tokens *tokens, const struct praas_token *token)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->token = *token;
	(void)pthread_rwlock_wrlock(&tokens->lock);
	HASH_ADD_STR(tokens->entries, token.id, e);
	(void)pthread_rwlock_unlock(&tokens->lock);
	if (PRAAS_TABLE_HAS(hh, e))
		return 0;
	free(e);
	return -ENOMEM;
}

static int load(struct praas_tokens *tokens, char *ret_text)
{
	struct praas_items_ops const *items = tokens->records->items;
	struct praas_item *page = calloc(PAGE, sizeof(*page));
	struct praas_token token;
	char after[PRAAS_NAME_MAX + 1] = "";
	uint32_t n = PAGE;
	int rc = page ? 0 : -ENOMEM;

	while (rc == 0 && n == PAGE) {
		rc = items->list(tokens->records, PRAAS_ITEM_TOKEN, after, PAGE, page,
				 &n);
		for (uint32_t i = 0; rc == 0 && i < n; i++) {
			rc = praas_token_decode(&page[i], &token);
			if (rc)
				(void)snprintf(ret_text, ERROR_TEXT,
					       "the record of key %s is damaged; "
					       "restore a back-up",
					       page[i].id);
			else
				rc = add(tokens, &token);
		}
		if (rc == 0 && n > 0)
			memcpy(after, page[n - 1].id, sizeof(after));
	}
	free(page);
	if (rc && !*ret_text)
		(void)snprintf(ret_text, ERROR_TEXT, "keys cannot be read: %s",
			       strerror(-rc));
	return rc;
}

int praas_tokens_open(struct praas_records *records, struct praas_tokens **ret_tokens,
		      char *ret_text)
{
	struct praas_tokens *tokens = calloc(1, sizeof(*tokens));
	int rc;

	ret_text[0] = 0;
	if (!tokens)
		return -ENOMEM;
	tokens->records = records;
	(void)pthread_mutex_init(&tokens->change_lock, NULL);
	(void)pthread_rwlock_init(&tokens->lock, NULL);
	rc = load(tokens, ret_text);
	if (rc)
		praas_tokens_close(tokens);
	else
		*ret_tokens = tokens;
	return rc;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
void praas_tokens_close(struct praas_tokens *tokens)
{
	struct entry *e, *next;

	if (!tokens)
		return;
	HASH_ITER(hh, tokens->entries, e, next)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL() moved the head on */
		HASH_DEL(tokens->entries, e);
		free(e);
	}
	(void)pthread_rwlock_destroy(&tokens->lock);
	(void)pthread_mutex_destroy(&tokens->change_lock);
	free(tokens);
}

/* 0; -EDQUOT, -ENOSPC. change_lock held: nobody adds meanwhile. */
static int check_room(struct praas_tokens *tokens, const char *tenant)
{
	const struct entry *e, *next;
	unsigned of_tenant = 0, all;

	(void)pthread_rwlock_rdlock(&tokens->lock);
	all = HASH_COUNT(tokens->entries);
	HASH_ITER(hh, tokens->entries, e, next)
	{
		of_tenant += strcmp(e->token.tenant, tenant) == 0;
	}
	(void)pthread_rwlock_unlock(&tokens->lock);
	if (of_tenant >= PRAAS_LIMIT_TOKENS_PER_TENANT)
		return -EDQUOT;
	return all >= PRAAS_LIMIT_TOKENS ? -ENOSPC : 0;
}

static void make_text(struct praas_token *token, char ret_text[PRAAS_TOKEN_TEXT])
{
	uint8_t id[PRAAS_TOKEN_ID_BYTES], secret[PRAAS_TOKEN_SECRET_BYTES];
	char *at = ret_text + sizeof(prefix) - 1;

	praas_random(id, sizeof(id));
	praas_random(secret, sizeof(secret));
	memcpy(ret_text, prefix, sizeof(prefix) - 1);
	praas_hex_encode(id, sizeof(id), at);
	memcpy(token->id, at, sizeof(token->id));
	at[2 * sizeof(id)] = '_';
	praas_hex_encode(secret, sizeof(secret), ret_text + SECRET_AT);
	praas_hash(ret_text + SECRET_AT, 2 * sizeof(secret), token->hash);
	explicit_bzero(secret, sizeof(secret));
}

int praas_tokens_create(struct praas_tokens *tokens, struct praas_token *token,
			char ret_text[PRAAS_TOKEN_TEXT])
{
	struct praas_item item;
	int rc;

	token->created_s = (uint64_t)time(NULL);
	make_text(token, ret_text);
	rc = encode(token, &item);
	(void)pthread_mutex_lock(&tokens->change_lock);
	if (rc == 0)
		rc = check_room(tokens, token->tenant);
	if (rc == 0)
		rc = tokens->records->items->put(tokens->records, PRAAS_ITEM_TOKEN,
						 &item);
	if (rc == 0) {
		rc = add(tokens, token);
		if (rc) /* else it would be one after a restart */
			(void)tokens->records->items->take_out(
				tokens->records, PRAAS_ITEM_TOKEN, token->id);
	}
	(void)pthread_mutex_unlock(&tokens->change_lock);
	if (rc)
		explicit_bzero(ret_text, PRAAS_TOKEN_TEXT);
	return rc == -EEXIST ? -EIO : rc; /* 64 random bits twice */
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct entry *find(struct praas_tokens *tokens, const char *id)
{
	struct entry *e;

	HASH_FIND_STR(tokens->entries, id, e);
	return e;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
int praas_tokens_revoke(struct praas_tokens *tokens, const char *tenant, const char *id)
{
	struct entry *e;
	int rc = -ENOENT;

	(void)pthread_mutex_lock(&tokens->change_lock);
	e = find(tokens, id); /* only we change the table */
	if (e && (!tenant || !strcmp(e->token.tenant, tenant)))
		rc = tokens->records->items->take_out(tokens->records, PRAAS_ITEM_TOKEN,
						      id);
	if (rc == 0) {
		(void)pthread_rwlock_wrlock(&tokens->lock);
		HASH_DEL(tokens->entries, e);
		(void)pthread_rwlock_unlock(&tokens->lock);
		free(e);
	}
	(void)pthread_mutex_unlock(&tokens->change_lock);
	return rc;
}

int praas_tokens_revoke_all(struct praas_tokens *tokens, const char *tenant)
{
	struct praas_token one;
	uint32_t count;
	int rc;

	while ((rc = praas_tokens_list(tokens, tenant, "", 1, &one, &count)) == 0 &&
	       count > 0) {
		rc = praas_tokens_revoke(tokens, tenant, one.id);
		if (rc && rc != -ENOENT)
			break;
	}
	return rc;
}

static bool expired(const struct praas_token *token, uint64_t now_s)
{
	return token->expires_s && now_s >= token->expires_s;
}

int praas_tokens_verify(struct praas_tokens *tokens, const char *text, uint64_t now_s,
			struct praas_token *ret_token)
{
	static const struct praas_token nobody; /* its hash is of no secret */
	char id[PRAAS_TOKEN_ID_TEXT] = "";
	uint8_t hash[PRAAS_HASH_BYTES];
	struct praas_token token;
	const struct entry *e;
	bool found, same;

	if (strnlen(text, PRAAS_TOKEN_TEXT) != PRAAS_TOKEN_TEXT - 1 ||
	    memcmp(text, prefix, sizeof(prefix) - 1) != 0 || text[SECRET_AT - 1] != '_')
		return -EACCES;
	memcpy(id, text + sizeof(prefix) - 1, sizeof(id) - 1);
	praas_hash(text + SECRET_AT, PRAAS_TOKEN_TEXT - 1 - SECRET_AT, hash);
	(void)pthread_rwlock_rdlock(&tokens->lock);
	e = find(tokens, id);
	found = e != NULL;
	token = found ? e->token : nobody;
	(void)pthread_rwlock_unlock(&tokens->lock);
	same = praas_equal_constant(hash, token.hash, sizeof(hash));
	if (!found || !same)
		return -EACCES;
	if (expired(&token, now_s))
		return -EKEYEXPIRED;
	*ret_token = token;
	return 0;
}

bool praas_tokens_valid(struct praas_tokens *tokens, const char *id, uint64_t now_s)
{
	const struct entry *e;
	bool valid;

	(void)pthread_rwlock_rdlock(&tokens->lock);
	e = find(tokens, id);
	valid = e && !expired(&e->token, now_s);
	(void)pthread_rwlock_unlock(&tokens->lock);
	return valid;
}

static int by_id(const void *a, const void *b)
{
	const struct praas_token *x = a, *y = b;

	return strcmp(x->id, y->id);
}

int praas_tokens_list(struct praas_tokens *tokens, const char *tenant,
		      const char *after, uint32_t max, struct praas_token *ret_tokens,
		      uint32_t *ret_count)
{
	struct praas_token *all;
	const struct entry *e, *next;
	uint32_t n = 0;

	(void)pthread_rwlock_rdlock(&tokens->lock);
	all = calloc(HASH_COUNT(tokens->entries) + 1u, sizeof(*all));
	HASH_ITER(hh, tokens->entries, e, next)
	{
		if (all && (!tenant || !strcmp(e->token.tenant, tenant)) &&
		    strcmp(e->token.id, after) > 0)
			all[n++] = e->token;
	}
	(void)pthread_rwlock_unlock(&tokens->lock);
	if (!all)
		return -ENOMEM;
	qsort(all, n, sizeof(*all), by_id);
	n = n < max ? n : max;
	memcpy(ret_tokens, all, n * sizeof(*all));
	free(all);
	*ret_count = n;
	return 0;
}
