/* SPDX-License-Identifier: Apache-2.0
 *
 * The lease of an epoch: for how long a controller may serve without hearing of the control service
 * (docs/protocols.md). It bounds how long two epochs serve at once; who may commit never depends on
 * it. Counted from when the renewal was sent, so that the control service, which counts from when it
 * granted it, always ends later. Pure.
 */
#ifndef PRAAS_CONTROLLER_SM_LEASE_H
#define PRAAS_CONTROLLER_SM_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_LEASE_NS UINT64_C(3000000000)
#define PRAAS_LEASE_MARGIN_NS UINT64_C(300000000)

struct praas_lease {
	uint64_t until_ns; /* 0: never had one */
	uint64_t sent_ns;  /* of the last request */
	uint32_t request;  /* its number */
};

/* A renewal is sent now; its number. */
static inline uint32_t praas_lease_ask(struct praas_lease *l, uint64_t now_ns)
{
	l->sent_ns = now_ns;
	return ++l->request;
}

/* The answer to a request; to an earlier one than the last: ignored. */
static inline void praas_lease_granted(struct praas_lease *l, uint32_t request)
{
	if (request == l->request)
		l->until_ns = l->sent_ns + PRAAS_LEASE_NS - PRAAS_LEASE_MARGIN_NS;
}

/* Requests may be accepted. */
static inline bool praas_lease_valid(const struct praas_lease *l, uint64_t now_ns)
{
	return now_ns < l->until_ns;
}

/* When the next renewal is to be sent. */
static inline uint64_t praas_lease_due_ns(const struct praas_lease *l)
{
	return l->sent_ns + PRAAS_LEASE_NS / 3;
}

#endif
