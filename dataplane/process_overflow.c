/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects that come back from the store: who waits for which, and memory for them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/process_private.h"

#define STARVE_NS 2000000000u /* so long memory is waited for */
#define STARVE_LOOK_NS 1000000u

/* ---- who waits ---- */

static void fetch_join(struct praas_overflow *ov, struct praas_fetch *f,
		       struct praas_fn_wait *wait)
{
	wait->queue = (uint32_t)(f - ov->fetch) + 1;
	wait->next = NULL;
	wait->prev = f->wait_last;
	*(f->wait_last ? &f->wait_last->next : &f->wait_first) = wait;
	f->wait_last = wait;
}

void praas_process_fetch_leave(struct praas_process *p, struct praas_fn_wait *wait)
{
	struct praas_fetch *f = &p->state.overflow->fetch[wait->queue - 1];

	*(wait->prev ? &wait->prev->next : &f->wait_first) = wait->next;
	*(wait->next ? &wait->next->prev : &f->wait_last) = wait->prev;
	wait->queue = 0;
}

/* ---- a fetch ---- */

static struct praas_fetch *fetch_new(struct praas_state *s, struct praas_object *o)
{
	struct praas_overflow *ov = s->overflow;
	struct praas_fetch *f;
	uint32_t i;

	praas_check(ov != NULL); /* something is out */
	i = ov->fetch_free;
	if (i)
		ov->fetch_free = ov->fetch[i - 1].next;
	else if (ov->fetch_used < PRAAS_FETCHES_MAX)
		i = ++ov->fetch_used;
	else
		return NULL;
	f = &ov->fetch[i - 1];
	*f = (struct praas_fetch){ .object = (uint32_t)(o - s->objects) + 1,
				   .busy = true,
				   .key_bytes = o->key_bytes };
	memcpy(f->key, praas_state_key(s, o), o->key_bytes);
	o->fetch = i;
	o->rest = PRAAS_REST_COMING;
	return f;
}

static void fetch_free(struct praas_overflow *ov, struct praas_fetch *f)
{
	f->busy = false;
	f->object = 0;
	f->next = ov->fetch_free;
	ov->fetch_free = (uint32_t)(f - ov->fetch) + 1;
}

/* What the pool takes for it. */
static uint64_t charge_of(uint64_t bytes)
{
	uint64_t charge = PRAAS_POOL_CLASS_MIN;

	while (charge < bytes)
		charge *= 2;
	return charge;
}

/* Memory for it, others going if need be. Ends: each try but the last takes memory from somebody. */
static int find_memory(struct praas_process *p, struct praas_fetch *f, uint64_t bytes)
{
	uint64_t charge = charge_of(bytes);
	int rc = praas_overflow_room(&p->state, charge, 0);

	if (rc != 0)
		return rc;
	do {
		rc = praas_process_value_new(p, bytes, &f->value, &f->data);
	} while (rc == -ENOSPC && praas_overflow_relieve(&p->state, charge) > 0);
	if (rc == 0) {
		p->state.overflow->coming_bytes += f->value.charge;
		p->state.overflow->hungry = false;
	}
	return rc;
}

static void begin_reading(struct praas_process *p, struct praas_fetch *f)
{
	struct praas_overflow *ov = p->state.overflow;
	const struct praas_object *o = &p->state.objects[f->object - 1];

	f->set = ov->set;
	ov->host.fetch(ov->host.user, (uint32_t)(f - ov->fetch),
		       &ov->places[o->place - 1], f->data);
}

/* Begins to bring o. may_wait: for memory. 0; -ENOBUFS; -ENOSPC. */
static int fetch_begin(struct praas_process *p, struct praas_object *o, bool may_wait,
		       struct praas_fetch **ret_fetch)
{
	struct praas_overflow *ov = p->state.overflow;
	struct praas_fetch *f = fetch_new(&p->state, o);
	int rc;

	if (!f)
		return -ENOBUFS;
	rc = find_memory(p, f, o->value.bytes);
	if (rc == 0) {
		begin_reading(p, f);
	} else if (may_wait && !ov->hungry &&
		   charge_of(o->value.bytes) <= ov->bytes_max) {
		f->until_ns = praas_now_ns() + STARVE_NS;
		ov->starving++;
	} else {
		o->fetch = 0;
		o->rest = PRAAS_REST_OUT;
		fetch_free(ov, f);
		return -ENOSPC;
	}
	*ret_fetch = f;
	return 0;
}

