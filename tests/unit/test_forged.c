/* SPDX-License-Identifier: Apache-2.0
 *
 * A million credentials that are none: forged, with a bit changed, expired, revoked, of somebody
 * else. Not one is accepted; the good ones they were made of are, before and after.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/names.h"
#include "control/rest/authorise.h"
#include "transport/ticket.h"

#define TRIES 1000000u
#define KEYS 64u
#define NOW_S 2000000000u

static uint64_t seed = 1;

/* xorshift64*: the same on every machine. */
static uint64_t next_random(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545f4914f6cdd1dull;
}

/* ---- keys --------------------------------------------------------------------------- */

struct world {
	struct praas_records *records;
	struct praas_tokens *tokens;
	struct praas_keys keys;
	struct praas_token token[KEYS]; /* one third expired, one third revoked */
	char text[KEYS][PRAAS_TOKEN_TEXT];
};

static bool expired(unsigned i)
{
	return i % 3 == 1;
}

static bool revoked(unsigned i)
{
	return i % 3 == 2;
}

static void make_world(struct world *w)
{
	char words[256];

	assert_int_equal(praas_records_memory_open(&w->records), 0);
	assert_int_equal(praas_tokens_open(w->records, &w->tokens, words), 0);
	praas_hash("administrator's token", 21, w->keys.admin_hash);
	for (unsigned i = 0; i < KEYS; i++) {
		struct praas_token *t = &w->token[i];

		*t = (struct praas_token){ .scopes = PRAAS_TOKEN_SCOPES };
		(void)snprintf(t->tenant, sizeof(t->tenant), "t%u", i % 2);
		if (i % 6 == 0)
			strcpy(t->app, "a");
		t->scopes &= ~(t->app[0] ? 1u << PRAAS_SCOPE_ADMIN : 0u);
		t->expires_s = expired(i) ? NOW_S : NOW_S + 1;
		assert_int_equal(praas_tokens_create(w->tokens, t, w->text[i]), 0);
		if (revoked(i))
			assert_int_equal(praas_tokens_revoke(w->tokens, NULL, t->id),
					 0);
	}
}

static int try_key(struct world *w, const char *text)
{
	static const struct praas_route route = { .scope = PRAAS_SCOPE_READ,
						  .pattern = "/v1/apps/{app}" };
	struct praas_match match = { .route = &route, .app = "a" };
	struct praas_caller caller;
	char header[PRAAS_TOKEN_TEXT + 64];

	(void)snprintf(header, sizeof(header), "Bearer %s", text);
	return praas_authorise(&w->keys, w->tokens, header, &match, NOW_S, &caller);
}

static void check_good(struct world *w)
{
	unsigned good = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		int rc = try_key(w, w->text[i]);

		if (expired(i))
			assert_int_equal(rc, -EKEYEXPIRED);
		else if (revoked(i))
			assert_int_equal(rc, -EACCES);
		else
			assert_int_equal(rc, 0);
		good += rc == 0;
	}
	assert_true(good > KEYS / 4);
	assert_int_equal(try_key(w, "administrator's token"), 0);
}

