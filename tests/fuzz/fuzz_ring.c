/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* Memory that changes between reads: every atomic load of the code under test first lets the
 * input change the peer's segment. So the code is compiled in here, with its loads replaced. */
static void peer_moves(void);

static inline uint64_t load64(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_seq_cst);
}

static inline uint32_t load32(const _Atomic uint32_t *p)
{
	return atomic_load_explicit(p, memory_order_seq_cst);
}

#undef atomic_load_explicit
#define atomic_load_explicit(p, order)                                                 \
	(peer_moves(), (void)(order), _Generic((p), const _Atomic uint64_t *: load64, \
					       _Atomic uint64_t *: load64, \
					       const _Atomic uint32_t *: load32, \
					       _Atomic uint32_t *: load32)(p))

#include "shm/channel.c"
#include "shm/counters.c"
#include "shm/log_ring.c"
#include "shm/ring.c"

/* One party of a channel, whole and honest, against segments that anybody writes. What must
 * hold: its own books stay possible, an error changes nothing, it writes nothing of the peer's,
 * and all of it ends. */

#define SLOTS 8u
#define WORDS(array) (sizeof(array) / sizeof(uint64_t))

static const struct praas_channel_geometry geometry = { 1, SLOTS, 0 };

static struct {
	alignas(64) uint8_t ours[8192];
	alignas(64) uint64_t theirs[8192 / 8];
	alignas(64) uint64_t log[4096 / 8];
	alignas(64) uint64_t our_log[4096 / 8];
	alignas(64) uint64_t counters[PRAAS_COUNTERS_BYTES / 8];
	struct praas_ring_tail log_tail;
} memory;
/* What the input has made of the peer's memory: whatever differs, we wrote. */
static uint64_t theirs_shadow[WORDS(memory.theirs)], log_shadow[WORDS(memory.log)];

static struct praas_channel channel;
static struct praas_log_rx log_rx;
static struct praas_log_tx log_tx;

static const uint8_t *input;
static size_t input_left;

static uint8_t next_byte(void)
{
	if (input_left == 0)
		return 0;
	input_left--;
	return *input++;
}

static void must(bool cond)
{
	if (!cond)
		__builtin_trap();
}

/* A number near what the code compares with; byte says how. */
static uint64_t likely_value(uint64_t old, uint8_t byte)
{
	const uint64_t near[] = { channel.rx.next + 1,
				  channel.rx.next,
				  channel.tx.head,
				  channel.tx.seen,
				  channel.returns_rx.next,
				  channel.returns_tx.next,
				  log_rx.next + byte % 64,
				  log_tx.head,
				  old + 1,
				  old ^ 1ull << (byte % 64),
				  ~0ull,
				  (uint64_t)byte << 60,
				  byte };

	return near[byte % (sizeof(near) / sizeof(near[0]))];
}

/* The words that matter, by number: positions, heads, the slots to come. */
static uint64_t *likely_word(uint8_t byte)
{
	uint8_t *block = (uint8_t *)memory.theirs + HEADER_BYTES;
	uint64_t *slots = (uint64_t *)(void *)(block + slots_at(&geometry));

	switch (byte % 8) {
	case 0:
		return (uint64_t *)(void *)(block + (byte & 8 ? LOG_TAIL_AT : TAIL_AT));
	case 1:
		return (uint64_t *)(void *)(block + RETURNS_TAIL_AT);
	case 2:
		return (uint64_t *)(void *)(block + RETURNS_HEAD_AT);
	case 3:
		return (uint64_t *)(void *)(block + RETURNS_AT) + byte / 8 % SLOTS;
	case 4:
	case 5: /* the slot to be read next: its number or a word */
		return slots + channel.rx.next % SLOTS * 8 +
		       (byte % 8 == 4 ? 0 : byte / 8 % 8);
	case 6:
		return memory.log + byte / 8 % 2 * (8 + log_rx.next % 256);
	default:
		return memory.log + byte / 8;
	}
}

static void peer_moves(void)
{
	uint8_t what = next_byte();
	uint64_t *word;

	if (what < 160 || input_left == 0)
		return;
	word = likely_word(next_byte());
	*word = likely_value(*word, next_byte());
	if (word >= memory.log && word < memory.log + WORDS(memory.log))
		log_shadow[word - memory.log] = *word;
	else
		theirs_shadow[word - memory.theirs] = *word;
}

static void start(void)
{
	struct praas_segment ours = { .base = memory.ours,
				      .bytes = sizeof(memory.ours) };
	struct praas_segment theirs = { .base = (uint8_t *)memory.theirs,
					.bytes = sizeof(memory.theirs) };
	struct praas_segment our_log = { .base = (uint8_t *)memory.our_log,
					 .bytes = sizeof(memory.our_log),
					 .writable = true };
	struct praas_segment log = { .base = (uint8_t *)memory.log,
				     .bytes = sizeof(memory.log) };

	memset(&memory, 0, sizeof(memory));
	memset(theirs_shadow, 0, sizeof(theirs_shadow));
	memset(log_shadow, 0, sizeof(log_shadow));
	ours.writable = true;
	praas_channel_format(&ours, &geometry, 1);
	must(praas_channel_init(&channel, &ours, &geometry, 0, &theirs, &geometry, 0,
				-1) == 0);
	must(praas_log_tx_init(&log_tx, &our_log, sizeof(memory.our_log),
			       praas_channel_log_tail(&theirs, &geometry, 0)) == 0);
	must(praas_log_rx_init(&log_rx, &log, sizeof(memory.log), &memory.log_tail) ==
	     0);
}

