/* SPDX-License-Identifier: Apache-2.0 */
#include "control/say.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#define TEXT_BYTES 4096
#define FILE_BYTES 4200 /* a path */
#define FILE_BYTES_MAX (16u << 20)
#define FILE_OLD_MAX 3u

static _Atomic bool as_json;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the file */
static char file[FILE_BYTES]; /* "": stderr is not ours to turn */
static uint64_t file_bytes_max;

void praas_say_json(bool json)
{
	atomic_store_explicit(&as_json, json, memory_order_relaxed);
}

static int open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (dup2(fd, STDERR_FILENO) < 0)
		rc = -errno;
	(void)close(fd); /* it has another number now */
	return rc;
}

int praas_say_file(const char *path, uint64_t bytes_max)
{
	int rc = strlen(path) < sizeof(file) ? open_file(path) : -ENAMETOOLONG;

	if (rc == 0) {
		(void)snprintf(file, sizeof(file), "%s", path); /* fits */
		file_bytes_max = bytes_max ? bytes_max : FILE_BYTES_MAX;
	}
	return rc;
}

void praas_log_files_turn(const char *path, uint32_t old_max)
{
	char from[FILE_BYTES + 16], to[FILE_BYTES + 16];

	for (uint32_t i = old_max; i > 0; i--) {
		if (snprintf(to, sizeof(to), "%s.%u", path, i) >= (int)sizeof(to))
			return;
		if (i > 1)
			(void)snprintf(from, sizeof(from), "%s.%u", path, i - 1);
		else
			(void)snprintf(from, sizeof(from), "%s", path);
		(void)rename(from, to); /* one that is not there is none */
	}
}

/* A new file in place of one that is full. Without room for it the old one goes on, under its new name. */
static void turn_file(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) != 0 || (uint64_t)st.st_size < file_bytes_max)
		return;
	praas_log_files_turn(file, FILE_OLD_MAX);
	(void)open_file(file);
}

static void write_line(const char *text)
{
	ssize_t n;

	(void)pthread_mutex_lock(&lock);
	if (file[0])
		turn_file();
	n = write(STDERR_FILENO, text, strlen(text));
	(void)pthread_mutex_unlock(&lock);
	if (n < 0)
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
