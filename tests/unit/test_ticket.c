/* SPDX-License-Identifier: Apache-2.0
 * Tickets: what is issued verifies; nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "transport/mac.h"
#include "transport/ticket.h"

#define NOW 1000000u

static uint8_t key[PRAAS_KEY_BYTES];

static struct praas_ticket ticket_default(void)
{
	struct praas_ticket t = { .kid = 3,
				  .pid = 42,
				  .epoch = 7,
				  .source = UINT64_C(1) << 63 | 9,
				  .rights = PRAAS_RIGHT_ALL,
				  .bytes_max = 1u << 20,
				  .not_before_s = NOW - 10,
				  .expires_s = NOW + 300 };

	memset(t.tenant, 1, sizeof(t.tenant));
	memset(t.app, 2, sizeof(t.app));
	memset(t.controller, 3, sizeof(t.controller));
	memset(t.jti, 4, sizeof(t.jti));
	return t;
}

static struct praas_ticket_expect expect_default(void)
{
	struct praas_ticket_expect e = { .pid = 42, .epoch = 7, .now_s = NOW };

	memset(e.tenant, 1, sizeof(e.tenant));
	memset(e.app, 2, sizeof(e.app));
	memset(e.controller, 3, sizeof(e.controller));
	return e;
}

static int verify(const struct praas_ticket *t, const struct praas_ticket_expect *e)
{
	uint8_t wire[PRAAS_TICKET_BYTES], sk[PRAAS_KEY_BYTES], sk2[PRAAS_KEY_BYTES];
	struct praas_ticket got;
	int rc;

	assert_int_equal(praas_ticket_issue(key, t, wire, sk), 0);
	rc = praas_ticket_verify(key, wire, sizeof(wire), e, &got, sk2);
	if (rc == 0) {
		assert_memory_equal(&got, t, sizeof(got));
		assert_memory_equal(sk, sk2, sizeof(sk));
	}
	return rc;
}

/* All fields travel, and both sides get the same session key. */
static void test_ticket_issued_verifies(void **state)
{
	struct praas_ticket t = ticket_default();
	struct praas_ticket_expect e = expect_default();

	(void)state;
	assert_int_equal(verify(&t, &e), 0);
}

/* Each binding refuses alone, with its own error. */
static void test_ticket_foreign_refused(void **state)
{
	struct praas_ticket t = ticket_default();
	struct praas_ticket_expect e = expect_default();

	(void)state;
	e.tenant[15] ^= 1;
	assert_int_equal(verify(&t, &e), -EACCES);
	e = expect_default();
	e.app[0] ^= 1;
	assert_int_equal(verify(&t, &e), -EACCES);
	e = expect_default();
	e.controller[7] ^= 1;
	assert_int_equal(verify(&t, &e), -EACCES);
	e = expect_default();
	e.pid++;
	assert_int_equal(verify(&t, &e), -EACCES);
	e = expect_default();
	e.epoch++;
	assert_int_equal(verify(&t, &e), -ESTALE);
}

/* Validity ends exactly at the allowed skew, on both ends. */
static void test_ticket_validity_to_the_second(void **state)
{
	struct praas_ticket t = ticket_default();
	struct praas_ticket_expect e = expect_default();

	(void)state;
	e.now_s = t.expires_s + PRAAS_TICKET_SKEW_S;
	assert_int_equal(verify(&t, &e), 0);
	e.now_s++;
	assert_int_equal(verify(&t, &e), -EKEYEXPIRED);
	e.now_s = t.not_before_s - PRAAS_TICKET_SKEW_S;
	assert_int_equal(verify(&t, &e), 0);
	e.now_s--;
	assert_int_equal(verify(&t, &e), -EKEYEXPIRED);
	/* The ends of the number range do not wrap. */
	t.expires_s = UINT64_MAX;
	e.now_s = NOW;
	assert_int_equal(verify(&t, &e), 0);
	t.not_before_s = 0;
	t.expires_s = 0;
	assert_int_equal(verify(&t, &e), -EKEYEXPIRED);
	t.not_before_s = UINT64_MAX;
	t.expires_s = UINT64_MAX;
	assert_int_equal(verify(&t, &e), -EKEYEXPIRED);
}

/* A well-signed ticket that makes no sense is malformed. */
static void test_ticket_malformed_refused(void **state)
{
	struct praas_ticket t = ticket_default();
	struct praas_ticket_expect e = expect_default();
	uint8_t wire[PRAAS_TICKET_BYTES + 1], sk[PRAAS_KEY_BYTES];
	struct praas_ticket got;

	(void)state;
	t.rights = PRAAS_RIGHT_ALL + 1;
	assert_int_equal(verify(&t, &e), -EPROTO);
	t = ticket_default();
	t.expires_s = t.not_before_s - 1;
	assert_int_equal(verify(&t, &e), -EPROTO);
	t = ticket_default();
	assert_int_equal(praas_ticket_issue(key, &t, wire, sk), 0);
	for (size_t n = 0; n <= sizeof(wire); n++) {
		if (n != PRAAS_TICKET_BYTES)
			assert_int_equal(
				praas_ticket_verify(key, wire, n, &e, &got, sk),
				-EPROTO);
	}
	wire[0]++;
	assert_int_equal(
		praas_ticket_verify(key, wire, PRAAS_TICKET_BYTES, &e, &got, sk),
		-EPROTO);
}

