/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases whose holder updates again without a message: what it has counted is known before anything
 * depends on it, and it is stopped before anybody else has the object.
 */
#include "unit/state_fixture.h"

/* Two holders' words, and those that end their leases. */
static _Atomic uint64_t words[2], ends[2];
static unsigned told;
static int told_rc;

static void on_told(struct praas_fn_wait *wait, int rc)
{
	(void)wait;
	told_rc = rc;
	told++;
}

static struct praas_fn_wait wait_of(uint32_t holder)
{
	return (struct praas_fn_wait){ .done = on_told,
				       .deadline_ns = PRAAS_DEADLINE_NEVER,
				       .word = &words[holder - 1],
				       .ended = &ends[holder - 1] };
}

static int begin(struct fixture *f, uint32_t holder, struct praas_fn_wait *wait)
{
	return praas_process_fn_update_begin(f->p, holder, "a", 1, 4, wait);
}

static int end_update(struct fixture *f, uint32_t holder, const char *data, bool keep,
		      bool *ret_kept, uint64_t *ret_version)
{
	struct praas_state_write home = { 0 };

	if (data)
		home = put_of(f, "a", data, strlen(data));
	return praas_process_fn_update_commit(f->p, holder, "a", 1,
					      data ? &home.value : NULL, keep, ret_kept,
					      ret_version);
}

/* Updates that holder 1 makes by itself; under_way: and one that it has not ended. */
static void update(uint64_t count, bool under_way)
{
	words[0] += count << 1;
	words[0] = (words[0] & ~UINT64_C(1)) | (under_way ? 1 : 0);
}

/* Holder 1 has a kept lease of object "a". Returns its number. */
static uint64_t keep(struct fixture *f)
{
	struct praas_fn_wait a = wait_of(1);
	uint64_t version = 0;
	bool kept = false;

	told = 0;
	words[0] = words[1] = ends[0] = ends[1] = 0;
	assert_int_equal(begin(f, 1, &a), 0);
	assert_int_equal(end_update(f, 1, "abcd", true, &kept, &version), 0);
	assert_true(kept);
	/* The number of the lease is the version that the first commit makes. */
	assert_int_equal(version, a.grant.lease);
	return version;
}

static void put(struct fixture *f, const char *key, const char *data)
{
	struct praas_state_write w = put_of(f, key, data, strlen(data));

	(void)commit(f, &w, 1, 0);
}

static uint64_t version_of(struct fixture *f)
{
	const struct praas_value *value;
	uint64_t version = 0;

	assert_int_equal(praas_process_fn_state_get(f->p, "a", 1, &value, &version), 0);
	return version;
}

static void test_kept_updates_are_counted(void **state)
{
	struct fixture *f = *state;
	uint64_t first = keep(f);

	assert_int_equal(version_of(f), first);
	update(5, false);
	assert_int_equal(version_of(f), first + 5);
	update(1, true); /* one more under way: not counted yet */
	assert_int_equal(version_of(f), first + 6);
	/* Others' versions are above those that were given without us. */
	put(f, "b", "x");
	update(0, false);
	assert_int_equal(version_of(f), first + 6);
	(void)praas_process_poll(f->p, 16);
	assert_int_equal(ends[0], 0);
}

/* A compare-and-swap sees the updates that nobody was told of. */
static void test_kept_cas_sees_updates(void **state)
{
	struct fixture *f = *state;
	uint64_t first = keep(f), version;
	struct praas_state_write w = put_of(f, "a", "wxyz", 4);

	update(3, false);
	w.expect = first + 1;
	assert_int_equal(praas_process_fn_commit(f->p, &w, 1, &version), -ESTALE);
	w.expect = first + 3 + 1;
	version = commit(f, &w, 1, 0);
	assert_true(version > first + 3);
	/* The lease went with the object. */
	assert_true(ends[0] >= first);
}

/* Who is not updating loses the lease at once, without being woken. */
static void test_kept_goes_to_who_wants_it(void **state)
{
	struct fixture *f = *state;
	uint64_t first = keep(f);
	struct praas_fn_wait b = wait_of(2);

	update(2, false);
	assert_int_equal(begin(f, 2, &b), 0);
	assert_int_equal(b.grant.version, first + 2);
	assert_true(b.grant.lease > first + 2);
	assert_true(ends[0] >= first);
	assert_int_equal(ends[1], 0);
}

