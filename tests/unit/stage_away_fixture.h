/* SPDX-License-Identifier: Apache-2.0
 *
 * Pipelines from process a to process b and c, which rest, wake and are lost as the test says.
 */
#ifndef PRAAS_TESTS_STAGE_AWAY_FIXTURE_H
#define PRAAS_TESTS_STAGE_AWAY_FIXTURE_H

#include "unit/peers_fixture.h"

#include <sched.h>

#include "controller/snapshot.h"

enum { A, B, C };

static inline struct fake_conn *client(unsigned i)
{
	return w->node[i].client;
}

static inline int setup_known(void **state)
{
	int rc = setup_world(state);

	for (unsigned i = 0; i < NODES; i++)
		know(i);
	return rc;
}

static inline void ends(unsigned i, int32_t status, const char *text)
{
	end_one(&w->node[i].f, &w->node[i].ex->m, status, text);
	settle();
}

static inline unsigned runs(unsigned i)
{
	return w->node[i].ex->m.count;
}

/* a's function has ended, and b's runs. */
static inline void go(uint16_t function, uint64_t id)
{
	invoke(client(A), function, id, "k", 0);
	ends(A, 0, "middle");
}

static inline void input_is(unsigned i, uint16_t function, const char *text)
{
	const struct praas_invocation *inv;

	assert_true(runs(i) > 0);
	inv = w->node[i].ex->m.running[0];
	assert_int_equal(inv->function, function);
	assert_int_equal(inv->inputs[0]->head.bytes, strlen(text));
	assert_memory_equal(inv->inputs[0]->data, text, strlen(text));
	assert_string_equal(inv->inputs[0]->key, "k");
}

static inline void told_error(struct fake_conn *c, uint64_t id, int32_t status,
			      const char *text)
{
	struct praas_buf *buf = fake_take(c);

	assert_int_equal(buf->head.id, id);
	assert_int_equal(buf->head.status, status);
	assert_int_equal(buf->head.bytes, strlen(text) + 1);
	assert_string_equal(buf->data, text);
	praas_buf_release(buf);
}

static inline void until(struct fake_conn *c)
{
	uint64_t end = praas_now_ns() + 20000000000u;

	while (!fake_has(c) && praas_now_ns() < end) {
		settle();
		(void)sched_yield();
	}
}

static inline int import(void *user, const struct praas_export_record *record)
{
	return praas_process_import(user, record);
}

/* What i is, through the bytes of a manifest, in its next epoch; its gate stays closed. */
static inline void rest(unsigned i)
{
	char names[FUNCTIONS][PRAAS_NAME_MAX + 1] = { 0 };
	struct praas_snapshot s = { 0 }, back;
	struct node *n = &w->node[i];
	uint8_t *data;
	uint64_t bytes;

	for (unsigned k = 0; k < FUNCTIONS; k++)
		strcpy(names[k], functions[k].name);
	praas_process_gate(n->f.p, false);
	assert_true(praas_process_quiet(n->f.p));
	assert_int_equal(praas_process_export(n->f.p, praas_snapshot_add, &s), 0);
	s.functions = names;
	s.functions_count = FUNCTIONS;
	assert_int_equal(praas_snapshot_encode(&s, &data, &bytes), 0);
	s.functions = NULL;
	node_end(i);
	node_new(i, n->epoch + 1);
	assert_int_equal(praas_snapshot_decode(data, bytes, &back), 0);
	assert_int_equal(
		praas_snapshot_load(NULL, &back, functions, FUNCTIONS, import, n->f.p),
		0);
	praas_snapshot_release(&s);
	praas_snapshot_release(&back);
	free(data);
}

static inline void wake(unsigned i)
{
	node_open(i);
	know(i);
	settle();
}

/* It begins anew, from nothing. */
static inline void lose(unsigned i)
{
	struct node *n = &w->node[i];

	n->lost_epoch = n->epoch;
	node_end(i);
	node_new(i, n->epoch + 1);
	wake(i);
}

#endif
