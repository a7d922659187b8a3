/* SPDX-License-Identifier: Apache-2.0
 *
 * Which objects have memory. Objects whose version lies in the last committed snapshot stand in a
 * list, coldest first. Reads by functions in workers send no message, so nobody sees them: the
 * coldest are marked in the index, and who reads one of those asks first, which warms it.
 */
#include "dataplane/overflow.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/state.h"

#define STEP_SHARE 16u /* at once this part of the memory goes, and as much is marked */
#define WANTED_SHARE 2u /* a checkpoint is wanted when this part has changed */

static uint32_t number(const struct praas_state *s, const struct praas_object *o)
{
	return (uint32_t)(o - s->objects) + 1;
}

static bool is_small(const struct praas_object *o)
{
	return o->value.bytes < PRAAS_PLACE_BYTES_MIN;
}

static bool is_out(const struct praas_object *o)
{
	return o->rest >= PRAAS_REST_OUT;
}

/* ---- the order of use ---- */

static void append(struct praas_state *s, struct praas_object *o)
{
	struct praas_overflow *ov = s->overflow;

	o->colder = ov->warmest;
	o->warmer = 0;
	*(ov->warmest ? &s->objects[ov->warmest - 1].warmer : &ov->coldest) =
		number(s, o);
	ov->warmest = number(s, o);
	ov->idle_bytes += o->value.charge;
	ov->idle_count++;
}

static void unlink_object(struct praas_state *s, struct praas_object *o)
{
	struct praas_overflow *ov = s->overflow;

	*(o->colder ? &s->objects[o->colder - 1].warmer : &ov->coldest) = o->warmer;
	*(o->warmer ? &s->objects[o->warmer - 1].colder : &ov->warmest) = o->colder;
	o->colder = o->warmer = 0;
	ov->idle_bytes -= o->value.charge;
	ov->idle_count--;
}

static void warm(struct praas_state *s, struct praas_object *o)
{
	if (s->overflow->warmest == number(s, o))
		return;
	unlink_object(s, o);
	append(s, o);
}

bool praas_overflow_use(struct praas_state *s, struct praas_object *o)
{
	if (is_out(o))
		return false;
	warm(s, o);
	if (o->rest == PRAAS_REST_RESTING) {
		o->rest = PRAAS_REST_HERE;
		praas_state_publish(s, o);
	}
	return true;
}

/* ---- what it is told ---- */

static void forget_place(struct praas_state *s, struct praas_object *o)
{
	bool told = o->rest == PRAAS_REST_RESTING;

	unlink_object(s, o);
	o->place = 0;
	o->rest = PRAAS_REST_HERE;
	if (told)
		praas_state_publish(s, o);
}

void praas_overflow_changed(struct praas_state *s, struct praas_object *o)
{
	praas_check(!is_out(o));
	forget_place(s, o);
}

void praas_overflow_drop(struct praas_state *s, struct praas_object *o)
{
	struct praas_overflow *ov = s->overflow;

	if (o->version == 0)
		return;
	if (is_small(o)) {
		ov->small_bytes -= o->value.charge;
	} else if (is_out(o)) {
		ov->out_bytes -= o->value.charge;
		ov->out_count--;
		/* Who waits for it asks again when what is being read has come. */
		if (o->fetch)
			ov->fetch[o->fetch - 1].object = 0;
		o->fetch = 0;
		o->place = 0;
		o->rest = PRAAS_REST_HERE;
	} else if (o->place) {
		forget_place(s, o);
	}
}

void praas_overflow_put(struct praas_state *s, struct praas_object *o)
{
	if (is_small(o))
		s->overflow->small_bytes += o->value.charge;
}

void praas_overflow_import(struct praas_state *s, struct praas_object *o,
			   uint32_t place)
{
	o->place = place;
	o->rest = PRAAS_REST_OUT;
	s->overflow->out_bytes += o->value.charge;
	s->overflow->out_count++;
	praas_state_publish(s, o);
}

void praas_overflow_came(struct praas_state *s, struct praas_object *o,
			 struct praas_value *value)
{
	struct praas_overflow *ov = s->overflow;

	ov->out_bytes -= o->value.charge;
	ov->out_count--;
	s->bytes -= o->value.charge;
	o->value = praas_value_take(value);
	s->bytes += o->value.charge;
	o->fetch = 0;
	o->rest = PRAAS_REST_HERE;
	append(s, o);
	praas_state_publish(s, o);
}

/* ---- memory ---- */

uint64_t praas_overflow_used(const struct praas_state *s)
{
	return s->bytes - s->overflow->out_bytes + s->overflow->coming_bytes;
}

uint64_t praas_overflow_fresh(const struct praas_state *s)
{
	const struct praas_overflow *ov = s->overflow;

	return s->bytes - ov->out_bytes - ov->idle_bytes - ov->small_bytes;
}

/* False: it has to stay. */
static bool evict(struct praas_state *s, struct praas_object *o)
{
	const struct praas_place *place = &s->overflow->places[o->place - 1];
	uint64_t bytes = o->value.bytes, charge = o->value.charge;

	/* Who holds a lease may write there. One that is only kept ends. */
	if (o->lease && (!praas_lease_settle(s, o) || o->lease))
		return false;
	if (o->place == 0) /* it was updated meanwhile */
		return false;
	if (o->version != place->version || o->torn) {
		forget_place(s, o);
		return false;
	}
	if (praas_state_retire_room(s, 1) != 0)
		return false;
	unlink_object(s, o);
	praas_state_retire(s, &o->value);
	o->value = (struct praas_value){ .bytes = bytes, .charge = charge };
	o->rest = PRAAS_REST_OUT;
	s->overflow->out_bytes += charge;
	s->overflow->out_count++;
	s->overflow->evictions++;
	praas_state_publish(s, o);
	return true;
}

