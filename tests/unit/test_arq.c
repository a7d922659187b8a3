/* SPDX-License-Identifier: Apache-2.0
 * The reliable protocol, one rule at a time, under a clock of the test's own. What chance does to
 * it is the simulator's (tests/sim/arq.c). */
#include "arq_pair.h"

/* Everything that `from` has to say arrives. Packets. */
static unsigned pass(struct praas_arq *from, struct praas_arq *to)
{
	struct packet p;
	unsigned count = 0;

	while (emit(from, &p)) {
		assert_int_equal(give(to, &p), 0);
		count++;
	}
	return count;
}

/* b acknowledges, when it wants to. */
static void acknowledge(void)
{
	now_ns += PRAAS_ARQ_FOR_ACK_NS;
	assert_int_equal(praas_arq_tick(b, now_ns), 0);
	(void)pass(b, a);
}

static unsigned take_all(void)
{
	struct praas_buf *buf;
	unsigned count = 0;

	while ((buf = praas_arq_take(b)) != NULL) {
		for (uint64_t i = 0; i < buf->head.bytes; i++)
			assert_int_equal(buf->data[i], (uint8_t)buf->head.id);
		praas_buf_release(buf);
		count++;
	}
	return count;
}

static unsigned done_all(void)
{
	struct praas_buf *buf;
	unsigned count = 0;

	while ((buf = praas_arq_done(a)) != NULL) {
		praas_buf_release(buf);
		count++;
	}
	return count;
}

/* A round trip, so that there is a sample: 50 us. */
static void warm_up(void)
{
	for (unsigned i = 0; i < 20; i++) {
		push(0);
		push(0);
		(void)pass(a, b);
		now_ns += 50 * US;
		(void)praas_arq_hurry(b);
		(void)pass(b, a);
		(void)take_all();
		(void)done_all();
	}
	assert_in_range(praas_arq_rtt_ns(a), 40 * US, 60 * US);
}

/* Small frames share a packet; it is acknowledged at the latest after 200 us; then they are done. */
static void test_arq_small_frames_share_a_packet(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		push(10);
	assert_int_equal(pass(a, b), 1);
	assert_int_equal(take_all(), 4);
	assert_int_equal(done_all(), 0);
	assert_int_equal(praas_arq_due_ns(b), now_ns + PRAAS_ARQ_FOR_ACK_NS);
	assert_int_equal(pass(b, a), 0);
	acknowledge();
	assert_int_equal(done_all(), 4);
	assert_int_equal(praas_arq_queued(a), 0);
}

/* A frame of many segments arrives backwards, into its place. */
static void test_arq_segments_in_any_order(void **state)
{
	struct packet p[10];
	unsigned count = 0;

	(void)state;
	push(3000);
	while (count < 10 && emit(a, &p[count]))
		count++;
	assert_int_equal(count, 7);
	while (count-- > 0) {
		assert_null(praas_arq_take(b));
		assert_int_equal(give(b, &p[count]), 0);
	}
	assert_int_equal(take_all(), 1);
}

/* Three packets later a lost one is sent again at once, and the window is halved, once. */
static void test_arq_loss_is_repaired_by_later_packets(void **state)
{
	struct packet p[8];
	uint64_t window;
	unsigned count = 0;

	(void)state;
	warm_up();
	push(2500);
	while (count < 8 && emit(a, &p[count]))
		count++;
	assert_int_equal(count, 6);
	window = praas_arq_window_bytes(a);
	for (unsigned i = 2; i < 6; i++) /* the first two are lost */
		assert_int_equal(give(b, &p[i]), 0);
	now_ns += 50 * US;
	(void)pass(b, a);
	assert_int_equal(praas_arq_stats(a)->losses, 2);
	assert_int_equal(praas_arq_stats(a)->congestions, 1);
	/* Of what it had become by the four that arrived. */
	assert_in_range(praas_arq_window_bytes(a), window / 2, 3 * window / 4);
	assert_int_equal(praas_arq_stats(a)->probes, 0);
	assert_true(pass(a, b) >= 2);
	assert_int_equal(take_all(), 1);
	acknowledge();
	assert_int_equal(done_all(), 1);
	assert_int_equal(praas_arq_stats(a)->segments_again, 2);
}

