/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/sealed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/evp.h>

#include "internal/base.h"
#include "internal/bytes.h"

/*
 * Head, 96 bytes, little-endian:
 *    0 magic u64   8 version u32   12 bytes of a segment u32   16 key id u64   24 salt 16   40 bytes of all u64
 *   48 tenant 16   64 pid u64      72 generation u64           80 zero 16
 * Then segments of 64 KiB, the last one shorter, each followed by its tag. Each object has a key of its own, made
 * from the store's and the head; the nonce is the number of the segment and whether it is the last; the head and the
 * object's name are authenticated with each.
 */

#define MAGIC 0x4c41455353415250ull /* "PRASSEAL" */
#define VERSION 1u
#define HEAD PRAAS_SEAL_HEAD_BYTES
#define SEGMENT PRAAS_SEAL_SEGMENT_BYTES
#define TAG PRAAS_SEAL_TAG_BYTES
#define WHOLE (SEGMENT + TAG)
#define NONCE_BYTES 12u
#define GROUP 128u /* segments that are read at once: 8 MiB */

/* An object that is sealed or opened. */
struct object {
	char key[PRAAS_STORE_KEY_MAX + 1]; /* its name; "": none */
	uint8_t head[HEAD];
	uint64_t bytes;
};

struct sealed_store {
	struct praas_store base;
	struct praas_store *inner;
	const struct praas_seal_keys *keys;
	bool has_id;
	struct praas_slot_id id;
	EVP_CIPHER_CTX *ctx;
	struct object open; /* whose key the context has, for opening */
	uint8_t *group;     /* of reading: GROUP segments, or NULL */
};

static struct sealed_store *sealed_of(struct praas_store *s)
{
	return (struct sealed_store *)(void *)s;
}

uint64_t praas_sealed_bytes(uint64_t bytes)
{
	uint64_t segments = bytes > 0 ? (bytes + SEGMENT - 1) / SEGMENT : 1;

	return HEAD + bytes + segments * TAG;
}

/* rc of the inner store, with its words. */
static int inner_says(struct sealed_store *s, int rc)
{
	memcpy(s->base.why, s->inner->why, sizeof(s->base.why));
	return rc;
}

static int broken(struct sealed_store *s, const char *key, const char *what)
{
	(void)snprintf(s->base.why, sizeof(s->base.why),
		       "the seal of %.100s is broken: %s", key, what);
	s->open.key[0] = '\0';
	return -EPROTO;
}

/* ---- keys ---- */

/* The context has the object's own key, from the store's and all that its head says. */
static int begin(struct sealed_store *s, const struct praas_seal_key *key,
		 const uint8_t head[HEAD], int seals)
{
	uint8_t own[PRAAS_SEAL_KEY_BYTES];
	int rc = praas_seal_mac(key, "praas object key", head, HEAD, own);

	if (rc == 0 &&
	    EVP_CipherInit_ex(s->ctx, EVP_aes_256_gcm(), NULL, own, NULL, seals) != 1)
		rc = -ENOMEM;
	explicit_bzero(own, sizeof(own));
	return rc;
}

/* Seals or opens a segment in place. tag: behind it. False: it is not what was sealed. */
static bool segment(struct sealed_store *s, const struct object *o, uint64_t number,
		    bool last, uint8_t *data, size_t bytes, int seals)
{
	uint8_t nonce[NONCE_BYTES], *tag = data + bytes;
	int n = 0, end = 0;

	praas_put_le(nonce, number, 8);
	praas_put_le(nonce + 8, last, 4);
	if (EVP_CipherInit_ex(s->ctx, NULL, NULL, NULL, nonce, seals) != 1 ||
	    EVP_CipherUpdate(s->ctx, NULL, &n, o->head, (int)HEAD) != 1 ||
	    EVP_CipherUpdate(s->ctx, NULL, &n, (const uint8_t *)o->key,
			     (int)strlen(o->key)) != 1)
		return false;
	if (!seals &&
	    EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_AEAD_SET_TAG, (int)TAG, tag) != 1)
		return false;
	if (bytes > 0 && EVP_CipherUpdate(s->ctx, data, &n, data, (int)bytes) != 1)
		return false;
	if (EVP_CipherFinal_ex(s->ctx, data + bytes, &end) != 1)
		return false;
	return !seals ||
	       EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_AEAD_GET_TAG, (int)TAG, tag) == 1;
}

