/* SPDX-License-Identifier: Apache-2.0
 *
 * Floor of a fabric: messages of the bare size to and fro between two endpoints of libfabric, both
 * polling, each posting its next receive before it answers. Each side loads libfabric by itself,
 * after the fork. The two endpoints are the same for all sizes.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "perf/clock.h"
#include "perf/fabric.h"
#include "perf/floor_peer.h"
#include "transport/ofi_fabric.h"

#define BYTES_MAX (1u << 20)
#define OPEN_NS UINT64_C(10000000000)
#define ANSWER_NS                                                                      \
	UINT64_C(                                                                      \
		10000000000) /* a message may take: providers can lose one, or their process */
#define CLOCK_LOOKS 16384u
#define SIZE_SHIFT 32 /* of a round's number */

/* What the two sides tell each other. */
struct names {
	_Atomic uint32_t bytes[2]; /* 0: not there yet */
	uint8_t name[2][PRAAS_OFI_NAME_MAX];
};

/* One side; the other process has its own. */
static struct floor {
	struct praas_floor_peer peer;
	struct praas_ofi_fabric fabric;
	struct names *names;
	fi_addr_t other;
	uint8_t *memory; /* received into; sent from behind that */
	struct fid_mr *mr;
	void *desc;
	unsigned sending; /* sends not completed */
	bool opened, came;
	int rc; /* 1: not begun */
	struct fi_context2 receive, send;
} the_floor = { .rc = 1 };

static int post(struct floor *f)
{
	return (int)fi_recv(f->fabric.ep, f->memory, BYTES_MAX, f->desc, FI_ADDR_UNSPEC,
			    &f->receive);
}

static void look(struct floor *f)
{
	struct fi_cq_msg_entry entry;

	if (fi_cq_read(f->fabric.cq, &entry, 1) != 1)
		return;
	if (entry.op_context == &f->receive)
		f->came = true;
	else
		f->sending--;
}

/* Until a message has come, or else until what was sent is done. 0; -ETIMEDOUT. */
static int await(struct floor *f, bool message)
{
	uint64_t end_ns = 0;

	for (uint32_t i = 1; message ? !f->came : f->sending > 0; i++) {
		look(f);
		if (i % CLOCK_LOOKS != 0)
			continue;
		if (end_ns == 0)
			end_ns = praas_now_ns() + ANSWER_NS;
		else if (praas_now_ns() > end_ns)
			return -ETIMEDOUT;
	}
	return 0;
}

static int answer(struct floor *f, uint64_t size)
{
	uint8_t *out = f->memory + BYTES_MAX;
	bool small = size <= f->fabric.inject;
	ssize_t rc = await(f, false);

	if (rc != 0)
		return (int)rc;
	do {
		rc = small ? fi_inject(f->fabric.ep, out, size, f->other)
			   : fi_send(f->fabric.ep, out, size, f->desc, f->other,
				     &f->send);
		if (rc == -FI_EAGAIN)
			look(f);
	} while (rc == -FI_EAGAIN);
	f->sending += rc == 0 && !small;
	return (int)rc;
}

static int open_memory(struct floor *f)
{
	int rc = 0;

	f->memory = aligned_alloc(4096, 2 * BYTES_MAX);
	if (!f->memory)
		return -ENOMEM;
	memset(f->memory, 1, 2 * BYTES_MAX);
	if (f->fabric.local)
		rc = praas_ofi_register(&f->fabric, f->memory, 2 * BYTES_MAX,
					FI_SEND | FI_RECV, &f->mr);
	f->desc = f->mr ? fi_mr_desc(f->mr) : NULL;
	return rc;
}

/* side: 0 ours, 1 the peer's. */
static int open_side(struct floor *f, unsigned side)
{
	uint64_t end_ns = praas_now_ns() + OPEN_NS;
	struct praas_ofi_addr addr;
	char text[PRAAS_ADDR_MAX];
	uint32_t receives = 16;
	int rc;

	(void)snprintf(text, sizeof text, "ofi://%.40s@%.60s:0", praas_perf_fabric(),
		       praas_perf_fabric_host());
	rc = praas_ofi_addr_parse(text, &addr);
	if (rc == 0)
		rc = praas_ofi_fabric_open(&f->fabric, &addr, true, &receives);
	if (rc == 0)
		rc = open_memory(f);
	if (rc != 0)
		return rc;
	memcpy(f->names->name[side], f->fabric.name, f->fabric.name_bytes);
	/* fabric.name.R0, pairs with fabric.name.A0: the name is there before its size. */
	atomic_store_explicit(&f->names->bytes[side], f->fabric.name_bytes,
			      memory_order_release);
	/* fabric.name.A0, pairs with fabric.name.R0: the size says that the name is there. */
	while (atomic_load_explicit(&f->names->bytes[!side], memory_order_acquire) == 0)
		if (praas_now_ns() > end_ns)
			return -ETIMEDOUT;
	if (fi_av_insert(f->fabric.av, f->names->name[!side], 1, &f->other, 0, NULL) !=
	    1)
		return -EHOSTUNREACH;
	f->opened = true;
	return post(f);
}

static void peer_body(void *data, uint64_t n)
{
	struct floor *f = data;
	uint64_t size = n >> SIZE_SHIFT, count = n & UINT32_MAX;

	if (!f->opened && open_side(f, 1) != 0)
		return; /* the other side waits in vain, and says so */
	for (uint64_t i = 0; i < count; i++) {
		if (await(f, true) != 0)
			return;
		f->came = false;
		if (post(f) != 0 || answer(f, size) != 0)
			return;
	}
	(void)await(f, false); /* the next round would find it out */
}

void praas_floor_fabric_begin(void)
{
	struct floor *f = &the_floor;

	if (f->rc != 1)
		return;
	f->names = praas_floor_shared(sizeof *f->names);
	f->rc = f->names ? praas_floor_peer_start(&f->peer, praas_options.cpu_server,
						  peer_body, f)
			 : -ENOMEM;
}

void praas_floor_fabric_end(void)
{
	struct floor *f = &the_floor;

	praas_floor_peer_stop(&f->peer);
	if (f->mr)
		(void)fi_close(&f->mr->fid); /* its memory goes */
	praas_ofi_fabric_close(&f->fabric);
	free(f->memory);
	*f = (struct floor){ .rc = 1 };
}

static int setup(struct praas_contender *c)
{
	struct floor *f = &the_floor;

	(void)c;
	praas_floor_fabric_begin();
	if (f->rc == 0 && !f->opened) {
		f->rc = praas_floor_peer_go(&f->peer, 0);
		if (f->rc == 0)
			f->rc = open_side(f, 0);
	}
	return f->rc;
}

static int round_pingpong(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = &the_floor;
	int rc = praas_floor_peer_go(&f->peer, c->size << SIZE_SHIFT | n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		rc = answer(f, c->size);
		if (rc == 0)
			rc = await(f, true);
		f->came = false;
		if (rc == 0)
			rc = post(f);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	f->rc = rc; /* after a failure there is nothing to measure with */
	return rc;
}

void praas_floor_fabric(struct praas_contender *c, const char *bench, uint64_t size,
			uint64_t n)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "ofi",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "spin",
				       .size = size,
				       .n = n,
				       .setup = setup,
				       .round = round_pingpong };
}
