/* SPDX-License-Identifier: Apache-2.0
 *
 * The account of one process: what it used and is not in a row of the records yet. Pure: counters and
 * times come in, rows go out.
 *
 *   counters of the controller ──told()──▶ ┐
 *                                          ├▶ pending ──take()──▶ a row, with the record
 *   state × time, while it rests ─rest()─▶ ┘                     in one commit
 *
 * A controller tells what it used since its epoch began; the record says how much of that is in rows.
 * So what was told and is not in a row when the control service ends is told again, and counts once.
 */
#ifndef PRAAS_CONTROL_ACCOUNT_H
#define PRAAS_CONTROL_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "control/records/records.h"

struct praas_account {
	struct praas_usage told;    /* by the controller of this epoch, last */
	struct praas_usage pending; /* not in a row */
	uint64_t since_ns; /* until then the state in the store is in pending */
};

/* As the record has it; not for a record with which a row is under way. */
void praas_account_open(struct praas_account *a,
			const struct praas_process_record *record);
/* Counters of the epoch; they never go back. *ret_more: what is new. */
void praas_account_told(struct praas_account *a, const struct praas_usage *counters,
			struct praas_usage *ret_more);
/* Before the state of the record changes, and whenever: counts what it held in the store. */
void praas_account_rest(struct praas_account *a,
			const struct praas_process_record *record, uint64_t now_ns);
/* A new epoch: its controller counts from nothing. record->counted is for it to be zero. */
void praas_account_epoch(struct praas_account *a);
/* All that is pending, until now (CLOCK_REALTIME), as a row; to be stored with record, which says
 * from then on that it is. rest() was called. */
struct praas_usage_row praas_account_take(struct praas_account *a,
					  struct praas_process_record *record,
					  uint64_t now_ns);
/* The row was not stored. */
void praas_account_back(struct praas_account *a, const struct praas_usage_row *row);
/* What is in no row. The account stays as it is. */
struct praas_usage_row praas_account_live(const struct praas_account *a,
					  const struct praas_process_record *record,
					  uint64_t now_ns);
/* So much was held in the store by a process in that state. */
double praas_account_stored(uint8_t state, int64_t slot, uint64_t state_bytes,
			    uint64_t ns);
/* Whether pending is to go into a row: after `every` with calls, after a dozen times that in any case. */
bool praas_account_due(const struct praas_account *a, uint64_t age_ns,
		       uint64_t every_ns);

#endif
