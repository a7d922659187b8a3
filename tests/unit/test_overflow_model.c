/* SPDX-License-Identifier: Apache-2.0
 *
 * State beyond memory against a model, by random histories: writes, reads that wait and reads that do not, updates in
 * place, checkpoints that others slip into, that fail, stores that fail, swaps, chunks that are swept. What was
 * committed is what is read, always; and the memory limit holds.
 */
#include "unit/overflow_fixture.h"

#define SEEDS 60u
#define STEPS 1500u
#define WAITERS 16u
#define BYTES_MAX 90000u

struct entry {
	uint64_t bytes;
	uint32_t seed;
	bool there;
};

/* A read under way: whatever it finds must be what is there when it is told. */
struct reader {
	struct praas_fn_wait wait;
	bool waits;
};

struct model {
	struct ov *o;
	uint64_t random;
	struct entry entry[OV_KEYS];
	struct reader reader[WAITERS];
	uint32_t told, refused, failed;
};

static uint64_t below(struct model *m, uint64_t n)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random % n;
}

/* Mostly what has room in a chunk, some that have not, some large ones. */
static uint64_t some_bytes(struct model *m)
{
	switch (below(m, 6)) {
	case 0:
		return below(m, 300);
	case 1:
		return 1 + below(m, 2000);
	default:
		return 1 + below(m, BYTES_MAX);
	}
}

static void check_limit(const struct model *m)
{
	const struct praas_state *s = &m->o->f.p->state;

	assert_true(praas_overflow_used(s) <= OV_LIMIT_BYTES);
	assert_true(praas_overflow_used(s) + s->retired_bytes <= OV_ALL_BYTES);
}

static void step_put(struct model *m)
{
	uint32_t n = (uint32_t)below(m, OV_KEYS), seed = (uint32_t)below(m, 1000);
	uint64_t bytes = some_bytes(m);
	int rc = ov_put(m->o, n, bytes, seed);

	if (rc == 0)
		m->entry[n] = (struct entry){ bytes, seed, true };
	else /* and nothing has changed */
		assert_true(rc == -EBUSY || rc == -ENOSPC);
	m->refused += rc != 0;
}

static void step_erase(struct model *m)
{
	uint32_t n = (uint32_t)below(m, OV_KEYS);
	int rc = ov_erase(m->o, n);

	assert_int_equal(rc, m->entry[n].there ? 0 : -ENOENT);
	m->entry[n].there = false;
}

static bool may_fail(const struct model *m, int rc)
{
	return (m->o->fail && rc == m->o->fail) || rc == -ENOSPC || rc == -ENOBUFS ||
	       rc == -EBUSY;
}

static void step_get(struct model *m)
{
	uint32_t n = (uint32_t)below(m, OV_KEYS);
	const struct entry *e = &m->entry[n];
	uint64_t bytes = 0;
	int rc = ov_get(m->o, n, &bytes, e->seed);

	if (!e->there)
		assert_int_equal(rc, -ENOENT);
	else if (rc == 0)
		assert_int_equal(bytes, e->bytes);
	else
		assert_true(may_fail(m, rc));
	m->failed += rc != 0 && rc != -ENOENT;
}

static void on_reader(struct praas_fn_wait *wait, int rc)
{
	(void)rc; /* what it would find is looked at by step_get() */
	((struct reader *)wait->user)->waits = false;
}

static void step_bring(struct model *m)
{
	struct reader *r = &m->reader[below(m, WAITERS)];
	char key[PRAAS_KEY_MAX + 1];
	uint32_t key_bytes = ov_key((uint32_t)below(m, OV_KEYS), key);
	int rc;

	if (r->waits) {
		praas_process_fn_wait_cancel(m->o->f.p, &r->wait);
		r->waits = false;
		return;
	}
	r->wait = (struct praas_fn_wait){ .done = on_reader, .user = r };
	rc = praas_process_fn_state_bring(m->o->f.p, key, key_bytes, &r->wait);
	r->waits = rc == -EINPROGRESS;
	m->told += r->waits;
	assert_true(rc == 0 || rc == -EINPROGRESS || may_fail(m, rc));
}

static void step_end_one(struct model *m)
{
	uint32_t n = (uint32_t)below(m, PRAAS_FETCHES_MAX);

	for (uint32_t i = 0; i < PRAAS_FETCHES_MAX;
	     i++, n = (n + 1) % PRAAS_FETCHES_MAX)
		if (m->o->order[n].busy) {
			ov_end(m->o, n);
			return;
		}
}

