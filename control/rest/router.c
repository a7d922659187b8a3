/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/router.h"

#include <errno.h>
#include <string.h>

#include "control/names.h"

static const char *const method_texts[PRAAS_METHODS] = { "GET", "POST", "PUT",
							 "DELETE" };

const char *praas_method_text(enum praas_method method)
{
	return method_texts[method];
}

int praas_method_parse(const char *text, enum praas_method *ret_method)
{
	for (unsigned i = 0; i < PRAAS_METHODS; i++) {
		if (strcmp(text, method_texts[i]) != 0)
			continue;
		*ret_method = (enum praas_method)i;
		return 0;
	}
	return -EINVAL;
}

size_t praas_route_body_max(const struct praas_route *route)
{
	if (!route || route->body == PRAAS_BODY_NONE)
		return 0;
	return route->body == PRAAS_BODY_RAW ? PRAAS_LIMIT_BODY_BYTES
					     : PRAAS_LIMIT_JSON_BYTES;
}

/* The length of the segment at text, which follows a slash. */
static size_t segment(const char *text)
{
	size_t n = 0;

	while (text[n] && text[n] != '/')
		n++;
	return n;
}

static char *place_of(struct praas_match *m, const char *name, size_t bytes,
		      size_t *ret_max)
{
	*ret_max = PRAAS_NAME_MAX + 1;
	if (bytes == 5 && !memcmp(name, "{app}", 5))
		return m->app;
	if (bytes == 5 && !memcmp(name, "{pid}", 5))
		return m->pid;
	if (bytes == 4 && !memcmp(name, "{fn}", 4))
		return m->fn;
	if (bytes == 4 && !memcmp(name, "{id}", 4))
		return m->id;
	*ret_max = PRAAS_KEY_MAX + 1;
	return m->key;
}

/* Whether path has the pattern's shape. Where it has a parameter anything fits, not nothing. */
static bool shape_fits(const char *pattern, const char *path)
{
	while (*pattern == '/' && *path == '/') {
		pattern++;
		path++;
		if (*pattern == '{') {
			if (*path == '/' || *path == 0)
				return false;
			pattern += segment(pattern);
			path += segment(path);
			continue;
		}
		while (*pattern == *path && *pattern && *pattern != '/') {
			pattern++;
			path++;
		}
	}
	return *pattern == 0 && *path == 0;
}

/* Decodes the parameters; the shape fits. */
static int take_parameters(const char *pattern, const char *path, struct praas_match *m)
{
	while (*pattern == '/') {
		size_t a = segment(++pattern), b = segment(++path), max;

		if (*pattern == '{') {
			char *to = place_of(m, pattern, a, &max);
			int rc = praas_percent_decode(path, b, to, max);

			if (rc || (to != m->key && !praas_name_valid(to)))
				return -EINVAL;
		}
		pattern += a;
		path += b;
	}
	return 0;
}

int praas_route_match(const struct praas_route *routes, enum praas_method method,
		      const char *path, struct praas_match *ret_match)
{
	memset(ret_match, 0, sizeof(*ret_match));
	if (strnlen(path, PRAAS_LIMIT_PATH_BYTES + 1) > PRAAS_LIMIT_PATH_BYTES)
		return -EINVAL;
	for (const struct praas_route *r = routes; r->pattern; r++) {
		if (r->method == method && shape_fits(r->pattern, path)) {
			ret_match->route = r;
			return take_parameters(r->pattern, path, ret_match);
		}
	}
	for (const struct praas_route *r = routes; r->pattern; r++) {
		if (!shape_fits(r->pattern, path))
			continue;
		ret_match->allowed |= 1u << r->method;
		if (r->method == PRAAS_GET && r->effect == PRAAS_READS)
			ret_match->allowed |= PRAAS_HEAD_ALLOWED;
	}
	return ret_match->allowed ? -EOPNOTSUPP : -ENOENT;
}
