/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/s3_credentials.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/crypto.h>

#define FRESH_S 300
#define FILE_MAX (256u * 1024u)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct praas_s3_credentials kept; /* under lock; key_id "": none */
static bool stale; /* the same: a server does not take them any more */

static const char *environment(const char *name)
{
	const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): never set

	return value && *value ? value : NULL;
}

bool praas_s3_credentials_fresh(const struct praas_s3_credentials *c)
{
	return c->expires_s == 0 || time(NULL) + FRESH_S < c->expires_s;
}

static bool printable(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text <= ' ' || *text > '~')
			return false;
	}
	return true;
}

bool praas_s3_credentials_valid(const struct praas_s3_credentials *c)
{
	return c->key_id[0] != '\0' && c->secret[0] != '\0' && printable(c->key_id) &&
	       printable(c->secret) && printable(c->session) && !strchr(c->key_id, '/');
}

void praas_s3_credentials_wipe(struct praas_s3_credentials *c)
{
	OPENSSL_cleanse(c, sizeof(*c));
}

/* -EPROTO: longer than there is room. */
static int copy(char *to, size_t room, const char *from, size_t bytes)
{
	if (bytes >= room)
		return -EPROTO;
	memcpy(to, from, bytes);
	to[bytes] = '\0';
	return 0;
}

/* ---- environment ---- */

static int from_environment(struct praas_s3_credentials *c)
{
	const char *key_id = environment("AWS_ACCESS_KEY_ID");
	const char *secret = environment("AWS_SECRET_ACCESS_KEY");
	const char *session = environment("AWS_SESSION_TOKEN");
	int rc;

	if (!key_id || !secret)
		return -ENOENT;
	rc = copy(c->key_id, sizeof(c->key_id), key_id, strlen(key_id));
	if (rc == 0)
		rc = copy(c->secret, sizeof(c->secret), secret, strlen(secret));
	if (rc == 0 && session)
		rc = copy(c->session, sizeof(c->session), session, strlen(session));
	return rc == 0 && !praas_s3_credentials_valid(c) ? -EPROTO : rc;
}

/* ---- file ---- */

/* Without blanks around it. */
static const char *trim(const char *text, size_t *bytes)
{
	while (*bytes > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		(*bytes)--;
	}
	while (*bytes > 0 && strchr(" \t\r", text[*bytes - 1]))
		(*bytes)--;
	return text;
}

static bool is(const char *text, size_t bytes, const char *word)
{
	return strlen(word) == bytes && memcmp(text, word, bytes) == 0;
}

/* NAME = VALUE */
static int take_line(struct praas_s3_credentials *c, const char *line, size_t bytes)
{
	const char *equals = memchr(line, '=', bytes);
	size_t name_bytes = equals ? (size_t)(equals - line) : 0;
	size_t value_bytes = equals ? bytes - name_bytes - 1 : 0;
	const char *name = trim(line, &name_bytes), *value;

	if (!equals)
		return 0;
	value = trim(equals + 1, &value_bytes);
	if (is(name, name_bytes, "aws_access_key_id"))
		return copy(c->key_id, sizeof(c->key_id), value, value_bytes);
	if (is(name, name_bytes, "aws_secret_access_key"))
		return copy(c->secret, sizeof(c->secret), value, value_bytes);
	if (is(name, name_bytes, "aws_session_token"))
		return copy(c->session, sizeof(c->session), value, value_bytes);
	return 0; /* settings of other tools */
}

int praas_s3_credentials_file(const char *text, const char *section,
			      struct praas_s3_credentials *ret_found)
{
	struct praas_s3_credentials c = { .expires_s = 0 };
	bool ours = false, seen = false;
	int rc = 0;

	while (rc == 0 && *text != '\0') {
		size_t whole = strcspn(text, "\n"), bytes = whole;
		const char *line = trim(text, &bytes);

		if (bytes > 1 && line[0] == '[' && line[bytes - 1] == ']') {
			size_t name_bytes = bytes - 2;
			const char *name = trim(line + 1, &name_bytes);

			ours = is(name, name_bytes, section);
			seen = seen || ours;
		} else if (ours && bytes > 0 && line[0] != '#' && line[0] != ';') {
			rc = take_line(&c, line, bytes);
		}
		text += whole + (text[whole] == '\n' ? 1 : 0);
	}
	if (rc == 0 && !seen)
		rc = -ENOENT;
	if (rc == 0 && !praas_s3_credentials_valid(&c))
		rc = -EPROTO;
	if (rc == 0)
		*ret_found = c;
	praas_s3_credentials_wipe(&c);
	return rc;
}