/* In place; it may be kept, given up or committed. */
static void step_update(struct model *m)
{
	uint32_t n = (uint32_t)below(m, OV_KEYS), seed = (uint32_t)below(m, 1000);
	struct praas_fn_wait wait = { .deadline_ns = 0 };
	struct entry *e = &m->entry[n];
	char key[PRAAS_KEY_MAX + 1];
	uint32_t key_bytes = ov_key(n, key);
	uint64_t version;
	bool kept;
	int rc;

	if (!e->there || e->bytes == 0)
		return;
	rc = praas_process_fn_update_begin(m->o->f.p, PRAAS_HOLDER_PROCESS, key,
					   key_bytes, 0, &wait);
	if (rc != 0) {
		assert_true(may_fail(m, rc));
		return;
	}
	assert_true(ov_is(wait.grant.data, wait.grant.bytes, e->seed));
	if (below(m, 2))
		(void)praas_overflow_relieve(&m->o->f.p->state, OV_LIMIT_BYTES);
	ov_fill(m->o->f.segment.base + wait.grant.offset, e->bytes, seed);
	assert_int_equal(praas_process_fn_update_commit(m->o->f.p, PRAAS_HOLDER_PROCESS,
							key, key_bytes, NULL, false,
							&kept, &version),
			 0);
	e->seed = seed;
}

static void step_checkpoint(struct model *m)
{
	if (m->o->cut)
		ov_commit(m->o, below(m, 5) == 0 ? -EIO : 0);
	else
		assert_int_equal(ov_cut(m->o), 0);
}

static void forget_readers(struct model *m)
{
	for (unsigned i = 0; i < WAITERS; i++) {
		if (m->reader[i].waits)
			praas_process_fn_wait_cancel(m->o->f.p, &m->reader[i].wait);
		m->reader[i].waits = false;
	}
}

/* Swapped out and in: all of it comes from the store. */
static void step_swap(struct model *m)
{
	if (m->o->cut)
		ov_commit(m->o, 0);
	forget_readers(m);
	ov_checkpoint(m->o);
	ov_stop(m->o);
	ov_start(m->o);
	ov_load(m->o);
}

static void step(struct model *m)
{
	uint64_t what = below(m, 100);

	if (what < 30)
		step_put(m);
	else if (what < 34)
		step_erase(m);
	else if (what < 55)
		step_get(m);
	else if (what < 70)
		step_bring(m);
	else if (what < 82)
		step_end_one(m);
	else if (what < 89)
		step_update(m);
	else if (what < 96)
		step_checkpoint(m);
	else if (what < 98)
		m->o->fail = m->o->fail ? 0 : below(m, 3) == 0 ? -EREMOTEIO : 0;
	else if (what == 98)
		(void)praas_process_poll(m->o->f.p, 16);
	else if (below(m, 10) == 0)
		step_swap(m);
}

static void check_all(struct model *m)
{
	m->o->fail = 0;
	forget_readers(m);
	while (ov_coming(m->o) > 0)
		ov_end_all(m->o);
	if (m->o->cut)
		ov_commit(m->o, 0);
	ov_checkpoint(m->o);
	for (uint32_t n = 0; n < OV_KEYS; n++) {
		const struct entry *e = &m->entry[n];
		uint64_t bytes = 0;

		assert_int_equal(ov_get(m->o, n, &bytes, e->seed),
				 e->there ? 0 : -ENOENT);
		assert_int_equal(bytes, e->there ? e->bytes : 0);
	}
}

/* Whatever happens, what was committed is what is read, and memory keeps to its limit. */
static void test_overflow_histories(void **state)
{
	uint64_t out = 0, fetched = 0, told = 0, refused = 0, failed = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct model m = { .random = seed * 0x9e3779b97f4a7c15ull };
		void *o = NULL;

		assert_int_equal(ov_setup(&o), 0);
		m.o = o;
		for (unsigned i = 0; i < STEPS; i++) {
			step(&m);
			check_limit(&m);
		}
		check_all(&m);
		out += m.o->f.p->state.overflow->evictions;
		fetched += m.o->f.p->state.overflow->fetches;
		told += m.told;
		refused += m.refused;
		failed += m.failed;
		assert_int_equal(ov_teardown(&o), 0);
	}
	/* All of it did happen. */
	assert_true(out > 1000 && fetched > 1000 && told > 1000);
	assert_true(refused > 100 && failed > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_overflow_histories) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
