/* SPDX-License-Identifier: Apache-2.0 */
#include "control/tenants/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "control/names.h"
#include "internal/base.h"

#define ERROR_TEXT 256u
#define TOKEN_BYTES 24u /* of randomness in a token that we make */

/* Every request hashes its key. OpenSSL 3 looks the algorithm up by name and makes a context each time,
 * which costs more than the hash: both are kept, the context by each thread. */
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;
static pthread_key_t hash_context;
static EVP_MD *hash_method;

static void free_context(void *context)
{
	EVP_MD_CTX_free(context);
}

static void prepare_hash(void)
{
	hash_method = EVP_MD_fetch(NULL, "SHA256", NULL);
	praas_check(hash_method);
	praas_check(pthread_key_create(&hash_context, free_context) == 0);
}

static EVP_MD_CTX *own_context(void)
{
	EVP_MD_CTX *context;

	(void)pthread_once(&hash_once, prepare_hash);
	context = pthread_getspecific(hash_context);
	if (context)
		return context;
	context = EVP_MD_CTX_new();
	praas_check(context);
	praas_check(pthread_setspecific(hash_context, context) == 0);
	return context;
}

void praas_hash(const void *data, size_t bytes, uint8_t ret_hash[PRAAS_HASH_BYTES])
{
	EVP_MD_CTX *context = own_context();
	unsigned n = 0;

	praas_check(EVP_DigestInit_ex(context, hash_method, NULL) == 1);
	praas_check(EVP_DigestUpdate(context, data, bytes) == 1);
	praas_check(EVP_DigestFinal_ex(context, ret_hash, &n) == 1);
	praas_check(n == PRAAS_HASH_BYTES);
}

static int fail(char *ret_text, const char *what, const char *file, int rc)
{
	(void)snprintf(ret_text, ERROR_TEXT, "%s %.150s: %s", what, file,
		       strerror(-rc));
	return rc;
}

/* The whole of a small file. Returns its size; -EFBIG. */
static ssize_t read_small(const char *file, void *ret_data, size_t bytes_max,
			  bool secret)
{
	struct stat st;
	ssize_t n;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (secret && (fstat(fd, &st) || (st.st_mode & 077))) {
		(void)close(fd);
		return -EPERM;
	}
	n = read(fd, ret_data, bytes_max);
	if (n < 0)
		n = -errno;
	else if ((size_t)n == bytes_max)
		n = -EFBIG;
	(void)close(fd);
	return n;
}

/* Durable, complete or absent, readable by us alone. 0; an errno, -EEXIST too. */
static int write_new(const char *file, const void *data, size_t bytes)
{
	char part[4096];
	int rc = 0, fd;

	if (snprintf(part, sizeof(part), "%s.part", file) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, data, bytes) != (ssize_t)bytes || fsync(fd))
		rc = errno ? -errno : -EIO;
	(void)close(fd);
	if (rc == 0 && link(part, file))
		rc = -errno;
	(void)unlink(part);
	return rc;
}

static int open_root(const char *dir, struct praas_keys *keys, char *ret_text)
{
	uint8_t data[PRAAS_KEY_BYTES + 1];
	char file[4096];
	ssize_t n;

	if (snprintf(file, sizeof(file), "%s/root.key", dir) >= (int)sizeof(file))
		return fail(ret_text, "path", dir, -ENAMETOOLONG);
	n = read_small(file, data, sizeof(data), true);
	if (n == -ENOENT) {
		praas_random(keys->root, sizeof(keys->root));
		n = write_new(file, keys->root, sizeof(keys->root));
		return n ? fail(ret_text, "cannot make", file, (int)n) : 0;
	}
	if (n == -EPERM)
		return fail(ret_text, "others can read", file, (int)n);
	if (n != PRAAS_KEY_BYTES)
		return fail(ret_text, "not a root key:", file,
			    n < 0 ? (int)n : -EINVAL);
	memcpy(keys->root, data, sizeof(keys->root));
	OPENSSL_cleanse(data, sizeof(data));
	return 0;
}

/* Takes the token's hash. Blanks at the end (a newline) do not count. */
static int take_token(struct praas_keys *keys, char *token, const char *from,
		      char *ret_text)
{
	size_t n = strlen(token);

	while (n > 0 &&
	       (token[n - 1] == '\n' || token[n - 1] == '\r' || token[n - 1] == ' '))
		n--;
	if (n < PRAAS_TOKEN_MIN || n > PRAAS_TOKEN_MAX) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "%.150s: a token has %u to %u characters", from,
			       PRAAS_TOKEN_MIN, PRAAS_TOKEN_MAX);
		return -EINVAL;
	}
	praas_hash(token, n, keys->admin_hash);
	OPENSSL_cleanse(token, n);
	return 0;
}

static int make_token(const char *file, struct praas_keys *keys, char *ret_text)
{
	uint8_t random[TOKEN_BYTES];
	char token[2 * TOKEN_BYTES + 2];
	int rc;

	praas_random(random, sizeof(random));
	praas_hex_encode(random, sizeof(random), token);
	memcpy(token + 2 * sizeof(random), "\n", 2);
	rc = write_new(file, token, strlen(token));
	if (rc)
		return fail(ret_text, "cannot make", file, rc);
	return take_token(keys, token, file, ret_text);
}

