/* SPDX-License-Identifier: Apache-2.0
 *
 * Signs what tests/s3/oracle.py asks for. A request is lines of hex: method, path, payload hash, date, key id, secret,
 * region, number of parameters, number of headers, then each name and value. The answer is two lines: target,
 * Authorization.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/sigv4.h"

#define LINE 8192
#define FIXED 9

static char *take(void)
{
	static char line[LINE];
	size_t bytes;
	char *text;

	if (!fgets(line, sizeof(line), stdin))
		return NULL;
	bytes = strcspn(line, "\n") / 2;
	text = malloc(bytes + 1);
	if (!text)
		abort();
	for (size_t i = 0; i < bytes; i++) {
		char two[3] = { line[2 * i], line[2 * i + 1], '\0' };

		text[i] = (char)strtoul(two, NULL, 16);
	}
	text[bytes] = '\0';
	return text;
}

static size_t take_pairs(struct praas_sigv4_pair *pairs, const char *count)
{
	size_t n = strtoul(count, NULL, 10);

	for (size_t i = 0; i < n && n <= PRAAS_SIGV4_PAIRS_MAX; i++) {
		pairs[i].name = take();
		pairs[i].value = take();
	}
	return n;
}

static void drop(struct praas_sigv4_pair *pairs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((void *)(uintptr_t)pairs[i].name);
		free((void *)(uintptr_t)pairs[i].value);
	}
}

int main(void)
{
	struct praas_sigv4_pair query[PRAAS_SIGV4_PAIRS_MAX],
		headers[PRAAS_SIGV4_PAIRS_MAX];
	char *fixed[FIXED];

	while ((fixed[0] = take()) != NULL) {
		struct praas_sigv4_signed got;
		struct praas_sigv4_request r = { .method = fixed[0] };
		struct praas_sigv4_scope s = { .service = "s3" };

		for (int i = 1; i < FIXED; i++)
			fixed[i] = take();
		r.path = fixed[1];
		r.payload_hash = fixed[2];
		s.date = fixed[3];
		s.key_id = fixed[4];
		s.secret = fixed[5];
		s.region = fixed[6];
		r.query = query;
		r.query_count = take_pairs(query, fixed[7]);
		r.headers = headers;
		r.headers_count = take_pairs(headers, fixed[8]);
		if (praas_sigv4_sign(&r, &s, &got) != 0)
			return 1;
		(void)printf("%s\n%s\n", got.target, got.authorization);
		drop(query, r.query_count);
		drop(headers, r.headers_count);
		for (int i = 0; i < FIXED; i++)
			free(fixed[i]);
	}
	return 0;
}
