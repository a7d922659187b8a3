/* SPDX-License-Identifier: Apache-2.0
 *
 * One sequence of generated operations against the store in memory, SQLite and Redis at once: after each step
 * all three have answered the same. So the store that the simulator's model is compared with behaves as the
 * real ones do. Every operation of records, items, memos, usage and queues is among them; stores that
 * can are closed and opened again on the way.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/records/records.h"
#include "internal/base.h"
#include "tests/unit/redis_fixture.h"

#define STORES 3
#define SEEDS 4
#define OPERATIONS 24u
#define LEAST 5u /* times that each is done, and finds something */
#define STEPS 250
#define NAMES 4u
#define PAGE 8u
#define DAY PRAAS_USAGE_DAY_NS

struct answer {
	int rc;
	uint64_t number[4];
	uint32_t count, bytes;
	bool flag;
	_Alignas(16) uint8_t data[PAGE * sizeof(struct praas_process_record)];
};

struct world {
	uint64_t seed;
	char url[STORES][128];
	struct praas_records *r[STORES];
	struct praas_app_record apps[NAMES];
	struct praas_process_record processes[NAMES];
	struct praas_item items[NAMES];
	/* Of messages, of usage, of processes: they go on. (Which numbers a store gives is its own affair.) */
	uint64_t places, now, numbers;
	char step[64];
};

static uint64_t below(struct world *w, uint64_t n)
{
	w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (w->seed >> 33) % n;
}

/* What one operation is about, chosen once for all stores. */
struct choice {
	unsigned op, which, other;
	uint64_t number;
	bool flag;
	struct praas_app_record app;
	struct praas_process_record process;
	struct praas_item item;
	struct praas_memo memo;
	struct praas_usage_row row;
	struct praas_queued messages[5];
	uint8_t data[5][64];
	uint8_t run[PRAAS_RECORD_ID_BYTES];
};

static void name_of(char *ret_name, char kind, unsigned n)
{
	/* Names of which one is the beginning of another, and of letters around those that part them. */
	static const char *const ends[NAMES] = { "", "-", ".x", "0" };

	(void)snprintf(ret_name, PRAAS_NAME_MAX + 1, "%c%s", kind, ends[n]);
}

static void choose_app(struct world *w, struct choice *c)
{
	struct praas_app_record *a = &c->app;

	*a = w->apps[c->which];
	if (below(w, 3) == 0)
		a->version = below(w, 3);
	name_of(a->name, 'a', c->which);
	name_of(a->tenant, 't', c->which & 1);
	memset(a->id, (int)c->which + 1, sizeof(a->id));
	a->memory_bytes = 1 + below(w, 1000);
	a->concurrency = (uint32_t)below(w, 30);
	a->isolation_inline = below(w, 2);
	a->deployed_ns = below(w, INT64_MAX);
	a->checkpoint_ms = (uint32_t)below(w, 3) * 100;
	a->state_bytes = (a->concurrency & 1) * (a->memory_bytes << 20);
	memset(a->code, 0, sizeof(a->code)); /* bytes are compared */
	(void)snprintf(a->code, sizeof(a->code), "/a path/%u", (unsigned)below(w, 99));
}

static void choose_process(struct world *w, struct choice *c)
{
	struct praas_process_record *p = &c->process;

	*p = w->processes[c->which];
	if (p->version > 0 && below(w, 4) == 0)
		p->version += below(w, 2);
	if (p->version == 0) {
		*p = (struct praas_process_record){ 0 };
		name_of(p->name, 'p', c->which);
		memset(p->app, (int)c->which / 2 + 1, sizeof(p->app));
		p->number = ++w->numbers;
	}
	p->state = (uint8_t)(1 + below(w, below(w, 5) ? 6 : 7));
	p->slot = (int64_t)below(w, 5) - 1;
	p->epoch = (uint32_t)below(w, UINT32_MAX);
	p->created_ns = w->now;
	p->used_ns = below(w, INT64_MAX);
	p->os_start = INT64_MAX - below(w, 9);
	memset(p->node, 0, sizeof(p->node)); /* bytes are compared */
	if (below(w, 2))
		name_of(p->node, 'n', (uint32_t)below(w, 3));
	p->counted.calls = below(w, PRAAS_USAGE_MAX);
	p->counted.resident = (double)below(w, 1000) / 7;
	memset(p->endpoints, 0, sizeof(p->endpoints)); /* bytes are compared */
	if (below(w, 2))
		strcpy(p->endpoints, "[\"tcp://x\", \"shm:a b\"]");
}

