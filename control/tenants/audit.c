/* SPDX-License-Identifier: Apache-2.0 */
#include "control/tenants/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/names.h"
#include "control/put.h"
#include "control/say.h"
#include "internal/base.h"

#define PATH_BYTES 4200
#define TEXT_MAX 64u     /* characters of a member: names and routes fit */
#define LINE_BYTES 5120u /* all of them, escaped: a line that is longer is cut */
#define TELL_NS (60 * 1000000000ull)
#define BYTES_MAX (16ull << 20)
#define FILES_MAX 8u

struct praas_audit {
	pthread_mutex_t lock;
	char file[PATH_BYTES];
	uint64_t bytes, bytes_max;
	uint32_t files_max;
	int fd;
	uint64_t failures, told_ns;
	struct praas_audit_lines line; /* that is written alone */
};

static int open_file(struct praas_audit *a)
{
	struct stat st;

	a->fd = open(a->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (a->fd < 0)
		return -errno;
	a->bytes = fstat(a->fd, &st) ? 0 : (uint64_t)st.st_size;
	return 0;
}

int praas_audit_open(const struct praas_audit_config *config,
		     struct praas_audit **ret_audit)
{
	struct praas_audit *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return -ENOMEM;
	(void)pthread_mutex_init(&a->lock, NULL);
	a->bytes_max = config->bytes_max ? config->bytes_max : BYTES_MAX;
	a->files_max = config->files_max ? config->files_max : FILES_MAX;
	rc = snprintf(a->file, sizeof(a->file) - 16, "%s", config->file) >=
			     (int)sizeof(a->file) - 16
		     ? -ENAMETOOLONG
		     : open_file(a);
	if (rc) {
		free(a);
		return rc;
	}
	*ret_audit = a;
	return 0;
}

void praas_audit_close(struct praas_audit *audit)
{
	if (!audit)
		return;
	if (audit->fd >= 0)
		(void)close(audit->fd);
	(void)pthread_mutex_destroy(&audit->lock);
	free(audit);
}

static void rotate(struct praas_audit *a)
{
	(void)close(a->fd);
	praas_log_files_turn(a->file, a->files_max);
	if (open_file(a))
		a->fd = -1; /* each line fails, and is counted, until it can be opened */
}

/* ---- a line ------------------------------------------------------------------------- */

static void put(struct praas_audit_lines *l, const char *text, size_t bytes)
{
	if (bytes > sizeof(l->text) - l->bytes)
		bytes = sizeof(l->text) - l->bytes;
	memcpy(l->text + l->bytes, text, bytes);
	l->bytes += bytes;
}

/* Escaped: nothing that is logged ends the string, or the line. At most bytes_max of it. */
static void put_string(struct praas_audit_lines *l, const char *text, size_t bytes_max)
{
	char escaped[8];
	size_t from = 0, i;

	for (i = 0; i < bytes_max && text[i]; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
			continue;
		put(l, text + from, i - from);
		from = i + 1;
		(void)snprintf(escaped, sizeof(escaped), "\\u%04x", c);
		put(l, escaped, 6);
	}
	put(l, text + from, i - from);
}

static void put_member(struct praas_audit_lines *l, const char *name, const char *text)
{
	if (!text || !*text)
		return;
	put(l, ",\"", 2);
	put(l, name, strlen(name));
	put(l, "\":\"", 3);
	put_string(l, text, TEXT_MAX);
	put(l, "\"", 1);
}

static void put_number(struct praas_audit_lines *l, const char *name, uint64_t number)
{
	char text[64], *end = praas_put_text(text, ",\"");

	end = praas_put_text(praas_put_text(end, name), "\":");
	end = praas_put_number(end, number);
	put(l, text, (size_t)(end - text));
}

/* What a second looks like is made once, by each thread. */
static void put_time(struct praas_audit_lines *l)
{
	static _Thread_local char second[48];
	static _Thread_local time_t of;
	struct timespec now;
	struct tm utc;
	char text[8];

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	if (now.tv_sec != of || !second[0]) {
		(void)gmtime_r(&now.tv_sec, &utc);
		(void)strftime(second, sizeof(second), "{\"time\":\"%Y-%m-%dT%H:%M:%S",
			       &utc);
		of = now.tv_sec;
	}
	put(l, second, strlen(second));
	/* 1000 more, so that there are four digits; the first becomes the point. */
	(void)praas_put_number(text, 1000u + (uint64_t)now.tv_nsec / 1000000u);
	text[0] = '.';
	put(l, text, 4);
	put(l, "Z\"", 2);
}

static void make_line(struct praas_audit_lines *l, const struct praas_audit_entry *e)
{
	put_time(l);
	put_member(l, "key", e->key);
	put_member(l, "tenant", e->tenant);
	put_member(l, "from", e->from);
	put_member(l, "method", e->method);
	put_member(l, "route", e->route);
	put_member(l, "app", e->app);
	put_member(l, "pid", e->pid);
	put_member(l, "id", e->id);
	put_number(l, "status", (uint64_t)e->status);
	put_member(l, "code", e->code);
	put_member(l, "trace", e->trace);
	put_number(l, "us", e->ns / 1000);
	put(l, "}\n", 2);
	l->count++;
}

/* Lock held. */
static int write_lines(struct praas_audit *a, const struct praas_audit_lines *l)
{
	ssize_t n;

	if (a->bytes > 0 && a->bytes + l->bytes > a->bytes_max)
		rotate(a);
	if (a->fd < 0 && open_file(a))
		return -errno;
	n = write(a->fd, l->text, l->bytes);
	if (n > 0)
		a->bytes += (uint64_t)n;
	if (n == (ssize_t)l->bytes)
		return 0;
	return n < 0 ? -errno : -ENOSPC;
}

/* Lock held. Returns whether it is to be told. */
static bool write_locked(struct praas_audit *a, struct praas_audit_lines *l,
			 int *ret_rc)
{
	uint64_t now_ns = praas_now_ns();
	bool tell;

	*ret_rc = write_lines(a, l);
	if (*ret_rc)
		a->failures += l->count;
	l->bytes = 0;
	l->count = 0;
	tell = *ret_rc && (a->told_ns == 0 || now_ns - a->told_ns > TELL_NS);
	if (tell)
		a->told_ns = now_ns;
	return tell;
}

static void tell_failure(const struct praas_audit *a, int rc)
{
	praas_say(PRAAS_SAY_ERROR, "audit log %s: %s", a->file, strerror(-rc));
}

void praas_audit_write(struct praas_audit *audit, const struct praas_audit_entry *entry)
{
	bool tell;
	int rc;

	(void)pthread_mutex_lock(&audit->lock);
	make_line(&audit->line, entry);
	tell = write_locked(audit, &audit->line, &rc);
	(void)pthread_mutex_unlock(&audit->lock);
	if (tell)
		tell_failure(audit, rc);
}

void praas_audit_flush(struct praas_audit *audit, struct praas_audit_lines *lines)
{
	bool tell;
	int rc;

	if (lines->count == 0)
		return;
	(void)pthread_mutex_lock(&audit->lock);
	tell = write_locked(audit, lines, &rc);
	(void)pthread_mutex_unlock(&audit->lock);
	if (tell)
		tell_failure(audit, rc);
}

void praas_audit_add(struct praas_audit *audit, struct praas_audit_lines *lines,
		     const struct praas_audit_entry *entry)
{
	make_line(lines, entry);
	if (sizeof(lines->text) - lines->bytes < LINE_BYTES)
		praas_audit_flush(audit, lines);
}

uint64_t praas_audit_failures(struct praas_audit *audit)
{
	uint64_t failures;

	(void)pthread_mutex_lock(&audit->lock);
	failures = audit->failures;
	(void)pthread_mutex_unlock(&audit->lock);
	return failures;
}
