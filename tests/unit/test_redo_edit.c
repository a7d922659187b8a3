/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process writes down of its changes, put into an older snapshot of it, is what it is: whatever was done,
 * and wherever it was cut.
 */
#include "unit/swap_fixture.h"

#include <stdio.h>

#include "controller/redo_turn.h"
#include "dataplane/changes.h"
#include "internal/bytes.h"

#define ROUNDS 40u
#define STEPS 60u

static uint64_t seed;

static uint64_t below(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* ---- what a process is, in one order ---- */

struct picture {
	struct praas_changes all;
	const uint8_t *at[20000];
	uint64_t bytes[20000];
	unsigned count;
	uint64_t messages; /* sequence of the last one seen: they must be in order */
};

static int see(void *user, const struct praas_export_record *record)
{
	struct picture *p = user;
	struct praas_export_record r = *record;

	assert_true(p->count < sizeof(p->at) / sizeof(p->at[0]));
	if (r.kind == PRAAS_EXPORT_MESSAGE) {
		assert_true(r.sequence > p->messages);
		p->messages = r.sequence;
	}
	r.deadline_ns = r.deadline_ns != 0; /* a clock is read each time */
	p->bytes[p->count] = p->all.bytes;
	p->count++;
	return praas_changes_add(&p->all, &r);
}

static int by_bytes(const void *a, const void *b)
{
	const uint8_t *x = *(const uint8_t *const *)a, *y = *(const uint8_t *const *)b;
	uint64_t n = praas_get_le(x + 56, 8) + x[1] + x[2] + PRAAS_CHANGE_BYTES;
	uint64_t m = praas_get_le(y + 56, 8) + y[1] + y[2] + PRAAS_CHANGE_BYTES;
	int order = memcmp(x, y, n < m ? n : m);

	return order != 0 ? order : (n > m) - (n < m);
}

static void settle(struct picture *p)
{
	for (unsigned i = 0; i < p->count; i++)
		p->at[i] = p->all.data + p->bytes[i];
	qsort(p->at, p->count, sizeof(p->at[0]), by_bytes);
}

static void same_picture(struct picture *want, struct picture *got)
{
	settle(want);
	settle(got);
	for (unsigned i = 0; i < want->count && i < got->count; i++) {
		if (by_bytes(&want->at[i], &got->at[i]) == 0)
			continue;
		fail_msg("record %u of %u: kind %u source %u, wanted %u source %u", i,
			 want->count, got->at[i][0], got->at[i][8], want->at[i][0],
			 want->at[i][8]);
	}
	assert_int_equal(got->count, want->count);
}

static struct picture *picture_new(void)
{
	struct picture *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->all.functions = functions;
	p->all.functions_count = FUNCTIONS;
	return p;
}

static void picture_free(struct picture *p)
{
	praas_changes_release(&p->all);
	free(p);
}

/* ---- what is done ---- */

static const char *key_of(char key[16])
{
	(void)snprintf(key, 16, "k%u", (unsigned)below(12));
	return key;
}

static void write_state(struct table *t)
{
	struct praas_state_write w[3] = { 0 };
	uint32_t count = 1 + (uint32_t)below(3);
	uint64_t version, bytes;
	uint8_t *data;

	for (uint32_t i = 0; i < count; i++) {
		char key[16];

		w[i].key_bytes = (uint8_t)strlen(key_of(key));
		memcpy(w[i].key, key, w[i].key_bytes);
		w[i].erase = below(4) == 0;
		bytes = below(3) == 0 ? below(20000) : below(100);
		if (w[i].erase || bytes == 0)
			continue;
		assert_int_equal(
			praas_process_value_new(t->f.p, bytes, &w[i].value, &data), 0);
		memset(data, (int)below(256), bytes);
	}
	if (praas_process_fn_commit(t->f.p, w, count, &version) != 0)
		for (uint32_t i = 0; i < count; i++)
			praas_value_release(&w[i].value); /* nothing there to erase */
}

static void send_message(struct table *t, uint64_t to)
{
	char key[16], text[32];
	uint64_t sequence;
	struct praas_value value;
	uint8_t trace[PRAAS_TRACE_BYTES] = { 1, 2, 3 };
	uint8_t *data;

	(void)snprintf(text, sizeof(text), "message %u", (unsigned)below(1000));
	assert_int_equal(praas_process_value_new(t->f.p, strlen(text), &value, &data),
			 0);
	memcpy(data, text, strlen(text));
	key_of(key);
	if (praas_process_fn_send(t->f.p, to, key, (uint32_t)strlen(key), &value,
				  below(3) == 0 ? trace : NULL, &sequence) != 0)
		praas_value_release(&value); /* no room */
}

static struct praas_outbox_question asked; /* items are not looked at any more */
static struct praas_seq asked_last;

static int ask(void *user, const struct praas_outbox_question *question)
{
	(void)user;
	if (question->attempt & PRAAS_REMOTE_ATTEMPT)
		return 0; /* pipelines find no way */
	asked = *question;
	if (question->count > 0)
		asked_last = question->items[question->count - 1].seq;
	return 0;
}

static void dropped(void *user, uint64_t receiver, int rc)
{
	(void)user;
	(void)receiver;
	assert_int_equal(rc, -ENOENT);
}

static void identify(struct table *t, uint32_t epoch)
{
	const struct praas_outbox_host host = { .ask = ask, .dropped = dropped };

	struct praas_member_info b = { .pid = 80,
				       .state = PRAAS_MEMBER_ACTIVE,
				       .name = "b" };
	struct praas_members *list;

	praas_process_identify(t->f.p, FIXTURE_PID, epoch);
	praas_process_outbox_host_set(t->f.p, &host);
	assert_int_equal(praas_members_apply(NULL, &b, 1, 1, &list), 0);
	praas_process_members_give(t->f.p, list);
}

/* What was asked last is answered: queued; or there is no such process. */
static void answer(struct table *t)
{
	struct praas_way way = { .kind = below(12) == 0 ? PRAAS_WAY_GONE
							: PRAAS_WAY_QUEUED,
				 .receiver = asked.receiver,
				 .attempt = asked.attempt,
				 .seq = asked_last };

	(void)praas_process_poll(t->f.p, 16);
	if (asked.count == 0)
		return;
	praas_process_way(t->f.p, &way);
	asked.count = 0;
	(void)praas_process_poll(t->f.p, 16);
}

static void receive(struct table *t)
{
	struct praas_fn_wait wait = { .deadline_ns = 0 };
	char key[16];

	key_of(key);
	if (praas_process_fn_recv(t->f.p, PRAAS_ANY, key, (uint32_t)strlen(key),
				  &wait) == 0)
		praas_value_release(&wait.message.value);
}

/* Of another process, directly or by its queue. */
static void accept_message(struct table *t, uint64_t *number)
{
	struct praas_queued m = { .position = praas_process_queue_cut(t->f.p) + 1,
				  .source = 100 + below(3),
				  .seq = { .epoch = 1 + (uint32_t)below(2),
					   .number = ++*number },
				  .key = "in",
				  .key_bytes = 2,
				  .data = (const uint8_t *)"text",
				  .bytes = 4 };
	uint64_t position;

	assert_int_equal(praas_process_queue_apply(t->f.p, &m, 1, &position), 0);
}

static void call(struct table *t, uint64_t *id)
{
	static const uint16_t which[] = { PLAIN, SERIAL, JOINED, JOINED,
					  PACK,  FIRST,  AWAY,   AWAY_PACK };
	char key[16];

	invoke(t->c, which[below(8)], ++*id, key_of(key), 0);
}

static void end_some(struct table *t)
{
	char text[200] = "";

	if (t->m->count == 0)
		return;
	memset(text, 'r', below(150));
	end_one(&t->f, t->m, below(5) == 0 ? PRAAS_CRASHED : 0, text);
}

static void cancel(struct table *t, uint64_t id)
{
	frame(t->c, PRAAS_FRAME_CANCEL, id, NULL, NULL, 0);
}

static void step(struct table *t, uint64_t *id, uint64_t *number)
{
	switch (below(10)) {
	case 0:
	case 1:
	case 2:
		write_state(t);
		break;
	case 3:
		send_message(t, PRAAS_SELF);
		break;
	case 4:
		receive(t);
		break;
	case 5:
		send_message(t, 70 + below(3));
		if (below(3) == 0)
			answer(t);
		break;
	case 6:
		accept_message(t, number);
		break;
	case 7:
		call(t, id);
		break;
	case 8:
		end_some(t);
		break;
	default:
		if (*id > 0 && below(4) == 0)
			cancel(t, 1 + below(*id));
		break;
	}
	while (fake_has(t->c))
		praas_buf_release(fake_take(t->c));
}

/* ---- the log ---- */

struct log {
	uint8_t *turns[STEPS * 2];
	uint64_t bytes[STEPS * 2];
	unsigned count;
	struct praas_snapshot base;
};

/* All of it as it is now, by the bytes of a manifest. */
static void take_base(struct table *t, struct praas_store *store, struct log *log)
{
	struct praas_slot_entry *entry = calloc(1, sizeof(*entry));
	struct praas_snapshot s = { 0 };
	struct praas_snapshot_result result;

	assert_non_null(entry);
	for (unsigned i = 0; i < log->count; i++)
		free(log->turns[i]);
	log->count = 0;
	praas_snapshot_release(&log->base);
	assert_int_equal(praas_process_export(t->f.p, praas_snapshot_add, &s), 0);
	assert_int_equal(praas_snapshot_write(store, &s, functions, FUNCTIONS, NULL,
					      entry, &result),
			 0);
	entry->kind = PRAAS_SLOT_SNAP;
	assert_int_equal(praas_snapshot_open(store, entry, &log->base), 0);
	praas_snapshot_release(&s);
	free(entry);
}

static void take_turn(struct table *t, struct praas_changes *c, struct log *log)
{
	praas_process_changes_end(t->f.p);
	assert_false(c->lost);
	if (c->bytes == 0)
		return;
	log->turns[log->count] = malloc(c->bytes);
	assert_non_null(log->turns[log->count]);
	memcpy(log->turns[log->count], c->data, c->bytes);
	log->bytes[log->count++] = c->bytes;
	praas_changes_clear(c);
}

/* As records of a log: now and then in several, now and then with one behind that is not all there. */
static void replay(struct log *log, struct praas_snapshot *s)
{
	struct praas_redo_turns turns = { 0 };

	assert_int_equal(praas_redo_edit_begin(s, &turns.edit), 0);
	for (unsigned i = 0; i < log->count; i++) {
		uint64_t parts = 1 + below(3), at = 0, room = log->bytes[i] / parts;

		for (uint64_t k = 0; k < parts; k++) {
			struct praas_redo_record r = {
				.kind = praas_redo_turn_kind(k == 0, k + 1 == parts),
				.data = log->turns[i] + at,
				.bytes = (uint32_t)(k + 1 == parts ? log->bytes[i] - at
								   : room)
			};

			assert_int_equal(praas_redo_turns_record(&turns, &r), 0);
			at += r.bytes;
		}
		if (below(4) == 0) {
			struct praas_redo_record torn = { .kind = PRAAS_REDO_TURN_FIRST,
							  .data = log->turns[i],
							  .bytes = 8 };

			assert_int_equal(praas_redo_turns_record(&turns, &torn), 0);
		}
	}
	assert_int_equal(praas_redo_edit_turns(turns.edit), log->count);
	assert_int_equal(praas_redo_edit_end(turns.edit), 0);
	praas_redo_turns_release(&turns);
}

/* ---- tests ---- */

static void into_another(struct praas_store *store, const struct praas_snapshot *s,
			 struct picture *ret)
{
	struct praas_process_config changes = { .invocations_max = 256,
						.dedup_entries = 4096,
						.receivers_max = 4 };
	struct table to = { 0 };

	start(&to, &changes);
	praas_process_gate(to.f.p, false);
	praas_process_identify(to.f.p, FIXTURE_PID, FIXTURE_EPOCH);
	assert_int_equal(
		praas_snapshot_load(store, s, functions, FUNCTIONS, import, to.f.p), 0);
	praas_outbox_begin(to.f.p->outbox, true);
	assert_int_equal(praas_process_export(to.f.p, see, ret), 0);
	fake_conn_free(to.c);
	fixture_release(&to.f);
}

/* The last snapshot and the log are what the process is, and another one takes it. */
static void judge(struct table *t, struct praas_store *store, struct log *log)
{
	struct picture *want = picture_new(), *got = picture_new();
	uint64_t sum = 0;

	assert_int_equal(praas_process_export(t->f.p, see, want), 0);
	replay(log, &log->base);
	for (uint64_t i = 0; i < log->base.records_count; i++)
		sum += log->base.records[i].record.bytes;
	assert_int_equal(sum, log->base.value_bytes);
	assert_int_equal(
		praas_snapshot_load(store, &log->base, functions, FUNCTIONS, see, got),
		0);
	same_picture(want, got);
	picture_free(got);
	/* And a process takes it. */
	got = picture_new();
	into_another(store, &log->base, got);
	assert_int_equal(got->count, want->count);
	picture_free(want);
	picture_free(got);
}

static void one_round(uint64_t number_of)
{
	struct praas_process_config config = { .invocations_max = 256,
					       .dedup_entries = 4096,
					       .receivers_max = 4 };
	struct praas_changes changes = { 0 };
	uint64_t id = 0, number = 0;
	struct praas_store *store;
	struct table t = { 0 };
	struct log log = { 0 };

	seed = 0x9e3779b97f4a7c15u * (number_of + 1);
	assert_int_equal(praas_store_memory_open(&store), 0);
	start(&t, &config);
	asked.count = 0;
	identify(&t, FIXTURE_EPOCH);
	praas_outbox_begin(t.f.p->outbox, false);
	for (unsigned i = 0; i < below(STEPS); i++)
		step(&t, &id, &number);
	(void)praas_process_poll(t.f.p, 16);
	praas_process_changes_set(t.f.p, &changes);
	take_base(&t, store, &log);
	for (unsigned i = 0; i < STEPS; i++) {
		step(&t, &id, &number);
		if (below(3) != 0)
			take_turn(&t, &changes, &log);
		if (below(40) == 0) { /* a checkpoint between two turns */
			take_turn(&t, &changes, &log);
			take_base(&t, store, &log);
		}
	}
	take_turn(&t, &changes, &log);
	judge(&t, store, &log);
	while (t.m->count > 0)
		end_one(&t.f, t.m, 0, NULL);
	praas_process_changes_set(t.f.p, NULL);
	praas_changes_release(&changes);
	fake_conn_free(t.c);
	fixture_release(&t.f);
	for (unsigned i = 0; i < log.count; i++)
		free(log.turns[i]);
	praas_snapshot_release(&log.base);
	praas_store_free(store);
}

static void test_edit_is_what_happened(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < ROUNDS; i++)
		one_round(i);
}

