/* SPDX-License-Identifier: Apache-2.0
 *
 * What is changed while it is read: a read is kept unless something of its kind changed meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "control/records/records.h"

static const struct praas_records_ops *stored;
static struct praas_records_ops counted;
static struct praas_records *cached;
static struct praas_app_record app;
static struct praas_process_record process;
static unsigned app_reads, process_reads;
static void (*meanwhile)(void);

static int app_get(struct praas_records *r, const char *tenant, const char *name,
		   struct praas_app_record *ret_app)
{
	int rc = stored->app_get(r, tenant, name, ret_app);

	app_reads++;
	if (meanwhile)
		meanwhile();
	return rc;
}

static int process_get(struct praas_records *r, const uint8_t *id, const char *name,
		       struct praas_process_record *ret_process)
{
	int rc = stored->process_get(r, id, name, ret_process);

	process_reads++;
	if (meanwhile)
		meanwhile();
	return rc;
}

static void change_app(void)
{
	app.concurrency++;
	assert_int_equal(cached->ops->app_put(cached, &app), 0);
}

static void change_process(void)
{
	process.slot++;
	assert_int_equal(cached->ops->process_put(cached, &process), 0);
}

static int setup(void **state)
{
	char why[256];
	struct praas_records *inner;

	(void)state;
	if (praas_records_open("memory:", NULL, &inner, why) != 0)
		return -1;
	stored = inner->ops;
	counted = *stored;
	counted.app_get = app_get;
	counted.process_get = process_get;
	inner->ops = &counted;
	app = (struct praas_app_record){ .memory_bytes = 1 << 20,
					 .concurrency = 1,
					 .name = "a",
					 .tenant = "t",
					 .code = "/code",
					 .id = { 7 } };
	process = (struct praas_process_record){ .state = PRAAS_LIFE_SWAPPED,
						 .slot = 1,
						 .name = "p" };
	memcpy(process.app, app.id, sizeof(process.app));
	app_reads = process_reads = 0;
	meanwhile = NULL;
	if (praas_records_cached(inner, &cached) != 0 ||
	    cached->ops->app_put(cached, &app) != 0)
		return -1;
	return cached->ops->process_put(cached, &process);
}

static int teardown(void **state)
{
	(void)state;
	cached->ops->close(cached);
	return 0;
}

static void read_app(uint32_t concurrency)
{
	struct praas_app_record got;

	assert_int_equal(cached->ops->app_get(cached, "t", "a", &got), 0);
	assert_int_equal(got.concurrency, concurrency);
}

static void read_process(int64_t slot)
{
	struct praas_process_record got;

	assert_int_equal(cached->ops->process_get(cached, app.id, "p", &got), 0);
	assert_int_equal(got.slot, slot);
}

/* Processes are stored all the time: an application is kept all the same, and there when its store is not. */
static void test_cache_app_beside_processes(void **state)
{
	(void)state;
	meanwhile = change_process;
	read_app(1);
	read_app(1);
	assert_int_equal(app_reads, 1);
}

/* What was read may be what was before the change. */
static void test_cache_of_the_same_kind(void **state)
{
	(void)state;
	meanwhile = change_app;
	read_app(1);
	meanwhile = NULL;
	read_app(2);
	read_app(2);
	assert_int_equal(app_reads, 2);
	meanwhile = change_process;
	read_process(1);
	meanwhile = NULL;
	read_process(2);
	read_process(2);
	assert_int_equal(process_reads, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cache_app_beside_processes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_cache_of_the_same_kind, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("records_cache", tests, NULL, NULL);
}
