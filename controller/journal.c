/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Six bytes at most for one byte of text, and room for the rest of the line. */
#define LINE_MAX_BYTES (6u * PRAAS_LOG_TEXT_MAX + 512u)

#define FILE_PATH_BYTES 4400u

static uint64_t own_pid;
static uint32_t own_epoch;
static char file_path[FILE_PATH_BYTES]; /* "": not ours to turn */
static uint64_t file_bytes_max;

void praas_journal_setup(uint64_t pid, uint32_t epoch)
{
	own_pid = pid;
	own_epoch = epoch;
}

static int open_file(void)
{
	int rc = 0,
	    fd = open(file_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
		rc = -errno;
	(void)close(fd); /* it has other numbers now */
	return rc;
}

int praas_journal_file(const char *path, uint64_t bytes_max)
{
	int rc;

	if (path[0] == '\0')
		return 0;
	if (strlen(path) >= sizeof(file_path) - 4)
		return -ENAMETOOLONG;
	(void)snprintf(file_path, sizeof(file_path), "%s", path); /* fits */
	file_bytes_max = bytes_max ? bytes_max : PRAAS_JOURNAL_BYTES_MAX;
	rc = open_file();
	if (rc != 0)
		file_path[0] = '\0';
	return rc;
}

/* What cannot be renamed goes on growing: better than words that are lost. */
static void turn_file(void)
{
	char from[FILE_PATH_BYTES + 4], to[FILE_PATH_BYTES + 4];
	struct stat st;

	if (file_path[0] == '\0' || fstat(STDERR_FILENO, &st) != 0 ||
	    (uint64_t)st.st_size < file_bytes_max)
		return;
	for (unsigned i = PRAAS_JOURNAL_FILES_MAX - 1; i > 0; i--) {
		(void)snprintf(to, sizeof(to), "%s.%u", file_path, i);
		if (i > 1)
			(void)snprintf(from, sizeof(from), "%s.%u", file_path, i - 1);
		else
			(void)snprintf(from, sizeof(from), "%s", file_path);
		(void)rename(from, to);
	}
	(void)open_file(); /* else the old one, under its new name */
}

/* JSON string escapes; all that is not plain ASCII becomes \u00XX, so that no text can make a
 * terminal or a reader of lines do anything. Returns where it stopped. */
static char *escape(char *to, const char *end, const char *text)
{
	static const char hex[] = "0123456789abcdef";

	for (; *text != '\0' && end - to > 6; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			*to++ = '\\';
			*to++ = (char)c;
		} else if (c >= 0x20 && c < 0x7f) {
			*to++ = (char)c;
		} else {
			/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): not a string */
			memcpy(to, "\\u00", 4);
			to[4] = hex[c >> 4];
			to[5] = hex[c & 15];
			to += 6;
		}
	}
	return to;
}

/* ,"trace":"32 hex digits", or nothing when it is all zeros. */
static char *put_trace(char *at, const uint8_t trace[16])
{
	static const uint8_t none[16];

	if (memcmp(trace, none, sizeof(none)) == 0)
		return at;
	at += snprintf(at, 16, ",\"trace\":\"");
	for (size_t i = 0; i < 16; i++)
		at += snprintf(at, 3, "%02x", trace[i]);
	*at++ = '"';
	return at;
}

/* function, trace: NULL when it is the controller that speaks. */
static void line(enum praas_log_level level, const char *function, const uint8_t *trace,
		 const char *text)
{
	static const char *const names[] = { "debug", "info", "warning", "error" };
	char out[LINE_MAX_BYTES], *at = out;
	const char *end = out + sizeof(out) - 4;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	at += snprintf(at, 256,
		       "{\"ts\":%lld.%06ld,\"level\":\"%s\",\"pid\":%" PRIu64
		       ",\"epoch\":%" PRIu32,
		       (long long)now.tv_sec, now.tv_nsec / 1000,
		       names[level <= PRAAS_LOG_LEVEL_MAX ? level : PRAAS_LOG_ERROR],
		       own_pid, own_epoch);
	if (trace)
		at = put_trace(at, trace);
	if (function && *function) {
		at += snprintf(at, 16, ",\"function\":\"");
		at = escape(at, at + 128, function);
		*at++ = '"';
	}
	at += snprintf(at, 16, ",\"msg\":\"");
	at = escape(at, end, text);
	memcpy(at, "\"}\n", 3);
	at += 3;
	turn_file();
	if (write(STDERR_FILENO, out, (size_t)(at - out)) < 0)
		return; /* nobody reads it: nothing to be done about that */
}

void praas_journal(enum praas_log_level level, const char *format, ...)
{
	char text[PRAAS_LOG_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* may be cut */
	va_end(args);
	line(level, NULL, NULL, text);
}

void praas_journal_function(enum praas_log_level level, const char *function,
			    const uint8_t trace[16], const char *text)
{
	line(level, function, trace, text);
}
