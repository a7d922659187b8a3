/* SPDX-License-Identifier: Apache-2.0
 *
 * usage: praas-arq-sim [--seeds N] [--from N]
 *
 * The reliable protocol (transport/arq.h) between two ends under virtual time and a network that loses,
 * doubles, delays, reorders and repeats packets long after, with ends that stand still, read slowly and
 * run out of memory. Each frame must come out once, in order, as it was; then the faults end, and all
 * must have come within a bounded time; then one end finishes, resets, or is gone, and the other
 * must learn it. A seed that shows a violation is run again with fewer kinds of faults: what is
 * printed is the least set that still shows it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "transport/arq.h"
#include "transport/memory.h"

#define MS UINT64_C(1000000)
#define FAULTY_NS (400 * MS)
#define LIVE_NS (60000 * MS)
#define IDLE_NS (25000 * MS)
#define FLIGHT_MAX 8192u
#define BODY_MAX 4096u
#define EVENTS_MAX 400000u

enum fault {
	FAULT_LOSS = 1,
	FAULT_TWICE = 2,
	FAULT_REORDER = 4,
	FAULT_REPLAY = 8,
	FAULT_PAUSE = 16,
	FAULT_MEMORY = 32,
	FAULT_SLOW = 64,
	FAULT_ALL = 127
};

enum ending { END_FINISH, END_RESET, END_GONE, ENDINGS };

struct packet {
	uint64_t at_ns;
	uint64_t order; /* of leaving */
	uint64_t number;
	unsigned to; /* end */
	uint32_t bytes;
	uint8_t body[BODY_MAX];
};

struct end {
	struct praas_arq *arq;
	struct praas_memory memory;
	struct praas_heap *heap;
	uint64_t frames, pushed, done, taken; /* to send; and of these; received */
	uint64_t asleep_ns, due_ns;
	uint64_t size_max;
	int rc; /* of tick() */
};

static struct packet *network; /* unordered */
static unsigned flying;
static struct end ends[2];
static uint64_t now_ns, seed_state, events, departures;
static unsigned faults, loss_percent;
static uint64_t delay_ns;
static bool calm, cut;
static char why[256];

static uint64_t draw(uint64_t below)
{
	seed_state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t x = seed_state;

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) % below;
}

static bool fault(enum fault kind, unsigned permille)
{
	return draw(1000) < permille && (faults & kind) != 0 && !calm;
}

__attribute__((format(printf, 1, 2))) static void violation(const char *format, ...)
{
	va_list args;

	if (why[0] != '\0')
		return;
	va_start(args, format);
	(void)vsnprintf(why, sizeof(why), format, args);
	va_end(args);
}

static int scarce(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	struct end *e = user;
	const struct praas_memory *memory = praas_heap_memory(e->heap);

	if (fault(FAULT_MEMORY, 50))
		return -ENOBUFS;
	return memory->alloc(memory->user, bytes, ret_buf);
}

/* Size and content of frame `id` of an end, so that the other can check it. */
static uint64_t size_of(unsigned end, uint64_t id)
{
	uint64_t x = (id * 2 + end) * UINT64_C(0xd6e8feb86659fd93);

	x ^= x >> 32;
	return x % 8 == 0 ? x / 8 % ends[end].size_max : x / 8 % 300;
}

static uint8_t byte_of(uint64_t id, uint64_t i)
{
	return (uint8_t)(id * 31 + i * 7 + (i >> 8));
}

static void fill(struct praas_buf *buf, uint64_t id, uint64_t bytes)
{
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_SEND,
					  .sequence = id,
					  .id = id,
					  .key_bytes =
						  (uint8_t)(id % 3 == 0 ? id % 250 : 0),
					  .bytes = bytes };
	memset(buf->key, 'a' + (int)(id % 20), buf->head.key_bytes);
	buf->key[buf->head.key_bytes] = '\0';
	for (uint64_t i = 0; i < bytes; i++)
		buf->data[i] = byte_of(id, i);
}

static void push(unsigned n)
{
	struct end *e = &ends[n];
	const struct praas_memory *memory = praas_heap_memory(e->heap);

	while (e->pushed < e->frames && praas_arq_queued(e->arq) < 200000) {
		uint64_t bytes = size_of(n, e->pushed + 1);
		struct praas_buf *buf;

		if (memory->alloc(memory->user, bytes, &buf) != 0)
			abort();
		fill(buf, ++e->pushed, bytes);
		praas_arq_push(e->arq, buf, now_ns);
		if (draw(4) == 0)
			break;
	}
}

