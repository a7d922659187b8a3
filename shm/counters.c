/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/counters.h"

#include <errno.h>
#include <string.h>

#include "internal/base.h"

/* Names and reading; to count is inline. Cold. */

#define GROUP (PRAAS_CACHE_LINE / sizeof(uint64_t))
#define NAME_WORDS (PRAAS_COUNTER_NAME_BYTES / sizeof(uint64_t))

struct praas_counters_shared *praas_counters_at(const struct praas_segment *segment,
						uint64_t offset)
{
	if (offset % PRAAS_CACHE_LINE != 0 ||
	    !praas_segment_holds(segment, offset, PRAAS_COUNTERS_BYTES))
		return NULL;
	return (void *)(segment->base + offset);
}

int praas_counter_add(struct praas_counters_shared *shared, const char *name,
		      bool group, struct praas_counter *ret_counter)
{
	uint64_t index = atomic_load_explicit(&shared->count, memory_order_relaxed);
	size_t bytes = strlen(name);

	if (bytes == 0 || bytes >= PRAAS_COUNTER_NAME_BYTES)
		return -EINVAL;
	if (group)
		index = praas_align_up(index, GROUP);
	if (index >= PRAAS_COUNTERS_MAX)
		return -ENOBUFS;
	for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
		uint64_t word = 0;

		memcpy(&word, name + at, praas_min_u64(sizeof(word), bytes - at));
		atomic_store_explicit(&shared->name[index][at / sizeof(word)], word,
				      memory_order_relaxed);
	}
	/* counters.R0, pairs with counters.A0: the name is visible before it is
	 * counted. */
	atomic_store_explicit(&shared->count, index + 1, memory_order_release);
	*ret_counter = (struct praas_counter){ .value = &shared->value[index] };
	return 0;
}

uint32_t praas_counters_count(const struct praas_counters_shared *shared)
{
	/* counters.A0, pairs with counters.R0: see the names that are counted. */
	uint64_t count = atomic_load_explicit(&shared->count, memory_order_acquire);

	return (uint32_t)praas_min_u64(count, PRAAS_COUNTERS_MAX);
}

int praas_counters_read(const struct praas_counters_shared *shared, uint32_t index,
			char ret_name[PRAAS_COUNTER_NAME_BYTES], uint64_t *ret_value)
{
	char name[PRAAS_COUNTER_NAME_BYTES];

	praas_check(index < PRAAS_COUNTERS_MAX);
	for (size_t i = 0; i < NAME_WORDS; i++) {
		uint64_t word = atomic_load_explicit(&shared->name[index][i],
						     memory_order_relaxed);

		memcpy(name + i * sizeof(word), &word, sizeof(word));
	}
	name[sizeof(name) - 1] = '\0';
	if (name[0] == '\0')
		return -ENOENT;
	for (char *c = name; *c; c++) {
		if ((unsigned char)*c < 0x21 || (unsigned char)*c > 0x7e)
			*c = '?';
	}
	memcpy(ret_name, name, sizeof(name));
	*ret_value = atomic_load_explicit(&shared->value[index], memory_order_relaxed);
	return 0;
}
