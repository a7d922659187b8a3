/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/process_fixture.h"

#include "internal/base.h"

/* Two processes of real code, the connection between them and the control service in the test's hands: the
 * first sends, the second serves, rests, is full, and its connections break, as the seed says. Nobody loses
 * state here, so each message has to arrive once and in order. */

#define A_PID 5u
#define B_PID 9u
#define MESSAGES 400u
#define QUEUE_MAX 2048u

/* What control keeps of a message. */
struct kept {
	struct praas_seq seq;
	char text[32];
	uint64_t bytes;
};

struct world {
	uint64_t random;
	struct fixture fa, fb;
	struct praas_process *b;
	/* The connection from a to b. */
	struct praas_conn conn; /* a's end */
	const struct praas_conn_events *events;
	void *user;
	struct fake_conn *far; /* b's end; NULL: there is none */
	bool connecting;
	struct praas_buf *way_out[4096]; /* sent by a, not yet at b */
	unsigned out_first, out_last;
	/* The control service. */
	bool serves;
	uint32_t epoch;
	struct praas_outbox_question question;
	bool asked;
	struct kept queue[QUEUE_MAX];
	unsigned queue_count;
	/* What came. */
	unsigned received, dropped, connects, breaks, lose;
};

static struct world *w;

static uint32_t below(uint32_t n)
{
	w->random = w->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(w->random >> 33) % n;
}

/* ---- a's end of the connection ---- */

static int far_send(struct praas_conn *conn, struct praas_buf *buf)
{
	(void)conn;
	assert_non_null(w->far);
	if (below(20) == 0)
		return -EAGAIN;
	w->way_out[w->out_last++ % 4096] = buf;
	return 0;
}

/* What is under way is given back. */
static void way_out_end(void)
{
	while (w->out_first != w->out_last)
		praas_buf_release(w->way_out[w->out_first++ % 4096]);
	if (w->far)
		fake_conn_free(w->far);
	w->far = NULL;
	w->connecting = false;
}

static void far_close(struct praas_conn *conn, bool after_flush)
{
	(void)conn;
	(void)after_flush;
	way_out_end();
}

static const struct praas_transport_ops far_ops = { .scheme = "far",
						    .send = far_send,
						    .close = far_close };

static int far_connect(void *user, const char *address,
		       const struct praas_ticket_secret *secret,
		       const struct praas_conn_events *events,
		       void (*welcome)(void *user, const struct praas_welcome *welcome),
		       void *events_user, struct praas_conn **ret_conn)
{
	(void)user;
	assert_null(welcome);
	assert_int_equal(secret->ticket[0], 7);
	if (strcmp(address, "far://works") != 0)
		return -EPROTONOSUPPORT;
	assert_null(w->far);
	assert_false(w->connecting);
	w->conn = (struct praas_conn){ .ops = &far_ops };
	w->events = events;
	w->user = events_user;
	w->connecting = true;
	w->connects++;
	*ret_conn = &w->conn;
	return 0;
}

/* The connection ends by itself. */
static void far_break(void)
{
	if (!w->far && !w->connecting)
		return;
	w->breaks++;
	way_out_end();
	w->events->closed(w->user, &w->conn, -ECONNRESET);
}

static void far_open(void)
{
	if (!w->connecting)
		return;
	w->connecting = false;
	if (!w->serves) {
		w->events->closed(w->user, &w->conn, -ECONNREFUSED);
		return;
	}
	w->far = fake_conn_new(&w->fb, 0);
	w->far->base.peer_source = A_PID;
	w->events->opened(w->user, &w->conn);
}

/* One frame to b; its answers on their way back. */
static void far_deliver(void)
{
	struct praas_buf *buf, *answer;

	if (w->far && w->out_first != w->out_last) {
		buf = w->way_out[w->out_first++ % 4096];
		fake_frame(w->far, &buf->head, buf->key, buf->data, buf->head.bytes);
		praas_buf_release(buf);
	}
	while (w->far && fake_has(w->far) && below(4) != 0) {
		answer = fake_take(w->far);
		w->events->frame(w->user, &w->conn, answer);
	}
}

/* ---- the control service ---- */

static int on_ask(void *user, const struct praas_outbox_question *q)
{
	(void)user;
	if (w->asked)
		return -EAGAIN;
	assert_int_equal(q->receiver, B_PID);
	w->question = *q;
	w->asked = true;
	return 0;
}

