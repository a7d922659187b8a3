/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/redis_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS_MAX 48
#define START_TRIES 3000 /* of 10 ms */

static void fail(const char *what)
{
	perror(what);
	abort();
}

static int connect_to(const struct praas_test_redis *redis)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", redis->socket);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)&address,
			       sizeof(address))) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

void praas_test_redis_say(const struct praas_test_redis *redis, const char *words,
			  char *ret_text)
{
	int fd = connect_to(redis);
	char line[300];
	ssize_t n;

	(void)snprintf(line, sizeof(line), "%s\r\n", words);
	if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
		fail("redis-server");
	n = read(fd, ret_text, 255);
	ret_text[n > 0 ? n : 0] = 0;
	ret_text[strcspn(ret_text, "\r\n")] = 0;
	(void)close(fd);
}

static void run(const struct praas_test_redis *redis, const char *const *options)
{
	const char *argv[OPTIONS_MAX] = {
		PRAAS_REDIS_SERVER,
		"--port",
		"0",
		"--unixsocket",
		redis->socket,
		"--dir",
		redis->dir,
		"--save",
		"",
		"--logfile",
		"log",
		"--daemonize",
		"no",
	};
	int n = 13;

	while (options && *options && n < OPTIONS_MAX - 1)
		argv[n++] = *options++;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)execv(PRAAS_REDIS_SERVER, (char *const *)(const void *)argv);
	_exit(127);
}

void praas_test_redis_again(struct praas_test_redis *redis, const char *const *options)
{
	struct timespec pause = { .tv_nsec = 10000000 };
	char text[256] = "";

	(void)unlink(redis->socket);
	redis->pid = fork();
	if (redis->pid < 0)
		fail("fork");
	if (redis->pid == 0)
		run(redis, options);
	for (int i = 0; i < START_TRIES; i++) {
		int fd = connect_to(redis);

		if (fd >= 0) {
			(void)close(fd);
			praas_test_redis_say(redis, "EXISTS x", text);
		}
		if (text[0] == ':' || !strncmp(text, "-NOAUTH", 7))
			return;
		if (waitpid(redis->pid, NULL, WNOHANG) == redis->pid)
			break;
		(void)nanosleep(&pause, NULL);
	}
	fail("redis-server did not start");
}

void praas_test_redis_start(struct praas_test_redis *redis, const char *const *options)
{
	*redis = (struct praas_test_redis){ .dir = "/tmp/praas-redis-XXXXXX" };
	if (!mkdtemp(redis->dir))
		fail("mkdtemp");
	(void)snprintf(redis->socket, sizeof(redis->socket), "%s/s", redis->dir);
	(void)snprintf(redis->url, sizeof(redis->url), "redis+unix://%s",
		       redis->socket);
	praas_test_redis_again(redis, options);
}

void praas_test_redis_kill(struct praas_test_redis *redis, int signal)
{
	if (redis->pid > 0) {
		(void)kill(redis->pid, signal);
		if (waitpid(redis->pid, NULL, 0) != redis->pid)
			fail("waitpid");
	}
	redis->pid = 0;
}

void praas_test_redis_end(struct praas_test_redis *redis)
{
	char command[128];

	praas_test_redis_kill(redis, SIGKILL);
	(void)snprintf(command, sizeof(command), "rm -r %s", redis->dir);
	if (redis->dir[0] && system(command)) /* our own folder */
		fail(command);
	redis->dir[0] = 0;
}

void praas_test_redis_certificate(const struct praas_test_redis *redis,
				  const char *name, const char *subject)
{
	char command[512];

	(void)snprintf(command, sizeof(command),
		       "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
		       "-nodes -keyout %s/%s.key -out %s/%s.crt -days 2 -subj /CN=x "
		       "-addext subjectAltName=%s 2>/dev/null",
		       redis->dir, name, redis->dir, name, subject);
	if (system(command)) /* our own folder */
		fail(command);
}

unsigned praas_test_redis_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t bytes = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)(const void *)&address,
		 sizeof(address)) ||
	    getsockname(fd, (struct sockaddr *)(void *)&address, &bytes))
		fail("a port");
	(void)close(fd);
	return ntohs(address.sin_port);
}