/* 100,000 forgeries: every bit flipped, then random changes of one to eight bytes. None passes
 * and none changes the outputs. */
static void test_ticket_forged_refused(void **state)
{
	struct praas_ticket t = ticket_default(), got;
	struct praas_ticket_expect e = expect_default();
	uint8_t wire[PRAAS_TICKET_BYTES], bad[PRAAS_TICKET_BYTES], sk[PRAAS_KEY_BYTES];
	uint64_t random = 88172645463325252u;
	struct praas_mac *mac;
	unsigned accepted = 0;

	(void)state;
	assert_int_equal(praas_mac_new(key, &mac), 0);
	assert_int_equal(praas_ticket_issue(key, &t, wire, sk), 0);
	memset(&got, 0xee, sizeof(got));
	for (unsigned i = 0; i < 100000; i++) {
		memcpy(bad, wire, sizeof(bad));
		if (i < PRAAS_TICKET_BYTES * 8) {
			bad[i / 8] ^= (uint8_t)(1u << i % 8);
		} else {
			for (unsigned n = 1 + i % 8; n > 0; n--) {
				random ^= random << 13;
				random ^= random >> 7;
				random ^= random << 17;
				bad[random % PRAAS_TICKET_BYTES] ^=
					(uint8_t)(1 + (random >> 32) % 255);
			}
			if (memcmp(bad, wire, sizeof(bad)) == 0)
				bad[i % PRAAS_TICKET_BYTES] ^= 1;
		}
		if (praas_ticket_verify_keyed(mac, bad, sizeof(bad), &e, &got, sk) == 0)
			accepted++;
	}
	assert_int_equal(accepted, 0);
	for (size_t i = 0; i < sizeof(got); i++)
		assert_int_equal(((uint8_t *)&got)[i], 0xee);
	assert_int_equal(
		praas_ticket_verify_keyed(mac, wire, sizeof(wire), &e, &got, sk), 0);
	praas_mac_free(mac);
}

/* A controller's key opens its own tickets only. */
static void test_ticket_controller_keys_differ(void **state)
{
	uint8_t root[PRAAS_KEY_BYTES] = { 5 }, a[PRAAS_KEY_BYTES], b[PRAAS_KEY_BYTES];
	uint8_t id[PRAAS_ID_BYTES] = { 1 };
	struct praas_ticket t = ticket_default(), got;
	struct praas_ticket_expect e = expect_default();
	uint8_t wire[PRAAS_TICKET_BYTES], sk[PRAAS_KEY_BYTES];

	(void)state;
	assert_int_equal(praas_ticket_controller_key(root, id, a), 0);
	id[0]++;
	assert_int_equal(praas_ticket_controller_key(root, id, b), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(praas_ticket_issue(a, &t, wire, sk), 0);
	assert_int_equal(praas_ticket_verify(a, wire, sizeof(wire), &e, &got, sk), 0);
	assert_int_equal(praas_ticket_verify(b, wire, sizeof(wire), &e, &got, sk),
			 -EACCES);
}

/* RFC 4231, test case 1 shortened to our key size by its zero padding. */
static void test_mac_known_answer(void **state)
{
	static const uint8_t want[PRAAS_MAC_BYTES] = {
		0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf,
		0xce, 0xaf, 0x0b, 0xf1, 0x2b, 0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83,
		0x3d, 0xa7, 0x26, 0xe9, 0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7
	};
	const struct praas_mac_part parts[] = { { "Hi ", 3 }, { "There", 5 } };
	uint8_t k[PRAAS_MAC_BYTES] = { 0 }, got[PRAAS_MAC_BYTES];
	struct praas_mac *mac;

	(void)state;
	memset(k, 0x0b, 20);
	assert_int_equal(praas_mac_new(k, &mac), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(praas_mac_sign(mac, parts, 2, got), 0);
		assert_memory_equal(got, want, sizeof(want));
	}
	praas_mac_free(mac);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mac_known_answer),
		cmocka_unit_test(test_ticket_issued_verifies),
		cmocka_unit_test(test_ticket_foreign_refused),
		cmocka_unit_test(test_ticket_validity_to_the_second),
		cmocka_unit_test(test_ticket_malformed_refused),
		cmocka_unit_test(test_ticket_forged_refused),
		cmocka_unit_test(test_ticket_controller_keys_differ),
	};

	memset(key, 0x77, sizeof(key));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
