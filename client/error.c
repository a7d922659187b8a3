/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <stdarg.h>
#include <stdio.h>

/* Words for what went wrong. */

static _Thread_local char last_error[256];

const char *praas_error(void)
{
	return last_error;
}

int praas_fail_with(int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	/* Cut when too long: it is for people. */
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start() is above */
	(void)vsnprintf(last_error, sizeof(last_error), format, args);
	va_end(args);
	return rc;
}

const char *praas_status_text(int status)
{
	static const char *const text[] = {
		"the worker died in the function",
		"the deadline passed before the result",
		"cancelled by its caller",
		"the process's queue is full; retry later",
		"no function of that name",
		"payload or result over the configured limit",
		"the process's memory limit is reached",
		"the process is being swapped out; ask the control service",
		"the process lives elsewhere now; ask the control service",
		"the credential does not allow it",
		"connection or epoch lost; it may or may not have run",
		"swapped out while it ran; its writes are undone",
		"the same id ran already and its result is gone",
		"the request makes no sense",
		"another version is there",
		"no such key or message",
		"a mistake of the process's runtime; its log has more",
	};

	if (status == PRAAS_OK)
		return "done";
	if (status > 0)
		return "the function returned an error";
	if (status > PRAAS_CRASHED || status < PRAAS_INTERNAL)
		return "unknown status";
	return text[PRAAS_CRASHED - status];
}
