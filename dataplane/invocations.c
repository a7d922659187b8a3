/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots come from a stack, so that a lone caller uses the same, cached one again and again.
 * Memos are chained in a hash table; finished ones also stand in a ring, from which the oldest
 * makes room. Nothing is allocated after init.
 */
#include "dataplane/invocations.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/pages.h"

#define ID_STEP_BITS 8u /* ids of a client's own making (client/table.c) */

static uint32_t pow2_at_least(uint32_t n)
{
	uint32_t p = 16;

	while (p < n)
		p *= 2;
	return p;
}

/* A stack of the numbers 0 … n - 1, 0 on top. */
static uint32_t *number_stack(uint32_t n)
{
	uint32_t *s = calloc(n ? n : 1, sizeof(*s));

	for (uint32_t i = 0; s && i < n; i++)
		s[i] = n - 1 - i;
	return s;
}

int praas_invocations_init(struct praas_invocations *t, uint32_t slots,
			   uint32_t remembered, uint64_t bytes_max)
{
	uint32_t finished = pow2_at_least(remembered);
	uint32_t memos = slots + finished;
	uint32_t buckets = pow2_at_least(2 * memos);

	*t = (struct praas_invocations){
		.slots_count = slots,
		.free_count = slots,
		.memos_count = memos,
		.free_memos_count = memos,
		.mask = buckets - 1,
		.rest = ~((uint64_t)(buckets - 1) << ID_STEP_BITS),
		.shift = 64u - (uint32_t)__builtin_ctz(buckets),
		.finished_max = finished,
		.bytes_max = bytes_max
	};
	t->slots = praas_pages_new((size_t)slots * sizeof(*t->slots));
	t->free_slots = number_stack(slots);
	t->memos = praas_pages_new((size_t)memos * sizeof(*t->memos));
	t->texts = praas_pages_new((size_t)memos * sizeof(*t->texts));
	t->run_ns = praas_pages_new((size_t)memos * sizeof(*t->run_ns));
	t->value_of = praas_pages_new((size_t)memos * sizeof(*t->value_of));
	t->buckets = praas_pages_new((size_t)buckets * sizeof(*t->buckets));
	t->free_memos = number_stack(memos);
	t->finished = praas_pages_new((size_t)finished * sizeof(*t->finished));
	t->values = praas_pages_new((size_t)finished * sizeof(*t->values));
	t->value_memos = praas_pages_new((size_t)finished * sizeof(*t->value_memos));
	if (!t->slots || !t->free_slots || !t->memos || !t->texts || !t->run_ns ||
	    !t->value_of || !t->buckets || !t->free_memos || !t->finished ||
	    !t->values || !t->value_memos) {
		praas_invocations_release(t);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < slots; i++)
		t->slots[i].slot = i;
	return 0;
}

void praas_invocations_release(struct praas_invocations *t)
{
	for (uint64_t i = t->values_head; i != t->values_tail; i++)
		praas_value_release(&t->values[i & (t->finished_max - 1)]);
	praas_pages_free(t->slots);
	free(t->free_slots);
	praas_pages_free(t->memos);
	praas_pages_free(t->texts);
	praas_pages_free(t->run_ns);
	praas_pages_free(t->value_of);
	praas_pages_free(t->buckets);
	free(t->free_memos);
	praas_pages_free(t->finished);
	praas_pages_free(t->values);
	praas_pages_free(t->value_memos);
	*t = (struct praas_invocations){ 0 };
}

struct praas_invocation *praas_invocations_alloc(struct praas_invocations *t)
{
	struct praas_invocation *inv;
	uint32_t slot;
	uint32_t generation;

	if (praas_unlikely(t->free_count == 0))
		return NULL;
	slot = t->free_slots[--t->free_count];
	inv = &t->slots[slot];
	generation = inv->generation + 1;
	*inv = (struct praas_invocation){ .slot = slot,
					  .generation = generation,
					  .state = PRAAS_INVOCATION_QUEUED };
	return inv;
}

void praas_invocations_free(struct praas_invocations *t, struct praas_invocation *inv)
{
	praas_check_hot(inv->state != PRAAS_INVOCATION_FREE);
	inv->state = PRAAS_INVOCATION_FREE;
	t->free_slots[t->free_count++] = inv->slot;
}

/* Ids that a client makes up one after the other differ by 1 << ID_STEP_BITS: they take neighbouring
 * buckets, sixteen to a cache line, and do not meet in a chain, which would lead to a memo that was
 * last touched thousands of calls ago. Where their row begins is a hash of all else that is in an
 * id, so other ways to make ids up do as well as chance. */
static uint32_t *bucket_of(const struct praas_invocations *t, uint64_t source,
			   uint64_t id)
{
	uint64_t rest = (id & t->rest) ^ (source << 17 | source >> 47);
	uint64_t row = rest * UINT64_C(0x9e3779b97f4a7c15) >> t->shift;

	return &t->buckets[(row + (id >> ID_STEP_BITS)) & t->mask];
}

struct praas_memo *praas_invocations_find(struct praas_invocations *t, uint64_t source,
					  uint64_t id)
{
	uint32_t i = *bucket_of(t, source, id);

	while (i != 0) {
		struct praas_memo *m = &t->memos[i - 1];

		if (m->id == id && m->source == source)
			return m;
		i = m->next;
	}
	return NULL;
}

/* Results are kept and ids are forgotten in the order in which they were finished: the value
 * that goes is always the oldest. */
static void forget_oldest_value(struct praas_invocations *t)
{
	uint32_t i = (uint32_t)t->values_head++ & (t->finished_max - 1);

	t->bytes -= t->values[i].charge;
	t->memos[t->value_memos[i]].kept = PRAAS_MEMO_NOTHING;
	praas_value_release(&t->values[i]);
}

