/* SPDX-License-Identifier: Apache-2.0
 *
 * The few things every file needs: checks, alignment, likely branches, time, chance.
 * Header only; includes nothing of ours.
 */
#ifndef PRAAS_INTERNAL_BASE_H
#define PRAAS_INTERNAL_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define PRAAS_CACHE_LINE 64u

#define praas_likely(x) __builtin_expect(!!(x), 1)
#define praas_unlikely(x) __builtin_expect(!!(x), 0)
#define PRAAS_COLD __attribute__((cold, noinline))
/* For a large local on the hot path whose every byte that is read was written before: without it
 * the hardening flag -ftrivial-auto-var-init=zero clears it in each call. */
#define PRAAS_UNINITIALIZED __attribute__((uninitialized))
#define PRAAS_PUBLIC __attribute__((visibility("default")))

/* Our own mistakes, never a peer's: always on, ends the program. */
#define praas_check(cond)                                                              \
	do {                                                                           \
		if (praas_unlikely(!(cond)))                                           \
			praas_check_failed(#cond, __FILE__, __LINE__);                 \
	} while (0)

/* The same on the hot path: off in release. */
#ifdef PRAAS_CHECK_HOT
#define praas_check_hot(cond) praas_check(cond)
#else
#define praas_check_hot(cond) ((void)0)
#endif

__attribute__((unused)) static PRAAS_COLD _Noreturn void praas_check_failed(
	const char *cond, const char *file, int line)
{
	(void)fprintf(stderr, "%s:%d: check failed: %s\n", file, line, cond);
	abort();
}

/* value rounded up to a multiple of align, a power of two. */
static inline uint64_t praas_align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

static inline uint64_t praas_min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t praas_max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* bytes of the kernel's randomness; ends the program when there is none. */
static inline void praas_random(void *ret_data, size_t bytes)
{
	uint8_t *at = ret_data;

	while (bytes > 0) {
		ssize_t n = getrandom(at, bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		praas_check(n > 0);
		at += n;
		bytes -= (size_t)n;
	}
}

/* CLOCK_MONOTONIC in nanoseconds; about 25 ns (vDSO). */
static inline uint64_t praas_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Tells the core that this is a polling loop (about 10 ns). */
static inline void praas_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

#endif
