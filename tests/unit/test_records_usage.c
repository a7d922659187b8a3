/* SPDX-License-Identifier: Apache-2.0
 *
 * Usage in the conformance suite of stores for records, run on each of them; and its arithmetic.
 */
#include <errno.h>
#include <math.h>

#include "tests/unit/records_fixture.h"

#define DAY PRAAS_USAGE_DAY_NS
#define SUMS_MAX 64

struct sums {
	uint32_t count, stop_at;
	struct praas_usage_sum sum[SUMS_MAX];
};

static int take_sum(void *user, const struct praas_usage_sum *sum)
{
	struct sums *s = user;

	assert_true(s->count < SUMS_MAX);
	s->sum[s->count++] = *sum;
	return s->count == s->stop_at ? 7 : 0;
}

static const struct praas_usage_filter everything = { .until_ns = INT64_MAX,
						      .after_tenant = "",
						      .after_app = "" };

static struct sums sums_of(const struct fixture *f,
			   const struct praas_usage_filter *filter)
{
	struct sums s = { 0 };

	assert_int_equal(f->r->usage->freeze(f->r), 0);
	assert_int_equal(f->r->usage->each(f->r, filter, take_sum, &s), 0);
	f->r->usage->thaw(f->r);
	return s;
}

static struct praas_usage_row row_of(uint64_t from_ns, uint64_t to_ns, uint64_t n)
{
	return (struct praas_usage_row){
		from_ns, to_ns, { n, 2 * n, 3 * n, 4 * n, 5 * n, 6.0 * (double)n, 0.5 }
	};
}

static struct praas_app_record make_app(const struct fixture *f, const char *tenant,
					const char *name)
{
	struct praas_app_record a = app_named(name);

	(void)snprintf(a.tenant, sizeof(a.tenant), "%s", tenant);
	a.id[1] = (uint8_t)tenant[0];
	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	return a;
}

static struct praas_process_record make_process(const struct fixture *f,
						const struct praas_app_record *app,
						const char *name)
{
	struct praas_process_record p = process_named(app, name);

	p.created_ns = 1;
	assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	return p;
}

static void put(const struct fixture *f, const struct praas_app_record *a,
		struct praas_process_record *p, struct praas_usage_row row)
{
	p->used_ns = row.to_ns;
	assert_int_equal(f->r->usage->put(f->r, p, a, &row), 0);
}

/* A row and the record that it belongs to are put both, or neither. */
static void test_usage_put_is_one_change(void **state)
{
	struct praas_usage_row row = row_of(10, 20, 1);
	struct praas_process_record p, back, old;
	struct fixture *f = *state;
	struct praas_app_record a = make_app(f, "t", "a");
	struct sums s;

	p = make_process(f, &a, "p");
	old = p;
	p.used_ns = 20;
	p.counted = row.used;
	p.counted.stored = 0; /* controllers know nothing of that */
	assert_int_equal(f->r->usage->put(f->r, &p, &a, &row), 0);
	assert_int_equal(p.version, 2);
	assert_int_equal(f->r->ops->process_get(f->r, a.id, "p", &back), 0);
	assert_memory_equal(&p, &back, sizeof(p));
	assert_int_equal(f->r->usage->put(f->r, &old, &a, &row), -ESTALE);
	s = sums_of(f, &everything);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.sum[0].number, p.number);
	assert_string_equal(s.sum[0].tenant, "t");
	assert_string_equal(s.sum[0].app, "a");
	assert_string_equal(s.sum[0].name, "p");
	assert_memory_equal(&s.sum[0].used, &row.used, sizeof(row.used));
	assert_int_equal(s.sum[0].state, PRAAS_LIFE_SWAPPED);
	assert_int_equal(s.sum[0].slot, -1);
	assert_int_equal(s.sum[0].state_bytes, 1ull << 41);
	assert_int_equal(s.sum[0].used_ns, 20);
}

/* Rows outlive their process; a process without rows is told of, with nothing. */
static void test_usage_outlives_its_process(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = make_app(f, "t", "a");
	struct praas_process_record p = make_process(f, &a, "p");
	struct praas_process_record q = make_process(f, &a, "q");
	struct sums s;

	put(f, &a, &p, row_of(10, 20, 5));
	assert_int_equal(f->r->ops->process_delete(f->r, p.number), 0);
	s = sums_of(f, &everything);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.sum[0].state, 0);
	assert_int_equal(s.sum[0].used.calls, 15);
	assert_int_equal(s.sum[1].number, q.number);
	assert_true(praas_usage_none(&s.sum[1].used));
	assert_int_equal(f->r->ops->process_delete(f->r, q.number), 0);
	assert_int_equal(f->r->ops->app_delete(f->r, a.id), 0);
	assert_int_equal(sums_of(f, &everything).count, 1);
}

