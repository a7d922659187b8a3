/* SPDX-License-Identifier: Apache-2.0 */
#include "redis/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ERROR_TEXT 256u
#define PASSWORD_MAX 512u

/* The first line of the file; looked at each time, so that it may change. 0; an errno. */
static int read_password(const char *file, char ret_password[PASSWORD_MAX],
			 char *ret_text)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), rc = fd < 0 ? -errno : 0;
	struct stat st;
	ssize_t n;

	if (rc == 0 && fstat(fd, &st))
		rc = -errno;
	if (rc == 0 && (st.st_mode & 07)) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "%.150s: everybody can read it; chmod o-rwx", file);
		(void)close(fd);
		return -EACCES;
	}
	n = rc ? -1 : read(fd, ret_password, PASSWORD_MAX - 1);
	if (rc == 0 && n <= 0)
		rc = -EIO;
	if (fd >= 0)
		(void)close(fd);
	if (rc) {
		(void)snprintf(ret_text, ERROR_TEXT, "%.150s: %.80s", file,
			       strerror(-rc));
		return -EACCES;
	}
	ret_password[n] = 0;
	if (n == PASSWORD_MAX - 1 && !strpbrk(ret_password, "\r\n")) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "%.150s: its first line is longer than %u bytes", file,
			       PASSWORD_MAX - 2);
		return -EACCES;
	}
	ret_password[strcspn(ret_password, "\r\n")] = 0;
	return 0;
}

/* Says a command of texts; what is answered to it is the caller's. */
static int say(struct praas_redis_link *link, const char *const *words, int count,
	       uint64_t deadline_ns, redisReply **ret_reply, char *ret_text)
{
	struct praas_redis_args args = { .count = count };

	for (int i = 0; i < count; i++) {
		args.argv[i] = words[i];
		args.bytes[i] = strlen(words[i]);
	}
	return praas_redis_link_ask(link, &args, deadline_ns, ret_reply, ret_text);
}

/* A command that is answered with OK, or refused with words. */
static int expect_ok(struct praas_redis_link *link, const char *const *words, int count,
		     uint64_t deadline_ns, char *ret_text)
{
	redisReply *reply = NULL;
	int rc = say(link, words, count, deadline_ns, &reply, ret_text);

	if (rc)
		return rc;
	if (reply->type == REDIS_REPLY_ERROR) {
		rc = praas_redis_refusal(reply, ret_text) == -EAGAIN ? -EAGAIN
								     : -EACCES;
		(void)snprintf(ret_text, ERROR_TEXT, "%s: %.200s", words[0],
			       reply->str);
	}
	freeReplyObject(reply);
	return rc;
}

static int authenticate(struct praas_redis_link *link,
			const struct praas_redis_url *url, uint64_t deadline_ns,
			char *ret_text)
{
	char password[PASSWORD_MAX];
	const char *words[3] = { "AUTH", url->user, password };
	int rc;

	if (!url->password_file[0] && !url->user[0])
		return 0;
	password[0] = 0; /* a user may be without one; it is not the default one */
	rc = url->password_file[0]
		     ? read_password(url->password_file, password, ret_text)
		     : 0;
	if (rc == 0 && !url->user[0])
		words[1] = password;
	if (rc == 0)
		rc = expect_ok(link, words, url->user[0] ? 3 : 2, deadline_ns,
			       ret_text);
	explicit_bzero(password, sizeof(password));
	return rc;
}

static int choose(struct praas_redis_link *link, uint32_t db, uint64_t deadline_ns,
		  char *ret_text)
{
	char number[16];
	const char *words[2] = { "SELECT", number };

	(void)snprintf(number, sizeof(number), "%u", db);
	return db == 0 ? 0 : expect_ok(link, words, 2, deadline_ns, ret_text);
}

/* Who may not ask for a setting does not know it. */
static int look_at_setting(struct praas_redis_link *link, uint64_t deadline_ns,
			   struct praas_redis_server *server, char *ret_text)
{
	static const char *const words[3] = { "CONFIG", "GET", "appendfsync" };
	redisReply *reply = NULL;
	const redisReply *value;
	int rc = say(link, words, 3, deadline_ns, &reply, ret_text);

	if (rc)
		return rc;
	value = praas_redis_text(reply, 1);
	server->always_unknown = value == NULL;
	server->always = value && !strcmp(value->str, "always");
	freeReplyObject(reply);
	return 0;
}

static int look(struct praas_redis_link *link, uint64_t deadline_ns,
		struct praas_redis_server *server, char *ret_text)
{
	static const char *const words[1] = { "INFO" };
	redisReply *reply = NULL;
	int rc = say(link, words, 1, deadline_ns, &reply, ret_text);

	if (rc)
		return rc;
	if (reply->type == REDIS_REPLY_STRING) {
		praas_redis_server_parse(reply->str, reply->len, server);
	} else {
		rc = reply->type == REDIS_REPLY_ERROR &&
				     praas_redis_refusal(reply, ret_text) == -EAGAIN
			     ? -EAGAIN
			     : -EACCES;
		(void)snprintf(ret_text, ERROR_TEXT, "INFO: %.200s",
			       reply->str ? reply->str : "no text");
	}
	freeReplyObject(reply);
	return rc ? rc : look_at_setting(link, deadline_ns, server, ret_text);
}

int praas_redis_session_open(const struct praas_redis_session_config *config,
			     uint64_t deadline_ns, struct praas_redis_link **ret_link,
			     struct praas_redis_server *ret_server, char *ret_text)
{
	struct praas_redis_link *link;
	int rc = praas_redis_link_open(config->url, config->tls, deadline_ns, &link,
				       ret_text);

	if (rc)
		return rc == -EACCES ? -EAGAIN : rc;
	rc = authenticate(link, config->url, deadline_ns, ret_text);
	if (rc == 0)
		rc = choose(link, config->url->db, deadline_ns, ret_text);
	if (rc == 0)
		rc = look(link, deadline_ns, ret_server, ret_text);
	if (rc == 0 && !ret_server->primary) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "it is a replica; the primary is needed");
		rc = -EAGAIN; /* it may become one */
	}
	if (rc == 0 &&
	    ret_server->loading) { /* what it says now of what it has is not true yet */
		(void)snprintf(ret_text, ERROR_TEXT,
			       "it was started, and is loading what it has");
		rc = -EAGAIN;
	}
	if (rc)
		praas_redis_link_free(link);
	else
		*ret_link = link;
	return rc;
}
