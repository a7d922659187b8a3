/* SPDX-License-Identifier: Apache-2.0
 *
 * One accumulator for each (function, key) that has inputs waiting. There are as many as there can
 * be invocations, so one is always free; lists of inputs likewise.
 */
#include "dataplane/trigger.h"

#include <errno.h>
#include <string.h>

#include "shm/pages.h"

int praas_triggers_init(struct praas_triggers *t,
			const struct praas_function *functions,
			uint32_t functions_count, uint32_t invocations_max)
{
	uint32_t buckets = 16;
	bool any = false;

	*t = (struct praas_triggers){ .functions = functions };
	for (uint32_t i = 0; i < functions_count; i++) {
		if (functions[i].trigger == PRAAS_TRIGGER_STANDARD)
			continue;
		any = true;
		if (functions[i].trigger > PRAAS_TRIGGER_BATCH ||
		    functions[i].trigger_count - 1 >= PRAAS_INPUTS_MAX)
			return -EINVAL;
	}
	if (!any)
		return 0;
	while (buckets < invocations_max)
		buckets *= 2;
	t->mask = buckets - 1;
	t->count = invocations_max;
	t->accumulators = praas_pages_new((size_t)t->count * sizeof(*t->accumulators));
	t->joins = praas_pages_new((size_t)t->count * sizeof(*t->joins));
	t->buckets = praas_pages_new((size_t)buckets * sizeof(*t->buckets));
	if (!t->accumulators || !t->joins || !t->buckets) {
		praas_triggers_release(t);
		return -ENOMEM;
	}
	t->free = 1;
	for (uint32_t i = 0; i + 1 < t->count; i++)
		t->accumulators[i].next = i + 2;
	return 0;
}

void praas_triggers_release(struct praas_triggers *t)
{
	praas_pages_free(t->accumulators);
	praas_pages_free(t->joins);
	praas_pages_free(t->buckets);
	*t = (struct praas_triggers){ 0 };
}

static uint32_t *bucket_of(const struct praas_triggers *t, uint16_t function,
			   uint64_t hash)
{
	uint64_t h = (hash + function) * 0x9e3779b97f4a7c15ull;

	return &t->buckets[(h >> 32) & t->mask];
}

/* A batch has one list for all keys. */
static bool is_batch(const struct praas_triggers *t, uint16_t function)
{
	return t->functions[function].trigger == PRAAS_TRIGGER_BATCH;
}

struct praas_accumulator *praas_triggers_find(struct praas_triggers *t,
					      uint16_t function, uint64_t hash,
					      const char *key, uint8_t key_bytes)
{
	hash = is_batch(t, function) ? 0 : hash;
	key_bytes = is_batch(t, function) ? 0 : key_bytes;
	for (uint32_t i = *bucket_of(t, function, hash); i != 0;
	     i = t->accumulators[i - 1].next) {
		struct praas_accumulator *a = &t->accumulators[i - 1];

		if (a->function == function && a->key_hash == hash &&
		    a->key_bytes == key_bytes && memcmp(a->key, key, key_bytes) == 0)
			return a;
	}
	return NULL;
}

static struct praas_accumulator *begin(struct praas_triggers *t, uint16_t function,
				       uint64_t hash, const struct praas_buf *in)
{
	bool batch = is_batch(t, function);
	uint32_t *bucket = bucket_of(t, function, batch ? 0 : hash);
	uint32_t i = t->free;
	struct praas_accumulator *a;

	praas_check(i != 0);
	a = &t->accumulators[i - 1];
	t->free = a->next;
	a->timer = (struct praas_timer){ .kind = PRAAS_TIMER_TRIGGER };
	a->first = NULL;
	a->last = NULL;
	a->count = 0;
	a->function = function;
	a->key_hash = batch ? 0 : hash;
	a->key_bytes = batch ? 0 : in->head.key_bytes;
	memcpy(a->key, in->key, a->key_bytes);
	a->next = *bucket;
	*bucket = i;
	return a;
}

static void give_back(struct praas_triggers *t, struct praas_accumulator *a)
{
	uint32_t i = (uint32_t)(a - t->accumulators) + 1;
	uint32_t *at = bucket_of(t, a->function, a->key_hash);

	while (*at != i)
		at = &t->accumulators[*at - 1].next;
	*at = a->next;
	a->next = t->free;
	t->free = i;
}

static struct praas_join *join_get(struct praas_triggers *t)
{
	struct praas_join *join = t->free_joins;

	if (join) {
		t->free_joins = join->next;
		return join;
	}
	praas_check(t->joins_made < t->count);
	return &t->joins[t->joins_made++];
}

