/* SPDX-License-Identifier: Apache-2.0
 *
 * The conformance suite of stores for records, run on each of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "tests/unit/records_fixture.h"

#define CHANGES 300

/* What is put is what is got, to the last field; an unknown name is -ENOENT. */
static void test_records_put_get_round_trip(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a"), got;
	struct praas_process_record p, back;

	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	assert_int_equal(a.version, 1);
	assert_int_equal(f->r->ops->app_get(f->r, "t", "a", &got), 0);
	assert_memory_equal(&a, &got, sizeof(a));
	assert_int_equal(f->r->ops->app_get(f->r, "t", "b", &got), -ENOENT);
	p = process_named(&a, "p");
	assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	assert_int_equal(p.number, 1);
	assert_int_equal(f->r->ops->process_get(f->r, a.id, "p", &back), 0);
	assert_memory_equal(&p, &back, sizeof(p));
	memset(&back, 0, sizeof(back));
	back.number = 1;
	assert_int_equal(f->r->ops->process_get(f->r, NULL, NULL, &back), 0);
	assert_string_equal(back.name, "p");
	assert_int_equal(f->r->ops->process_get(f->r, a.id, "q", &back), -ENOENT);
}

/* A name is taken once; who replaces an older version than is stored loses. */
static void test_records_second_writer_loses(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a"), other = app_named("a");
	struct praas_process_record p, q;

	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	other.id[0] = 0;
	assert_int_equal(f->r->ops->app_put(f->r, &other), -EEXIST);
	p = process_named(&a, "p");
	assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	q = process_named(&a, "p");
	assert_int_equal(f->r->ops->process_put(f->r, &q), -EEXIST);
	q = p;
	p.epoch = 7;
	assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	assert_int_equal(p.version, 2);
	q.epoch = 8;
	assert_int_equal(f->r->ops->process_put(f->r, &q), -ESTALE);
	assert_int_equal(f->r->ops->process_get(f->r, a.id, "p", &q), 0);
	assert_int_equal(q.epoch, 7);
	q.number = 99;
	assert_int_equal(f->r->ops->process_put(f->r, &q), -ESTALE);
	a.concurrency = 9;
	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	a.version = 1;
	assert_int_equal(f->r->ops->app_put(f->r, &a), -ESTALE);
}

/* A number can be had before the record is there; none is given twice, whether it was used or not. */
static void test_records_numbers(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a");
	struct praas_process_record p, q;
	uint64_t last, number;

	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	p = process_named(&a, "p");
	p.number = last = f->r->ops->process_number(f->r);
	assert_int_equal(last, 1);
	q = process_named(&a, "q");
	assert_int_equal(f->r->ops->process_put(f->r, &q), 0);
	assert_true(q.number > last);
	assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	assert_int_equal(p.number, last);
	last = q.number;
	for (int i = 0; i < 2 * CHANGES; i++) {
		number = f->r->ops->process_number(f->r);
		assert_true(number > last);
		last = number;
	}
	q = process_named(&a, "p"); /* the name is taken */
	assert_int_equal(f->r->ops->process_put(f->r, &q), -EEXIST);
	assert_int_equal(q.number, 0);
}

/* Numbers are never given again; an application with processes stays. */
static void test_records_delete_is_final(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a");
	struct praas_process_record p, q;

	q = process_named(&a, "early");
	assert_int_equal(f->r->ops->process_put(f->r, &q), -ENOENT);
	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	p = process_named(&a, "p");
	assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	assert_int_equal(f->r->ops->app_delete(f->r, a.id), -ENOTEMPTY);
	assert_int_equal(f->r->ops->process_delete(f->r, p.number), 0);
	assert_int_equal(f->r->ops->process_delete(f->r, p.number), -ENOENT);
	assert_int_equal(f->r->ops->process_put(f->r, &p), -ESTALE);
	q = process_named(&a, "p");
	assert_int_equal(f->r->ops->process_put(f->r, &q), 0);
	assert_true(q.number > p.number);
	assert_int_equal(f->r->ops->process_delete(f->r, q.number), 0);
	assert_int_equal(f->r->ops->app_delete(f->r, a.id), 0);
	assert_int_equal(f->r->ops->app_delete(f->r, a.id), -ENOENT);
}

