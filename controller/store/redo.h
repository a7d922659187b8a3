/* SPDX-License-Identifier: Apache-2.0
 *
 * The redo log of a process (docs/journal.md): what changed since its last snapshot, in numbered records,
 * in files beside its store in a folder. A record is durable when praas_redo_durable() has come to its
 * number. Who appends never waits for the disk: a thread of the log takes all that is there, writes it at once,
 * syncs, and says so; what comes meanwhile shares the next sync (group commit).
 *
 * Epochs fence: each has a token, a file that its successor removes before it reads what there is. A writer
 * looks after each sync whether its token is still there, and promises nothing once it is not. So whatever
 * an epoch has promised, the next one has read.
 *
 * Any thread may append, ask and wait.
 */
#ifndef PRAAS_CONTROLLER_STORE_REDO_H
#define PRAAS_CONTROLLER_STORE_REDO_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/store/redo_format.h"

#define PRAAS_REDO_PENDING_MAX (32u << 20) /* bytes that wait for the disk */
#define PRAAS_REDO_FILE_BYTES (16u << 20)  /* then the next one is begun */
#define PRAAS_REDO_FILES_MAX 64u           /* until the log is trimmed */

struct praas_redo;

enum praas_redo_step {
	PRAAS_REDO_STEP_WRITE = 1, /* of records, or of a new file */
	PRAAS_REDO_STEP_SYNC,
	PRAAS_REDO_STEP_FENCE, /* before it is looked whether we are fenced */
};

struct praas_redo_config {
	const char *folder; /* absolute, of the process's store; there is one */
	struct praas_slot_id id;
	uint32_t epoch; /* ours, whose ACT is in the slot log */
	uint64_t from;  /* the last snapshot has all up to this record in it; 0: none */
	/* What epochs before that one wrote is wanted as far as it can be had: neither its absence nor damage is an
	 * error. 0: all is. */
	uint32_t loose;
	bool whole; /* the process went on after that snapshot: what follows must be there */
	/* What it has up to from came from the epoch before, while a snapshot in the store may have less: nothing is
	 * read, and what that epoch wrote behind from counts for nothing. What is up to from stays until a trim. */
	bool moved;
	/* Above this the next file is begun. 0: PRAAS_REDO_FILE_BYTES, which is the most. */
	uint32_t file_bytes;
	/* For each record behind from, in order, before open() returns. NULL: none. */
	praas_redo_fn replay;
	void *replay_user;
	/* After the replay: the note in the heads of our files. It is told that of the last file that was there, and
	 * whose that was (epoch 0: there was none). NULL: 0. */
	uint32_t (*note)(void *user, uint32_t epoch, uint32_t note);
	void *note_user;
	/* From the log's thread, when more is durable or nothing will be any more. NULL: none. */
	void (*notify)(void *user);
	void *notify_user;
	/* For tests: before each step; non-zero becomes its result. NULL: none. */
	int (*fault)(void *user, enum praas_redo_step step);
	void *fault_user;
};

struct praas_redo_stats {
	uint64_t records, bytes; /* that are durable, of this epoch */
	uint64_t syncs;          /* that it took */
	uint64_t files;          /* that there are */
};

/**
 * Fence older epochs, replay, and be ready to append. 0; -ESTALE a later epoch has opened it; -EEXIST this
 * one has before; -EPROTO a record that was promised is damaged or gone (ret_damaged, when not NULL: its
 * number); what replay said; or what the folder says: -ENOSPC; -EROFS; -EACCES; -EIO; -ENOMEM.
 */
int praas_redo_open(const struct praas_redo_config *config,
		    struct praas_redo **ret_redo, uint64_t *ret_damaged);

/* What is pending is written first, unless the log has failed. NULL is allowed. */
void praas_redo_close(struct praas_redo *redo);

/**
 * data is copied. 0 and the record's number; -EMSGSIZE; -EAGAIN too much waits for the disk; -ENOBUFS the log
 * has PRAAS_REDO_FILES_MAX files and must be trimmed; -ENOMEM; or why the log has failed, as below.
 */
int praas_redo_append(struct praas_redo *redo, uint16_t kind, const void *data,
		      uint32_t bytes, uint64_t *ret_sequence);

/* The record up to which all are durable. *ret_failed: 0; or why no more will be, and nothing can be
 * appended: -ESTALE fenced; -ENOSPC; -EIO; … What was durable is so still. */
uint64_t praas_redo_durable(struct praas_redo *redo, int *ret_failed);

/* Until that record is durable. 0; -ETIMEDOUT; or why the log has failed. */
int praas_redo_wait(struct praas_redo *redo, uint64_t sequence, uint64_t timeout_ns);

/* The last number given out. */
uint64_t praas_redo_last(struct praas_redo *redo);

/* A snapshot that has all up to that record in it is committed: files with nothing else in them go, soon. What
 * cannot be removed stays, and is removed another time. */
void praas_redo_trim(struct praas_redo *redo, uint64_t sequence);

/* Whether there is, or was, a log in the folder of that store. */
bool praas_redo_exists(const char *folder);

void praas_redo_stats(struct praas_redo *redo, struct praas_redo_stats *ret_stats);

#endif
