/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/keys.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int praas_keys_init(struct praas_keys *k, uint32_t max)
{
	*k = (struct praas_keys){ .max = max };
	if (max >> PRAAS_KEY_INDEX_BITS)
		return -EINVAL;
	for (uint32_t c = 0; c < PRAAS_KEY_CLASSES; c++) {
		void *m = mmap(NULL, (uint64_t)max * praas_key_cell_bytes(c),
			       PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (m == MAP_FAILED) {
			praas_keys_release(k);
			return -ENOMEM;
		}
		k->memory[c] = m;
	}
	return 0;
}

void praas_keys_release(struct praas_keys *k)
{
	for (uint32_t c = 0; c < PRAAS_KEY_CLASSES; c++)
		if (k->memory[c])
			(void)munmap(k->memory[c],
				     (uint64_t)k->max * praas_key_cell_bytes(c));
	*k = (struct praas_keys){ 0 };
}

static uint32_t class_of(uint32_t key_bytes)
{
	uint32_t c = 0;

	while (praas_key_cell_bytes(c) < key_bytes)
		c++;
	return c;
}

static uint8_t *memory_of(const struct praas_keys *k, uint32_t class, uint32_t index)
{
	return k->memory[class] + (uint64_t)index * praas_key_cell_bytes(class);
}

int praas_keys_put(struct praas_keys *k, const char *key, uint32_t key_bytes,
		   uint32_t *ret_cell)
{
	uint32_t c = class_of(key_bytes);
	uint32_t index;
	uint8_t *m;

	if (k->free[c]) {
		index = k->free[c] - 1;
		m = memory_of(k, c, index);
		memcpy(&k->free[c], m, sizeof(k->free[c]));
	} else if (k->used[c] < k->max) {
		index = k->used[c]++;
		m = memory_of(k, c, index);
	} else {
		return -ENOBUFS;
	}
	memcpy(m, key, key_bytes);
	memset(m + key_bytes, 0, praas_key_cell_bytes(c) - key_bytes);
	*ret_cell = c << PRAAS_KEY_INDEX_BITS | index;
	return 0;
}

void praas_keys_remove(struct praas_keys *k, uint32_t cell)
{
	uint32_t c = praas_key_class(cell);
	uint32_t index = praas_key_index(cell);

	memcpy(memory_of(k, c, index), &k->free[c], sizeof(k->free[c]));
	k->free[c] = index + 1;
}
