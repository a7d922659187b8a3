/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "internal/bytes.h"
#include "transport/aead.h"
#include "transport/mac.h"

/*
 * Two contexts, of the current key and of the next or the one before. In the second half of a key's
 * life the other context gets the next key, when no packet of the one before can be fresh any
 * more. Both are made once: a steady state allocates nothing.
 */

static const char next_label[] = "praas seal next 1";

struct praas_seal {
	struct praas_aead *aead[2];
	uint8_t key[PRAAS_SEAL_KEY_BYTES]; /* of the latest epoch prepared */
	uint64_t prepared;                 /* its number */
	unsigned shift;
	bool clear;
};

static int set_key(struct praas_seal *seal, uint64_t epoch)
{
	int rc = praas_aead_set_key(seal->aead[epoch & 1], seal->key);

	if (rc == 0)
		seal->prepared = epoch;
	return rc;
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
	int rc = 0;

	if (seal == NULL)
		return -ENOMEM;
	memcpy(seal->key, key, PRAAS_SEAL_KEY_BYTES);
	seal->clear = clear;
	seal->shift = epoch_shift;
	for (unsigned i = 0; i < 2 && rc == 0; i++) {
		rc = praas_aead_new(&seal->aead[i]);
		if (rc == 0)
			rc = praas_aead_set_key(seal->aead[i], key);
	}
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
	praas_aead_free(seal->aead[0]);
	praas_aead_free(seal->aead[1]);
	praas_mac_wipe(seal, sizeof(*seal));
	free(seal);
}

/* The context for a packet; NULL: its key is gone, or far ahead. */
static struct praas_aead *context(const struct praas_seal *seal, uint64_t number)
{
	uint64_t epoch = number >> seal->shift;

	if (epoch > seal->prepared || epoch + 1 < seal->prepared)
		return NULL;
	return seal->aead[epoch & 1];
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

static struct praas_aead_message message_of(const struct praas_seal *seal,
					    const struct praas_seal_packet *p,
					    uint8_t nonce[PRAAS_AEAD_NONCE_BYTES])
{
	memset(nonce, 0, 4);
	praas_put_u64(nonce + 4, p->number);
	return (struct praas_aead_message){ .nonce = nonce,
					    .head = p->head,
					    .data = p->data,
					    .tag = p->tag,
					    .head_bytes = p->head_bytes,
					    .bytes = p->bytes,
					    .here = p->here,
					    .from = p->from,
					    .to = p->to,
					    .clear = seal->clear };
}

int praas_seal_close(struct praas_seal *seal, const struct praas_seal_packet *p)
{
	struct praas_aead *aead = context(seal, p->number);
	uint8_t nonce[PRAAS_AEAD_NONCE_BYTES];
	struct praas_aead_message m = message_of(seal, p, nonce);

	if (aead == NULL || praas_aead_close(aead, &m) != 0)
		return -EIO;
	return look_ahead(seal, p->number);
}

int praas_seal_open(struct praas_seal *seal, const struct praas_seal_packet *p)
{
	struct praas_aead *aead = context(seal, p->number);
	uint8_t nonce[PRAAS_AEAD_NONCE_BYTES];
	struct praas_aead_message m = message_of(seal, p, nonce);
	int rc = aead ? praas_aead_open(aead, &m) : -EBADMSG;

	return rc != 0 ? rc : look_ahead(seal, p->number);
}
