/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects in a real Redis that is killed, started again, gone back in time, full, a replica, or cut off in the middle of
 * an answer: what was acknowledged is there and happened once, errors are clear and in time, and a Redis
 * that is not safe is not used, or told of. tests/conformance/store.c has what all stores do.
 */
#include "tests/unit/store_redis_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "controller/store/redis_private.h"
#include "internal/base.h"
#include "tests/lib/cutting_proxy.h"

#define MS UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)

static void says(const struct praas_store *s, const char *words)
{
	if (!strstr(s->why, words))
		fail_msg("\"%s\" does not say \"%s\"", s->why, words);
}

static int fill(void *user, uint8_t *data, size_t bytes)
{
	uint64_t *at = user;

	for (size_t i = 0; i < bytes; i++, ++*at)
		data[i] = (uint8_t)(*at * 31 + (*at >> 16));
	return 0;
}

static int name_big(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	(void)user;
	(void)snprintf(ret_key, PRAAS_STORE_KEY_MAX + 1, "chunk/big");
	return 0;
}

static int put_big(struct praas_store *s, uint64_t bytes)
{
	uint64_t at = 0;
	const struct praas_store_source source = {
		.bytes = bytes, .fill = fill, .name = name_big, .user = &at
	};

	return s->ops->put(s, &source);
}

static void has_big(struct praas_store *s, uint64_t bytes)
{
	uint8_t *data = malloc(bytes + 1), *same = malloc(bytes);
	uint64_t at = 0;
	size_t got = 0;

	assert_true(data && same);
	(void)fill(&at, same, bytes);
	assert_int_equal(s->ops->get(s, "chunk/big", 0, data, bytes + 1, &got), 0);
	assert_int_equal(got, bytes);
	assert_memory_equal(data, same, bytes);
	free(data);
	free(same);
}

/* ---- killed, gone back ---------------------------------------------------------------- */

/* Killed at once after an answer: all that was answered is there. Meanwhile calls fail in time; then they go on. */
static void test_store_redis_killed(void **state)
{
	struct fixture *f = *state;
	uint64_t began;

	assert_int_equal(create(f->s, "log/1"), 0);
	assert_int_equal(put_big(f->s, 3 * MIB + 5), 0);
	praas_test_redis_kill(&f->redis, SIGKILL);
	began = praas_now_ns();
	assert_int_equal(create(f->s, "log/2"), -EIO);
	says(f->s, "no connection to");
	assert_true(praas_now_ns() - began < 60000 * MS);
	praas_test_redis_again(&f->redis, always);
	has(f->s, "log/1");
	has_big(f->s, 3 * MIB + 5);
	assert_int_equal(create(f->s, "log/1"), -EEXIST);
	assert_int_equal(create(f->s, "log/2"), 0);
}

/* Enough for a second of loading, at the speed of a large one; looking up now and then. */
#define FILLED                                                                         \
	"EVAL \"for i = 1, 8192 do redis.call('SET', 'f' .. i, i) end return 1\" 0"
static const char *const slowly[] = {
	"--appendonly", "yes", "--appendfsync", "always", "--key-load-delay",
	"100",          NULL
};

static void pause_ms(unsigned ms)
{
	struct timespec span = { .tv_sec = ms / 1000,
				 .tv_nsec = (long)(ms % 1000) * (long)MS };

	(void)nanosleep(&span, NULL);
}

/* A thread's assertion would end the program without a word. */
static void *create_many(void *arg)
{
	struct fixture *f = arg;
	intptr_t rc = 0;
	char key[32];

	for (int i = 0; i < 20 && rc == 0; i++) {
		pause_ms(10);
		(void)snprintf(key, sizeof(key), "log/%02d", i);
		rc = create(f->s, key);
	}
	return (void *)rc;
}

/* One that is back soon is not noticed by who asks; nor one that fails over: the primary becomes a replica, which takes
 * no writes, and another, here the same, is the primary. */
