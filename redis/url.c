/* SPDX-License-Identifier: Apache-2.0 */
#include "redis/url.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "internal/text.h"

#define ERROR_TEXT 256u
#define DB_MAX 1023u

static const struct scheme {
	const char *text;
	bool tls, local;
} schemes[] = {
	{ "redis://", false, false },
	{ "rediss://", true, false },
	{ "redis+unix://", false, true },
};

static const struct option {
	const char *name;
	size_t at, bytes_max;
} options[] = {
#define TEXT(name, field)                                                              \
	{                                                                              \
		name, offsetof(struct praas_redis_url, field),                         \
			sizeof(((struct praas_redis_url *)0)->field)                   \
	}
	TEXT("user", user),
	TEXT("prefix", prefix),
	TEXT("password-file", password_file),
	TEXT("ca", ca),
	TEXT("cert", cert),
	TEXT("key", key),
	TEXT("below", below),
#undef TEXT
};
#define OPTIONS (sizeof(options) / sizeof(options[0]))

static int fail(char *ret_text, const char *why, const char *what, size_t bytes)
{
	(void)snprintf(ret_text, ERROR_TEXT, "%s: %.*s", why,
		       (int)(bytes < 100 ? bytes : 100), what);
	return -EINVAL;
}

static const struct scheme *scheme_of(const char *text)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (!strncmp(text, schemes[i].text, strlen(schemes[i].text)))
			return &schemes[i];
	return NULL;
}

bool praas_redis_url_is(const char *text)
{
	return scheme_of(text) != NULL;
}

static int parse_db(const char *text, struct praas_redis_url *url, char *ret_text)
{
	uint64_t db;

	if (praas_number_parse(text, DB_MAX, &db))
		return fail(ret_text, "not the number of a database", text,
			    strlen(text));
	url->db = (uint32_t)db;
	return 0;
}

static int parse_option(const char *text, size_t bytes, struct praas_redis_url *url,
			char *ret_text)
{
	const char *equals = memchr(text, '=', bytes);
	size_t name = equals ? (size_t)(equals - text) : bytes;
	size_t value = equals ? bytes - name - 1 : 0;
	char db[8];

	if (value > 0 && name == 2 && !memcmp(text, "db", 2)) {
		if (praas_percent_decode(equals + 1, value, db, sizeof(db)) == 0)
			return parse_db(db, url, ret_text);
		return fail(ret_text, "not the number of a database", text, bytes);
	}
	for (size_t i = 0; value > 0 && i < OPTIONS; i++) {
		if (strlen(options[i].name) != name ||
		    memcmp(options[i].name, text, name) != 0)
			continue;
		return praas_percent_decode(equals + 1, value,
					    (char *)url + options[i].at,
					    options[i].bytes_max)
			       ? fail(ret_text, "too long, or not what it should be",
				      text, bytes)
			       : 0;
	}
	return fail(
		ret_text,
		"not an option (user, prefix, password-file, ca, cert, key, db, below) "
		"with a value",
		text, bytes);
}

static int parse_options(const char *text, struct praas_redis_url *url, char *ret_text)
{
	int rc = 0;

	while (rc == 0 && *text) {
		size_t bytes = strcspn(text, "&");

		rc = parse_option(text, bytes, url, ret_text);
		text += bytes + (text[bytes] == '&');
	}
	return rc;
}

/* HOST or [HOST], and :PORT. */
static int parse_host(const char *text, size_t bytes, struct praas_redis_url *url,
		      char *ret_text)
{
	const char *end = text + bytes, *host_end = end, *port = NULL;
	uint64_t number;

	if (bytes > 0 && text[0] == '[') {
		host_end = memchr(text, ']', bytes);
		if (!host_end || (host_end + 1 != end && host_end[1] != ':'))
			return fail(ret_text, "not a host", text, bytes);
		port = host_end + 1 == end ? NULL : host_end + 2;
		text++;
	} else if ((port = memchr(text, ':', bytes))) {
		host_end = port++;
	}
	if (host_end == text || (size_t)(host_end - text) >= sizeof(url->host) ||
	    memchr(text, '%', (size_t)(host_end - text)))
		return fail(ret_text, "not a host", text, bytes);
	memcpy(url->host, text, (size_t)(host_end - text));
	if (!port)
		return 0;
	if ((size_t)(end - port) >= sizeof(url->port))
		return fail(ret_text, "not a port", port, (size_t)(end - port));
	memcpy(url->port, port, (size_t)(end - port));
	url->port[end - port] = 0;
	if (praas_number_parse(url->port, 65535, &number) || number == 0)
		return fail(ret_text, "not a port", port, (size_t)(end - port));
	return 0;
}

/* [USER@]HOST[:PORT][/DB] */
static int parse_place(const char *text, size_t bytes, struct praas_redis_url *url,
		       char *ret_text)
{
	const char *end = text + bytes, *at = memchr(text, '@', bytes), *slash;
	char db[8];
	int rc;

	if (at && memchr(text, ':', (size_t)(at - text)))
		return fail(ret_text,
			    "a password in a URL can be read by everybody on the "
			    "machine; write it to a file and say",
			    "password-file=FILE", sizeof("password-file=FILE") - 1);
	if (at && (praas_percent_decode(text, (size_t)(at - text), url->user,
					sizeof(url->user)) ||
		   !praas_name_valid(url->user)))
		return fail(ret_text, "not a user", text, (size_t)(at - text));
	text = at ? at + 1 : text;
	slash = memchr(text, '/', (size_t)(end - text));
	rc = parse_host(text, (size_t)((slash ? slash : end) - text), url, ret_text);
	if (rc || !slash || slash + 1 == end)
		return rc;
	if ((size_t)(end - slash) > sizeof(db))
		return fail(ret_text, "not the number of a database", slash,
			    (size_t)(end - slash));
	(void)snprintf(db, sizeof(db), "%.*s", (int)(end - slash - 1), slash + 1);
	return parse_db(db, url, ret_text);
}

int praas_redis_url_parse(const char *text, struct praas_redis_url *ret_url,
			  char *ret_text)
{
	const struct scheme *scheme = scheme_of(text);
	struct praas_redis_url *url = ret_url;
	size_t place;
	int rc;

	if (!scheme)
		return fail(ret_text, "not the URL of a Redis", text, strlen(text));
	*url = (struct praas_redis_url){ .tls = scheme->tls,
					 .local = scheme->local,
					 .port = "6379",
					 .prefix = "praas" };
	text += strlen(scheme->text);
	place = strcspn(text, "?");
	if (!url->local)
		rc = parse_place(text, place, url, ret_text);
	else
		rc = text[0] != '/' || praas_percent_decode(text, place, url->socket,
							    sizeof(url->socket))
			     ? fail(ret_text, "not the path of a socket", text, place)
			     : 0;
	if (rc == 0 && text[place] == '?')
		rc = parse_options(text + place + 1, url, ret_text);
	if (rc == 0 && !praas_name_valid(url->prefix))
		rc = fail(ret_text, "not a name", url->prefix, strlen(url->prefix));
	if (rc == 0 && url->user[0] && !praas_name_valid(url->user))
		rc = fail(ret_text, "not a user", url->user, strlen(url->user));
	if (rc == 0 && !url->cert[0] != !url->key[0])
		rc = fail(ret_text, "a certificate and its key belong together", text,
			  strlen(text));
	if (rc == 0 && !url->tls && (url->ca[0] || url->cert[0]))
		rc = fail(ret_text, "certificates are of rediss://", text,
			  strlen(text));
	return rc;
}
