/* SPDX-License-Identifier: Apache-2.0
 *
 * Records that were damaged. First byte even: rows whose columns hold anything; odd: a good file
 * with bytes of it changed. Either is refused with an error, or says only what could have been
 * written.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/names.h"
#include "control/records/records_sqlite.h"
#include "internal/base.h"

#define COLUMNS 24
#define FILE_MAX 98304

static char dir[] = "/tmp/praas-fuzz-rec-XXXXXX", file[64];
static uint8_t good[FILE_MAX];
static size_t good_bytes;

static void clear(void)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	char path[80];

	for (int i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", file, ends[i]);
		(void)unlink(path);
	}
}

static void leave(void)
{
	clear();
	(void)rmdir(dir);
}

static const uint8_t some[] = "abc";

static void check_queued(const struct praas_queued *m, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		praas_check(m[i].position > 0 && m[i].epoch > 0 && m[i].number > 0);
		praas_check(m[i].bytes <= PRAAS_LIMIT_MESSAGE_BYTES);
	}
}

/* Writes the file that is damaged later. */
static void prepare(void)
{
	struct praas_app_record app = {
		.memory_bytes = 1 << 20, .tenant = "t", .name = "a", .code = "/c"
	};
	struct praas_process_record p = { .state = PRAAS_LIFE_SWAPPED, .name = "p" };
	const struct praas_usage_row row[3] = {
		{ 1, 5, { .cpu_ns = 9, .resident = 1.5 } },
		{ 5, 7, { .calls = 2 } },
		{ 7, PRAAS_USAGE_DAY_NS + 7, { .bytes_in = 3, .stored = 7 } },
	};
	struct praas_item item = { .id = "i", .body = "{}" };
	const struct praas_queued queued[2] = {
		{ .source = 1, .epoch = 1, .number = 1, .bytes = 3, .data = some },
		{ .source = 1,
		  .epoch = 1,
		  .number = 2,
		  .key_bytes = 1,
		  .traced = true,
		  .data = some },
	};
	struct praas_records *r;
	uint64_t tail;
	char text[256];
	uint32_t n;
	int fd;

	praas_check(mkdtemp(dir) != NULL);
	(void)snprintf(file, sizeof(file), "%s/r", dir);
	(void)atexit(leave);
	praas_check(praas_records_sqlite_open(file, &r, text) == 0);
	praas_check(r->ops->app_put(r, &app) == 0);
	for (int i = 0; i < 3; i++) {
		p.version = 0;
		p.number = 0;
		p.name[1] = (char)('0' + i);
		praas_check(r->ops->process_put(r, &p) == 0);
	}
	for (int i = 0; i < 3; i++) /* of two days; the first may be folded */
		praas_check(r->usage->put(r, &p, &app, &row[i]) == 0);
	praas_check(r->items->put(r, PRAAS_ITEM_TENANT, &item) == 0);
	praas_check(r->queue->append(r, p.number, queued, 2, &n, &tail) == 0);
	r->ops->close(r);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	good_bytes = (size_t)read(fd, good, sizeof(good));
	praas_check(good_bytes > 4096 && good_bytes < sizeof(good));
	(void)close(fd);
	if (!freopen("/dev/null", "w", stderr)) /* what is damaged is told there */
		abort();
}

static void check_used(const struct praas_usage *used)
{
	praas_check(used->cpu_ns <= PRAAS_USAGE_MAX && used->calls <= PRAAS_USAGE_MAX);
	praas_check(used->resident >= 0 && used->stored >= 0);
}

static int check_sum(void *user, const struct praas_usage_sum *sum)
{
	(void)user;
	praas_check(praas_name_valid(sum->tenant) && praas_name_valid(sum->app));
	praas_check(praas_name_valid(sum->name) && sum->number > 0);
	check_used(&sum->used);
	return 0;
}

static void check_process(const struct praas_process_record *p)
{
	praas_check(praas_name_valid(p->name));
	praas_check(!p->node[0] || praas_name_valid(p->node));
	praas_check(p->state >= PRAAS_LIFE_SWAPPED && p->state <= PRAAS_LIFE_MIGRATING);
	praas_check(strnlen(p->endpoints, sizeof(p->endpoints)) < sizeof(p->endpoints));
	praas_check(p->number > 0 && p->version > 0 && p->os_pid >= 0 && p->slot >= -1);
	check_used(&p->counted);
}

static void check_app(const struct praas_app_record *app)
{
	praas_check(praas_name_valid(app->name));
	praas_check(praas_name_valid(app->tenant));
	praas_check(strnlen(app->code, sizeof(app->code)) < sizeof(app->code));
	praas_check(app->wait <= 2 && app->version > 0);
}

