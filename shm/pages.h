/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for tables that are large and of which most programs use little: pages of their own, zero, and not
 * there before they are touched. calloc() promises that only for what it maps; once a program has freed a table,
 * glibc takes the next one of that size from the heap, and writes all of it.
 */
#ifndef PRAAS_SHM_PAGES_H
#define PRAAS_SHM_PAGES_H

#include <stddef.h>

/* Zeros, aligned to 64 bytes; NULL: no memory. A system call; a small table (below 128 KiB) comes from the heap. */
void *praas_pages_new(size_t bytes);
/* NULL: nothing happens. */
void praas_pages_free(void *pages);

#endif
