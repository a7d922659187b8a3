/* SPDX-License-Identifier: Apache-2.0
 *
 * W3C Trace Context of a request: who asked gave it in `traceparent`, or it begins here. The
 * function that is invoked sees it, its log lines and the audit log carry it, and the answer
 * names it, so that one id finds all that a request did.
 */
#ifndef PRAAS_CONTROL_TRACE_H
#define PRAAS_CONTROL_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "praas/types.h"

#define PRAAS_TRACEPARENT_BYTES 56 /* with NUL */

struct praas_trace {
	uint8_t id[16];  /* of the trace; zeros: not taken yet */
	uint8_t span[8]; /* of this request: the parent of what it causes */
	uint8_t flags;   /* as they came: 0x01 sampled */
};

/* Continues the trace of a traceparent header (section 3.2 of the recommendation); NULL, or none
 * of that form: a new one. The span is new either way. Two getrandom(2) at most. */
void praas_trace_begin(const char *traceparent, struct praas_trace *ret_trace);
/* As the data plane has it. */
void praas_trace_context(const struct praas_trace *trace,
			 struct praas_trace_context *ret_context);
/* "00-…": what to send on, and to answer with. */
void praas_trace_text(const struct praas_trace *trace,
		      char ret_text[PRAAS_TRACEPARENT_BYTES]);

#endif
