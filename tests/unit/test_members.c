/* SPDX-License-Identifier: Apache-2.0
 *
 * Members of an application: the roster of the control service, its lines, and the list that a controller makes
 * of them, against a table that the test keeps.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/life/roster.h"
#include "control/limits.h"
#include "controller/members.h"

#define MODEL 3000u

static const char *const states[] = { NULL,      "ACTIVATING", "ACTIVE", "DRAINING",
				      "SWAPPED", "LOST",       "KILLED" };

struct model {
	uint8_t state[MODEL]; /* 0: not there */
	uint32_t epoch[MODEL];
	uint32_t count;
};

static void name_of(uint64_t number, char name[32])
{
	/* Not in the order of the numbers. */
	(void)snprintf(name, 32, "p%llu", (unsigned long long)(number * 7919 % 10007));
}

static void change(struct praas_roster *r, struct model *m, uint64_t version,
		   uint64_t number, uint8_t state)
{
	char name[32];

	name_of(number, name);
	m->count += (state != 0);
	m->count -= (m->state[number] != 0);
	m->state[number] = state;
	m->epoch[number]++;
	assert_int_equal(praas_roster_change(r, version, number, name, m->epoch[number],
					     states[state]),
			 0);
}

/* All lines after what f has. Returns what came of the last one. */
static int tell(const struct praas_roster *r, struct praas_members_feed *f,
		uint64_t after, unsigned *ret_lines)
{
	struct praas_roster_news news = { .after = after };
	bool more = true;
	int rc = -1;

	*ret_lines = 0;
	while (more) {
		json_t *line = praas_roster_line(r, &news, &more);
		char *text = json_dumps(line, JSON_COMPACT);

		assert_non_null(text);
		assert_true(strlen(text) < PRAAS_LIMIT_LINE_BYTES);
		rc = praas_members_feed(f, line);
		assert_int_equal(rc, more ? 0 : 1);
		free(text);
		json_decref(line);
		(*ret_lines)++;
	}
	return rc;
}

static void check(const struct praas_members *list, const struct model *m)
{
	uint64_t last = 0;

	assert_int_equal(list->count, m->count);
	for (uint32_t i = 0; i < list->count; i++) {
		const struct praas_member_info *info = &list->items[i];
		char name[32];

		assert_true(info->pid > last && info->pid < MODEL);
		last = info->pid;
		name_of(info->pid, name);
		assert_string_equal(info->name, name);
		assert_int_equal(info->state, m->state[info->pid]);
		assert_int_equal(info->epoch, m->epoch[info->pid]);
		assert_int_equal(info->local, 1);
		assert_ptr_equal(
			praas_members_named(list, name, (uint32_t)strlen(name)), info);
		assert_int_equal(praas_members_after(list, info->pid), i + 1);
		assert_int_equal(praas_members_after(list, info->pid - 1), i);
	}
	assert_null(praas_members_named(list, "nobody", 6));
	assert_null(praas_members_named(list, "", 0));
}

/* Three who look now and then, one of whom forgets all, and one that asks for the first time each time. */
static void test_members_random(void **state)
{
	struct praas_members_feed feeds[3] = { { 0 } };
	struct model *m = calloc(1, sizeof(*m));
	struct praas_roster *r;
	uint64_t version = 100;
	unsigned lines;

	(void)state;
	srand(7);
	assert_int_equal(praas_roster_new(version, &r), 0);
	for (uint64_t i = 1; i <= 1000; i++) {
		char name[32];

		name_of(i, name);
		m->state[i] = PRAAS_MEMBER_SWAPPED;
		m->count++;
		assert_int_equal(praas_roster_load(r, i, name, 0, "SWAPPED"), 0);
	}
	for (unsigned turn = 0; turn < 6000; turn++) {
		uint64_t number = 1 + (uint64_t)rand() % (MODEL - 1);
		struct praas_members_feed *f = &feeds[rand() % 3];

		if (rand() % 5 != 0 || !m->state[number])
			change(r, m, ++version, number,
			       (uint8_t)(m->state[number] ? 1 + rand() % 6
							  : PRAAS_MEMBER_STARTING));
		else
			change(r, m, ++version, number, 0);
		if (rand() % 50 != 0)
			continue;
		if (rand() % 20 == 0)
			praas_members_feed_release(f);
		(void)tell(r, f, f->list ? f->list->version : 0, &lines);
		assert_int_equal(f->list->version, version);
		check(f->list, m);
	}
	for (unsigned i = 0; i < 3; i++)
		praas_members_feed_release(&feeds[i]);
	praas_roster_free(r);
	free(m);
}

/* Where the first line after a version begins, and whether another follows. */
static json_int_t begins(const struct praas_roster *r, uint64_t after, bool *ret_more)
{
	struct praas_roster_news news = { .after = after };
	json_t *line = praas_roster_line(r, &news, ret_more);
	json_int_t from = json_integer_value(json_object_get(line, "from"));

	json_decref(line);
	return from;
}

