/* SPDX-License-Identifier: Apache-2.0
 *
 * libfabric's objects behind one port: loading the library, choosing a provider, opening an
 * endpoint with its completion queue and address vector, names, registered memory. Cold, but for
 * registration.
 */
#ifndef PRAAS_TRANSPORT_OFI_FABRIC_H
#define PRAAS_TRANSPORT_OFI_FABRIC_H

#include <stdbool.h>
#include <stdint.h>

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include "transport/ofi_addr.h"

struct praas_ofi_fabric {
	struct fi_info *info;
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_cq *cq;
	struct fid_av *av;
	struct fid_ep *ep;
	int wait_fd; /* readable when there is a completion; -1: the provider has none */
	bool rma;    /* memory of others can be read */
	bool local;  /* memory that we name must be registered */
	bool virtual;    /* a peer's memory is addressed as the peer addresses it */
	bool prov_key;   /* the provider chooses keys */
	uint64_t inject; /* messages up to this are copied by the provider */
	uint8_t name[PRAAS_OFI_NAME_MAX];
	uint32_t name_bytes;
	uint64_t keys[16]; /* random, to be used up */
	uint32_t keys_left;
};

/* An endpoint that is reached at addr (listen), or one from which addr is reached, with as many
 * messages as receives to be posted, or fewer (then *receives is changed). 0; -EPROTONOSUPPORT no
 * libfabric here; -ENODEV no provider that can do it; -EADDRINUSE; … Nothing is left on failure. */
int praas_ofi_fabric_open(struct praas_ofi_fabric *f, const struct praas_ofi_addr *addr,
			  bool listen, uint32_t *receives);
/* The providers of this machine that connections can go through: "tcp;ofi_rxm net shm", cut at bytes.
 * 0; -EPROTONOSUPPORT no libfabric here; -ENODEV none. */
int praas_ofi_providers(char *ret_text, size_t bytes);
/* Everything posted is forgotten by the provider. NULL members are skipped. */
void praas_ofi_fabric_close(struct praas_ofi_fabric *f);
/* Where f listens. 0; -ENOTCONN. */
int praas_ofi_fabric_address(const struct praas_ofi_fabric *f,
			     char ret_addr[PRAAS_ADDR_MAX]);
/* The name of the endpoint at addr, for the same provider. 0; -EINVAL; -ENODEV another
 * provider's; -EHOSTUNREACH. */
int praas_ofi_fabric_resolve(const struct praas_ofi_fabric *f,
			     const struct praas_ofi_addr *addr,
			     uint8_t ret_name[PRAAS_OFI_NAME_MAX], uint32_t *ret_bytes);
/* Could this be the name of an endpoint that f reaches? Asked before a provider sees what a peer
 * says. */
bool praas_ofi_name_fits(const struct praas_ofi_fabric *f, const uint8_t *name,
			 uint32_t bytes);
/* Registers memory for access (FI_SEND, FI_READ, FI_REMOTE_READ). 0; errno. */
int praas_ofi_register(struct praas_ofi_fabric *f, const void *data, uint64_t bytes,
		       uint64_t access, struct fid_mr **ret_mr);

#endif