/* ---- writing ---- */

static int make_object(struct sealed_store *s, const char *key, uint64_t bytes,
		       struct object *o)
{
	const struct praas_seal_key *newest = &s->keys->key[0];

	if (!s->has_id)
		return -EROFS;
	*o = (struct object){ .bytes = bytes };
	memcpy(o->key, key, strlen(key) + 1); /* a key, checked */
	praas_put_le(o->head, MAGIC, 8);
	praas_put_le(o->head + 8, VERSION, 4);
	praas_put_le(o->head + 12, SEGMENT, 4);
	praas_put_le(o->head + 16, newest->id, 8);
	if (getrandom(o->head + 24, 16, 0) != 16)
		return -EIO;
	praas_put_le(o->head + 40, bytes, 8);
	memcpy(o->head + 48, s->id.tenant, 16);
	praas_put_le(o->head + 64, s->id.pid, 8);
	praas_put_le(o->head + 72, s->id.generation, 8);
	s->open.key[0] = '\0'; /* the context is another's */
	return begin(s, newest, o->head, 1);
}

/* What the inner store pulls: the head, then segments as they are filled and sealed. */
struct sealing {
	struct sealed_store *s;
	const struct praas_store_source *source;
	struct object o;
	uint64_t number, left; /* segments sealed; bytes to come */
	uint8_t piece[WHOLE];  /* the head, or a segment that is asked for in parts */
	size_t piece_at, piece_end;
};

/* The next segment, into data (WHOLE bytes of room). */
static int seal_next(struct sealing *w, uint8_t *data, size_t *ret_bytes)
{
	size_t n = (size_t)praas_min_u64(SEGMENT, w->left);
	int rc = n > 0 ? w->source->fill(w->source->user, data, n) : 0;

	if (rc != 0)
		return rc;
	w->left -= n;
	if (!segment(w->s, &w->o, w->number++, w->left == 0, data, n, 1))
		return -ENOMEM;
	*ret_bytes = n + TAG;
	return 0;
}

static int seal_fill(void *user, uint8_t *data, size_t bytes)
{
	struct sealing *w = user;
	int rc = 0;

	while (rc == 0 && bytes > 0) {
		size_t n = w->piece_end - w->piece_at;

		if (n > 0) {
			n = (size_t)praas_min_u64(n, bytes);
			memcpy(data, w->piece + w->piece_at, n);
			w->piece_at += n;
		} else if (bytes >= WHOLE) { /* straight to its place */
			rc = seal_next(w, data, &n);
		} else {
			w->piece_at = 0;
			rc = seal_next(w, w->piece, &w->piece_end);
			continue;
		}
		data += n;
		bytes -= n;
	}
	return rc;
}

static int seal_name(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	const struct sealing *w = user;

	memcpy(ret_key, w->o.key, sizeof(w->o.key));
	return 0;
}

/* The name is part of what is authenticated: so it is asked first. */
static int sealed_put(struct praas_store *store,
		      const struct praas_store_source *source)
{
	struct sealed_store *s = sealed_of(store);
	struct praas_store_source sealed = { .bytes = praas_sealed_bytes(source->bytes),
					     .fill = seal_fill,
					     .name = seal_name };
	char key[PRAAS_STORE_KEY_MAX + 1];
	struct sealing *w;
	int rc = source->name(source->user, key);

	if (rc == 0)
		rc = praas_store_key_check(key);
	if (rc != 0)
		return rc;
	w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct sealing){ .s = s, .source = source, .left = source->bytes };
	rc = make_object(s, key, source->bytes, &w->o);
	if (rc == 0) {
		memcpy(w->piece, w->o.head, HEAD);
		w->piece_end = HEAD;
		sealed.user = w;
		rc = inner_says(s, s->inner->ops->put(s->inner, &sealed));
	}
	if (rc == 0)
		store->bytes_written += source->bytes;
	explicit_bzero(w, sizeof(*w));
	free(w);
	return rc;
}