/* What was only late gives the window back, and more patience. */
static void test_arq_late_is_not_lost(void **state)
{
	struct packet p[8];
	uint64_t window;
	unsigned count = 0;

	(void)state;
	warm_up();
	push(2500);
	while (count < 8 && emit(a, &p[count]))
		count++;
	window = praas_arq_window_bytes(a);
	for (unsigned i = 1; i < count; i++)
		assert_int_equal(give(b, &p[i]), 0);
	now_ns += 50 * US;
	(void)pass(b, a);
	assert_int_equal(praas_arq_stats(a)->losses, 1);
	assert_true(praas_arq_window_bytes(a) < window);
	assert_int_equal(give(b, &p[0]), 0);
	(void)pass(b, a);
	assert_int_equal(praas_arq_stats(a)->spurious, 1);
	assert_true(praas_arq_window_bytes(a) >= window);
	assert_true(a->reorder > 3);
	(void)pass(a, b);
	assert_int_equal(take_all(), 1);
}

/* The last packet lost: a probe after a time-out that doubles; the window stays. */
static void test_arq_tail_loss_is_probed(void **state)
{
	struct packet p;
	uint64_t window, due_ns, first_ns;

	(void)state;
	warm_up();
	push(100);
	window = praas_arq_window_bytes(a);
	assert_true(emit(a, &p)); /* lost */
	first_ns = praas_arq_due_ns(a) - now_ns;
	assert_in_range(first_ns, 300 * US, 2 * MS);
	now_ns += first_ns - 1;
	assert_int_equal(praas_arq_tick(a, now_ns), 0);
	assert_false(emit(a, &p));
	now_ns++;
	assert_int_equal(praas_arq_tick(a, now_ns), 0);
	assert_true(emit(a, &p)); /* lost too */
	due_ns = praas_arq_due_ns(a);
	assert_in_range(due_ns - now_ns, 2 * first_ns - 100, 2 * first_ns + 100);
	now_ns = due_ns;
	assert_int_equal(praas_arq_tick(a, now_ns), 0);
	assert_int_equal(pass(a, b), 1);
	assert_int_equal(take_all(), 1);
	now_ns += 50 * US;
	acknowledge();
	assert_int_equal(done_all(), 1);
	assert_int_equal(praas_arq_unanswered(a), 0);
	assert_int_equal(praas_arq_stats(a)->probes, 2);
	assert_int_equal(praas_arq_window_bytes(a), window);
}

/* No acknowledgement, ever: never more on its way than the window, and it is given up in time. */
static void test_arq_silent_peer_is_given_up(void **state)
{
	uint64_t begin_ns, bytes = 0;
	unsigned packets = 0;
	struct packet p;
	int rc = 0;

	(void)state;
	push(1u << 20);
	while (emit(a, &p))
		bytes += p.bytes;
	assert_in_range(bytes, 1, 11 * ROOM);
	begin_ns = now_ns;
	while (rc == 0 && now_ns < begin_ns + 60 * SECOND) {
		now_ns = praas_arq_due_ns(a);
		rc = praas_arq_tick(a, now_ns);
		while (emit(a, &p))
			packets++;
	}
	assert_int_equal(rc, -ETIMEDOUT);
	assert_in_range(now_ns - begin_ns, 10 * SECOND, 11 * SECOND);
	assert_in_range(packets, 10, 100);
	assert_int_equal(praas_arq_window_bytes(a), 2 * SEGMENT);
}

/* Nothing to say: after 5 s the peer is asked, and its answer is a sign of life; after 20 s without
 * any it is given up. */
static void test_arq_keepalive(void **state)
{
	uint64_t begin_ns;
	struct packet p;
	int rc = 0;

	(void)state;
	warm_up();
	assert_int_equal(praas_arq_due_ns(a), a->heard_ns + 5 * SECOND);
	now_ns = praas_arq_due_ns(a);
	assert_int_equal(praas_arq_tick(a, now_ns), 0);
	assert_int_equal(pass(a, b), 1);
	assert_int_equal(pass(b, a), 1);
	assert_int_equal(a->heard_ns, now_ns);
	begin_ns = now_ns;
	while (rc == 0 && now_ns < begin_ns + 60 * SECOND) {
		now_ns = praas_max_u64(praas_arq_due_ns(a), now_ns + 1);
		rc = praas_arq_tick(a, now_ns);
		while (emit(a, &p))
			;
	}
	assert_int_equal(rc, -ETIMEDOUT);
	assert_in_range(now_ns - begin_ns, 20 * SECOND - 1, 21 * SECOND);
}