/* Messages that have another place after a crash: what is acknowledged by it is gone. */
static void test_edit_outbox_goes_on(void **state)
{
	struct praas_process_config config = { .invocations_max = 8,
					       .dedup_entries = 16,
					       .receivers_max = 4 };
	struct picture *want = picture_new(), *got = picture_new();
	struct praas_changes changes = { 0 };
	struct praas_store *store;
	struct table a = { 0 }, b = { 0 };
	struct log log = { 0 };

	(void)state;
	assert_int_equal(praas_store_memory_open(&store), 0);
	start(&a, &config);
	identify(&a, 1);
	praas_outbox_begin(a.f.p->outbox, false);
	for (unsigned i = 0; i < 3; i++)
		send_message(&a, 70);
	take_base(&a, store, &log);
	start(&b, &config);
	praas_process_gate(b.f.p, false);
	identify(&b, 2);
	assert_int_equal(praas_snapshot_load(store, &log.base, functions, FUNCTIONS,
					     import, b.f.p),
			 0);
	praas_process_changes_set(b.f.p, &changes);
	praas_outbox_begin(b.f.p->outbox, false);
	take_turn(&b, &changes, &log);
	asked.count = 0;
	(void)praas_process_poll(b.f.p, 16);
	assert_int_equal(asked.count, 3);
	assert_int_equal(asked_last.epoch, 2);
	praas_process_way(b.f.p,
			  &(struct praas_way){ .kind = PRAAS_WAY_QUEUED,
					       .receiver = 70,
					       .attempt = asked.attempt,
					       .seq = { .epoch = 2, .number = 2 } });
	(void)praas_process_poll(b.f.p, 16);
	take_turn(&b, &changes, &log);
	assert_int_equal(praas_process_export(b.f.p, see, want), 0);
	replay(&log, &log.base);
	assert_int_equal(
		praas_snapshot_load(store, &log.base, functions, FUNCTIONS, see, got),
		0);
	same_picture(want, got);
	picture_free(want);
	picture_free(got);
	praas_process_changes_set(b.f.p, NULL);
	praas_changes_release(&changes);
	for (unsigned i = 0; i < log.count; i++)
		free(log.turns[i]);
	praas_snapshot_release(&log.base);
	fake_conn_free(a.c);
	fake_conn_free(b.c);
	fixture_release(&a.f);
	fixture_release(&b.f);
	praas_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edit_is_what_happened),
		cmocka_unit_test(test_edit_outbox_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
