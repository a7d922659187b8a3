/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of one control service, as its routes see them.
 */
#ifndef PRAAS_CONTROL_SERVICE_H
#define PRAAS_CONTROL_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/histogram.h"
#include "control/jobs.h"
#include "control/life/events.h"
#include "control/life/lifecycle.h"
#include "control/records/lease.h"
#include "control/records/memo.h"
#include "control/records/records.h"
#include "control/rest/dataclient.h"
#include "control/rest/peers.h"
#include "control/tenants/audit.h"
#include "control/tenants/keys.h"
#include "control/tenants/tenants.h"
#include "control/tenants/tokens.h"
#include "controller/store/seal_keys.h"

enum praas_request_kind {
	PRAAS_REQUEST_READ,
	PRAAS_REQUEST_CHANGE,
	PRAAS_REQUEST_INVOKE,
	PRAAS_REQUEST_KINDS
};

struct praas_passes;

struct praas_service {
	/* One of several: until it has the records, nothing but keys, events, peers and jobs is there, and it passes
	 * requests on. NULL: there are no others. */
	struct praas_lease *lease;
	struct praas_passes *passes; /* NULL: it never stood by */
	_Atomic bool stands_by;      /* false only when all below is there */
	struct praas_records *records;
	struct praas_keys keys;
	struct praas_tokens *tokens;
	struct praas_tenants *tenants;
	struct praas_memos *memos;
	struct praas_jobs *jobs;
	struct praas_nodes nodes;
	struct praas_life *life;
	struct praas_data *data;
	struct praas_peers *peers; /* of HTTP */
	struct praas_events *events;
	struct praas_audit *audit;
	struct praas_collect *collect;    /* NULL: nothing is collected */
	const char *log_dir;              /* what controllers write: NUMBER.log */
	struct praas_seal_keys seal_keys; /* of what is stored */
	const char *store_url;            /* snapshots */
	uint64_t started_ns;
	_Atomic uint64_t bodies_bytes;  /* held by all requests */
	_Atomic uint64_t requests;      /* answered */
	_Atomic uint64_t requests_open; /* being worked on */
	_Atomic uint64_t failures;      /* answered with 5xx */
	_Atomic uint64_t invocations;
	struct praas_histogram durations[PRAAS_REQUEST_KINDS];
	_Atomic bool stopping; /* no request begins any more */
};

static inline bool praas_service_stands_by(struct praas_service *s)
{
	/* service.A0, pairs with service.R0: the parts that it was opened with are seen. */
	return atomic_load_explicit(&s->stands_by, memory_order_acquire);
}

#endif
