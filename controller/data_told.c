/* SPDX-License-Identifier: Apache-2.0
 *
 * What the data thread tells of its process without being asked for it: counters, and what functions say.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/data_private.h"
#include "controller/journal.h"
#include "dataplane/worker_executor.h"

#define SPARE_ROOM_MIN 32u /* reports that logs and questions leave room for */

void praas_data_report(struct praas_data *d, enum praas_exchange_report kind,
		       uint64_t a, uint64_t b)
{
	int rc = praas_exchange_report(d->config.exchange, kind, a, b);

	praas_check(rc == 0);
}

int praas_data_report_spare(struct praas_data *d, enum praas_exchange_report kind,
			    uint64_t a, uint64_t b)
{
	struct praas_ring_tx *tx = &d->config.exchange->reports_tx;

	if (praas_ring_tx_room(tx) < SPARE_ROOM_MIN && praas_ring_tx_refresh(tx) != 0)
		return -EAGAIN;
	if (praas_ring_tx_room(tx) < SPARE_ROOM_MIN)
		return -EAGAIN; /* the rest is for reports that count */
	praas_data_report(d, kind, a, b);
	return 0;
}

/* A function's own words. Never waits: what nobody reads in time is dropped. */
void praas_data_on_log(void *user, const struct praas_function_log *line)
{
	static const enum praas_log_level levels[8] = {
		PRAAS_LOG_ERROR,   PRAAS_LOG_ERROR, PRAAS_LOG_ERROR, PRAAS_LOG_ERROR,
		PRAAS_LOG_WARNING, PRAAS_LOG_INFO,  PRAAS_LOG_INFO,  PRAAS_LOG_DEBUG,
	}; /* by the numbers of syslog(3) */
	struct praas_data *d = user;
	struct praas_log_note *note = calloc(1, sizeof(*note));

	if (!note)
		return;
	(void)snprintf(note->function, sizeof(note->function), "%s",
		       line->function ? line->function : "");
	(void)snprintf(note->text, sizeof(note->text), "%s",
		       line->text); /* may be cut */
	if (line->trace)
		memcpy(note->trace, line->trace, sizeof(note->trace));
	if (praas_data_report_spare(d, PRAAS_REPORT_LOG, levels[line->level & 7],
				    (uint64_t)(uintptr_t)note) != 0)
		free(note);
}

void praas_data_publish(struct praas_data *d)
{
	struct praas_process_stats stats;

	if (!d->process)
		return;
	praas_process_stats(d->process, &stats);
	praas_data_direct_count(d, &stats);
	praas_exchange_publish(d->config.exchange, &stats);
}

void praas_data_publish_functions(struct praas_data *d)
{
	if (d->config.spawner)
		praas_worker_executor_count(d->executor);
	praas_exchange_publish_functions(d->config.exchange,
					 praas_process_sums(d->process),
					 d->config.manifest->count);
	/* Unheard it is told a second later. */
	(void)praas_data_report_spare(d, PRAAS_REPORT_FUNCTIONS, 0, 0);
}
