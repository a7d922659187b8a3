/* SPDX-License-Identifier: Apache-2.0
 *
 * praas-worker: one OS process that runs functions of one cloud process, one at a time, on one
 * thread. Everything here is that thread's.
 */
#ifndef PRAAS_CONTROLLER_WORKER_WORKER_H
#define PRAAS_CONTROLLER_WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/executor.h"
#include "dataplane/span.h"
#include "dataplane/state_index.h"
#include "dataplane/worker_end.h"
#include "internal/base.h"
#include "praas/function.h"

#define DEPTH_MAX PRAAS_WORKER_DEPTH_MAX /* functions that run on top of one another */
#define OWNED_MAX 512u /* buffers of running functions that were not given away */
#define WRITES_MAX                                                                     \
	1024u /* of one commit; as PRAAS_WRITES_MAX of dataplane/process_fn.h */
#define UPDATES_MAX 8u    /* in place, at once, in one invocation */
#define BORROWED_MAX 256u /* payloads of the controller's that a direct call holds */
#define CALLS_MAX 64u     /* started functions whose outcome was not released */

_Static_assert(CALLS_MAX == 64, "struct worker has a bit for each");

typedef int (*function_entry)(struct praas_ctx *ctx);

/* One buffered write of an invocation. */
struct write {
	struct praas_worker_buffer value; /* segment 0: empty */
	uint64_t bytes;
	uint64_t expect; /* version + 1; 0: any */
	bool erase;
	uint8_t key_bytes;
	char key[PRAAS_KEY_MAX + 1];
};

/* One object that is being updated in place. */
struct update {
	struct praas_worker_buffer moved; /* segment 0: it did not move */
	uint64_t token;                   /* names it to the function; 0: free */
	struct lease *lease;
};

/* The right to update an object. Kept after the update: the next one needs no message. */
struct lease {
	uint8_t *data; /* where the object lies */
	uint64_t bytes;
	uint64_t number;  /* of the controller's grant */
	uint64_t version; /* of the object */
	uint64_t
		count; /* of updates without a message, with those of former leases here */
	bool held;     /* until the controller's word says that it has ended */
	bool active; /* an update is under way */
	uint8_t key_bytes;
	char key[PRAAS_KEY_MAX + 1];
};

enum call_state {
	CALL_DEFERRED, /* may be run in place by who waits for it */
	CALL_SENT,     /* with the controller */
	CALL_DONE      /* outcome is here */
};

/* A function that a function has started. */
struct call {
	enum call_state state;
	uint64_t id;
	uint64_t destination; /* PRAAS_SELF, or another process */
	uint32_t function;
	uint32_t depth;      /* of who started it */
	const uint8_t *data; /* input, while deferred */
	uint64_t bytes;
	struct praas_worker_buffer
		input; /* that holds it; segment 0: it lies in the caller's */
	int32_t status;
	struct praas_view result;
	uint8_t key_bytes;
	char key[PRAAS_KEY_MAX + 1];
};

/* The result of an invocation, as far as it is known. */
struct output {
	struct praas_worker_buffer buffer; /* of ours; segment 0: none */
	uint64_t bytes;
	uint64_t segment, offset; /* where the result lies; segment 0: there is none */
	bool direct;              /* buffer is of the direct client's reply segment */
};

struct worker;

/* A running invocation. */
struct ctx {
	struct praas_ctx head; /* first: what the function sees */
	struct worker *worker;
	bool given;                  /* asked for by the controller */
	uint32_t depth;              /* how many it lies on */
	uint32_t level;              /* of its dispatch; in place: its caller's */
	uint32_t updates_count;      /* under way */
	struct praas_direct *direct; /* asked for by that client; NULL */
	struct output out;
	uint64_t dispatch; /* number of the dispatch, for the cancel word; 0: direct */
	uint64_t direct_number; /* of the direct call, for its cancel word; 0: none */
	uint64_t
		traced_sequence; /* of the message received last, if that has a trace; 0 */
	const struct praas_worker_input *inputs; /* NULL: the one below */
	struct praas_worker_input input;
	const uint8_t *data; /* of the one input */
	struct write *writes;
	uint32_t writes_count;
	uint32_t owned_from; /* of the worker's list */
	struct update updates[UPDATES_MAX];
	char text[PRAAS_ERROR_TEXT_MAX];
	uint8_t trace[PRAAS_TRACE_BYTES]; /* of the message with traced_sequence */
};

/* How long a function takes. Reading the clock twice costs more than a short function does: of those
 * one call in some is measured, and stands for the others. */
struct run_clock {
	uint64_t ns;    /* as last measured */
	uint32_t skip;  /* so many more are not measured */
	uint32_t watch; /* so many more all are, since one was long */
};