static void test_store_redis_back_soon(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;
	void *rc;

	assert_int_equal(create(f->s, "log/first"), 0);
	assert_int_equal(pthread_create(&thread, NULL, create_many, f), 0);
	pause_ms(50);
	praas_test_redis_kill(&f->redis, SIGKILL);
	pause_ms(100);
	praas_test_redis_again(&f->redis, always);
	pause_ms(50);
	say(f, "REPLICAOF 127.0.0.1 1", "+OK");
	pause_ms(300);
	say(f, "REPLICAOF NO ONE", "+OK");
	assert_int_equal(pthread_join(thread, &rc), 0);
	assert_null(rc);
	has(f->s, "log/19");
	has(f->s, "log/first");
}

/* Whatever comes of it: on a busy machine it is not answered in time. */
static void *look_often(void *arg)
{
	struct fixture *f = arg;
	uint64_t bytes;

	for (int i = 0; i < 20; i++) {
		pause_ms(10);
		(void)f->s->ops->stat(f->s, "log/first", &bytes);
	}
	return NULL;
}

/* One that has much to load answers before it has it all: that it does not know yet what it acknowledged is no loss. */
static void test_store_redis_loading(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	assert_int_equal(create(f->s, "log/first"), 0);
	say(f, FILLED, ":1");
	assert_int_equal(pthread_create(&thread, NULL, look_often, f), 0);
	pause_ms(50);
	praas_test_redis_kill(&f->redis, SIGKILL);
	praas_test_redis_again(&f->redis, slowly);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(create(f->s, "log/next"), 0);
	has(f->s, "log/first");
}

/* It comes back without what it acknowledged a moment ago: this store is done with. */
static void test_store_redis_lost_some(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(create(f->s, "log/1"), 0);
	assert_true(f->s->weak[0] != 0);
	say(f, "SAVE", "+OK");
	assert_int_equal(create(f->s, "log/2"), 0);
	praas_test_redis_kill(&f->redis, SIGKILL);
	praas_test_redis_again(&f->redis, nothing);
	assert_int_equal(create(f->s, "log/3"), -EIO);
	says(f->s, "lost what it had acknowledged");
	assert_int_equal(create(f->s, "log/4"), -EIO);
	says(f->s, "lost what it had acknowledged");
	praas_store_free(f->s);
	f->s = open_at(f, "below=a/1-1"); /* whoever begins anew sees what there is */
	has(f->s, "log/1");
	is_gone(f->s, "log/2");
	is_gone(f->s, "log/3");
}

/* The same one has lost it, on the connection that there is, and on a new one before anything is written. */
static void test_store_redis_emptied(void **state)
{
	struct fixture *f = *state;
	struct praas_store *reads = open_at(f, "below=a/2-1");
	uint64_t bytes;

	assert_int_equal(create(f->s, "log/1"), 0);
	assert_int_equal(create(reads, "log/1"), 0);
	say(f, "FLUSHALL", "+OK");
	assert_int_equal(create(f->s, "log/2"), -EIO);
	says(f->s, "lost what it had acknowledged");
	say(f, "DBSIZE", ":0");
	assert_int_equal(f->s->ops->stat(f->s, "log/1", &bytes), -EIO);
	end_connections(f);
	assert_int_equal(reads->ops->stat(reads, "log/1", &bytes), -EIO);
	says(reads, "lost what it had acknowledged");
	praas_store_free(reads);
}

