/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/log_ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The log ring: lines come out as they went in, what does not fit is counted, and
 * whatever a writer scribbles is refused or harmless. */

#define BYTES 8192u
#define WORDS 512u /* the largest power of two of words beside the head */

struct fixture {
	struct praas_segment writer, reader; /* the same memory */
	struct praas_ring_tail tail;
	struct praas_log_tx tx;
	struct praas_log_rx rx;
	struct praas_log_line line;
};

static int setup(void **state)
{
	struct fixture *f = aligned_alloc(64, sizeof(*f));
	int fd;

	if (!f)
		return -1;
	memset(f, 0, sizeof(*f));
	if (praas_segment_create("log", BYTES, 1, 0, &f->writer) != 0 ||
	    praas_segment_read_only_fd(&f->writer, &fd) != 0 ||
	    praas_segment_attach(fd, BYTES, 1, false, &f->reader) != 0 ||
	    praas_log_tx_init(&f->tx, &f->writer, BYTES, &f->tail) != 0 ||
	    praas_log_rx_init(&f->rx, &f->reader, BYTES, &f->tail) != 0)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_segment_release(&f->writer);
	praas_segment_release(&f->reader);
	free(f);
	return 0;
}

/* Text, level and length arrive, over many laps and at every alignment. */
static void test_log_lines_arrive_over_many_laps(void **state)
{
	struct fixture *f = *state;
	char text[64];

	assert_int_equal(f->tx.words, WORDS);
	assert_int_equal(praas_log_read(&f->rx, &f->line), -EAGAIN);
	for (unsigned i = 0; i < 3000; i++) {
		unsigned bytes = i % sizeof(text);
		enum praas_log_level level = (enum praas_log_level)(i % 4);

		memset(text, 'a' + (int)(i % 26), sizeof(text));
		assert_int_equal(praas_log_write(&f->tx, level, NULL, text, bytes), 0);
		assert_int_equal(praas_log_read(&f->rx, &f->line), 0);
		assert_int_equal(f->line.bytes, bytes);
		assert_int_equal(f->line.level, level);
		assert_memory_equal(f->line.text, text, bytes);
		assert_int_equal(f->line.text[bytes], '\0');
		assert_true(f->line.time_ns > 1600000000ull * 1000000000u);
	}
	assert_int_equal(praas_log_read(&f->rx, &f->line), -EAGAIN);
	assert_int_equal(f->rx.dropped, 0);
}

/* What a line is about arrives with it; without it is zeros. */
static void test_log_tells_function_and_trace(void **state)
{
	const struct praas_log_about about = { .function = 65535,
					       .trace = { 1, 2, [15] = 255 } };
	struct fixture *f = *state;

	assert_int_equal(praas_log_write(&f->tx, PRAAS_LOG_INFO, &about, "a", 1), 0);
	assert_int_equal(praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, "b", 1), 0);
	assert_int_equal(praas_log_read(&f->rx, &f->line), 0);
	assert_int_equal(f->line.about.function, 65535);
	assert_memory_equal(f->line.about.trace, about.trace, sizeof(about.trace));
	assert_int_equal(praas_log_read(&f->rx, &f->line), 0);
	assert_int_equal(f->line.about.function, 0);
	assert_int_equal(f->line.about.trace[0] | f->line.about.trace[15], 0);
	assert_string_equal(f->line.text, "b");
}

/* A full ring drops the new line, says how many, and takes lines again when there is
 * room. */
static void test_log_full_drops_and_counts(void **state)
{
	struct fixture *f = *state;
	unsigned fitted = 0;

	while (praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, "0123456789abcdef", 16) ==
	       0)
		fitted++;
	assert_int_equal(fitted, WORDS / 6); /* of 4 words and 16 bytes */
	assert_int_equal(praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, "", 0), -EAGAIN);
	assert_int_equal(f->tx.dropped, 2);
	assert_int_equal(praas_log_read(&f->rx, &f->line), 0);
	assert_int_equal(f->rx.dropped, 2);
	assert_int_equal(
		praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, "0123456789abcdef", 16),
		0);
	for (unsigned i = 0; i < fitted; i++)
		assert_int_equal(praas_log_read(&f->rx, &f->line), 0);
	assert_int_equal(praas_log_read(&f->rx, &f->line), -EAGAIN);
}

