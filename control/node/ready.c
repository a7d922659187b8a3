/* SPDX-License-Identifier: Apache-2.0 */
#include "control/node/ready.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

int praas_ready_note(struct praas_ready *r, const char *shape)
{
	uint32_t at = 0;
	char *text;

	while (at < r->shapes && strcmp(r->shape[at], shape) != 0)
		at++;
	if (at < r->shapes) {
		text = r->shape[at];
	} else {
		text = strdup(shape);
		if (!text)
			return -ENOMEM;
		if (r->shapes == PRAAS_READY_SHAPES)
			free(r->shape[--at]);
		else
			r->shapes++;
	}
	memmove(&r->shape[1], &r->shape[0], at * sizeof(r->shape[0]));
	r->shape[0] = text;
	return 0;
}

static void leave(struct praas_ready *r, uint32_t at, struct praas_ready_one *ret_one)
{
	*ret_one = r->one[at];
	r->one[at] = (struct praas_ready_one){ 0 };
}

bool praas_ready_take(struct praas_ready *r, const char *shape,
		      struct praas_ready_one *ret_one)
{
	uint32_t best = PRAAS_READY_MAX;
	bool fits = false; /* the best one is for that shape */

	for (uint32_t i = 0; i < PRAAS_READY_MAX; i++) {
		const struct praas_ready_one *o = &r->one[i];
		bool of_shape = same(o->shape, shape);

		if (!o->used || o->os_pid == 0 || (o->shape && !of_shape))
			continue;
		if (best == PRAAS_READY_MAX || of_shape > fits ||
		    (of_shape == fits && o->turn < r->one[best].turn)) {
			best = i;
			fits = of_shape;
		}
	}
	if (best == PRAAS_READY_MAX)
		return false;
	leave(r, best, ret_one);
	return true;
}

/* Those for that shape, made or being made. */
static uint32_t count_of(const struct praas_ready *r, const char *shape)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < PRAAS_READY_MAX; i++)
		n += r->one[i].used && same(r->one[i].shape, shape);
	return n;
}

/* How many shapes get some. */
static uint32_t shares(const struct praas_ready *r)
{
	return r->shapes < r->capacity ? r->shapes : r->capacity;
}

static uint32_t quota(const struct praas_ready *r, const char *shape)
{
	uint32_t n = shares(r);

	if (n == 0)
		return shape ? 0 : r->capacity;
	for (uint32_t i = 0; shape && i < n; i++)
		if (strcmp(r->shape[i], shape) == 0)
			return r->capacity / n + (i == 0 ? r->capacity % n : 0);
	return 0;
}

static bool make(struct praas_ready *r, const char *shape,
		 struct praas_ready_one *ret_one, uint32_t *ret_place)
{
	char *copy = shape ? strdup(shape) : NULL;

	if (shape && !copy)
		return false;
	for (uint32_t i = 0; i < PRAAS_READY_MAX; i++) {
		if (r->one[i].used)
			continue;
		r->one[i] = (struct praas_ready_one){ .shape = copy, .used = true };
		*ret_one = (struct praas_ready_one){
			.shape = shape ? strdup(shape) : NULL,
			.pidfd = -1,
			.config_fd = -1,
		};
		*ret_place = i;
		if (ret_one->shape || !shape)
			return true;
		r->one[i] = (struct praas_ready_one){ 0 };
		break;
	}
	free(copy);
	return false;
}

enum praas_ready_step praas_ready_next(struct praas_ready *r,
				       struct praas_ready_one *ret_one,
				       uint32_t *ret_place)
{
	uint32_t n = shares(r);

	for (uint32_t i = 0; i < PRAAS_READY_MAX; i++) {
		const struct praas_ready_one *o = &r->one[i];

		if (!o->used || o->os_pid == 0 ||
		    count_of(r, o->shape) <= quota(r, o->shape))
			continue;
		leave(r, i, ret_one);
		return PRAAS_READY_END;
	}
	for (uint32_t i = 0; i < (n ? n : 1); i++) {
		const char *shape = n ? r->shape[i] : NULL;

		if (count_of(r, shape) < quota(r, shape) &&
		    make(r, shape, ret_one, ret_place))
			return PRAAS_READY_MAKE;
	}
	return PRAAS_READY_ENOUGH;
}

void praas_ready_made(struct praas_ready *r, uint32_t place,
		      const struct praas_ready_one *one)
{
	praas_check(place < PRAAS_READY_MAX);
	free(r->one[place].shape);
	r->one[place] = (struct praas_ready_one){ 0 };
	if (!one)
		return;
	r->one[place] = *one;
	r->one[place].used = true;
	r->one[place].turn = r->turns++;
}

bool praas_ready_drain(struct praas_ready *r, struct praas_ready_one *ret_one)
{
	for (uint32_t i = 0; i < PRAAS_READY_MAX; i++) {
		if (!r->one[i].used || r->one[i].os_pid == 0)
			continue;
		leave(r, i, ret_one);
		return true;
	}
	return false;
}

uint32_t praas_ready_count(const struct praas_ready *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < PRAAS_READY_MAX; i++)
		n += r->one[i].used && r->one[i].os_pid != 0;
	return n;
}

void praas_ready_release(struct praas_ready *r)
{
	for (uint32_t i = 0; i < PRAAS_READY_MAX; i++)
		free(r->one[i].shape);
	while (r->shapes > 0)
		free(r->shape[--r->shapes]);
}