static void choose_memo(struct world *w, struct choice *c)
{
	memset(c->memo.id, (int)c->which, sizeof(c->memo.id));
	memset(c->memo.run, (int)c->other, sizeof(c->memo.run));
	memset(c->run, (int)below(w, NAMES), sizeof(c->run));
	c->memo.made_ns = below(w, 1000);
	c->memo.status = (uint32_t)below(w, 2) * 200;
	name_of(c->memo.tenant, 't', c->which & 1);
	c->memo.answer = c->data;
	c->memo.answer_bytes = (uint32_t)below(w, sizeof(c->data));
}

static void choose_messages(struct world *w, struct choice *c)
{
	uint64_t source = 1 + (below(w, 4) == 0);

	if (c->op != 20 && c->op != 21)
		return;
	if (below(w, 2) == 0) /* their answers were lost */
		w->places -= praas_min_u64(w->places, 4);
	for (unsigned i = 0; i <= c->other; i++) {
		c->messages[i] = (struct praas_queued){
			.source = source,
			.epoch = 1 + (c->number < 5),
			.number = ++w->places,
			.key_bytes = (uint8_t)below(w, 20),
			.bytes = (uint32_t)below(w, 40),
			.traced = below(w, 2),
			.data = c->data[i],
		};
		if (c->messages[i].traced)
			memset(c->messages[i].trace, 7, PRAAS_QUEUE_TRACE_BYTES);
	}
}

static void choose(struct world *w, struct choice *c)
{
	memset(c, 0, sizeof(*c));
	c->op = (unsigned)below(w, OPERATIONS);
	c->which = (unsigned)below(w, NAMES);
	if (c->op >= 20 &&
	    below(w, 4)) /* of one queue much, so that it has something */
		c->which = 0;
	c->other = (unsigned)below(w, NAMES);
	c->number = below(w, 30);
	c->flag = below(w, 2);
	for (size_t i = 0; i < sizeof(c->data); i++)
		((uint8_t *)c->data)[i] = (uint8_t)below(w, 256);
	choose_app(w, c);
	choose_process(w, c);
	c->item = w->items[c->which];
	if (below(w, 3) == 0)
		c->item.version = below(w, 3);
	name_of(c->item.id, 'i', c->which);
	(void)snprintf(c->item.body, sizeof(c->item.body), "{\"n\": %d}",
		       (int)below(w, 99));
	choose_memo(w, c);
	choose_messages(w, c);
	c->row = (struct praas_usage_row){
		w->now + 1,
		w->now + 1 + 1 + below(w, DAY / 3),
		{ below(w, 99), 2, below(w, PRAAS_USAGE_ROW_MAX), 4, 5,
		  (double)below(w, 64), 0.5 },
	};
	w->now = c->row.to_ns;
}

/* ---- operations ---------------------------------------------------------------------- */

static uint64_t number_of(const struct world *w, const struct choice *c)
{
	return w->processes[c->which].number ? w->processes[c->which].number : 1u << 20;
}

static void do_apps(struct praas_records *r, const struct choice *c, struct answer *a)
{
	struct praas_app_record app = c->app, page[PAGE];
	char after[2 * PRAAS_NAME_MAX + 2];

	switch (c->op) {
	case 0:
	case 1:
		a->rc = r->ops->app_put(r, &app);
		a->number[0] = app.version;
		break;
	case 2:
		a->rc = r->ops->app_get(r, app.tenant, app.name, &page[0]);
		a->count = a->rc == 0;
		break;
	case 3:
		(void)snprintf(after, sizeof(after), "%s/%s", app.tenant, app.name);
		a->rc = r->ops->app_list(r, NULL, c->flag ? after : NULL, 1 + c->other,
					 page, &a->count);
		break;
	case 4:
		a->rc = r->ops->app_list(r, app.tenant, c->flag ? app.name : NULL,
					 1 + c->other, page, &a->count);
		break;
	default:
		a->rc = r->ops->app_delete(r, app.id);
	}
	memcpy(a->data, page, a->rc ? 0 : a->count * sizeof(page[0]));
}

