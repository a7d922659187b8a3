/* SPDX-License-Identifier: Apache-2.0
 *
 * What the command prints: one sentence for an error, tables for people, JSON for
 * programs.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COLUMNS_MAX 16
#define CELL_BYTES 128

#define SENTENCE_BYTES 8192

/* What the control service says to programs at the end of a sentence, and what people do instead. */
static const char *const hints[][2] = {
	{ "no such process; GET the list to see what there is",
	  "no such process; praas ps lists them" },
	{ "no such process: No such file or directory; GET the list to see what there "
	  "is",
	  "no such process; praas ps lists them" },
	{ "no such application; GET the list to see what there is",
	  "no such application; praas app ls lists them" },
	{ "no such application; POST /v1/apps creates one",
	  "no such application; praas app ls lists them" },
	{ "GET the list to see what there is", "list what there is" },
	{ "GET /v1/tokens lists them", "praas token ls lists them" },
	{ "GET /v1/tenants lists them", "praas tenant ls lists them" },
	{ "POST /v1/tenants creates one (operators only)",
	  "praas tenant create makes one (operators only)" },
	{ "its limits may be set: PUT /v1/tenants/default",
	  "praas tenant limits sets its limits" },
	{ "GET /v1/nodes lists them", "praas node ls lists them" },
	{ "choose another node: GET /v1/nodes",
	  "choose another node: praas node ls lists them" },
	{ "swap processes out, or add nodes; GET /v1/nodes",
	  "swap processes out, or add nodes; praas node ls lists them" },
	{ "\"swap_out\": true swaps its processes out in place of moving them",
	  "--swap-out swaps its processes out in place of moving them" },
	{ "wake it first: POST …/swap-in", "wake it first: praas process wake" },
	{ "POST …/checkpoint, or swap it out",
	  "praas process checkpoint makes one, or swap it out" },
	{ "GET …/state lists the keys", "praas state ls lists the keys" },
	{ "see docs/rest.md, POST /v1/apps", "see praas app create --help" },
	{ "see docs/rest.md, POST /v1/tokens", "see praas token create --help" },
	{ "see docs/rest.md, POST /v1/tenants", "see praas tenant create --help" },
	{ "see docs/rest.md, GET /v1/usage", "see praas usage --help" },
};

void (*praas_cli_before_error)(void);

char *praas_cli_plain(char *text)
{
	for (unsigned char *at = (unsigned char *)text; *at; at++) {
		if (*at < ' ' || *at == 0x7f)
			*at = '?';
		/* U+0080 … U+009F: the same commands in one character. */
		if (*at == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
			at[0] = at[1] = '?';
	}
	return text;
}

int praas_cli_fail(enum praas_exit code, const char *format, ...)
{
	static char text[SENTENCE_BYTES]; /* there is one thread */
	const char *end = "";
	size_t length, tail;
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* cut when too long */
	va_end(args);
	length = strlen(praas_cli_plain(text));
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		tail = strlen(hints[i][0]);
		if (length < tail || strcmp(text + length - tail, hints[i][0]) != 0)
			continue;
		text[length - tail] = '\0';
		end = hints[i][1];
		break;
	}
	if (praas_cli_before_error)
		praas_cli_before_error();
	praas_cli_before_error = NULL;
	(void)fprintf(stderr, "praas: %s%s\n", text, end); /* stderr is all there is */
	return (int)code;
}

static int write_error; /* errno of the first write that failed */

void praas_cli_write(const void *data, size_t bytes)
{
	if (bytes != 0 && fwrite(data, 1, bytes, stdout) != bytes && !write_error)
		write_error = errno ? errno : EIO;
}

int praas_cli_flush(const char *what)
{
	static bool told;

	if (fflush(stdout) != 0 && !write_error)
		write_error = errno;
	if (!write_error && ferror(stdout))
		write_error = EIO;
	if (!write_error)
		return PRAAS_EXIT_DONE;
	if (!told)
		(void)praas_cli_fail(PRAAS_EXIT_FAILED, "cannot write %s: %s", what,
				     strerror(write_error));
	told = true;
	return PRAAS_EXIT_FAILED;
}

void praas_cli_colour(FILE *to, const char *code)
{
	const char *off = getenv("NO_COLOR"); /* https://no-color.org */

	if (isatty(fileno(to)) && (!off || !*off))
		(void)fprintf(to, "\033[%sm", code ? code : "0");
}

static enum praas_exit exit_of(int rc)
{
	switch (rc) {
	case -ENOENT:
		return PRAAS_EXIT_NOT_FOUND;
	case -EACCES:
	case -EPERM:
		return PRAAS_EXIT_REFUSED;
	case -ETIMEDOUT:
	case -EAGAIN:
	case -ENOBUFS:
		return PRAAS_EXIT_BUSY;
	default:
		return PRAAS_EXIT_FAILED;
	}
}

