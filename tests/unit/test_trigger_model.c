/* SPDX-License-Identifier: Apache-2.0
 *
 * All ways of a few inputs through the triggers: every sequence of inputs with one of two keys, of
 * give-ups and of time-outs up to a length, beside a model that is a list for each key. Each input is
 * in exactly one run, in the order of arrival, or has given up; nothing is left of those that are over.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/trigger.h"

#define INPUTS 9u /* at once, and in all */
#define STEPS 9u
#define KEYS 2u

static const struct praas_function functions[] = {
	{ .name = "by_key",
	  .trigger = PRAAS_TRIGGER_MULTI_SOURCE,
	  .trigger_count = 3,
	  .trigger_timeout_ns = 100 },
	{ .name = "batch",
	  .trigger = PRAAS_TRIGGER_BATCH,
	  .trigger_count = 2,
	  .trigger_timeout_ns = 100 },
	{ .name = "endless",
	  .trigger = PRAAS_TRIGGER_MULTI_SOURCE,
	  .trigger_count = 2 },
};
#define FUNCTIONS (sizeof(functions) / sizeof(functions[0]))

/* What waits under a key, oldest first: numbers of inputs. */
struct list {
	uint32_t at[INPUTS], count;
	uint64_t due_ns; /* 0: none */
};

struct world {
	struct praas_triggers t;
	uint16_t function;
	struct praas_invocation inv[INPUTS];
	struct praas_buf buf[INPUTS];
	unsigned released[INPUTS];
	struct praas_accumulator *waits[INPUTS];
	struct list lists[KEYS];
	uint64_t now_ns;
	uint32_t made;
};

static void buf_release(struct praas_buf *buf)
{
	++*(unsigned *)buf->owner;
}

static struct list *list_of(struct world *w, uint32_t key)
{
	return &w->lists[functions[w->function].trigger == PRAAS_TRIGGER_BATCH ? 0
									       : key];
}

/* The leader runs with exactly what the list has, and the others are joined to it. */
static void check_fired(struct world *w, struct praas_invocation *leader,
			struct list *l)
{
	const struct praas_invocation *joined;
	uint64_t latest = 0;
	bool endless = false;

	assert_non_null(leader);
	assert_ptr_equal(leader, &w->inv[l->at[0]]);
	assert_int_equal(leader->inputs_count, l->count);
	joined = leader->join;
	for (uint32_t i = 0; i < l->count; i++) {
		struct praas_invocation *inv = &w->inv[l->at[i]];

		assert_ptr_equal(praas_invocation_input(leader, i), &w->buf[l->at[i]]);
		assert_int_equal(w->buf[l->at[i]].head.source, inv->source);
		assert_null(inv->trigger);
		assert_null(inv->inputs[0]);
		latest = praas_max_u64(latest, 1000 + l->at[i]);
		endless = endless || l->at[i] % 3 == 2;
		if (i == 0)
			continue;
		assert_ptr_equal(joined, inv);
		joined = joined->next;
	}
	assert_null(joined);
	assert_int_equal(leader->deadline_ns, endless ? 0 : latest);
	praas_triggers_done(&w->t, leader);
	for (uint32_t i = 0; i < l->count; i++)
		assert_int_equal(w->released[l->at[i]], 1);
	*l = (struct list){ 0 };
}

