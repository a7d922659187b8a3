/* SPDX-License-Identifier: Apache-2.0 */
#include "control/say.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#define TEXT_BYTES 4096

static _Atomic bool as_json;

void praas_say_json(bool json)
{
	atomic_store_explicit(&as_json, json, memory_order_relaxed);
}

static void write_line(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return; /* nobody reads it: nothing to be done about that */
}

/* Control characters (a path or a name may have them) never reach a terminal. */
static void say_text(char *text)
{
	char line[TEXT_BYTES + 32];

	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	(void)snprintf(line, sizeof(line), "praas-control: %s\n", text); /* fits */
	write_line(line);
}

static void say_json(enum praas_say_level level, const char *text)
{
	static const char *const names[] = { "info", "warning", "error" };
	struct timespec now;
	json_t *line;
	char *dump = NULL;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	line = json_pack("{s:f,s:s,s:s,s:s}", "ts",
			 (double)now.tv_sec + (double)now.tv_nsec / 1e9, "level",
			 names[level], "service", "control", "msg", text);
	if (line)
		dump = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII |
						JSON_PRESERVE_ORDER |
						JSON_REAL_PRECISION(16));
	json_decref(line);
	if (dump) {
		char *with_end = realloc(dump, strlen(dump) + 2);

		dump = with_end ? with_end : dump;
		if (with_end)
			memcpy(dump + strlen(dump), "\n", 2);
		write_line(dump);
	} else { /* out of memory, or no UTF-8 */
		write_line(
			"{\"level\":\"error\",\"service\":\"control\",\"msg\":\"a line "
			"that cannot be written as JSON\"}\n");
	}
	free(dump);
}

void praas_say(enum praas_say_level level, const char *format, ...)
{
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* may be cut */
	va_end(args);
	if (atomic_load_explicit(&as_json, memory_order_relaxed))
		say_json(level, text);
	else
		say_text(text);
}
