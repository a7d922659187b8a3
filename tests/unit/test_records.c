/* SPDX-License-Identifier: Apache-2.0
 *
 * The conformance suite of stores for records, run on each of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/records.h"

struct fixture {
	struct praas_records *r;
	char dir[64], url[128];
	struct praas_app_record app;
};

static int open_store(struct fixture *f)
{
	char text[256];

	return praas_records_open(f->url, &f->r, text);
}

static int setup(void **state, const char *kind)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/praas-rec-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	if (!strcmp(kind, "sqlite"))
		(void)snprintf(f->url, sizeof(f->url), "sqlite://%s/r.db", f->dir);
	else
		(void)snprintf(f->url, sizeof(f->url), "memory:");
	*state = f;
	return open_store(f);
}

static int setup_sqlite(void **state)
{
	return setup(state, "sqlite");
}

static int setup_memory(void **state)
{
	return setup(state, "memory");
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	f->r->ops->close(f->r);
	(void)snprintf(command, sizeof(command), "rm -r %s", f->dir);
	if (system(command)) /* our own folder */
		return -1;
	free(f);
	return 0;
}

static struct praas_app_record app_named(const char *name)
{
	struct praas_app_record a = { .memory_bytes = 1ull << 40,
				      .concurrency = 3,
				      .wait = 2 };

	(void)snprintf(a.name, sizeof(a.name), "%s", name);
	(void)snprintf(a.code, sizeof(a.code), "/code/%s", name);
	memset(a.id, name[0], sizeof(a.id));
	return a;
}

static struct praas_process_record process_named(const struct praas_app_record *app,
						 const char *name)
{
	struct praas_process_record p = { .state = PRAAS_LIFE_SWAPPED,
					  .slot = -1,
					  .epoch = UINT32_MAX,
					  .os_start = UINT64_MAX / 2 };

	memcpy(p.app, app->id, sizeof(p.app));
	(void)snprintf(p.name, sizeof(p.name), "%s", name);
	memset(p.join_hash, 0xab, sizeof(p.join_hash));
	(void)snprintf(p.endpoints, sizeof(p.endpoints), "[\"tcp://x\"]");
	return p;
}

/* What is put is what is got, to the last field; an unknown name is -ENOENT. */
static void test_records_put_get_round_trip(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a"), got;
	struct praas_process_record p, back;

	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	assert_int_equal(a.version, 1);
	assert_int_equal(f->r->ops->app_get(f->r, "a", &got), 0);
	assert_memory_equal(&a, &got, sizeof(a));
	assert_int_equal(f->r->ops->app_get(f->r, "b", &got), -ENOENT);
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
	assert_int_equal(f->r->ops->app_list(f->r, NULL, 8, apps, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(apps[0].name, "x");
	assert_int_equal(f->r->ops->app_list(f->r, "x", 8, apps, &n), 0);
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

/* A file is there after it was closed; another schema version is refused. */
static void test_records_sqlite_reopens(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record a = app_named("a"), got;
	struct praas_records *other;
	char text[256];
	static const uint8_t other_version[] = { 0, 0, 0,
						 99 }; /* user_version, big-endian */
	int fd;

	assert_int_equal(f->r->ops->app_put(f->r, &a), 0);
	f->r->ops->close(f->r);
	assert_int_equal(open_store(f), 0);
	assert_int_equal(f->r->ops->app_get(f->r, "a", &got), 0);
	assert_memory_equal(&a, &got, sizeof(a));
	f->r->ops->close(f->r);
	assert_int_equal(praas_records_memory_open(&f->r), 0); /* for the teardown */
	fd = open(f->url + strlen("sqlite://"), O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, other_version, 4, 60), 4);
	assert_int_equal(close(fd), 0);
	assert_int_equal(praas_records_open(f->url, &other, text), -EPROTO);
	assert_non_null(strstr(text, "99"));
	assert_int_equal(praas_records_open("mysql://x", &other, text), -EINVAL);
	assert_int_equal(praas_records_open("sqlite:///none/x", &other, text), -EIO);
}

int main(void)
{
#define BOTH(test)                                                                     \
	cmocka_unit_test_setup_teardown(test, setup_sqlite, teardown),                 \
		cmocka_unit_test_setup_teardown(test, setup_memory, teardown)
	const struct CMUnitTest tests[] = {
		BOTH(test_records_put_get_round_trip),
		BOTH(test_records_second_writer_loses),
		BOTH(test_records_delete_is_final),
		BOTH(test_records_list_pages),
		cmocka_unit_test_setup_teardown(test_records_sqlite_reopens,
						setup_sqlite, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
