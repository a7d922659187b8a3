/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/hand_over.h"

#define BIG_BYTES 100000u
#define LIMIT (1ull << 20)

static const struct praas_hand_head head = {
	.slot = 7,
	.epoch = 4,
	.token = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
};
static const uint8_t secret[PRAAS_HAND_SECRET_BYTES] = { 1, 2, 3 };
static uint8_t big[BIG_BYTES];

/* A process with a small object, a large one, and a message. */
static void collect(struct praas_snapshot *s)
{
	const struct praas_export_record records[] = {
		{ .kind = PRAAS_EXPORT_STATE,
		  .key = "large",
		  .key_bytes = 5,
		  .data = big,
		  .bytes = sizeof(big),
		  .version = 3 },
		{ .kind = PRAAS_EXPORT_STATE,
		  .key = "small",
		  .key_bytes = 5,
		  .data = "abc",
		  .bytes = 3,
		  .version = 4 },
		{ .kind = PRAAS_EXPORT_MESSAGE,
		  .key = "box",
		  .key_bytes = 3,
		  .data = big,
		  .bytes = 1000 },
	};

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(praas_snapshot_add(s, &records[i]), 0);
}

/* What a source sends, as bytes. */
static size_t sent(const struct praas_snapshot *base, uint8_t **ret_bytes)
{
	struct praas_slot_entry *entry = calloc(1, sizeof(*entry));
	struct praas_snapshot s = { 0 };
	struct praas_hand_what what = { .head = head, .snapshot = &s };
	uint8_t *all = malloc(2 * BIG_BYTES);
	size_t have = 0;
	uint64_t bytes;
	bool left;
	int fds[2], size = 1 << 20;

	assert_non_null(entry);
	assert_non_null(all);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
			 0);
	collect(&s);
	what.base = base;
	assert_int_equal(praas_hand_send(fds[0], &what, entry, &bytes, &left), 0);
	assert_true(left);
	(void)close(fds[0]);
	for (;;) {
		ssize_t n = read(fds[1], all + have, 2 * BIG_BYTES - have);

		assert_true(n >= 0);
		if (n == 0)
			break;
		have += (size_t)n;
	}
	(void)close(fds[1]);
	assert_int_equal(have, bytes + 16); /* the sum over them */
	praas_snapshot_release(&s);
	free(entry);
	*ret_bytes = all;
	return have;
}

static unsigned loaded;

static int count(void *user, const struct praas_export_record *r)
{
	(void)user;
	loaded++;
	if (r->bytes == BIG_BYTES)
		assert_memory_equal(r->data, big, BIG_BYTES);
	return 0;
}

/* What a destination makes of it. loaded: how many records it has then. */
static int taken(const uint8_t *data, size_t bytes, uint64_t max,
		 struct praas_store *under)
{
	struct praas_slot_entry *entry = calloc(1, sizeof(*entry));
	struct praas_snapshot s = { 0 };
	struct praas_store *store = NULL;
	struct praas_hand_head got;
	int fds[2], size = 1 << 20, rc;

	assert_non_null(entry);
	loaded = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
			 0);
	assert_int_equal(send(fds[0], data, bytes, 0), bytes);
	(void)close(fds[0]);
	rc = praas_hand_receive(fds[1], max, under, &got, &store, entry);
	if (rc == 0) {
		assert_int_equal(got.slot, head.slot);
		assert_int_equal(got.epoch, head.epoch);
		assert_string_equal(got.token, head.token);
		rc = praas_snapshot_open(store, entry, &s);
	}
	if (rc == 0)
		rc = praas_snapshot_load(store, &s, NULL, 0, count, NULL);
	praas_snapshot_release(&s);
	praas_store_free(store);
	(void)close(fds[1]);
	free(entry);
	return rc;
}

static struct praas_store *empty(void)
{
	struct praas_store *store;

	assert_int_equal(praas_store_memory_open(&store), 0);
	return store;
}

/* All that is sent is there. */
static void test_hand_over_whole(void **state)
{
	struct praas_store *under = empty();
	uint8_t *data;
	size_t bytes = sent(NULL, &data);

	(void)state;
	assert_true(bytes > BIG_BYTES);
	assert_int_equal(taken(data, bytes, LIMIT, under), 0);
	assert_int_equal(loaded, 3);
	assert_int_equal(taken(data, bytes, BIG_BYTES / 2, under), -EMSGSIZE);
	free(data);
	praas_store_free(under);
}

/* What the last snapshot has in the store stays there, and is looked for nowhere else. */
static void test_hand_over_leaves_what_is_stored(void **state)
{
	struct praas_slot_entry *entry = calloc(1, sizeof(*entry));
	struct praas_store *under = empty(), *other = empty();
	struct praas_snapshot_result result;
	struct praas_snapshot base = { 0 };
	uint8_t *data;
	size_t bytes;

	(void)state;
	assert_non_null(entry);
	collect(&base);
	assert_int_equal(
		praas_snapshot_write(under, &base, NULL, 0, NULL, entry, &result), 0);
	bytes = sent(&base, &data);
	assert_true(bytes < BIG_BYTES / 2);
	assert_int_equal(taken(data, bytes, LIMIT, under), 0);
	assert_int_equal(loaded, 3);
	assert_int_equal(taken(data, bytes, LIMIT, other), -ENOENT);
	free(data);
	free(entry);
	praas_snapshot_release(&base);
	praas_store_free(under);
	praas_store_free(other);
}