static void do_processes(const struct world *w, struct praas_records *r,
			 const struct choice *c, struct answer *a)
{
	struct praas_process_record p = c->process, page[PAGE];
	char after[24];

	switch (c->op) {
	case 6:
	case 7:
		a->rc = r->ops->process_put(r, &p);
		a->number[0] = p.version;
		a->number[1] = p.number;
		break;
	case 8:
		page[0].number = number_of(w, c);
		a->rc = r->ops->process_get(r, p.app, c->flag ? p.name : NULL,
					    &page[0]);
		a->count = a->rc == 0;
		break;
	case 9:
		(void)snprintf(after, sizeof(after), "%d", (int)c->number);
		a->rc = r->ops->process_list(r, NULL, c->flag ? after : NULL,
					     1 + c->other, page, &a->count);
		break;
	case 10:
		a->rc = r->ops->process_list(r, p.app, c->flag ? p.name : NULL,
					     1 + c->other, page, &a->count);
		break;
	default:
		a->rc = c->number < 8 ? r->ops->process_delete(r, number_of(w, c)) : 0;
	}
	memcpy(a->data, page, a->rc ? 0 : a->count * sizeof(page[0]));
}

static int by_tenant(const void *a, const void *b)
{
	const struct praas_memo_sum *x = a, *y = b;

	return strcmp(x->tenant, y->tenant);
}

static void do_memos(struct praas_records *r, const struct choice *c, struct answer *a)
{
	struct praas_memo memo = { 0 };
	struct praas_memo_sum sums[PAGE];

	memset(sums, 0, sizeof(sums));
	switch (c->op) {
	case 12:
		a->rc = c->flag ? r->memos->put(r, &c->memo)
				: r->memos->set(r, &c->memo, c->run);
		break;
	case 13:
		a->rc = r->memos->get(r, c->memo.id, &memo);
		if (a->rc == 0 && memo.answer_bytes > 0)
			memcpy(a->data, memo.answer, memo.answer_bytes);
		free(memo.answer);
		memo.answer = NULL;
		memcpy(a->data + sizeof(c->data), &memo, a->rc ? 0 : sizeof(memo));
		break;
	case 14:
		if (c->number < 15)
			a->rc = r->memos->take_out(r, c->memo.id);
		else
			a->rc = r->memos->expire(r, c->memo.made_ns / 4, &a->count);
		break;
	default:
		a->rc = r->memos->sums(r, c->run, PAGE, sums, &a->count);
		qsort(sums, a->count, sizeof(sums[0]), by_tenant);
		for (uint32_t i = 0; i < a->count; i++) {
			a->number[i] = sums[i].bytes;
			memcpy(a->data + (size_t)i * sizeof(sums[i].tenant),
			       sums[i].tenant, strlen(sums[i].tenant));
		}
	}
}

/* Sums of numbers with fractions may differ in the last digit. */
static int take_sum(void *user, const struct praas_usage_sum *sum)
{
	struct praas_usage_sum *all = (void *)((struct answer *)user)->data, *to;
	struct answer *a = user;

	if (a->count == PAGE)
		return 7;
	to = &all[a->count++];
	*to = *sum;
	to->used.resident = round(to->used.resident * 1e3);
	to->used.stored = round(to->used.stored * 1e3);
	return 0;
}