static void check_frame(unsigned n, const struct praas_buf *buf)
{
	struct end *e = &ends[n];
	uint64_t id = ++e->taken, bytes = size_of(1 - n, id);
	struct praas_buf *want;
	const struct praas_memory *memory = praas_heap_memory(e->heap);

	if (buf->head.id != id || buf->head.bytes != bytes) {
		violation("end %u got frame %" PRIu64 " of %" PRIu64
			  " bytes, not %" PRIu64 " of %" PRIu64,
			  n, buf->head.id, buf->head.bytes, id, bytes);
		return;
	}
	if (memory->alloc(memory->user, bytes, &want) != 0)
		abort();
	fill(want, id, bytes);
	if (strcmp(want->key, buf->key) != 0 ||
	    memcmp(want->data, buf->data, bytes) != 0)
		violation("end %u: frame %" PRIu64 " has changed on its way", n, id);
	praas_buf_release(want);
}

static void fly(unsigned to, uint64_t number, const uint8_t *body, uint32_t bytes,
		uint64_t after_ns)
{
	struct packet *p;

	if (cut || flying == FLIGHT_MAX)
		return;
	p = &network[flying++];
	p->at_ns = now_ns + after_ns;
	p->order = ++departures;
	p->number = number;
	p->to = to;
	p->bytes = bytes;
	memcpy(p->body, body, bytes);
}

static void transmit(unsigned from, uint64_t number, const uint8_t *body,
		     uint32_t bytes)
{
	uint64_t after_ns = delay_ns;

	if (fault(FAULT_LOSS, loss_percent * 10))
		return;
	if (fault(FAULT_REORDER, 1000)) /* a little, always */
		after_ns += draw(delay_ns / 20 + 1);
	if (fault(FAULT_REORDER, 100))
		after_ns += draw(4 * delay_ns + 1);
	if (fault(FAULT_TWICE, 50))
		fly(1 - from, number, body, bytes, after_ns + draw(delay_ns + 1));
	if (fault(FAULT_REPLAY, 20))
		fly(1 - from, number, body, bytes, draw(300 * MS));
	fly(1 - from, number, body, bytes, after_ns);
}

/* What a port does in one poll, after what came was taken in. */
static void run(unsigned n)
{
	uint8_t body[BODY_MAX];
	struct end *e = &ends[n];
	struct praas_buf *buf;
	uint64_t number, bytes_max = PRAAS_ARQ_WINDOW * UINT64_C(2048);
	uint32_t bytes;

	if (e->rc == 0)
		e->rc = praas_arq_tick(e->arq, now_ns);
	while ((buf = praas_arq_done(e->arq)) != NULL) {
		if (buf->head.id != ++e->done)
			violation("end %u: frame %" PRIu64 " done out of order", n,
				  buf->head.id);
		praas_buf_release(buf);
	}
	while ((buf = praas_arq_take(e->arq)) != NULL) {
		check_frame(n, buf);
		praas_buf_release(buf);
		if (fault(FAULT_SLOW, 700))
			break;
	}
	if (!praas_arq_finished(e->arq) && !cut)
		push(n);
	while ((bytes = praas_arq_emit(e->arq, now_ns, body, 2048 + 96, &number)) > 0) {
		if (++events > EVENTS_MAX)
			return;
		transmit(n, number, body, bytes);
	}
	if (praas_arq_window_bytes(e->arq) > bytes_max)
		violation("end %u: a window of %" PRIu64 " bytes", n,
			  praas_arq_window_bytes(e->arq));
	e->due_ns = praas_max_u64(praas_arq_due_ns(e->arq), now_ns + 1000);
	if (e->rc != 0)
		e->due_ns = UINT64_MAX; /* a port would end it now */
	if (fault(FAULT_PAUSE, 5))
		e->asleep_ns = now_ns + draw(30 * MS);
	if (e->rc == 0 && fault(FAULT_SLOW, 1000)) /* looks again soon */
		e->due_ns = praas_min_u64(e->due_ns, now_ns + MS);
}

/* The earliest packet that end n may take; NULL. */
static struct packet *earliest(void)
{
	struct packet *first = NULL;
	uint64_t first_ns = UINT64_MAX;