/* The coldest, of that many bytes and some more: who reads them is to ask. */
static void mark(struct praas_state *s, uint64_t bytes)
{
	uint64_t sum = 0;

	for (uint32_t i = s->overflow->coldest; i && sum < 2 * bytes;) {
		struct praas_object *o = &s->objects[i - 1];

		sum += o->value.charge;
		i = o->warmer;
		if (o->rest != PRAAS_REST_HERE)
			continue;
		o->rest = PRAAS_REST_RESTING;
		praas_state_publish(s, o);
	}
}

uint64_t praas_overflow_relieve(struct praas_state *s, uint64_t bytes)
{
	struct praas_overflow *ov = s->overflow;
	uint32_t looks = ov->idle_count;
	uint64_t freed = 0;

	bytes = praas_max_u64(bytes, ov->bytes_max / STEP_SHARE);
	while (freed < bytes && ov->coldest && looks-- > 0) {
		struct praas_object *o = &s->objects[ov->coldest - 1];
		uint64_t charge = o->value.charge;

		if (evict(s, o))
			freed += charge;
		else if (o->place)
			warm(s, o);
	}
	mark(s, freed);
	return freed;
}

static void want(struct praas_overflow *ov)
{
	if (ov->wanted)
		return;
	ov->wanted = true;
	ov->host.wanted(ov->host.user);
}

void praas_overflow_look(struct praas_state *s)
{
	if (praas_overflow_fresh(s) > s->overflow->bytes_max / WANTED_SHARE)
		want(s->overflow);
}

bool praas_overflow_full(const struct praas_state *s)
{
	return praas_overflow_fresh(s) > s->overflow->bytes_max / 4 * 3;
}

/* What the objects of a commit have now, and will not need. */
static uint64_t replaced(const struct praas_state *s, uint32_t count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct praas_object *o =
			s->scratch[i] ? &s->objects[s->scratch[i] - 1] : NULL;

		if (!o || o->seen || is_out(o))
			continue;
		o->seen = true;
		sum += o->value.charge;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct praas_object *o =
			s->scratch[i] ? &s->objects[s->scratch[i] - 1] : NULL;

		if (o)
			o->seen = false;
	}
	return sum;
}

/* By how much objects would have too much. */
static uint64_t excess(const struct praas_state *s, uint64_t bytes, uint32_t count)
{
	uint64_t wanted = praas_overflow_used(s) + bytes;
	uint64_t freed = count > 0 ? replaced(s, count) : 0;

	wanted -= praas_min_u64(freed, wanted);
	return wanted > s->overflow->bytes_max ? wanted - s->overflow->bytes_max : 0;
}

/* With what readers may still see. */
static bool crowded(const struct praas_state *s, uint64_t bytes)
{
	return praas_overflow_used(s) + s->retired_bytes + bytes > s->overflow->all_max;
}

int praas_overflow_room(struct praas_state *s, uint64_t bytes, uint32_t count)
{
	struct praas_overflow *ov = s->overflow;
	uint64_t over = excess(s, bytes, count);

	if (praas_likely(over == 0) && praas_likely(!crowded(s, bytes)))
		return 0;
	if (bytes > ov->bytes_max)
		return -ENOSPC;
	if (over > 0)
		(void)praas_overflow_relieve(s, over); /* seen below */
	praas_state_reclaim(s, true);
	if (excess(s, bytes, count) == 0)
		return crowded(s, bytes) ? -EBUSY : 0;
	if (praas_overflow_fresh(s) == 0)
		return -ENOSPC;
	want(ov);
	return -EBUSY;
}

/* ---- places ---- */

/* Until it is found among the new ones. */
#define OLD UINT32_MAX

static void make_old(struct praas_state *s)
{
	for (uint32_t i = 0; i < s->used; i++)
		if (s->objects[i].live && s->objects[i].place)
			s->objects[i].place = OLD;
}

/* What has no place any more has changed. What is out has one in every snapshot: it was in the one before. */
static void forget_old(struct praas_state *s)
{
	for (uint32_t i = 0; i < s->used; i++) {
		struct praas_object *o = &s->objects[i];

		if (!o->live || o->place != OLD)
			continue;
		praas_check(!is_out(o));
		forget_place(s, o);
	}
}

void praas_overflow_places(struct praas_state *s, const struct praas_place *places,
			   uint64_t count)
{
	struct praas_overflow *ov = s->overflow;

	make_old(s);
	ov->set++;
	ov->places = places;
	for (uint64_t i = 0; i < count; i++) {
		const struct praas_place *place = &places[i];
		struct praas_object *o =
			praas_state_find(s, place->key, place->key_bytes);

		if (!o || o->version != place->version ||
		    o->value.bytes != place->bytes || is_small(o))
			continue;
		if (o->place == 0)
			append(s, o);
		o->place = (uint32_t)i + 1;
	}
	forget_old(s);
	ov->wanted = false;
	ov->stalled = false;
	praas_overflow_look(s);
}

/* ---- life ---- */

int praas_overflow_new(const struct praas_overflow_host *host,
		       struct praas_overflow **ret_overflow)
{
	struct praas_overflow *ov = calloc(1, sizeof(*ov));

	if (!ov)
		return -ENOMEM;
	ov->host = *host;
	ov->bytes_max = ov->all_max = UINT64_MAX;
	*ret_overflow = ov;
	return 0;
}