/* Listings come in order and in pages. */
static void test_records_list_pages(void **state)
{
	static const char *const names[] = { "c", "a", "b", "e", "d" };
	struct fixture *f = *state;
	struct praas_app_record a = app_named("x"), b = app_named("y"), apps[8];
	struct praas_process_record page[8];
	uint32_t n = 0;

	assert_int_equal(f->r->ops->app_put(f->r, &b), 0);
	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	assert_int_equal(f->r->ops->app_list(f->r, "t", NULL, 8, apps, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(apps[0].name, "x");
	assert_int_equal(f->r->ops->app_list(f->r, "t", "x", 8, apps, &n), 0);
	assert_int_equal(n, 1);
	for (unsigned i = 0; i < 5; i++) {
		struct praas_process_record p =
			process_named(i < 4 ? &a : &b, names[i]);

		assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	}
	assert_int_equal(f->r->ops->process_list(f->r, a.id, NULL, 3, page, &n), 0);
	assert_int_equal(n, 3);
	assert_string_equal(page[2].name, "c");
	assert_int_equal(f->r->ops->process_list(f->r, a.id, "c", 3, page, &n), 0);
	assert_int_equal(n, 1);
	assert_string_equal(page[0].name, "e");
	assert_int_equal(f->r->ops->process_list(f->r, NULL, "0", 8, page, &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(f->r->ops->process_list(f->r, NULL, "4", 8, page, &n), 0);
	assert_int_equal(n, 1);
	assert_string_equal(page[0].name, "d");
	assert_int_equal(f->r->ops->process_list(f->r, NULL, "x", 8, page, &n),
			 -EINVAL);
}

/* Two tenants may use one name; the list of all is by tenant and name, and goes on after a pair. */
static void test_records_tenants_apart(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a"), b = app_named("a"), apps[8];
	uint32_t n = 0;

	strcpy(b.tenant, "u");
	b.id[0] = 0;
	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	assert_int_equal(f->r->ops->app_put(f->r, &b), 0);
	assert_int_equal(f->r->ops->app_get(f->r, "u", "a", &apps[0]), 0);
	assert_memory_equal(apps[0].id, b.id, sizeof(b.id));
	assert_int_equal(f->r->ops->app_get(f->r, "v", "a", &apps[0]), -ENOENT);
	assert_int_equal(f->r->ops->app_list(f->r, "u", NULL, 8, apps, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(f->r->ops->app_list(f->r, NULL, NULL, 8, apps, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(apps[0].tenant, "t");
	assert_int_equal(f->r->ops->app_list(f->r, NULL, "t/a", 8, apps, &n), 0);
	assert_int_equal(n, 1);
	assert_string_equal(apps[0].tenant, "u");
	assert_int_equal(f->r->ops->app_list(f->r, NULL, "t", 8, apps, &n), -EINVAL);
}

/* Items are told apart by kind and id, are replaced by whoever knows the version, and are listed
 * in order and in pages. */
static void test_records_items(void **state)
{
	static const char *const ids[] = { "c", "a", "b" };
	struct fixture *f = *state;
	const struct praas_items_ops *items = f->r->items;
	struct praas_item item = { .id = "a" }, page[4], old;
	uint32_t n = 0;

	for (unsigned i = 0; i < 3; i++) {
		struct praas_item one = { 0 };

		strcpy(one.id, ids[i]);
		strcpy(one.body, "{}");
		assert_int_equal(items->put(f->r, PRAAS_ITEM_TOKEN, &one), 0);
		assert_int_equal(one.version, 1);
	}
	assert_int_equal(items->put(f->r, PRAAS_ITEM_TOKEN, &item), -EEXIST);
	assert_int_equal(items->put(f->r, PRAAS_ITEM_TENANT, &item), 0);
	assert_int_equal(items->list(f->r, PRAAS_ITEM_TOKEN, NULL, 2, page, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(page[0].id, "a");
	assert_string_equal(page[0].body, "{}");
	assert_int_equal(items->list(f->r, PRAAS_ITEM_TOKEN, "b", 4, page, &n), 0);
	assert_int_equal(n, 1);
	assert_string_equal(page[0].id, "c");
	old = page[0];
	strcpy(page[0].body, "[]");
	assert_int_equal(items->put(f->r, PRAAS_ITEM_TOKEN, &page[0]), 0);
	assert_int_equal(items->put(f->r, PRAAS_ITEM_TOKEN, &old), -ESTALE);
	assert_int_equal(items->list(f->r, PRAAS_ITEM_TOKEN, "b", 4, page, &n), 0);
	assert_string_equal(page[0].body, "[]");
	assert_int_equal(items->take_out(f->r, PRAAS_ITEM_TOKEN, "a"), 0);
	assert_int_equal(items->take_out(f->r, PRAAS_ITEM_TOKEN, "a"), -ENOENT);
	assert_int_equal(items->put(f->r, PRAAS_ITEM_TOKEN, &item), -ESTALE);
	assert_int_equal(items->list(f->r, PRAAS_ITEM_TENANT, NULL, 4, page, &n), 0);
	assert_int_equal(n, 1);
}

/* An assertion in a thread of one's own would end the program without a word: it says what it saw. */
static void *change_for_ever(void *arg)
{
	struct fixture *f = arg;
	struct praas_process_record p = { 0 };
	int i = 0, rc[3] = { 0 };

	for (; i < CHANGES && rc[0] == 0 && rc[1] == 0 && rc[2] == 0; i++) {
		rc[0] = f->r->ops->process_get(f->r, f->app.id, "x", &p);
		p.epoch = (uint32_t)i + 1;
		rc[1] = rc[0] ? 0 : f->r->ops->process_put(f->r, &p);
		rc[2] = rc[0] || rc[1]
				? 0
				: f->r->ops->process_get(f->r, f->app.id, "x", &p);
		if (p.epoch != (uint32_t)i + 1)
			break;
	}
	if (i != CHANGES || rc[0] != 0 || rc[1] != 0 || rc[2] != 0)
		(void)snprintf(
			f->why, sizeof(f->why),
			"change %d: read %d, written %d, read again %d, then epoch %u",
			i, rc[0], rc[1], rc[2], (unsigned)p.epoch);
	atomic_store_explicit(&f->over, true, memory_order_relaxed);
	return NULL;
}

/* Whoever reads while another changes never sees an older state than before; the writer sees its
 * own. */
static void test_records_reads_go_forward(void **state)
{
	struct praas_process_record p = { .state = PRAAS_LIFE_SWAPPED,
					  .generation = 1,
					  .name = "x" };
	struct fixture *f = *state;
	pthread_t writer;
	uint32_t last = 0;

	f->app = app_named("a");
	assert_int_equal(f->r->ops->app_put(f->r, &f->app), 0);
	memcpy(p.app, f->app.id, sizeof(p.app));
	assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	assert_int_equal(pthread_create(&writer, NULL, change_for_ever, f), 0);
	while (!atomic_load_explicit(&f->over, memory_order_relaxed)) {
		assert_int_equal(f->r->ops->process_get(f->r, f->app.id, "x", &p), 0);
		assert_true(p.epoch >= last);
		last = p.epoch;
	}
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_string_equal(f->why, "");
}

/* ---- files -------------------------------------------------------------------------- */

/* For the teardown, when the store is not to be opened again. */
static void leave(struct fixture *f)
{
	assert_int_equal(praas_records_memory_open(&f->r), 0);
}

static void refused(const struct fixture *f, int rc, const char *words)
{
	struct praas_records *r;
	char text[256] = "";

	assert_int_equal(praas_records_open(f->url, NULL, &r, text), rc);
	assert_non_null(strstr(text, words));
}

/* What was given is not given again after an end without a word, nor after an orderly one, which leaves no gap. */
static void test_records_sqlite_numbers_stay_given(void **state)
{
	struct fixture *f = *state;
	struct praas_records *killed = f->r;
	struct praas_app_record a = app_named("a");
	struct praas_process_record p = process_named(&a, "p");
	uint64_t given = killed->ops->process_number(killed);

	assert_int_equal(open_store(f), 0);
	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	assert_true(p.number > given);
	/* It would give numbers of others: it has some left, and then no more. */
	for (int i = 0; i < CHANGES && given != 0; i++)
		given = killed->ops->process_number(killed);
	assert_int_equal(given, 0);
	killed->ops->close(killed);
	f->r->ops->close(f->r);
	assert_int_equal(open_store(f), 0);
	assert_int_equal(f->r->ops->process_number(f->r), p.number + 1);
}

/* A file is there after it was closed; a newer format, and what holds something else, is refused. */
static void test_records_sqlite_reopens(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a"), got;
	struct praas_records *other;
	char text[256];

	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	f->r->ops->close(f->r);
	assert_int_equal(open_store(f), 0);
	assert_int_equal(f->r->ops->app_get(f->r, "t", "a", &got), 0);
	assert_memory_equal(&a, &got, sizeof(a));
	f->r->ops->close(f->r);
	change_file(f, "PRAGMA user_version=99");
	refused(f, -EPROTO, "format 99");
	change_file(f, "PRAGMA user_version=0");
	refused(f, -EPROTO, "something else");
	leave(f);
	assert_int_equal(praas_records_open("mysql://x", NULL, &other, text), -EINVAL);
	assert_int_equal(praas_records_open("sqlite:///none/x", NULL, &other, text),
			 -EIO);
}

/* Records that the first release wrote (a stored file) become ours, and nothing of them is lost. */
static void test_records_sqlite_migrates(void **state)
{
	struct fixture *f = *state;
	struct praas_process_record x;
	struct praas_app_record app;
	struct praas_item item = { .id = "i", .body = "{}" };
	char command[512];

	f->r->ops->close(f->r);
	(void)snprintf(command, sizeof(command), "cp %s %s", PRAAS_RECORDS_V1,
		       file_of(f));
	assert_int_equal(system(command), 0);
	for (int i = 0; i < 2; i++) { /* the second time there is nothing to do */
		assert_int_equal(open_store(f), 0);
		assert_int_equal(f->r->ops->app_get(f->r, "default", "alpha", &app), 0);
		assert_int_equal(app.memory_bytes, 64 << 20);
		assert_int_equal(app.concurrency, 2);
		assert_true(app.isolation_inline);
		assert_string_equal(app.code, "/srv/alpha");
		assert_int_equal(app.checkpoint_ms, 0);
		assert_int_equal(app.state_bytes, 0);
		assert_int_equal(f->r->ops->process_get(f->r, app.id, "x", &x), 0);
		assert_int_equal(x.epoch, 2);
		assert_int_equal(x.state, PRAAS_LIFE_SWAPPED);
		assert_int_equal(x.state_bytes, 0);
		assert_int_equal(x.named_bytes, 0);
		assert_string_equal(x.node, "");
		assert_int_equal(x.used_ns, x.changed_ns);
		assert_int_equal(f->r->ops->app_delete(f->r, app.id), -ENOTEMPTY);
		f->r->ops->close(f->r);
	}
	assert_int_equal(open_store(f), 0);
	x = process_named(&app, "new");
	assert_int_equal(f->r->ops->process_put(f->r, &x), 0);
	assert_int_equal(x.number, 4); /* 2 was deleted, and is not given again */
	assert_int_equal(f->r->items->put(f->r, PRAAS_ITEM_TENANT, &item), 0);
}

/* A migration that cannot be done changes nothing. */
static void test_records_sqlite_migration_fails_whole(void **state)
{
	struct fixture *f = *state;
	char command[512];

	f->r->ops->close(f->r);
	(void)snprintf(command, sizeof(command), "cp %s %s", PRAAS_RECORDS_V1,
		       file_of(f));
	assert_int_equal(system(command), 0);
	change_file(f, "CREATE TABLE items (x)"); /* in the way at its end */
	refused(f, -EIO, "format 1 cannot become 2");
	change_file(f, "DROP TABLE items");
	assert_int_equal(open_store(f), 0);
}

/* What a row says is checked column by column; the others are still there. */
static void test_records_sqlite_damaged_rows(void **state)
{
	static const char *const damages[] = {
		"state=0",
		"state=9",
		"state='x'",
		"state=-1",
		"epoch=4294967296",
		"epoch=-1",
		"name=''",
		"name='..'",
		"name='a/b'",
		"name=x'00'",
		"controller=x'00'",
		"controller=7",
		"join_hash=''",
		"slot=-2",
		"os_pid=2147483648",
		"number=0",
		"endpoints=hex(zeroblob(1024))",
		"version=0",
		"version=1.5",
		"state_bytes=-1",
		"named_bytes=-1",
		"node='a/b'",
		"node=x'00'",
		"used_ns=-1",
		"counted_cpu=4611686018427387905",
		"counted_in='x'",
		"counted_resident=-1",
		"counted_resident='x'",
		"name='"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
	};
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a");
	struct praas_process_record p, page[4];
	uint32_t n = 0;

	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		char sql[256];

		p = process_named(&a, "p");
		assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
		(void)snprintf(sql, sizeof(sql),
			       "UPDATE processes SET %s; UPDATE apps SET wait=3",
			       damages[i]);
		change_file(f, sql);
		n = 0;
		if (f->r->ops->process_list(f->r, a.id, NULL, 4, page, &n) != -EPROTO)
			fail_msg("%s was believed", damages[i]);
		assert_int_equal(n, 0);
		assert_int_equal(f->r->ops->app_get(f->r, "t", "a", &a), -EPROTO);
		change_file(f, "DELETE FROM processes; UPDATE apps SET wait=1");
		assert_int_equal(f->r->ops->app_get(f->r, "t", "a", &a), 0);
	}
}

/* A file with damaged pages is refused with words, not half used. */
static void test_records_sqlite_damaged_pages(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a");
	char zeros[2048] = { 0 };
	int fd;

	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	f->r->ops->close(f->r);
	leave(f);
	fd = open(file_of(f), O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, zeros, sizeof(zeros), 4096), sizeof(zeros));
	assert_int_equal(close(fd), 0);
	refused(f, -EIO, "damaged");
	assert_int_equal(truncate(file_of(f), 1000), 0);
	refused(f, -EIO, file_of(f));
	fd = open(file_of(f), O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "this is no database, but text", 29), 29);
	assert_int_equal(close(fd), 0);
	refused(f, -EIO, "not a database");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(test_records_put_get_round_trip),
		ALL(test_records_second_writer_loses),
		ALL(test_records_numbers),
		ALL(test_records_delete_is_final),
		ALL(test_records_list_pages),
		ALL(test_records_tenants_apart),
		ALL(test_records_items),
		ALL(test_records_reads_go_forward),
		SQLITE(test_records_sqlite_numbers_stay_given),
		SQLITE(test_records_sqlite_reopens),
		SQLITE(test_records_sqlite_migrates),
		SQLITE(test_records_sqlite_migration_fails_whole),
		SQLITE(test_records_sqlite_damaged_rows),
		SQLITE(test_records_sqlite_damaged_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
