/* SPDX-License-Identifier: Apache-2.0
 *
 * One table for every object store. A store holds objects under names; an object is written
 * whole, appears whole and durable or not at all, and is never changed afterwards. The slot log
 * and the snapshots of a process live in one (docs/snapshot-format.md).
 *
 * Names: 1 … PRAAS_STORE_KEY_MAX bytes of [A-Za-z0-9._-] in parts joined by '/', no part empty
 * or beginning with '.': so no name leaves the store's folder. Every operation checks them.
 *
 * One thread at a time; all calls block. A store can be written from these comments alone;
 * tests/conformance/store.c checks it.
 *
 * Errors common to all: -EINVAL name; -EMSGSIZE larger than it takes; -ENOSPC full or over quota; -EROFS read-only; -EACCES
 * refused; -EIO the store failed, it is not known whether the operation was done.
 */
#ifndef PRAAS_CONTROLLER_STORE_STORE_H
#define PRAAS_CONTROLLER_STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

#define PRAAS_STORE_KEY_MAX 200u
#define PRAAS_STORE_URL_MAX 1024u
#define PRAAS_STORE_WHY_BYTES 240u

struct praas_s3_credentials;
struct praas_store;

/* Where a large object comes from: pulled piece by piece into the store's own buffers, so that
 * the bytes are copied once. All calls come from within put(). */
struct praas_store_source {
	uint64_t bytes; /* of the object; exactly so many are asked for */
	/* The next bytes. 0; anything else ends the put and is its result. */
	int (*fill)(void *user, uint8_t *data, size_t bytes);
	/* The object's name, which may depend on what it holds: asked once, before the first fill by a store that
	 * has to know where bytes go, else after the last. */
	int (*name)(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1]);
	void *user;
};

/* A non-zero return ends the walk and is returned by list(). */
typedef int (*praas_store_list_fn)(void *user, const char *key);

struct praas_store_ops {
	const char *scheme; /* "file", "memory", "s3", "redis" */

	/* Create an object. Exactly one of those who try gets 0, all others -EEXIST. Durable on
	 * return. After -EIO: put again; -EEXIST then may mean that the first one succeeded. */
	int (*put_if_absent)(struct praas_store *s, const char *key, const void *data,
			     size_t bytes);
	/* Create a content-addressed object of any size: one that is there already is left as
	 * it is, and that is success. Durable on return. */
	int (*put)(struct praas_store *s, const struct praas_store_source *source);
	/* Up to bytes from offset on. ret_bytes: how many there were; 0 at and after the end.
	 * -ENOENT. */
	int (*get)(struct praas_store *s, const char *key, uint64_t offset, void *data,
		   size_t bytes, size_t *ret_bytes);
	/* Make the object of that name in another store of this kind ours, too, without copying it.
	 * Durable on return. 0 also when there is one; -ENOENT; -EXDEV it has to be copied. NULL: always. */
	int (*share)(struct praas_store *s, struct praas_store *from, const char *key);
	/* -ENOENT. */
	int (*stat)(struct praas_store *s, const char *key, uint64_t *ret_bytes);
	/* Names that begin with prefix, have no further '/', and come after `after` (NULL or "":
	 * from the first on), in byte order. An object created meanwhile may be missing. */
	int (*list)(struct praas_store *s, const char *prefix, const char *after,
		    praas_store_list_fn fn, void *user);
	/* 0 also when there is none. */
	int (*delete)(struct praas_store *s, const char *key);
	void (*free)(struct praas_store *s);
};

/* The base of every store. */
struct praas_store {
	const struct praas_store_ops *ops;
	uint64_t bytes_written, bytes_read; /* of objects, since opened */
	/* Makes the hash that is part of a chunk's name tell nothing of what is in it. 0; -ENOMEM. NULL: it stays. */
	int (*blind)(struct praas_store *s, uint8_t hash[16]);
	_Atomic uint64_t clear_reads; /* of a sealed store: of what was in clear */
	uint64_t
		chunk_bytes; /* of a snapshot: one is closed above it; 0: the store takes any */
	char weak
		[PRAAS_STORE_WHY_BYTES]; /* why what is acknowledged may be lost, as far as is known; "": it is durable */
	char why[PRAAS_STORE_WHY_BYTES]; /* the last failure, in words; "": errno says all */
};

/* "file:///absolute/folder" (made when missing), "memory:", "s3://bucket/prefix" as s3_url.h has it (nothing is
 * asked yet; keys are those of s3_credentials.h), or "redis://host" and its kin as redis/url.h has them (nothing is asked
 * yet). Returns 0; -EINVAL no such scheme, not an absolute path,
 * no such address; or what the store says. */
int praas_store_open(const char *url, struct praas_store **ret_store);
/* The same, with keys of whoever started us, for stores that need some. NULL: as above. */
int praas_store_open_with(const char *url, const struct praas_s3_credentials *keys,
			  struct praas_store **ret_store);

/* Whether the store does what ownership stands on: creates an object if absent, once, and gives it back. 0;
 * -EOPNOTSUPP it does not; or why it could not be tried. store->why says more. */
int praas_store_probe(struct praas_store *store);

/* The address of a store within this one: parts joined by '/', without one in front. 0; -ENAMETOOLONG. */
int praas_store_url_below(const char *url, const char *parts, char *ret_url,
			  size_t room);

/* Where the objects of a store in a folder lie; NULL: it is none. */
const char *praas_store_folder(const char *url);

/* NULL is allowed. */
void praas_store_free(struct praas_store *store);

/* 0; -EINVAL. */
int praas_store_key_check(const char *key);
/* As a key, but of at most max bytes. */
int praas_store_path_check(const char *path, size_t max);

/* A whole object in new memory, malloc'd, the caller's. -ENOENT; -EMSGSIZE above bytes_max. */
int praas_store_get_all(struct praas_store *store, const char *key, size_t bytes_max,
			uint8_t **ret_data, size_t *ret_bytes);

/* put() of what lies in memory. */
int praas_store_put_bytes(struct praas_store *store, const char *key, const void *data,
			  size_t bytes);

/* An object of another store becomes ours, too, by share() or by copying. 0 also when there is one of that
 * name; -ENOENT. */
int praas_store_share(struct praas_store *store, struct praas_store *from,
		      const char *key);

/* The stores; path is an absolute folder. */
int praas_store_file_open(const char *path, struct praas_store **ret_store);
int praas_store_memory_open(struct praas_store **ret_store);
int praas_store_s3_open(const char *url, const struct praas_s3_credentials *keys,
			struct praas_store **ret_store);

/*
 * Faults for tests: asked before and after every operation of a memory store (done says
 * which). Non-zero becomes the operation's result: before, it was not done; after, its
 * response was lost.
 */
typedef int (*praas_store_fault_fn)(void *user, const char *op, const char *key,
				    int done);
void praas_store_memory_faults(struct praas_store *store, praas_store_fault_fn fn,
			       void *user);
/* Flip a bit of a stored object. 0; -ENOENT; -EINVAL beyond its end. */
int praas_store_memory_corrupt(struct praas_store *store, const char *key,
			       uint64_t offset);

#endif
