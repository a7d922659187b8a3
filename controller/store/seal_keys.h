/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that seal what is stored (sealed.h): 256 bits each, from a file or from what a command says. A key is known by
 * its id, which is made from it; the first one seals, the others open what was sealed before.
 */
#ifndef PRAAS_CONTROLLER_STORE_SEAL_KEYS_H
#define PRAAS_CONTROLLER_STORE_SEAL_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRAAS_SEAL_KEY_BYTES 32u
#define PRAAS_SEAL_KEYS_MAX 8u
#define PRAAS_SEAL_TEXT_MAX 4096u /* of a file of keys */

struct praas_seal_key {
	uint64_t id; /* never 0 */
	uint8_t secret[PRAAS_SEAL_KEY_BYTES];
};

struct praas_seal_keys {
	struct praas_seal_key key[PRAAS_SEAL_KEYS_MAX];
	unsigned count;    /* 0: nothing is sealed */
	bool refuse_clear; /* what is not sealed is not read */
};

/* Lines of 64 hexadecimal digits; empty ones and those with a '#' in front say nothing. 0; -EINVAL no key, more
 * than PRAAS_SEAL_KEYS_MAX, one twice, or another line; *ret_why (static) says it. */
int praas_seal_keys_parse(const char *text, size_t bytes,
			  struct praas_seal_keys *ret_keys, const char **ret_why);

/* From "file:PATH" (a file that others than its owner can read is refused) or "cmd:COMMAND" (of the shell; what it
 * prints; 30 s). 0; -EINVAL, -EACCES, -ENOENT, -EIO, -ETIMEDOUT; *ret_why (static) says more. Blocks. */
int praas_seal_keys_load(const char *where, struct praas_seal_keys *ret_keys,
			 const char **ret_why);

/* NULL: no such one. */
const struct praas_seal_key *praas_seal_key_find(const struct praas_seal_keys *keys,
						 uint64_t id);
/* The id of a key. 0 when libcrypto fails. */
uint64_t praas_seal_key_id(const uint8_t secret[PRAAS_SEAL_KEY_BYTES]);
/* HMAC-SHA-256 of what (with its NUL) and up to 128 bytes. 0; -ENOMEM. */
int praas_seal_mac(const struct praas_seal_key *key, const char *what, const void *data,
		   size_t bytes, uint8_t ret_mac[PRAAS_SEAL_KEY_BYTES]);
/* Overwrites them. */
void praas_seal_keys_wipe(struct praas_seal_keys *keys);

#endif
