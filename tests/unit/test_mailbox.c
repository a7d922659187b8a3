/* SPDX-License-Identifier: Apache-2.0
 *
 * The mailbox against a list that is searched from the front, over random operations; and the
 * situations that have a rule of their own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/mailbox.h"

#define MODEL_MAX 256u
#define WAITS 16u

static uint64_t released;

static void count_release(struct praas_value *value)
{
	(void)value;
	released++;
}

static struct praas_value make(uint64_t number, uint64_t charge)
{
	return (struct praas_value){ .release = count_release,
				     .cookie = number,
				     .charge = charge };
}

/* What the mailbox should be. */
struct model {
	struct {
		uint64_t source, number;
		uint32_t held; /* as the mailbox numbers it; 0: it is not */
		char key[16];
	} mails[MODEL_MAX];
	uint32_t count;
	struct {
		uint64_t source;
		char key[16];
		struct praas_fn_wait *wait;
	} waits[WAITS];
	uint32_t waits_count;
};

static bool fits(uint64_t wanted, uint64_t source)
{
	return wanted == PRAAS_ANY || wanted == source;
}

/* The oldest match that is not held; count: none. */
static uint32_t model_find(const struct model *m, uint64_t source, const char *key)
{
	uint32_t i = 0;

	while (i < m->count && (m->mails[i].held || strcmp(m->mails[i].key, key) != 0 ||
				!fits(source, m->mails[i].source)))
		i++;
	return i;
}

static int model_remove(struct model *m, uint32_t i)
{
	int number = (int)m->mails[i].number;

	memmove(&m->mails[i], &m->mails[i + 1],
		(m->count - i - 1) * sizeof(m->mails[0]));
	m->count--;
	return number;
}

static int model_take(struct model *m, uint64_t source, const char *key)
{
	uint32_t i = model_find(m, source, key);

	return i < m->count ? model_remove(m, i) : -1;
}

/* The first that waits for it, out of the list; NULL: none. */
static struct praas_fn_wait *model_match(struct model *m, uint64_t source,
					 const char *key)
{
	for (uint32_t i = 0; i < m->waits_count; i++) {
		struct praas_fn_wait *wait = m->waits[i].wait;

		if (strcmp(m->waits[i].key, key) != 0 ||
		    !fits(m->waits[i].source, source))
			continue;
		memmove(&m->waits[i], &m->waits[i + 1],
			(m->waits_count - i - 1) * sizeof(m->waits[0]));
		m->waits_count--;
		return wait;
	}
	return NULL;
}

static void step_put(struct praas_mailbox *box, struct model *m, uint64_t number,
		     const char *key, uint64_t source)
{
	struct praas_value value = make(number, 8);
	struct praas_fn_wait *expected = model_match(m, source, key);
	struct praas_fn_wait *wait = NULL;
	uint32_t held = 0;
	int rc = praas_mailbox_put(box, source, key, (uint32_t)strlen(key), 0, &value,
				   &wait);

	if ((!expected || expected->holds == PRAAS_HOLDS_ALL) &&
	    m->count == MODEL_MAX) {
		assert_int_equal(rc, -ENOBUFS);
		if (expected) { /* it waits on, the last of all: nobody else saw that */
			praas_mailbox_wait_remove(box, expected);
			free(expected);
		}
		return;
	}
	assert_int_equal(rc, 0);
	assert_ptr_equal(wait, expected);
	if (wait) {
		held = wait->held;
		assert_int_equal(wait->message.value.cookie, number);
		assert_int_equal(wait->message.source, source);
		assert_int_equal(held != 0, wait->holds == PRAAS_HOLDS_ALL);
		free(wait);
		if (!held)
			return;
	}
	m->mails[m->count].held = held;
	m->mails[m->count].source = source;
	m->mails[m->count].number = number;
	strcpy(m->mails[m->count++].key, key);
}

static void step_hold(struct praas_mailbox *box, struct model *m, const char *key,
		      uint64_t source)
{
	uint32_t i = model_find(m, source, key);
	uint32_t held = praas_mailbox_hold(box, source, key, (uint32_t)strlen(key));

	assert_int_equal(held != 0, i < m->count);
	if (held == 0)
		return;
	m->mails[i].held = held;
	assert_int_equal(praas_mailbox_held(box, held)->value.cookie,
			 m->mails[i].number);
}

