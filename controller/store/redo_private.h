/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the redo log share: redo.c has the thread, redo_files.c the folder. Only they include this.
 */
#ifndef PRAAS_CONTROLLER_STORE_REDO_PRIVATE_H
#define PRAAS_CONTROLLER_STORE_REDO_PRIVATE_H

#include <pthread.h>

#include "controller/store/redo.h"

struct praas_redo_file {
	uint32_t epoch;
	uint64_t first;
};

#define PRAAS_REDO_FILES_LIST 4096u

/* The log's thread has it all but what is said to be under the lock. */
struct praas_redo_files {
	const struct praas_redo_config *config;
	int dir_fd;
	int token_fd; /* of our epoch */
	int fd;       /* of the file that is written; -1: none */
	struct praas_redo_head head;
	uint32_t note;  /* of our heads */
	uint64_t at;    /* where the next record goes */
	uint64_t zeros; /* up to here the file has blocks */
	/* In order; the last one is written. The limit is looked at when it is appended: there may be more, of crash
	 * after crash, each with a file of its own. */
	struct praas_redo_file list[PRAAS_REDO_FILES_LIST];
	unsigned count;
};

/* Token, fence, replay, the first file of our epoch. *ret_next: number of the next record. As praas_redo_open(); on
 * failure nothing is held. */
int praas_redo_files_open(struct praas_redo_files *f,
			  const struct praas_redo_config *config, uint64_t *ret_next,
			  uint64_t *ret_damaged);
void praas_redo_files_close(struct praas_redo_files *f);

/* Records that are closed, durably, and then whether we are fenced: 0 they are promised. Anything else: the file is not
 * written any more. */
int praas_redo_files_write(struct praas_redo_files *f, const uint8_t *data,
			   size_t bytes);
/* The file that is written has enough in it. */
bool praas_redo_files_full(const struct praas_redo_files *f);
/* Begin another one, with that record. */
int praas_redo_files_next(struct praas_redo_files *f, uint64_t first);
/* Remove files whose records all are up to that one. */
void praas_redo_files_trim(struct praas_redo_files *f, uint64_t sequence);

#endif
