/* SPDX-License-Identifier: Apache-2.0 */
#include "redis/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal/base.h"
#include "internal/text.h"

#define ERROR_TEXT 256u
#define VALUE_BYTES 64u
#define MAJOR_LEAST 7u /* scripts that say whether they may run without memory */

/* The value of "\nNAME:VALUE\r\n"; false: there is none, or it is too long. */
static bool value_of(const char *info, size_t bytes, const char *name,
		     char ret_value[VALUE_BYTES])
{
	const char *line = info, *end = info + bytes;
	size_t n = strlen(name);

	while (line < end) {
		const char *next = memchr(line, '\n', (size_t)(end - line));
		size_t length = (size_t)((next ? next : end) - line);

		if (length > n && !memcmp(line, name, n) && line[n] == ':') {
			const char *value = line + n + 1;

			length -= n + 1;
			if (length > 0 && value[length - 1] == '\r')
				length--;
			if (length >= VALUE_BYTES || memchr(value, 0, length))
				return false;
			memcpy(ret_value, value, length);
			ret_value[length] = 0;
			return true;
		}
		line = next ? next + 1 : end;
	}
	return false;
}

static bool says(const char *info, size_t bytes, const char *name, const char *value)
{
	char text[VALUE_BYTES];

	return value_of(info, bytes, name, text) && !strcmp(text, value);
}

static void parse_version(const char *text, struct praas_redis_server *s)
{
	uint64_t major = 0, minor = 0;
	char part[8];
	size_t n = strcspn(text, ".");

	(void)snprintf(part, sizeof(part), "%.*s", (int)praas_min_u64(n, 7), text);
	if (praas_number_parse(part, 9999, &major))
		return;
	text += n + (text[n] == '.');
	n = strcspn(text, ".");
	(void)snprintf(part, sizeof(part), "%.*s", (int)praas_min_u64(n, 7), text);
	if (praas_number_parse(part, 9999, &minor))
		return;
	s->major = (unsigned)major;
	s->minor = (unsigned)minor;
}

void praas_redis_server_parse(const char *info, size_t bytes,
			      struct praas_redis_server *ret_server)
{
	struct praas_redis_server *s = ret_server;
	char text[VALUE_BYTES];

	*s = (struct praas_redis_server){ .always_unknown = true };
	if (value_of(info, bytes, "redis_version", text))
		parse_version(text, s);
	s->primary = says(info, bytes, "role", "master");
	s->loading = says(info, bytes, "loading", "1");
	s->cluster = says(info, bytes, "cluster_enabled", "1");
	s->evicts = !says(info, bytes, "maxmemory_policy", "noeviction");
	s->logs = says(info, bytes, "aof_enabled", "1") &&
		  says(info, bytes, "aof_last_write_status", "ok");
}

int praas_redis_server_check(const struct praas_redis_server *server, char *ret_text)
{
	if (server->major < MAJOR_LEAST)
		(void)snprintf(ret_text, ERROR_TEXT,
			       "it is Redis %u.%u; %u.0 or newer is needed",
			       server->major, server->minor, MAJOR_LEAST);
	else if (server->cluster)
		(void)snprintf(ret_text, ERROR_TEXT,
			       "it is a Redis Cluster; a single primary is needed "
			       "(with replicas, if you like)");
	else if (server->evicts)
		(void)snprintf(ret_text, ERROR_TEXT,
			       "it may throw away what it has when its memory is full; "
			       "set maxmemory-policy noeviction");
	else
		return 0;
	return -EINVAL;
}

bool praas_redis_server_durable(const struct praas_redis_server *server, char *ret_text)
{
	if (!server->logs)
		(void)snprintf(
			ret_text, ERROR_TEXT,
			"it writes no append-only file: what it has not saved is "
			"lost when it ends; set appendonly yes and appendfsync "
			"always");
	else if (server->always_unknown)
		(void)snprintf(
			ret_text, ERROR_TEXT,
			"it does not tell how often it syncs its file; allow its "
			"user +config|get");
	else if (!server->always)
		(void)snprintf(ret_text, ERROR_TEXT,
			       "up to a second of changes is lost when its machine "
			       "ends; set appendfsync always");
	else
		return true;
	return false;
}
