/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Receive memory: blocks of the port's memory, so that workers see what came where it lies, each
 * cut into buffers of a packet's size. A buffer is posted, or in a connection's window, or handed up
 * as a frame; then it comes back by its release().
 */

#define BLOCK_SLOTS 16u

static void on_release(struct praas_buf *buf)
{
	struct praas_ofi_slot *slot = buf->owner;
	struct praas_ofi_port *port = slot->port;

	port->held--;
	if (port->fabric.ep != NULL)
		praas_ofi_slot_post(slot);
	else if (port->held == 0)
		praas_ofi_port_last(port); /* it was freed before */
}

static int make_block(struct praas_ofi_port *port, uint32_t n)
{
	const struct praas_memory *memory = port->config.memory;
	uint64_t bytes = (uint64_t)BLOCK_SLOTS * PRAAS_OFI_PACKET_BYTES;
	struct praas_buf *block;
	int rc = memory->alloc(memory->user, bytes, &block);

	if (rc != 0)
		return rc;
	port->block[n] = block;
	if (port->fabric.local) {
		rc = praas_ofi_register(&port->fabric, block->data, bytes, FI_RECV,
					&port->block_mr[n]);
		if (rc != 0)
			return rc;
	}
	for (uint32_t i = 0; i < BLOCK_SLOTS && n * BLOCK_SLOTS + i < port->receives;
	     i++) {
		struct praas_ofi_slot *slot = &port->slot[n * BLOCK_SLOTS + i];
		uint64_t at = (uint64_t)i * PRAAS_OFI_PACKET_BYTES;

		slot->op.kind = PRAAS_OFI_OP_RECV;
		slot->port = port;
		slot->wire = block->data + at;
		slot->desc = port->block_mr[n] ? fi_mr_desc(port->block_mr[n]) : NULL;
		slot->buf.segment = block->segment;
		slot->offset = block->offset + at;
		slot->buf.release = on_release;
		slot->buf.owner = slot;
		slot->next = port->unposted;
		port->unposted = slot;
	}
	return 0;
}

/* ---- memory of payloads ---- */

static int add_region(void *user, const struct praas_region *region, void **ret_handle)
{
	struct praas_ofi_port *port = user;
	struct fid_mr *mr;
	int rc = praas_ofi_register(&port->fabric, region->base, region->bytes,
				    FI_SEND | FI_RECV | FI_READ, &mr);

	if (rc != 0)
		return praas_ofi_errno(rc);
	port->registrations++;
	*ret_handle = mr;
	return 0;
}

static void remove_region(void *user, void *handle)
{
	struct fid_mr *mr = handle;

	(void)user;
	(void)fi_close(&mr->fid); /* nothing of it is under way */
}

static PRAAS_COLD int make_regions(struct praas_ofi_port *port)
{
	struct praas_regions_config config = { .memory = port->config.memory,
					       .add = add_region,
					       .remove = remove_region,
					       .user = port };

	return praas_regions_new(&config, &port->regions);
}

int praas_ofi_local(struct praas_ofi_port *port, const struct praas_buf *buf,
		    uint64_t bytes, struct fid_mr **ret_mr, void **ret_desc)
{
	void *known;
	int rc;

	*ret_mr = NULL;
	*ret_desc = NULL;
	if (praas_likely(!port->fabric.local && !port->registers))
		return 0;
	rc = port->regions ? 0 : make_regions(port);
	if (rc == 0)
		rc = praas_regions_find(port->regions, buf, &known);
	if (praas_likely(rc == 0)) {
		*ret_desc = fi_mr_desc(known);
		return 0;
	}
	/* Unknown to everybody, or too much of it for the device: these bytes alone. */
	rc = praas_ofi_register(&port->fabric, buf->data, bytes, FI_SEND | FI_READ,
				ret_mr);
	if (rc != 0)
		return praas_ofi_errno(rc);
	port->registrations++;
	*ret_desc = fi_mr_desc(*ret_mr);
	return 0;
}

/* ---- blocks ---- */

int praas_ofi_slots_init(struct praas_ofi_port *port)
{
	int rc = 0;

	port->blocks = (port->receives + BLOCK_SLOTS - 1) / BLOCK_SLOTS;
	port->slot = calloc(port->receives, sizeof(*port->slot));
	port->block = calloc(port->blocks, sizeof(*port->block));
	port->block_mr = calloc(port->blocks, sizeof(*port->block_mr));
	if (port->slot == NULL || port->block == NULL || port->block_mr == NULL)
		rc = -ENOMEM;
	for (uint32_t i = 0; rc == 0 && i < port->blocks; i++)
		rc = make_block(port, i);
	if (rc == 0)
		praas_ofi_slots_run(port);
	return rc;
}

void praas_ofi_slots_unregister(struct praas_ofi_port *port)
{
	for (uint32_t i = 0; port->block_mr != NULL && i < port->blocks; i++) {
		if (port->block_mr[i] != NULL)
			(void)fi_close(&port->block_mr[i]->fid); /* nothing posted */
		port->block_mr[i] = NULL;
	}
	praas_regions_free(port->regions);
	port->regions = NULL;
}

void praas_ofi_slots_release(struct praas_ofi_port *port)
{
	for (uint32_t i = 0; port->block != NULL && i < port->blocks; i++)
		praas_buf_release(port->block[i]);
	free(port->block);
	free(port->block_mr);
	free(port->slot);
	port->block = NULL;
	port->block_mr = NULL;
	port->slot = NULL;
}

void praas_ofi_slot_post(struct praas_ofi_slot *slot)
{
	struct praas_ofi_port *port = slot->port;
	ssize_t rc = fi_recv(port->fabric.ep, slot->wire, PRAAS_OFI_PACKET_BYTES,
			     slot->desc, FI_ADDR_UNSPEC, slot);

	if (praas_likely(rc == 0)) {
		port->posted++;
		return;
	}
	/* Not now: tried again by each poll. */
	slot->next = port->unposted;
	port->unposted = slot;
}

void praas_ofi_slots_run(struct praas_ofi_port *port)
{
	struct praas_ofi_slot *slot = port->unposted, *next;

	port->unposted = NULL;
	for (; slot != NULL; slot = next) {
		next = slot->next;
		praas_ofi_slot_post(slot);
	}
}
