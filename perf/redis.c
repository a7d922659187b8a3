/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "perf/clock.h"
#include "perf/floor_peer.h"

extern char **environ;

/* The one that saves nothing, and the one that saves all before it answers. */
static struct server {
	pid_t pid;
	char socket[128];
} servers[2];

struct peer {
	redisContext *redis;
	uint8_t *data;
	uint64_t size;
	struct praas_floor_peer other;
	bool blocking;
};

void praas_redis_stop(void)
{
	for (unsigned i = 0; i < 2; i++) {
		if (servers[i].pid <= 0)
			continue;
		(void)kill(servers[i].pid, SIGTERM);
		(void)waitpid(servers[i].pid, NULL, 0);
		(void)unlink(servers[i].socket);
		servers[i].pid = 0;
	}
}

/* dir: where it saves all; NULL: nothing. */
static int start_server(struct server *s, const char *dir)
{
	char program[300], folder[300], saves[4];
	char *argv[] = { program,
			 (char[]){ "--port" },
			 (char[]){ "0" },
			 (char[]){ "--unixsocket" },
			 s->socket,
			 (char[]){ "--save" },
			 (char[]){ "" },
			 (char[]){ "--logfile" },
			 (char[]){ "/dev/null" },
			 (char[]){ "--appendfsync" },
			 (char[]){ "always" },
			 (char[]){ "--appendonly" },
			 saves,
			 (char[]){ "--dir" },
			 folder,
			 NULL };
	struct timespec pause = { .tv_nsec = 10000000 };

	if (s->pid > 0)
		return 0;
	if (!praas_options.redis)
		return -ENOENT;
	(void)snprintf(program, sizeof program, "%s", praas_options.redis);
	(void)snprintf(saves, sizeof saves, "%s", dir ? "yes" : "no");
	(void)snprintf(folder, sizeof folder, "%.290s", dir ? dir : ".");
	(void)snprintf(s->socket, sizeof s->socket, "%.90s/praas-perf-redis-%d%s.sock",
		       praas_options.work, (int)getpid(), dir ? "-saves" : "");
	if (posix_spawnp(&s->pid, program, NULL, NULL, argv, environ) != 0)
		return -ENOENT;
	(void)atexit(praas_redis_stop);
	for (unsigned i = 0; i < 500 && access(s->socket, F_OK) != 0; i++)
		(void)nanosleep(&pause, NULL);
	praas_bench_pin_tree(s->pid, praas_options.cpu_client);
	return 0;
}

int praas_redis_start_saving(const char *dir, const char **ret_socket)
{
	*ret_socket = servers[1].socket;
	return start_server(&servers[1], dir);
}

static redisContext *connect_redis(const struct server *s)
{
	redisContext *r = redisConnectUnix(s->socket);

	if (r && r->err) {
		redisFree(r);
		r = NULL;
	}
	return r;
}

/* dir: of the one that saves. */
static int setup_at(struct praas_contender *c, const char *dir)
{
	struct server *s = &servers[dir ? 1 : 0];
	struct peer *p = calloc(1, sizeof *p);
	int rc = start_server(s, dir);

	if (!p)
		return -ENOMEM;
	c->data = p;
	if (rc != 0)
		return rc;
	p->redis = connect_redis(s);
	p->size = c->size ? c->size : 1;
	p->data = calloc(1, p->size);
	if (!p->redis || !p->data)
		return -ENOTCONN;
	freeReplyObject(
		redisCommand(p->redis, "SET praas %b", p->data, (size_t)p->size));
	return p->redis->err ? -ENOTCONN : 0;
}

static int setup(struct praas_contender *c)
{
	return setup_at(c, NULL);
}

static int setup_saving(struct praas_contender *c)
{
	return setup_at(c, praas_options.work);
}

static void teardown(struct praas_contender *c)
{
	struct peer *p = c->data;

	if (!p)
		return;
	praas_floor_peer_stop(&p->other);
	if (p->redis)
		redisFree(p->redis);
	free(p->data);
	free(p);
	c->data = NULL;
}

static void time_add(struct praas_hist *h, uint64_t t0)
{
	praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
}

static int round_get(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct peer *p = c->data;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t t0 = praas_perf_ticks();
		redisReply *r = redisCommand(p->redis, "GET praas");

		if (!r || r->type != REDIS_REPLY_STRING)
			return -EIO;
		freeReplyObject(r);
		time_add(h, t0);
	}
	return 0;
}

static int round_set(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct peer *p = c->data;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t t0 = praas_perf_ticks();
		redisReply *r = redisCommand(p->redis, "SET praas %b", p->data,
					     (size_t)p->size);

		if (!r || r->type == REDIS_REPLY_ERROR)
			return -EIO;
		freeReplyObject(r);
		time_add(h, t0);
	}
	return 0;
}

