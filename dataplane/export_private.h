/* SPDX-License-Identifier: Apache-2.0
 *
 * What export.c (a snapshot of a process) and export_inputs.c (of what waits in it) share.
 */
#ifndef PRAAS_DATAPLANE_EXPORT_PRIVATE_H
#define PRAAS_DATAPLANE_EXPORT_PRIVATE_H

#include "dataplane/process_private.h"

#define PRAAS_EXPORT_TRACED                                                            \
	0x100 /* in the status of messages and inputs, with the trace flags */

struct praas_export_walk {
	struct praas_process *p;
	praas_export_fn fn;
	void *user;
};

/* ---- export.c ---- */

/* A trace (a block as in frames) in a record; number: the field of it that has a part. */
PRAAS_COLD void praas_export_trace(const uint8_t *trace, struct praas_export_record *r,
				   uint64_t *number);
/* And back. */
PRAAS_COLD void praas_import_trace(const struct praas_export_record *r, uint64_t number,
				   uint8_t ret_trace[PRAAS_TRACE_BYTES]);

/* ---- export_inputs.c ---- */

/* 0; what the walk's function said. */
int praas_export_inputs(struct praas_export_walk *w);
/* A record of such a kind. As praas_process_import(). */
int praas_import_inputs(struct praas_process *p,
			const struct praas_export_record *record);

#endif
