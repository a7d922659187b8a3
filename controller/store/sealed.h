/* SPDX-License-Identifier: Apache-2.0
 *
 * A store whose objects are sealed: what another store gets and gives back is encrypted and authenticated
 * (docs/snapshot-format.md, "Sealed"). Names and sizes can be seen there, nothing else; what was changed, cut, put
 * under another name or into another process's store is found out.
 *
 * Objects that were stored in clear are read as they are, unless the keys say refuse_clear.
 *
 * Errors beside those of stores: -EPROTO the seal is broken; -ENOKEY sealed with a key that is not among ours, or in
 * clear where that is refused. why says which object, and which key.
 */
#ifndef PRAAS_CONTROLLER_STORE_SEALED_H
#define PRAAS_CONTROLLER_STORE_SEALED_H

#include "controller/store/seal_keys.h"
#include "controller/store/slot_log.h"
#include "controller/store/store.h"

#define PRAAS_SEAL_HEAD_BYTES 96u
#define PRAAS_SEAL_SEGMENT_BYTES 65536u
#define PRAAS_SEAL_TAG_BYTES 16u

/* inner: given, also when it fails. keys: borrowed. id: whose store it is; NULL: whose what is read says; then nothing
 * can be written (-EROFS). Without keys (NULL, or none) ret_store is inner itself. 0; -ENOMEM. */
int praas_store_seal(struct praas_store *inner, const struct praas_seal_keys *keys,
		     const struct praas_slot_id *id, struct praas_store **ret_store);

/* Bytes of an object of so many when it is sealed. */
uint64_t praas_sealed_bytes(uint64_t bytes);

#endif
