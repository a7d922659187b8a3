/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/account.h"

#include "internal/base.h"

#define WITHOUT_CALLS 12u /* times as long */

double praas_account_stored(uint8_t state, int64_t slot, uint64_t state_bytes,
			    uint64_t ns)
{
	bool rests = state == PRAAS_LIFE_SWAPPED || state == PRAAS_LIFE_LOST ||
		     state == PRAAS_LIFE_KILLED;

	return rests && slot >= 0 ? praas_usage_held(state_bytes, ns) : 0;
}

void praas_account_open(struct praas_account *a,
			const struct praas_process_record *record)
{
	*a = (struct praas_account){ .told = record->counted,
				     .since_ns = record->used_ns };
}

void praas_account_told(struct praas_account *a, const struct praas_usage *counters,
			struct praas_usage *ret_more)
{
	*ret_more = praas_usage_since(counters, &a->told);
	a->told = praas_usage_largest(&a->told, counters);
	praas_usage_add(&a->pending, ret_more);
}

void praas_account_rest(struct praas_account *a,
			const struct praas_process_record *record, uint64_t now_ns)
{
	struct praas_usage more = { 0 };

	if (now_ns <= a->since_ns)
		return; /* the clock was set back: that time was counted */
	more.stored = praas_account_stored(record->state, record->slot,
					   record->state_bytes, now_ns - a->since_ns);
	praas_usage_add(&a->pending, &more);
	a->since_ns = now_ns;
}

void praas_account_epoch(struct praas_account *a)
{
	a->told = (struct praas_usage){ 0 };
}

static struct praas_usage_row row_until(const struct praas_usage *used,
					uint64_t from_ns, uint64_t now_ns)
{
	/* It has a length, whatever the clock says. */
	return (struct praas_usage_row){ .from_ns = from_ns,
					 .to_ns = praas_max_u64(now_ns, from_ns + 1),
					 .used = *used };
}

struct praas_usage_row praas_account_take(struct praas_account *a,
					  struct praas_process_record *record,
					  uint64_t now_ns)
{
	struct praas_usage_row row = row_until(&a->pending, record->used_ns, now_ns);

	a->pending = (struct praas_usage){ 0 };
	record->used_ns = row.to_ns;
	record->counted = a->told;
	return row;
}

void praas_account_back(struct praas_account *a, const struct praas_usage_row *row)
{
	praas_usage_add(&a->pending, &row->used);
}

struct praas_usage_row praas_account_live(const struct praas_account *a,
					  const struct praas_process_record *record,
					  uint64_t now_ns)
{
	struct praas_account copy = *a;

	praas_account_rest(&copy, record, now_ns);
	return row_until(&copy.pending, record->used_ns, now_ns);
}

bool praas_account_due(const struct praas_account *a, uint64_t age_ns,
		       uint64_t every_ns)
{
	return age_ns >= every_ns * WITHOUT_CALLS ||
	       (age_ns >= every_ns && a->pending.calls > 0);
}
