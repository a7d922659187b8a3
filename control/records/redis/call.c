/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked for, put together.
 */
#include "control/records/redis/client_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ARG 9

void praas_redis_add_bytes(struct praas_redis_call *call, const void *data,
			   size_t bytes)
{
	int at = call->args.count;

	if (at >= (int)PRAAS_REDIS_ARGS)
		abort(); /* a call of ours, with more than there can be */
	call->args.argv[at] = bytes > 0 ? data : "";
	call->args.bytes[at] = bytes;
	call->args.count++;
}

void praas_redis_add_text(struct praas_redis_call *call, const char *text)
{
	praas_redis_add_bytes(call, text, strlen(text));
}

static char *next_number(struct praas_redis_call *call)
{
	if (call->numbers >= PRAAS_REDIS_NUMBERS)
		abort(); /* as above */
	return call->number[call->numbers++];
}

void praas_redis_add_number(struct praas_redis_call *call, uint64_t number)
{
	char *text = next_number(call);

	(void)snprintf(text, sizeof(call->number[0]), "%" PRIu64, number);
	praas_redis_add_text(call, text);
}

void praas_redis_add_wide(struct praas_redis_call *call, uint64_t number)
{
	char *text = next_number(call);

	(void)snprintf(text, sizeof(call->number[0]), "%020" PRIu64, number);
	praas_redis_add_text(call, text);
}

void praas_redis_begin(struct praas_redis_call *call, enum praas_redis_concept concept,
		       enum praas_redis_kind kind, const char *op)
{
	call->args.count = FIRST_ARG - 1;
	call->concept = concept;
	call->kind = kind;
	call->numbers = 0;
	praas_redis_add_text(call, op);
}

void praas_redis_set_arg(struct praas_redis_call *call, int at, const char *text)
{
	call->args.argv[at] = text;
	call->args.bytes[at] = strlen(text);
}