static void do_pop(unsigned n)
{
	struct praas_ring_rx before = channel.rx;
	struct praas_desc d[5];
	unsigned done = 99;
	int rc = praas_ring_pop_batch(&channel.rx, d, n, &done);

	must(done <= n && (rc == 0) == (done > 0 || n == 0));
	must(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
	must(channel.rx.next == before.next + done);
	must(channel.rx.next - channel.rx.published < channel.rx.step);
	must(channel.rx.published >= before.published);
	must(channel.rx.mask == before.mask && channel.rx.slot == before.slot);
}

static void do_push(unsigned n)
{
	struct praas_ring_tx before = channel.tx;
	struct praas_desc d[5] = { 0 };
	unsigned done = 99;
	int rc = n == 1 ? praas_channel_push(&channel, d)
			: praas_ring_push_batch(&channel.tx, d, n, &done);

	done = n == 1 ? rc == 0 : done;
	must(done <= n && (rc == 0) == (done > 0 || n == 0));
	must(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
	must(channel.tx.head == before.head + done);
	must(channel.tx.seen >= before.seen && channel.tx.seen <= channel.tx.head);
	must(channel.tx.head - channel.tx.seen <= SLOTS);
}

static void do_returns(uint8_t op)
{
	struct praas_returns_tx tx = channel.returns_tx;
	struct praas_returns_rx rx = channel.returns_rx;
	uint64_t offset = 7;
	int rc;

	if (op & 1) {
		rc = praas_channel_return(&channel, op);
		must(channel.returns_tx.next == tx.next + (rc == 0));
		must(channel.returns_tx.seen >= tx.seen);
		must(channel.returns_tx.next - channel.returns_tx.seen <= SLOTS);
		return;
	}
	rc = praas_channel_take_return(&channel, &offset);
	must(channel.returns_rx.next == rx.next + (rc == 0));
	must(rc == 0 || (offset == 7 && (rc == -EAGAIN || rc == -EPROTO)));
}

static void do_log(void)
{
	static struct praas_log_line line;
	struct praas_log_rx before = log_rx;
	int rc = praas_log_read(&log_rx, &line);

	must(log_rx.dropped >= before.dropped && log_rx.words == before.words);
	if (rc != 0) {
		must(log_rx.next == before.next);
		return;
	}
	must(log_rx.next > before.next &&
	     log_rx.next - before.next <= 4 + PRAAS_LOG_TEXT_MAX / 8);
	must(line.bytes <= PRAAS_LOG_TEXT_MAX && line.text[line.bytes] == '\0');
	must(line.level <= PRAAS_LOG_LEVEL_MAX);
	for (uint32_t i = 0; i < line.bytes; i++)
		must((unsigned char)line.text[i] >= 0x20 && line.text[i] != 0x7f);
}

static void do_log_write(uint8_t bytes)
{
	static const char text[256];
	struct praas_log_tx before = log_tx;
	int rc = praas_log_write(&log_tx, PRAAS_LOG_WARNING, NULL, text, bytes);

	must(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
	must(log_tx.dropped == before.dropped + (rc != 0));
	must(log_tx.head == before.head + (rc == 0 ? record_words(bytes) : 0));
	must(log_tx.seen >= before.seen && log_tx.head - log_tx.seen <= log_tx.words);
}

/* A counters page of a hostile writer: any bytes; and ours, written as it should be. */
static void do_counters(void)
{
	struct praas_segment s = { .base = (uint8_t *)memory.counters,
				   .bytes = sizeof(memory.counters) };
	struct praas_counters_shared *shared = praas_counters_at(&s, 0);
	char name[PRAAS_COUNTER_NAME_BYTES];
	struct praas_counter counter;
	uint64_t value;
	uint32_t count;

	if (praas_counter_add(shared, next_byte() & 1 ? "group" : "", next_byte() & 1,
			      &counter) == 0)
		praas_counter_count(counter, 1);
	memory.counters[next_byte() % 8 ? 0 : next_byte() * 4u] =
		next_byte() * 0x01010101010101ull;
	count = praas_counters_count(shared);
	must(count <= PRAAS_COUNTERS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		if (praas_counters_read(shared, i, name, &value) == 0)
			must(strlen(name) > 0 && strlen(name) < sizeof(name));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	input = data;
	input_left = bytes;
	start();
	while (input_left > 0) {
		uint8_t op = next_byte();

		switch (op % 8) {
		case 0:
		case 1:
			do_pop(op / 8 % 6u);
			break;
		case 2:
		case 3:
			do_push(op / 8 % 6u);
			break;
		case 4:
			do_returns(op / 8);
			break;
		case 5:
			if (op & 8)
				do_log();
			else
				do_log_write(next_byte());
			break;
		case 6:
			(void)praas_ring_ready(&channel.rx);
			praas_ring_rx_publish(&channel.rx);
			break;
		default:
			do_counters();
			break;
		}
	}
	must(memcmp(memory.theirs, theirs_shadow, sizeof(theirs_shadow)) == 0);
	must(memcmp(memory.log, log_shadow, sizeof(log_shadow)) == 0);
	return 0;
}
