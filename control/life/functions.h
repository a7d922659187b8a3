/* SPDX-License-Identifier: Apache-2.0
 *
 * What functions did since the control service began: one row for each function of an application, the sum
 * over all its processes and their epochs. Pure; its owner has a lock.
 *
 *   sums of an epoch ──told()──▶ what is new ──▶ the row of (tenant, application, function)
 *
 * There are PRAAS_FUNCTIONS_ROWS_MAX rows, no more than a quarter of them one tenant's; what has no
 * row is counted in one without names. A controller is believed what it tells of its own application only.
 */
#ifndef PRAAS_CONTROL_FUNCTIONS_H
#define PRAAS_CONTROL_FUNCTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "praas/types.h"

#define PRAAS_FUNCTIONS_ROWS_MAX 1024u
#define PRAAS_FUNCTIONS_TENANT_MAX (PRAAS_FUNCTIONS_ROWS_MAX / 4)
#define PRAAS_FUNCTIONS_TOLD_MAX                                                       \
	1024u /* of one process: as many functions as a manifest may have */

struct praas_function_totals {
	uint64_t calls, errors, bytes_in, bytes_out, run_ns;
};

struct praas_function_row {
	char tenant[PRAAS_NAME_MAX + 1],
		app[PRAAS_NAME_MAX + 1]; /* "": of those that have none */
	char function[PRAAS_NAME_MAX + 1];
	struct praas_function_totals sums;
};

struct praas_functions;

/* What the controller of one process told of its epoch; NULL: nothing. */
struct praas_functions_told;

struct praas_functions *praas_functions_new(void); /* NULL: no memory */
void praas_functions_free(struct praas_functions *f);

/* A controller's message. Sums never go back; one that is not newer than the last is passed over. */
void praas_functions_told(struct praas_functions *f, const char *tenant,
			  const char *app, struct praas_functions_told **told,
			  const json_t *message);
/* A new epoch, or the end of the process: its controller counts from nothing. */
void praas_functions_epoch(struct praas_functions_told **told);

/* A copy of all rows, the one without names first; to be freed. 0; -ENOMEM. */
int praas_functions_rows(const struct praas_functions *f,
			 struct praas_function_row **ret_rows, uint32_t *ret_count);

#endif
