/* SPDX-License-Identifier: Apache-2.0
 *
 * Floor of a fabric: messages of the bare size to and fro between two endpoints of libfabric, both
 * polling, each posting its next receive before it answers. Each side loads libfabric by itself,
 * after the fork.
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

#define OPEN_NS UINT64_C(10000000000)

/* What the two sides tell each other. */
struct names {
	_Atomic uint32_t bytes[2]; /* 0: not there yet */
	uint8_t name[2][PRAAS_OFI_NAME_MAX];
};

struct floor {
	struct praas_floor_peer peer;
	struct praas_ofi_fabric fabric;
	struct names *names;
	fi_addr_t other;
	uint8_t *in, *out;
	uint64_t size;
	unsigned sending; /* sends not completed */
	bool opened, came;
	struct fi_context2 receive, send;
};

static int post(struct floor *f)
{
	return (int)fi_recv(f->fabric.ep, f->in, f->size, NULL, FI_ADDR_UNSPEC,
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

static int answer(struct floor *f)
{
	bool small = f->size <= f->fabric.inject;
	ssize_t rc;

	while (f->sending > 0)
		look(f);
	do {
		rc = small ? fi_inject(f->fabric.ep, f->out, f->size, f->other)
			   : fi_send(f->fabric.ep, f->out, f->size, NULL, f->other,
				     &f->send);
		if (rc == -FI_EAGAIN)
			look(f);
	} while (rc == -FI_EAGAIN);
	f->sending += rc == 0 && !small;
	return (int)rc;
}

/* side: 0 ours, 1 the peer's. */
static int open_side(struct floor *f, unsigned side)
{
	uint64_t end_ns = praas_now_ns() + OPEN_NS;
	struct praas_ofi_addr addr;
	char text[PRAAS_ADDR_MAX];
	uint32_t receives = 16;
	int rc;

	(void)snprintf(text, sizeof text, "ofi://%s@127.0.0.1:0", praas_perf_fabric());
	rc = praas_ofi_addr_parse(text, &addr);
	if (rc == 0)
		rc = praas_ofi_fabric_open(&f->fabric, &addr, true, &receives);
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

	if (!f->opened && open_side(f, 1) != 0)
		return; /* the other side waits in vain, and says so */
	for (uint64_t i = 0; i < n; i++) {
		while (!f->came)
			look(f);
		f->came = false;
		if (post(f) != 0 || answer(f) != 0)
			return;
	}
	while (f->sending > 0)
		look(f);
}

static void teardown(struct praas_contender *c)
{
	struct floor *f = c->data;

	if (!f)
		return;
	praas_floor_peer_stop(&f->peer);
	praas_ofi_fabric_close(&f->fabric);
	free(f->in);
	free(f->out);
	free(f);
	c->data = NULL;
}

static int setup(struct praas_contender *c)
{
	struct floor *f = calloc(1, sizeof *f);
	int rc;

	if (!f)
		return -ENOMEM;
	c->data = f;
	f->size = c->size;
	f->in = calloc(1, f->size);
	f->out = calloc(1, f->size);
	f->names = praas_floor_shared(sizeof *f->names);
	if (!f->in || !f->out || !f->names)
		return -ENOMEM;
	rc = praas_floor_peer_start(&f->peer, praas_options.cpu_server, peer_body, f);
	if (rc == 0)
		rc = praas_floor_peer_go(&f->peer, 0);
	return rc ? rc : open_side(f, 0);
}

static int round_pingpong(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	int rc = praas_floor_peer_go(&f->peer, n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		rc = answer(f);
		while (rc == 0 && !f->came)
			look(f);
		f->came = false;
		if (rc == 0)
			rc = post(f);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return rc;
}

void praas_floor_fabric(struct praas_contender *c, const char *bench, uint64_t size)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "ofi",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "spin",
				       .size = size,
				       .n = size <= 4096     ? 5000
					    : size <= 131072 ? 1000
							     : 100,
				       .setup = setup,
				       .round = round_pingpong,
				       .teardown = teardown };
}