static void on_dropped(void *user, uint64_t receiver, int rc)
{
	(void)user;
	assert_int_equal(receiver, B_PID);
	assert_int_equal(rc, -ENOENT);
	w->dropped++;
}

static void control_answer(void)
{
	struct praas_way way = { .receiver = B_PID, .attempt = w->question.attempt };

	if (!w->asked)
		return;
	w->asked = false;
	if (below(10) == 0) {
		way.kind = PRAAS_WAY_BUSY;
	} else if (w->serves) {
		way.kind = PRAAS_WAY_MOVED;
		way.epoch = w->epoch;
		way.secret.ticket[0] = 7;
		way.endpoints_count = 2;
		strcpy(way.endpoints[0], "far://does-not");
		strcpy(way.endpoints[1], "far://works");
	} else {
		way.kind = PRAAS_WAY_QUEUED;
		for (uint32_t i = 0; i < w->question.count; i++) {
			const struct praas_outbox_item *item = &w->question.items[i];
			struct kept *k = &w->queue[w->queue_count++];

			assert_true(w->queue_count < QUEUE_MAX);
			assert_true(item->bytes < sizeof(k->text));
			k->seq = way.seq = item->seq;
			k->bytes = item->bytes;
			memcpy(k->text, item->data, item->bytes);
		}
		if (w->lose > 0) { /* the answer is lost: its silence ends it */
			w->lose--;
			return;
		}
	}
	praas_outbox_way(praas_process_outbox(w->fa.p), &way);
}

static void control_wake(void)
{
	uint64_t position = 0;

	if (w->serves)
		return;
	praas_process_identify(w->b, B_PID, ++w->epoch);
	praas_process_gate(w->b, true);
	/* As many at a time as the mailbox takes. */
	for (unsigned i = 0; i < w->queue_count; i++) {
		struct praas_queued m = { .position = i + 1,
					  .source = A_PID,
					  .seq = w->queue[i].seq,
					  .key = "k",
					  .key_bytes = 1,
					  .data = (uint8_t *)w->queue[i].text,
					  .bytes = w->queue[i].bytes };

		assert_int_equal(praas_process_queue_apply(w->b, &m, 1, &position), 0);
		assert_true(position >= i + 1); /* what it had before counts already */
	}
	w->serves = true;
}

static void control_rest(void)
{
	if (!w->serves)
		return;
	praas_process_gate(w->b, false);
	w->serves = false;
}

/* ---- the story ---- */

static void receive_all(void)
{
	struct praas_fn_wait wait = { 0 };

	while (praas_process_fn_recv(w->b, A_PID, "k", 1, &wait) == 0) {
		char text[32];

		(void)snprintf(text, sizeof(text), "message %u", ++w->received);
		assert_int_equal(wait.message.value.bytes, strlen(text));
		assert_memory_equal(wait.message.value.data, text, strlen(text));
		assert_int_equal(wait.message.source, A_PID);
		praas_value_release(&wait.message.value);
	}
}

static int send_text(uint64_t to, const char *text)
{
	struct praas_value value;
	uint8_t *data;
	int rc = praas_process_value_new(w->fa.p, strlen(text), &value, &data);

	assert_int_equal(rc, 0);
	memcpy(data, text, strlen(text));
	rc = praas_process_fn_send(w->fa.p, to, "k", 1, &value, NULL, NULL);
	if (rc != 0)
		praas_value_release(&value);
	return rc;
}

static void node_start(struct fixture *f, uint64_t pid, uint32_t epoch)
{
	struct manual *m = calloc(1, sizeof(*m));
	struct praas_process_config config;

	m->base.ops = &manual_ops;
	fixture_init(f, 8 << 20);
	config = fixture_config(f, functions, 1);
	config.executor = &m->base;
	config.pid = pid;
	assert_int_equal(praas_process_new(&config, &f->p), 0);
	praas_process_identify(f->p, pid, epoch);
}

static const struct praas_outbox_host host = { .ask = on_ask,
					       .connect = far_connect,
					       .dropped = on_dropped };

