/* SPDX-License-Identifier: Apache-2.0
 *
 * Bearer keys: who may ask for what. A key is "praas_ID_SECRET": the id is public, finds the key and
 * stands in logs; the secret is 256 random bits, told once, of which only a SHA-256 is kept (a
 * random secret needs no slow hash). All keys are in memory, so verifying one touches no disk; a
 * change is on the disk before it counts.
 */
#ifndef PRAAS_CONTROL_TOKENS_H
#define PRAAS_CONTROL_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/records/records.h"
#include "control/tenants/keys.h"
#include "control/tenants/scope.h"

#define PRAAS_TOKEN_ID_BYTES 8u      /* random; hex in the key */
#define PRAAS_TOKEN_SECRET_BYTES 32u /* random; hex in the key */
#define PRAAS_TOKEN_ID_TEXT (2 * PRAAS_TOKEN_ID_BYTES + 1)
#define PRAAS_TOKEN_TEXT                                                               \
	(6 + 2 * PRAAS_TOKEN_ID_BYTES + 1 + 2 * PRAAS_TOKEN_SECRET_BYTES + 1)

/* Scopes that a key may have, as bits 1 << enum praas_scope. */
#define PRAAS_TOKEN_SCOPES                                                             \
	(1u << PRAAS_SCOPE_READ | 1u << PRAAS_SCOPE_INVOKE |                           \
	 1u << PRAAS_SCOPE_DEPLOY | 1u << PRAAS_SCOPE_ADMIN)

/* What is known of a key; nothing in it is secret. */
struct praas_token {
	char id[PRAAS_TOKEN_ID_TEXT];
	char tenant[PRAAS_NAME_MAX + 1];
	char label[PRAAS_NAME_MAX + 1]; /* for people; "" none */
	char app[PRAAS_NAME_MAX + 1]; /* the only one it is for; "" all of the tenant */
	uint32_t scopes;
	uint64_t created_s, expires_s; /* CLOCK_REALTIME; 0: never */
	uint8_t hash[PRAAS_HASH_BYTES];
};

struct praas_tokens;

/* Loads all. records is borrowed until close. 0; -EIO, -EPROTO what is stored is no key; -ENOMEM;
 * ret_text (256 bytes) tells why. */
int praas_tokens_open(struct praas_records *records, struct praas_tokens **ret_tokens,
		      char *ret_text);
void praas_tokens_close(struct praas_tokens *tokens);

/* Makes a key as token says (tenant, label, app, scopes, expires_s; the rest is filled in), stores
 * it, and tells its text, once. 0; -EDQUOT the tenant has too many; -ENOSPC all have; -EIO. */
int praas_tokens_create(struct praas_tokens *tokens, struct praas_token *token,
			char ret_text[PRAAS_TOKEN_TEXT]);
/* From now on it is no key. tenant NULL: of any. 0; -ENOENT; -EIO. */
int praas_tokens_revoke(struct praas_tokens *tokens, const char *tenant,
			const char *id);
/* All of a tenant. 0; -EIO some are left. */
int praas_tokens_revoke_all(struct praas_tokens *tokens, const char *tenant);

/* Is text (of any length and content) a key at now_s? 0, and whose; -EACCES no; -EKEYEXPIRED it was
 * one. The comparison of secrets takes a time that does not depend on them. Any thread, no disk. */
int praas_tokens_verify(struct praas_tokens *tokens, const char *text, uint64_t now_s,
			struct praas_token *ret_token);

/* Whether the key of that id still is one at now_s. Any thread, no disk. */
bool praas_tokens_valid(struct praas_tokens *tokens, const char *id, uint64_t now_s);

/* Of a tenant (NULL: of all), in the order of ids, those after `after` ("": all), at most max.
 * 0; -ENOMEM. */
int praas_tokens_list(struct praas_tokens *tokens, const char *tenant,
		      const char *after, uint32_t max, struct praas_token *ret_tokens,
		      uint32_t *ret_count);

/* As it is stored. For tests; strict. 0; -EPROTO. */
int praas_token_decode(const struct praas_item *item, struct praas_token *ret_token);

#endif
