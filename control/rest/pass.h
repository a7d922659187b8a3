/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that one who stands by passes on to the active service: over a UNIX socket that only the active one has,
 * and never passes on from, so that they cannot go in a circle. Heads and bodies go unchanged, but for what belongs to
 * one connection; an answer is told as it comes, with a bounded part of it held. A request is sent once: whether one
 * that was not answered was done is for its Idempotency-Key to say.
 */
#ifndef PRAAS_CONTROL_PASS_H
#define PRAAS_CONTROL_PASS_H

#include <stdbool.h>
#include <stdint.h>

struct MHD_Response;
struct praas_pass;
struct praas_passes;
struct praas_request;

/* Header of a request that was passed on: the address of its client. Of others it is not believed. */
#define PRAAS_PASS_FROM "Praas-From"

struct praas_passes_stats {
	uint32_t open;
	uint64_t begun, failed; /* failed: not answered, or not to the end */
};

/* path: the socket of who is active, whoever that is; copied. Starts a thread. 0; -ENAMETOOLONG; -ENOMEM; -EAGAIN. */
int praas_passes_new(const char *path, struct praas_passes **ret_passes);
/* What is under way is answered (shutting_down, 503), or ends. NULL is allowed. */
void praas_passes_stop(struct praas_passes *passes);
/* After praas_passes_stop(), when no request is left. NULL is allowed. */
void praas_passes_free(struct praas_passes *passes);
/* Whether somebody is there to pass on to. */
bool praas_passes_reach(const struct praas_passes *passes);
void praas_passes_stats(struct praas_passes *passes,
			struct praas_passes_stats *ret_stats);

/* rq->pass, for a request with that target; NULL when there is no memory. */
void praas_pass_prepare(struct praas_request *rq, const char *target);
/* With its body. From the handler of its connection, which is suspended; the answer ends that. */
void praas_pass_begin(struct praas_request *rq);
/* The answer of one that has passed; the pass is its own from now on. NULL: no memory, and the pass is gone. */
struct MHD_Response *praas_pass_response(struct praas_pass *pass);
/* Nobody waits for its answer any more. NULL is allowed. */
void praas_pass_drop(struct praas_pass *pass);

#endif