static int sealed_put_if_absent(struct praas_store *store, const char *key,
				const void *data, size_t bytes)
{
	struct sealed_store *s = sealed_of(store);
	size_t room = (size_t)praas_sealed_bytes(bytes), at = HEAD;
	const uint8_t *from = data;
	struct object o;
	uint8_t *all;
	int rc = praas_store_key_check(key);

	if (rc == 0)
		rc = make_object(s, key, bytes, &o);
	if (rc != 0)
		return rc;
	all = malloc(room);
	if (!all)
		return -ENOMEM;
	memcpy(all, o.head, HEAD);
	for (uint64_t i = 0, left = bytes; rc == 0 && at < room; i++) {
		size_t n = (size_t)praas_min_u64(SEGMENT, left);

		if (n > 0)
			memcpy(all + at, from, n);
		left -= n;
		from += n;
		if (!segment(s, &o, i, left == 0, all + at, n, 1))
			rc = -ENOMEM;
		at += n + TAG;
	}
	if (rc == 0)
		rc = inner_says(s,
				s->inner->ops->put_if_absent(s->inner, key, all, room));
	if (rc == 0)
		store->bytes_written += bytes;
	free(all);
	return rc;
}

/* ---- reading ---- */

static bool is_sealed(const uint8_t *data, size_t bytes)
{
	return bytes >= 8 && praas_get_le(data, 8) == MAGIC;
}

static int in_clear(struct sealed_store *s, const char *key)
{
	if (!s->keys->refuse_clear) {
		(void)atomic_fetch_add_explicit(&s->base.clear_reads, 1,
						memory_order_relaxed);
		return 0;
	}
	(void)snprintf(s->base.why, sizeof(s->base.why),
		       "%.100s is stored in clear, which is refused", key);
	return -ENOKEY;
}

/* A head that was read; bytes: how much of it there was. */
static int take_head(struct sealed_store *s, const char *key, const uint8_t *head,
		     size_t bytes)
{
	const struct praas_seal_key *k;
	uint64_t id;
	int rc;

	if (bytes < HEAD || praas_get_le(head + 8, 4) != VERSION ||
	    praas_get_le(head + 12, 4) != SEGMENT ||
	    praas_get_le(head + 40, 8) > INT64_MAX / 2)
		return broken(s, key, "its head is none");
	if (s->has_id && (memcmp(head + 48, s->id.tenant, 16) != 0 ||
			  praas_get_le(head + 64, 8) != s->id.pid ||
			  praas_get_le(head + 72, 8) != s->id.generation))
		return broken(s, key, "it is another process's");
	id = praas_get_le(head + 16, 8);
	k = praas_seal_key_find(s->keys, id);
	if (!k) {
		(void)snprintf(s->base.why, sizeof(s->base.why),
			       "%.100s is sealed with key %016" PRIx64
			       ", which is not among the keys given",
			       key, id);
		return -ENOKEY;
	}
	s->open.key[0] = '\0';
	rc = begin(s, k, head, 0);
	if (rc != 0)
		return rc;
	memcpy(s->open.head, head, HEAD);
	s->open.bytes = praas_get_le(head + 40, 8);
	(void)snprintf(s->open.key, sizeof(s->open.key), "%s", key); /* checked */
	return 0;
}

/* Opens whole segments in place and hands over what of them is wanted. first: number of the first one; at: where
 * the wanted bytes begin in the object. */
static int open_segments(struct sealed_store *s, uint64_t first, uint8_t *data,
			 size_t bytes, uint64_t from, uint8_t *to, size_t wanted)
{
	uint64_t begins = first * SEGMENT;

	for (uint64_t i = first; wanted > 0 || (s->open.bytes == 0 && i == first);
	     i++) {
		size_t n = (size_t)praas_min_u64(SEGMENT, s->open.bytes - begins);
		bool last = begins + n == s->open.bytes;
		size_t skip, take;

		if (bytes < n + TAG)
			return broken(s, s->open.key, "it is cut short");
		if (!segment(s, &s->open, i, last, data, n, 0))
			return broken(s, s->open.key,
				      "altered, or not what has this name");
		skip = (size_t)(from - begins);
		take = (size_t)praas_min_u64(n - skip, wanted);
		if (take > 0)
			memcpy(to, data + skip, take);
		to += take;
		from += take;
		wanted -= take;
		data += n + TAG;
		bytes -= n + TAG;
		begins += n;
		if (last)
			break;
	}
	return 0;
}

