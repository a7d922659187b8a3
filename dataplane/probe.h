/* SPDX-License-Identifier: Apache-2.0
 *
 * What a PROBE says (docs/wire-format.md): who waits and asks, and the invocations that the question has come by.
 * Pure: no clock, no I/O, no memory of its own.
 */
#ifndef PRAAS_DATAPLANE_PROBE_H
#define PRAAS_DATAPLANE_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "praas/types.h"

#define PRAAS_CIRCLE_MAX                                                               \
	32u /* invocations on the way; a longer one ends at its deadline */
#define PRAAS_PROBE_HEAD_BYTES 40u
#define PRAAS_PROBE_STEP_BYTES                                                         \
	80u /* number of the process, name of the function, zeros */
#define PRAAS_PROBE_BYTES_MAX                                                          \
	(PRAAS_PROBE_HEAD_BYTES + PRAAS_CIRCLE_MAX * PRAAS_PROBE_STEP_BYTES)

/* An invocation that waits. */
struct praas_circle_step {
	uint64_t pid;
	char function[PRAAS_NAME_MAX + 1];
};

struct praas_probe {
	uint64_t pid;   /* of who asks */
	uint64_t call;  /* that it waits for, as it knows it */
	uint64_t nonce; /* of its wait, which nobody else makes up; not 0 */
	uint64_t
		latest_ns; /* when the last of all calls on the way began, CLOCK_REALTIME */
	uint32_t count; /* steps, 1 … PRAAS_CIRCLE_MAX */
	struct praas_circle_step steps[PRAAS_CIRCLE_MAX]; /* the first is who asks */
};

/* 0; -E2BIG there is no room. */
int praas_probe_add(struct praas_probe *probe, uint64_t pid, const char *function);
uint64_t praas_probe_bytes(const struct praas_probe *probe);
void praas_probe_encode(const struct praas_probe *probe, uint8_t *ret_wire);
/* 0; -EMSGSIZE more steps than there may be; -EPROTO. */
int praas_probe_decode(const uint8_t *wire, uint64_t bytes,
		       struct praas_probe *ret_probe);
/* Of one that has come back to who asks, whose step is the last one, too: "it would wait for itself: a (pid 1) -> b
 * (pid 2) -> a (pid 1)", from what was called to the same. Cut at bytes, with "...". */
void praas_probe_text(const struct praas_probe *probe, char *ret_text, size_t bytes);

#endif
