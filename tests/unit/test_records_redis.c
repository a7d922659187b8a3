/* SPDX-License-Identifier: Apache-2.0
 *
 * Records in a real Redis that is killed, started again, emptied, slow, full, or cut off in the middle of an
 * answer: what was acknowledged is there and happened once, errors are clear and in time, and a Redis that
 * is not safe is not used, or told of.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/records/records.h"
#include "internal/base.h"
#include "tests/lib/cutting_proxy.h"
#include "tests/lib/redis_server.h"

#define MS 1000000u
#define PLACE "00ff"

static const char *const always[] = { "--appendonly", "yes", "--appendfsync", "always",
				      NULL };
static const char *const nothing[] = { "--appendonly", "no", NULL };

struct fixture {
	struct praas_test_redis redis;
	struct praas_records *r;
	struct praas_app_record app;
	struct praas_process_record p;
	uint64_t place; /* of messages */
};

static void pause_ms(unsigned ms)
{
	struct timespec span = { .tv_sec = ms / 1000,
				 .tv_nsec = (long)(ms % 1000) * MS };

	(void)nanosleep(&span, NULL);
}

static struct praas_records *open_at(const char *url, const char *place)
{
	struct praas_records *r = NULL;
	char text[256] = "";

	if (praas_records_open(url, place, &r, text))
		fail_msg("%s: %s", url, text);
	return r;
}

static void refused(const char *url, int rc, const char *words)
{
	struct praas_records *r = NULL;
	char text[256] = "";

	assert_int_equal(praas_records_open(url, PLACE, &r, text), rc);
	if (!strstr(text, words))
		fail_msg("\"%s\" does not say \"%s\"", text, words);
}

/* An application, and a process of it. */
static void make(struct fixture *f)
{
	f->app = (struct praas_app_record){
		.memory_bytes = 1, .tenant = "t", .name = "a", .code = "/c", .id = "1"
	};
	f->p = (struct praas_process_record){ .state = PRAAS_LIFE_SWAPPED,
					      .name = "p",
					      .slot = -1 };
	memcpy(f->p.app, f->app.id, sizeof(f->p.app));
	assert_int_equal(f->r->ops->app_put(f->r, &f->app), 0);
	assert_int_equal(f->r->ops->process_put(f->r, &f->p), 0);
}

static int start(void **state, const char *const *options)
{
	struct fixture *f = calloc(1, sizeof(*f));

	praas_test_redis_start(&f->redis, options);
	f->r = open_at(f->redis.url, PLACE);
	make(f);
	*state = f;
	return 0;
}

static int start_always(void **state)
{
	return start(state, always);
}

static int start_without_log(void **state)
{
	return start(state, nothing);
}

static int end(void **state)
{
	struct fixture *f = *state;

	if (f->r)
		f->r->ops->close(f->r);
	praas_test_redis_end(&f->redis);
	free(f);
	return 0;
}

static int append(struct fixture *f)
{
	struct praas_queued m = { .source = 1,
				  .epoch = 1,
				  .number = f->place + 1,
				  .bytes = 3,
				  .data = (const uint8_t *)"abc" };
	uint32_t taken;
	uint64_t tail;
	int rc = f->r->queue->append(f->r, f->p.number, &m, 1, &taken, &tail);

	if (rc == 0)
		assert_int_equal(tail, ++f->place);
	return rc;
}

static int change(struct fixture *f)
{
	f->p.epoch++;
	return f->r->ops->process_put(f->r, &f->p);
}

/* What the store has is what was acknowledged. */
static void check(struct fixture *f)
{
	struct praas_process_record p;
	struct praas_queue_state s;

	assert_int_equal(f->r->ops->process_get(f->r, f->p.app, "p", &p), 0);
	assert_memory_equal(&p, &f->p, sizeof(p));
	assert_int_equal(f->r->queue->state(f->r, f->p.number, &s), 0);
	assert_int_equal(s.tail, f->place);
}

/* ---- killed -------------------------------------------------------------------------- */