/* From a segment's begin on, in groups. */
static int get_segments(struct sealed_store *s, uint64_t offset, uint8_t *data,
			size_t bytes)
{
	char key[PRAAS_STORE_KEY_MAX + 1];

	if (!s->group)
		s->group = malloc((size_t)GROUP * WHOLE);
	if (!s->group)
		return -ENOMEM;
	memcpy(key, s->open.key, sizeof(key));
	while (bytes > 0) {
		uint64_t first = offset / SEGMENT;
		uint64_t end = (offset + bytes + SEGMENT - 1) / SEGMENT;
		uint64_t count = praas_min_u64(end - first, GROUP);
		size_t n, got = 0;
		int rc = s->inner->ops->get(s->inner, key, HEAD + first * WHOLE,
					    s->group, (size_t)count * WHOLE, &got);

		if (rc != 0)
			return inner_says(s, rc);
		n = (size_t)praas_min_u64((first + count) * SEGMENT - offset, bytes);
		rc = open_segments(s, first, s->group, got, offset, data, n);
		if (rc != 0)
			return rc;
		offset += n;
		data += n;
		bytes -= n;
	}
	return 0;
}

/* The head and the first segments at once: what small objects are. */
static int get_first(struct sealed_store *s, const char *key, uint8_t *data,
		     size_t bytes, size_t *ret_bytes)
{
	size_t room =
		(size_t)praas_sealed_bytes(praas_min_u64(bytes, 2u * SEGMENT)) + WHOLE;
	uint8_t *all = malloc(room);
	size_t got = 0, n;
	int rc = all ? s->inner->ops->get(s->inner, key, 0, all, room, &got) : -ENOMEM;

	if (rc != 0) {
		free(all);
		return inner_says(s, rc);
	}
	if (!is_sealed(all, got)) {
		free(all);
		rc = in_clear(s, key);
		return rc ? rc
			  : inner_says(s, s->inner->ops->get(s->inner, key, 0, data,
							     bytes, ret_bytes));
	}
	rc = take_head(s, key, all, got);
	n = rc == 0 ? (size_t)praas_min_u64(bytes, s->open.bytes) : 0;
	if (rc == 0 && praas_sealed_bytes(n) <= room)
		rc = open_segments(s, 0, all + HEAD, got - HEAD, 0, data, n);
	else if (rc == 0)
		rc = get_segments(s, 0, data, n);
	if (rc == 0)
		*ret_bytes = n;
	free(all);
	return rc;
}

/* The head of an object, if it is not the one that is open. *ret_clear: it has none. */
static int open_object(struct sealed_store *s, const char *key, bool *ret_clear)
{
	uint8_t head[HEAD];
	size_t got = 0;
	int rc;

	*ret_clear = false;
	if (strcmp(s->open.key, key) == 0)
		return 0;
	rc = s->inner->ops->get(s->inner, key, 0, head, sizeof(head), &got);
	if (rc != 0)
		return inner_says(s, rc);
	if (is_sealed(head, got))
		return take_head(s, key, head, got);
	*ret_clear = true;
	return in_clear(s, key);
}

static int get_range(struct sealed_store *s, const char *key, uint64_t offset,
		     uint8_t *data, size_t bytes, size_t *ret_bytes)
{
	bool clear;
	int rc = open_object(s, key, &clear);

	if (rc != 0)
		return rc;
	if (clear)
		return inner_says(s, s->inner->ops->get(s->inner, key, offset, data,
							bytes, ret_bytes));
	*ret_bytes = offset < s->open.bytes
			     ? (size_t)praas_min_u64(bytes, s->open.bytes - offset)
			     : 0;
	return get_segments(s, offset, data, *ret_bytes);
}