/* Of a row that lies in the time in part, that part counts: what times next to each other have, adds
 * up to the whole. */
static void test_usage_in_a_time(void **state)
{
	struct praas_usage_filter filter = everything;
	struct fixture *f = *state;
	struct praas_app_record a = make_app(f, "t", "a");
	struct praas_process_record p = make_process(f, &a, "p");
	struct sums s;

	put(f, &a, &p, row_of(1000, 2000, 100));
	put(f, &a, &p, row_of(2000, 3000, 40));
	filter.since_ns = 1000;
	filter.until_ns = 1250;
	assert_int_equal(sums_of(f, &filter).sum[0].used.cpu_ns, 25);
	filter.since_ns = 1250;
	filter.until_ns = 2500;
	s = sums_of(f, &filter);
	assert_int_equal(s.sum[0].used.cpu_ns, 75 + 20);
	assert_true(fabs(s.sum[0].used.resident - 6 * 95) < 1e-6);
	filter.since_ns = 2500;
	filter.until_ns = 9000;
	assert_int_equal(sums_of(f, &filter).sum[0].used.cpu_ns, 20);
	filter.since_ns = 3000;
	assert_true(praas_usage_none(&sums_of(f, &filter).sum[0].used));
	filter.since_ns = 0;
	filter.until_ns = 1; /* it was created then */
	assert_int_equal(sums_of(f, &filter).count, 0);
}

/* Sums come by tenant, application and number; a filter takes some; who stops goes on behind. */
static void test_usage_order_and_filter(void **state)
{
	static const struct {
		const char *tenant, *app, *name;
	} all[] = { { "t", "a", "x" },
		    { "t", "a", "y" },
		    { "t", "b", "x" },
		    { "u", "a", "x" } };
	struct praas_usage_filter filter = everything;
	struct fixture *f = *state;
	struct praas_app_record ub = make_app(f, "u", "a"), tb = make_app(f, "t", "b"),
				ta = make_app(f, "t", "a");
	const struct praas_app_record *apps[] = { &ta, &ta, &tb, &ub };
	struct sums s = { .stop_at = 2 };

	for (int i = 3; i >= 0; i--) {
		struct praas_process_record p = make_process(f, apps[i], all[i].name);

		put(f, apps[i], &p, row_of(10, 20, 1));
	}
	assert_int_equal(f->r->usage->freeze(f->r), 0);
	assert_int_equal(f->r->usage->each(f->r, &everything, take_sum, &s), 7);
	f->r->usage->thaw(f->r);
	assert_int_equal(s.count, 2);
	assert_string_equal(s.sum[0].name, "y"); /* has the smaller number */
	assert_string_equal(s.sum[1].name, "x");
	filter.after_tenant = "t";
	filter.after_app = "a";
	filter.after_number = s.sum[1].number;
	s = sums_of(f, &filter);
	assert_int_equal(s.count, 2);
	assert_string_equal(s.sum[0].app, "b");
	assert_string_equal(s.sum[1].tenant, "u");
	filter = everything;
	filter.tenant = "t";
	assert_int_equal(sums_of(f, &filter).count, 3);
	filter.app = "a";
	assert_int_equal(sums_of(f, &filter).count, 2);
	filter.name = "x";
	assert_int_equal(sums_of(f, &filter).count, 1);
	filter.tenant = NULL;
	assert_int_equal(sums_of(f, &filter).count, 2);
}

/* What is put after freeze() is not seen until thaw(). */
static void test_usage_frozen(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = make_app(f, "t", "a");
	struct praas_process_record p = make_process(f, &a, "p");
	struct sums s = { 0 };

	put(f, &a, &p, row_of(10, 20, 1));
	assert_int_equal(f->r->usage->freeze(f->r), 0);
	put(f, &a, &p, row_of(20, 30, 1));
	assert_int_equal(f->r->usage->each(f->r, &everything, take_sum, &s), 0);
	assert_int_equal(s.sum[0].used.cpu_ns, 1);
	assert_int_equal(s.sum[0].used_ns, 20);
	f->r->usage->thaw(f->r);
	s = sums_of(f, &everything);
	assert_int_equal(s.sum[0].used.cpu_ns, 2);
	assert_int_equal(s.sum[0].used_ns, 30);
}

static uint32_t fold_all(const struct fixture *f, uint64_t before_ns)
{
	uint32_t rows, all = 0;

	do {
		assert_int_equal(f->r->usage->fold(f->r, before_ns, &rows), 0);
		all += rows;
	} while (rows > 0);
	return all;
}