/* Too long a line is cut at the limit. */
static void test_log_long_line_is_cut(void **state)
{
	struct fixture *f = *state;
	char text[PRAAS_LOG_TEXT_MAX + 100];

	memset(text, 'x', sizeof(text));
	assert_int_equal(
		praas_log_write(&f->tx, PRAAS_LOG_ERROR, NULL, text, sizeof(text)), 0);
	assert_int_equal(praas_log_read(&f->rx, &f->line), 0);
	assert_int_equal(f->line.bytes, PRAAS_LOG_TEXT_MAX);
	assert_int_equal(strlen(f->line.text), PRAAS_LOG_TEXT_MAX);
}

/* A worker cannot forge lines or drive a terminal with control characters. */
static void test_log_text_is_made_printable(void **state)
{
	struct fixture *f = *state;
	static const char evil[] = "a\n2026 ERROR forged\x1b[2J\0b\x7f\tc\xc3\xa9";

	assert_int_equal(
		praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, evil, sizeof(evil) - 1),
		0);
	assert_int_equal(praas_log_read(&f->rx, &f->line), 0);
	assert_string_equal(f->line.text, "a 2026 ERROR forged?[2J?b? c\xc3\xa9");
}

/* A count that cannot be, and heads that cannot be: refused, and nothing is given back.
 */
static void test_log_hostile_counts_and_heads_are_refused(void **state)
{
	struct fixture *f = *state;
	struct praas_log_ring_shared *shared = f->tx.shared;
	const uint64_t counts[] = { UINT64_MAX, WORDS + 1, 1, 1ull << 63 };
	const uint64_t heads[] = { PRAAS_LOG_TEXT_MAX + 1,
				   0xffff,
				   4ull << 16,
				   0xffull << 16,
				   1ull << 24,
				   1ull << 63,
				   9,
				   UINT64_MAX };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		atomic_store(&shared->written, counts[i]);
		assert_int_equal(praas_log_read(&f->rx, &f->line), -EPROTO);
		assert_int_equal(praas_log_read(&f->rx, &f->line), -EPROTO);
	}
	atomic_store(&shared->written, 5); /* head, time, trace, 8 bytes of text */
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		atomic_store(&shared->word[0], heads[i]);
		assert_int_equal(praas_log_read(&f->rx, &f->line), -EPROTO);
	}
	atomic_store(&shared->written, WORDS); /* as much as there can be */
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		atomic_store(&shared->word[0], heads[i]);
		if (heads[i] != 9)
			assert_int_equal(praas_log_read(&f->rx, &f->line), -EPROTO);
	}
	atomic_store(&shared->written, 5);
	assert_int_equal(atomic_load(&f->tail.read), 0);
	atomic_store(&shared->word[0], 8);
	assert_int_equal(praas_log_read(&f->rx, &f->line), 0);
	atomic_store(&shared->written, 4); /* back */
	assert_int_equal(praas_log_read(&f->rx, &f->line), -EPROTO);
}

/* The number of dropped lines never goes back, whatever the writer says. */
static void test_log_hostile_dropped_only_grows(void **state)
{
	struct fixture *f = *state;

	atomic_store(&f->tx.shared->dropped, 77);
	assert_int_equal(praas_log_read(&f->rx, &f->line), -EAGAIN);
	assert_int_equal(f->rx.dropped, 77);
	atomic_store(&f->tx.shared->dropped, 5);
	assert_int_equal(praas_log_read(&f->rx, &f->line), -EAGAIN);
	assert_int_equal(f->rx.dropped, 77);
}

/* The writer does not believe the reader's position either: it drops instead of
 * overwriting. */
static void test_log_impossible_tail_drops(void **state)
{
	struct fixture *f = *state;

	while (praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, "x", 1) == 0)
		continue;
	atomic_store(&f->tail.read, f->tx.head + 1);
	assert_int_equal(praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, "x", 1),
			 -EPROTO);
	atomic_store(&f->tail.read, 9);
	assert_int_equal(praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, "x", 1), 0);
	while (praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, "x", 1) == 0)
		continue;
	atomic_store(&f->tail.read, 6);
	assert_int_equal(praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, "x", 1),
			 -EPROTO);
}