/* Its clock was set: it has forgotten our last change, and has what that did. */
static void test_store_redis_clock_set(void **state)
{
	struct fixture *f = *state;
	char words[800];

	(void)snprintf(words, sizeof(words), "DEL %s",
		       praas_store_redis_of(f->s)->done);
	assert_int_equal(create(f->s, "log/1"), 0);
	say(f, words, ":1");
	assert_int_equal(create(f->s, "log/2"), 0);
	say(f, words, ":1");
	end_connections(f);
	has(f->s, "log/1");
	has(f->s, "log/2");
	assert_int_equal(f->s->ops->delete (f->s, "log/2"), 0);
	assert_int_equal(f->s->ops->delete (f->s, "log/1"), 0);
	say(f, words, ":1"); /* whether it was there before cannot be told */
	assert_int_equal(create(f->s, "log/3"), -EIO);
	says(f->s, "lost what it had acknowledged");
}

/* ---- cut, late, forgetful -------------------------------------------------------------- */

/* Each answer is lost once, at another byte; each change happens once all the same, and its maker knows that it was
 * his. */
static void test_store_redis_cut(void **state)
{
	struct fixture *f = *state;
	struct praas_cutting_proxy *proxy;
	struct praas_store *s = NULL;
	char path[128], url[200], key[32];

	(void)snprintf(path, sizeof(path), "%s/proxy", f->redis.dir);
	(void)snprintf(url, sizeof(url), "redis+unix://%s?below=a/1-1", path);
	proxy = praas_cutting_proxy_start(path, f->redis.socket);
	assert_int_equal(praas_store_open(url, &s), 0);
	for (unsigned i = 0; i < 12; i++) {
		(void)snprintf(key, sizeof(key), "log/%u", i);
		praas_cutting_proxy_cut(proxy, 0, i);
		assert_int_equal(create(s, key), 0);
		praas_cutting_proxy_cut(proxy, 0, i);
		assert_int_equal(create(s, key), -EEXIST);
		praas_cutting_proxy_cut(proxy, 0, i);
		has(s, key);
		praas_cutting_proxy_cut(proxy, i % 4, 1);
		assert_int_equal(put_big(s, 3 * MIB + 5), 0);
		praas_cutting_proxy_cut(proxy, i % 4, 5000);
		has_big(s, 3 * MIB + 5);
		praas_cutting_proxy_cut(proxy, 0, i);
		assert_int_equal(s->ops->delete (s, "chunk/big"), 0);
		is_gone(s, "chunk/big");
	}
	assert_true(praas_cutting_proxy_cuts(proxy) > 5 * 12);
	praas_store_free(s);
	praas_cutting_proxy_end(proxy);
	say(f, "SCRIPT FLUSH", "+OK");
	assert_int_equal(create(f->s, "log/0"), -EEXIST);
	say(f, "SCRIPT FLUSH", "+OK");
	assert_int_equal(create(f->s, "log/new"), 0);
}

/* What arrives after its caller has gone on is not done. */
static void test_store_redis_late(void **state)
{
	struct fixture *f = *state;
	struct praas_store_redis *s = praas_store_redis_of(f->s);
	char words[800];

	assert_int_equal(create(f->s, "log/1"), 0);
	(void)snprintf(words, sizeof(words), "SET %s '9 OK'", s->done);
	praas_test_redis_say(&f->redis, words, words);
	assert_int_equal(create(f->s, "log/2"), -EIO);
	is_gone(f->s, "log/2");
}

/* Pieces that are gone in between are not taken for the object. */
static int lose_pieces(void *user, uint8_t *data, size_t bytes)
{
	struct fixture *f = user;
	char words[800], text[256];

	memset(data, 1, bytes);
	(void)snprintf(words, sizeof(words), "DEL %s",
		       praas_store_redis_of(f->s)->pieces);
	praas_test_redis_say(&f->redis, words, text);
	return 0;
}

static void test_store_redis_pieces_lost(void **state)
{
	struct fixture *f = *state;
	const struct praas_store_source source = {
		.bytes = 3 * MIB, .fill = lose_pieces, .name = name_big, .user = f
	};

	assert_int_equal(f->s->ops->put(f->s, &source), -EIO);
	says(f->s, "put it again");
	is_gone(f->s, "chunk/big");
	assert_int_equal(put_big(f->s, 3 * MIB), 0);
	has_big(f->s, 3 * MIB);
}

