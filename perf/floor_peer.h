/* SPDX-License-Identifier: Apache-2.0
 *
 * A floor's other side: forked processes that wait, blocked, for the number of
 * operations of the round, do them, and wait again; so that nobody polls while another
 * contender has its turn.
 */
#ifndef PRAAS_PERF_FLOOR_PEER_H
#define PRAAS_PERF_FLOOR_PEER_H

#include <stdint.h>
#include <sys/types.h>

#include "internal/base.h"
#include "shm/ring.h"

#define PRAAS_FLOOR_PEERS_MAX 2u

struct praas_floor_peer {
	pid_t pid[PRAAS_FLOOR_PEERS_MAX];
	int go[PRAAS_FLOOR_PEERS_MAX]; /* pipe to each */
	unsigned count;
};

/* Fork one more: it runs body(data, n) for each round, on core cpu. 0 or negative
 * errno. */
int praas_floor_peer_start(struct praas_floor_peer *p, int cpu,
			   void (*body)(void *data, uint64_t n), void *data);
/* Tell all to do n operations; returns once they have been told. */
int praas_floor_peer_go(struct praas_floor_peer *p, uint64_t n);
void praas_floor_peer_stop(struct praas_floor_peer *p);

/* Shared memory that children inherit, faulted in; NULL: none. */
void *praas_floor_shared(uint64_t bytes);

/* Polls until there is one. */
static inline void praas_floor_pop(struct praas_ring_rx *rx,
				   struct praas_desc *ret_desc)
{
	while (praas_ring_pop(rx, ret_desc) != 0)
		praas_pause();
}

#endif