static int sealed_get(struct praas_store *store, const char *key, uint64_t offset,
		      void *data, size_t bytes, size_t *ret_bytes)
{
	struct sealed_store *s = sealed_of(store);
	size_t got = 0;
	int rc = praas_store_key_check(key);

	s->base.why[0] = '\0';
	if (rc == 0 && offset == 0 && bytes <= 2u * SEGMENT)
		rc = get_first(s, key, data, bytes, &got);
	else if (rc == 0)
		rc = get_range(s, key, offset, data, bytes, &got);
	if (rc == 0) {
		*ret_bytes = got;
		store->bytes_read += got;
	}
	return rc;
}

/* What is in it, if that is there: of one that is cut short as much as could be. */
static int sealed_stat(struct praas_store *store, const char *key, uint64_t *ret_bytes)
{
	struct sealed_store *s = sealed_of(store);
	uint8_t head[HEAD];
	uint64_t bytes = 0;
	size_t got = 0;
	int rc = s->inner->ops->stat(s->inner, key, &bytes);

	if (rc == 0)
		rc = s->inner->ops->get(s->inner, key, 0, head, sizeof(head), &got);
	if (rc != 0)
		return inner_says(s, rc);
	if (!is_sealed(head, got)) {
		rc = in_clear(s, key);
		if (rc == 0)
			*ret_bytes = bytes;
		return rc;
	}
	rc = take_head(s, key, head, got);
	if (rc == 0 && bytes != praas_sealed_bytes(s->open.bytes))
		return broken(s, key, "it is cut short");
	if (rc == 0)
		*ret_bytes = s->open.bytes;
	return rc;
}

static int sealed_list(struct praas_store *store, const char *prefix, const char *after,
		       praas_store_list_fn fn, void *user)
{
	struct sealed_store *s = sealed_of(store);

	return inner_says(s, s->inner->ops->list(s->inner, prefix, after, fn, user));
}

static int sealed_delete(struct praas_store *store, const char *key)
{
	struct sealed_store *s = sealed_of(store);

	if (strcmp(s->open.key, key) == 0)
		s->open.key[0] = '\0';
	return inner_says(s, s->inner->ops->delete (s->inner, key));
}

static void sealed_free(struct praas_store *store)
{
	struct sealed_store *s = sealed_of(store);

	praas_store_free(s->inner);
	EVP_CIPHER_CTX_free(s->ctx); /* wipes the key */
	free(s->group);
	free(s);
}

/* Hashes of what is in chunks are part of their names. */
static int sealed_blind(struct praas_store *store, uint8_t hash[16])
{
	uint8_t mac[PRAAS_SEAL_KEY_BYTES];
	int rc = praas_seal_mac(&sealed_of(store)->keys->key[0], "praas chunk name",
				hash, 16, mac);

	if (rc == 0)
		memcpy(hash, mac, 16);
	return rc;
}

static const struct praas_store_ops sealed_ops = {
	.scheme = "sealed",
	.put_if_absent = sealed_put_if_absent,
	.put = sealed_put,
	.get = sealed_get,
	.share = NULL, /* what is bound to one process is sealed anew for another */
	.stat = sealed_stat,
	.list = sealed_list,
	.delete = sealed_delete,
	.free = sealed_free,
};

int praas_store_seal(struct praas_store *inner, const struct praas_seal_keys *keys,
		     const struct praas_slot_id *id, struct praas_store **ret_store)
{
	struct sealed_store *s;

	if (!keys || keys->count == 0) {
		*ret_store = inner;
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (s)
		s->ctx = EVP_CIPHER_CTX_new();
	if (!s || !s->ctx) {
		free(s);
		praas_store_free(inner);
		return -ENOMEM;
	}
	s->base.ops = &sealed_ops;
	s->base.blind = sealed_blind;
	s->base.chunk_bytes = inner->chunk_bytes;
	s->inner = inner;
	s->keys = keys;
	s->has_id = id != NULL;
	if (id)
		s->id = *id;
	*ret_store = &s->base;
	return 0;
}