/* Who is updating tells when it has ended. */
static void test_kept_waits_for_the_update(void **state)
{
	struct fixture *f = *state;
	uint64_t first = keep(f), version;
	struct praas_fn_wait b = wait_of(2);
	bool kept;

	update(2, true);
	assert_int_equal(begin(f, 2, &b), -EINPROGRESS);
	assert_true(ends[0] >= first);
	update(1, false);
	assert_int_equal(end_update(f, 1, NULL, false, &kept, &version), 0);
	assert_false(kept);
	assert_int_equal(version, first + 3);
	assert_int_equal(told, 1);
	assert_int_equal(told_rc, 0);
	assert_int_equal(b.grant.version, first + 3);
	/* Both had seen each other: what it says late changes nothing. */
	assert_int_equal(end_update(f, 1, NULL, false, &kept, &version), -EINVAL);
}

/* It saw the mark before it began: it asks, and stands behind who wanted the lease. */
static void test_kept_asks_again(void **state)
{
	struct fixture *f = *state;
	struct praas_fn_wait a = wait_of(1), b = wait_of(2);
	uint64_t version;
	bool kept;

	(void)keep(f);
	update(1, true);
	assert_int_equal(begin(f, 2, &b), -EINPROGRESS);
	update(0, false);
	assert_int_equal(begin(f, 1, &a), -EINPROGRESS);
	assert_int_equal(told, 1); /* the other one has it */
	/* Refused to keep, since somebody waits; not updating, so it ends at once. */
	assert_int_equal(end_update(f, 2, NULL, true, &kept, &version), 0);
	assert_false(kept);
	assert_int_equal(told, 2);
	assert_true(ends[1] >= b.grant.lease);
	assert_int_equal(a.grant.version, version);
}

/* It goes on by itself while its first commit, which may not keep, is on its way. */
static void test_kept_refused_while_it_goes_on(void **state)
{
	struct fixture *f = *state;
	struct praas_fn_wait a = wait_of(1), b = wait_of(2);
	uint64_t version, last;
	bool kept;

	(void)keep(f);
	update(0, false);
	assert_int_equal(begin(f, 1, &a), 0); /* another grant */
	assert_int_equal(begin(f, 2, &b), -EINPROGRESS);
	update(0, true);
	assert_int_equal(end_update(f, 1, NULL, true, &kept, &version), 0);
	assert_false(kept);
	assert_int_equal(told, 0); /* it updates: nobody has it but it */
	update(1, false);
	assert_int_equal(end_update(f, 1, NULL, false, &kept, &last), 0);
	assert_int_equal(last, version + 1);
	assert_int_equal(told, 1);
}

/* Put while it updates: the update came before, and its number is not above the put's. */
static void test_kept_replaced(void **state)
{
	struct fixture *f = *state;
	uint64_t version, now;
	bool kept;

	(void)keep(f);
	update(4, true);
	put(f, "a", "new!");
	now = version_of(f);
	update(1, false);
	assert_int_equal(version_of(f), now);
	assert_int_equal(end_update(f, 1, NULL, false, &kept, &version), 0);
	assert_int_equal(version_of(f), now);
}

static void test_kept_holder_dies(void **state)
{
	struct fixture *f = *state;
	const struct praas_value *value;
	uint64_t first = keep(f), version;

	update(7, false);
	praas_process_holder_died(f->p, 1, ~0ull);
	assert_int_equal(version_of(f), first + 7); /* all of it was committed */
	put(f, "a", "abcd");
	(void)keep(f);
	update(7, true);
	praas_process_holder_died(f->p, 1, ~0ull);
	assert_int_equal(praas_process_fn_state_get(f->p, "a", 1, &value, &version),
			 -EIO);
}

/* A holder that lies about its count gets versions that increase, and nothing else. */
static void test_kept_hostile_count(void **state)
{
	struct fixture *f = *state;
	uint64_t last = keep(f);

	for (uint64_t i = 1; i < 1000; i++) {
		uint64_t version;

		words[0] = i * 0x9e3779b97f4a7c15u;
		version = version_of(f);
		assert_true(version >= last);
		assert_true(version - last <= UINT64_C(1) << 32);
		last = version;
	}
}