/* Who waited for it goes on with what it wanted. */
static void resume(struct praas_process *p, const struct praas_fetch *f,
		   struct praas_fn_wait *wait, int rc)
{
	if (wait->updates && rc == 0) {
		wait->updates = false;
		praas_timers_remove(&p->timers, &wait->timer);
		if (wait->once)
			wait->deadline_ns = 0;
		rc = praas_process_fn_update_begin(p, wait->holder, f->key,
						   f->key_bytes, wait->bytes, wait);
	}
	if (rc != -EINPROGRESS)
		praas_process_wait_over(wait, rc);
}

/* Its object is here, or will not come. */
static void fetch_end(struct praas_process *p, struct praas_fetch *f, int rc)
{
	struct praas_state *s = &p->state;

	if (f->object && rc != 0) {
		s->objects[f->object - 1].rest = PRAAS_REST_OUT;
		s->objects[f->object - 1].fetch = 0;
	}
	f->object = 0;
	s->overflow->coming_bytes -= f->value.charge;
	praas_value_release(&f->value);
	/* One by one: telling one may end others. */
	while (f->wait_first) {
		struct praas_fn_wait *wait = f->wait_first;

		praas_process_fetch_leave(p, wait);
		resume(p, f, wait, rc);
	}
	fetch_free(s->overflow, f);
}

void praas_process_fetched(struct praas_process *p, uint32_t number, int rc)
{
	struct praas_overflow *ov = p->state.overflow;
	struct praas_fetch *f = &ov->fetch[number];

	praas_check(number < ov->fetch_used);
	praas_check(f->busy);
	/* It was read from where it does not lie any more: once more, from its new place. */
	if (rc != 0 && f->object && f->set != ov->set) {
		begin_reading(p, f);
		return;
	}
	ov->fetches += rc == 0;
	ov->failures += rc != 0;
	if (rc == 0 && f->object) {
		ov->coming_bytes -= f->value.charge;
		praas_overflow_came(&p->state, &p->state.objects[f->object - 1],
				    &f->value);
	}
	/* Of one that was put or deleted meanwhile, who waits sees that. */
	fetch_end(p, f, f->object ? rc : 0);
}

/* Looks for memory for f again. True: there is some, or it was waited for long enough. */
static bool feed(struct praas_process *p, struct praas_fetch *f, uint64_t now_ns)
{
	int rc = 0;

	if (f->object)
		rc = find_memory(p, f, p->state.objects[f->object - 1].value.bytes);
	if (rc != 0 && now_ns < f->until_ns)
		return false;
	f->until_ns = 0;
	p->state.overflow->starving--;
	p->state.overflow->hungry = rc != 0;
	if (rc == 0 && f->object)
		begin_reading(p, f);
	else
		fetch_end(p, f, rc != 0 ? -ENOSPC : 0);
	return true;
}

unsigned praas_process_fetch_poll(struct praas_process *p)
{
	struct praas_overflow *ov = p->state.overflow;
	unsigned done = 0;
	uint64_t now_ns;

	if (praas_likely(ov->starving == 0))
		return 0;
	now_ns = praas_now_ns();
	if (now_ns < ov->look_ns)
		return 0;
	ov->look_ns = now_ns + STARVE_LOOK_NS;
	for (uint32_t i = 0; i < ov->fetch_used; i++)
		if (ov->fetch[i].busy && ov->fetch[i].until_ns != 0)
			done += feed(p, &ov->fetch[i], now_ns);
	return done;
}

/* ---- what is asked ---- */

/* o is out, or on its way. -EINPROGRESS: wait stands in its queue. */
static int fetch_wait(struct praas_process *p, struct praas_object *o,
		      struct praas_fn_wait *wait)
{
	struct praas_overflow *ov = p->state.overflow;
	struct praas_fetch *f = o->fetch ? &ov->fetch[o->fetch - 1] : NULL;
	int rc = 0;

	wait->timer.position = 0;
	wait->once = wait->deadline_ns == 0;
	if (wait->once)
		wait->deadline_ns = PRAAS_DEADLINE_NEVER;
	if (!f)
		rc = fetch_begin(p, o, true, &f);
	if (rc == 0)
		rc = praas_process_wait_arm(p, wait, PRAAS_WAIT_FETCH);
	if (rc != 0)
		return rc;
	fetch_join(ov, f, wait);
	return -EINPROGRESS;
}