	for (unsigned i = 0; i < flying; i++) {
		uint64_t at =
			praas_max_u64(network[i].at_ns, ends[network[i].to].asleep_ns);

		if (at < first_ns ||
		    (at == first_ns && first && network[i].order < first->order)) {
			first_ns = at;
			first = &network[i];
		}
	}
	return first;
}

static void arrive(struct packet *p)
{
	struct end *e = &ends[p->to];
	struct praas_arq_packet in = { p->number, p->body, p->bytes };
	unsigned n = p->to;
	int rc = praas_arq_input(e->arq, &in, now_ns);

	if (rc != 0 && rc != -ENOBUFS)
		violation("end %u refuses an honest packet: %d", n, rc);
	*p = network[--flying];
}

/* One step of time. False: nothing will ever happen again. */
static bool step(uint64_t until_ns)
{
	struct packet *p = earliest();
	uint64_t at_ns =
		p ? praas_max_u64(p->at_ns, ends[p->to].asleep_ns) : UINT64_MAX;
	unsigned n = 0;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t due_ns = praas_max_u64(ends[i].due_ns, ends[i].asleep_ns);

		if (due_ns < at_ns) {
			at_ns = due_ns;
			p = NULL;
			n = i;
		}
	}
	if (at_ns > until_ns || ++events > EVENTS_MAX)
		return false;
	now_ns = praas_max_u64(now_ns, at_ns);
	if (p) {
		n = p->to;
		arrive(p);
	}
	run(n);
	return why[0] == '\0';
}

static bool complete(void)
{
	for (unsigned n = 0; n < 2; n++) {
		if (ends[n].done < ends[n].frames || ends[1 - n].taken < ends[n].frames)
			return false;
	}
	return true;
}

static void wake(void)
{
	for (unsigned n = 0; n < 2; n++) {
		ends[n].due_ns = now_ns;
		ends[n].asleep_ns = 0;
	}
}

static void check_progress(void)
{
	uint64_t until_ns = now_ns + FAULTY_NS;

	while (!complete() && step(until_ns))
		;
	calm = true;
	wake();
	until_ns = now_ns + LIVE_NS;
	while (!complete() && step(until_ns))
		;
	if (!complete())
		violation("not all arrived %" PRIu64 " ms after the faults: %" PRIu64
			  " of %" PRIu64 " and %" PRIu64 " of %" PRIu64
			  ", results %d and %d",
			  LIVE_NS / MS, ends[1].taken, ends[0].frames, ends[0].taken,
			  ends[1].frames, ends[0].rc, ends[1].rc);
	for (unsigned n = 0; n < 2; n++) {
		const struct praas_arq_stats *s = praas_arq_stats(ends[n].arq);

		if (ends[n].rc != 0)
			violation("end %u gave up: %d", n, ends[n].rc);
		if (faults == 0 && (s->segments_again > 0 || s->congestions > 0))
			violation("end %u: %" PRIu64
				  " segments sent again without a fault",
				  n, s->segments_again);
		if (s->segments_again > 30 * s->segments_out / 31 + 1000)
			violation("end %u sends again and again", n);
	}
}

/* Nothing to say for long, and both know that the other lives. */
static void check_idle(void)
{
	uint64_t until_ns = now_ns + IDLE_NS;

	while (step(until_ns))
		;
	now_ns = until_ns;
	if (ends[0].rc != 0 || ends[1].rc != 0)
		violation("an idle peer was given up: %d and %d", ends[0].rc,
			  ends[1].rc);
}

static void check_ending(enum ending ending)
{
	uint64_t begin_ns = now_ns, until_ns = now_ns + LIVE_NS;
	int want = ending == END_FINISH ? 0 : -ECONNRESET;

	if (ending == END_FINISH)
		praas_arq_finish(ends[0].arq, now_ns);
	else if (ending == END_RESET)
		praas_arq_reset(ends[0].arq);
	cut = ending == END_GONE;
	wake();
	while (step(until_ns))
		;
	if (ending == END_GONE) {
		if (ends[0].rc != -ETIMEDOUT || ends[1].rc != -ETIMEDOUT)
			violation("the peer was gone: %d and %d after %" PRIu64 " ms",
				  ends[0].rc, ends[1].rc, (now_ns - begin_ns) / MS);
		return;
	}
	if (praas_arq_ended(ends[1].arq) != want)
		violation("the peer learns %d, not %d", praas_arq_ended(ends[1].arq),
			  want);
	if (ending == END_FINISH && !praas_arq_finished(ends[0].arq))
		violation("finished, but does not know it");
	if (ending == END_RESET && !praas_arq_reset_done(ends[0].arq))
		violation("reset, but does not know it");
}