static void put(struct world *w, uint32_t key)
{
	const struct praas_function *f = &functions[w->function];
	struct praas_invocation *inv = &w->inv[w->made], *fired;
	struct praas_buf *buf = &w->buf[w->made];
	struct praas_accumulator *armed;
	struct list *l = list_of(w, key);

	*buf = (struct praas_buf){ .release = buf_release,
				   .owner = &w->released[w->made] };
	buf->head.key_bytes = 1;
	buf->key[0] = (char)('a' + key);
	*inv = (struct praas_invocation){ .function = w->function,
					  .source = 100 + w->made,
					  .inputs_count = 1 };
	inv->deadline_ns = w->made % 3 == 2 ? 0 : 1000 + w->made;
	inv->inputs[0] = buf;
	l->at[l->count++] = w->made++;
	/* Both keys have one hash: they are told apart by their bytes. */
	praas_triggers_put(&w->t, inv, 7, w->now_ns, &fired, &armed);
	if (l->count == f->trigger_count) {
		assert_int_equal(armed != NULL, l->due_ns != 0 && l->count > 1);
		if (armed)
			armed->timer.position = 0;
		check_fired(w, fired, l);
		return;
	}
	assert_null(fired);
	assert_int_equal(armed != NULL, l->count == 1 && f->trigger_timeout_ns != 0);
	if (!armed)
		return;
	l->due_ns = w->now_ns + f->trigger_timeout_ns;
	assert_int_equal(armed->timer.deadline_ns, l->due_ns);
	armed->timer.position = 1; /* as the heap would */
}

/* The oldest or the newest of a list gives up. */
static bool give_up(struct world *w, uint32_t key, bool newest)
{
	struct list *l = list_of(w, key);
	struct praas_accumulator *empty;
	uint32_t i;

	if (l->count == 0 || (l != &w->lists[key]))
		return false;
	i = l->at[newest ? l->count - 1 : 0];
	if (!newest)
		memmove(l->at, l->at + 1, sizeof(l->at) - sizeof(l->at[0]));
	l->count--;
	empty = praas_triggers_remove(&w->t, &w->inv[i]);
	assert_int_equal(empty != NULL, l->count == 0);
	assert_null(w->inv[i].trigger);
	praas_buf_release(w->inv[i].inputs[0]);
	assert_int_equal(w->released[i], 1);
	if (empty)
		*l = (struct list){ 0 };
	return true;
}

static bool expire(struct world *w, uint32_t key)
{
	struct list *l = list_of(w, key);
	char name[1] = { (char)('a' + key) };
	struct praas_accumulator *a =
		praas_triggers_find(&w->t, w->function, 7, name, 1);

	assert_int_equal(a != NULL, l->count != 0);
	if (l->count == 0 || l->due_ns == 0 || l != &w->lists[key])
		return false;
	w->now_ns = l->due_ns;
	a->timer.position = 0;
	check_fired(w, praas_triggers_expire(&w->t, a), l);
	return true;
}

static int seen(void *user, const struct praas_invocation *inv)
{
	struct world *w = user;
	uint32_t i = (uint32_t)(inv - w->inv);

	assert_true(i < w->made);
	assert_null(w->waits[i]);
	w->waits[i] = inv->trigger;
	return 0;
}

/* What waits is what the lists have. */
static void check_waiting(struct world *w)
{
	const struct praas_triggers_visitor v = { .input = seen, .user = w };
	uint32_t waiting = 0;

	memset(w->waits, 0, sizeof(w->waits));
	assert_int_equal(praas_triggers_each(&w->t, &v), 0);
	for (uint32_t k = 0; k < KEYS; k++) {
		for (uint32_t i = 0; i < w->lists[k].count; i++)
			assert_non_null(w->waits[w->lists[k].at[i]]);
		waiting += w->lists[k].count;
	}
	for (uint32_t i = 0; i < w->made; i++)
		waiting -= w->waits[i] != NULL;
	assert_int_equal(waiting, 0);
}

static bool step(struct world *w, uint32_t what)
{
	if (what < KEYS) {
		put(w, what);
		return true;
	}
	what -= KEYS;
	if (what < 2 * KEYS)
		return give_up(w, what / 2, what % 2);
	return expire(w, what - 2 * KEYS);
}
#define ACTIONS (4u * KEYS)

/* At the end all that waits gives up, and everything is free again: as many as ever fit. */
static void check_end(struct world *w)
{
	uint32_t accumulators = 0;

	for (uint32_t k = 0; k < KEYS; k++)
		while (w->lists[k].count != 0)
			assert_true(give_up(w, k, false));
	for (uint32_t i = 0; i < w->made; i++)
		assert_int_equal(w->released[i], 1);
	assert_int_equal(w->t.waiting, 0);
	for (uint32_t i = w->t.free; i != 0; i = w->t.accumulators[i - 1].next)
		accumulators++;
	assert_int_equal(accumulators, INPUTS);
	for (uint32_t b = 0; b <= w->t.mask; b++)
		assert_int_equal(w->t.buckets[b], 0);
}