/* Any words at all, at any count: every line is within its limits, every read ends. */
static void test_log_random_scribbling_is_harmless(void **state)
{
	struct fixture *f = *state;
	struct praas_log_ring_shared *shared = f->tx.shared;
	uint64_t random = 88172645463325252ull;
	unsigned lines = 0;

	for (unsigned i = 0; i < 100000; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		/* Mostly heads that might pass, else nothing is reached behind the
		 * checks. */
		atomic_store(&shared->word[random % WORDS],
			     random >> 60 ? (random >> 20 & 0x301ff) : random);
		if (i % 7 == 0)
			atomic_store(&shared->written,
				     f->rx.next + random % (WORDS + 2));
		if (praas_log_read(&f->rx, &f->line) == 0) {
			assert_true(f->line.bytes <= PRAAS_LOG_TEXT_MAX);
			assert_true(f->line.level <= PRAAS_LOG_LEVEL_MAX);
			assert_int_equal(f->line.text[f->line.bytes], '\0');
			lines++;
		}
	}
	assert_true(lines > 1000);
}

#define FLOOD_LINES 20000u

static void *flood(void *arg)
{
	struct fixture *f = arg;
	char text[80];

	for (unsigned i = 0; i < FLOOD_LINES; i++) {
		unsigned bytes = i % (sizeof(text) - 8) + 8;

		memset(text, 'a' + (int)(i % 26), sizeof(text));
		(void)snprintf(text, 8, "%07u", i);
		text[7] = ' ';
		if (praas_log_write(&f->tx, PRAAS_LOG_INFO, NULL, text, bytes) != 0)
			(void)sched_yield();
	}
	return NULL;
}

/* A writer that never waits and a reader at the same time: lines come whole and in order, and
 * those that do not are counted. */
static void test_log_two_threads(void **state)
{
	struct fixture *f = *state;
	unsigned lines = 0, last = 0;
	pthread_t writer;

	assert_int_equal(pthread_create(&writer, NULL, flood, f), 0);
	while (lines + f->rx.dropped < FLOOD_LINES) {
		int rc = praas_log_read(&f->rx, &f->line);
		unsigned i;

		if (rc != 0) {
			assert_int_equal(rc, -EAGAIN);
			(void)sched_yield();
			continue;
		}
		i = (unsigned)strtoul(f->line.text, NULL, 10);
		assert_true(lines == 0 || i > last);
		assert_int_equal(f->line.bytes, i % 72 + 8);
		for (unsigned at = 8; at < f->line.bytes; at++)
			assert_int_equal(f->line.text[at], 'a' + (int)(i % 26));
		last = i;
		lines++;
	}
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_true(lines > 0);
}

/* A ring needs its minimum and its segment. */
static void test_log_init_refuses_sizes(void **state)
{
	struct fixture *f = *state;
	struct praas_log_tx tx;
	struct praas_log_rx rx;

	assert_int_equal(praas_log_tx_init(&tx, &f->writer, 4095, &f->tail), -EINVAL);
	assert_int_equal(praas_log_tx_init(&tx, &f->writer, BYTES + 1, &f->tail),
			 -EINVAL);
	assert_int_equal(praas_log_rx_init(&rx, &f->reader, 0, &f->tail), -EINVAL);
	assert_int_equal(praas_log_rx_init(&rx, &f->reader, UINT64_MAX, &f->tail),
			 -EINVAL);
	assert_int_equal(praas_log_tx_init(&tx, &f->writer, 4096, &f->tail), 0);
	assert_int_equal(tx.words, 256);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_log_lines_arrive_over_many_laps),
		TEST(test_log_tells_function_and_trace),
		TEST(test_log_full_drops_and_counts),
		TEST(test_log_long_line_is_cut),
		TEST(test_log_text_is_made_printable),
		TEST(test_log_hostile_counts_and_heads_are_refused),
		TEST(test_log_hostile_dropped_only_grows),
		TEST(test_log_impossible_tail_drops),
		TEST(test_log_random_scribbling_is_harmless),
		TEST(test_log_two_threads),
		TEST(test_log_init_refuses_sizes),
	};

	return cmocka_run_group_tests_name("log_ring", tests, NULL, NULL);
}
