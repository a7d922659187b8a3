/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/store/sealed.h"

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define KEY_B "FF0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F\n"
#define SEGMENT PRAAS_SEAL_SEGMENT_BYTES
#define HEAD PRAAS_SEAL_HEAD_BYTES

static const struct praas_slot_id ours = { .tenant = { 1, 2, 3 },
					   .pid = 7,
					   .generation = 2 };

/* One store in memory, as it is, and as whoever has the keys sees it. The second is remade by reopen(). */
struct fixture {
	struct praas_store *memory; /* lent to the wrapper: never freed by it */
	struct praas_store *sealed;
	struct praas_seal_keys keys;
};

/* The wrapper owns what it wraps: so it is given one that passes everything on. */
struct passing {
	struct praas_store base;
	struct praas_store *to;
};

static struct praas_store *to_of(struct praas_store *s)
{
	return ((struct passing *)(void *)s)->to;
}

static int pass_put_if_absent(struct praas_store *s, const char *key, const void *data,
			      size_t bytes)
{
	return to_of(s)->ops->put_if_absent(to_of(s), key, data, bytes);
}

static int pass_put(struct praas_store *s, const struct praas_store_source *source)
{
	return to_of(s)->ops->put(to_of(s), source);
}

static int pass_get(struct praas_store *s, const char *key, uint64_t offset, void *data,
		    size_t bytes, size_t *ret_bytes)
{
	return to_of(s)->ops->get(to_of(s), key, offset, data, bytes, ret_bytes);
}

static int pass_stat(struct praas_store *s, const char *key, uint64_t *ret_bytes)
{
	return to_of(s)->ops->stat(to_of(s), key, ret_bytes);
}

static int pass_list(struct praas_store *s, const char *prefix, const char *after,
		     praas_store_list_fn fn, void *user)
{
	return to_of(s)->ops->list(to_of(s), prefix, after, fn, user);
}

static int pass_delete(struct praas_store *s, const char *key)
{
	return to_of(s)->ops->delete (to_of(s), key);
}

static void pass_free(struct praas_store *s)
{
	free(s);
}

static const struct praas_store_ops pass_ops = { .scheme = "pass",
						 .put_if_absent = pass_put_if_absent,
						 .put = pass_put,
						 .get = pass_get,
						 .stat = pass_stat,
						 .list = pass_list,
						 .delete = pass_delete,
						 .free = pass_free };