static void set_up(uint64_t seed)
{
	static const uint32_t segments[] = { 448, 512, 1344, 2048 };
	uint32_t segment_bytes;

	seed_state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	segment_bytes = segments[draw(4)];
	delay_ns = UINT64_C(1000) << draw(13);
	loss_percent = (unsigned)(draw(4) == 0 ? draw(25) : draw(4));
	now_ns = 1 + draw(1u << 30);
	events = 0;
	flying = 0;
	calm = cut = false;
	why[0] = '\0';
	for (unsigned n = 0; n < 2; n++) {
		struct end *e = &ends[n];
		struct praas_arq_config config = { .memory = &e->memory,
						   .segment_bytes = segment_bytes,
						   .stall_ns = 70000 * MS };

		memset(e, 0, sizeof(*e));
		if (praas_heap_new(NULL, &e->heap) != 0)
			abort();
		e->memory = (struct praas_memory){ .alloc = scarce, .user = e };
		if (praas_arq_new(&config, now_ns, &e->arq) != 0)
			abort();
		praas_arq_limit(e->arq, 4u << 20);
		e->size_max = draw(40) == 0 ? 1400u * segment_bytes : 8000;
		e->frames = draw(3) == 0 ? 0 : 1 + draw(e->size_max > 8000 ? 8 : 200);
		e->due_ns = now_ns;
	}
}

static void tear_down(void)
{
	struct praas_heap_stats stats;

	for (unsigned n = 0; n < 2; n++) {
		struct praas_buf *buf;

		while ((buf = praas_arq_drop(ends[n].arq)) != NULL)
			praas_buf_release(buf);
		praas_arq_free(ends[n].arq);
		praas_heap_stats(ends[n].heap, &stats);
		if (stats.buffers != 0)
			violation("end %u: %" PRIu64 " buffers leaked", n,
				  stats.buffers);
		else
			praas_heap_free(ends[n].heap);
	}
}

/* True when all was as it must be. */
static bool try(uint64_t seed, unsigned allowed)
{
	set_up(seed);
	faults = (unsigned)draw(FAULT_ALL + 1);
	if (draw(8) == 0)
		faults = 0;
	faults &= allowed;
	check_progress();
	if (why[0] == '\0')
		check_idle();
	if (why[0] == '\0')
		check_ending((enum ending)draw(ENDINGS));
	if (events > EVENTS_MAX)
		violation("more than %u packets", EVENTS_MAX);
	tear_down();
	return why[0] == '\0';
}

static void report(uint64_t seed)
{
	unsigned kinds, all = faults, least = faults;

	(void)printf("seed %" PRIu64 ": %s\n", seed, why);
	for (unsigned kind = 1; kind < FAULT_ALL; kind <<= 1) {
		if (!try(seed, least & ~kind))
			least &= ~kind;
	}
	(void)try(seed, least);
	kinds = (unsigned)__builtin_popcount(least);
	(void)printf(
		"least plan (%u of %u): %s (faults 0x%x, loss %u %%, delay %" PRIu64
		" us)\n",
		kinds, (unsigned)__builtin_popcount(all), why, least, loss_percent,
		delay_ns / 1000);
}

int main(int argc, char **argv)
{
	uint64_t seeds = 2000, from = 0, packets = 0, again = 0;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seeds") == 0)
			seeds = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--from") == 0)
			from = strtoull(argv[i + 1], NULL, 10);
	}
	network = calloc(FLIGHT_MAX, sizeof(*network));
	if (network == NULL)
		return 2;
	for (uint64_t seed = from; seed < from + seeds; seed++) {
		if (!try(seed, FAULT_ALL)) {
			report(seed);
			free(network);
			return 1;
		}
		packets += events;
		again += loss_percent;
	}
	(void)printf("%" PRIu64 " seeds, %" PRIu64 " events, mean loss %.1f %%\n",
		     seeds, packets, (double)again / (double)(seeds ? seeds : 1));
	free(network);
	return 0;
}