static int round_getset(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct peer *p = c->data;
	const int64_t *add = (const int64_t *)(void *)p->data;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t t0 = praas_perf_ticks();
		redisReply *r = redisCommand(p->redis, "GET praas");
		redisReply *s;
		int64_t *sum;

		if (!r || r->type != REDIS_REPLY_STRING || (uint64_t)r->len != p->size)
			return -EIO;
		sum = (int64_t *)(void *)r->str;
		for (uint64_t k = 0; k < p->size / sizeof *sum; k++)
			sum[k] += add[k];
		s = redisCommand(p->redis, "SET praas %b", r->str, (size_t)p->size);
		if (!s)
			return -EIO;
		freeReplyObject(s);
		freeReplyObject(r);
		time_add(h, t0);
	}
	return 0;
}

static const char add_script[] =
	"local a=redis.call('GET',KEYS[1]) local b=ARGV[1] local t={} "
	"for i=1,#a,8 do t[#t+1]=struct.pack('<i8',struct.unpack('<i8',a,i)"
	"+struct.unpack('<i8',b,i)) end redis.call('SET',KEYS[1],table.concat(t)) "
	"return 1";

static int round_script(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct peer *p = c->data;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t t0 = praas_perf_ticks();
		redisReply *r = redisCommand(p->redis, "EVAL %s 1 praas %b", add_script,
					     p->data, (size_t)p->size);

		if (!r || r->type == REDIS_REPLY_ERROR)
			return -EIO;
		freeReplyObject(r);
		time_add(h, t0);
	}
	return 0;
}

static void fill(struct praas_contender *c, const char *bench, const char *variant,
		 uint64_t size,
		 int (*round)(struct praas_contender *, uint64_t, struct praas_hist *))
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = variant,
				       .role = PRAAS_ROLE_PEER,
				       .waits = "block",
				       .size = size,
				       .n = size <= 16384    ? 3000
					    : size <= 131072 ? 500
							     : 50,
				       .setup = setup,
				       .round = round,
				       .teardown = teardown };
}

void praas_redis_get(struct praas_contender *c, const char *bench, uint64_t size)
{
	fill(c, bench, "redis-unix", size, round_get);
}

void praas_redis_set(struct praas_contender *c, const char *bench, uint64_t size)
{
	fill(c, bench, "redis-unix", size, round_set);
}

void praas_redis_getset(struct praas_contender *c, const char *bench, uint64_t size)
{
	fill(c, bench, "redis-getset", size, round_getset);
}

void praas_redis_script(struct praas_contender *c, const char *bench, uint64_t size)
{
	fill(c, bench, "redis-script", size, round_script);
	c->n = size <= 1024 ? 1000 : 30;
}

/* ---- messages ---- */

static int push(redisContext *r, const char *key, const struct peer *p)
{
	redisReply *a = redisCommand(r, p->blocking ? "RPUSH %s %b" : "SET %s %b", key,
				     p->data, (size_t)p->size);
	int rc = a && a->type != REDIS_REPLY_ERROR ? 0 : -EIO;

	if (a)
		freeReplyObject(a);
	return rc;
}

/* BLPOP, or GETDEL until something is there (a message is taken, so both sides delete).
 */
static int take(redisContext *r, const char *key, const struct peer *p)
{
	for (;;) {
		redisReply *a =
			redisCommand(r, p->blocking ? "BLPOP %s 0" : "GETDEL %s", key);
		int type = a ? a->type : REDIS_REPLY_ERROR;

		if (a)
			freeReplyObject(a);
		if (type == REDIS_REPLY_STRING || type == REDIS_REPLY_ARRAY)
			return 0;
		if (type != REDIS_REPLY_NIL)
			return -EIO;
	}
}

static void other_body(void *data, uint64_t n)
{
	struct peer *p = data;
	redisContext *r = connect_redis(&servers[0]);

	while (r && n-- && take(r, "there", p) == 0)
		if (push(r, "back", p) != 0)
			break;
	if (r)
		redisFree(r);
}

static int setup_message(struct praas_contender *c)
{
	int rc = setup(c);
	struct peer *p = c->data;

	if (rc != 0)
		return rc;
	p->blocking = strcmp(c->variant, "redis-blocking") == 0;
	return praas_floor_peer_start(&p->other,
				      p->blocking ? praas_options.cpu_client
						  : praas_options.cpu_server,
				      other_body, p);
}

static int round_message(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct peer *p = c->data;
	int rc = praas_floor_peer_go(&p->other, n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		rc = push(p->redis, "there", p);
		if (rc == 0)
			rc = take(p->redis, "back", p);
		time_add(h, t0);
	}
	return rc;
}

void praas_redis_message(struct praas_contender *c, const char *bench, uint64_t size,
			 bool blocking)
{
	fill(c, bench, blocking ? "redis-blocking" : "redis-polling", size,
	     round_message);
	c->waits = blocking ? "block" : "spin";
	c->setup = setup_message;
	c->scale = 0.5; /* one way */
}

void praas_redis_durable(struct praas_contender *c, const char *bench, uint64_t size,
			 bool write)
{
	fill(c, bench, write ? "redis-set-always" : "redis-get", size,
	     write ? round_set : round_get);
	c->role = PRAAS_ROLE_FLOOR; /* of what is stored in a Redis */
	c->setup = setup_saving;
	c->n = 1;
}
