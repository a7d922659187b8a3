/* SPDX-License-Identifier: Apache-2.0
 *
 * An executor runs invocations: *inline* on the data thread itself, or *worker* in sandboxed OS
 * processes. One table, one conformance suite (tests/conformance/executor). Data thread only.
 */
#ifndef PRAAS_DATAPLANE_EXECUTOR_H
#define PRAAS_DATAPLANE_EXECUTOR_H

#include <stdint.h>

#include "dataplane/invocation.h"

struct praas_process;
struct praas_executor;

/* What an executor must know of a function. */
struct praas_function {
	char name[PRAAS_NAME_MAX + 1];
	char symbol[PRAAS_NAME_MAX + 1];
	char library[256]; /* absolute path of the shared object */
	uint32_t trigger;  /* enum praas_trigger_type */
	uint32_t trigger_count;
	uint64_t trigger_timeout_ns;
	uint32_t concurrency; /* enum praas_concurrency */
	uint32_t
		then; /* number + 1 of the function that its result goes on to; 0: to the caller */
	char then_process[PRAAS_NAME_MAX +
			  1]; /* the process that this runs in; "": here */
};

enum praas_trigger_type {
	PRAAS_TRIGGER_STANDARD = 0,
	PRAAS_TRIGGER_MULTI_SOURCE, /* N messages with the same key */
	PRAAS_TRIGGER_BATCH         /* N messages with any key */
};

enum praas_concurrency { PRAAS_PARALLEL = 0, PRAAS_SERIAL, PRAAS_SERIAL_PER_KEY };

/* It may run at any time, anywhere, with one input, and its result is the caller's: nobody has to decide. */
static inline bool praas_function_plain(const struct praas_function *f)
{
	return f->trigger == PRAAS_TRIGGER_STANDARD &&
	       f->concurrency == PRAAS_PARALLEL && f->then == 0;
}

/* A running invocation that waits for a call, as long as it takes. */
struct praas_executor_wait {
	uint64_t call;  /* its id, as praas_process_fn_invoke() gave it */
	uint64_t nonce; /* of this wait; 0: it did not last yet */
	/* What runs on top of it, and waits; itself where nothing does. NULL: not known here. */
	const struct praas_invocation *top;
};

struct praas_executor_ops {
	const char *name;
	/* Begin inv, which is in state RUNNING from now on. 0: ends in praas_process_complete(),
	 * exactly once, perhaps before this returns. -EAGAIN: no capacity now, nothing changed;
	 * the process queues it and tries again when capacity() says so. */
	int (*start)(struct praas_executor *ex, struct praas_invocation *inv);
	/* How many more could be started now. */
	unsigned (*capacity)(const struct praas_executor *ex);
	/* Ask that inv end early; it still completes. */
	void (*cancel)(struct praas_executor *ex, struct praas_invocation *inv);
	/* The same for a call that the process does not know: of the direct path, if any. NULL: the
	 * executor has none. */
	void (*cancel_direct)(struct praas_executor *ex, uint64_t source, uint64_t id);
	/* NULL, or whether inv, which runs, waits so. */
	bool (*waits)(struct praas_executor *ex, const struct praas_invocation *inv,
		      struct praas_executor_wait *ret_wait);
	/* Not NULL where waits() is not. That wait of one in another process can never end, for the reason
	 * in text: it is told so, and its call is withdrawn. */
	void (*wait_ends)(struct praas_executor *ex,
			  const struct praas_executor_wait *wait, const char *text);
	/* Results, calls of functions, deadlines, deaths. Returns work done. */
	unsigned (*poll)(struct praas_executor *ex, unsigned budget);
	/* NULL, or the first half of arm(), as in transport.h. */
	void (*announce)(struct praas_executor *ex);
	/* About to sleep: -EAGAIN there is work; else what to wait for, as in transport.h. */
	int (*arm)(struct praas_executor *ex, int *ret_fd);
	/* Running invocations complete INTERRUPTED if they do not end in time; nothing more is
	 * started. Idempotent. deadline_ns 0: go on again. */
	void (*stop)(struct praas_executor *ex, uint64_t deadline_ns);
	void (*free)(struct praas_executor *ex);
};

struct praas_executor {
	const struct praas_executor_ops *ops;
	struct praas_process *process; /* set by praas_process_new */
	uint64_t asked;                /* times that functions asked for something */
};

/* Functions are called on the data thread and run to completion; they never wait: a recv or wait
 * that finds nothing returns -EAGAIN at once. Loads the libraries. */
int praas_executor_inline_new(const struct praas_function *functions, uint32_t count,
			      struct praas_executor **ret_ex);

#endif