/* One that is held, the first from there on, is let go or dropped. */
static void step_held(struct praas_mailbox *box, struct model *m, uint32_t from,
		      bool drop)
{
	struct praas_fn_wait *expected, *wait = NULL;
	uint32_t i = from;
	uint32_t held;

	while (i < m->count && !m->mails[i].held)
		i++;
	if (i >= m->count)
		return;
	held = m->mails[i].held;
	if (drop) {
		praas_mailbox_drop(box, held);
		(void)model_remove(m, i);
		return;
	}
	m->mails[i].held = 0;
	expected = model_match(m, m->mails[i].source, m->mails[i].key);
	praas_mailbox_let_go(box, held, &wait);
	assert_ptr_equal(wait, expected);
	if (!wait)
		return;
	assert_int_equal(wait->message.value.cookie, m->mails[i].number);
	if (wait->holds == PRAAS_HOLDS_NONE) {
		assert_int_equal(wait->held, 0);
		(void)model_remove(m, i);
	} else {
		assert_int_equal(wait->held, held);
		m->mails[i].held = held;
	}
	free(wait);
}

static void step_take(struct praas_mailbox *box, struct model *m, const char *key,
		      uint64_t source, enum praas_wait_holds holds)
{
	struct praas_message message;
	const struct praas_mail *peek =
		praas_mailbox_peek(box, source, key, (uint32_t)strlen(key));
	int expected = model_take(m, source, key);
	int rc = praas_mailbox_take(box, source, key, (uint32_t)strlen(key), &message);

	assert_int_equal(rc, expected < 0 ? -EAGAIN : 0);
	assert_int_equal(peek != NULL, expected >= 0);
	if (rc == 0)
		assert_int_equal(message.value.cookie, expected);
	if (rc != 0 && m->waits_count < WAITS) {
		struct praas_fn_wait *wait = calloc(1, sizeof(*wait));

		wait->holds = holds;
		assert_int_equal(praas_mailbox_wait(box, source, key,
						    (uint32_t)strlen(key), wait),
				 0);
		m->waits[m->waits_count].source = source;
		m->waits[m->waits_count].wait = wait;
		strcpy(m->waits[m->waits_count++].key, key);
	}
}

static void step_give_up(struct praas_mailbox *box, struct model *m, uint32_t index)
{
	if (index >= m->waits_count)
		return;
	praas_mailbox_wait_remove(box, m->waits[index].wait);
	free(m->waits[index].wait);
	memmove(&m->waits[index], &m->waits[index + 1],
		(m->waits_count - index - 1) * sizeof(m->waits[0]));
	m->waits_count--;
}

/* After any sequence of operations the mailbox does what the list does. */
static void test_mailbox_matches_model(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 20; seed++) {
		struct praas_mailbox box;
		struct model m = { 0 };
		unsigned r = seed * 7919;

		assert_int_equal(praas_mailbox_init(&box, MODEL_MAX, 1 << 20, WAITS),
				 0);
		for (uint64_t n = 0; n < 5000; n++) {
			static const char *const keys[] = { "a", "bb", "ccc",
							    "a-long-key", "e" };
			const char *key = keys[rand_r(&r) % 5];
			uint64_t source = 1 + (uint64_t)rand_r(&r) % 4;
			unsigned what = (unsigned)rand_r(&r) % 16;
			/* Long runs of puts and of takes, so that it is full and empty at times. */
			unsigned puts = n % 1000 < 500 ? 10 : 4;

			if (what < puts)
				step_put(&box, &m, n, key, source);
			else if (what < 12)
				step_take(&box, &m, key,
					  rand_r(&r) % 3 ? source : PRAAS_ANY,
					  (enum praas_wait_holds)(rand_r(&r) % 3));
			else if (what < 13)
				step_hold(&box, &m, key,
					  rand_r(&r) % 3 ? source : PRAAS_ANY);
			else if (what < 15)
				step_held(&box, &m, (uint32_t)rand_r(&r) % MODEL_MAX,
					  n % 3 == 0);
			else
				step_give_up(&box, &m, (uint32_t)rand_r(&r) % WAITS);
			assert_int_equal(box.count, m.count);
			assert_int_equal(box.bytes, 8 * m.count);
			assert_int_equal(box.waits_count, m.waits_count);
		}
		while (m.waits_count)
			step_give_up(&box, &m, 0);
		praas_mailbox_release(&box);
	}
}

static uint64_t take_cookie(struct praas_mailbox *box)
{
	struct praas_message message;

	assert_int_equal(praas_mailbox_take(box, PRAAS_ANY, "k", 1, &message), 0);
	return message.value.cookie;
}