static int setup_world(void **state)
{
	(void)state;
	w = calloc(1, sizeof(*w));
	node_start(&w->fa, A_PID, 3);
	node_start(&w->fb, B_PID, 1);
	w->b = w->fb.p;
	w->epoch = 1;
	w->serves = true;
	praas_process_outbox_host_set(w->fa.p, &host);
	praas_outbox_begin(praas_process_outbox(w->fa.p), false);
	praas_process_gate(w->fa.p, true);
	praas_process_gate(w->b, true);
	return 0;
}

static int teardown_world(void **state)
{
	(void)state;
	praas_outbox_disconnect(praas_process_outbox(w->fa.p));
	way_out_end();
	fixture_release(&w->fa);
	fixture_release(&w->fb);
	free(w);
	return 0;
}

static void turn(void)
{
	(void)praas_process_poll(w->fa.p, 64);
	(void)praas_process_poll(w->b, 64);
	if (below(3) == 0)
		control_answer();
	if (below(2) == 0)
		far_open();
	far_deliver();
	receive_all();
}

/* A sender sleeps for as long as its back-off says; here nobody waits for it. */
static void calm(unsigned sent)
{
	uint64_t until = praas_now_ns() + UINT64_C(30000000000);

	while ((w->received < sent ||
		praas_outbox_count(praas_process_outbox(w->fa.p)) != 0) &&
	       praas_now_ns() < until)
		turn();
	assert_int_equal(w->received, sent);
	assert_int_equal(praas_outbox_count(praas_process_outbox(w->fa.p)), 0);
}

static void story(uint64_t seed)
{
	unsigned sent = 0;
	char text[32];

	w->random = seed * 7919 + 1;
	w->lose = seed == 1 ? 1 : 0;
	while (sent < MESSAGES) {
		for (unsigned n = below(8); n > 0 && sent < MESSAGES; n--) {
			(void)snprintf(text, sizeof(text), "message %u", sent + 1);
			if (send_text(B_PID, text) != 0)
				break; /* the window is full */
			sent++;
		}
		turn();
		if (below(60) == 0)
			far_break();
		if (below(80) == 0)
			control_rest();
		if (below(40) == 0)
			control_wake();
	}
	control_wake();
	calm(sent);
	assert_int_equal(w->dropped, 0);
}

static void test_mail_once_and_in_order(void **state)
{
	unsigned connects = 0, breaks = 0, queued = 0;

	(void)state;
	/* How much happens in a story depends on how long its back-offs are beside its turns. */
	for (uint64_t seed = 1;
	     seed <= 12 || (seed <= 60 && (connects <= 24 || breaks <= 12)); seed++) {
		story(seed);
		connects += w->connects;
		breaks += w->breaks;
		queued += w->queue_count;
		assert_int_equal(teardown_world(NULL), 0);
		assert_int_equal(setup_world(NULL), 0);
	}
	/* It was not all sunshine. */
	print_message("%u connections, %u broken, %u queued\n", connects, breaks,
		      queued);
	assert_true(connects > 24);
	assert_true(breaks > 12);
	assert_true(queued > 100);
}

/* A receiver that is deleted: what is on its way is reported, what comes after is refused. */
static void test_mail_to_nobody(void **state)
{
	struct praas_way gone = { .kind = PRAAS_WAY_GONE, .receiver = B_PID };

	(void)state;
	w->random = 1;
	assert_int_equal(send_text(B_PID, "x"), 0);
	assert_int_equal(send_text(B_PID, "y"), 0);
	(void)praas_process_poll(w->fa.p, 64);
	assert_true(w->asked);
	assert_int_equal(w->question.count, 2);
	gone.attempt = w->question.attempt;
	praas_outbox_way(praas_process_outbox(w->fa.p), &gone);
	(void)praas_process_poll(w->fa.p, 64);
	assert_int_equal(w->dropped, 2);
	assert_int_equal(send_text(B_PID, "z"), -ENOENT);
	assert_int_equal(send_text(0, "z"), 0); /* itself */
	assert_int_equal(send_text(PRAAS_CLIENT | 3, "z"), -ENOENT);
}