int praas_cli_fail_call(const struct praas_cli *cli, int rc, const char *what)
{
	const char *why = praas_error();

	if (rc == -ECONNREFUSED || rc == -ENOTCONN)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"cannot %s: %s does not answer (%s); is it running? try "
			"praas dev, or set PRAAS_URL",
			what, cli->url ? cli->url : "the control service",
			*why ? why : strerror(-rc));
	if (rc == -EACCES || rc == -EPERM)
		return praas_cli_fail(
			PRAAS_EXIT_REFUSED,
			"cannot %s: %s; give a key with PRAAS_TOKEN or --token", what,
			*why ? why : "refused");
	return praas_cli_fail(exit_of(rc), "cannot %s: %s", what,
			      *why ? why : strerror(-rc));
}

int praas_cli_fail_status(const char *function, int status,
			  const struct praas_view *view)
{
	const char *text = view->data && view->bytes ? view->data : "";
	const char *words = praas_status_text(status);
	int length = view->bytes < PRAAS_ERROR_TEXT_MAX ? (int)view->bytes
							: (int)PRAAS_ERROR_TEXT_MAX;

	if (status > 0)
		return praas_cli_fail(PRAAS_EXIT_FUNCTION,
				      "%s failed with its code %d: %.*s", function,
				      status, length, text);
	if (strncmp(text, words, (size_t)length) == 0) /* nothing, or the same */
		length = 0;
	(void)praas_cli_fail(PRAAS_EXIT_FAILED, "%s did not end well: %s%s%.*s",
			     function, words, length ? ": " : "", length, text);
	switch (status) {
	case PRAAS_NO_FUNCTION:
	case PRAAS_NOT_FOUND:
		return PRAAS_EXIT_NOT_FOUND;
	case PRAAS_DENIED:
		return PRAAS_EXIT_REFUSED;
	case PRAAS_OVERLOADED:
	case PRAAS_DEADLINE:
	case PRAAS_DRAINING:
		return PRAAS_EXIT_BUSY;
	default:
		return PRAAS_EXIT_FAILED;
	}
}

static void scaled(uint64_t value, const char *const *units, uint64_t step,
		   char *ret_text)
{
	uint64_t scale = 1;

	while (value / scale >= step && units[1]) {
		scale *= step;
		units++;
	}
	if (scale == 1 || value % scale == 0 || value / scale >= 100)
		(void)snprintf(ret_text, 16, "%" PRIu64 "%s", value / scale, *units);
	else
		(void)snprintf(ret_text, 16, "%.1f%s", (double)value / (double)scale,
			       *units);
}

void praas_cli_bytes_text(uint64_t bytes, char ret_text[16])
{
	static const char *const units[] = { "", "K", "M", "G", "T", NULL };

	scaled(bytes, units, 1024, ret_text);
}

void praas_cli_ns_text(uint64_t ns, char ret_text[16])
{
	static const char *const units[] = { "ns", "us", "ms", "s", NULL };

	scaled(ns, units, 1000, ret_text);
}

static void when_text(uint64_t ns, char ret_text[CELL_BYTES])
{
	time_t seconds = (time_t)(ns / 1000000000u);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) ||
	    strftime(ret_text, CELL_BYTES, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		(void)snprintf(ret_text, CELL_BYTES, "%" PRIu64, ns); /* fits */
}

/* A member as text; strings are shown as JSON shows them. */
static void cell(const json_t *value, int unit, char ret_text[CELL_BYTES])
{
	char *text;

	if (json_is_integer(value) && unit == PRAAS_COLUMN_BYTES) {
		praas_cli_bytes_text((uint64_t)json_integer_value(value), ret_text);
	} else if (json_is_integer(value) && unit == PRAAS_COLUMN_NS) {
		praas_cli_ns_text((uint64_t)json_integer_value(value), ret_text);
	} else if (json_is_integer(value) && unit == PRAAS_COLUMN_WHEN) {
		when_text((uint64_t)json_integer_value(value), ret_text);
	} else if (!value || json_is_null(value)) {
		(void)snprintf(ret_text, CELL_BYTES, "-");
	} else {
		text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		if (text && json_is_string(value)) { /* without its quotes */
			text[strlen(text) - 1] = '\0';
			(void)snprintf(ret_text, CELL_BYTES, "%s",
				       text[1] ? text + 1 : "-");
		} else {
			(void)snprintf(ret_text, CELL_BYTES, "%s", text ? text : "?");
		}
		free(text);
	}
	(void)praas_cli_plain(ret_text); /* what JSON does not escape */
}

/* The member "a", or "a.b": b of the object a. NULL when there is none. */
static const json_t *member(const json_t *object, const char *path)
{
	const char *dot = strchr(path, '.');
	char name[64];

	if (!dot)
		return json_object_get(object, path);
	(void)snprintf(name, sizeof(name), "%.*s", (int)(dot - path), path); /* fits */
	return json_object_get(json_object_get(object, name), dot + 1);
}

static void print_json(const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_INDENT(2));

	if (text) {
		praas_cli_write(text, strlen(text));
		praas_cli_write("\n", 1);
	}
	free(text);
}

/* Numbers to the right, the rest to the left; no blanks at the end of a line. */
static void print_cell(const char *text, size_t width, bool right, bool last)
{
	if (right)
		(void)printf("%*s", (int)width, text);
	else if (last)
		(void)fputs(text, stdout);
	else
		(void)printf("%-*s", (int)width, text);
	(void)fputs(last ? "\n" : "  ", stdout);
}

