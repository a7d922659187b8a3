/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases of in-place updates: passed on, recalled, left by holders that die; and what closes or
 * moves below them.
 */
#include "unit/state_fixture.h"

static int told_rc;
static unsigned told;

static void on_told(struct praas_fn_wait *wait, int rc)
{
	(void)wait;
	told_rc = rc;
	told++;
}

static unsigned recalls;

static void on_recall(void *user, uint32_t holder, const char *key, uint32_t key_bytes)
{
	(void)user;
	assert_int_equal(holder, 1);
	assert_int_equal(key_bytes, 1);
	assert_int_equal(key[0], 'a');
	recalls++;
}

static uint64_t end_update(struct fixture *f, uint32_t holder, const char *data,
			   bool keep, bool expect_kept)
{
	struct praas_state_write home = { 0 };
	uint64_t version;
	bool kept;

	if (data)
		home = put_of(f, "a", data, strlen(data));
	assert_int_equal(praas_process_fn_update_commit(f->p, holder, "a", 1,
							data ? &home.value : NULL, keep,
							&kept, &version),
			 0);
	assert_int_equal(kept, expect_kept);
	return version;
}

/* One holder at a time, in order; a kept lease is recalled when somebody wants it. */
static void test_state_lease_passes_on(void **state)
{
	struct fixture *f = *state;
	struct praas_fn_wait a = { .done = on_told,
				   .deadline_ns = PRAAS_DEADLINE_NEVER };
	struct praas_fn_wait b = a;
	struct praas_fn_wait c = { .done = on_told };

	told = 0;
	recalls = 0;
	praas_process_recall_set(f->p, on_recall, NULL);
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "a", 1, 0, &a),
			 -ENOENT);
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "a", 1, 4, &a), 0);
	assert_int_equal(a.grant.version, 0);
	assert_int_equal(end_update(f, 1, "abcd", true, true), 1);
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "a", 1, 0, &a), 0);
	assert_int_equal(a.grant.version, 1);
	assert_int_equal(a.grant.bytes, 4);
	assert_int_equal(praas_process_fn_update_begin(f->p, 2, "a", 1, 5, &b),
			 -ESTALE);
	assert_int_equal(praas_process_fn_update_begin(f->p, 2, "a", 1, 4, &b),
			 -EINPROGRESS);
	c.deadline_ns = praas_now_ns() + 1000000;
	assert_int_equal(praas_process_fn_update_begin(f->p, 3, "a", 1, 4, &c),
			 -EINPROGRESS);
	assert_int_equal(recalls, 0);
	while (!told)
		(void)praas_process_poll(f->p, 16);
	assert_int_equal(told_rc, -EAGAIN);
	assert_int_equal(end_update(f, 1, NULL, true, false), 2);
	assert_int_equal(told, 2);
	assert_int_equal(told_rc, 0);
	assert_int_equal(b.grant.version, 2);
	assert_int_equal(end_update(f, 2, NULL, false, false), 3);
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "a", 1, 0, &a), 0);
	end_update(f, 1, NULL, true, true);
	assert_int_equal(praas_process_fn_update_begin(f->p, 2, "a", 1, 4, &b),
			 -EINPROGRESS);
	assert_int_equal(recalls, 1);
	end_update(f, 1, NULL, false, false);
	assert_int_equal(told, 3);
	end_update(f, 2, NULL, false, false);
}