/* A few changes are a short line; who comes from another service gets all. */
static void test_members_lines(void **state)
{
	struct praas_members_feed f = { 0 };
	struct model *m = calloc(1, sizeof(*m));
	struct praas_roster_news news = { 0 };
	struct praas_roster *r;
	uint64_t version = 5000;
	unsigned lines;
	json_t *line;
	bool more;

	(void)state;
	assert_int_equal(praas_roster_new(version, &r), 0);
	(void)tell(r, &f, 0, &lines);
	assert_int_equal(lines, 1);
	assert_int_equal(f.list->count, 0);
	for (uint64_t i = 1; i <= 1000; i++)
		change(r, m, ++version, i, PRAAS_MEMBER_ACTIVE);
	(void)tell(r, &f, f.list->version, &lines);
	assert_int_equal(lines, 3);
	change(r, m, ++version, 5, PRAAS_MEMBER_SWAPPED);
	change(r, m, ++version, 6, 0);
	news.after = f.list->version;
	line = praas_roster_line(r, &news, &more);
	assert_int_equal(json_array_size(json_object_get(line, "members")), 2);
	assert_int_equal(json_integer_value(json_object_get(line, "from")),
			 (json_int_t)f.list->version);
	assert_int_equal(praas_members_feed(&f, line), 1);
	/* Once more: it is not on top of what is there. */
	assert_int_equal(praas_members_feed(&f, line), -ESTALE);
	json_decref(line);
	check(f.list, m);
	assert_int_equal(begins(r, 4999, &more), 0);
	assert_true(more);
	assert_int_equal(begins(r, version + 1, &more), 0);
	assert_int_equal(begins(r, version, &more), (json_int_t)version);
	assert_false(more);
	praas_members_feed_release(&f);
	praas_roster_free(r);
	free(m);
}

/* When so many have left since that they are not told of one by one any more, all is told. */
static void test_members_left(void **state)
{
	struct praas_members_feed f = { 0 };
	struct model *m = calloc(1, sizeof(*m));
	struct praas_roster *r;
	uint64_t version = 5000;
	unsigned lines;
	bool more;

	(void)state;
	assert_int_equal(praas_roster_new(version, &r), 0);
	change(r, m, ++version, 7, PRAAS_MEMBER_ACTIVE);
	(void)tell(r, &f, 0, &lines);
	for (uint64_t i = 0; i <= PRAAS_LIMIT_ROSTER_GONE; i++) {
		assert_int_equal(begins(r, f.list->version, &more),
				 (json_int_t)f.list->version);
		assert_int_equal(
			praas_roster_change(r, ++version, MODEL + i, "x", 1, "ACTIVE"),
			0);
		assert_int_equal(
			praas_roster_change(r, ++version, MODEL + i, "x", 1, NULL), 0);
	}
	assert_int_equal(begins(r, f.list->version, &more), 0);
	(void)tell(r, &f, f.list->version, &lines);
	check(f.list, m);
	praas_members_feed_release(&f);
	praas_roster_free(r);
	free(m);
}

/* What was told counts before what is read of the records. */
static void test_members_loading(void **state)
{
	struct praas_members_feed f = { 0 };
	struct praas_roster *r;
	unsigned lines;

	(void)state;
	assert_int_equal(praas_roster_new(10, &r), 0);
	assert_int_equal(praas_roster_change(r, 11, 1, "a", 2, "ACTIVE"), 0);
	assert_int_equal(praas_roster_change(r, 12, 2, "b", 1, NULL), 0);
	assert_int_equal(praas_roster_load(r, 1, "a", 1, "SWAPPED"), 0);
	assert_int_equal(praas_roster_load(r, 2, "b", 1, "SWAPPED"), 0);
	assert_int_equal(praas_roster_load(r, 3, "c", 1, "SWAPPED"), 0);
	assert_int_equal(praas_roster_count(r), 2);
	(void)tell(r, &f, 0, &lines);
	assert_int_equal(f.list->count, 2);
	assert_int_equal(f.list->items[0].state, PRAAS_MEMBER_ACTIVE);
	assert_int_equal(f.list->items[0].epoch, 2);
	assert_string_equal(f.list->items[1].name, "c");
	praas_members_feed_release(&f);
	praas_roster_free(r);
}

/* Who is told on which node: those of the same one are local, all others are not. */
static void test_members_of_nodes(void **state)
{
	struct praas_roster *r;

	(void)state;
	assert_int_equal(praas_roster_new(10, &r), 0);
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(praas_roster_change(r, 10 + i, i, "x", 1, "ACTIVE"),
				 0);
	praas_roster_place(r, 2, 1);
	praas_roster_place(r, 9, 1); /* nobody */
	for (uint32_t node = 0; node < 3; node++) {
		struct praas_roster_news news = { .node = node };
		bool more;
		json_t *line = praas_roster_line(r, &news, &more);
		json_t *list = json_object_get(line, "members");

		assert_int_equal(json_array_size(list), 3);
		for (size_t i = 0; i < 3; i++) {
			json_t *local =
				json_object_get(json_array_get(list, i), "local");

			assert_int_equal(json_is_true(local), node == (i == 1));
		}
		json_decref(line);
	}
	praas_roster_free(r);
}

