/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/s3_url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/store.h"
#include "internal/text.h"

#define TIMEOUT_S_MAX 300u
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

struct parsing {
	struct praas_s3_url *url;
	const char *why;
	bool endpoint, cleartext, style;
};

static int wrong(struct parsing *p, const char *why)
{
	p->why = why;
	return -EINVAL;
}

static bool is_bucket(const char *name)
{
	size_t bytes = strlen(name);

	return bytes >= 3 && name[strspn(name, LOWER DIGITS ".-")] == '\0' &&
	       !strchr(".-", name[0]) && !strchr(".-", name[bytes - 1]) &&
	       !strstr(name, "..");
}

static bool is_loopback(const char *host)
{
	size_t bytes = strcspn(host, ":");

	return strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0 ||
	       (bytes == 9 && strncmp(host, "localhost", 9) == 0);
}

static int take_endpoint(struct parsing *p, const char *value)
{
	static const char plain[] = "http://", sealed[] = "https://";
	const char *host = NULL;
	size_t bytes;

	p->url->tls = strncmp(value, sealed, sizeof(sealed) - 1) == 0;
	if (p->url->tls)
		host = value + sizeof(sealed) - 1;
	else if (strncmp(value, plain, sizeof(plain) - 1) == 0)
		host = value + sizeof(plain) - 1;
	if (!host)
		return wrong(p, "endpoint must be http:// or https:// and a host");
	bytes = strlen(host);
	if (bytes > 0 && host[bytes - 1] == '/')
		bytes--;
	if (bytes == 0 || bytes > PRAAS_S3_HOST_MAX ||
	    strspn(host, LOWER DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:[]") < bytes)
		return wrong(p, "endpoint must be a host and a port, without a path");
	(void)snprintf(p->url->host, sizeof(p->url->host), "%.*s", (int)bytes,
		       host); /* fits */
	p->endpoint = true;
	return 0;
}

static int take_style(struct parsing *p, const char *value)
{
	p->style = true;
	p->url->virtual_host = strcmp(value, "virtual") == 0;
	return p->url->virtual_host || strcmp(value, "path") == 0
		       ? 0
		       : wrong(p, "style must be path or virtual");
}

static int take_timeout(struct parsing *p, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (!strchr(DIGITS, value[0]) || *end != '\0' || n < 1 || n > TIMEOUT_S_MAX)
		return wrong(p, "timeout must be 1 to 300 seconds");
	p->url->timeout_s = (uint32_t)n;
	return 0;
}

static int take_region(struct parsing *p, const char *value)
{
	if (value[0] == '\0' || strlen(value) > PRAAS_S3_REGION_MAX ||
	    value[strspn(value, LOWER DIGITS "-")] != '\0')
		return wrong(p, "region must be a name of a-z, 0-9 and -");
	(void)snprintf(p->url->region, sizeof(p->url->region), "%s", value); /* fits */
	return 0;
}

static int take(struct parsing *p, const char *name, const char *value)
{
	if (strcmp(name, "endpoint") == 0)
		return take_endpoint(p, value);
	if (strcmp(name, "region") == 0)
		return take_region(p, value);
	if (strcmp(name, "style") == 0)
		return take_style(p, value);
	if (strcmp(name, "timeout") == 0)
		return take_timeout(p, value);
	if (strcmp(name, "cleartext") == 0) {
		p->cleartext = strcmp(value, "yes") == 0;
		return p->cleartext || strcmp(value, "no") == 0
			       ? 0
			       : wrong(p, "cleartext must be yes or no");
	}
	if (strcmp(name, "ca") == 0) {
		(void)snprintf(p->url->ca, sizeof(p->url->ca), "%s",
			       value); /* decoded into less */
		return value[0] == '/' ? 0 : wrong(p, "ca must be an absolute path");
	}
	return wrong(p, "no such parameter (endpoint, region, style, ca, timeout, "
			"cleartext)");
}

static int take_query(struct parsing *p, const char *query)
{
	while (*query != '\0') {
		size_t bytes = strcspn(query, "&"), name_bytes = strcspn(query, "=&");
		char name[16], value[PRAAS_S3_FILE_MAX + 1];
		int rc;

		if (name_bytes == bytes)
			return wrong(p, "a parameter has no value");
		if (praas_percent_decode(query, name_bytes, name, sizeof(name)) != 0 ||
		    praas_percent_decode(query + name_bytes + 1, bytes - name_bytes - 1,
					 value, sizeof(value)) != 0)
			return wrong(p, "a parameter is too long or not well encoded");
		rc = take(p, name, value);
		if (rc != 0)
			return rc;
		query += bytes;
		if (*query == '&')
			query++;
	}
	return 0;
}

/* Bucket and prefix; *ret_query: what follows the '?'. */
static int take_place(struct parsing *p, const char *text, const char **ret_query)
{
	size_t bytes = strcspn(text, "?"), bucket = strcspn(text, "/?");
	const char *prefix = text + bucket + (text[bucket] == '/' ? 1 : 0);
	size_t prefix_bytes = (size_t)(text + bytes - prefix);

	*ret_query = text[bytes] == '?' ? text + bytes + 1 : text + bytes;
	if (bucket > PRAAS_S3_BUCKET_MAX)
		return wrong(p, "the bucket's name has more than 63 characters");
	(void)snprintf(p->url->bucket, sizeof(p->url->bucket), "%.*s", (int)bucket,
		       text); /* fits */
	if (!is_bucket(p->url->bucket))
		return wrong(p, "a bucket's name is 3 to 63 of a-z, 0-9, . and -");
	if (prefix_bytes > 0 && prefix[prefix_bytes - 1] == '/')
		prefix_bytes--;
	if (prefix_bytes > PRAAS_S3_PREFIX_MAX)
		return wrong(p, "the prefix has more than 400 characters");
	(void)snprintf(p->url->prefix, sizeof(p->url->prefix), "%.*s",
		       (int)prefix_bytes, prefix); /* fits */
	if (p->url->prefix[0] != '\0' &&
	    praas_store_path_check(p->url->prefix, PRAAS_S3_PREFIX_MAX) != 0)
		return wrong(p, "a prefix is names of [A-Za-z0-9._-] joined by /, none "
				"beginning with a dot");
	return 0;
}

static const char *environment_region(void)
{
	static const char *const names[] = { "AWS_REGION", "AWS_DEFAULT_REGION" };

	for (size_t i = 0; i < 2; i++) {
		const char *value =
			getenv(names[i]); // NOLINT(concurrency-mt-unsafe): never set

		if (value && *value)
			return value;
	}
	return "us-east-1";
}

static int complete(struct parsing *p)
{
	struct praas_s3_url *u = p->url;

	if (u->region[0] == '\0' && take_region(p, environment_region()) != 0)
		return wrong(p, "AWS_REGION is no region");
	if (!p->endpoint) {
		(void)snprintf(u->host, sizeof(u->host), "s3.%.40s.amazonaws.com",
			       u->region); /* fits */
		u->tls = true;
	}
	if (!p->style)
		u->virtual_host = !p->endpoint;
	if (!u->tls && !p->cleartext && !is_loopback(u->host))
		return wrong(p, "http:// off loopback shows everything to who is on "
				"the way: https://, or cleartext=yes");
	return 0;
}

int praas_s3_url_parse(const char *text, struct praas_s3_url *ret_url,
		       const char **ret_why)
{
	static const char scheme[] = "s3://";
	struct praas_s3_url url = { .timeout_s = PRAAS_S3_TIMEOUT_S };
	struct parsing p = { .url = &url };
	const char *query = "";
	int rc = strncmp(text, scheme, sizeof(scheme) - 1) == 0
			 ? 0
			 : wrong(&p, "must begin with s3://");

	if (rc == 0)
		rc = take_place(&p, text + sizeof(scheme) - 1, &query);
	if (rc == 0)
		rc = take_query(&p, query);
	if (rc == 0)
		rc = complete(&p);
	*ret_why = p.why;
	if (rc == 0)
		*ret_url = url;
	return rc;
}
