/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/hand_over.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <xxhash.h>

#include "internal/base.h"
#include "internal/bytes.h"

#define MAGIC 0x31564d5341415250ull /* "PRAASMV1" */
#define HELLO_BYTES 48u
#define HEAD_BYTES 88u
#define OBJECT_BYTES 16u
#define SUM_BYTES 16u
#define STEP_S 10 /* that one read or write may take */
#define PIECE_BYTES (256u * 1024u)
#define OBJECTS_MAX 100000u

/* ---- bytes ---- */

static int patience(int fd)
{
	struct timeval tv = { .tv_sec = STEP_S };

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) != 0 ||
			       setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv,
					  sizeof(tv)) != 0
		       ? -errno
		       : 0;
}

static int failed(ssize_t n)
{
	if (n == 0)
		return -ECONNRESET;
	return errno == EAGAIN ? -ETIMEDOUT : -errno;
}

static int write_all(int fd, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	while (bytes > 0) {
		ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return failed(n);
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int read_all(int fd, void *data, size_t bytes)
{
	uint8_t *at = data;

	while (bytes > 0) {
		ssize_t n = recv(fd, at, bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return failed(n);
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* A connection with a sum over all that passes. */
struct stream {
	int fd;
	XXH3_state_t *sum;
	uint64_t bytes;
};

static int stream_begin(struct stream *st, int fd)
{
	*st = (struct stream){ .fd = fd, .sum = XXH3_createState() };
	if (!st->sum)
		return -ENOMEM;
	(void)XXH3_128bits_reset(st->sum); /* not NULL: no error */
	return 0;
}

static int stream_write(struct stream *st, const void *data, size_t bytes)
{
	(void)XXH3_128bits_update(st->sum, data, bytes); /* not NULL: no error */
	st->bytes += bytes;
	return write_all(st->fd, data, bytes);
}

static int stream_read(struct stream *st, void *data, size_t bytes)
{
	int rc = read_all(st->fd, data, bytes);

	if (rc == 0)
		(void)XXH3_128bits_update(st->sum, data,
					  bytes); /* not NULL: no error */
	st->bytes += bytes;
	return rc;
}

static void stream_sum(const struct stream *st, uint8_t ret_sum[SUM_BYTES])
{
	XXH128_canonical_t sum;

	XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(st->sum));
	memcpy(ret_sum, sum.digest, SUM_BYTES);
}

/* ---- meeting ---- */

static int address(const char *path, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (path[0] != '/' || strlen(path) >= sizeof(ret_address->sun_path))
		return -EINVAL;
	memcpy(ret_address->sun_path, path, strlen(path) + 1);
	return 0;
}

int praas_hand_listen(const char *path, int *ret_fd)
{
	struct sockaddr_un at;
	int rc = address(path, &at), fd;

	if (rc != 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(path); /* of an earlier try */
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4) != 0) {
		rc = -errno;
		(void)close(fd); /* nothing is in it */
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

static int check_hello(int fd, const uint8_t *secret, uint32_t epoch)
{
	uint8_t hello[HELLO_BYTES], differ = 0;
	int rc = read_all(fd, hello, sizeof(hello));

	if (rc != 0)
		return rc;
	if (praas_get_le(hello, 8) != MAGIC)
		return -EPROTO;
	for (unsigned i = 0; i < PRAAS_HAND_SECRET_BYTES; i++) /* in constant time */
		differ |= hello[8 + i] ^ secret[i];
	explicit_bzero(hello + 8, PRAAS_HAND_SECRET_BYTES);
	return differ == 0 && praas_get_le(hello + 40, 4) == epoch ? 0 : -EACCES;
}

int praas_hand_accept(int listen_fd, const uint8_t secret[PRAAS_HAND_SECRET_BYTES],
		      uint32_t epoch, int *ret_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC), rc;

	if (fd < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED
			       ? -EAGAIN
			       : -errno;
	rc = patience(fd);
	if (rc == 0)
		rc = check_hello(fd, secret, epoch);
	if (rc != 0) {
		(void)close(fd); /* a stranger's */
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int praas_hand_connect(const char *path, const uint8_t secret[PRAAS_HAND_SECRET_BYTES],
		       uint32_t epoch, int *ret_fd)
{
	uint8_t hello[HELLO_BYTES] = { 0 };
	struct sockaddr_un at;
	int rc = address(path, &at), fd;

	if (rc != 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	praas_put_le(hello, MAGIC, 8);
	memcpy(hello + 8, secret, PRAAS_HAND_SECRET_BYTES);
	praas_put_le(hello + 40, epoch, 4);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		rc = -errno;
	if (rc == 0)
		rc = patience(fd);
	if (rc == 0)
		rc = write_all(fd, hello, sizeof(hello));
	explicit_bzero(hello, sizeof(hello));
	if (rc != 0) {
		(void)close(fd); /* nothing is in it */
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* ---- sending: a store that has no objects of its own ---- */

struct sending {
	struct praas_store base;
	struct stream *st;
	uint8_t *piece; /* of PIECE_BYTES */
};

/* An object: how many bytes, the bytes, then its name, which may depend on them. */
static int sending_put(struct praas_store *s, const struct praas_store_source *source)
{
	struct sending *x = (struct sending *)(void *)s;
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint8_t head[OBJECT_BYTES] = { 0 }, length[4];
	uint64_t left = source->bytes;
	int rc;

	praas_put_le(head, 1, 4);
	praas_put_le(head + 8, source->bytes, 8);
	rc = stream_write(x->st, head, sizeof(head));
	while (rc == 0 && left > 0) {
		size_t n = (size_t)praas_min_u64(left, PIECE_BYTES);

		rc = source->fill(source->user, x->piece, n);
		if (rc == 0)
			rc = stream_write(x->st, x->piece, n);
		left -= n;
	}
	if (rc == 0)
		rc = source->name(source->user, key);
	if (rc != 0)
		return rc;
	praas_put_le(length, strlen(key), 4);
	rc = stream_write(x->st, length, sizeof(length));
	return rc == 0 ? stream_write(x->st, key, strlen(key)) : rc;
}

static const struct praas_store_ops sending_ops = { .scheme = "sending",
						    .put = sending_put };

static int send_end(struct stream *st, const struct praas_slot_entry *entry,
		    bool *ret_left)
{
	uint8_t head[OBJECT_BYTES] = { 0 }, sum[SUM_BYTES];
	int rc;

	praas_put_le(head + 8, entry->body_bytes, 8);
	rc = stream_write(st, head, sizeof(head));
	if (rc == 0)
		rc = stream_write(st, entry->body, entry->body_bytes);
	if (rc != 0)
		return rc;
	stream_sum(st, sum);
	*ret_left = true;
	return write_all(st->fd, sum, sizeof(sum));
}

static int send_head(struct stream *st, const struct praas_hand_head *head)
{
	uint8_t data[HEAD_BYTES] = { 0 };
	int rc;

	praas_put_le(data, MAGIC, 8);
	praas_put_le(data + 8, head->slot, 8);
	praas_put_le(data + 16, head->epoch, 4);
	praas_put_le(data + 20, head->log, 4);
	memcpy(data + 24, head->token, PRAAS_HAND_TOKEN_BYTES);
	rc = stream_write(st, data, sizeof(data));
	explicit_bzero(data, sizeof(data));
	return rc;
}

int praas_hand_send(int fd, const struct praas_hand_what *what,
		    struct praas_slot_entry *entry, uint64_t *ret_bytes, bool *ret_left)
{
	struct praas_snapshot_result result;
	struct stream st;
	struct sending x = { .base = { .ops = &sending_ops }, .st = &st };
	int rc = stream_begin(&st, fd);

	*ret_left = false;
	x.piece = malloc(PIECE_BYTES);
	if (rc == 0 && !x.piece)
		rc = -ENOMEM;
	if (rc == 0)
		rc = send_head(&st, &what->head);
	if (rc == 0)
		rc = praas_snapshot_write(&x.base, what->snapshot, what->functions,
					  what->functions_count, what->base, entry,
					  &result);
	if (rc == 0)
		rc = send_end(&st, entry, ret_left);
	*ret_bytes = st.bytes;
	(void)XXH3_freeState(st.sum); /* NULL is allowed */
	free(x.piece);
	return rc;
}

/* ---- receiving: what came, above the store that has the rest ---- */

struct received {
	struct praas_store base;
	struct praas_store *own; /* in memory */
	struct praas_store *under;
};

static int received_get(struct praas_store *s, const char *key, uint64_t offset,
			void *data, size_t bytes, size_t *ret_bytes)
{
	struct received *x = (struct received *)(void *)s;
	int rc = x->own->ops->get(x->own, key, offset, data, bytes, ret_bytes);

	return rc == -ENOENT ? x->under->ops->get(x->under, key, offset, data, bytes,
						  ret_bytes)
			     : rc;
}

static int received_stat(struct praas_store *s, const char *key, uint64_t *ret_bytes)
{
	struct received *x = (struct received *)(void *)s;
	int rc = x->own->ops->stat(x->own, key, ret_bytes);

	return rc == -ENOENT ? x->under->ops->stat(x->under, key, ret_bytes) : rc;
}

static void received_free(struct praas_store *s)
{
	struct received *x = (struct received *)(void *)s;

	praas_store_free(x->own);
	free(x);
}

static const struct praas_store_ops received_ops = { .scheme = "received",
						     .get = received_get,
						     .stat = received_stat,
						     .free = received_free };

static int received_new(struct praas_store *under, struct received **ret_x)
{
	struct received *x = calloc(1, sizeof(*x));
	int rc = x ? praas_store_memory_open(&x->own) : -ENOMEM;

	if (rc != 0) {
		free(x);
		return rc;
	}
	x->base.ops = &received_ops;
	x->under = under;
	*ret_x = x;
	return 0;
}

/* praas_store_source of an object that comes over the connection. */
static int fill_from(void *user, uint8_t *data, size_t bytes)
{
	return stream_read(user, data, bytes);
}

static int name_from(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	uint8_t length[4];
	int rc = stream_read(user, length, sizeof(length));
	uint64_t bytes;

	if (rc != 0)
		return rc;
	bytes = praas_get_le(length, 4);
	if (bytes == 0 || bytes > PRAAS_STORE_KEY_MAX)
		return -EPROTO;
	rc = stream_read(user, ret_key, (size_t)bytes);
	ret_key[bytes] = '\0';
	return rc;
}

static int receive_objects(struct stream *st, struct received *x, uint64_t bytes_max,
			   uint64_t *ret_body_bytes)
{
	uint8_t head[OBJECT_BYTES];

	for (unsigned i = 0; i < OBJECTS_MAX; i++) {
		struct praas_store_source source = { .fill = fill_from,
						     .name = name_from,
						     .user = st };
		int rc = stream_read(st, head, sizeof(head));

		if (rc != 0)
			return rc;
		source.bytes = praas_get_le(head + 8, 8);
		if (praas_get_le(head, 4) == 0) {
			*ret_body_bytes = source.bytes;
			return source.bytes <= PRAAS_SLOT_BODY_MAX ? 0 : -EPROTO;
		}
		if (source.bytes > bytes_max || st->bytes > bytes_max - source.bytes)
			return -EMSGSIZE;
		rc = x->own->ops->put(x->own, &source);
		if (rc != 0)
			return rc == -EINVAL ? -EPROTO : rc;
	}
	return -EPROTO;
}

static int receive_head(struct stream *st, struct praas_hand_head *ret_head)
{
	uint8_t data[HEAD_BYTES];
	int rc = stream_read(st, data, sizeof(data));

	if (rc != 0)
		return rc;
	ret_head->slot = praas_get_le(data + 8, 8);
	ret_head->epoch = (uint32_t)praas_get_le(data + 16, 4);
	ret_head->log = praas_get_le(data + 20, 4) == 1;
	memcpy(ret_head->token, data + 24, PRAAS_HAND_TOKEN_BYTES);
	ret_head->token[PRAAS_HAND_TOKEN_BYTES] = '\0';
	explicit_bzero(data + 24, PRAAS_HAND_TOKEN_BYTES);
	if (praas_get_le(data, 8) != MAGIC ||
	    strspn(ret_head->token, "0123456789abcdef") != PRAAS_HAND_TOKEN_BYTES)
		return -EPROTO;
	return 0;
}

static int receive_end(struct stream *st, uint64_t body_bytes,
		       struct praas_slot_entry *ret_entry)
{
	uint8_t ours[SUM_BYTES], theirs[SUM_BYTES];
	int rc = stream_read(st, ret_entry->body, (size_t)body_bytes);

	if (rc != 0)
		return rc;
	stream_sum(st, ours);
	rc = read_all(st->fd, theirs, sizeof(theirs));
	if (rc == 0 && memcmp(ours, theirs, sizeof(ours)) != 0)
		rc = -EPROTO;
	ret_entry->kind = PRAAS_SLOT_SNAP;
	ret_entry->body_bytes = (uint32_t)body_bytes;
	return rc;
}

int praas_hand_receive(int fd, uint64_t bytes_max, struct praas_store *under,
		       struct praas_hand_head *ret_head, struct praas_store **ret_store,
		       struct praas_slot_entry *ret_entry)
{
	struct received *x = NULL;
	uint64_t body_bytes = 0;
	struct stream st;
	int rc = stream_begin(&st, fd);

	if (rc == 0)
		rc = received_new(under, &x);
	if (rc == 0)
		rc = receive_head(&st, ret_head);
	if (rc == 0)
		rc = receive_objects(&st, x, bytes_max, &body_bytes);
	if (rc == 0)
		rc = receive_end(&st, body_bytes, ret_entry);
	(void)XXH3_freeState(st.sum); /* NULL is allowed */
	if (rc == 0)
		*ret_store = &x->base;
	else if (x)
		received_free(&x->base);
	return rc;
}

/* ---- the destination's word ---- */

int praas_hand_tell(int fd, int rc, const char *text)
{
	size_t bytes = strnlen(text, PRAAS_HAND_TEXT_MAX - 1);
	uint8_t head[OBJECT_BYTES] = { 0 };

	praas_put_le(head, 2, 4);
	praas_put_le(head + 4, (uint32_t)-rc, 4);
	praas_put_le(head + 8, bytes, 8);
	if (write_all(fd, head, sizeof(head)) != 0)
		return -EPIPE;
	return write_all(fd, text, bytes);
}

bool praas_hand_comes(int fd)
{
	char one;

	return recv(fd, &one, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
	       (errno != EAGAIN && errno != EINTR);
}

int praas_hand_hear(int fd, int *ret_rc, char ret_text[PRAAS_HAND_TEXT_MAX])
{
	uint8_t head[OBJECT_BYTES];
	uint64_t bytes, why;
	int rc;

	if (!praas_hand_comes(fd))
		return -EAGAIN;
	rc = read_all(fd, head, sizeof(head));
	if (rc != 0)
		return rc;
	why = praas_get_le(head + 4, 4);
	bytes = praas_get_le(head + 8, 8);
	if (praas_get_le(head, 4) != 2 || why > 4095 || bytes >= PRAAS_HAND_TEXT_MAX)
		return -EPROTO;
	rc = read_all(fd, ret_text, (size_t)bytes);
	ret_text[bytes] = '\0';
	*ret_rc = -(int)why;
	return rc;
}