/* Cut anywhere, or wrong in any byte, it is not taken. */
static void test_hand_over_damage_is_seen(void **state)
{
	struct praas_store *under = empty();
	uint8_t *data;
	size_t bytes = sent(NULL, &data);

	(void)state;
	for (size_t i = 0; i < bytes; i += i < 400 || i + 600 > bytes ? 1 : 997) {
		assert_int_not_equal(taken(data, i, LIMIT, under), 0);
		data[i] ^= 0x10;
		/* A length that grows waits for bytes that do not come; it ends with the connection. */
		assert_int_not_equal(taken(data, bytes, LIMIT, under), 0);
		data[i] ^= 0x10;
	}
	free(data);
	praas_store_free(under);
}

/* A destination that goes away is an error, and it is known that the last part has not left. */
static void test_hand_over_destination_gone(void **state)
{
	struct praas_slot_entry *entry = calloc(1, sizeof(*entry));
	struct praas_snapshot s = { 0 };
	struct praas_hand_what what = { .head = head, .snapshot = &s };
	uint64_t bytes;
	bool left = true;
	int fds[2];

	(void)state;
	assert_non_null(entry);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	(void)close(fds[1]);
	collect(&s);
	assert_int_equal(praas_hand_send(fds[0], &what, entry, &bytes, &left), -EPIPE);
	assert_false(left);
	(void)close(fds[0]);
	praas_snapshot_release(&s);
	free(entry);
}

struct meeting {
	char path[64];
	const uint8_t *secret;
	uint32_t epoch;
	int fd, rc;
};

static void *come(void *user)
{
	struct meeting *m = user;

	m->rc = praas_hand_connect(m->path, m->secret, m->epoch, &m->fd);
	return NULL;
}

static int meet(struct meeting *m, int listen_fd, const uint8_t *with, uint32_t epoch,
		int *ret_fd)
{
	pthread_t thread;
	int rc;

	m->secret = with;
	m->epoch = epoch;
	assert_int_equal(pthread_create(&thread, NULL, come, m), 0);
	while ((rc = praas_hand_accept(listen_fd, secret, 5, ret_fd)) == -EAGAIN)
		(void)usleep(100);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(m->rc, 0);
	return rc;
}

/* Only who knows the secret, and is of that epoch, is the destination; and what it says is heard. */
static void test_hand_over_strangers(void **state)
{
	static const uint8_t wrong[PRAAS_HAND_SECRET_BYTES] = { 1, 2, 4 };
	char text[PRAAS_HAND_TEXT_MAX], dir[] = "/tmp/praas-hand-XXXXXX";
	struct meeting m = { .fd = -1 };
	int fd, there = -1, rc = 1;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(m.path, sizeof(m.path), "%s/s", dir);
	assert_int_equal(praas_hand_connect(m.path, secret, 5, &there), -ENOENT);
	assert_int_equal(praas_hand_listen("relative", &fd), -EINVAL);
	assert_int_equal(praas_hand_listen(m.path, &fd), 0);
	assert_int_equal(praas_hand_accept(fd, secret, 5, &there), -EAGAIN);
	assert_int_equal(meet(&m, fd, wrong, 5, &there), -EACCES);
	(void)close(m.fd);
	assert_int_equal(meet(&m, fd, secret, 6, &there), -EACCES);
	(void)close(m.fd);
	assert_int_equal(meet(&m, fd, secret, 5, &there), 0);
	assert_int_equal(praas_hand_hear(there, &rc, text), -EAGAIN);
	assert_int_equal(praas_hand_tell(m.fd, -ENOSPC, "no room"), 0);
	assert_int_equal(praas_hand_hear(there, &rc, text), 0);
	assert_int_equal(rc, -ENOSPC);
	assert_string_equal(text, "no room");
	assert_int_equal(send(m.fd, "0123456789abcdef", 16, 0), 16);
	assert_int_equal(praas_hand_hear(there, &rc, text), -EPROTO);
	(void)close(m.fd);
	assert_int_equal(praas_hand_hear(there, &rc, text), -ECONNRESET);
	(void)close(there);
	(void)close(fd);
	(void)unlink(m.path);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hand_over_whole),
		cmocka_unit_test(test_hand_over_leaves_what_is_stored),
		cmocka_unit_test(test_hand_over_damage_is_seen),
		cmocka_unit_test(test_hand_over_destination_gone),
		cmocka_unit_test(test_hand_over_strangers),
	};

	for (unsigned i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7 + i / 256);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
