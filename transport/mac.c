/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/mac.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

/*
 * The algorithm is looked up per context, not once per program: a look-up costs about 1 µs, a
 * context lives as long as its key, and a global would need a place to be freed in a library.
 */

struct praas_mac {
	EVP_MAC_CTX *ctx;
};

int praas_mac_new(const uint8_t key[PRAAS_MAC_BYTES], struct praas_mac **ret_mac)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	struct praas_mac *mac = calloc(1, sizeof(*mac));
	EVP_MAC *algorithm;

	if (mac == NULL)
		return -ENOMEM;
	/* We need nothing of openssl.cnf: not its 3 ms, and nobody's engines. Fails only when the
	 * library cannot be used at all, which the next call says too. */
	(void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
	mac->ctx = EVP_MAC_CTX_new(algorithm);
	EVP_MAC_free(algorithm); /* the context holds its own reference */
	if (mac->ctx == NULL ||
	    EVP_MAC_init(mac->ctx, key, PRAAS_MAC_BYTES, params) != 1) {
		praas_mac_free(mac);
		return -EIO;
	}
	*ret_mac = mac;
	return 0;
}

void praas_mac_free(struct praas_mac *mac)
{
	if (mac == NULL)
		return;
	EVP_MAC_CTX_free(mac->ctx); /* wipes the key */
	free(mac);
}

int praas_mac_sign(struct praas_mac *mac, const struct praas_mac_part *parts,
		   unsigned count, uint8_t ret_mac[PRAAS_MAC_BYTES])
{
	size_t bytes = 0;

	/* No key: begins again with the one it has. */
	if (EVP_MAC_init(mac->ctx, NULL, 0, NULL) != 1)
		return -EIO;
	for (unsigned i = 0; i < count; i++) {
		if (EVP_MAC_update(mac->ctx, parts[i].data, parts[i].bytes) != 1)
			return -EIO;
	}
	if (EVP_MAC_final(mac->ctx, ret_mac, &bytes, PRAAS_MAC_BYTES) != 1)
		return -EIO;
	return bytes == PRAAS_MAC_BYTES ? 0 : -EIO;
}

int praas_mac_once(const uint8_t key[PRAAS_MAC_BYTES],
		   const struct praas_mac_part *parts, unsigned count,
		   uint8_t ret_mac[PRAAS_MAC_BYTES])
{
	struct praas_mac *mac;
	int rc = praas_mac_new(key, &mac);

	if (rc != 0)
		return rc;
	rc = praas_mac_sign(mac, parts, count, ret_mac);
	praas_mac_free(mac);
	return rc;
}

int praas_mac_derive(const uint8_t key[PRAAS_MAC_BYTES], const void *info,
		     size_t info_bytes, uint8_t ret_key[PRAAS_MAC_BYTES])
{
	char digest[] = "SHA256";
	uint8_t secret[PRAAS_MAC_BYTES], text[128];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret,
						  sizeof(secret)),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, text,
						  info_bytes),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *algorithm;
	EVP_KDF_CTX *ctx;
	int rc;

	if (info_bytes > sizeof(text))
		return -EINVAL;
	/* The parameter list wants writable memory. */
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = key[i];
	for (size_t i = 0; i < info_bytes; i++)
		text[i] = ((const uint8_t *)info)[i];
	algorithm = EVP_KDF_fetch(NULL, "HKDF", NULL);
	ctx = EVP_KDF_CTX_new(algorithm);
	rc = ctx != NULL && EVP_KDF_derive(ctx, ret_key, PRAAS_MAC_BYTES, params) == 1
		     ? 0
		     : -EIO;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(algorithm);
	praas_mac_wipe(secret, sizeof(secret));
	return rc;
}

bool praas_mac_equal(const uint8_t a[PRAAS_MAC_BYTES], const uint8_t b[PRAAS_MAC_BYTES])
{
	return CRYPTO_memcmp(a, b, PRAAS_MAC_BYTES) == 0;
}

void praas_mac_wipe(void *data, size_t bytes)
{
	OPENSSL_cleanse(data, bytes);
}
