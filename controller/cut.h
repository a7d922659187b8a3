/* SPDX-License-Identifier: Apache-2.0
 *
 * A cut: what a process is at one moment, collected by the data thread between two turns and
 * written by the admin thread. The last cut of a process that has been drained refers to values
 * in the pool, whose memory it keeps: nothing changes any more. While functions run, an update in
 * place may change an object under the writer, so a checkpoint's cut copies (0.1 ms per MiB).
 */
#ifndef PRAAS_CONTROLLER_CUT_H
#define PRAAS_CONTROLLER_CUT_H

#include <stdint.h>

#include "controller/snapshot.h"
#include "shm/pool.h"

struct praas_cut {
	struct praas_snapshot snapshot; /* the admin thread's while it has the cut */
	uint64_t queue_cut; /* position of the backup queue that it has in it */
	uint64_t log; /* last record of the log that it has in it; 0: there is no log */
	uint64_t
		covers; /* number of the data thread's last turn with changes, of which there may be no record */
	/* The data thread's. */
	struct praas_pool *pool;
	const struct praas_segment *segment;
	uint64_t *held; /* buffers of the pool */
	uint64_t held_count, held_room;
	uint8_t **copies;
	uint64_t copies_count, copies_room;
	uint64_t copied_bytes;
	bool final;
};

/* Data thread. final: nothing runs and nothing will. 0; -ENOMEM; -E2BIG. */
int praas_cut_take(struct praas_process *p, struct praas_pool *pool,
		   const struct praas_segment *segment, bool final,
		   struct praas_cut **ret_cut);
/* Data thread. NULL is allowed. */
void praas_cut_drop(struct praas_cut *cut);

#endif