/* The end of the list, which begins at *at. */
static struct praas_invocation **list_end(struct praas_invocation **at)
{
	while (*at)
		at = &(*at)->next;
	return at;
}

/* The first one leads; the others are joined to it, each followed by those that were joined to it before. */
static struct praas_invocation *fire(struct praas_triggers *t,
				     struct praas_accumulator *a)
{
	struct praas_invocation *leader = a->first, *i, *next;
	struct praas_invocation **end = &leader->join;
	struct praas_join *join = join_get(t);
	uint64_t deadline_ns = 0;
	bool endless = false;

	praas_check(leader != NULL);
	leader->inputs_count = 0;
	for (i = leader; i; i = next) {
		next = i->next;
		endless = endless || i->deadline_ns == 0;
		deadline_ns = praas_max_u64(deadline_ns, i->deadline_ns);
		join->inputs[leader->inputs_count++] = i->inputs[0];
		i->inputs[0] = NULL;
		i->trigger = NULL;
		i->next = NULL;
		i->prev = NULL;
		if (i != leader) {
			*end = i;
			i->next = i->join;
			i->join = NULL;
		}
		end = list_end(end);
	}
	leader->inputs_more = join->inputs;
	leader->deadline_ns = endless ? 0 : deadline_ns;
	t->waiting -= a->count;
	give_back(t, a);
	return leader;
}

void praas_triggers_put(struct praas_triggers *t, struct praas_invocation *inv,
			uint64_t key_hash, uint64_t now_ns,
			struct praas_invocation **ret_fired,
			struct praas_accumulator **ret_armed)
{
	const struct praas_function *f = &t->functions[inv->function];
	struct praas_buf *in = inv->inputs[0];
	struct praas_accumulator *a = praas_triggers_find(t, inv->function, key_hash,
							  in->key, in->head.key_bytes);

	if (!a)
		a = begin(t, inv->function, key_hash, in);
	*ret_fired = NULL;
	*ret_armed = NULL;
	in->head.source = inv->source; /* each input has its own */
	inv->trigger = a;
	inv->next = NULL;
	inv->prev = a->last;
	if (a->last)
		a->last->next = inv;
	else
		a->first = inv;
	a->last = inv;
	t->waiting++;
	if (++a->count >= f->trigger_count) {
		/* Its timer may be armed: the process disarms it before it goes on. */
		*ret_armed = a->timer.position ? a : NULL;
		*ret_fired = fire(t, a);
	} else if (a->count == 1 && f->trigger_timeout_ns) {
		a->timer.deadline_ns = now_ns + f->trigger_timeout_ns;
		*ret_armed = a;
	}
}

struct praas_invocation *praas_triggers_expire(struct praas_triggers *t,
					       struct praas_accumulator *a)
{
	return fire(t, a);
}

struct praas_accumulator *praas_triggers_remove(struct praas_triggers *t,
						struct praas_invocation *inv)
{
	struct praas_accumulator *a = inv->trigger;

	if (inv->prev)
		inv->prev->next = inv->next;
	else
		a->first = inv->next;
	if (inv->next)
		inv->next->prev = inv->prev;
	else
		a->last = inv->prev;
	inv->next = NULL;
	inv->prev = NULL;
	inv->trigger = NULL;
	t->waiting--;
	if (--a->count)
		return NULL;
	give_back(t, a);
	return a;
}

void praas_triggers_done(struct praas_triggers *t, struct praas_invocation *leader)
{
	/* inputs[] is the join's only array: its address leads back to it. */
	struct praas_join *join =
		(struct praas_join *)(void *)((char *)leader->inputs_more -
					      offsetof(struct praas_join, inputs));

	for (uint32_t i = 0; i < leader->inputs_count; i++)
		praas_buf_release(join->inputs[i]);
	join->next = t->free_joins;
	t->free_joins = join;
	leader->inputs_more = NULL;
	leader->inputs_count = 0;
}

static int visit(const struct praas_accumulator *a,
		 const struct praas_triggers_visitor *v)
{
	int rc = 0;

	for (const struct praas_invocation *i = a->first; rc == 0 && i; i = i->next)
		rc = v->input(v->user, i);
	return rc == 0 && v->end ? v->end(v->user, a) : rc;
}

int praas_triggers_each(const struct praas_triggers *t,
			const struct praas_triggers_visitor *v)
{
	int rc = 0;

	if (t->waiting == 0)
		return 0;
	for (uint32_t b = 0; rc == 0 && b <= t->mask; b++)
		for (uint32_t i = t->buckets[b]; rc == 0 && i != 0;
		     i = t->accumulators[i - 1].next)
			rc = visit(&t->accumulators[i - 1], v);
	return rc;
}