/* What is held is listed and counted, comes back in its place in whatever order it is let go, with its trace,
 * and a receiver that holds gets it without a copy. */
static void test_mailbox_held_come_back_in_place(void **state)
{
	static const unsigned orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 } };
	const uint8_t trace[PRAAS_TRACE_BYTES] = { 7 };
	struct praas_mailbox box;
	struct praas_fn_wait *wait;
	uint8_t data[400];
	uint64_t bytes, count;

	(void)state;
	for (unsigned o = 0; o < 3; o++) {
		uint32_t held[3];

		assert_int_equal(praas_mailbox_init(&box, 10, 1000, 1), 0);
		for (uint64_t i = 0; i < 4; i++) {
			struct praas_value value = make(i, 1);

			assert_int_equal(praas_mailbox_put(&box, i % 2, "k", 1, 0,
							   &value, &wait),
					 0);
			praas_mailbox_trace(&box, NULL, trace);
		}
		for (unsigned i = 0; i < 3; i++)
			held[i] = praas_mailbox_hold(&box, PRAAS_ANY, "k", 1);
		assert_int_equal(praas_mailbox_hold(&box, 0, "k", 1), 0);
		praas_mailbox_list(&box, "", 0, 0, data, sizeof(data), &bytes, &count);
		assert_int_equal(count, 4);
		assert_int_equal(box.count, 4);
		for (unsigned i = 0; i < 3; i++)
			praas_mailbox_let_go(&box, held[orders[o][i]], &wait);
		assert_memory_equal(
			praas_mailbox_trace_of(
				&box, praas_mailbox_peek(&box, PRAAS_ANY, "k", 1)),
			trace, sizeof(trace));
		for (uint64_t i = 0; i < 4; i++)
			assert_int_equal(take_cookie(&box), i);
		praas_mailbox_release(&box);
	}
}

/* Number and bytes have each their own error; what was refused is still the sender's. */
static void test_mailbox_limits(void **state)
{
	struct praas_mailbox box;
	struct praas_value value = make(1, 600);
	struct praas_fn_wait *wait;

	(void)state;
	assert_int_equal(praas_mailbox_init(&box, 2, 1000, 1), 0);
	assert_int_equal(praas_mailbox_put(&box, 1, "k", 1, 0, &value, &wait), 0);
	value = make(2, 600);
	assert_int_equal(praas_mailbox_put(&box, 1, "k", 1, 0, &value, &wait), -ENOSPC);
	assert_int_equal(value.cookie, 2);
	value.charge = 100;
	assert_int_equal(praas_mailbox_put(&box, 1, "k", 1, 0, &value, &wait), 0);
	value = make(3, 0);
	assert_int_equal(praas_mailbox_put(&box, 1, "k", 1, 0, &value, &wait),
			 -ENOBUFS);
	released = 0;
	praas_mailbox_release(&box);
	assert_int_equal(released, 2);
}

/* Lists come in order, by prefix, in pages that meet without a gap. */
static void test_mailbox_list_pages(void **state)
{
	struct praas_mailbox box;
	struct praas_fn_wait *wait;
	uint8_t data[200];
	uint64_t after = 0;
	uint64_t bytes;
	uint64_t count;
	uint64_t seen = 0;

	(void)state;
	assert_int_equal(praas_mailbox_init(&box, 100, 1000, 1), 0);
	for (uint64_t i = 0; i < 60; i++) {
		struct praas_value value = make(i, 1);

		assert_int_equal(praas_mailbox_put(&box, i, i % 3 ? "ab" : "x",
						   i % 3 ? 2 : 1, 0, &value, &wait),
				 0);
	}
	for (;;) {
		praas_mailbox_list(&box, "a", 1, after, data, sizeof(data), &bytes,
				   &count);
		if (count == 0)
			break;
		assert_int_equal(bytes, count * 40);
		for (uint64_t i = 0; i < count; i++) {
			uint64_t words[5];

			memcpy(words, data + i * 40, sizeof(words));
			assert_true(words[0] > after);
			assert_int_equal(words[1], words[0] - 1);
			assert_int_equal(words[3], 2);
			assert_memory_equal(&words[4], "ab\0\0\0\0\0", 8);
			after = words[0];
			seen++;
		}
	}
	assert_int_equal(seen, 40);
	praas_mailbox_release(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mailbox_matches_model),
		cmocka_unit_test(test_mailbox_held_come_back_in_place),
		cmocka_unit_test(test_mailbox_limits),
		cmocka_unit_test(test_mailbox_list_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