/* Writes what is no key: kind chooses how. false: it happens to be one. */
static bool forge(struct world *w, uint64_t kind, char *ret_text)
{
	const char *one = w->text[next_random() % KEYS];
	const char *two = w->text[next_random() % KEYS];
	size_t at = next_random() % (PRAAS_TOKEN_TEXT - 1);

	memcpy(ret_text, one, PRAAS_TOKEN_TEXT);
	switch (kind) {
	case 0: /* a bit */
		ret_text[at] = (char)(ret_text[at] ^ 1 << next_random() % 8);
		break;
	case 1: /* a digit */
		ret_text[at] = "0123456789abcdefABCDEF_"[next_random() % 23];
		break;
	case 2: /* the end of another */
		memcpy(ret_text + at, two + at, PRAAS_TOKEN_TEXT - at);
		break;
	case 3: /* too short */
		ret_text[at] = 0;
		break;
	case 4: /* too long */
		strcpy(ret_text + PRAAS_TOKEN_TEXT - 1, "0");
		break;
	case 5: /* the right id, another secret */
		for (size_t i = 23; i < PRAAS_TOKEN_TEXT - 1; i++)
			ret_text[i] = "0123456789abcdef"[next_random() % 16];
		break;
	case 6: /* what is stored instead of the secret */
		praas_hex_encode(w->token[next_random() % KEYS].hash, PRAAS_HASH_BYTES,
				 ret_text + 23);
		break;
	default: /* expired or revoked */
		memcpy(ret_text,
		       w->text[next_random() % (KEYS / 3) * 3 + 1 + next_random() % 2],
		       PRAAS_TOKEN_TEXT);
	}
	for (unsigned i = 0; i < KEYS; i++)
		if (!expired(i) && !revoked(i) && !strcmp(ret_text, w->text[i]))
			return false;
	return true;
}

static void test_forged_keys_none_accepted(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char text[PRAAS_TOKEN_TEXT + 8];
	uint64_t tried = 0, refused = 0;

	(void)state;
	assert_non_null(w);
	make_world(w);
	check_good(w);
	for (uint64_t i = 0; tried < TRIES; i++) {
		if (!forge(w, i % 8, text))
			continue;
		tried++;
		if (try_key(w, text) == 0)
			fail_msg("accepted: %s (kind %u)", text, (unsigned)(i % 8));
		refused++;
	}
	assert_int_equal(refused, TRIES);
	check_good(w);
	praas_tokens_close(w->tokens);
	w->records->ops->close(w->records);
	free(w);
}

/* A key of another application, of too few scopes: known, and not let in. */
static void test_forged_keys_beyond_what_they_give(void **state)
{
	static const struct praas_route of_app = { .scope = PRAAS_SCOPE_DEPLOY,
						   .pattern = "/v1/apps/{app}" };
	static const struct praas_route of_all = { .scope = PRAAS_SCOPE_READ,
						   .pattern = "/v1/apps" };
	static const struct praas_route operators = { .scope = PRAAS_SCOPE_OPERATOR,
						      .pattern = "/v1/tenants" };
	struct world *w = calloc(1, sizeof(*w));
	struct praas_match match = { .route = &of_app, .app = "b" };
	struct praas_caller caller;
	char header[PRAAS_TOKEN_TEXT + 16];

	(void)state;
	assert_non_null(w);
	make_world(w);
	(void)snprintf(header, sizeof(header), "bearer %s", w->text[0]);
	assert_int_equal(
		praas_authorise(&w->keys, w->tokens, header, &match, NOW_S, &caller),
		-ENOENT);
	assert_string_equal(caller.tenant, "t0");
	match = (struct praas_match){ .route = &of_all };
	assert_int_equal(
		praas_authorise(&w->keys, w->tokens, header, &match, NOW_S, &caller),
		-EXDEV);
	(void)snprintf(header, sizeof(header), "Bearer %s", w->text[3]);
	match.route = &operators; /* an admin, but not of "default" */
	assert_int_equal(
		praas_authorise(&w->keys, w->tokens, header, &match, NOW_S, &caller),
		-EPERM);
	assert_int_equal(
		praas_authorise(&w->keys, w->tokens, NULL, &match, NOW_S, &caller),
		-EACCES);
	assert_int_equal(
		praas_authorise(&w->keys, w->tokens, "Basic x", &match, NOW_S, &caller),
		-EACCES);
	praas_tokens_close(w->tokens);
	w->records->ops->close(w->records);
	free(w);
}

/* ---- tickets ------------------------------------------------------------------------ */

static const struct praas_ticket good_ticket = { .pid = 7,
						 .epoch = 3,
						 .source = PRAAS_CLIENT | 9,
						 .rights = PRAAS_RIGHT_ALL,
						 .not_before_s = NOW_S,
						 .expires_s = NOW_S + 300 };

