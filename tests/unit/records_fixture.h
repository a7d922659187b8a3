/* SPDX-License-Identifier: Apache-2.0
 *
 * A store for records of each kind, for the files of its conformance suite.
 */
#ifndef PRAAS_TESTS_RECORDS_FIXTURE_H
#define PRAAS_TESTS_RECORDS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "control/records/records.h"
#include "tests/unit/redis_fixture.h"

struct fixture {
	struct praas_records *r;
	char dir[64], url[128];
	bool cached;
	_Atomic bool over;
	char why[128]; /* a thread failed; "": it did not */
	struct praas_app_record app;
};

static int open_store(struct fixture *f)
{
	char text[256];
	int rc = praas_records_open(f->url, NULL, &f->r, text);

	return rc == 0 && f->cached ? praas_records_cached(f->r, &f->r) : rc;
}

static int setup(void **state, const char *kind)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/praas-rec-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->cached = !strcmp(kind, "cached");
	if (!strcmp(kind, "redis"))
		redis_url(f->url);
	else if (strcmp(kind, "memory") != 0)
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

static int setup_cached(void **state)
{
	return setup(state, "cached");
}

static int setup_memory(void **state)
{
	return setup(state, "memory");
}

static int setup_redis(void **state)
{
	return setup(state, "redis");
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
	struct praas_app_record a = {
		.memory_bytes = 1ull << 40, .concurrency = 3, .wait = 2, .tenant = "t"
	};

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
					  .os_start = UINT64_MAX / 2,
					  .state_bytes = 1ull << 41,
					  .named_bytes = 1ull << 42,
					  .used_ns = 1ull << 60,
					  .counted = { 1, 2, 3, 4, 5, 6.5, 0 } };

	memcpy(p.app, app->id, sizeof(p.app));
	(void)snprintf(p.name, sizeof(p.name), "%s", name);
	memset(p.join_hash, 0xab, sizeof(p.join_hash));
	(void)snprintf(p.node, sizeof(p.node), "n-%s", name);
	(void)snprintf(p.endpoints, sizeof(p.endpoints), "[\"tcp://x\"]");
	return p;
}

static const char *file_of(const struct fixture *f)
{
	return f->url + strlen("sqlite://");
}

/* Runs SQL on the file behind the store's back. */
static void change_file(const struct fixture *f, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(file_of(f), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

#define SQLITE(test) cmocka_unit_test_setup_teardown(test, setup_sqlite, teardown)
#define REDIS(test) cmocka_unit_test_setup_teardown(test, setup_redis, teardown)
#define ALL(test)                                                                      \
	cmocka_unit_test_setup_teardown(test, setup_redis, teardown),                  \
		cmocka_unit_test_setup_teardown(test, setup_sqlite, teardown),         \
		cmocka_unit_test_setup_teardown(test, setup_cached, teardown),         \
		cmocka_unit_test_setup_teardown(test, setup_memory, teardown)

#endif