/* Frames that no sender of ours makes end the connection; a stranger's place is not believed. */
static void test_mail_hostile(void **state)
{
	static const struct praas_frame bad[] = {
		{ .kind = PRAAS_FRAME_MAIL, .function = 0xffff }, /* no place */
		{ .kind = PRAAS_FRAME_MAIL,
		  .id = 1,
		  .function = 0xffff }, /* no epoch */
		{ .kind = PRAAS_FRAME_MAIL, .status = 1, .function = 0xffff },
		{ .kind = PRAAS_FRAME_MAIL,
		  .id = 1,
		  .status = 1,
		  .aux = 1 }, /* itself */
		{ .kind = PRAAS_FRAME_MAIL, .id = 1, .status = 1, .aux = 2 },
		{ .kind = PRAAS_FRAME_MAIL, .id = 2, .status = 1 },
		{ .kind = PRAAS_FRAME_MAIL,
		  .id = 2,
		  .status = 1,
		  .aux = 1,
		  .function = 1 },
	};
	const struct praas_frame good = { .kind = PRAAS_FRAME_MAIL,
					  .id = 1,
					  .status = 1,
					  .function = PRAAS_FRAME_NO_PREDECESSOR };
	struct fake_conn *c;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		c = fake_conn_new(&w->fb, 0);
		c->base.peer_source = A_PID;
		fake_frame(c, &bad[i], "k", "x", 1);
		assert_true(c->closed);
		fake_conn_free(c);
	}
	c = fake_conn_new(&w->fb, 1); /* a client */
	fake_frame(c, &good, "k", "x", 1);
	assert_true(c->closed);
	fake_conn_free(c);
	c = fake_conn_new(&w->fb, 0);
	c->base.peer_source = A_PID;
	c->base.peer_rights = PRAAS_RIGHT_INVOKE;
	fake_frame(c, &good, "k", "x", 1);
	struct praas_buf *answer = fake_take(c);
	assert_int_equal(answer->head.status, PRAAS_DENIED);
	praas_buf_release(answer);
	fake_conn_free(c);
}

/* ---- snapshots ---- */

static int carry(void *user, const struct praas_export_record *record)
{
	return praas_process_import(user, record);
}

/* The sender rests with messages that nobody has acknowledged; the next epoch sends them on, once after a
 * clean release, and under new places after anything else. */
static void outlives(bool clean)
{
	struct fixture next;
	char text[32];

	w->random = 3;
	for (unsigned i = 1; i <= 10; i++) {
		(void)snprintf(text, sizeof(text), "message %u", i);
		assert_int_equal(send_text(B_PID, text), 0);
	}
	for (unsigned i = 0; i < 30 && w->received < 4; i++)
		turn();
	assert_in_range(praas_outbox_count(praas_process_outbox(w->fa.p)), 1, 10);
	praas_outbox_hold(praas_process_outbox(w->fa.p), true);
	praas_outbox_disconnect(praas_process_outbox(w->fa.p));
	node_start(&next, A_PID, 4);
	assert_int_equal(praas_process_export(w->fa.p, carry, next.p), 0);
	fixture_release(&w->fa);
	w->fa = next;
	w->fa.memory.user = &w->fa;
	w->asked = false;
	praas_process_outbox_host_set(w->fa.p, &host);
	praas_outbox_begin(praas_process_outbox(w->fa.p), clean);
	praas_process_gate(w->fa.p, true);
	if (!clean)
		return;
	(void)send_text(B_PID, "message 11");
	calm(11);
}

static void test_mail_outlives_its_sender(void **state)
{
	(void)state;
	outlives(true);
}

static void count_mail(unsigned *ret_count)
{
	struct praas_fn_wait wait = { 0 };

	while (praas_process_fn_recv(w->b, A_PID, "k", 1, &wait) == 0) {
		++*ret_count;
		praas_value_release(&wait.message.value);
	}
}

static void test_mail_after_a_crash_of_its_sender(void **state)
{
	uint64_t until = praas_now_ns() + UINT64_C(30000000000);
	unsigned left, got = 0;

	(void)state;
	outlives(false);
	left = (unsigned)praas_outbox_count(praas_process_outbox(w->fa.p));
	while (praas_outbox_count(praas_process_outbox(w->fa.p)) != 0 &&
	       praas_now_ns() < until) {
		(void)praas_process_poll(w->fa.p, 64);
		control_answer();
		far_open();
		far_deliver();
		count_mail(&got);
	}
	assert_int_equal(got, left); /* at least once: perhaps again */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_world, teardown_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mail_once_and_in_order),
		TEST(test_mail_to_nobody),
		TEST(test_mail_hostile),
		TEST(test_mail_outlives_its_sender),
		TEST(test_mail_after_a_crash_of_its_sender),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