/* Three days of rows every hour become one a day; what they sum up to stays; the day that is
 * not over is left alone; a second time there is nothing to do; the old are deleted. */
static void test_usage_fold_and_expire(void **state)
{
	const uint64_t every = 3600000000000ull, first = 20000 * DAY;
	struct praas_usage_filter filter = everything;
	struct fixture *f = *state;
	struct praas_app_record a = make_app(f, "t", "a");
	struct praas_process_record p[2];
	struct sums before, after;
	uint32_t rows;

	p[0] = make_process(f, &a, "p");
	p[1] = make_process(f, &a, "q");
	for (uint64_t i = 1; i <= 3 * 24; i++)
		for (int k = 0; k < 2; k++)
			put(f, &a, &p[k],
			    row_of(first + (i - 1) * every, first + i * every - 1, 7));
	before = sums_of(f, &everything);
	assert_int_equal(fold_all(f, first + DAY - 1), 0);
	assert_int_equal(fold_all(f, first + 2 * DAY), 2 * 2 * 24);
	assert_int_equal(fold_all(f, first + 2 * DAY), 0);
	after = sums_of(f, &everything);
	assert_int_equal(after.count, 2);
	for (int k = 0; k < 2; k++)
		assert_memory_equal(&before.sum[k].used, &after.sum[k].used,
				    sizeof(struct praas_usage));
	filter.since_ns = first + DAY;
	filter.until_ns = first + 2 * DAY;
	after = sums_of(f, &filter);
	assert_int_equal(after.sum[0].used.cpu_ns, 24 * 7);
	/* Two folded rows, and those of the last day. */
	assert_int_equal(f->r->usage->expire(f->r, first + 2 * DAY, &rows), 0);
	assert_int_equal(rows, 2 * 2);
	assert_int_equal(f->r->usage->expire(f->r, INT64_MAX, &rows), 0);
	assert_int_equal(rows, 2 * 24);
}

/* More than a number holds is told as the most there is, and never wraps. */
static void test_usage_never_wraps(void **state)
{
	struct praas_usage most = { UINT64_MAX, UINT64_MAX, UINT64_MAX,  UINT64_MAX,
				    UINT64_MAX, INFINITY,   -(double)NAN };
	struct praas_usage sum = { 0 }, more;
	struct fixture *f = *state;
	struct praas_app_record a = make_app(f, "t", "a");
	struct praas_process_record p = make_process(f, &a, "p");
	struct sums s;

	praas_usage_add(&sum, &most);
	praas_usage_add(&sum, &most);
	assert_int_equal(sum.cpu_ns, PRAAS_USAGE_MAX);
	assert_true(isfinite(sum.resident));
	assert_true(sum.stored == 0);
	more = praas_usage_since(&most, &(struct praas_usage){ .calls = 3 });
	assert_int_equal(more.calls, PRAAS_USAGE_MAX - 3);
	more = praas_usage_since(&(struct praas_usage){ .calls = 3 }, &most);
	assert_int_equal(more.calls, 0);
	for (uint64_t i = 0; i < 5; i++)
		put(f, &a, &p, (struct praas_usage_row){ i, i + 1, sum });
	s = sums_of(f, &everything);
	assert_int_equal(s.sum[0].used.cpu_ns, 5 * PRAAS_USAGE_ROW_MAX);
	assert_true(isfinite(s.sum[0].used.resident));
}

/* A row whose columns are not what was written is refused. */
static void test_usage_damaged_rows(void **state)
{
	static const char *const damages[] = {
		"cpu_ns=-1",  "calls='x'", "bytes_in=1.5", "resident=-1", "stored='x'",
		"from_ns=99", "tenant=''", "app=x'00'",    "number=0",
	};
	struct fixture *f = *state;
	struct praas_app_record a = make_app(f, "t", "a");
	struct praas_process_record p = make_process(f, &a, "p");

	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		struct sums s = { 0 };
		char sql[256];

		put(f, &a, &p, row_of(10, 20, 1));
		(void)snprintf(sql, sizeof(sql), "UPDATE usage SET %s", damages[i]);
		change_file(f, sql);
		assert_int_equal(f->r->usage->freeze(f->r), 0);
		if (f->r->usage->each(f->r, &everything, take_sum, &s) != -EPROTO)
			fail_msg("%s was believed", damages[i]);
		f->r->usage->thaw(f->r);
		change_file(f, "DELETE FROM usage");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(test_usage_put_is_one_change), ALL(test_usage_outlives_its_process),
		ALL(test_usage_in_a_time),         ALL(test_usage_order_and_filter),
		SQLITE(test_usage_frozen),         ALL(test_usage_fold_and_expire),
		ALL(test_usage_never_wraps),       SQLITE(test_usage_damaged_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
