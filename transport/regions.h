/* SPDX-License-Identifier: Apache-2.0
 *
 * What one device has been told about memory. A region is registered when something in it is first
 * named to the device and stays so until its owner says that it goes, so a buffer of known memory
 * costs a look at the region that was asked for last, or a search of a table. One thread.
 */
#ifndef PRAAS_TRANSPORT_REGIONS_H
#define PRAAS_TRANSPORT_REGIONS_H

#include <stdint.h>

#include "transport/transport.h"

#define PRAAS_REGIONS_MAX 2048u /* known at once */

struct praas_regions;

/* The device. */
struct praas_regions_config {
	const struct praas_memory *memory; /* of the port; kept */
	/* Tells it of a region. 0, and what it knows it by; errno. Cold. */
	int (*add)(void *user, const struct praas_region *region, void **ret_handle);
	/* It may forget it: nothing of the region is under way. */
	void (*remove)(void *user, void *handle);
	void *user;
};

/* Hears of regions that go, from now on. 0; -ENOMEM. */
int praas_regions_new(const struct praas_regions_config *config,
		      struct praas_regions **ret_regions);
/* The device forgets all. NULL is allowed. */
void praas_regions_free(struct praas_regions *regions);
/* What the device knows buf's memory by. 0; -ENOENT nobody says what region it lies in; -ENOBUFS
 * PRAAS_REGIONS_MAX are known; errno of the device. */
int praas_regions_find(struct praas_regions *regions, const struct praas_buf *buf,
		       void **ret_handle);
/* Registrations ever made. */
uint64_t praas_regions_count(const struct praas_regions *regions);

#endif