/* Killed at once after an answer: all that was answered is there. Meanwhile calls fail in time; then they go on. */
static void test_redis_killed(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		struct praas_process_record p;
		uint64_t began;

		for (int k = 0; k < 5; k++) {
			assert_int_equal(change(f), 0);
			assert_int_equal(append(f), 0);
		}
		praas_test_redis_kill(&f->redis, SIGKILL);
		if (i == 0) {
			began = praas_now_ns();
			assert_int_equal(append(f), -EIO);
			assert_int_equal(
				f->r->ops->process_get(f->r, f->p.app, "p", &p), -EIO);
			assert_true(praas_now_ns() - began < UINT64_C(30000) * MS);
		}
		praas_test_redis_again(&f->redis, always);
		check(f);
	}
}

/* A thread's assertion would end the program without a word. */
static void *change_often(void *arg)
{
	struct fixture *f = arg;
	int rc = 0;

	for (int i = 0; i < 20 && rc == 0; i++) {
		pause_ms(10);
		rc = change(f);
	}
	return (void *)(intptr_t)rc;
}

/* One that is back soon is not noticed by who asks. */
static void test_redis_back_soon(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;
	void *rc;

	assert_int_equal(append(f), 0);
	assert_int_equal(pthread_create(&thread, NULL, change_often, f), 0);
	pause_ms(50);
	praas_test_redis_kill(&f->redis, SIGKILL);
	pause_ms(200);
	praas_test_redis_again(&f->redis, always);
	assert_int_equal(pthread_join(thread, &rc), 0);
	assert_null(rc);
	check(f);
}

/* Whatever comes of it: on a busy machine it is not answered in time. */
static void *look_often(void *arg)
{
	struct fixture *f = arg;
	struct praas_app_record app;

	for (int i = 0; i < 20; i++) {
		pause_ms(10);
		(void)f->r->ops->app_get(f->r, "t", "a", &app);
	}
	return NULL;
}

/* One that has much to load answers before it has it all: that it does not know yet what it acknowledged is no loss. */
static void test_redis_loading(void **state)
{
	static const char *const slowly[] = {
		"--appendonly", "yes", "--appendfsync", "always", "--key-load-delay",
		"100",          NULL
	};
	struct fixture *f = *state;
	pthread_t thread;
	char text[256];

	assert_int_equal(append(f), 0);
	praas_test_redis_say(&f->redis,
			     "EVAL \"for i = 1, 8192 do redis.call('SET', 'f' .. i, i) "
			     "end return 1\" 0",
			     text);
	assert_string_equal(text, ":1");
	assert_int_equal(pthread_create(&thread, NULL, look_often, f), 0);
	pause_ms(50);
	praas_test_redis_kill(&f->redis, SIGKILL);
	praas_test_redis_again(&f->redis, slowly);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(change(f), 0);
	check(f);
}

/* It comes back without the last changes: nothing is done any more, until a service begins anew. */
static void test_redis_lost_some(void **state)
{
	struct fixture *f = *state;
	char text[256];

	assert_int_equal(change(f), 0);
	praas_test_redis_say(&f->redis, "SAVE", text);
	assert_string_equal(text, "+OK");
	assert_int_equal(change(f), 0);
	assert_int_equal(append(f), 0);
	praas_test_redis_kill(&f->redis, SIGKILL);
	praas_test_redis_again(&f->redis, nothing);
	assert_int_equal(append(f), -EIO);
	assert_int_equal(change(f), -EIO);
	f->r->ops->close(f->r);
	f->r = open_at(f->redis.url, PLACE);
	assert_int_equal(f->r->ops->process_get(f->r, f->p.app, "p", &f->p), 0);
	f->place = 0;
	assert_int_equal(append(f), 0);
	assert_int_equal(change(f), 0);
}

