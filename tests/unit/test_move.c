/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "controller/sm_move.h"

/* Both ends of a move, the one slot that they write, and the connection between them. */
enum { NOBODY, SOURCE, DESTINATION };

struct world {
	struct praas_move m;
	struct praas_take t;
	int slot; /* whose entry is in it */
	bool started, sending, sent, keeping, reading, loading, putting;
	bool delivered, whole; /* the destination may have, has had, its last part */
	bool serves_on, fenced, moved, serves, failed;
};

static void source_did(struct world *w, bool any, const struct praas_move_action *a)
{
	if (!any)
		return;
	assert_false(w->serves_on || w->fenced || w->moved);
	switch (a->kind) {
	case PRAAS_MOVE_SEND:
		w->sending = true;
		break;
	case PRAAS_MOVE_KEEP:
		w->keeping = true;
		break;
	case PRAAS_MOVE_DONE:
		w->moved = a->rc == 0;
		w->fenced = a->rc == -ESTALE;
		w->serves_on = !w->moved && !w->fenced;
		break;
	}
	if (w->moved)
		assert_int_equal(w->slot, DESTINATION);
	/* Nobody else can have it any more. */
	if (w->serves_on)
		assert_true(w->slot == SOURCE || !w->delivered);
}

static void source(struct world *w, enum praas_move_event_kind kind, int rc,
		   uint32_t epoch)
{
	struct praas_move_event e = { .kind = kind, .rc = rc, .epoch = epoch };
	struct praas_move_action a = { 0 };

	source_did(w, praas_move_step(&w->m, &e, &a), &a);
}

static void destination(struct world *w, struct praas_take_event e)
{
	struct praas_take_action a = { 0 };

	if (!praas_take_step(&w->t, &e, &a))
		return;
	assert_false(w->serves || w->failed);
	switch (a.kind) {
	case PRAAS_TAKE_READ_LOG:
		w->reading = true;
		break;
	case PRAAS_TAKE_LOAD:
		w->loading = true;
		break;
	case PRAAS_TAKE_PUT_ACT:
		w->putting = true;
		break;
	case PRAAS_TAKE_SERVE:
		assert_int_equal(w->slot, DESTINATION);
		w->serves = true;
		break;
	case PRAAS_TAKE_FAIL:
		w->failed = true;
		break;
	}
}

/* A try to get the slot: it arrives or not, and its answer or not. */
static int try_slot(struct world *w, int who, bool arrives, bool answered)
{
	if (arrives && w->slot == NOBODY)
		w->slot = who;
	if (!answered)
		return -EIO;
	return w->slot == who ? 0 : -ESTALE;
}

static bool take_flag(bool *flag)
{
	bool was = *flag;

	*flag = false;
	return was;
}

static void source_event(struct world *w, unsigned choice)
{
	switch (choice) {
	case 0:
	case 1:
		if (!take_flag(&w->sending))
			return;
		w->delivered = choice == 0;
		source(w, PRAAS_MOVE_SENT, choice ? -EPIPE : 0, 0);
		break;
	case 2:
		source(w, PRAAS_MOVE_LOST, -ETIMEDOUT, 0);
		break;
	case 3:
		if (w->serves)
			source(w, PRAAS_MOVE_TAKEN, 0, 0);
		break;
	default:
		if (!take_flag(&w->keeping))
			return;
		source(w, PRAAS_MOVE_KEEP_DONE,
		       try_slot(w, SOURCE, choice != 6, choice == 4),
		       w->slot == DESTINATION ? 5 : 4);
		break;
	}
}

