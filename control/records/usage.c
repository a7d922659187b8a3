/* SPDX-License-Identifier: Apache-2.0 */
#include "control/records/usage.h"

#include "internal/base.h"

#define HELD_MAX 1e30 /* a tebibyte for as long as the universe is old has 1e29 */
#define NUMBERS 5

/* The counters of usage by number, so that what is done to each is said once. */
static uint64_t *number_of(struct praas_usage *u, int i)
{
	uint64_t *const all[NUMBERS] = { &u->cpu_ns, &u->wall_ns, &u->calls,
					 &u->bytes_in, &u->bytes_out };

	return all[i];
}

static uint64_t value_of(const struct praas_usage *u, int i)
{
	const uint64_t all[NUMBERS] = { u->cpu_ns, u->wall_ns, u->calls, u->bytes_in,
					u->bytes_out };

	return praas_min_u64(all[i], PRAAS_USAGE_MAX);
}

/* What it is not, is nothing. */
static double held(double value)
{
	if (!(value > 0)) /* a number that is none, too */
		return 0;
	return value < HELD_MAX ? value : HELD_MAX;
}

bool praas_usage_none(const struct praas_usage *used)
{
	bool none = !(used->resident > 0) && !(used->stored > 0);

	for (int i = 0; i < NUMBERS; i++)
		none = none && value_of(used, i) == 0;
	return none;
}

void praas_usage_add(struct praas_usage *to, const struct praas_usage *more)
{
	for (int i = 0; i < NUMBERS; i++)
		*number_of(to, i) = praas_min_u64(value_of(to, i) + value_of(more, i),
						  PRAAS_USAGE_MAX);
	to->resident = held(held(to->resident) + held(more->resident));
	to->stored = held(held(to->stored) + held(more->stored));
}

struct praas_usage praas_usage_since(const struct praas_usage *now,
				     const struct praas_usage *before)
{
	struct praas_usage more = { 0 };

	for (int i = 0; i < NUMBERS; i++) {
		uint64_t n = value_of(now, i), b = value_of(before, i);

		*number_of(&more, i) = n > b ? n - b : 0;
	}
	more.resident = held(held(now->resident) - held(before->resident));
	more.stored = held(held(now->stored) - held(before->stored));
	return more;
}

struct praas_usage praas_usage_largest(const struct praas_usage *a,
				       const struct praas_usage *b)
{
	struct praas_usage most = *a, more = praas_usage_since(b, a);

	praas_usage_add(&most, &more);
	return most;
}

struct praas_usage praas_usage_share(const struct praas_usage_row *row,
				     uint64_t since_ns, uint64_t until_ns)
{
	uint64_t from = praas_max_u64(row->from_ns, since_ns);
	uint64_t to = praas_min_u64(row->to_ns, until_ns);
	struct praas_usage part = { 0 }, all = row->used;
	double share;

	if (from >= to)
		return part;
	if (from == row->from_ns && to == row->to_ns) {
		praas_usage_add(&part, &all);
		return part;
	}
	share = (double)(to - from) / (double)(row->to_ns - row->from_ns);
	for (int i = 0; i < NUMBERS; i++)
		*number_of(&part, i) = (uint64_t)((double)value_of(&all, i) * share);
	part.resident = held(all.resident * share);
	part.stored = held(all.stored * share);
	return part;
}

double praas_usage_held(uint64_t bytes, uint64_t ns)
{
	return held((double)bytes * ((double)ns / 1e9));
}
