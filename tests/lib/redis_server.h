/* SPDX-License-Identifier: Apache-2.0
 *
 * A real redis-server of a test's own, in a new folder, on a socket in it. It ends with the test, however that ends.
 */
#ifndef PRAAS_TESTS_REDIS_SERVER_H
#define PRAAS_TESTS_REDIS_SERVER_H

#include <sys/types.h>

struct praas_test_redis {
	pid_t pid; /* 0: it does not run */
	char dir[64], socket[80];
	char url[100]; /* of praas_records_open(), without a prefix */
};

/* Makes the folder, and starts it. options: further ones of its command line, to the first NULL. Ends the test when it
 * does not start. */
void praas_test_redis_start(struct praas_test_redis *redis, const char *const *options);
/* With what it has in its folder. */
void praas_test_redis_again(struct praas_test_redis *redis, const char *const *options);
void praas_test_redis_kill(struct praas_test_redis *redis, int signal);
void praas_test_redis_end(struct praas_test_redis *redis); /* and the folder goes */
/* Says a command of words to it, as anybody could. The answer's first line, cut, is ret_text's; 256 bytes. */
void praas_test_redis_say(const struct praas_test_redis *redis, const char *words,
			  char *ret_text);
/* A certificate for a subject, and its key: NAME.crt and NAME.key in the folder. */
void praas_test_redis_certificate(const struct praas_test_redis *redis,
				  const char *name, const char *subject);
/* One that is free now. */
unsigned praas_test_redis_port(void);

#endif