/* Emptied by somebody, or started without what it had: told, and not filled anew by who goes on. */
static void test_redis_emptied(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record app;
	char text[256];

	praas_test_redis_say(&f->redis, "FLUSHALL", text);
	assert_int_equal(append(f), -EIO);
	assert_int_equal(f->r->ops->app_get(f->r, "t", "a", &app), -EIO);
	praas_test_redis_say(&f->redis, "DBSIZE", text);
	assert_string_equal(text, ":0");
}

/* It was a replica of another one for a while, so its run is the same, and what it has is not. */
static void test_redis_went_back(void **state)
{
	struct fixture *f = *state;
	struct praas_app_record app;
	char text[256];

	assert_int_equal(append(f), 0);
	praas_test_redis_say(&f->redis, "HSET {praas}:meta changes 1", text);
	assert_string_equal(text, ":0");
	praas_test_redis_say(&f->redis, "CLIENT KILL TYPE normal", text);
	assert_int_equal(f->r->ops->app_get(f->r, "t", "a", &app), -EIO);
	assert_int_equal(append(f), -EIO);
}

/* ---- cut, slow, forgetful ------------------------------------------------------------ */

/* Each answer is lost once, at another byte; each change happens once all the same. */
static void test_redis_cut(void **state)
{
	struct fixture *f = *state;
	char path[128], url[160];
	struct praas_cutting_proxy *proxy;
	struct praas_item item = { .id = "i", .body = "{}" };
	uint64_t number, last = 0;

	f->r->ops->close(f->r);
	(void)snprintf(path, sizeof(path), "%s/proxy", f->redis.dir);
	(void)snprintf(url, sizeof(url), "redis+unix://%s", path);
	proxy = praas_cutting_proxy_start(path, f->redis.socket);
	f->r = open_at(url, PLACE);
	for (unsigned i = 0; i < 12; i++) {
		praas_cutting_proxy_cut(proxy, 0, i);
		assert_int_equal(change(f), 0);
		praas_cutting_proxy_cut(proxy, 0, i);
		assert_int_equal(append(f), 0);
		praas_cutting_proxy_cut(proxy, 0, i);
		assert_int_equal(f->r->items->put(f->r, PRAAS_ITEM_TOKEN, &item), 0);
		assert_int_equal(item.version, 1);
		praas_cutting_proxy_cut(proxy, 0, i);
		assert_int_equal(f->r->items->take_out(f->r, PRAAS_ITEM_TOKEN, "i"), 0);
		assert_int_equal(f->r->items->take_out(f->r, PRAAS_ITEM_TOKEN, "i"),
				 -ENOENT);
		item.version = 0;
		/* The new connection is cut as well, while it is made. */
		praas_cutting_proxy_cut(proxy, 0, i);
		check(f);
	}
	assert_int_equal(praas_cutting_proxy_cuts(proxy), 5 * 12);
	for (int i = 0; i < 600;
	     i++) { /* blocks of numbers, each of which is lost once */
		praas_cutting_proxy_cut(proxy, 0, 3);
		number = f->r->ops->process_number(f->r);
		assert_true(number > last && (last == 0 || number == last + 1));
		last = number;
	}
	f->r->ops->close(f->r);
	f->r = NULL;
	praas_cutting_proxy_end(proxy);
}

/* Scripts that it has forgotten are told it again. */
static void test_redis_scripts_flushed(void **state)
{
	struct fixture *f = *state;
	char text[256];

	for (int i = 0; i < 3; i++) {
		praas_test_redis_say(&f->redis, "SCRIPT FLUSH", text);
		assert_string_equal(text, "+OK");
		assert_int_equal(change(f), 0);
		check(f);
	}
}

/* Slow: it is waited for, but not for ever; what came of a call that was given up is found out by looking. */
static void test_redis_slow(void **state)
{
	struct fixture *f = *state;
	struct praas_process_record p;
	char text[256];
	int rc;

	praas_test_redis_say(&f->redis, "CLIENT PAUSE 400 ALL", text);
	assert_int_equal(change(f), 0);
	check(f);
	(void)kill(f->redis.pid, SIGSTOP);
	rc = change(f);
	(void)kill(f->redis.pid, SIGCONT);
	assert_int_equal(rc, -EIO);
	assert_int_equal(f->r->ops->process_get(f->r, f->p.app, "p", &p), 0);
	assert_true(p.version == f->p.version || p.version == f->p.version + 1);
	f->p = p;
	assert_int_equal(change(f), 0);
	check(f);
}

