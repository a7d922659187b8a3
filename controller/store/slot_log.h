/* SPDX-License-Identifier: Apache-2.0
 *
 * The slot log: the one place where it is decided which epoch of a process may write its
 * snapshots (docs/protocols.md). Objects log/<20 digits>, numbered without a gap from 0, each written
 * with create-if-absent; whoever gets slot n decides.
 *
 * The cursor rule: a writer goes forward only by reading each slot. A slot with a higher
 * epoch, or a tombstone, fences it: it must never write again. A slot with its own nonce is its own
 * write, whose response was lost. So epochs never decrease along the log. What nobody needs any more is
 * removed from its beginning (gc.h).
 */
#ifndef PRAAS_CONTROLLER_STORE_SLOT_LOG_H
#define PRAAS_CONTROLLER_STORE_SLOT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/store/store.h"

#define PRAAS_SLOT_HEADER_BYTES 128u
#define PRAAS_SLOT_BODY_MAX (64u * 1024u)
#define PRAAS_SLOT_NONCE_BYTES 16u
#define PRAAS_SLOT_NONE (~(uint64_t)0)

enum praas_slot_kind {
	PRAAS_SLOT_ACT = 1, /* an epoch begins; no body */
	PRAAS_SLOT_SNAP,    /* a snapshot of a process that goes on */
	PRAAS_SLOT_REL,     /* a snapshot, and the epoch is over */
	PRAAS_SLOT_TOMB,    /* the generation is deleted: nothing may follow */
	PRAAS_SLOT_KEEP,    /* a move was called off: the epoch goes on; no body */
	PRAAS_SLOT_BACK /* an epoch that only puts an older snapshot in place of the last */
};

/* Whose log it is; written into every entry and checked. */
struct praas_slot_id {
	uint8_t tenant[16];
	uint64_t pid;
	uint64_t generation;
};

struct praas_slot_entry {
	uint64_t slot;
	uint32_t epoch;
	uint8_t kind; /* enum praas_slot_kind */
	uint8_t nonce[PRAAS_SLOT_NONCE_BYTES];
	uint32_t body_bytes;
	uint8_t body[PRAAS_SLOT_BODY_MAX];
};

/* ret_data: PRAAS_SLOT_HEADER_BYTES + body_bytes. Returns the bytes written. */
size_t praas_slot_encode(const struct praas_slot_id *id,
			 const struct praas_slot_entry *entry, uint8_t *ret_data);
/* 0; -EPROTO not an entry of this slot of this log, or damaged. */
int praas_slot_decode(const struct praas_slot_id *id, uint64_t slot,
		      const uint8_t *data, size_t bytes,
		      struct praas_slot_entry *ret_entry);

/* What is known of a log up to a cursor. */
struct praas_slot_log {
	struct praas_store *store; /* borrowed */
	struct praas_slot_id id;
	uint64_t cursor;        /* next slot: all before have been accounted for */
	uint64_t snapshot_slot; /* of the last SNAP or REL; PRAAS_SLOT_NONE */
	uint64_t previous_slot; /* of the one before it; PRAAS_SLOT_NONE */
	uint32_t epoch_max;     /* highest epoch seen; 0 none */
	uint32_t epoch_before;  /* the one before it; 0 none, or not looked for */
	uint8_t last_kind;      /* of the last entry; 0: empty */
	bool tomb;
	bool fenced; /* for a writer: it lost; every further put is refused */
	uint64_t
		seen_ns; /* CLOCK_BOOTTIME when the store last said that cursor is its end */
};

/* Old entries are removed, the lowest first, once they have been known to be needed by nobody for a grace that is
 * longer than this (gc.h). Who has not looked for longer may stand before a slot that was taken and removed again,
 * and looks whether the one before is there. */
#define PRAAS_SLOT_TRUST_NS 5000000000ull

/* Whether an entry of this kind has a snapshot. */
bool praas_slot_has_snapshot(uint8_t kind);
/* Whether it ends its epoch, with a snapshot. */
bool praas_slot_releases(uint8_t kind);

/* Read the log to its end. 0; -EPROTO an entry is damaged (*ret_log->cursor says which); or what
 * the store says. */
int praas_slot_log_open(struct praas_store *store, const struct praas_slot_id *id,
			struct praas_slot_log *ret_log);

/* Whose log it is, by the newest entry that can be read. For who looks after stores of processes that he does not
 * know. 0; -ENOENT there is no entry; -EPROTO none can be read; or what the store says. */
int praas_slot_log_identify(struct praas_store *store, struct praas_slot_id *ret_id);

/* Account for slots that were written since. 0; -ESTALE so many that they are gone already: fenced; as open. */
int praas_slot_log_refresh(struct praas_slot_log *log);

/* Read one slot. 0; -ENOENT; -EPROTO; or what the store says. */
int praas_slot_log_read(const struct praas_slot_log *log, uint64_t slot,
			struct praas_slot_entry *ret_entry);

/*
 * Write an entry at the cursor. A lost response is found out by the nonce; -EIO only when the
 * store failed PRAAS_SLOT_TRIES times, and then it is not known whether the entry is there:
 * call again with the same entry (whose nonce is made when it is zero, and kept).
 * Returns 0 and sets entry->slot; -ESTALE fenced; -EPROTO; or what the store says.
 *
 * Entries of older epochs that got in before are accounted for: an ACT must look at
 * snapshot_slot again after this.
 */
#define PRAAS_SLOT_TRIES 8u
int praas_slot_log_put(struct praas_slot_log *log, struct praas_slot_entry *entry);
/* The same at the cursor only: an entry of anybody else there, of an older epoch too, is -ESTALE, and the log is
 * fenced. */
int praas_slot_log_put_here(struct praas_slot_log *log, struct praas_slot_entry *entry);

/* log/<20 digits>. */
void praas_slot_key(uint64_t slot, char ret_key[PRAAS_STORE_KEY_MAX + 1]);

#endif
