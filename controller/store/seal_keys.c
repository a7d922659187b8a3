/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/seal_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "internal/base.h"
#include "internal/bytes.h"

#define COMMAND_NS 30000000000ull

extern char **environ;

uint64_t praas_seal_key_id(const uint8_t secret[PRAAS_SEAL_KEY_BYTES])
{
	static const char what[] = "praas store key id";
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned bytes = 0;
	uint64_t id;

	if (!HMAC(EVP_sha256(), secret, PRAAS_SEAL_KEY_BYTES,
		  (const unsigned char *)what, sizeof(what) - 1, sum, &bytes))
		return 0;
	id = praas_get_le(sum, 8);
	return id != 0 ? id : 1;
}

int praas_seal_mac(const struct praas_seal_key *key, const char *what, const void *data,
		   size_t bytes, uint8_t ret_mac[PRAAS_SEAL_KEY_BYTES])
{
	uint8_t text[192], sum[EVP_MAX_MD_SIZE];
	size_t at = strlen(what) + 1;
	unsigned n = 0;

	praas_check(at + bytes <= sizeof(text));
	memcpy(text, what, at);
	memcpy(text + at, data, bytes);
	if (!HMAC(EVP_sha256(), key->secret, PRAAS_SEAL_KEY_BYTES, text, at + bytes,
		  sum, &n))
		return -ENOMEM;
	memcpy(ret_mac, sum, PRAAS_SEAL_KEY_BYTES);
	explicit_bzero(sum, sizeof(sum));
	return 0;
}

const struct praas_seal_key *praas_seal_key_find(const struct praas_seal_keys *keys,
						 uint64_t id)
{
	for (unsigned i = 0; i < keys->count; i++)
		if (keys->key[i].id == id)
			return &keys->key[i];
	return NULL;
}

void praas_seal_keys_wipe(struct praas_seal_keys *keys)
{
	explicit_bzero(keys, sizeof(*keys));
}

/* ---- text ---- */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int add_key(struct praas_seal_keys *keys, const char *text, const char **ret_why)
{
	struct praas_seal_key *k = &keys->key[keys->count];

	if (keys->count == PRAAS_SEAL_KEYS_MAX) {
		*ret_why = "there are more than 8 keys";
		return -EINVAL;
	}
	for (unsigned i = 0; i < PRAAS_SEAL_KEY_BYTES; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0) {
			*ret_why = "a line is neither 64 hexadecimal digits nor a "
				   "comment";
			return -EINVAL;
		}
		k->secret[i] = (uint8_t)(high << 4 | low);
	}
	k->id = praas_seal_key_id(k->secret);
	if (k->id == 0)
		return -ENOMEM;
	if (praas_seal_key_find(keys, k->id)) {
		*ret_why = "a key is there twice";
		return -EINVAL;
	}
	keys->count++;
	return 0;
}

int praas_seal_keys_parse(const char *text, size_t bytes,
			  struct praas_seal_keys *ret_keys, const char **ret_why)
{
	struct praas_seal_keys keys = { .count = 0 };
	const char *end = text + bytes;
	int rc = 0;

	*ret_why = "there is no key in it";
	while (rc == 0 && text < end) {
		const char *line = text,
			   *next = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((next ? next : end) - line);

		text = next ? next + 1 : end;
		while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' '))
			n--;
		if (n == 0 || line[0] == '#')
			continue;
		if (n != 2u * PRAAS_SEAL_KEY_BYTES) {
			*ret_why = "a line is neither 64 hexadecimal digits nor a "
				   "comment";
			rc = -EINVAL;
		} else {
			rc = add_key(&keys, line, ret_why);
		}
	}
	if (rc == 0 && keys.count == 0)
		rc = -EINVAL;
	if (rc == 0)
		*ret_keys = keys;
	praas_seal_keys_wipe(&keys);
	return rc;
}

/* ---- where from ---- */

/* What can be read until the end, or until it is too much or too late. */
static int read_all(int fd, uint64_t until_ns, char text[PRAAS_SEAL_TEXT_MAX],
		    size_t *ret_bytes)
{
	size_t at = 0;

	for (;;) {
		uint64_t now = praas_now_ns();
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (now >= until_ns ||
		    poll(&p, 1, (int)((until_ns - now) / 1000000u)) == 0)
			return -ETIMEDOUT;
		n = read(fd, text + at, PRAAS_SEAL_TEXT_MAX - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		at += (size_t)n;
		if (at == PRAAS_SEAL_TEXT_MAX)
			return -EMSGSIZE;
	}
	*ret_bytes = at;
	return 0;
}

static int load_file(const char *path, char text[PRAAS_SEAL_TEXT_MAX],
		     size_t *ret_bytes, const char **ret_why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
	struct stat st;

	*ret_why = "the file of keys cannot be read";
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : -EACCES;
	rc = fstat(fd, &st) == 0 ? 0 : -EIO;
	if (rc == 0 && (st.st_mode & 077) != 0) {
		*ret_why = "others than its owner can read the file of keys: chmod 600";
		rc = -EACCES;
	}
	if (rc == 0)
		rc = read_all(fd, praas_now_ns() + COMMAND_NS, text, ret_bytes);
	(void)close(fd); /* read only */
	return rc;
}

static int load_command(const char *command, char text[PRAAS_SEAL_TEXT_MAX],
			size_t *ret_bytes, const char **ret_why)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char *)(uintptr_t)command,
			 NULL };
	posix_spawn_file_actions_t fa;
	int out[2], status = 0, rc;
	pid_t pid;

	*ret_why = "the command for the keys cannot be started";
	if (pipe2(out, O_CLOEXEC) != 0)
		return -EIO;
	(void)posix_spawn_file_actions_init(&fa);
	(void)posix_spawn_file_actions_adddup2(&fa, out[1], STDOUT_FILENO);
	rc = -posix_spawn(&pid, "/bin/sh", &fa, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&fa);
	(void)close(out[1]); /* the child has its own */
	if (rc == 0) {
		*ret_why = "the command for the keys does not end, or says too much";
		rc = read_all(out[0], praas_now_ns() + COMMAND_NS, text, ret_bytes);
		if (rc != 0)
			(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		if (rc == 0 && status != 0) {
			*ret_why = "the command for the keys failed";
			rc = -EIO;
		}
	}
	(void)close(out[0]); /* read only */
	return rc;
}

int praas_seal_keys_load(const char *where, struct praas_seal_keys *ret_keys,
			 const char **ret_why)
{
	char text[PRAAS_SEAL_TEXT_MAX];
	size_t bytes = 0;
	int rc = -EINVAL;

	*ret_why = "it is neither file:PATH nor cmd:COMMAND";
	if (strncmp(where, "file:", 5) == 0)
		rc = load_file(where + 5, text, &bytes, ret_why);
	else if (strncmp(where, "cmd:", 4) == 0)
		rc = load_command(where + 4, text, &bytes, ret_why);
	if (rc == 0)
		rc = praas_seal_keys_parse(text, bytes, ret_keys, ret_why);
	explicit_bzero(text, sizeof(text));
	return rc;
}