static int read_file(const char *path, char *text, const char **ret_why)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	size_t bytes;
	int rc = 0;

	if (!f)
		return errno == ENOENT || errno == ENOTDIR ? -ENOENT : -EIO;
	if (fstat(fileno(f), &st) != 0) {
		rc = -EIO;
	} else if ((st.st_mode & S_IROTH) != 0) {
		*ret_why = "the credentials file can be read by everybody: chmod 600";
		rc = -EACCES;
	}
	bytes = rc == 0 ? fread(text, 1, FILE_MAX, f) : 0;
	if (rc == 0 && (ferror(f) || bytes == FILE_MAX || memchr(text, '\0', bytes)))
		rc = -EPROTO;
	text[bytes] = '\0';
	(void)fclose(f); /* read only */
	return rc;
}

static int from_file(struct praas_s3_credentials *c, const char **ret_why)
{
	const char *named = environment("AWS_SHARED_CREDENTIALS_FILE");
	const char *home = environment("HOME"), *profile = environment("AWS_PROFILE");
	char path[4096], *text;
	int n = named || home
			? snprintf(path, sizeof(path), "%s%s", named ? named : home,
				   named ? "" : "/.aws/credentials")
			: -1;
	int rc;

	if (n < 0 || n >= (int)sizeof(path))
		return -ENOENT;
	text = malloc(FILE_MAX + 1);
	if (!text)
		return -ENOMEM;
	rc = read_file(path, text, ret_why);
	if (rc == 0)
		rc = praas_s3_credentials_file(text, profile ? profile : "default", c);
	if (rc == -EPROTO)
		*ret_why = "the credentials file lacks aws_access_key_id or "
			   "aws_secret_access_key, or has wrong ones";
	OPENSSL_cleanse(text, strlen(text));
	free(text);
	return rc;
}

/* ---- metadata ---- */

static int take_member(const json_t *root, const char *name, char *to, size_t room)
{
	const json_t *value = json_object_get(root, name);

	if (!json_is_string(value))
		return -EPROTO;
	return copy(to, room, json_string_value(value), json_string_length(value));
}

static int take_time(const json_t *root, int64_t *ret_s)
{
	const char *text = json_string_value(json_object_get(root, "Expiration"));
	struct tm tm = { .tm_isdst = 0 };
	const char *end;
	time_t at;

	if (!text) {
		*ret_s = 0;
		return 0;
	}
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	at = end && (*end == 'Z' || *end == '.') ? timegm(&tm) : -1;
	*ret_s = at;
	return at > 0 ? 0 : -EPROTO;
}

int praas_s3_credentials_json(const char *data, size_t bytes,
			      struct praas_s3_credentials *ret_found)
{
	struct praas_s3_credentials c = { .expires_s = 0 };
	json_t *root = json_loadb(data, bytes, JSON_REJECT_DUPLICATES, NULL);
	int rc = take_member(root, "AccessKeyId", c.key_id, sizeof(c.key_id));

	if (rc == 0)
		rc = take_member(root, "SecretAccessKey", c.secret, sizeof(c.secret));
	if (rc == 0 && json_object_get(root, "Token"))
		rc = take_member(root, "Token", c.session, sizeof(c.session));
	if (rc == 0)
		rc = take_time(root, &c.expires_s);
	if (rc == 0 && !praas_s3_credentials_valid(&c))
		rc = -EPROTO;
	if (rc == 0)
		*ret_found = c;
	praas_s3_credentials_wipe(&c);
	json_decref(root);
	return rc;
}

/* ---- all of them ---- */

static int look(struct praas_s3_credentials *c, const char **ret_why)
{
	int rc = from_environment(c);

	if (rc == -EPROTO)
		*ret_why = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or "
			   "AWS_SESSION_TOKEN cannot be right";
	if (rc == -ENOENT)
		rc = from_file(c, ret_why);
	if (rc == -ENOENT)
		rc = praas_s3_metadata(c, ret_why);
	return rc;
}

int praas_s3_credentials_find(struct praas_s3_credentials *ret_found,
			      const char **ret_why)
{
	struct praas_s3_credentials found = { .expires_s = 0 };
	int rc = 0;

	*ret_why = "no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a "
		   "credentials file, or a metadata endpoint";
	(void)pthread_mutex_lock(&lock);
	if (kept.key_id[0] == '\0' || stale || !praas_s3_credentials_fresh(&kept)) {
		rc = look(&found, ret_why);
		if (rc == 0) {
			kept = found;
			stale = false;
		} else if (kept.key_id[0] != '\0') {
			rc = 0; /* the server will say whether they are still good */
		}
	}
	if (rc == 0)
		*ret_found = kept;
	(void)pthread_mutex_unlock(&lock);
	praas_s3_credentials_wipe(&found);
	return rc;
}

void praas_s3_credentials_forget(void)
{
	(void)pthread_mutex_lock(&lock);
	stale = true;
	(void)pthread_mutex_unlock(&lock);
}