/* ---- full, too large, unsafe ------------------------------------------------------------ */

/* Without memory nothing is half done; what frees some goes on. */
static void test_store_redis_full(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(create(f->s, "log/1"), 0);
	say(f, "CONFIG SET maxmemory 1", "+OK");
	assert_int_equal(create(f->s, "log/2"), -ENOSPC);
	says(f->s, "OOM");
	assert_int_equal(put_big(f->s, 3 * MIB), -ENOSPC);
	is_gone(f->s, "log/2");
	has(f->s, "log/1");
	assert_int_equal(f->s->ops->delete (f->s, "log/1"), 0);
	is_gone(f->s, "log/1");
	say(f, "CONFIG SET maxmemory 8mb", "+OK");
	assert_int_equal(put_big(f->s, 30 * MIB), -ENOSPC);
	say(f, "CONFIG SET maxmemory 0", "+OK");
	assert_int_equal(create(f->s, "log/2"), 0);
	assert_int_equal(f->s->ops->delete (f->s, "log/2"), 0);
	say(f, "DBSIZE", ":1"); /* the number of our last change */
}

static void test_store_redis_too_large(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put_big(f->s, PRAAS_REDIS_OBJECT_MAX), 0);
	assert_int_equal(f->s->ops->delete (f->s, "chunk/big"), 0);
	assert_int_equal(put_big(f->s, PRAAS_REDIS_OBJECT_MAX + 1), -EMSGSIZE);
	says(f->s, "an object of 65 MiB; it takes 64 at most: keep snapshots in a "
		   "folder or a bucket");
	is_gone(f->s, "chunk/big");
}

static void refused(struct fixture *f, const char *options, int rc, const char *words)
{
	struct praas_store *s = open_at(f, options);

	assert_int_equal(praas_store_probe(s), rc);
	says(s, words);
	praas_store_free(s);
}

static void test_store_redis_unsafe(void **state)
{
	struct fixture *f = *state;
	struct praas_store *s = open_at(f, "");

	assert_int_equal(praas_store_probe(s), 0);
	assert_string_equal(s->weak, "");
	praas_store_free(s);
	say(f, "CONFIG SET appendfsync everysec", "+OK");
	s = open_at(f, "");
	assert_int_equal(praas_store_probe(s), 0);
	assert_non_null(strstr(s->weak, "appendfsync always"));
	praas_store_free(s);
	say(f, "CONFIG SET maxmemory-policy allkeys-lru", "+OK");
	refused(f, "", -EOPNOTSUPP, "noeviction");
	say(f, "CONFIG SET maxmemory-policy noeviction", "+OK");
	say(f, "REPLICAOF 127.0.0.1 1", "+OK");
	refused(f, "", -EIO, "replica");
	say(f, "REPLICAOF NO ONE", "+OK");
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
}

/* The user that docs/redis-store.md names may do all that is needed, and nothing else. */
static void test_store_redis_acl(void **state)
{
	struct fixture *f = *state;
	char file[128], options[300];
	struct praas_store *s;
	uint64_t bytes = 0;

	say(f,
	    "ACL SETUSER st on >pass ~{praas}:store:* resetchannels +auth +select "
	    "+info "
	    "+config|get +evalsha +script|load +get +set +append +strlen +getrange "
	    "+exists +unlink +expire +persist +renamenx +copy +zadd +zrem +zrange",
	    "+OK");
	(void)snprintf(file, sizeof(file), "%s/password", f->redis.dir);
	(void)snprintf(options, sizeof(options), "user=st&password-file=%s&below=a/2-1",
		       file);
	write_file(file, "pass\n", 0644);
	refused(f, options, -EACCES, "everybody can read it");
	write_file(file, "wrong\n", 0600);
	refused(f, options, -EACCES, "WRONGPASS");
	write_file(file, "pass\n", 0600);
	s = open_at(f, options);
	assert_int_equal(praas_store_probe(s), 0);
	assert_string_equal(s->weak, "");
	assert_int_equal(create(s, "log/1"), 0);
	assert_int_equal(put_big(s, 3 * MIB), 0);
	has_big(s, 3 * MIB);
	assert_int_equal(create(f->s, "chunk/x"), 0);
	assert_int_equal(s->ops->stat(s, "log/1", &bytes), 0);
	assert_int_equal(s->ops->delete (s, "log/1"), 0);
	praas_store_free(s);
	(void)snprintf(options, sizeof(options),
		       "user=st&password-file=%s&prefix=other", file);
	refused(f, options, -EACCES, "NOPERM"); /* another's */
}

