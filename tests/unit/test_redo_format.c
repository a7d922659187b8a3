/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of the redo log, byte by byte: what is torn is cut, what was promised and is not there is an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/redo_format.h"

#define BATCHES 5u
#define RECORDS_MAX 16u
#define BYTES_MAX 4096u
#define FIRST 41u

/* A file of five batches, as a writer leaves it that syncs each. */
struct fixture {
	struct praas_redo_head head;
	uint8_t data[BYTES_MAX];
	size_t bytes;
	size_t starts[RECORDS_MAX + 1]; /* of records; the end */
	uint32_t batch[RECORDS_MAX];    /* which it is of */
	uint32_t count;
	uint32_t seen; /* by check() */
};

static const uint32_t sizes[] = { 0, 1, 7, 8, 9, 63, 64, 65, 100, 13, 200 };

static uint8_t content(uint32_t record, uint32_t at)
{
	return (uint8_t)(record * 37 + at * 11 + 1);
}

static void add(struct fixture *f, uint32_t batch, uint64_t synced)
{
	uint8_t value[256];
	struct praas_redo_record r = {
		.sequence = FIRST + f->count,
		.kind = (uint16_t)(f->count + 1),
		.data = value,
		.bytes = sizes[f->count % (sizeof(sizes) / sizeof(sizes[0]))],
	};

	for (uint32_t i = 0; i < r.bytes; i++)
		value[i] = content(f->count, i);
	f->starts[f->count] = f->bytes;
	f->batch[f->count++] = batch;
	praas_redo_place(&r, f->data + f->bytes);
	f->bytes += praas_redo_close_record(&f->head, synced, f->data + f->bytes);
	f->starts[f->count] = f->bytes;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->head = (struct praas_redo_head){ .id = { .pid = 7, .generation = 3 },
					    .epoch = 9,
					    .first = FIRST,
					    .salt = 0x1122334455667788 };
	memset(f->head.id.tenant, 5, sizeof(f->head.id.tenant));
	praas_redo_head_encode(&f->head, f->data);
	f->bytes = PRAAS_REDO_FILE_HEAD_BYTES;
	for (uint32_t batch = 0; batch < BATCHES; batch++) {
		uint64_t synced = FIRST + f->count - 1;

		for (uint32_t i = 0; i <= batch % 3; i++)
			add(f, batch, synced);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static int check(void *user, const struct praas_redo_record *r)
{
	struct fixture *f = user;

	assert_true(f->seen < f->count);
	assert_int_equal(r->sequence, FIRST + f->seen);
	assert_int_equal(r->kind, f->seen + 1);
	assert_int_equal(r->bytes, sizes[f->seen % (sizeof(sizes) / sizeof(sizes[0]))]);
	for (uint32_t i = 0; i < r->bytes; i++)
		assert_int_equal(r->data[i], content(f->seen, i));
	f->seen++;
	return 0;
}

/* Walks a copy of so many bytes that ends where the memory does. ret_next: as an index of records. */
static int walk(struct fixture *f, const uint8_t *data, size_t bytes, uint64_t last,
		uint32_t *ret_next)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);
	uint64_t next = 0;
	int rc;

	assert_non_null(copy);
	memcpy(copy, data, bytes);
	f->seen = 0;
	rc = praas_redo_walk(&f->head, copy, bytes, last, check, f, &next);
	*ret_next = (uint32_t)(next - FIRST);
	assert_int_equal(f->seen, *ret_next);
	free(copy);
	return rc;
}

static void test_whole(void **state)
{
	struct fixture *f = *state;
	struct praas_redo_head head;
	uint32_t next;

	assert_int_equal(
		praas_redo_head_decode(&f->head.id, 9, FIRST, f->data, f->bytes, &head),
		0);
	assert_int_equal(head.salt, f->head.salt);
	assert_int_equal(walk(f, f->data, f->bytes, 0, &next), 0);
	assert_int_equal(next, f->count);
	/* Of one that has a successor, only what that has counted; more may stand there. */
	for (uint32_t i = 0; i < f->count; i++) {
		assert_int_equal(walk(f, f->data, f->bytes, FIRST + i, &next), 0);
		assert_int_equal(next, i + 1);
	}
	assert_int_equal(walk(f, f->data, f->bytes, FIRST + f->count, &next), -EPROTO);
	assert_int_equal(next, f->count);
}

/* Every length that a crash may leave: cut off, or with zeros behind. */
static void test_torn(void **state)
{
	struct fixture *f = *state;
	uint8_t data[BYTES_MAX];
	uint32_t there = 0, next;

	for (size_t cut = PRAAS_REDO_FILE_HEAD_BYTES; cut <= f->bytes; cut++) {
		while (there < f->count && f->starts[there + 1] <= cut)
			there++;
		assert_int_equal(walk(f, f->data, cut, 0, &next), 0);
		assert_int_equal(next, there);
		if (there < f->count)
			assert_int_equal(
				walk(f, f->data, cut, FIRST + f->count - 1, &next),
				-EPROTO);
		memset(data, 0, sizeof(data));
		memcpy(data, f->data, cut);
		assert_int_equal(walk(f, data, sizeof(data), 0, &next), 0);
		/* The last bytes of a record may be zeros anyhow. */
		assert_true(next == there || next == there + 1);
	}
}