/* Values of any type; each takes a byte for its type and length. */
static void bind_any(sqlite3_stmt *st, const uint8_t *data, size_t bytes)
{
	size_t at = 0;

	for (int i = 1; i <= COLUMNS && at < bytes; i++) {
		uint8_t how = data[at++];
		size_t n = how >> 2;
		int64_t number = 0;

		if (n > bytes - at)
			n = bytes - at;
		memcpy(&number, data + at, n < 8 ? n : 8);
		if ((how & 3) == 0)
			(void)sqlite3_bind_int64(st, i, number);
		else if ((how & 3) == 1)
			(void)sqlite3_bind_text(st, i, (const char *)data + at, (int)n,
						SQLITE_STATIC);
		else if ((how & 3) == 2)
			(void)sqlite3_bind_blob(st, i, data + at, (int)n,
						SQLITE_STATIC);
		else
			(void)sqlite3_bind_double(st, i, (double)number);
		at += n;
	}
}

static void try_rows(const uint8_t *data, size_t bytes)
{
	static sqlite3_stmt *st;
	static sqlite3 *db;
	struct praas_process_record p;
	struct praas_app_record app;
	struct praas_usage_sum sum;
	struct praas_queue_state queue;
	struct praas_queued message;
	struct praas_item item;

	if (!db) {
		praas_check(sqlite3_open(":memory:", &db) == SQLITE_OK);
		praas_check(sqlite3_prepare_v2(db,
					       "SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,"
					       "?11,?12,?13,?14,?15,?16,?17,?18,?19,"
					       "?20,?21,?22,?23,?24",
					       -1, &st, NULL) == SQLITE_OK);
	}
	bind_any(st, data, bytes);
	praas_check(sqlite3_step(st) == SQLITE_ROW);
	if (praas_sqlite_read_process(st, &p) == 0)
		check_process(&p);
	if (praas_sqlite_read_app(st, &app) == 0)
		check_app(&app);
	if (praas_sqlite_read_item(st, &item) == 0)
		praas_check(praas_name_valid(item.id));
	if (praas_sqlite_read_usage(st, &sum) == 0)
		(void)check_sum(NULL, &sum);
	if (praas_sqlite_read_queued(st, &message) == 0)
		check_queued(&message, 1);
	if (praas_sqlite_read_queue_state(st, 0, &queue) == 0)
		praas_check(queue.tail - queue.trimmed == queue.messages);
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

/* Three bytes each: where (by pages of 16 bits), and what. */
static void damage(const uint8_t *data, size_t bytes)
{
	uint8_t bad[FILE_MAX];
	int fd;

	memcpy(bad, good, good_bytes);
	for (size_t i = 0; i + 2 < bytes; i += 3)
		bad[((data[i] | (size_t)data[i + 1] << 8) +
		     i % 2 * (FILE_MAX - 65536)) %
		    good_bytes] = data[i + 2];
	clear();
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	praas_check(fd >= 0);
	praas_check(write(fd, bad, good_bytes) == (ssize_t)good_bytes);
	(void)close(fd);
}

static void try_queue(struct praas_records *r)
{
	const struct praas_queued one = {
		.source = 2, .epoch = 1, .number = 1, .bytes = 3, .data = some
	};
	struct praas_queued m[PRAAS_LIMIT_MAIL_BATCH];
	uint32_t n = 0, bytes = 0;
	uint8_t *data = NULL;
	uint64_t tail;
	bool more;

	for (uint64_t process = 1; process <= 3; process++) {
		if (r->queue->read(r, process, 0, m, &n, &data, &bytes, &more) == 0) {
			check_queued(m, n);
			free(data);
		}
		(void)r->queue->append(r, process, &one, 1, &n, &tail);
		(void)r->queue->trim(r, process, 1);
		(void)r->queue->lift(r, process, 9, &tail);
	}
}

static void try_file(const uint8_t *data, size_t bytes)
{
	static const struct praas_usage_row row = { 1, 2, { .calls = 1 } };
	static const struct praas_usage_filter all = { .until_ns = INT64_MAX,
						       .after_tenant = "",
						       .after_app = "" };
	struct praas_process_record processes[4];
	struct praas_app_record apps[4] = { { .name = "a" } };
	struct praas_item items[4];
	struct praas_records *r;
	char text[256] = "";
	uint32_t n = 0;

	damage(data, bytes);
	if (praas_records_sqlite_open(file, &r, text)) {
		praas_check(text[0] && strnlen(text, sizeof(text)) < sizeof(text));
		return;
	}
	if (r->ops->app_list(r, NULL, NULL, 4, apps, &n) == 0)
		for (uint32_t i = 0; i < n; i++)
			check_app(&apps[i]);
	(void)r->items->list(r, PRAAS_ITEM_TENANT, NULL, 4, items, &n);
	n = 0;
	if (r->ops->process_list(r, NULL, "0", 4, processes, &n) == 0)
		for (uint32_t i = 0; i < n; i++)
			check_process(&processes[i]);
	if (n > 0)
		(void)r->usage->put(r, &processes[0], &apps[0], &row);
	if (r->usage->freeze(r) == 0) {
		(void)r->usage->each(r, &all, check_sum, NULL);
		r->usage->thaw(r);
	}
	(void)r->usage->fold(r, UINT64_MAX / 4, &n);
	try_queue(r);
	r->ops->close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (!good_bytes)
		prepare();
	if (bytes == 0)
		return 0;
	if (data[0] & 1)
		try_file(data + 1, bytes - 1);
	else
		try_rows(data + 1, bytes - 1);
	return 0;
}
