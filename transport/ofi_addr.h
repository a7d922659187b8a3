/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses of the libfabric transport (transport/ofi.h), taken apart. Pure.
 */
#ifndef PRAAS_TRANSPORT_OFI_ADDR_H
#define PRAAS_TRANSPORT_OFI_ADDR_H

#include <stdint.h>

#include "transport/transport.h"

#define PRAAS_OFI_NAME_MAX 64u /* bytes of an endpoint's own name */

struct praas_ofi_addr {
	char provider[32]; /* as libfabric writes it; "" any */
	char node[64];     /* host, without brackets; name of shared memory */
	char service[8];   /* port; "" none */
	/* Instead of node and service: the endpoint's name, as it is. */
	uint8_t name[PRAAS_OFI_NAME_MAX];
	uint32_t name_bytes;
};

/* 0; -EINVAL. */
int praas_ofi_addr_parse(const char *text, struct praas_ofi_addr *ret_addr);
/* The reverse. 0; -ENAMETOOLONG. */
int praas_ofi_addr_format(const struct praas_ofi_addr *addr,
			  char ret_text[PRAAS_ADDR_MAX]);

#endif