/* The holder dies in an update: torn until put; the next in the queue is told. */
static void test_state_lease_holder_dies(void **state)
{
	struct fixture *f = *state;
	struct praas_fn_wait a = { .done = on_told,
				   .deadline_ns = PRAAS_DEADLINE_NEVER };
	struct praas_fn_wait b = a;
	struct praas_state_write w;
	const struct praas_value *value;
	uint64_t version;

	told = 0;
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "a", 1, 4, &a), 0);
	end_update(f, 1, "abcd", false, false);
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "a", 1, 4, &a), 0);
	assert_int_equal(praas_process_fn_update_begin(f->p, 2, "a", 1, 4, &b),
			 -EINPROGRESS);
	praas_process_holder_died(f->p, 1, ~0ull);
	assert_int_equal(told, 1);
	assert_int_equal(told_rc, -EIO);
	assert_int_equal(praas_process_fn_state_get(f->p, "a", 1, &value, &version),
			 -EIO);
	assert_int_equal(praas_process_fn_update_begin(f->p, 2, "a", 1, 4, &b), -EIO);
	w = put_of(f, "a", "efgh", 4);
	commit(f, &w, 1, 0);
	assert_int_equal(praas_process_fn_update_begin(f->p, 2, "a", 1, 4, &b), 0);
	/* A put does not wait: the update counts as having come before it. */
	w = put_of(f, "a", "ijkl", 4);
	version = commit(f, &w, 1, 0);
	assert_int_equal(end_update(f, 2, NULL, true, false), version);
	/* A kept lease is torn only when the holder was in the object. */
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "a", 1, 4, &a), 0);
	end_update(f, 1, NULL, true, true);
	praas_process_holder_died(f->p, 1, ~0ull);
	assert_int_equal(praas_process_fn_state_get(f->p, "a", 1, &value, &version), 0);
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "a", 1, 4, &a), 0);
	end_update(f, 1, NULL, true, true);
	praas_process_holder_died(f->p, 1, a.grant.offset);
	assert_int_equal(praas_process_fn_state_get(f->p, "a", 1, &value, &version),
			 -EIO);
	/* One that dies while it makes an object leaves nothing. */
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "b", 1, 4, &a), 0);
	praas_process_holder_died(f->p, 1, ~0ull);
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "b", 1, 0, &a),
			 -ENOENT);
}

/* The gate closes: who waits is told. */
static void test_state_gate_ends_waits(void **state)
{
	struct fixture *f = *state;
	struct praas_fn_wait a = { .done = on_told,
				   .deadline_ns = PRAAS_DEADLINE_NEVER };
	struct praas_fn_wait b = a;
	struct praas_fn_wait c = a;

	told = 0;
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "a", 1, 4, &a), 0);
	assert_int_equal(praas_process_fn_update_begin(f->p, 2, "a", 1, 4, &b),
			 -EINPROGRESS);
	assert_int_equal(praas_process_fn_recv(f->p, PRAAS_ANY, "m", 1, &c),
			 -EINPROGRESS);
	praas_process_gate(f->p, false);
	assert_int_equal(told, 2);
	assert_int_equal(told_rc, -ESHUTDOWN);
	assert_int_equal(praas_process_fn_recv(f->p, PRAAS_ANY, "m", 1, &c),
			 -ESHUTDOWN);
	end_update(f, 1, "abcd", true, true);
}

/* What lies in a segment that goes away is copied, and the same afterwards. */
static void test_state_evacuates(void **state)
{
	struct fixture *f = *state;
	struct praas_state_write w = { .key_bytes = 1, .key = "s" };
	const struct praas_value *value;
	struct praas_value message;
	struct praas_message m;
	uint64_t version;

	w.value = (struct praas_value){ .data = (const uint8_t *)"elsewhere",
					.bytes = 9,
					.segment = 17,
					.charge = 64 };
	message = w.value;
	commit(f, &w, 1, 0);
	assert_int_equal(
		praas_process_fn_send(f->p, PRAAS_SELF, "m", 1, &message, NULL, NULL),
		0);
	assert_int_equal(praas_process_evacuate(f->p, 17), 0);
	assert_int_equal(praas_process_fn_state_get(f->p, "s", 1, &value, &version), 0);
	assert_int_equal(value->segment, 1);
	assert_memory_equal(value->data, "elsewhere", 9);
	assert_int_equal(praas_process_fn_peek(f->p, PRAAS_ANY, "m", 1, &m), 0);
	assert_int_equal(m.value.segment, 1);
	assert_memory_equal(m.value.data, "elsewhere", 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(test_state_##name, setup, teardown)
		T(lease_passes_on),
		T(lease_holder_dies),
		T(gate_ends_waits),
		T(evacuates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