static void expect_of(const struct praas_ticket *t, struct praas_ticket_expect *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->tenant, t->tenant, sizeof(ret->tenant));
	memcpy(ret->app, t->app, sizeof(ret->app));
	memcpy(ret->controller, t->controller, sizeof(ret->controller));
	ret->pid = t->pid;
	ret->epoch = t->epoch;
	ret->now_s = NOW_S;
}

/* A ticket that was issued, with the key of whom, for what this controller is not. */
static void issue_wrong(uint64_t kind, const uint8_t *key, const uint8_t *other_key,
			uint8_t *ret_wire)
{
	uint8_t session[PRAAS_KEY_BYTES];
	struct praas_ticket t = good_ticket;

	switch (kind) {
	case 0:
		key = other_key;
		break;
	case 1:
		t.pid += 1 + next_random() % 1000;
		break;
	case 2:
		t.epoch += 1 + (uint32_t)(next_random() % 1000);
		break;
	case 3:
		t.tenant[next_random() % PRAAS_ID_BYTES] ^= 1;
		break;
	case 4:
		t.app[next_random() % PRAAS_ID_BYTES] ^= 1;
		break;
	case 5:
		t.controller[next_random() % PRAAS_ID_BYTES] ^= 1;
		break;
	case 6:
		t.not_before_s -= 1000;
		t.expires_s = NOW_S - 31 - next_random() % 900;
		break;
	default:
		t.not_before_s = NOW_S + 31 + next_random() % 200;
	}
	assert_int_equal(praas_ticket_issue(key, &t, ret_wire, session), 0);
}

static void test_forged_tickets_none_accepted(void **state)
{
	uint8_t root[PRAAS_KEY_BYTES] = { 1 }, id[PRAAS_ID_BYTES] = { 0 };
	uint8_t key[PRAAS_KEY_BYTES], other_key[PRAAS_KEY_BYTES];
	uint8_t wire[PRAAS_TICKET_BYTES], bad[PRAAS_TICKET_BYTES + 1];
	uint8_t session[PRAAS_KEY_BYTES], again[PRAAS_KEY_BYTES];
	struct praas_ticket_expect expect;
	struct praas_ticket t;

	(void)state;
	assert_int_equal(praas_ticket_controller_key(root, id, key), 0);
	id[0] = 1;
	assert_int_equal(praas_ticket_controller_key(root, id, other_key), 0);
	expect_of(&good_ticket, &expect);
	assert_int_equal(praas_ticket_issue(key, &good_ticket, wire, session), 0);
	for (uint64_t i = 0; i < TRIES; i++) {
		size_t bytes = PRAAS_TICKET_BYTES;

		memcpy(bad, wire, sizeof(wire));
		bad[bytes] = 0;
		if (i % 4 == 0) /* every bit, over and over */
			bad[i / 4 / 8 % bytes] ^= (uint8_t)(1u << i / 4 % 8);
		else if (i % 4 == 1) /* a piece of noise */
			for (size_t k = next_random() % bytes; k < bytes; k++)
				bad[k] = (uint8_t)(bad[k] ^ (1u + next_random() % 255));
		else if (i % 4 == 2)
			bytes = next_random() % 2 ? bytes + 1 : next_random() % bytes;
		else
			issue_wrong(i / 4 % 8, key, other_key, bad);
		if (praas_ticket_verify(key, bad, bytes, &expect, &t, again) == 0)
			fail_msg("accepted: try %llu", (unsigned long long)i);
	}
	assert_int_equal(
		praas_ticket_verify(key, wire, sizeof(wire), &expect, &t, again), 0);
	assert_memory_equal(session, again, sizeof(session));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forged_keys_none_accepted),
		cmocka_unit_test(test_forged_keys_beyond_what_they_give),
		cmocka_unit_test(test_forged_tickets_none_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
