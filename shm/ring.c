/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/ring.h"

/* Batches of the ring in ring.h: the look at the peer is paid once for many. Any
 * thread, one per side. */

int praas_ring_push_batch(struct praas_ring_tx *tx, const struct praas_desc *d,
			  unsigned n, unsigned *ret_done)
{
	unsigned done = 0;
	int rc = 0;

	if (praas_ring_tx_room(tx) < n)
		rc = praas_ring_tx_refresh(tx);
	if (rc != -EPROTO) /* full or nearly so: push what fits */
		n = (unsigned)praas_min_u64(n, praas_ring_tx_room(tx));
	else
		n = 0;
	for (; done < n; done++) {
		rc = praas_ring_push(tx, &d[done]);
		praas_check_hot(rc == 0);
	}
	*ret_done = done;
	return done ? 0 : rc;
}

int praas_ring_pop_batch(struct praas_ring_rx *rx, struct praas_desc *ret_d, unsigned n,
			 unsigned *ret_done)
{
	unsigned done = 0;
	int rc = 0;

	while (done < n) {
		rc = praas_ring_pop(rx, &ret_d[done]);
		if (rc != 0)
			break;
		done++;
	}
	*ret_done = done;
	return done ? 0 : rc;
}