static void unlink_memo(struct praas_invocations *t, struct praas_memo *m)
{
	uint32_t index = (uint32_t)(m - t->memos) + 1;
	uint32_t *at = bucket_of(t, m->source, m->id);

	while (*at != index)
		at = &t->memos[*at - 1].next;
	*at = m->next;
	if (praas_unlikely(m->kept == PRAAS_MEMO_VALUE))
		forget_oldest_value(t);
	t->free_memos[t->free_memos_count++] = index - 1;
}

static void forget_oldest(struct praas_invocations *t)
{
	uint32_t index = t->finished[t->finished_head++ & (t->finished_max - 1)];

	unlink_memo(t, &t->memos[index]);
}

static struct praas_memo *new_memo(struct praas_invocations *t, uint64_t source,
				   uint64_t id)
{
	uint32_t *at = bucket_of(t, source, id);
	struct praas_memo *m;
	uint32_t index;

	/* There are as many memos as slots and finished ids: one is free. */
	praas_check_hot(t->free_memos_count != 0);
	index = t->free_memos[--t->free_memos_count];
	m = &t->memos[index];
	m->source = source;
	m->id = id;
	m->next = 0;
	m->kept = PRAAS_MEMO_NOTHING;
	m->bytes = 0;
	m->status = 0;
	m->timed = false;
	/* At the end of the chain, which find() has just walked: the oldest, which goes first,
	 * stands first. */
	while (*at != 0)
		at = &t->memos[*at - 1].next;
	*at = index + 1;
	return m;
}

void praas_invocations_remember(struct praas_invocations *t,
				struct praas_invocation *inv)
{
	struct praas_memo *m = new_memo(t, inv->source, inv->id);

	m->slot = inv->slot + 1;
	inv->memo = (uint32_t)(m - t->memos) + 1;
}

/* Those to go next were last touched thousands of calls ago: they are fetched while calls go on, first
 * the memo, then what its id leads to, and its text when there was one: then there may be one again. */
static void fetch_oldest(const struct praas_invocations *t)
{
	uint32_t mask = t->finished_max - 1;
	uint32_t next = t->finished[(t->finished_head + 1) & mask];
	const struct praas_memo *m = &t->memos[next];

	__builtin_prefetch(bucket_of(t, m->source, m->id), 1);
	if (m->bytes != 0)
		__builtin_prefetch(&t->texts[next], 1);
	__builtin_prefetch(&t->memos[t->finished[(t->finished_head + 3) & mask]], 1);
}

static void append_finished(struct praas_invocations *t, struct praas_memo *m)
{
	if (praas_likely(t->finished_tail - t->finished_head == t->finished_max)) {
		forget_oldest(t);
		fetch_oldest(t);
	}
	t->finished[t->finished_tail++ & (t->finished_max - 1)] =
		(uint32_t)(m - t->memos);
	m->slot = 0;
}

struct praas_memo *praas_invocations_finish(struct praas_invocations *t,
					    struct praas_invocation *inv,
					    int32_t status, uint64_t run_ns)
{
	struct praas_memo *m;

	praas_check_hot(inv->memo != 0);
	m = &t->memos[inv->memo - 1];
	m->status = status;
	if (run_ns != 0) {
		m->timed = true;
		t->run_ns[m - t->memos] = run_ns;
	}
	inv->memo = 0;
	append_finished(t, m);
	return m;
}

void praas_invocations_forget(struct praas_invocations *t, struct praas_invocation *inv)
{
	if (inv->memo == 0)
		return;
	unlink_memo(t, &t->memos[inv->memo - 1]);
	inv->memo = 0;
}

void praas_invocations_keep_text(struct praas_invocations *t, struct praas_memo *memo,
				 const uint8_t *data, uint64_t bytes)
{
	praas_check_hot(bytes <= PRAAS_MEMO_INLINE);
	if (bytes)
		memcpy(t->texts[memo - t->memos].data, data, bytes);
	memo->bytes = (uint8_t)bytes;
	memo->kept = PRAAS_MEMO_HERE;
}

int praas_invocations_keep_value(struct praas_invocations *t, struct praas_memo *memo,
				 struct praas_value *value)
{
	uint64_t charge = value->charge;
	uint32_t i;

	if (charge > t->bytes_max)
		return -ENOSPC;
	/* Older results make room; their ids stay remembered. */
	while (t->bytes + charge > t->bytes_max)
		forget_oldest_value(t);
	i = (uint32_t)t->values_tail++ & (t->finished_max - 1);
	memo->kept = PRAAS_MEMO_VALUE;
	t->value_memos[i] = (uint32_t)(memo - t->memos);
	t->value_of[t->value_memos[i]] = i;
	t->values[i] = praas_value_take(value);
	t->bytes += charge;
	return 0;
}

void praas_invocations_kept(const struct praas_invocations *t,
			    const struct praas_memo *memo, const uint8_t **ret_data,
			    uint64_t *ret_bytes)
{
	uint32_t index = (uint32_t)(memo - t->memos);
	const struct praas_value *value = &t->values[t->value_of[index]];
	bool large = memo->kept == PRAAS_MEMO_VALUE;

	*ret_data = large ? value->data : t->texts[index].data;
	*ret_bytes = large ? value->bytes : memo->bytes;
}

struct praas_memo *praas_invocations_import(struct praas_invocations *t,
					    uint64_t source, uint64_t id,
					    int32_t status)
{
	struct praas_memo *m = new_memo(t, source, id);

	m->status = status;
	append_finished(t, m);
	return m;
}