static void reopen(struct fixture *f, const char *keys, const struct praas_slot_id *id)
{
	struct passing *p = calloc(1, sizeof(*p));
	const char *why = "";

	assert_non_null(p);
	p->base.ops = &pass_ops;
	p->to = f->memory;
	praas_store_free(f->sealed);
	assert_int_equal(praas_seal_keys_parse(keys, strlen(keys), &f->keys, &why), 0);
	assert_int_equal(praas_store_seal(&p->base, &f->keys, id, &f->sealed), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	assert_non_null(f);
	assert_int_equal(praas_store_memory_open(&f->memory), 0);
	reopen(f, KEY_A, &ours);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_store_free(f->sealed);
	praas_store_free(f->memory);
	free(f);
	return 0;
}

static uint8_t *pattern(size_t bytes)
{
	uint8_t *data = malloc(bytes + 1);

	assert_non_null(data);
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(i * 31 + i / 255);
	return data;
}

static int get(struct praas_store *s, const char *key, uint64_t offset, uint8_t *data,
	       size_t bytes, size_t *ret_bytes)
{
	*ret_bytes = 0;
	return s->ops->get(s, key, offset, data, bytes, ret_bytes);
}

/* Of every size around the segments, any range comes back, and the sizes are what they say. */
static void test_sealed_sizes_and_ranges(void **state)
{
	static const size_t sizes[] = { 0,           1,
					15,          SEGMENT - 1,
					SEGMENT,     SEGMENT + 1,
					2 * SEGMENT, 3 * SEGMENT + 77,
					9u << 20 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t n = sizes[i], got = 0;
		uint8_t *data = pattern(n), *back = malloc(n + 100);
		const uint64_t at[] = { 0, 1, n / 2, n > 0 ? n - 1 : 0, n, n + 5 };
		uint64_t bytes = 0;
		char key[32];

		(void)snprintf(key, sizeof(key), "chunk/%zu", i);
		assert_int_equal(praas_store_put_bytes(f->sealed, key, data, n), 0);
		assert_int_equal(f->sealed->ops->stat(f->sealed, key, &bytes), 0);
		assert_int_equal(bytes, n);
		assert_int_equal(f->memory->ops->stat(f->memory, key, &bytes), 0);
		assert_int_equal(bytes, praas_sealed_bytes(n));
		for (size_t k = 0; k < sizeof(at) / sizeof(*at); k++) {
			uint64_t rest = at[k] < n ? n - at[k] : 0;

			assert_int_equal(
				get(f->sealed, key, at[k], back, n + 100, &got), 0);
			assert_int_equal(got, rest);
			assert_memory_equal(back, data + (rest ? at[k] : 0), rest);
			assert_int_equal(get(f->sealed, key, at[k], back, 7, &got), 0);
			assert_int_equal(got, rest < 7 ? rest : 7);
		}
		free(data);
		free(back);
	}
}

/* Nothing of what is in it can be seen, and the same bytes are other bytes each time. */
static void test_sealed_tells_nothing(void **state)
{
	static const char secret[] =
		"a canary that nobody is to see, long enough to be found";
	struct fixture *f = *state;
	uint8_t one[512], two[512];
	size_t got = 0;

	assert_int_equal(
		praas_store_put_bytes(f->sealed, "chunk/1", secret, sizeof(secret)), 0);
	assert_int_equal(get(f->memory, "chunk/1", 0, one, sizeof(one), &got), 0);
	assert_null(memmem(one, got, secret + 2, 6));
	assert_int_equal(f->sealed->ops->delete (f->sealed, "chunk/1"), 0);
	assert_int_equal(
		praas_store_put_bytes(f->sealed, "chunk/1", secret, sizeof(secret)), 0);
	assert_int_equal(get(f->memory, "chunk/1", 0, two, sizeof(two), &got), 0);
	assert_memory_not_equal(one + HEAD, two + HEAD, sizeof(secret));
}

/* Any byte of it that is another one is found out: head, text, tag. */
static void test_sealed_every_byte_counts(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = pattern(300), back[300];
	size_t got;

	assert_int_equal(praas_store_put_bytes(f->sealed, "log/1", data, 300), 0);
	for (uint64_t i = 0; i < praas_sealed_bytes(300); i++) {
		int rc;

		assert_int_equal(praas_store_memory_corrupt(f->memory, "log/1", i), 0);
		rc = get(f->sealed, "log/1", 0, back, sizeof(back), &got);
		if (i <
		    8) /* then it is taken for one in clear, and is none of what is expected */
			assert_true(rc != 0 || memcmp(back, data, 300) != 0);
		else
			assert_true(rc == -EPROTO || rc == -ENOKEY);
		assert_int_equal(praas_store_memory_corrupt(f->memory, "log/1", i), 0);
		assert_int_equal(get(f->sealed, "log/1", 0, back, sizeof(back), &got),
				 0);
	}
	free(data);
}

/* Copies an object as somebody does who sees the store from outside. */
static void copy(struct fixture *f, const char *from, const char *to, uint64_t bytes)
{
	uint8_t *data = NULL;
	size_t got = 0;

	assert_int_equal(praas_store_get_all(f->memory, from, 64u << 20, &data, &got),
			 0);
	(void)f->memory->ops->delete (f->memory, to);
	assert_int_equal(praas_store_put_bytes(f->memory, to, data,
					       bytes < got ? (size_t)bytes : got),
			 0);
	free(data);
}

static void expect_broken(struct fixture *f, const char *key, uint64_t offset,
			  const char *words)
{
	uint8_t back[64];
	size_t got;

	assert_int_equal(get(f->sealed, key, offset, back, sizeof(back), &got),
			 -EPROTO);
	assert_non_null(strstr(f->sealed->why, key));
	assert_non_null(strstr(f->sealed->why, words));
}

/* Under another name, cut at any segment, or with two of them exchanged, it is not what was sealed. */
static void test_sealed_swapped_cut_and_mixed(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = pattern(4 * SEGMENT), *raw = NULL;
	uint64_t bytes = 0;
	size_t got = 0;

	assert_int_equal(praas_store_put_bytes(f->sealed, "chunk/a", data, 4 * SEGMENT),
			 0);
	copy(f, "chunk/a", "chunk/b", UINT64_MAX);
	expect_broken(f, "chunk/b", 0, "altered");
	for (uint64_t n = 1; n < 4; n++) {
		copy(f, "chunk/a", "chunk/c", HEAD + n * (SEGMENT + 16));
		expect_broken(f, "chunk/c", (n - 1) * SEGMENT, "altered");
		assert_int_equal(f->sealed->ops->stat(f->sealed, "chunk/c", &bytes),
				 -EPROTO);
	}
	assert_int_equal(
		praas_store_get_all(f->memory, "chunk/a", 64u << 20, &raw, &got), 0);
	for (size_t i = 0; i < SEGMENT + 16; i++) {
		uint8_t byte = raw[HEAD + i];

		raw[HEAD + i] = raw[HEAD + SEGMENT + 16 + i];
		raw[HEAD + SEGMENT + 16 + i] = byte;
	}
	assert_int_equal(f->memory->ops->delete (f->memory, "chunk/a"), 0);
	assert_int_equal(praas_store_put_bytes(f->memory, "chunk/a", raw, got), 0);
	expect_broken(f, "chunk/a", 0, "altered");
	expect_broken(f, "chunk/a", SEGMENT, "altered");
	free(raw);
	free(data);
}

/* Of another process, tenant or generation: said so. */
static void test_sealed_of_another_process(void **state)
{
	struct praas_slot_id other[3] = { ours, ours, ours };
	struct fixture *f = *state;

	assert_int_equal(praas_store_put_bytes(f->sealed, "log/1", "x", 1), 0);
	other[0].pid++;
	other[1].generation++;
	other[2].tenant[15] = 1;
	for (unsigned i = 0; i < 3; i++) {
		reopen(f, KEY_A, &other[i]);
		expect_broken(f, "log/1", 0, "another process");
	}
}

/* Without its key it is not damaged but closed: which key it wants is said. Old keys go on opening, the first seals. */
static void test_sealed_keys_rotate(void **state)
{
	struct fixture *f = *state;
	uint8_t back[8];
	size_t got;
	char wanted[20];

	(void)snprintf(wanted, sizeof(wanted), "%016llx",
		       (unsigned long long)f->keys.key[0].id);
	assert_int_equal(praas_store_put_bytes(f->sealed, "log/1", "old", 3), 0);
	reopen(f, KEY_B, &ours);
	assert_int_equal(get(f->sealed, "log/1", 0, back, sizeof(back), &got), -ENOKEY);
	assert_non_null(strstr(f->sealed->why, wanted));
	reopen(f, KEY_B "# the old one\n" KEY_A, &ours);
	assert_int_equal(get(f->sealed, "log/1", 0, back, sizeof(back), &got), 0);
	assert_memory_equal(back, "old", 3);
	assert_int_equal(praas_store_put_bytes(f->sealed, "log/2", "new", 3), 0);
	reopen(f, KEY_B, &ours);
	assert_int_equal(get(f->sealed, "log/2", 0, back, sizeof(back), &got), 0);
	assert_memory_equal(back, "new", 3);
}

/* What was stored in clear is read and told of, or refused. */
static void test_sealed_reads_clear_or_refuses(void **state)
{
	struct fixture *f = *state;
	uint8_t back[200];
	uint64_t bytes = 0;
	size_t got;

	assert_int_equal(praas_store_put_bytes(f->memory, "log/1", "in clear", 8), 0);
	assert_int_equal(atomic_load(&f->sealed->clear_reads), 0);
	assert_int_equal(get(f->sealed, "log/1", 0, back, sizeof(back), &got), 0);
	assert_int_equal(got, 8);
	assert_memory_equal(back, "in clear", 8);
	assert_int_equal(get(f->sealed, "log/1", 3, back, 200, &got), 0);
	assert_memory_equal(back, "clear", 5);
	assert_int_equal(f->sealed->ops->stat(f->sealed, "log/1", &bytes), 0);
	assert_int_equal(bytes, 8);
	assert_true(atomic_load(&f->sealed->clear_reads) >= 2);
	f->keys.refuse_clear = true;
	assert_int_equal(get(f->sealed, "log/1", 0, back, sizeof(back), &got), -ENOKEY);
	assert_int_equal(get(f->sealed, "log/1", 3, back, 200, &got), -ENOKEY);
	assert_int_equal(f->sealed->ops->stat(f->sealed, "log/1", &bytes), -ENOKEY);
	assert_non_null(strstr(f->sealed->why, "in clear"));
}

/* Who does not know whose store it is reads what the heads say, and cannot write. */
static void test_sealed_without_an_identity(void **state)
{
	struct fixture *f = *state;
	uint8_t back[8];
	size_t got;

	assert_int_equal(praas_store_put_bytes(f->sealed, "log/1", "x", 1), 0);
	reopen(f, KEY_A, NULL);
	assert_int_equal(get(f->sealed, "log/1", 0, back, sizeof(back), &got), 0);
	assert_int_equal(praas_store_put_bytes(f->sealed, "log/2", "x", 1), -EROFS);
	assert_int_equal(f->sealed->ops->put_if_absent(f->sealed, "log/2", "x", 1),
			 -EROFS);
}

/* The hash in a chunk's name is another one with another key, and not the one of its contents. */
static void test_sealed_names_are_blind(void **state)
{
	uint8_t one[16] = "0123456789abcde", two[16], clear[16];
	struct fixture *f = *state;

	memcpy(clear, one, 16);
	memcpy(two, one, 16);
	assert_int_equal(f->sealed->blind(f->sealed, one), 0);
	assert_memory_not_equal(one, clear, 16);
	reopen(f, KEY_B, &ours);
	assert_int_equal(f->sealed->blind(f->sealed, two), 0);
	assert_memory_not_equal(one, two, 16);
	assert_null(f->memory->blind);
}

/* ---- keys ---- */

static void expect_keys(const char *text, int rc, unsigned count)
{
	struct praas_seal_keys keys = { .count = 0 };
	const char *why = "";

	assert_int_equal(praas_seal_keys_parse(text, strlen(text), &keys, &why), rc);
	assert_int_equal(keys.count, count);
	assert_true(rc == 0 || why[0] != '\0');
}

static void test_seal_keys_text(void **state)
{
	char many[9 * 66] = "";

	(void)state;
	expect_keys(KEY_A, 0, 1);
	expect_keys("\n# two\r\n" KEY_B "\n" KEY_A, 0, 2);
	expect_keys("", -EINVAL, 0);
	expect_keys("# none\n", -EINVAL, 0);
	expect_keys(KEY_A KEY_A, -EINVAL, 0);
	expect_keys("0011\n", -EINVAL, 0);
	expect_keys("zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		    -EINVAL, 0);
	for (unsigned i = 0; i < 9; i++) {
		char line[] = KEY_A;

		line[0] = (char)('1' + i);
		(void)strcat(many, line);
		expect_keys(many, i < 8 ? 0 : -EINVAL, i < 8 ? i + 1 : 0);
	}
}

static void test_seal_keys_from_file_and_command(void **state)
{
	char path[] = "/tmp/praas-key-XXXXXX", where[64];
	struct praas_seal_keys keys;
	const char *why = "";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, KEY_A, 65), 65);
	assert_int_equal(close(fd), 0);
	(void)snprintf(where, sizeof(where), "file:%s", path);
	assert_int_equal(praas_seal_keys_load(where, &keys, &why), 0);
	assert_int_equal(keys.count, 1);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(praas_seal_keys_load(where, &keys, &why), -EACCES);
	assert_non_null(strstr(why, "chmod"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(praas_seal_keys_load(where, &keys, &why), -ENOENT);
	assert_int_equal(praas_seal_keys_load("cmd:printf %s " KEY_B, &keys, &why), 0);
	assert_int_equal(praas_seal_keys_load("cmd:exit 3", &keys, &why), -EIO);
	assert_int_equal(praas_seal_keys_load("cmd:yes", &keys, &why), -EMSGSIZE);
	assert_int_equal(praas_seal_keys_load("vault:x", &keys, &why), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sealed_sizes_and_ranges, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_sealed_tells_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_sealed_every_byte_counts, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_sealed_swapped_cut_and_mixed,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_sealed_of_another_process, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_sealed_keys_rotate, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_sealed_reads_clear_or_refuses,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_sealed_without_an_identity, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_sealed_names_are_blind, setup,
						teardown),
		cmocka_unit_test(test_seal_keys_text),
		cmocka_unit_test(test_seal_keys_from_file_and_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
