/* SPDX-License-Identifier: Apache-2.0
 *
 * The one hash of keys: XXH3, seeded. 0 and 1 are never its value: tables use them as marks.
 */
#ifndef PRAAS_DATAPLANE_KEY_HASH_H
#define PRAAS_DATAPLANE_KEY_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdint.h>

static inline uint64_t praas_key_hash(const void *key, uint32_t bytes, uint64_t seed)
{
	uint64_t h = XXH3_64bits_withSeed(key, bytes, seed);

	return h < 2 ? h + 2 : h;
}

#endif
