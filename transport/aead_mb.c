/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/aead.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#include "transport/mac.h"

/*
 * The library's manager, made for the processor, has a function for each algorithm; those that are
 * needed are kept, and the manager is not.
 */

struct praas_aead {
	struct gcm_key_data key; /* aligned as the library declares it */
};

static struct {
	pthread_once_t once;
	bool ready;
	aes_gcm_pre_t expand;
	aes_gcm_enc_dec_t encrypt, decrypt;
	aes_gmac_init_t mac_begin;
	aes_gmac_update_t mac_add;
	aes_gmac_finalize_t mac_end;
} gcm = { .once = PTHREAD_ONCE_INIT };

static void choose(void)
{
	IMB_MGR *manager = alloc_mb_mgr(0);

	if (manager == NULL)
		return;
	init_mb_mgr_auto(manager, NULL);
	gcm.ready = imb_get_errno(manager) == 0;
	gcm.expand = manager->gcm256_pre;
	gcm.encrypt = manager->gcm256_enc;
	gcm.decrypt = manager->gcm256_dec;
	gcm.mac_begin = manager->gmac256_init;
	gcm.mac_add = manager->gmac256_update;
	gcm.mac_end = manager->gmac256_finalize;
	free_mb_mgr(manager);
}

int praas_aead_new(struct praas_aead **ret_aead)
{
	struct praas_aead *aead;

	(void)pthread_once(&gcm.once, choose); /* cannot fail */
	if (!gcm.ready)
		return -EIO;
	aead = aligned_alloc(_Alignof(struct praas_aead), sizeof(*aead));
	if (aead == NULL)
		return -ENOMEM;
	*ret_aead = aead;
	return 0;
}

void praas_aead_free(struct praas_aead *aead)
{
	if (aead == NULL)
		return;
	praas_mac_wipe(aead, sizeof(*aead));
	free(aead);
}

int praas_aead_set_key(struct praas_aead *aead, const uint8_t key[PRAAS_AEAD_KEY_BYTES])
{
	gcm.expand(key, &aead->key);
	return 0;
}

/* Without hidden data GCM is GMAC of what is authenticated. */
static void mac(const struct praas_aead *aead, const struct praas_aead_message *m,
		uint8_t tag[PRAAS_AEAD_TAG_BYTES])
{
	struct gcm_context_data ctx;

	gcm.mac_begin(&aead->key, &ctx, m->nonce, PRAAS_AEAD_NONCE_BYTES);
	gcm.mac_add(&aead->key, &ctx, m->head, m->head_bytes);
	gcm.mac_add(&aead->key, &ctx, m->data, m->bytes);
	gcm.mac_end(&aead->key, &ctx, tag, PRAAS_AEAD_TAG_BYTES);
}

int praas_aead_close(struct praas_aead *aead, const struct praas_aead_message *message)
{
	const struct praas_aead_message *m = message;
	struct gcm_context_data ctx;

	if (m->from != NULL)
		memcpy(m->data + m->here, m->from, m->bytes - m->here);
	if (m->clear)
		mac(aead, m, m->tag);
	else
		gcm.encrypt(&aead->key, &ctx, m->data, m->data, m->bytes, m->nonce,
			    m->head, m->head_bytes, m->tag, PRAAS_AEAD_TAG_BYTES);
	return 0;
}

/* In constant time. */
static bool is_equal(const uint8_t a[PRAAS_AEAD_TAG_BYTES],
		     const uint8_t b[PRAAS_AEAD_TAG_BYTES])
{
	uint64_t x[2], y[2];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

int praas_aead_open(struct praas_aead *aead, const struct praas_aead_message *message)
{
	const struct praas_aead_message *m = message;
	uint8_t tag[PRAAS_AEAD_TAG_BYTES];
	struct gcm_context_data ctx;

	if (m->clear)
		mac(aead, m, tag);
	else
		gcm.decrypt(&aead->key, &ctx, m->data, m->data, m->bytes, m->nonce,
			    m->head, m->head_bytes, tag, PRAAS_AEAD_TAG_BYTES);
	if (m->to != NULL)
		memcpy(m->to, m->data + m->here, m->bytes - m->here);
	return is_equal(tag, m->tag) ? 0 : -EBADMSG;
}
