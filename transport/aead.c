/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/aead.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "internal/base.h"

struct praas_aead {
	EVP_CIPHER_CTX *ctx;
};

int praas_aead_new(struct praas_aead **ret_aead)
{
	struct praas_aead *aead = calloc(1, sizeof(*aead));
	EVP_CIPHER *cipher;
	int rc = -EIO;

	if (aead == NULL)
		return -ENOMEM;
	cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	aead->ctx = EVP_CIPHER_CTX_new();
	if (cipher != NULL && aead->ctx != NULL &&
	    EVP_CipherInit_ex(aead->ctx, cipher, NULL, NULL, NULL, 1) == 1)
		rc = 0;
	EVP_CIPHER_free(cipher); /* the context holds a reference */
	if (rc != 0) {
		praas_aead_free(aead);
		return rc;
	}
	*ret_aead = aead;
	return 0;
}

void praas_aead_free(struct praas_aead *aead)
{
	if (aead == NULL)
		return;
	EVP_CIPHER_CTX_free(aead->ctx); /* wipes the key */
	free(aead);
}

int praas_aead_set_key(struct praas_aead *aead, const uint8_t key[PRAAS_AEAD_KEY_BYTES])
{
	return EVP_CipherInit_ex(aead->ctx, NULL, NULL, key, NULL, -1) == 1 ? 0 : -EIO;
}

/* Nonce, head and data through the cipher. */
static bool pass(struct praas_aead *aead, const struct praas_aead_message *m,
		 int encrypt)
{
	bool parted = encrypt ? m->from != NULL : m->to != NULL;
	uint32_t here = parted ? m->here : m->bytes;
	int n;

	if (EVP_CipherInit_ex(aead->ctx, NULL, NULL, NULL, m->nonce, encrypt) != 1 ||
	    EVP_CipherUpdate(aead->ctx, NULL, &n, m->head, (int)m->head_bytes) != 1 ||
	    EVP_CipherUpdate(aead->ctx, m->clear ? NULL : m->data, &n, m->data,
			     (int)here) != 1)
		return false;
	return !parted || EVP_CipherUpdate(aead->ctx, encrypt ? m->data + here : m->to,
					   &n, encrypt ? m->from : m->data + here,
					   (int)(m->bytes - here)) == 1;
}

int praas_aead_close(struct praas_aead *aead, const struct praas_aead_message *message)
{
	uint8_t none[PRAAS_AEAD_TAG_BYTES];
	int n;

	if (!pass(aead, message, 1) || EVP_CipherFinal_ex(aead->ctx, none, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_GET_TAG, PRAAS_AEAD_TAG_BYTES,
				message->tag) != 1)
		return -EIO;
	return 0;
}

int praas_aead_open(struct praas_aead *aead, const struct praas_aead_message *message)
{
	uint8_t none[PRAAS_AEAD_TAG_BYTES];
	int n;

	if (!pass(aead, message, 0) ||
	    EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_SET_TAG, PRAAS_AEAD_TAG_BYTES,
				message->tag) != 1)
		return -EIO;
	return EVP_CipherFinal_ex(aead->ctx, none, &n) == 1 ? 0 : -EBADMSG;
}
