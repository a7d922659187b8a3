/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "internal/base.h"
#include "internal/bytes.h"
#include "transport/mac.h"

/*
 * Two contexts, of the current key and of the next or the one before. In the second half of a key's
 * life the other context gets the next key, when no packet of the one before can be fresh any
 * more. Both are made once: a steady state allocates nothing.
 */

#define NONCE_BYTES 12u

static const char next_label[] = "praas seal next 1";

struct praas_seal {
	EVP_CIPHER_CTX *ctx[2];
	uint8_t key[PRAAS_SEAL_KEY_BYTES]; /* of the latest epoch prepared */
	uint64_t prepared;                 /* its number */
	unsigned shift;
	bool clear;
};

static int set_key(struct praas_seal *seal, uint64_t epoch)
{
	EVP_CIPHER_CTX *ctx = seal->ctx[epoch & 1];

	if (EVP_CipherInit_ex(ctx, NULL, NULL, seal->key, NULL, -1) != 1)
		return -EIO;
	seal->prepared = epoch;
	return 0;
}

/* The key after the latest. */
static PRAAS_COLD int prepare(struct praas_seal *seal)
{
	uint8_t key[PRAAS_SEAL_KEY_BYTES];
	int rc = praas_mac_derive(seal->key, next_label, sizeof(next_label) - 1, key);

	if (rc == 0) {
		memcpy(seal->key, key, sizeof(key));
		rc = set_key(seal, seal->prepared + 1);
	}
	praas_mac_wipe(key, sizeof(key));
	return rc;
}

int praas_seal_new(const uint8_t key[PRAAS_SEAL_KEY_BYTES], bool clear,
		   unsigned epoch_shift, struct praas_seal **ret_seal)
{
	struct praas_seal *seal = calloc(1, sizeof(*seal));
	EVP_CIPHER *cipher;
	int rc = -EIO;

	if (seal == NULL)
		return -ENOMEM;
	memcpy(seal->key, key, PRAAS_SEAL_KEY_BYTES);
	seal->clear = clear;
	seal->shift = epoch_shift;
	cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	for (unsigned i = 0; i < 2 && cipher != NULL; i++) {
		seal->ctx[i] = EVP_CIPHER_CTX_new();
		if (seal->ctx[i] == NULL ||
		    EVP_CipherInit_ex(seal->ctx[i], cipher, NULL, key, NULL, 1) != 1)
			break;
		rc = i == 1 ? 0 : -EIO;
	}
	EVP_CIPHER_free(cipher); /* the contexts hold references */
	if (rc != 0) {
		praas_seal_free(seal);
		return rc;
	}
	*ret_seal = seal;
	return 0;
}

void praas_seal_free(struct praas_seal *seal)
{
	if (seal == NULL)
		return;
	EVP_CIPHER_CTX_free(seal->ctx[0]); /* wipes the key */
	EVP_CIPHER_CTX_free(seal->ctx[1]);
	praas_mac_wipe(seal, sizeof(*seal));
	free(seal);
}

/* The context for a packet; NULL: its key is gone, or far ahead. */
static EVP_CIPHER_CTX *context(const struct praas_seal *seal, uint64_t number)
{
	uint64_t epoch = number >> seal->shift;

	if (epoch > seal->prepared || epoch + 1 < seal->prepared)
		return NULL;
	return seal->ctx[epoch & 1];
}

/* After a packet that was good: the next key in time. */
static int look_ahead(struct praas_seal *seal, uint64_t number)
{
	uint64_t half = UINT64_C(1) << (seal->shift - 1);

	if (praas_likely((number & half) == 0 ||
			 number >> seal->shift != seal->prepared))
		return 0;
	return prepare(seal);
}

/* Nonce, head and data through the cipher. */
static bool pass(const struct praas_seal *seal, EVP_CIPHER_CTX *ctx,
		 const struct praas_seal_packet *p, int encrypt)
{
	uint8_t nonce[NONCE_BYTES] = { 0 };
	int n;

	praas_put_u64(nonce + 4, p->number);
	if (EVP_CipherInit_ex(ctx, NULL, NULL, NULL, nonce, encrypt) != 1 ||
	    EVP_CipherUpdate(ctx, NULL, &n, p->head, (int)p->head_bytes) != 1)
		return false;
	return EVP_CipherUpdate(ctx, seal->clear ? NULL : p->data, &n, p->data,
				(int)p->bytes) == 1;
}

int praas_seal_close(struct praas_seal *seal, const struct praas_seal_packet *p)
{
	EVP_CIPHER_CTX *ctx = context(seal, p->number);
	uint8_t none[PRAAS_SEAL_TAG_BYTES];
	int n;

	if (ctx == NULL || !pass(seal, ctx, p, 1) ||
	    EVP_CipherFinal_ex(ctx, none, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, PRAAS_SEAL_TAG_BYTES,
				p->tag) != 1)
		return -EIO;
	return look_ahead(seal, p->number);
}

int praas_seal_open(struct praas_seal *seal, const struct praas_seal_packet *p)
{
	EVP_CIPHER_CTX *ctx = context(seal, p->number);
	uint8_t none[PRAAS_SEAL_TAG_BYTES];
	int n;

	if (ctx == NULL)
		return -EBADMSG;
	if (!pass(seal, ctx, p, 0) ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, PRAAS_SEAL_TAG_BYTES,
				p->tag) != 1)
		return -EIO;
	if (EVP_CipherFinal_ex(ctx, none, &n) != 1)
		return -EBADMSG;
	return look_ahead(seal, p->number);
}