/* steps[0 … STEPS). Returns how many of them make sense where they stand. */
static uint32_t run(uint16_t function, const uint32_t *steps)
{
	static struct world w;
	uint32_t n = 0;

	memset(&w, 0, sizeof(w));
	w.function = function;
	w.now_ns = 1;
	assert_int_equal(praas_triggers_init(&w.t, functions, FUNCTIONS, INPUTS), 0);
	while (n < STEPS && step(&w, steps[n])) {
		check_waiting(&w);
		n++;
	}
	check_end(&w);
	praas_triggers_release(&w.t);
	return n;
}

/* The next one that does not begin with the same n + 1 steps. False: there is none. */
static bool advance(uint32_t *steps, uint32_t n)
{
	for (uint32_t i = n + 1; i < STEPS; i++)
		steps[i] = 0;
	for (uint32_t i = n; ++steps[i] == ACTIONS; i--) {
		steps[i] = 0;
		if (i == 0)
			return false;
	}
	return true;
}

static void test_trigger_all_ways(void **state)
{
	uint32_t good = 0;

	(void)state;
	for (uint16_t f = 0; f < FUNCTIONS; f++) {
		uint32_t steps[STEPS] = { 0 }, n;

		do {
			n = run(f, steps);
			good += n == STEPS;
		} while (advance(steps, n < STEPS ? n : STEPS - 1));
	}
	assert_true(good > 100000);
}

/* Those who were joined in a stage before come along, each behind its own. */
static void test_trigger_joins_are_flattened(void **state)
{
	struct praas_triggers t;
	struct praas_invocation inv[4] = { 0 }, *fired;
	struct praas_buf buf[2] = { 0 };
	struct praas_accumulator *armed;
	unsigned released = 0;

	(void)state;
	assert_int_equal(praas_triggers_init(&t, functions, FUNCTIONS, INPUTS), 0);
	inv[0].join = &inv[2];
	inv[1].join = &inv[3];
	for (int i = 0; i < 2; i++) {
		buf[i].release = buf_release;
		buf[i].owner = &released;
		inv[i].function = 2;
		inv[i].inputs_count = 1;
		inv[i].inputs[0] = &buf[i];
		praas_triggers_put(&t, &inv[i], 1, 1, &fired, &armed);
	}
	assert_ptr_equal(fired, &inv[0]);
	assert_ptr_equal(fired->join, &inv[2]);
	assert_ptr_equal(inv[2].next, &inv[1]);
	assert_ptr_equal(inv[1].next, &inv[3]);
	assert_null(inv[3].next);
	assert_null(inv[1].join);
	praas_triggers_done(&t, fired);
	assert_int_equal(released, 2);
	praas_triggers_release(&t);
}

/* A count of nothing, or above the limit, is refused. */
static void test_trigger_counts(void **state)
{
	static const uint32_t bad[] = { 0, PRAAS_INPUTS_MAX + 1, UINT32_MAX };
	struct praas_function f = { .trigger = PRAAS_TRIGGER_BATCH };
	struct praas_triggers t;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f.trigger_count = bad[i];
		assert_int_equal(praas_triggers_init(&t, &f, 1, 8), -EINVAL);
	}
	f.trigger_count = PRAAS_INPUTS_MAX;
	assert_int_equal(praas_triggers_init(&t, &f, 1, 8), 0);
	praas_triggers_release(&t);
	f.trigger = PRAAS_TRIGGER_BATCH + 1;
	assert_int_equal(praas_triggers_init(&t, &f, 1, 8), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trigger_all_ways),
		cmocka_unit_test(test_trigger_joins_are_flattened),
		cmocka_unit_test(test_trigger_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