/* The peer stops in the middle of a frame, but lives. */
static void test_arq_partial_frame_stalls(void **state)
{
	struct packet p;

	(void)state;
	push(5000);
	assert_true(emit(a, &p));
	assert_int_equal(give(b, &p), 0);
	for (unsigned i = 0; i < 9; i++) {
		now_ns += SECOND;
		praas_arq_ping(a);
		b->heard_ns = now_ns;
		assert_int_equal(praas_arq_tick(b, now_ns), 0);
	}
	now_ns += SECOND;
	b->heard_ns = now_ns;
	assert_int_equal(praas_arq_tick(b, now_ns), -ETIMEDOUT);
}

/* A reader that takes nothing: 1024 segments and no more; when it goes on, so does the sender. */
static void test_arq_slow_reader_holds_the_sender(void **state)
{
	unsigned frames = 2000, had = 0;

	(void)state;
	for (unsigned i = 0; i < frames; i++)
		push(300); /* one segment, and one packet, each */
	for (unsigned i = 0; i < 3000; i++) {
		(void)pass(a, b);
		acknowledge();
		assert_int_equal(praas_arq_tick(a, now_ns), 0);
	}
	assert_int_equal(a->next_out, PRAAS_ARQ_WINDOW);
	assert_int_equal(done_all(), PRAAS_ARQ_WINDOW);
	for (unsigned i = 0; i < 3000; i++) {
		had += take_all();
		(void)pass(a, b);
		acknowledge();
		assert_int_equal(praas_arq_tick(a, now_ns), 0);
	}
	assert_int_equal(had, frames);
	assert_int_equal(done_all(), frames - PRAAS_ARQ_WINDOW);
}

/* The word that the reader goes on is lost: the sender asks. */
static void test_arq_lost_limit_is_asked_for(void **state)
{
	struct packet p;

	(void)state;
	for (unsigned i = 0; i < PRAAS_ARQ_WINDOW + 1; i++)
		push(300);
	for (unsigned i = 0; i < 3000; i++) {
		(void)pass(a, b);
		acknowledge();
	}
	assert_int_equal(a->flight, 0);
	assert_int_equal(take_all(), PRAAS_ARQ_WINDOW);
	assert_true(emit(b, &p)); /* the word; lost */
	now_ns = praas_arq_due_ns(a);
	assert_int_equal(praas_arq_tick(a, now_ns), 0);
	assert_int_equal(pass(a, b), 1);
	assert_int_equal(pass(b, a), 1);
	(void)pass(a, b);
	assert_int_equal(take_all(), 1);
	(void)done_all();
}

/* A frame larger than the window waits until all before it has arrived. */
static void test_arq_large_frame_begins_alone(void **state)
{
	unsigned had = 0;

	(void)state;
	push(100);
	push((PRAAS_ARQ_WINDOW + 10) * SEGMENT);
	push(100);
	assert_int_equal(pass(a, b), 1);
	assert_int_equal(a->next_out, 1);
	for (unsigned i = 0; i < 3000; i++) {
		acknowledge();
		(void)pass(a, b);
		had += take_all();
	}
	assert_int_equal(had, 3);
	assert_int_equal(done_all(), 3);
}

/* No memory for a frame: as if its packet had not come. It comes again. */
static void test_arq_without_memory_it_comes_again(void **state)
{
	const struct praas_heap_config small = { .bytes_max = 1 };
	const struct praas_memory *memory = b->config.memory;
	struct praas_heap *poor;
	struct packet p;

	(void)state;
	assert_int_equal(praas_heap_new(&small, &poor), 0);
	push(100);
	assert_true(emit(a, &p));
	b->config.memory = praas_heap_memory(poor);
	assert_int_equal(give(b, &p), -ENOBUFS);
	assert_true(praas_arq_is_fresh(b, p.number));
	b->config.memory = memory;
	now_ns = praas_arq_due_ns(a);
	assert_int_equal(praas_arq_tick(a, now_ns), 0);
	(void)pass(a, b);
	assert_int_equal(take_all(), 1);
	praas_heap_free(poor);
}

