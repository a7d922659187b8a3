/* SPDX-License-Identifier: Apache-2.0
 *
 * Named snapshots (docs/snapshot-format.md): an object named/n.NAME says which slot of the log a name stands
 * for. As long as it is there, whoever sweeps keeps what that snapshot refers to. Names are given and taken
 * by the control service, beside a controller that serves: the log says whether a name came in time.
 */
#ifndef PRAAS_CONTROLLER_STORE_NAMED_H
#define PRAAS_CONTROLLER_STORE_NAMED_H

#include "controller/store/refs.h"
#include "praas/types.h"

#define PRAAS_NAMED_MAX 64u /* names of one process */
#define PRAAS_NAMED_BYTES 192u

struct praas_named {
	uint64_t slot;     /* of the snapshot */
	uint64_t named_ns; /* CLOCK_REALTIME */
	uint64_t taken_ns; /* when the snapshot was made */
	uint64_t bytes;    /* of its values */
	uint64_t records;  /* objects, messages, … */
	uint64_t nonce;    /* of who gave the name */
	uint32_t epoch;    /* of the snapshot */
	uint8_t entry_nonce[PRAAS_SLOT_NONCE_BYTES];
	char name[PRAAS_NAME_MAX + 1];
};

void praas_named_encode(const struct praas_slot_id *id, const struct praas_named *named,
			uint8_t ret_data[PRAAS_NAMED_BYTES]);
/* 0; -EPROTO none of this process and name, or damaged. */
int praas_named_decode(const struct praas_slot_id *id, const char *name,
		       const uint8_t *data, size_t bytes,
		       struct praas_named *ret_named);

/* Its object. 0; -EINVAL no name. */
int praas_named_key(const char *name, char ret_key[PRAAS_STORE_KEY_MAX + 1]);

/*
 * Give a name to the last snapshot of a log that was just read. log is brought up to date. 0; -EEXIST the
 * name is taken; -ENODATA there is no snapshot; -EMFILE it has PRAAS_NAMED_MAX; -EAGAIN it was overtaken
 * by one snapshot after the other; -EPROTO, -ENOENT the snapshot is damaged; or what the store says.
 */
int praas_named_give(struct praas_slot_log *log, const char *name, uint64_t now_ns,
		     struct praas_named *ret_named);
/* -ENOENT; -EPROTO. */
int praas_named_get(const struct praas_slot_log *log, const char *name,
		    struct praas_named *ret_named);
/* The entry of its snapshot. -ENOENT, -EPROTO damaged. */
int praas_named_entry(const struct praas_slot_log *log, const struct praas_named *named,
		      struct praas_slot_entry *ret_entry);
/* Those after the name `after` (NULL: all) in byte order, at most max. A damaged one has slot
 * PRAAS_SLOT_NONE and its name. */
int praas_named_list(const struct praas_slot_log *log, const char *after, unsigned max,
		     struct praas_named *ret_named, unsigned *ret_count);
/* Take a name, and remove what only its snapshot needed: not what the last two and other named ones refer
 * to. 0; -ENOENT. What could not be removed is left to the next sweep. */
int praas_named_take(struct praas_slot_log *log, const char *name);

/* ---- what named snapshots refer to: for who sweeps again and again ---- */

struct praas_named_set {
	struct {
		struct praas_refs refs;
		uint64_t slot;
		bool seen;
	} all[PRAAS_NAMED_MAX];
	unsigned count;
};

/* Bring a set (zeroed at first) up to date; manifests that it knows are not read again. Non-zero: it is not
 * known what is needed, nothing may be removed. */
int praas_named_set_read(struct praas_named_set *set, const struct praas_slot_log *log);
void praas_named_set_release(struct praas_named_set *set);

/* praas_refs_sweep() of all that neither named snapshots nor the last two (last[0], last[1]) need, for who owns
 * the log's last epoch. log is brought up to date. set as above. -ESTALE: another epoch has begun, nothing was
 * removed. */
int praas_named_sweep(struct praas_slot_log *log, struct praas_named_set *set,
		      const struct praas_refs last[2]);

#endif
