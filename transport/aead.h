/* SPDX-License-Identifier: Apache-2.0
 *
 * AES-256-GCM with one key, for packets of the datagram transport (transport/seal.h). Two files have the same
 * functions, and what is linked has one of them: aead.c by OpenSSL, everywhere; aead_mb.c by Intel's library of
 * the same algorithm, in the plug-in for DPDK, where a packet costs as little as its sealing. One thread.
 */
#ifndef PRAAS_TRANSPORT_AEAD_H
#define PRAAS_TRANSPORT_AEAD_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_AEAD_KEY_BYTES 32u
#define PRAAS_AEAD_NONCE_BYTES 12u
#define PRAAS_AEAD_TAG_BYTES 16u

struct praas_aead;

struct praas_aead_message {
	const uint8_t *nonce; /* PRAAS_AEAD_NONCE_BYTES */
	const uint8_t *head;  /* authenticated */
	uint8_t *data;        /* authenticated, and hidden in place unless clear */
	uint8_t *tag;         /* PRAAS_AEAD_TAG_BYTES */
	uint32_t head_bytes, bytes;
	bool clear;
	/* Not with clear. What follows the first `here` bytes of data: closed it is read from `from`, not
	 * from data; opened it is written to `to`, not to data. NULL: in place. */
	uint32_t here;
	const uint8_t *from;
	uint8_t *to;
};

/* 0; -ENOMEM; -EIO the library failed. */
int praas_aead_new(struct praas_aead **ret_aead);
/* NULL is allowed; the key is wiped. */
void praas_aead_free(struct praas_aead *aead);
/* 0; -EIO. */
int praas_aead_set_key(struct praas_aead *aead,
		       const uint8_t key[PRAAS_AEAD_KEY_BYTES]);
/* Hides, and writes the tag. 0; -EIO. */
int praas_aead_close(struct praas_aead *aead, const struct praas_aead_message *message);
/* The reverse. 0; -EBADMSG not what was closed (data may have changed); -EIO. */
int praas_aead_open(struct praas_aead *aead, const struct praas_aead_message *message);

#endif