/* A number counts once, and one too old to be told apart not at all. */
static void test_arq_replay_changes_nothing(void **state)
{
	struct packet first, p;

	(void)state;
	push(100);
	assert_true(emit(a, &first));
	assert_false(praas_arq_is_fresh(b, 0));
	assert_true(praas_arq_is_fresh(b, first.number));
	assert_int_equal(give(b, &first), 0);
	assert_false(praas_arq_is_fresh(b, first.number));
	assert_int_equal(give(b, &first), 0);
	assert_int_equal(praas_arq_stats(b)->packets_in, 1);
	for (unsigned i = 0; i < PRAAS_ARQ_SEEN + 64; i++) {
		praas_arq_ping(a);
		assert_true(emit(a, &p));
		if (i != 10)
			assert_int_equal(give(b, &p), 0);
		else
			first = p;
		if (i > 10 && i < PRAAS_ARQ_SEEN)
			assert_true(praas_arq_is_fresh(b, first.number));
	}
	assert_false(praas_arq_is_fresh(b, first.number));
	(void)take_all();
}

/* finish() is told behind all frames; the other side need not finish too. */
static void test_arq_finish(void **state)
{
	(void)state;
	push(1000);
	praas_arq_finish(a, now_ns);
	assert_int_equal(praas_arq_ended(b), -EAGAIN);
	(void)pass(a, b);
	assert_int_equal(praas_arq_ended(b), -EAGAIN); /* not taken yet */
	assert_false(praas_arq_finished(a));
	assert_int_equal(take_all(), 1);
	assert_int_equal(praas_arq_ended(b), 0);
	(void)pass(b, a);
	assert_true(praas_arq_finished(a));
	assert_int_equal(done_all(), 1);
}

/* reset() is told until it is answered, four times at most. */
static void test_arq_reset(void **state)
{
	unsigned told = 0;
	struct packet p;

	(void)state;
	praas_arq_reset(a);
	while (praas_arq_due_ns(a) != UINT64_MAX) {
		now_ns = praas_max_u64(now_ns, praas_arq_due_ns(a));
		assert_true(emit(a, &p));
		told++;
	}
	assert_int_equal(told, 4);
	assert_true(praas_arq_reset_done(a));
	assert_int_equal(give(b, &p), 0);
	assert_int_equal(praas_arq_ended(b), -ECONNRESET);
	assert_int_equal(pass(b, a), 1);
	assert_true(praas_arq_reset_done(b));
}

/* Frames are taken back while parts of them are on their way: late acknowledgements find nothing, and
 * nothing of them is sent again, however long it takes. */
static void test_arq_drop_forgets_what_is_on_its_way(void **state)
{
	static struct packet p[8];
	struct packet ack, again;
	struct praas_buf *buf;
	unsigned count = 0, dropped = 0;
	uint64_t out;

	(void)state;
	push(1000);
	push(1000);
	while (count < 8 && emit(a, &p[count]))
		count++;
	assert_true(count >= 3);
	assert_int_equal(give(b, &p[0]), 0);
	assert_int_equal(give(b, &p[2]), 0);
	while ((buf = praas_arq_drop(a)) != NULL) {
		memset(buf->data, 0xee, 1000);
		praas_buf_release(buf);
		dropped++;
	}
	assert_int_equal(dropped, 2);
	assert_int_equal(praas_arq_queued(a), 0);
	out = praas_arq_stats(a)->segments_out;
	for (unsigned i = 0; i < 50; i++) {
		now_ns += 20 * MS;
		if (emit(b, &ack))
			assert_int_equal(give(a, &ack), 0);
		(void)praas_arq_tick(a, now_ns); /* it may find the peer silent */
		while (emit(a, &again))
			(void)give(b, &again); /* questions, no segments */
	}
	assert_int_equal(praas_arq_stats(a)->segments_out, out);
	assert_null(praas_arq_done(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_arq_small_frames_share_a_packet),
		TEST(test_arq_segments_in_any_order),
		TEST(test_arq_loss_is_repaired_by_later_packets),
		TEST(test_arq_late_is_not_lost),
		TEST(test_arq_tail_loss_is_probed),
		TEST(test_arq_silent_peer_is_given_up),
		TEST(test_arq_keepalive),
		TEST(test_arq_partial_frame_stalls),
		TEST(test_arq_slow_reader_holds_the_sender),
		TEST(test_arq_lost_limit_is_asked_for),
		TEST(test_arq_large_frame_begins_alone),
		TEST(test_arq_without_memory_it_comes_again),
		TEST(test_arq_replay_changes_nothing),
		TEST(test_arq_finish),
		TEST(test_arq_reset),
		TEST(test_arq_drop_forgets_what_is_on_its_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
