/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets that nobody can read, forge or pass off as others: AES-256-GCM with the packet's number as
 * nonce (docs/arq.md). One direction of one connection has one seal; its key is new for each
 * connection and changes every 2^24 packets, long before the algorithm's limits. In the clear
 * mode the content is authenticated but not hidden. One thread.
 */
#ifndef PRAAS_TRANSPORT_SEAL_H
#define PRAAS_TRANSPORT_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_SEAL_KEY_BYTES 32u
#define PRAAS_SEAL_TAG_BYTES 16u
#define PRAAS_SEAL_EPOCH_SHIFT 24u /* packets of one key, a power of two */

struct praas_seal;

/* epoch_shift: PRAAS_SEAL_EPOCH_SHIFT, but in tests. 0; -ENOMEM; -EIO the crypto library failed. */
int praas_seal_new(const uint8_t key[PRAAS_SEAL_KEY_BYTES], bool clear,
		   unsigned epoch_shift, struct praas_seal **ret_seal);
/* NULL is allowed; keys are wiped. */
void praas_seal_free(struct praas_seal *seal);

/* head: in front of data, not hidden but authenticated. Numbers of one seal only grow. */
struct praas_seal_packet {
	uint64_t number;
	const uint8_t *head;
	uint32_t head_bytes;
	uint8_t *data; /* changed in place */
	uint32_t bytes;
	uint8_t *tag; /* PRAAS_SEAL_TAG_BYTES */
	/* Of a part that is not sealed or opened in place, as in struct praas_aead_message; NULL:
	 * there is none. */
	uint32_t here;
	const uint8_t *from;
	uint8_t *to;
};

/* Hides data and writes the tag. 0; -EIO. */
int praas_seal_close(struct praas_seal *seal, const struct praas_seal_packet *packet);
/* The reverse. 0; -EBADMSG: not what was sealed (data may have changed), nothing else has. -EIO. */
int praas_seal_open(struct praas_seal *seal, const struct praas_seal_packet *packet);

#endif
