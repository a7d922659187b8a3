/* SPDX-License-Identifier: Apache-2.0 */
#include "control/trace.h"

#include <stdio.h>
#include <string.h>

#include "control/names.h"
#include "control/tenants/keys.h"

#define FORM "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh"

/* Lower case, no version 255, no id of zeros; a later version may be longer. */
static bool is_good(const char *text)
{
	for (size_t i = 0; i < sizeof(FORM) - 1; i++)
		if (FORM[i] == '-' ? text[i] != '-'
				   : !text[i] || !strchr("0123456789abcdef", text[i]))
			return false;
	if (strncmp(text, "ff", 2) == 0 || strspn(text + 3, "0") >= 32 ||
	    strspn(text + 36, "0") >= 16)
		return false;
	return text[sizeof(FORM) - 1] == '\0' ||
	       (strncmp(text, "00", 2) != 0 && text[sizeof(FORM) - 1] == '-');
}

#define KEPT_BYTES 1920u /* of eighty traces */

/* Of ids that only have to differ from all others: fetched for many at a time, since each fetch is a
 * system call. */
static void take_random(uint8_t *ret_data, size_t bytes)
{
	static _Thread_local uint8_t kept[KEPT_BYTES];
	static _Thread_local size_t left;

	if (left < bytes) {
		praas_random(kept, sizeof(kept));
		left = sizeof(kept);
	}
	left -= bytes;
	memcpy(ret_data, kept + left, bytes);
}

static void decode(const char *text, uint8_t *ret_data, size_t bytes)
{
	char digits[33];

	(void)snprintf(digits, sizeof(digits), "%.*s", (int)(2 * bytes), text);
	(void)praas_hex_decode(digits, ret_data, bytes); /* looked at before */
}

void praas_trace_begin(const char *traceparent, struct praas_trace *ret_trace)
{
	memset(ret_trace, 0, sizeof(*ret_trace));
	if (traceparent && is_good(traceparent)) {
		decode(traceparent + 3, ret_trace->id, sizeof(ret_trace->id));
		decode(traceparent + 53, &ret_trace->flags, 1);
	} else {
		take_random(ret_trace->id, sizeof(ret_trace->id));
	}
	take_random(ret_trace->span, sizeof(ret_trace->span));
}

void praas_trace_context(const struct praas_trace *trace,
			 struct praas_trace_context *ret_context)
{
	memcpy(ret_context->trace_id, trace->id, sizeof(ret_context->trace_id));
	memcpy(ret_context->span_id, trace->span, sizeof(ret_context->span_id));
	ret_context->flags = trace->flags;
}

void praas_trace_text(const struct praas_trace *trace,
		      char ret_text[PRAAS_TRACEPARENT_BYTES])
{
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): what follows goes on */
	memcpy(ret_text, "00-", 3);
	praas_hex_encode(trace->id, sizeof(trace->id), ret_text + 3);
	ret_text[35] = '-';
	praas_hex_encode(trace->span, sizeof(trace->span), ret_text + 36);
	ret_text[52] = '-';
	praas_hex_encode(&trace->flags, 1, ret_text + 53);
}