int praas_process_fn_state_bring(struct praas_process *p, const char *key,
				 uint32_t key_bytes, struct praas_fn_wait *wait)
{
	struct praas_object *o;

	if (praas_key_check(key, key_bytes) != 0)
		return -EINVAL;
	if (!p->state.overflow)
		return 0;
	o = praas_state_find(&p->state, key, key_bytes);
	if (!o || o->place == 0 || praas_overflow_use(&p->state, o))
		return 0;
	wait->updates = false;
	return fetch_wait(p, o, wait);
}

int praas_process_fetch_update(struct praas_process *p, uint32_t holder,
			       const char *key, uint32_t key_bytes, uint64_t bytes,
			       struct praas_fn_wait *wait)
{
	struct praas_object *o = praas_state_find(&p->state, key, key_bytes);
	int rc;

	praas_check(o != NULL);
	if (!wait->done) { /* a function on this thread */
		rc = praas_process_fetch_now(p, o);
		return rc != 0 ? rc
			       : praas_lease_begin(&p->state, holder, key, key_bytes,
						   bytes, wait);
	}
	wait->updates = true;
	wait->holder = holder;
	wait->bytes = bytes;
	return fetch_wait(p, o, wait);
}

int praas_process_fetch_now(struct praas_process *p, struct praas_object *o)
{
	struct praas_overflow *ov = p->state.overflow;
	struct praas_fetch *f = o->fetch ? &ov->fetch[o->fetch - 1] : NULL;
	int rc = 0;

	/* One that waits for memory has to find it now: nothing else runs meanwhile. */
	if (f && f->until_ns != 0) {
		f->until_ns = 1;
		(void)feed(p, f, UINT64_MAX); /* it is read, or over */
		f = o->fetch ? &ov->fetch[o->fetch - 1] : NULL;
		rc = f ? 0 : -ENOSPC;
	} else if (!f) {
		rc = fetch_begin(p, o, false, &f);
	}
	/* What was read from a place that is not its own any more is read once more. */
	for (unsigned i = 0; f && i < 2 && o->rest == PRAAS_REST_COMING; i++) {
		uint32_t number = (uint32_t)(f - ov->fetch);

		rc = ov->host.await(ov->host.user, number);
		praas_process_fetched(p, number, rc);
	}
	if (o->rest < PRAAS_REST_OUT)
		return 0;
	return rc != 0 ? rc : -EBUSY;
}

/* ---- life ---- */

int praas_process_overflow_set(struct praas_process *p,
			       const struct praas_overflow_host *host)
{
	int rc = praas_overflow_new(host, &p->state.overflow);

	return rc == 0 ? praas_slow_init(p) : rc;
}

void praas_process_overflow_from(struct praas_process *p,
				 const struct praas_place *places)
{
	p->state.overflow->places = places;
}

void praas_process_overflow_limit(struct praas_process *p, uint64_t bytes_max,
				  uint64_t all_max)
{
	p->state.overflow->bytes_max = bytes_max;
	p->state.overflow->all_max = all_max;
	praas_overflow_look(&p->state); /* what a log has brought back may be much */
}

void praas_process_places(struct praas_process *p, const struct praas_place *places,
			  uint64_t count)
{
	praas_overflow_places(&p->state, places, count);
	(void)praas_slow_poll(p, false); /* counted in the next turn */
}

void praas_process_overflow_stats(const struct praas_process *p,
				  struct praas_process_stats *ret_stats)
{
	const struct praas_overflow *ov = p->state.overflow;

	if (!ov)
		return;
	ret_stats->state_out_keys = ov->out_count;
	ret_stats->state_out_bytes = ov->out_bytes;
	ret_stats->state_fetches = ov->fetches;
	ret_stats->state_evictions = ov->evictions;
	ret_stats->state_fetch_failures = ov->failures;
}

void praas_process_fetch_release(struct praas_process *p)
{
	struct praas_overflow *ov = p->state.overflow;

	for (uint32_t i = 0; ov && i < ov->fetch_used; i++)
		praas_value_release(&ov->fetch[i].value);
	free(ov);
	p->state.overflow = NULL;
}