/* ---- full, unsafe, another's --------------------------------------------------------- */

/* Without memory nothing is half done; what frees some goes on. */
static void test_redis_full(void **state)
{
	struct fixture *f = *state;
	char text[256];

	for (int i = 0; i < 5; i++)
		assert_int_equal(append(f), 0);
	praas_test_redis_say(&f->redis, "CONFIG SET maxmemory 1", text);
	assert_string_equal(text, "+OK");
	assert_int_equal(append(f), -ENOSPC);
	assert_int_equal(change(f), -ENOSPC);
	f->p.epoch--;
	check(f);
	assert_int_equal(f->r->queue->trim(f->r, f->p.number, 2), 0);
	praas_test_redis_say(&f->redis, "CONFIG SET maxmemory 0", text);
	assert_int_equal(append(f), 0);
	assert_int_equal(change(f), 0);
	check(f);
	assert_int_equal(f->r->ops->process_delete(f->r, f->p.number), 0);
}

static void test_redis_unsafe(void **state)
{
	struct fixture *f = *state;
	char text[256];

	assert_true(f->r->ops->durable(f->r));
	f->r->ops->close(f->r);
	f->r = NULL;
	praas_test_redis_say(&f->redis, "CONFIG SET maxmemory-policy allkeys-lru",
			     text);
	refused(f->redis.url, -EINVAL, "noeviction");
	praas_test_redis_say(&f->redis, "CONFIG SET maxmemory-policy noeviction", text);
	praas_test_redis_say(&f->redis, "CONFIG SET appendfsync everysec", text);
	f->r = open_at(f->redis.url, PLACE);
	assert_false(f->r->ops->durable(f->r));
	f->r->ops->close(f->r);
	praas_test_redis_say(&f->redis, "CONFIG SET appendfsync always", text);
	praas_test_redis_say(&f->redis, "HSET {praas}:meta format 99", text);
	f->r = NULL;
	refused(f->redis.url, -EPROTO, "format 99");
	praas_test_redis_say(&f->redis, "SET {other}:meta x", text);
	(void)snprintf(text, sizeof(text), "%s?prefix=other", f->redis.url);
	refused(text, -EPROTO, "WRONGTYPE");
	refused("redis://127.0.0.1:1", -EIO, "Connection refused");
	refused("redis://u:secret@h", -EINVAL, "password-file=FILE");
	refused("redis://h?size=3", -EINVAL, "not an option");
	refused("redis+unix://x", -EINVAL, "path of a socket");
	refused("redis://h:70000", -EINVAL, "not a port");
	refused("redis://h?ca=/x", -EINVAL, "rediss://");
}

/* One service has the records. Another is refused; one at the same place takes them, and the first is told. */
static void test_redis_one_has_them(void **state)
{
	struct fixture *f = *state;
	struct praas_records *other = NULL;
	char text[256] = "";

	assert_int_equal(praas_records_open(f->redis.url, "0123", &other, text),
			 -EBUSY);
	assert_non_null(strstr(text, "another control service"));
	other = open_at(f->redis.url, PLACE);
	assert_int_equal(append(f), -EIO);
	assert_int_equal(change(f), -EIO);
	f->r->ops->close(f->r);
	f->r = other;
	f->p.epoch--;
	check(f);
	assert_int_equal(append(f), 0);
	f->r->ops->close(f->r); /* then anybody may have them */
	f->r = open_at(f->redis.url, "0123");
	check(f);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
}