/* Over TLS: the server's certificate must be believed, and ours is what it asks for. */
static void test_store_redis_tls(void **state)
{
	struct fixture *f = *state;
	const char *dir = f->redis.dir;
	char port[16], cert[96], key[96], ca[96], url[512];
	const char *const options[] = { "--tls-port",
					port,
					"--tls-cert-file",
					cert,
					"--tls-key-file",
					key,
					"--tls-ca-cert-file",
					ca,
					NULL };
	struct praas_store *s = NULL;

	praas_test_redis_certificate(&f->redis, "server", "IP:127.0.0.1");
	praas_test_redis_certificate(&f->redis, "client", "DNS:client");
	(void)snprintf(port, sizeof(port), "%u", praas_test_redis_port());
	(void)snprintf(cert, sizeof(cert), "%s/server.crt", dir);
	(void)snprintf(key, sizeof(key), "%s/server.key", dir);
	(void)snprintf(ca, sizeof(ca), "%s/client.crt", dir);
	praas_test_redis_kill(&f->redis, SIGTERM);
	praas_test_redis_again(&f->redis, options);
	assert_int_equal(create(f->s, "log/1"), 0);
	(void)snprintf(url, sizeof(url), "rediss://127.0.0.1:%s?ca=%s/none", port, dir);
	assert_int_equal(praas_store_open(url, &s), 0);
	assert_int_equal(create(s, "log/1"), -EOPNOTSUPP);
	says(s, "none");
	praas_store_free(s);
	(void)snprintf(url, sizeof(url), "rediss://127.0.0.1:%s?ca=%s", port, ca);
	assert_int_equal(praas_store_open(url, &s), 0);
	assert_int_equal(create(s, "log/1"), -EACCES);
	says(s, "is not believed");
	praas_store_free(s);
	(void)snprintf(
		url, sizeof(url),
		"rediss://127.0.0.1:%s?ca=%s&cert=%s&key=%s/client.key&below=a/1-1",
		port, cert, ca, dir);
	assert_int_equal(praas_store_open(url, &s), 0);
	has(s, "log/1");
	assert_int_equal(put_big(s, 3 * MIB), 0);
	has_big(s, 3 * MIB);
	praas_store_free(s);
}

int main(void)
{
#define WITH(test, how) cmocka_unit_test_setup_teardown(test, how, end)
	const struct CMUnitTest tests[] = {
		WITH(test_store_redis_killed, start_always),
		WITH(test_store_redis_back_soon, start_always),
		WITH(test_store_redis_loading, start_always),
		WITH(test_store_redis_lost_some, start_without_log),
		WITH(test_store_redis_emptied, start_always),
		WITH(test_store_redis_clock_set, start_without_log),
		WITH(test_store_redis_cut, start_always),
		WITH(test_store_redis_late, start_always),
		WITH(test_store_redis_pieces_lost, start_without_log),
		WITH(test_store_redis_full, start_without_log),
		WITH(test_store_redis_too_large, start_without_log),
		WITH(test_store_redis_unsafe, start_always),
		WITH(test_store_redis_acl, start_always),
		WITH(test_store_redis_tls, start_always),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
