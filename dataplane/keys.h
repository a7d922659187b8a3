/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for keys: cells of 16, 32, 64, 128 and 256 bytes in address space that is reserved once
 * and touched as it is used. A cell's number is its place; what lies elsewhere for the same
 * key (the published copy) can use the same numbers.
 */
#ifndef PRAAS_DATAPLANE_KEYS_H
#define PRAAS_DATAPLANE_KEYS_H

#include <stdint.h>

#include "praas/types.h"

#define PRAAS_KEY_CLASSES 5u
#define PRAAS_KEY_CELL_MIN 16u
#define PRAAS_KEY_INDEX_BITS 28u

struct praas_keys {
	uint8_t *memory[PRAAS_KEY_CLASSES];
	uint32_t used[PRAAS_KEY_CLASSES]; /* cells ever touched */
	uint32_t free
		[PRAAS_KEY_CLASSES]; /* first free cell + 1; its first bytes name the next */
	uint32_t max;                /* cells of each class */
};

/* 0; -ENOMEM; -EINVAL more than 2^28. */
int praas_keys_init(struct praas_keys *k, uint32_t max);
void praas_keys_release(struct praas_keys *k);

/* A copy of key (1 … 255 bytes), zero-padded to its cell. 0; -ENOBUFS. */
int praas_keys_put(struct praas_keys *k, const char *key, uint32_t key_bytes,
		   uint32_t *ret_cell);
void praas_keys_remove(struct praas_keys *k, uint32_t cell);

static inline uint32_t praas_key_class(uint32_t cell)
{
	return cell >> PRAAS_KEY_INDEX_BITS;
}
static inline uint32_t praas_key_index(uint32_t cell)
{
	return cell & ((1u << PRAAS_KEY_INDEX_BITS) - 1);
}
static inline uint32_t praas_key_cell_bytes(uint32_t class)
{
	return PRAAS_KEY_CELL_MIN << class;
}
static inline const char *praas_keys_at(const struct praas_keys *k, uint32_t cell)
{
	uint32_t class = praas_key_class(cell);

	return (const char *)k->memory[class] +
	       (uint64_t)praas_key_index(cell) * praas_key_cell_bytes(class);
}

/* 1 … 255 bytes, none of them zero. */
static inline int praas_key_check(const char *key, uint32_t key_bytes)
{
	if (key_bytes == 0 || key_bytes > PRAAS_KEY_MAX)
		return -1;
	for (uint32_t i = 0; i < key_bytes; i++)
		if (key[i] == '\0')
			return -1;
	return 0;
}

#endif
