/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "internal/base.h"

#ifdef __SANITIZE_ADDRESS__
/* From its heap AddressSanitizer sees what is written behind the end, and what is not freed. */
#define MAPPED_MIN SIZE_MAX
#else
/* What is smaller is not worth two system calls. */
#define MAPPED_MIN ((size_t)128 << 10)
#endif

/* More is a mistake, at which AddressSanitizer's calloc() ends the program. */
#define BYTES_MAX ((size_t)1 << 40)

/* In front of the table. */
struct head {
	void *heap;   /* NULL: mapped */
	size_t bytes; /* that were mapped, with the head */
	uint8_t fill[48];
};

static struct head *from_heap(size_t bytes)
{
	void *heap = calloc(1, bytes + sizeof(struct head) - 1);
	struct head *h;

	if (!heap)
		return NULL;
	h = (struct head *)praas_align_up((uintptr_t)heap, sizeof(*h));
	h->heap = heap;
	return h;
}

static struct head *mapped(size_t bytes)
{
	struct head *h = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (h == MAP_FAILED)
		return NULL;
	h->bytes = bytes;
	return h;
}

void *praas_pages_new(size_t bytes)
{
	struct head *h;

	if (bytes > BYTES_MAX)
		return NULL;
	bytes += sizeof(*h);
	h = bytes < MAPPED_MIN ? from_heap(bytes) : mapped(bytes);
	return h ? h + 1 : NULL;
}

void praas_pages_free(void *pages)
{
	struct head *h;

	if (!pages)
		return;
	h = (struct head *)pages - 1;
	if (h->heap)
		free(h->heap);
	else
		(void)munmap(h, h->bytes); /* ours: cannot fail */
}