static void destination_event(struct world *w, unsigned choice)
{
	switch (choice) {
	case 7:
		if (w->delivered)
			destination(w,
				    (struct praas_take_event){ .kind = PRAAS_TAKE_STATE,
							       .epoch = 4,
							       .slot = 9 });
		break;
	case 8:
		if (take_flag(&w->reading))
			destination(w, (struct praas_take_event){
					       .kind = PRAAS_TAKE_LOG_READ,
					       .epoch = 4,
					       .slot = w->slot == NOBODY ? 9 : 10 });
		break;
	case 9:
	case 10:
		if (take_flag(&w->loading))
			destination(w, (struct praas_take_event){
					       .kind = PRAAS_TAKE_LOADED,
					       .rc = choice == 10 ? -EPROTO : 0 });
		break;
	default:
		if (take_flag(&w->putting))
			destination(w,
				    (struct praas_take_event){
					    .kind = PRAAS_TAKE_ACT_PUT,
					    .rc = try_slot(w, DESTINATION, choice != 13,
							   choice == 11) });
		break;
	}
}

#define CHOICES 14u

static void event(struct world *w, unsigned choice)
{
	if (choice < 7)
		source_event(w, choice);
	else
		destination_event(w, choice);
	assert_false(w->serves_on && w->serves);
}

static struct world begin(void)
{
	struct world w = { 0 };

	source(&w, PRAAS_MOVE_START, 0, 5);
	destination(&w,
		    (struct praas_take_event){ .kind = PRAAS_TAKE_START, .epoch = 5 });
	return w;
}

/* Random orders of all that can happen: never do both go on, and when all is reported one of them does. */
static void test_move_orders(void **state)
{
	unsigned kept = 0, moved = 0, fenced = 0;
	uint64_t seed = 88172645463325252u;

	(void)state;
	for (unsigned run = 0; run < 300000; run++) {
		static const unsigned good[] = { 0, 7, 8, 9, 11, 3, 4 };
		struct world w = begin();

		for (unsigned i = 0; i < run % 30; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			event(&w, (unsigned)(seed >> 33) % CHOICES);
		}
		for (unsigned i = 0; i < 40; i++)
			event(&w, good[i % 7]);
		event(&w, 2); /* whoever waits for a destination gives up */
		event(&w, 4);
		assert_int_equal(w.serves_on + w.moved + w.fenced, 1);
		assert_true(w.serves_on != w.serves);
		kept += w.serves_on;
		moved += w.moved;
		fenced += w.fenced;
	}
	assert_true(kept > 1000 && moved > 1000);
	assert_int_equal(fenced,
			 0); /* the only other one in the log is the destination */
}

/* A destination takes nothing of an epoch that is not older, and nothing without all of it. */
static void test_move_destination_refuses(void **state)
{
	struct world w = begin();

	(void)state;
	destination(&w,
		    (struct praas_take_event){ .kind = PRAAS_TAKE_STATE, .epoch = 5 });
	assert_true(w.failed);
	w = begin();
	destination(&w, (struct praas_take_event){
				.kind = PRAAS_TAKE_STATE, .rc = -EPROTO, .epoch = 4 });
	assert_true(w.failed);
	w = begin();
	destination(&w, (struct praas_take_event){
				.kind = PRAAS_TAKE_STATE, .epoch = 4, .slot = 9 });
	destination(&w, (struct praas_take_event){ .kind = PRAAS_TAKE_LOG_READ,
						   .epoch = 4,
						   .slot = 9,
						   .tomb = true });
	assert_true(w.failed);
}

/* The store refuses KEEP for a while: nothing is decided, so nobody serves. */
static void test_move_keep_is_tried_until_it_is_known(void **state)
{
	struct world w = begin();

	(void)state;
	event(&w, 0);
	event(&w, 2);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(take_flag(&w.keeping));
		source(&w, PRAAS_MOVE_KEEP_DONE, i % 2 ? -ENOSPC : -EIO, 0);
		assert_false(w.serves_on);
	}
	event(&w, 4);
	assert_true(w.serves_on);
	/* Somebody else has taken over meanwhile: a later activation. */
	w = begin();
	event(&w, 0);
	event(&w, 2);
	source(&w, PRAAS_MOVE_KEEP_DONE, -ESTALE, 6);
	assert_true(w.fenced);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_move_orders),
		cmocka_unit_test(test_move_destination_refuses),
		cmocka_unit_test(test_move_keep_is_tried_until_it_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