void praas_cli_table(const struct praas_cli *cli, const json_t *rows,
		     const struct praas_cli_column *columns, size_t columns_count)
{
	size_t width[COLUMNS_MAX] = { 0 };
	bool right[COLUMNS_MAX] = { false };
	size_t count = json_array_size(rows);
	char text[CELL_BYTES];

	if (cli->json) {
		print_json(rows);
		return;
	}
	for (size_t c = 0; c < columns_count && c < COLUMNS_MAX; c++) {
		width[c] = strlen(columns[c].title);
		for (size_t r = 0; r < count; r++) {
			const json_t *v =
				member(json_array_get(rows, r), columns[c].member);

			cell(v, (int)columns[c].unit, text);
			width[c] = strlen(text) > width[c] ? strlen(text) : width[c];
			right[c] = right[c] || json_is_number(v);
		}
	}
	for (size_t c = 0; c < columns_count && c < COLUMNS_MAX; c++)
		print_cell(columns[c].title, width[c], right[c],
			   c + 1 == columns_count);
	for (size_t r = 0; r < count; r++) {
		for (size_t c = 0; c < columns_count && c < COLUMNS_MAX; c++) {
			cell(member(json_array_get(rows, r), columns[c].member),
			     (int)columns[c].unit, text);
			print_cell(text, width[c], right[c], c + 1 == columns_count);
		}
	}
}

/* A value that is no list, as a whole. malloc'd; NULL: no memory. */
static char *one_text(const json_t *value)
{
	char *text;
	size_t length;

	if (!value || json_is_null(value) ||
	    (json_is_object(value) && json_object_size(value) == 0) ||
	    (json_is_string(value) && json_string_length(value) == 0))
		return strdup("-");
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	if (text && json_is_string(value)) { /* without its quotes */
		length = strlen(text) - 2;
		memmove(text, text + 1, length);
		text[length] = '\0';
	}
	return text ? praas_cli_plain(text) : NULL;
}

/* A line; of a list all elements are in it. */
static void print_member(const char *name, const json_t *value)
{
	size_t count = json_is_array(value) ? json_array_size(value) : 1;
	const json_t *one;
	char *text;

	(void)printf("%-22s %s", name, count == 0 ? "-" : "");
	for (size_t i = 0; i < count; i++) {
		one = json_is_array(value) ? json_array_get(value, i) : value;
		text = one_text(one);
		(void)printf("%s%s", i > 0 ? ", " : "", text ? text : "?");
		free(text);
	}
	(void)putchar('\n');
}

/* A line for each member; those of a member that is an object have its name in front: "metrics.running". */
static void print_members(json_t *object)
{
	const char *name, *part;
	json_t *value, *inner;
	char path[128];

	json_object_foreach(object, name, value)
	{
		if (!json_is_object(value) || json_object_size(value) == 0)
			print_member(name, value);
		json_object_foreach(value, part, inner)
		{
			(void)snprintf(path, sizeof(path), "%s.%s", name,
				       part); /* fits: ours */
			print_member(path, inner);
		}
	}
}

void praas_cli_print(const struct praas_cli *cli, const json_t *answer)
{
	if (cli->json || !json_is_object(answer)) {
		if (!json_is_null(answer))
			print_json(answer);
		return;
	}
	print_members((json_t *)(uintptr_t)answer); /* only read */
}

json_t *praas_cli_source_json(praas_pid_t source)
{
	char text[32];

	if ((source & PRAAS_CLIENT) == 0)
		(void)snprintf(text, sizeof(text), "%" PRIu64, source); /* fits */
	else
		(void)snprintf(text, sizeof(text), "client:%016" PRIx64, source);
	return json_string(text);
}

static char *base64(const uint8_t *data, size_t bytes)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789+/="; /* 64: fills the last group */
	char *text = malloc((bytes + 2) / 3 * 4 + 1);
	char *at = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < bytes; i += 3) {
		bool second = i + 1 < bytes;
		bool third = i + 2 < bytes;
		uint32_t group = (uint32_t)data[i] << 16;

		if (second)
			group |= (uint32_t)data[i + 1] << 8;
		if (third)
			group |= data[i + 2];
		*at++ = digits[group >> 18];
		*at++ = digits[(group >> 12) & 63];
		*at++ = digits[second ? (group >> 6) & 63 : 64];
		*at++ = digits[third ? group & 63 : 64];
	}
	*at = '\0';
	return text;
}

json_t *praas_cli_payload_json(const void *data, size_t bytes)
{
	json_t *text = NULL;
	char *encoded;
	json_t *object;

	if (bytes == 0)
		return json_pack("{s:s}", "text", "");
	if (!memchr(data, '\0', bytes))
		text = json_stringn(data, bytes); /* NULL when it is not UTF-8 */
	if (text)
		return json_pack("{s:o}", "text", text);
	encoded = base64(data, bytes);
	object = encoded ? json_pack("{s:s}", "base64", encoded) : NULL;
	free(encoded);
	return object;
}