struct worker {
	struct praas_worker_end end;
	struct praas_state_reader reader;
	function_entry *entries;  /* by function number */
	struct run_clock *clocks; /* the same */
	uint64_t dispatches;      /* INVOKE frames taken so far */
	uint64_t commits;         /* sent one way so far */
	uint64_t direct_taken, direct_failures;
	uint64_t direct_in, direct_out; /* bytes of payloads */
	uint64_t tokens;
	struct lease leases[PRAAS_WORKER_LEASES];
	uint32_t leases_next; /* to be given up when all are held */
	struct praas_worker_buffer owned[OWNED_MAX];
	uint32_t owned_count;
	struct call calls[CALLS_MAX];
	uint64_t calls_used; /* a bit for each of them */
	/* The controller ends the loans of calls that it knows of; these are a direct call's. */
	uint64_t borrowed[BORROWED_MAX];
	uint32_t borrowed_count;
	struct call *deferred; /* at most one */
	struct write writes[DEPTH_MAX][WRITES_MAX];
	uint64_t tsc_start, ns_start;
	uint64_t tsc_apart; /* by so many ticks these two, at most */
	double ns_per_tick;
	uint64_t busy_ns, runs, direct_runs, nested_runs,
		copies; /* as the line tells */
};

/* ---- loader.c ---- */

/* Open the libraries and find the entries. 0; -ENOENT and why in ret_text. */
int worker_load(struct worker *w, char *ret_text);

/* ---- take.c ---- */

/* The next call of the controller's that is to be run. 0; -EAGAIN; -EPROTO. */
int worker_take(struct worker *w, struct praas_worker_frame *ret_frame);
/* What was committed one way is in the index: one worker alone never misses a write of its own. */
void worker_settle(struct worker *w);

/* ---- clock.c ---- */

/* The clock of run times: ticks of the processor where that is cheap. */
static inline uint64_t worker_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	return praas_now_ns();
#endif
}
void worker_clock_start(struct worker *w);
/* The longer ago the start is, the better the rate is known. Called when there is time. */
void worker_clock_learn(struct worker *w);
void worker_tell_counters(struct worker *w);

/* A call that the controller does not see has ended; it adds them up. */
static inline void worker_count(struct worker *w, uint32_t function, int32_t status,
				uint64_t bytes_in, uint64_t bytes_out, uint64_t run_ns)
{
	struct praas_function_counts *c = &w->end.counts[function];

	if (praas_unlikely(function >= w->end.start.functions_count))
		return; /* a call of what there is not */
	praas_function_add(&c->calls, 1);
	praas_function_add(&c->bytes_in, bytes_in);
	praas_function_add(&c->bytes_out, bytes_out);
	praas_function_add(&c->run_ns, run_ns);
	if (praas_unlikely(status != 0))
		praas_function_add(&c->errors, 1);
}

/* ---- run.c ---- */

/* Run what is asked for until the controller says stop. 0; -EPROTO. */
int worker_loop(struct worker *w);
/* The controller has sent something to be run on top of ctx, which waits: run it. */
void worker_help(struct worker *w, const struct ctx *ctx);
/* What a question that may be answered with -EINTR says of who asks. */
int32_t worker_asker(const struct ctx *ctx);
/* Run a call in place of the controller. */
void worker_run_nested(struct worker *w, const struct ctx *parent, struct call *call);
/* Our controller cannot be understood, or is gone: there is nothing left to do. */
_Noreturn void worker_fatal(struct worker *w, const char *text);

/* ---- ctx_io.c ---- */

/* A payload of the controller's that is ours until worker_return() or the end of the call. */
void worker_borrowed(struct worker *w, uint64_t token);
void worker_return(struct worker *w, uint64_t token);
/* Lets the direct client see the segment with the result. 0; -ENOSPC. */
int ctx_output_share(struct ctx *ctx);
/* The outcome of a call in place, its status set: its caller's to read until that ends. */
void ctx_output_keep(struct ctx *ctx, struct call *call);

extern const struct praas_function_ops worker_function_ops;

static inline struct ctx *ctx_of(struct praas_ctx *head)
{
	return (struct ctx *)(void *)head;
}

/* A buffer that is dropped at the end of the invocation, unless it is taken. */
int ctx_buffer(struct ctx *ctx, uint64_t bytes, struct praas_worker_buffer *ret_buffer);
/* The buffer that begins at data, out of the list; false: there is none. */
bool ctx_take(struct ctx *ctx, const void *data, uint64_t bytes,
	      struct praas_worker_buffer *ret_buffer);
/* The same, or (with PRAAS_COPY always) a copy in a new buffer (not in the list). */
int ctx_take_or_copy(struct ctx *ctx, const void *data, uint64_t bytes, uint32_t flags,
		     struct praas_worker_buffer *ret_buffer);
