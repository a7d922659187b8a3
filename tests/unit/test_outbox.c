/* SPDX-License-Identifier: Apache-2.0
 *
 * Room in the outbox: how much there is, who has it, and who waits for it. Nobody takes anything but what the test
 * says: it is the control service.
 */
#include "unit/process_fixture.h"

#include "dataplane/members.h"
#include "internal/base.h"

#define B_PID 9u

static struct world {
	struct fixture f;
	struct praas_outbox_question question; /* the first one about B */
} w;

static int on_ask(void *user, const struct praas_outbox_question *q)
{
	(void)user;
	if (q->receiver != B_PID || w.question.count != 0)
		return -EAGAIN;
	w.question = *q;
	return 0;
}

static int nowhere(void *user, const char *address,
		   const struct praas_ticket_secret *secret,
		   const struct praas_conn_events *events,
		   void (*welcome)(void *user, const struct praas_welcome *welcome),
		   void *events_user, struct praas_conn **ret_conn)
{
	(void)user;
	(void)address;
	(void)secret;
	(void)events;
	(void)welcome;
	(void)events_user;
	*ret_conn = NULL;
	return -EPROTONOSUPPORT;
}

static void on_dropped(void *user, uint64_t receiver, int rc)
{
	(void)user;
	fail_msg("process %llu: %d", (unsigned long long)receiver, rc);
}

static int send_text(uint64_t to, const char *text)
{
	struct praas_value value;
	uint8_t *data;
	int rc = praas_process_value_new(w.f.p, strlen(text), &value, &data);

	assert_int_equal(rc, 0);
	memcpy(data, text, strlen(text));
	rc = praas_process_fn_send(w.f.p, to, "k", 1, &value, NULL, NULL);
	if (rc != 0)
		praas_value_release(&value);
	return rc;
}

static int setup_world(void **state)
{
	static const struct praas_outbox_host host = { .ask = on_ask,
						       .connect = nowhere,
						       .dropped = on_dropped };
	struct manual *m = calloc(1, sizeof(*m));
	struct praas_process_config config;

	(void)state;
	memset(&w, 0, sizeof(w));
	m->base.ops = &manual_ops;
	fixture_init(&w.f, 8 << 20);
	config = fixture_config(&w.f, functions, 1);
	config.executor = &m->base;
	config.pid = 5;
	assert_int_equal(praas_process_new(&config, &w.f.p), 0);
	praas_process_identify(w.f.p, 5, 3);
	praas_process_outbox_host_set(w.f.p, &host);
	praas_outbox_begin(praas_process_outbox(w.f.p), false);
	praas_process_gate(w.f.p, true);
	return 0;
}

static int teardown_world(void **state)
{
	(void)state;
	praas_outbox_disconnect(praas_process_outbox(w.f.p));
	fixture_release(&w.f);
	return 0;
}

/* Who is not among the members may be newer than their list: the control service knows. */
static void test_outbox_members(void **state)
{
	struct praas_member_info members[2] = {
		{ .pid = 5, .state = 2, .name = "a" },
		{ .pid = 12, .state = 2, .name = "b" }
	};
	struct praas_members *list;

	(void)state;
	assert_int_equal(praas_members_apply(NULL, members, 2, 1, &list), 0);
	praas_process_members_give(w.f.p, list);
	assert_int_equal(send_text(B_PID, "x"), 0);
	assert_int_equal(send_text(13, "x"), 0);
}

/* Too many messages for the window, and too large ones for the pool's share. */
static void test_outbox_limits(void **state)
{
	struct praas_value value;
	uint8_t *data;

	(void)state;
	for (unsigned i = 0; i < PRAAS_OUTBOX_WINDOW; i++)
		assert_int_equal(send_text(B_PID, "x"), 0);
	assert_int_equal(send_text(B_PID, "x"), -EAGAIN);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(praas_process_value_new(w.f.p, 500000, &value, &data),
				 0);
		if (praas_process_fn_send(w.f.p, 100, "k", 1, &value, NULL, NULL) != 0)
			break;
	}
	assert_int_equal(praas_process_fn_send(w.f.p, 100, "k", 1, &value, NULL, NULL),
			 -EAGAIN);
	/* There is as much left for somebody else. */
	assert_int_equal(praas_process_fn_send(w.f.p, 101, "k", 1, &value, NULL, NULL),
			 0);
	value = (struct praas_value){ 0 };
	assert_int_equal(praas_process_fn_send(w.f.p, 100, "", 0, &value, NULL, NULL),
			 -EINVAL);
}

static unsigned told, told_order;

static void on_room(struct praas_fn_wait *wait, int rc)
{
	told++;
	told_order = told_order * 10 + (unsigned)(uintptr_t)wait->user;
	assert_int_equal(rc, 0);
	assert_int_equal(send_text(B_PID, "later"), 0);
}

/* Who waits for room sends when there is some, one after the other; who comes meanwhile is behind them. Other receivers
 * have room all along, however many are slow. */
static void test_outbox_room(void **state)
{
	struct praas_fn_wait wait[2] = { { .done = on_room,
					   .user = (void *)(uintptr_t)1,
					   .deadline_ns = UINT64_MAX / 4 },
					 { .done = on_room,
					   .user = (void *)(uintptr_t)2,
					   .deadline_ns = UINT64_MAX / 4 } };
	struct praas_value value = { 0 };
	struct praas_way queued = { .kind = PRAAS_WAY_QUEUED, .receiver = B_PID };
	unsigned sent = 0;

	(void)state;
	while (send_text(B_PID, "x") == 0)
		sent++;
	assert_int_equal(sent, PRAAS_OUTBOX_WINDOW);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			praas_process_fn_room_wait(w.f.p, B_PID, &value, &wait[i]),
			-EINPROGRESS);
	(void)praas_process_poll(w.f.p, 64);
	assert_int_equal(told, 0);
	queued.attempt = w.question.attempt;
	queued.seq = w.question.items[1].seq; /* two of them */
	praas_outbox_way(praas_process_outbox(w.f.p), &queued);
	assert_int_equal(send_text(B_PID, "not before them"), -EAGAIN);
	(void)praas_process_poll(w.f.p, 64);
	assert_int_equal(told, 2);
	assert_int_equal(told_order, 12);
	assert_int_equal(send_text(B_PID, "x"), -EAGAIN);
	/* Many slow ones: each new one has room. */
	for (uint64_t pid = 1000; pid < 1020; pid++) {
		assert_int_equal(send_text(pid, "x"), 0);
		while (send_text(pid, "x") == 0)
			;
	}
	/* Given up. */
	assert_int_equal(praas_process_fn_room_wait(w.f.p, B_PID, &value, &wait[0]),
			 -EINPROGRESS);
	praas_process_fn_wait_cancel(w.f.p, &wait[0]);
	wait[0].deadline_ns = 1;
	assert_int_equal(praas_process_fn_room_wait(w.f.p, B_PID, &value, &wait[0]),
			 -EAGAIN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_world, teardown_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_outbox_members),
		TEST(test_outbox_limits),
		TEST(test_outbox_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
