/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/pages.h"

#include <stdint.h>
#include <sys/mman.h>

#include "internal/base.h"

/* In front: how many bytes were mapped. */
#define HEAD_BYTES 64u

void *praas_pages_new(size_t bytes)
{
	uint8_t *base;

	if (bytes > SIZE_MAX - HEAD_BYTES)
		return NULL;
	bytes += HEAD_BYTES;
	base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (base == MAP_FAILED)
		return NULL;
	*(size_t *)(void *)base = bytes;
	return base + HEAD_BYTES;
}

void praas_pages_free(void *pages)
{
	uint8_t *base;

	if (!pages)
		return;
	base = (uint8_t *)pages - HEAD_BYTES;
	(void)munmap(base, *(size_t *)(void *)base); /* ours: cannot fail */
}