static int open_token(const char *dir, const char *token_file, struct praas_keys *keys,
		      char *ret_text)
{
	char file[4096], token[PRAAS_TOKEN_MAX + 4] = { 0 };
	const char *env = getenv("PRAAS_ADMIN_TOKEN");
	ssize_t n;

	if (!token_file && env) {
		if (snprintf(token, sizeof(token), "%s", env) >= (int)sizeof(token))
			return fail(ret_text, "too long:", "PRAAS_ADMIN_TOKEN",
				    -EINVAL);
		return take_token(keys, token, "PRAAS_ADMIN_TOKEN", ret_text);
	}
	if (snprintf(file, sizeof(file), "%s%s", token_file ? token_file : dir,
		     token_file ? "" : "/admin.token") >= (int)sizeof(file))
		return fail(ret_text, "path", dir, -ENAMETOOLONG);
	n = read_small(file, token, sizeof(token) - 1, true);
	if (n == -ENOENT && !token_file)
		return make_token(file, keys, ret_text);
	if (n == -EPERM)
		return fail(ret_text, "others can read", file, -EPERM);
	if (n < 0)
		return fail(ret_text, "cannot read", file, (int)n);
	if (memchr(token, 0, (size_t)n))
		return fail(ret_text, "not a token:", file, -EINVAL);
	return take_token(keys, token, file, ret_text);
}

int praas_keys_open(const char *dir, const char *token_file,
		    struct praas_keys *ret_keys, char *ret_text)
{
	struct praas_keys keys = { 0 };
	int rc;

	rc = open_root(dir, &keys, ret_text);
	if (rc == 0)
		rc = open_token(dir, token_file, &keys, ret_text);
	if (rc == 0)
		*ret_keys = keys;
	OPENSSL_cleanse(&keys, sizeof(keys));
	return rc;
}

void praas_keys_tenant(const struct praas_keys *keys, const char *name,
		       uint8_t ret_id[PRAAS_ID_BYTES])
{
	static const char label[] = "praas tenant ";
	uint8_t seed[PRAAS_KEY_BYTES + sizeof(label) + PRAAS_NAME_MAX + 1];
	uint8_t hash[PRAAS_HASH_BYTES];
	size_t bytes = strnlen(name, PRAAS_NAME_MAX);

	memcpy(seed, keys->root, PRAAS_KEY_BYTES);
	memcpy(seed + PRAAS_KEY_BYTES, label, sizeof(label) - 1);
	memcpy(seed + PRAAS_KEY_BYTES + sizeof(label) - 1, name, bytes);
	seed[PRAAS_KEY_BYTES + sizeof(label) - 1 + bytes] = 0;
	praas_hash(seed, PRAAS_KEY_BYTES + sizeof(label) + bytes, hash);
	memcpy(ret_id, hash, PRAAS_ID_BYTES);
	OPENSSL_cleanse(seed, sizeof(seed));
}

void praas_keys_close(struct praas_keys *keys)
{
	OPENSSL_cleanse(keys, sizeof(*keys));
}

bool praas_keys_admin(const struct praas_keys *keys, const char *token)
{
	uint8_t hash[PRAAS_HASH_BYTES];

	praas_hash(token, strlen(token), hash);
	return praas_equal_constant(hash, keys->admin_hash, sizeof(hash));
}

praas_pid_t praas_keys_source(void)
{
	praas_pid_t source;

	praas_random(&source, sizeof(source));
	source = PRAAS_CLIENT | source >> 1;
	return source == PRAAS_ANY ? source - 1
				   : source; /* it means "whomever" in a receive */
}

int praas_keys_ticket(const struct praas_keys *keys, const struct praas_app_record *app,
		      const struct praas_process_record *process, json_t *endpoints,
		      const struct praas_grant *grant, json_t **ret_ticket)
{
	uint8_t key[PRAAS_KEY_BYTES], session[PRAAS_KEY_BYTES],
		wire[PRAAS_TICKET_BYTES];
	char wire_hex[2 * PRAAS_TICKET_BYTES + 1], session_hex[2 * PRAAS_KEY_BYTES + 1];
	uint64_t now_s = (uint64_t)time(NULL);
	struct praas_ticket t = { .pid = process->number,
				  .epoch = process->epoch,
				  .rights = grant->rights,
				  .bytes_max = grant->bytes_max,
				  .not_before_s = now_s,
				  .expires_s = now_s + grant->ttl_s };
	int rc;

	praas_keys_tenant(keys, app->tenant, t.tenant);
	memcpy(t.app, process->app, sizeof(t.app));
	memcpy(t.controller, process->controller, sizeof(t.controller));
	t.source = grant->source ? grant->source : praas_keys_source();
	praas_random(t.jti, sizeof(t.jti));
	rc = praas_ticket_controller_key(keys->root, process->controller, key);
	if (rc == 0)
		rc = praas_ticket_issue(key, &t, wire, session);
	if (rc == 0) {
		praas_hex_encode(wire, sizeof(wire), wire_hex);
		praas_hex_encode(session, sizeof(session), session_hex);
		*ret_ticket = json_pack(
			"{s:s,s:s,s:I,s:I,s:I,s:O,s:s,s:s,s:I}", "app", app->name,
			"pid", process->name, "number", (json_int_t)process->number,
			"epoch", (json_int_t)process->epoch, "lost_epoch",
			(json_int_t)process->lost_epoch, "endpoints", endpoints,
			"ticket", wire_hex, "session_key", session_hex, "expires_s",
			(json_int_t)t.expires_s);
		rc = *ret_ticket ? 0 : -ENOMEM;
	}
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(session, sizeof(session));
	OPENSSL_cleanse(session_hex, sizeof(session_hex));
	return rc;
}
