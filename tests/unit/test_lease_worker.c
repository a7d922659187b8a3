/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's half of updates in place and the controller's half, in one thread: what lies between
 * them is a call. So the controller can want a lease back at the very moment in which its holder
 * begins to update again, which the hook in place of the fence is for.
 */
#include "unit/state_fixture.h"

#include "shm/doorbell.h"

static void meanwhile(void);
#define praas_doorbell_fence meanwhile
#include "controller/worker/ctx_update.c"
#undef praas_doorbell_fence

#define FIRST 1u /* holder numbers: the worker under test, and who else wants objects */
#define OTHER 2u

static struct fixture *fixture;
static struct worker *worker;
static struct praas_worker_line line, other_line;
static struct praas_worker_order order, other_order;
static uint64_t memory[4]; /* where objects lie to the worker */
static struct praas_fn_wait other, first;
static unsigned told;
static bool disturb; /* the other one wants "b" now */

static void on_told(struct praas_fn_wait *wait, int rc)
{
	(void)wait;
	assert_int_equal(rc, 0);
	told++;
}

static int other_begins(void)
{
	other = (struct praas_fn_wait){ .done = on_told,
					.deadline_ns = PRAAS_DEADLINE_NEVER,
					.word = &other_line.lease[0],
					.ended = &other_order.lease_ended[0] };
	return praas_process_fn_update_begin(fixture->p, OTHER, "b", 1, 8, &other);
}

static int other_ends(void)
{
	uint64_t version;
	bool kept;

	return praas_process_fn_update_commit(fixture->p, OTHER, "b", 1, NULL, false,
					      &kept, &version);
}

static void meanwhile(void)
{
	if (!disturb)
		return;
	disturb = false;
	assert_int_equal(other_begins(), -EINPROGRESS);
}

/* ---- the worker's ways to the controller ---- */

int ctx_request(struct ctx *ctx, struct praas_frame *f, const char *key,
		uint32_t segment, uint64_t offset, struct praas_worker_frame *ret_reply)
{
	uint64_t version = 0;
	bool kept = false;
	int rc;

	(void)ctx;
	(void)segment;
	(void)offset;
	*ret_reply = (struct praas_worker_frame){ 0 };
	if ((uint32_t)f->kind == PRAAS_WORKER_UPDATE_COMMIT) {
		rc = praas_process_fn_update_commit(fixture->p, FIRST, key,
						    f->key_bytes, NULL, f->aux == 1,
						    &kept, &version);
		ret_reply->head.aux = version << 1 | (kept ? 1 : 0);
		return rc;
	}
	first = (struct praas_fn_wait){ .done = on_told,
					.deadline_ns = PRAAS_DEADLINE_NEVER,
					.word = &line.lease[f->status],
					.ended = &order.lease_ended[f->status] };
	rc = praas_process_fn_update_begin(fixture->p, FIRST, key, f->key_bytes, f->aux,
					   &first);
	if (rc == -EINPROGRESS) {
		/* It waits until the other one has ended. */
		assert_int_equal(other_ends(), 0);
		assert_int_not_equal(told, 0);
		rc = 0;
	}
	ret_reply->head.bytes = first.grant.bytes;
	ret_reply->head.aux = first.grant.version;
	ret_reply->head.deadline_ns = first.grant.lease;
	ret_reply->segment = PRAAS_SEGMENT_ARENA;
	ret_reply->offset = key[0] == 'b' ? 8 : 0;
	return rc;
}

int praas_worker_end_push(struct praas_worker_end *end, const struct praas_frame *f,
			  const char *key, uint32_t segment, uint64_t offset)
{
	uint64_t version;
	bool kept;

	(void)end;
	(void)segment;
	(void)offset;
	assert_int_equal(f->kind, PRAAS_WORKER_UPDATE_COMMIT);
	(void)praas_process_fn_update_commit(fixture->p, FIRST, key, f->key_bytes, NULL,
					     f->aux == 1, &kept, &version);
	return 0;
}

int praas_worker_end_view(struct praas_worker_end *end, uint32_t segment,
			  uint64_t offset, uint64_t bytes, const uint8_t **ret_data)
{
	(void)segment;
	(void)bytes;
	*ret_data = end->arena.base + offset;
	return 0;
}

int praas_worker_end_alloc(struct praas_worker_end *end, uint64_t bytes,
			   struct praas_worker_buffer *ret_buffer)
{
	(void)end;
	(void)bytes;
	(void)ret_buffer;
	return -ENOSPC;
}

uint8_t ctx_key_bytes(const char *key)
{
	return (uint8_t)strlen(key);
}

_Noreturn void worker_fatal(struct worker *w, const char *text)
{
	(void)w;
	fail_msg("%s", text);
	abort();
}

/* ---- */

static int worker_setup(void **state)
{
	int rc = setup(state);

	fixture = *state;
	worker = calloc(1, sizeof(*worker));
	assert_non_null(worker);
	memset(&line, 0, sizeof(line));
	memset(&order, 0, sizeof(order));
	memset(&other_line, 0, sizeof(other_line));
	memset(&other_order, 0, sizeof(other_order));
	told = 0;
	disturb = false;
	worker->end.line = &line;
	worker->end.order = &order;
	worker->end.start.arena_segment = PRAAS_SEGMENT_ARENA;
	worker->end.start.bytes_max = 4096;
	worker->end.arena.base = (uint8_t *)memory;
	praas_doorbell_fences = true; /* so that meanwhile() is called */
	return rc;
}

static int worker_teardown(void **state)
{
	free(worker);
	return teardown(state);
}

static int one_update(const char *key)
{
	struct ctx ctx = { .worker = worker };
	struct praas_update u;
	int rc = ctx_update_begin(&ctx.head, key, 8, -1, &u);

	return rc ? rc : ctx_update_commit(&ctx.head, &u);
}

static void make(const char *key)
{
	struct praas_state_write w = put_of(fixture, key, "12345678", 8);

	(void)commit(fixture, &w, 1, 0);
}

static uint64_t version_of(const char *key)
{
	const struct praas_value *value;
	uint64_t version = 0;

	assert_int_equal(
		praas_process_fn_state_get(fixture->p, key, 1, &value, &version), 0);
	return version;
}

/* The lease is wanted while its holder begins: it sees that, gives it up, and says so, even when it
 * then asks with another place than the one it had. */
static void test_worker_gives_up_what_it_began(void **state)
{
	uint64_t before;

	(void)state;
	make("a");
	make("b");
	assert_int_equal(one_update("a"), 0); /* in place 0 */
	assert_int_equal(one_update("b"), 0); /* in place 1 */
	assert_int_equal(one_update("b"), 0);
	/* Place 0 becomes free. */
	make("a");
	assert_int_equal(one_update("a"), 0);
	before = version_of("b");
	worker->leases[0].held = false;
	disturb = true;
	assert_int_equal(one_update("b"), 0);
	assert_int_equal(told, 2); /* the other had it, then we */
	assert_true(version_of("b") > before);
	/* And nobody is in the way of anybody. */
	if (other_begins() == 0)
		assert_int_equal(other_ends(), 0);
	assert_int_equal(one_update("b"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, worker_setup, worker_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_worker_gives_up_what_it_began),
	};

	return cmocka_run_group_tests_name("lease_worker", tests, NULL, NULL);
}