/* The blocks of a batch reach the disk in any order. */
static void test_torn_in_any_order(void **state)
{
	struct fixture *f = *state;
	uint32_t last = BATCHES - 1, begin = 0, next;
	uint8_t data[BYTES_MAX];

	while (f->batch[begin] != last)
		begin++;
	assert_true(f->count - begin >= 2);
	for (uint32_t set = 1; set < 1u << (f->count - begin); set++) {
		uint32_t lost = 0;

		memcpy(data, f->data, f->bytes);
		for (uint32_t i = f->count; i-- > begin;) {
			if ((set >> (i - begin) & 1) == 0)
				continue;
			memset(data + f->starts[i], 0, f->starts[i + 1] - f->starts[i]);
			lost = i;
		}
		assert_int_equal(walk(f, data, f->bytes, 0, &next), 0);
		assert_int_equal(next, lost);
	}
}

/* Each bit of the file, flipped. */
static void test_damaged(void **state)
{
	struct fixture *f = *state;
	struct praas_redo_head head;
	uint32_t at = 0, next;

	for (size_t byte = 0; byte < PRAAS_REDO_FILE_HEAD_BYTES; byte++)
		for (unsigned bit = 0; bit < 8; bit++) {
			f->data[byte] ^= (uint8_t)(1u << bit);
			assert_int_equal(praas_redo_head_decode(&f->head.id, 9, FIRST,
								f->data, f->bytes,
								&head),
					 -EPROTO);
			f->data[byte] ^= (uint8_t)(1u << bit);
		}
	for (size_t byte = PRAAS_REDO_FILE_HEAD_BYTES; byte < f->bytes; byte++) {
		bool promised;

		if (byte >= f->starts[at + 1])
			at++;
		promised = f->batch[at] != BATCHES - 1;
		for (unsigned bit = 0; bit < 8; bit++) {
			f->data[byte] ^= (uint8_t)(1u << bit);
			assert_int_equal(walk(f, f->data, f->bytes, 0, &next),
					 promised ? -EPROTO : 0);
			assert_int_equal(next, at);
			assert_int_equal(
				walk(f, f->data, f->bytes, FIRST + f->count - 1, &next),
				-EPROTO);
			assert_int_equal(next, at);
			f->data[byte] ^= (uint8_t)(1u << bit);
		}
	}
}

/* Heads of others, and records of other files. */
static void test_foreign(void **state)
{
	struct fixture *f = *state;
	struct praas_redo_head head, other = f->head;
	uint32_t next;

	assert_int_equal(
		praas_redo_head_decode(&f->head.id, 8, FIRST, f->data, f->bytes, &head),
		-EPROTO);
	assert_int_equal(praas_redo_head_decode(&f->head.id, 9, FIRST + 1, f->data,
						f->bytes, &head),
			 -EPROTO);
	for (unsigned what = 0; what < 3; what++) {
		other = f->head;
		other.id.pid += what == 0;
		other.id.generation += what == 1;
		other.id.tenant[3] = (uint8_t)(other.id.tenant[3] + (what == 2));
		assert_int_equal(praas_redo_head_decode(&other.id, 9, FIRST, f->data,
							f->bytes, &head),
				 -EPROTO);
	}
	for (size_t cut = 0; cut < PRAAS_REDO_FILE_HEAD_BYTES; cut++)
		assert_int_equal(praas_redo_head_decode(&f->head.id, 9, FIRST, f->data,
							cut, &head),
				 -EPROTO);
	for (unsigned what = 0; what < 3; what++) {
		struct praas_redo_head real = f->head;

		f->head.salt += what == 0;
		f->head.epoch += what == 1;
		f->head.id.generation += what == 2;
		assert_int_equal(walk(f, f->data, f->bytes, 0, &next), 0);
		assert_int_equal(next, 0);
		f->head = real;
	}
}

static int count(void *user, const struct praas_redo_record *r)
{
	(void)r;
	++*(uint32_t *)user;
	return 0;
}

/* A torn record that holds what looks like records, put there by a tenant who does not know the salt. */
static void test_record_in_a_record(void **state)
{
	struct fixture *f = *state;
	struct praas_redo_head guess = f->head;
	uint8_t data[1024] = { 0 }, inner[128];
	struct praas_redo_record in = { .sequence = 99, .kind = 1 },
				 out = { .sequence = FIRST,
					 .kind = 1,
					 .data = inner,
					 .bytes = PRAAS_REDO_HEAD_BYTES };
	uint64_t next;
	uint32_t seen;

	for (unsigned known = 0; known < 2; known++) {
		guess.salt = known ? f->head.salt : 1;
		praas_redo_place(&in, inner);
		(void)praas_redo_close_record(&guess, 98, inner);
		praas_redo_place(&out, data + PRAAS_REDO_FILE_HEAD_BYTES);
		(void)praas_redo_close_record(&f->head, FIRST - 1,
					      data + PRAAS_REDO_FILE_HEAD_BYTES);
		seen = 0;
		assert_int_equal(praas_redo_walk(&f->head, data, sizeof(data), 0, count,
						 &seen, &next),
				 0);
		assert_int_equal(seen, 1);
		data[PRAAS_REDO_FILE_HEAD_BYTES + 1] ^= 1;
		seen = 0;
		assert_int_equal(praas_redo_walk(&f->head, data, sizeof(data), 0, count,
						 &seen, &next),
				 known ? -EPROTO : 0);
		assert_int_equal(seen, 0);
		assert_int_equal(next, FIRST);
	}
}

static int refuse(void *user, const struct praas_redo_record *r)
{
	(void)user;
	return r->sequence == FIRST + 2 ? -ENOMEM : 0;
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t next = 0;

	assert_int_equal(
		praas_redo_walk(&f->head, f->data, f->bytes, 0, refuse, NULL, &next),
		-ENOMEM);
	assert_int_equal(next, FIRST + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_in_any_order, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
		cmocka_unit_test_setup_teardown(test_record_in_a_record, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
