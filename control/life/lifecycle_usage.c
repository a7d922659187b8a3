/* SPDX-License-Identifier: Apache-2.0
 *
 * What processes use, on its way from their controllers to rows of the records.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "control/json.h"
#include "control/say.h"
#include "internal/base.h"

#define TIDY_FIRST_NS 10000000000ull   /* after the start */
#define TIDY_EVERY_NS 3600000000000ull /* an hour */

int praas_life_put(struct praas_life_process *p, struct praas_process_record *record)
{
	struct praas_life *life = p->life;
	struct praas_records *records = life->config.records;
	struct praas_app_record app;
	struct praas_usage_row row;
	bool same;
	int rc;

	(void)pthread_mutex_lock(&life->usage_lock);
	(void)pthread_mutex_lock(&life->lock);
	praas_account_rest(&p->account, &p->record, praas_life_realtime_ns());
	record->used_ns = p->record.used_ns;
	row = praas_account_take(&p->account, record, p->account.since_ns);
	app = p->app;
	same = record->epoch == p->record.epoch;
	if (!same) /* that of the next is told as none of it */
		record->counted = p->record.counted;
	(void)pthread_mutex_unlock(&life->lock);
	if (praas_usage_none(&row.used))
		rc = records->ops->process_put(records, record);
	else
		rc = records->usage->put(records, record, &app, &row);
	(void)pthread_mutex_lock(&life->lock);
	if (rc == 0) {
		p->record.used_ns = record->used_ns;
		if (same)
			p->record.counted = record->counted;
		p->row_ns = praas_now_ns();
	} else {
		praas_account_back(&p->account, &row);
	}
	(void)pthread_mutex_unlock(&life->lock);
	(void)pthread_mutex_unlock(&life->usage_lock);
	return rc;
}

void praas_life_used(struct praas_life_process *p, const json_t *message)
{
	const struct praas_usage *told = &p->account.told;
	struct praas_usage counters = {
		.cpu_ns = praas_json_number_or(message, "cpu_ns", told->cpu_ns),
		.wall_ns = praas_json_number_or(message, "wall_ns", told->wall_ns),
		.calls = praas_json_number_or(message, "invocations", told->calls),
		.bytes_in = praas_json_number_or(message, "bytes_in", told->bytes_in),
		.bytes_out =
			praas_json_number_or(message, "bytes_out", told->bytes_out),
		.resident =
			json_number_value(json_object_get(message, "resident_byte_s")),
	};
	struct praas_usage more;

	praas_account_told(&p->account, &counters, &more);
	praas_usage_add(&p->life->used, &more);
	if (praas_account_due(&p->account, praas_now_ns() - p->row_ns,
			      p->life->config.usage_ns))
		praas_life_save(p);
}

/* ---- old rows ----------------------------------------------------------------------- */

static uint64_t days_before(uint64_t now_ns, uint64_t days)
{
	uint64_t ns = days * PRAAS_USAGE_DAY_NS;

	return now_ns > ns ? now_ns - ns : 0;
}

static void run_tidy(struct praas_job *job)
{
	struct praas_life *life =
		(struct praas_life *)(void *)((char *)job -
					      offsetof(struct praas_life, tidy_job));
	struct praas_records *records = life->config.records;
	uint64_t now = praas_life_realtime_ns();
	uint32_t rows;
	bool over;
	int rc;

	do {
		rc = records->usage->fold(
			records, days_before(now, PRAAS_LIMIT_USAGE_FINE_DAYS), &rows);
		(void)pthread_mutex_lock(&life->lock);
		over = life->stopping;
		(void)pthread_mutex_unlock(&life->lock);
	} while (rc == 0 && rows > 0 && !over);
	if (rc == 0)
		rc = records->usage->expire(
			records, days_before(now, life->config.usage_days), &rows);
	if (rc)
		praas_say(PRAAS_SAY_WARNING, "old usage: %s; it is tried again",
			  strerror(-rc));
	(void)pthread_mutex_lock(&life->lock);
	life->tidying = false;
	life->tidy_due_ns = praas_now_ns() + TIDY_EVERY_NS;
	if (!over)
		praas_link_wake(life->link);
	life->background--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
}

uint64_t praas_life_tidy_due(struct praas_life *life, uint64_t now_ns)
{
	if (life->tidying || life->stopping)
		return 0;
	if (life->tidy_due_ns == 0)
		life->tidy_due_ns = now_ns + TIDY_FIRST_NS;
	if (now_ns < life->tidy_due_ns)
		return life->tidy_due_ns;
	life->tidying = true;
	life->tidy_job.run = run_tidy;
	praas_life_background(life, &life->tidy_job);
	return 0; /* its end is told by a wake */
}