/* The user that docs/operations.md names may do all that is needed, and nothing else. */
static void test_redis_acl(void **state)
{
	struct fixture *f = *state;
	char text[256], file[128], url[320];

	f->r->ops->close(f->r);
	f->r = NULL;
	praas_test_redis_say(&f->redis,
			     "ACL SETUSER praas on >pass ~{praas}:* resetchannels "
			     "+@hash +@sortedset +@string +del +exists +unlink "
			     "+evalsha +script|load +auth +select +info +config|get",
			     text);
	assert_string_equal(text, "+OK");
	(void)snprintf(file, sizeof(file), "%s/password", f->redis.dir);
	(void)snprintf(url, sizeof(url), "redis+unix://%s?user=praas&password-file=%s",
		       f->redis.socket, file);
	write_file(file, "pass\n", 0644);
	refused(url, -EIO, "everybody can read it");
	praas_test_redis_say(&f->redis, "CONFIG SET requirepass other", text);
	write_file(file, "wrong\n", 0600);
	refused(url, -EIO, "WRONGPASS");
	refused(f->redis.url, -EIO, "NOAUTH");
	write_file(file, "pass\n", 0600);
	f->r = open_at(url, PLACE);
	assert_int_equal(change(f), 0);
	assert_int_equal(append(f), 0);
	assert_true(f->r->ops->durable(f->r));
	check(f);
}

/* Over TLS, with a certificate of ours; the server's must be believed, and be for the host that was named. */
static void test_redis_tls(void **state)
{
	struct fixture *f = *state;
	const char *dir = f->redis.dir;
	char port[16], cert[96], key[96], ca[96], url[512];
	const char *const options[] = { "--appendonly",
					"yes",
					"--appendfsync",
					"always",
					"--tls-port",
					port,
					"--tls-cert-file",
					cert,
					"--tls-key-file",
					key,
					"--tls-ca-cert-file",
					ca,
					NULL };

	praas_test_redis_certificate(&f->redis, "server", "IP:127.0.0.1");
	praas_test_redis_certificate(&f->redis, "client", "DNS:client");
	(void)snprintf(port, sizeof(port), "%u", praas_test_redis_port());
	(void)snprintf(cert, sizeof(cert), "%s/server.crt", dir);
	(void)snprintf(key, sizeof(key), "%s/server.key", dir);
	(void)snprintf(ca, sizeof(ca), "%s/client.crt", dir);
	f->r->ops->close(f->r);
	f->r = NULL;
	praas_test_redis_kill(&f->redis, SIGTERM);
	praas_test_redis_again(&f->redis, options);
	(void)snprintf(url, sizeof(url), "rediss://127.0.0.1:%s?ca=%s", port, ca);
	refused(url, -EIO, "is not believed");
	(void)snprintf(url, sizeof(url), "rediss://127.0.0.1:%s?ca=%s/none", port, dir);
	refused(url, -EINVAL, "none");
	(void)snprintf(url, sizeof(url), "rediss://localhost:%s?ca=%s", port, cert);
	refused(url, -EIO, "is not believed"); /* it is for an address */
	(void)snprintf(url, sizeof(url),
		       "rediss://127.0.0.1:%s?ca=%s&cert=%s&key=%s/client.key", port,
		       cert, ca, dir);
	f->r = open_at(url, PLACE);
	check(f);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(change(f), 0);
		assert_int_equal(append(f), 0);
	}
	check(f);
}

int main(void)
{
#define WITH(test, how) cmocka_unit_test_setup_teardown(test, how, end)
	const struct CMUnitTest tests[] = {
		WITH(test_redis_killed, start_always),
		WITH(test_redis_back_soon, start_always),
		WITH(test_redis_loading, start_always),
		WITH(test_redis_lost_some, start_without_log),
		WITH(test_redis_emptied, start_always),
		WITH(test_redis_went_back, start_always),
		WITH(test_redis_cut, start_always),
		WITH(test_redis_scripts_flushed, start_always),
		WITH(test_redis_slow, start_always),
		WITH(test_redis_full, start_always),
		WITH(test_redis_unsafe, start_always),
		WITH(test_redis_one_has_them, start_always),
		WITH(test_redis_acl, start_always),
		WITH(test_redis_tls, start_always),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