/* Length of a key; 0: not a key. */
uint8_t ctx_key_bytes(const char *key);
void ctx_drop_owned(struct ctx *ctx);
void ctx_output_drop(struct ctx *ctx);
bool ctx_cancelled(struct praas_ctx *head);

/* Ask the controller. 0 or the negative errno of its answer; does not return when it is gone. */
int ctx_request(struct ctx *ctx, struct praas_frame *f, const char *key,
		uint32_t segment, uint64_t offset,
		struct praas_worker_frame *ret_reply);

/* Until when to wait, as frames have it: 1 look once, PRAAS_WORKER_NEVER. */
#define PRAAS_WORKER_NEVER (1ull << 62)
static inline uint64_t wait_until(int64_t timeout_ns)
{
	if (timeout_ns == 0)
		return 1;
	return timeout_ns < 0 ? PRAAS_WORKER_NEVER
			      : praas_now_ns() + (uint64_t)timeout_ns;
}

/* ---- ctx_state.c ---- */

int ctx_state_get(struct praas_ctx *head, const char *key, uint32_t flags,
		  struct praas_view *ret_view, uint64_t *ret_version);
int ctx_state_put(struct praas_ctx *head, const char *key, const void *data,
		  size_t bytes, uint32_t flags);
int ctx_state_delete(struct praas_ctx *head, const char *key);
int ctx_state_cas(struct praas_ctx *head, const char *key, uint64_t version,
		  const void *data, size_t bytes);
int ctx_state_list(struct praas_ctx *head, const char *prefix, const char *after,
		   struct praas_state_info *ret_infos, uint32_t infos_max,
		   uint32_t *ret_count);
int ctx_state_commit(struct praas_ctx *head);
/* Push the writes; with an answer (0 or negative errno), or one way: the result that follows carries
 * the verdict. */
int ctx_commit(struct ctx *ctx, bool one_way);
void ctx_writes_drop(struct ctx *ctx);

/* ---- ctx_update.c ---- */

int ctx_update_begin(struct praas_ctx *head, const char *key, size_t bytes,
		     int64_t timeout_ns, struct praas_update *ret_update);
int ctx_update_commit(struct praas_ctx *head, struct praas_update *update);
/* Ends what the function left under way. */
PRAAS_COLD void ctx_updates_drop(struct ctx *ctx);
static inline void ctx_updates_end(struct ctx *ctx)
{
	if (praas_unlikely(ctx->updates_count != 0))
		ctx_updates_drop(ctx);
}
/* Of an object that we have the lease of: our updates are in it, the index may not know. */
uint64_t worker_lease_version(const struct worker *w, const char *key,
			      uint8_t key_bytes, uint64_t version);

/* ---- ctx_msg.c ---- */

int ctx_send(struct praas_ctx *head, praas_pid_t destination, const char *key,
	     const void *data, size_t bytes, uint32_t flags);
int ctx_recv(struct praas_ctx *head, praas_pid_t source, const char *key,
	     int64_t timeout_ns, uint32_t flags, struct praas_msg *ret_msg);
int ctx_peek(struct praas_ctx *head, praas_pid_t source, const char *key,
	     struct praas_msg *ret_msg);
int ctx_msg_trace(struct praas_ctx *head, const struct praas_msg *msg,
		  struct praas_trace_context *ret_trace);

/* ---- ctx_members.c ---- */

int ctx_member(struct praas_ctx *head, const char *name, praas_pid_t *ret_pid);
int ctx_members(struct praas_ctx *head, struct praas_member_info *ret_infos,
		uint32_t infos_max, uint32_t *ret_count, uint64_t *ret_version);
int ctx_members_wait(struct praas_ctx *head, uint64_t version, int64_t timeout_ns,
		     uint64_t *ret_version);

/* ---- ctx_call.c ---- */

int ctx_invoke(struct praas_ctx *head, praas_pid_t destination, const char *function,
	       const char *key, const void *data, size_t bytes, uint64_t *ret_call);
int ctx_wait(struct praas_ctx *head, uint64_t id, int64_t timeout_ns, int *ret_status,
	     struct praas_view *ret_result);
/* A call that was kept to be run in place goes to the controller after all. */
void ctx_flush_deferred(struct ctx *ctx, bool one_way);
/* Forget the calls of this invocation, which has some perhaps. */
PRAAS_COLD void ctx_calls_drop(struct ctx *ctx);
static inline void ctx_calls_end(struct ctx *ctx)
{
	if (praas_unlikely(ctx->worker->calls_used != 0))
		ctx_calls_drop(ctx);
}
/* Upcall of the worker end. */
void worker_on_result(struct praas_worker_end *end,
		      const struct praas_worker_frame *frame);

#endif
