/* SPDX-License-Identifier: Apache-2.0
 *
 * How a store reaches its Redis, and as whom: users, addresses, a server with too many clients; and what is counted of
 * it.
 */
#include "tests/unit/store_redis_fixture.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "controller/store/redis_private.h"

#define BIG ((size_t)3 << 20)

static void says(const struct praas_store *s, const char *words)
{
	if (!strstr(s->why, words))
		fail_msg("\"%s\" does not say \"%s\"", s->why, words);
}

static void refused(struct fixture *f, const char *options, int rc, const char *words)
{
	struct praas_store *s = open_at(f, options);

	assert_int_equal(praas_store_probe(s), rc);
	says(s, words);
	praas_store_free(s);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
}

/* ---- crowded ------------------------------------------------------------------------ */

static void pause_ms(unsigned ms)
{
	struct timespec span = { .tv_sec = ms / 1000,
				 .tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&span, NULL);
}

/* A thread's assertion would end the program without a word. */
static void *create_one(void *arg)
{
	return (void *)(intptr_t)create(arg, "log/1");
}

/* What a server refuses for a moment is asked for again: it has as many clients as it takes. */
static void test_store_redis_crowded(void **state)
{
	struct fixture *f = *state;
	struct praas_store *other = open_at(f, "below=a/2-1");
	pthread_t thread;
	void *rc;

	assert_int_equal(create(f->s, "log/1"), 0);
	say(f, "CONFIG SET maxclients 1", "+OK");
	assert_int_equal(pthread_create(&thread, NULL, create_one, other), 0);
	pause_ms(200);
	praas_redis_lane_cut(&praas_store_redis_of(f->s)->lane);
	assert_int_equal(pthread_join(thread, &rc), 0);
	assert_null(rc);
	praas_store_free(other);
}

/* ---- users, counters ------------------------------------------------------------------ */

/* A user without a password is not the default one; a password that is too long is not cut. */
static void test_store_redis_users(void **state)
{
	struct fixture *f = *state;
	char file[128], options[300], text[600];

	say(f, "ACL SETUSER nobody on nopass +auth +info +config|get", "+OK");
	refused(f, "user=nobody", -EACCES, "NOPERM");
	refused(f, "user=none", -EACCES, "WRONGPASS");
	(void)snprintf(file, sizeof(file), "%s/password", f->redis.dir);
	(void)snprintf(options, sizeof(options), "password-file=%s", file);
	memset(text, 'x', sizeof(text));
	text[599] = 0;
	write_file(file, text, 0600);
	refused(f, options, -EACCES, "its first line is longer than 510 bytes");
	text[510] = 0;
	write_file(file, text, 0600);
	refused(f, options, -EACCES, "AUTH");
}

/* What was asked is counted: each try, and each that failed. */
static void test_store_redis_counted(void **state)
{
	struct fixture *f = *state;
	struct praas_redis_store_stats was, now;
	uint8_t *data = calloc(1, BIG);
	size_t got = 0;

	praas_redis_store_totals(&was);
	assert_int_equal(praas_store_put_bytes(f->s, "chunk/big", data, BIG), 0);
	assert_int_equal(f->s->ops->get(f->s, "chunk/big", 0, data, BIG, &got), 0);
	free(data);
	say(f, "CONFIG SET maxmemory 1", "+OK");
	assert_int_equal(create(f->s, "log/2"), -ENOSPC);
	is_gone(f->s, "log/2");
	say(f, "CONFIG SET maxmemory 0", "+OK");
	end_connections(f);
	assert_int_equal(create(f->s, "log/2"), 0);
	praas_redis_store_totals(&now);
	/* Three pieces and a last one, with a script that is not known at first; as many to read; three creations. */
	assert_in_range(now.requests - was.requests, 9, 16);
	assert_int_equal(now.retries - was.retries, 1);
	assert_int_equal(now.failures - was.failures, 1);
	assert_in_range(now.bytes_sent - was.bytes_sent, BIG, BIG + (2u << 20));
	assert_in_range(now.bytes_received - was.bytes_received, BIG, BIG + (2u << 20));
}

/* ---- addresses ---- */

static struct sockaddr_in silent_address;

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **ret_all);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **ret_all);

/* "two.example" has two addresses, and the first one is silent. */
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **ret_all)
{
	bool two = !strcmp(host, "two.example");
	int rc = __real_getaddrinfo(two ? "127.0.0.1" : host, port, hints, ret_all);

	if (rc || !two)
		return rc;
	rc = __real_getaddrinfo("127.0.0.1", port, hints, &(*ret_all)->ai_next);
	memcpy((*ret_all)->ai_addr, &silent_address, sizeof(silent_address));
	return rc;
}

/* A port whose queue is full: who connects hears nothing. Its sockets are fds'. */
static void be_silent(int fds[4])
{
	struct sockaddr_in *a = &silent_address;
	socklen_t bytes = sizeof(*a);

	*a = (struct sockaddr_in){ .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	for (int i = 0; i < 4; i++)
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fds[0], (struct sockaddr *)(void *)a, bytes), 0);
	assert_int_equal(getsockname(fds[0], (struct sockaddr *)(void *)a, &bytes), 0);
	assert_int_equal(listen(fds[0], 0), 0);
	for (int i = 1; i < 4; i++)
		(void)connect(fds[i], (struct sockaddr *)(void *)a, bytes);
}

/* A name has an address where nobody answers, and one where Redis does. */
static void test_store_redis_addresses(void **state)
{
	struct fixture *f = *state;
	char port[16], url[64];
	const char *const options[] = { "--port", port, NULL };
	struct praas_store *s = NULL;
	int fds[4];

	be_silent(fds);
	(void)snprintf(port, sizeof(port), "%u", praas_test_redis_port());
	praas_test_redis_kill(&f->redis, SIGTERM);
	praas_test_redis_again(&f->redis, options);
	(void)snprintf(url, sizeof(url), "redis://two.example:%s", port);
	assert_int_equal(praas_store_open(url, &s), 0);
	assert_int_equal(create(s, "log/1"), 0);
	praas_store_free(s);
	for (int i = 0; i < 4; i++)
		assert_int_equal(close(fds[i]), 0);
}

int main(void)
{
#define WITH(test, how) cmocka_unit_test_setup_teardown(test, how, end)
	const struct CMUnitTest tests[] = {
		WITH(test_store_redis_crowded, start_always),
		WITH(test_store_redis_users, start_always),
		WITH(test_store_redis_counted, start_without_log),
		WITH(test_store_redis_addresses, start_without_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