static int feed_text(struct praas_members_feed *f, const char *text)
{
	json_t *line = json_loads(text, 0, NULL);
	int rc;

	assert_non_null(line);
	rc = praas_members_feed(f, line);
	json_decref(line);
	return rc;
}

#define ONE "{\"pid\":1,\"name\":\"a\",\"state\":\"ACTIVE\",\"epoch\":1,\"local\":true}"
#define TWO "{\"pid\":2,\"name\":\"b\",\"state\":\"LOST\",\"epoch\":4294967295}"

/* Lines that cannot be, parts that are missing: what is known stays. */
static void test_members_bad_lines(void **state)
{
	static const char *const bad[] = {
		"{\"from\":0,\"version\":9}",
		"{\"from\":0,\"version\":0,\"members\":[]}",
		"{\"from\":-1,\"version\":9,\"members\":[]}",
		"{\"from\":0,\"version\":9007199254740993,\"members\":[]}",
		"{\"from\":0,\"version\":9,\"members\":[" ONE "," ONE "]}",
		"{\"from\":0,\"version\":9,\"members\":[7]}",
		"{\"from\":0,\"version\":9,\"members\":[{\"pid\":0}]}",
		"{\"from\":0,\"version\":9,\"members\":[{\"pid\":1,\"state\":\"X\","
		"\"name\":"
		"\"a\",\"epoch\":1}]}",
		"{\"from\":0,\"version\":9,\"members\":[{\"pid\":1,\"state\":\"LOST\","
		"\"name\":\"a b\",\"epoch\":1}]}",
		"{\"from\":0,\"version\":9,\"members\":[{\"pid\":1,\"state\":\"LOST\","
		"\"epoch\":1}]}",
		"{\"from\":0,\"version\":9,\"at\":16385,\"members\":[]}",
		"{\"from\":0,\"version\":9,\"more\":1,\"members\":[]}",
		"{\"from\":5,\"version\":9,\"too_many\":true,\"members\":[]}",
	};
	struct praas_members_feed f = { 0 };

	(void)state;
	assert_int_equal(feed_text(&f, "{\"from\":0,\"version\":5,\"members\":[" TWO
				       "," ONE "]}"),
			 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (feed_text(&f, bad[i]) != -EPROTO)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(f.list->count, 2);
	assert_int_equal(f.list->version, 5);
	assert_int_equal(f.list->items[1].epoch, UINT32_MAX);
	assert_int_equal(f.list->items[1].local, 0);
	assert_int_equal(feed_text(&f, "{\"from\":4,\"version\":9,\"members\":[]}"),
			 -ESTALE);
	assert_int_equal(feed_text(&f, "{\"from\":5,\"version\":9,\"at\":1,"
				       "\"members\":[]}"),
			 -ESTALE);
	assert_int_equal(feed_text(&f, "{\"from\":5,\"version\":9,\"more\":true,"
				       "\"members\":[{\"pid\":2}]}"),
			 0);
	assert_int_equal(feed_text(&f, "{\"from\":5,\"version\":8,\"at\":1,"
				       "\"members\":[]}"),
			 -ESTALE);
	assert_int_equal(feed_text(&f, "{\"from\":5,\"version\":9,\"at\":1,"
				       "\"members\":[{\"pid\":77}]}"),
			 1);
	assert_int_equal(f.list->count, 1);
	assert_int_equal(feed_text(&f, "{\"from\":0,\"version\":10,\"too_many\":true,"
				       "\"members\":[]}"),
			 1);
	assert_true(f.list->too_many && f.list->count == 0);
	praas_members_feed_release(&f);
}

/* As many as there may be, and one more; two of one name. */
static void test_members_limits(void **state)
{
	struct praas_member_info *items = calloc(PRAAS_MEMBERS_MAX + 1, sizeof(*items));
	struct praas_members *list = NULL;

	(void)state;
	for (uint32_t i = 0; i <= PRAAS_MEMBERS_MAX; i++) {
		items[i].pid = PRAAS_MEMBERS_MAX + 1 - i;
		items[i].state = PRAAS_MEMBER_ACTIVE;
		(void)snprintf(items[i].name, sizeof(items[i].name), "p%u", i / 2);
	}
	assert_int_equal(
		praas_members_apply(NULL, items, PRAAS_MEMBERS_MAX + 1, 1, &list),
		-E2BIG);
	assert_int_equal(
		praas_members_apply(NULL, items + 1, PRAAS_MEMBERS_MAX, 1, &list), 0);
	assert_int_equal(list->count, PRAAS_MEMBERS_MAX);
	/* The younger of two. */
	assert_int_equal(praas_members_named(list, "p7", 2)->pid,
			 PRAAS_MEMBERS_MAX + 1 - 14);
	free(list);
	free(items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members_random),
		cmocka_unit_test(test_members_lines),
		cmocka_unit_test(test_members_left),
		cmocka_unit_test(test_members_loading),
		cmocka_unit_test(test_members_of_nodes),
		cmocka_unit_test(test_members_bad_lines),
		cmocka_unit_test(test_members_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
