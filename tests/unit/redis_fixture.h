/* SPDX-License-Identifier: Apache-2.0
 *
 * Records in a Redis, for tests of which each wants its own.
 */
#ifndef PRAAS_TESTS_REDIS_FIXTURE_H
#define PRAAS_TESTS_REDIS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/redis_server.h"

static struct praas_test_redis server; /* of all tests of a program */

static void end_server(void)
{
	praas_test_redis_end(&server);
}

/* Of records that nobody else has. What is written survives a killed server: that is tried in
 * test_records_redis.c. */
static void redis_url(char ret_url[128])
{
	static const char *const options[] = { "--appendonly", "yes", "--appendfsync",
					       "no", NULL };
	static unsigned prefix;

	if (!server.pid) {
		praas_test_redis_start(&server, options);
		(void)atexit(end_server);
	}
	(void)snprintf(ret_url, 128, "%s?prefix=t%u", server.url, prefix++);
}

#endif
