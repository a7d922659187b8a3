/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of one control service, as its routes see them.
 */
#ifndef PRAAS_CONTROL_SERVICE_H
#define PRAAS_CONTROL_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/audit.h"
#include "control/dataclient.h"
#include "control/events.h"
#include "control/histogram.h"
#include "control/jobs.h"
#include "control/keys.h"
#include "control/lifecycle.h"
#include "control/memo.h"
#include "control/peers.h"
#include "control/records.h"
#include "control/tenants.h"
#include "control/tokens.h"

enum praas_request_kind {
	PRAAS_REQUEST_READ,
	PRAAS_REQUEST_CHANGE,
	PRAAS_REQUEST_INVOKE,
	PRAAS_REQUEST_KINDS
};

struct praas_service {
	struct praas_records *records;
	struct praas_keys keys;
	struct praas_tokens *tokens;
	struct praas_tenants *tenants;
	struct praas_memos *memos;
	struct praas_jobs *jobs;
	struct praas_backend *backend;
	struct praas_life *life;
	struct praas_data *data;
	struct praas_peers *peers; /* of HTTP */
	struct praas_events *events;
	struct praas_audit *audit;
	const char *log_dir;   /* what controllers write: NUMBER.log */
	const char *store_dir; /* snapshots */
	uint64_t started_ns;
	_Atomic uint64_t bodies_bytes;  /* held by all requests */
	_Atomic uint64_t requests;      /* answered */
	_Atomic uint64_t requests_open; /* being worked on */
	_Atomic uint64_t failures;      /* answered with 5xx */
	_Atomic uint64_t invocations;
	struct praas_histogram durations[PRAAS_REQUEST_KINDS];
	_Atomic bool stopping; /* no request begins any more */
};

#endif