static void do_usage(const struct world *w, struct praas_records *r,
		     const struct choice *c, struct answer *a)
{
	struct praas_process_record p = c->process;
	struct praas_usage_filter filter = {
		.since_ns = c->flag ? w->now / 3 : 0,
		.until_ns = c->flag ? w->now / 2 : INT64_MAX,
		.tenant = c->other == 0 ? c->app.tenant : NULL,
		.after_tenant = "",
		.after_app = "",
	};
	uint32_t rows;

	switch (c->op) {
	case 16:
	case 17:
		if (p.version == 0)
			break; /* it is for one that is stored */
		a->rc = r->usage->put(r, &p, &w->apps[c->which / 2], &c->row);
		a->number[0] = p.version;
		break;
	case 18:
		assert_int_equal(r->usage->freeze(r), 0);
		a->rc = r->usage->each(r, &filter, take_sum, a);
		r->usage->thaw(r);
		break;
	default:
		for (rows = 1; a->rc == 0 && rows > 0 && c->flag; a->count += rows)
			a->rc = r->usage->fold(r, w->now / DAY * DAY, &rows);
		if (!c->flag && c->number < 5)
			a->rc = r->usage->expire(r, w->now / 4, &a->count);
	}
}

static void do_read(struct praas_records *r, uint64_t process, const struct choice *c,
		    struct answer *a)
{
	struct praas_queued m[PRAAS_LIMIT_MAIL_BATCH];
	uint8_t *data = NULL;

	a->rc = r->queue->read(r, process, c->number, m, &a->count, &data, &a->bytes,
			       &a->flag);
	if (a->rc) {
		a->count = a->bytes = 0;
		a->flag = false;
		return;
	}
	assert_true(a->bytes + a->count * sizeof(m[0]) <= sizeof(a->data));
	if (a->bytes > 0)
		memcpy(a->data, data, a->bytes);
	for (uint32_t i = 0; i < a->count; i++) {
		m[i].data = NULL;
		memcpy(a->data + a->bytes + i * sizeof(m[i]), &m[i], sizeof(m[i]));
	}
	free(data);
}

static void do_queue(const struct world *w, struct praas_records *r,
		     const struct choice *c, struct answer *a)
{
	uint64_t process = number_of(w, c);
	struct praas_queue_state s = { 0 };

	switch (c->op) {
	case 20:
	case 21:
		a->rc = r->queue->append(r, process, c->messages, 1 + c->other,
					 &a->count, &a->number[0]);
		break;
	case 22:
		do_read(r, process, c, a);
		break;
	default:
		if (c->number < 8)
			a->rc = r->queue->trim(r, process, c->number);
		else if (c->number < 10)
			a->rc = r->queue->drop(r, process);
		else if (c->number < 14)
			a->rc = r->queue->lift(r, process, c->number + c->other,
					       &a->number[0]);
	}
	if (a->rc == -ENOENT)
		a->number[0] = 0;
	assert_int_equal(r->queue->state(r, process, &s), 0);
	a->number[1] = s.tail;
	a->number[2] = s.messages;
	a->number[3] = s.bytes;
}

static void do_items(struct praas_records *r, const struct choice *c, struct answer *a)
{
	struct praas_item item = c->item, page[PAGE];

	if (c->number < 12) {
		a->rc = r->items->put(r, PRAAS_ITEM_TOKEN, &item);
		a->number[0] = item.version;
	} else if (c->number < 15) {
		a->rc = r->items->take_out(r, PRAAS_ITEM_TOKEN, item.id);
	} else {
		memset(page, 0, sizeof(page));
		a->rc = r->items->list(r, PRAAS_ITEM_TOKEN, c->flag ? item.id : NULL,
				       PAGE, page, &a->count);
		for (uint32_t i = 0; a->rc == 0 && i < a->count; i++)
			(void)snprintf((char *)a->data + (size_t)i * 128, 128,
				       "%s %u %s", page[i].id,
				       (unsigned)page[i].version, page[i].body);
	}
}

static void do_one(const struct world *w, struct praas_records *r,
		   const struct choice *c, struct answer *a)
{
	if (c->op < 6)
		do_apps(r, c, a);
	else if (c->op < 12)
		do_processes(w, r, c, a);
	else if (c->op < 16)
		do_memos(r, c, a);
	else if (c->op < 20)
		do_usage(w, r, c, a);
	else
		do_queue(w, r, c, a);
}

/* How often each was done with success: a sequence that only fails would prove nothing. */
static unsigned done[OPERATIONS];

