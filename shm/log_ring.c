/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/log_ring.h"

#include <string.h>

/* A record, in words: bits 0-15 bytes of text, 16-23 level, 32-47 function, the rest 0;
 * time; trace, two words; text, the last word filled up with zeros. The writer is one thread of a worker, the reader one
 * of the controller. */

#define RECORD_HEAD_WORDS 4u
#define HEAD_UNUSED 0xffff0000ff000000ull /* bits of the first word */
#define WORD_BYTES sizeof(uint64_t)

static uint64_t record_words(uint64_t bytes)
{
	return RECORD_HEAD_WORDS + (bytes + WORD_BYTES - 1) / WORD_BYTES;
}

/* Words of the ring in bytes of segment; 0 when that cannot be. */
static uint64_t ring_words(const struct praas_segment *segment, uint64_t bytes)
{
	uint64_t words;

	if (bytes < PRAAS_LOG_RING_BYTES_MIN || bytes > segment->bytes)
		return 0;
	words = (bytes - sizeof(struct praas_log_ring_shared)) / WORD_BYTES;
	return 1ull << (63 - __builtin_clzll(words));
}

int praas_log_tx_init(struct praas_log_tx *tx, const struct praas_segment *segment,
		      uint64_t bytes, const struct praas_ring_tail *tail)
{
	uint64_t words = ring_words(segment, bytes);

	praas_check(segment->writable);
	if (words == 0)
		return -EINVAL;
	*tx = (struct praas_log_tx){ .shared = (void *)segment->base,
				     .tail = tail,
				     .words = words };
	return 0;
}

int praas_log_rx_init(struct praas_log_rx *rx, const struct praas_segment *segment,
		      uint64_t bytes, struct praas_ring_tail *tail)
{
	uint64_t words = ring_words(segment, bytes);

	if (words == 0)
		return -EINVAL;
	*rx = (struct praas_log_rx){ .shared = (const void *)segment->base,
				     .tail = tail,
				     .words = words };
	return 0;
}

/* Room for that many words. 0; -EAGAIN; -EPROTO. */
static int room(struct praas_log_tx *tx, uint64_t words)
{
	uint64_t read;

	if (tx->head + words - tx->seen <= tx->words)
		return 0;
	/* log.A1, pairs with log.R1: the reader's copies of the words it gives back are
	 * complete before we overwrite them. */
	read = atomic_load_explicit(&tx->tail->read, memory_order_acquire);
	if (read < tx->seen || read > tx->head)
		return -EPROTO;
	tx->seen = read;
	return tx->head + words - read <= tx->words ? 0 : -EAGAIN;
}

static void put_word(struct praas_log_tx *tx, uint64_t word)
{
	atomic_store_explicit(&tx->shared->word[tx->head & (tx->words - 1)], word,
			      memory_order_relaxed);
	tx->head++;
}

int praas_log_write(struct praas_log_tx *tx, enum praas_log_level level,
		    const struct praas_log_about *about, const char *text, size_t bytes)
{
	static const struct praas_log_about nothing;
	uint64_t trace[2];
	struct timespec ts;
	int rc;

	praas_check(level <= PRAAS_LOG_LEVEL_MAX);
	if (bytes > PRAAS_LOG_TEXT_MAX)
		bytes = PRAAS_LOG_TEXT_MAX;
	rc = room(tx, record_words(bytes));
	if (rc != 0) {
		tx->dropped++;
		atomic_store_explicit(&tx->shared->dropped, tx->dropped,
				      memory_order_relaxed);
		return rc;
	}
	(void)clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail for this clock */
	if (!about)
		about = &nothing;
	memcpy(trace, about->trace, sizeof(trace));
	put_word(tx, (uint64_t)bytes | (uint64_t)level << 16 |
			     (uint64_t)about->function << 32);
	put_word(tx, (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec);
	put_word(tx, trace[0]);
	put_word(tx, trace[1]);
	for (size_t at = 0; at < bytes; at += WORD_BYTES) {
		uint64_t word = 0;

		memcpy(&word, text + at, praas_min_u64(WORD_BYTES, bytes - at));
		put_word(tx, word);
	}
	/* log.R0, pairs with log.A0: the record is visible before it is counted. */
	atomic_store_explicit(&tx->shared->written, tx->head, memory_order_release);
	return 0;
}

static uint64_t word_at(const struct praas_log_rx *rx, uint64_t at)
{
	return atomic_load_explicit(&rx->shared->word[at & (rx->words - 1)],
				    memory_order_relaxed);
}

/* Text from a worker ends up on terminals and in files of lines: no control characters.
 */
static void make_printable(char *text, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == 0x7f)
			text[i] = c == '\n' || c == '\t' ? ' ' : '?';
	}
}

int praas_log_read(struct praas_log_rx *rx, struct praas_log_line *ret_line)
{
	uint64_t dropped =
		atomic_load_explicit(&rx->shared->dropped, memory_order_relaxed);
	/* log.A0, pairs with log.R0: see the records that are counted. */
	uint64_t written =
		atomic_load_explicit(&rx->shared->written, memory_order_acquire);
	uint64_t have = written - rx->next;
	uint64_t head, bytes, trace[2];

	rx->dropped = praas_max_u64(rx->dropped, dropped);
	if (written == rx->next)
		return -EAGAIN;
	if (have > rx->words) /* or it went back */
		return -EPROTO;
	head = word_at(rx, rx->next);
	bytes = head & 0xffffu;
	if ((head & HEAD_UNUSED) != 0 || (head >> 16 & 0xffu) > PRAAS_LOG_LEVEL_MAX ||
	    bytes > PRAAS_LOG_TEXT_MAX || record_words(bytes) > have)
		return -EPROTO;

	ret_line->level = (enum praas_log_level)(head >> 16 & 0xffu);
	ret_line->bytes = (uint32_t)bytes;
	ret_line->time_ns = word_at(rx, rx->next + 1);
	trace[0] = word_at(rx, rx->next + 2);
	trace[1] = word_at(rx, rx->next + 3);
	ret_line->about.function = (uint16_t)(head >> 32);
	memcpy(ret_line->about.trace, trace, sizeof(trace));
	for (uint64_t at = 0; at < bytes; at += WORD_BYTES) {
		uint64_t word =
			word_at(rx, rx->next + RECORD_HEAD_WORDS + at / WORD_BYTES);

		memcpy(ret_line->text + at, &word,
		       praas_min_u64(WORD_BYTES, bytes - at));
	}
	make_printable(ret_line->text, ret_line->bytes);
	ret_line->text[bytes] = '\0';
	rx->next += record_words(bytes);
	/* log.R1, pairs with log.A1: our copy is complete; the words are free. */
	atomic_store_explicit(&rx->tail->read, rx->next, memory_order_release);
	return 0;
}