/* Its place for a lease serves another object: the former lease ends. */
static void test_kept_place_is_used_again(void **state)
{
	struct fixture *f = *state;
	struct praas_fn_wait a = wait_of(1), b = wait_of(2);
	uint64_t first = keep(f);

	update(2, false);
	assert_int_equal(praas_process_fn_update_begin(f->p, 1, "z", 1, 4, &a), 0);
	assert_true(ends[0] >= first);
	assert_true(ends[0] < a.grant.lease);
	assert_int_equal(version_of(f), first + 2);
	assert_int_equal(begin(f, 2, &b), 0);
}

struct exported {
	uint64_t version;
	uint32_t count;
	int32_t status;
};

static int keep_object(void *user, const struct praas_export_record *r)
{
	struct exported *e = user;

	if (r->kind != PRAAS_EXPORT_STATE)
		return 0;
	e->count++;
	e->version = r->version;
	e->status = r->status;
	return 0;
}

/* A snapshot holds all that was committed, told or not, and nobody updates while it is taken. */
static void test_kept_export(void **state)
{
	struct fixture *f = *state;
	uint64_t first = keep(f);
	struct exported e = { 0 };

	update(9, false);
	assert_int_equal(praas_process_export(f->p, keep_object, &e), 0);
	assert_int_equal(e.count, 1);
	assert_int_equal(e.version, first + 9);
	assert_int_equal(e.status, 0);
	assert_true(ends[0] >= first); /* it asks before the next one */
}

/* Never half an update: not of one that keeps its lease, nor of one before its first commit. */
static void test_kept_export_waits_for_the_update(void **state)
{
	struct fixture *f = *state;
	uint64_t first = keep(f), version;
	struct praas_fn_wait a = wait_of(1), b = wait_of(2);
	struct exported e = { 0 };
	bool kept;

	update(2, true);
	assert_int_equal(praas_process_export(f->p, keep_object, &e), -EBUSY);
	assert_int_equal(e.count, 0);
	assert_int_equal(begin(f, 2, &b), -EINPROGRESS);
	/* Over, and its word says so before it does. Who waited has the lease now. */
	update(1, false);
	assert_int_equal(praas_process_export(f->p, keep_object, &e), -EBUSY);
	assert_int_equal(told, 1);
	assert_int_equal(b.grant.version, first + 3);
	assert_int_equal(end_update(f, 1, NULL, false, &kept, &version), -EINVAL);
	assert_int_equal(end_update(f, 2, NULL, true, &kept, &version), 0);
	assert_int_equal(praas_process_export(f->p, keep_object, &e), 0);
	assert_int_equal(e.version, version);
	/* Replaced while it was updated: what there is now is whole. */
	assert_int_equal(begin(f, 1, &a), 0);
	put(f, "a", "new!");
	assert_int_equal(praas_process_export(f->p, keep_object, &e), 0);
	/* The holder dies in the middle: torn, and said to be. */
	assert_int_equal(end_update(f, 1, NULL, false, &kept, &version), 0);
	(void)keep(f);
	update(0, true);
	assert_int_equal(praas_process_export(f->p, keep_object, &e), -EBUSY);
	praas_process_holder_died(f->p, 1, ~0ull);
	assert_int_equal(praas_process_export(f->p, keep_object, &e), 0);
	assert_int_equal(e.status, PRAAS_CRASHED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kept_updates_are_counted),
		TEST(test_kept_cas_sees_updates),
		TEST(test_kept_goes_to_who_wants_it),
		TEST(test_kept_waits_for_the_update),
		TEST(test_kept_asks_again),
		TEST(test_kept_refused_while_it_goes_on),
		TEST(test_kept_replaced),
		TEST(test_kept_holder_dies),
		TEST(test_kept_hostile_count),
		TEST(test_kept_place_is_used_again),
		TEST(test_kept_export),
		TEST(test_kept_export_waits_for_the_update),
	};

	return cmocka_run_group_tests_name("lease_kept", tests, NULL, NULL);
}