/* ---- steps --------------------------------------------------------------------------- */

/* What the next choices should know. */
static void remember(struct world *w, const struct choice *c, const struct answer *a)
{
	if (a->rc)
		return;
	if (c->op <= 1) {
		w->apps[c->which] = c->app;
		w->apps[c->which].version = a->number[0];
	} else if (c->op == 5) {
		w->apps[c->which].version = 0;
	} else if (c->op == 6 || c->op == 7) {
		w->processes[c->which] = c->process;
		w->processes[c->which].version = a->number[0];
		w->processes[c->which].number = a->number[1];
	} else if (c->op == 11 && c->number < 8) {
		w->processes[c->which] = (struct praas_process_record){ 0 };
	} else if ((c->op == 16 || c->op == 17) && c->process.version > 0) {
		w->processes[c->which] = c->process;
		w->processes[c->which].version = a->number[0];
	}
}

static void check_same(const struct world *w, const struct answer *one,
		       const struct answer *other, int store)
{
	if (!memcmp(one, other, sizeof(*one)))
		return;
	fail_msg("%s: memory says %d (%u; %llu %llu %llu %llu), %.12s… %d (%u; %llu "
		 "%llu %llu %llu)",
		 w->step, one->rc, one->count, (unsigned long long)one->number[0],
		 (unsigned long long)one->number[1], (unsigned long long)one->number[2],
		 (unsigned long long)one->number[3], w->url[store], other->rc,
		 other->count, (unsigned long long)other->number[0],
		 (unsigned long long)other->number[1],
		 (unsigned long long)other->number[2],
		 (unsigned long long)other->number[3]);
}

static void do_items_everywhere(struct world *w, struct choice *c)
{
	struct answer a[STORES];

	for (int i = 0; i < STORES; i++) {
		memset(&a[i], 0, sizeof(a[i]));
		do_items(w->r[i], c, &a[i]);
		check_same(w, &a[0], &a[i], i);
	}
	if (a[0].rc == 0 && c->number < 12) {
		w->items[c->which] = c->item;
		w->items[c->which].version = a[0].number[0];
	} else if (a[0].rc == 0 && c->number < 15) {
		w->items[c->which].version = 0;
	}
}

static void open_one(struct world *w, int store)
{
	char text[256];

	assert_int_equal(praas_records_open(w->url[store], NULL, &w->r[store], text),
			 0);
}

static void do_step(struct world *w, unsigned step)
{
	static struct answer a[STORES];
	static struct choice c;

	choose(w, &c);
	(void)snprintf(w->step, sizeof(w->step), "step %u, operation %u", step, c.op);
	for (int i = 0; i < STORES; i++) {
		memset(&a[i], 0, sizeof(a[i]));
		do_one(w, w->r[i], &c, &a[i]);
		check_same(w, &a[0], &a[i], i);
	}
	remember(w, &c, &a[0]);
	done[c.op] += a[0].rc == 0;
	do_items_everywhere(w, &c);
	if (below(w, 40) == 0)
		for (int i = 1; i < STORES; i++) {
			w->r[i]->ops->close(w->r[i]);
			open_one(w, i);
		}
}

static void test_stores_are_the_same(void **state)
{
	char dir[] = "/tmp/praas-same-XXXXXX", command[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = calloc(1, sizeof(*w));

		assert_non_null(w);
		w->seed = seed;
		w->now = 20000 * DAY;
		(void)snprintf(w->url[0], sizeof(w->url[0]), "memory:");
		(void)snprintf(w->url[1], sizeof(w->url[1]), "sqlite://%s/%d", dir,
			       (int)seed);
		redis_url(w->url[2]);
		for (int i = 0; i < STORES; i++)
			open_one(w, i);
		for (unsigned step = 0; step < STEPS; step++)
			do_step(w, step);
		for (int i = 0; i < STORES; i++)
			w->r[i]->ops->close(w->r[i]);
		free(w);
	}
	for (unsigned op = 0; op < OPERATIONS; op++)
		if (done[op] < LEAST)
			fail_msg("operation %u was done %u times", op, done[op]);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0); /* our own folder */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stores_are_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
