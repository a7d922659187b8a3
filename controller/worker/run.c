/* SPDX-License-Identifier: Apache-2.0
 *
 * One invocation from its descriptor to its result, and the loop around.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "controller/worker/worker.h"

#define EXIT_PROTOCOL 3
#define SHORT_RUN_NS 1000u /* shorter ones are not all measured, … */
#define SHORT_SKIP 7u      /* but one in eight, … */
#define LONG_WATCH 64u     /* after so many in a row that were short */
#define DIRECT_LOOKS 400u  /* at a ring, after an answer: about 0.2 us */
#define INLINED inline __attribute__((always_inline))
#define DIRECT_BURST 32u /* calls of one client before the others are looked at */

/* Of what runs, from the bottom. */
static struct ctx contexts[DEPTH_MAX];

_Noreturn void worker_fatal(struct worker *w, const char *text)
{
	/* When the controller stopped or is gone this is the orderly end. */
	if (w->end.stopped)
		_exit(0);
	praas_worker_end_failed(text);
	_exit(EXIT_PROTOCOL);
}

/* What the controller shall see of a direct call: it ends one that hangs. */
static void tell_direct(struct worker *w, const struct ctx *ctx, uint32_t function)
{
	struct praas_worker_line *line = w->end.line;

	uint64_t number = ctx->direct_number << 8 | (ctx->direct->attach.client + 1);
	const struct praas_call_info *info = &ctx->head.info;

	atomic_store_explicit(&line->direct_function, function, memory_order_relaxed);
	/* run.R0, pairs with run.A0: who sees these knows that the number of the call before is
	 * gone. */
	atomic_store_explicit(&line->direct_id, info->id, memory_order_release);
	atomic_store_explicit(&line->direct_deadline_ns, info->deadline_ns,
			      memory_order_release);
	/* run.R1, pairs with run.A1: who sees the number sees its id and deadline. */
	atomic_store_explicit(&line->direct_call, number, memory_order_release);
}

static void ctx_begin(struct worker *w, struct ctx *ctx, uint32_t depth)
{
	ctx->worker = w;
	ctx->given = false;
	ctx->depth = depth;
	ctx->level = 0;
	ctx->direct = NULL;
	ctx->out = (struct output){ 0 };
	ctx->dispatch = 0;
	ctx->direct_number = 0;
	ctx->traced_sequence = 0;
	ctx->inputs = NULL;
	ctx->writes = w->writes[depth];
	ctx->writes_count = 0;
	ctx->owned_from = w->owned_count;
	ctx->text[0] = '\0';
	ctx->head.ops = &worker_function_ops;
	memset(&ctx->head.info, 0, sizeof(ctx->head.info));
	ctx->head.info.pid =
		atomic_load_explicit(&w->end.order->pid, memory_order_relaxed);
	ctx->head.info.epoch = (uint32_t)atomic_load_explicit(&w->end.order->epoch,
							      memory_order_relaxed);
	ctx->head.info.inputs = 1;
	ctx->head.info.key = "";
}

static int32_t commit_status(int rc)
{
	switch (rc) {
	case 0:
		return PRAAS_OK;
	case -ESTALE:
		return PRAAS_CONFLICT;
	case -EMSGSIZE:
		return PRAAS_TOO_LARGE;
	case -ENOENT:
		return PRAAS_NOT_FOUND;
	case -ENOSPC:
	case -ENOBUFS:
	case -ENOMEM:
		return PRAAS_NO_MEMORY;
	default:
		return PRAAS_INTERNAL;
	}
}

/* Calls the entry; returns how long that took, or took lately. */
static uint64_t run_entry(struct ctx *ctx, uint32_t function, int32_t *ret_status)
{
	struct worker *w = ctx->worker;
	struct run_clock *clock = &w->clocks[function];
	uint64_t start;

	if (praas_likely(clock->skip != 0)) {
		clock->skip--;
		*ret_status = w->entries[function](&ctx->head);
		return clock->ns;
	}
	start = worker_ticks();
	*ret_status = w->entries[function](&ctx->head);
	clock->ns = (uint64_t)((double)(worker_ticks() - start) * w->ns_per_tick);
	if (clock->ns >= SHORT_RUN_NS)
		clock->watch = LONG_WATCH;
	else if (clock->watch != 0)
		clock->watch--;
	clock->skip = clock->watch == 0 ? SHORT_SKIP : 0;
	return clock->ns;
}

/* What has to be settled before its result counts. One-way commit: by the controller's path, where
 * the result is checked with it. Returns the status. */
static INLINED int32_t ctx_settle(struct ctx *ctx, int32_t status, bool one_way)
{
	ctx_calls_end(ctx);
	ctx_updates_end(ctx);
	/* Numbers below zero are ours alone: a negative errno passed on is made a code. */
	if (praas_unlikely(status < 0))
		status = status == INT32_MIN ? INT32_MAX : -status;
	if (status != 0)
		ctx_writes_drop(ctx);
	else if (ctx->writes_count != 0)
		status = commit_status(ctx_commit(ctx, one_way));
	return status;
}

static int32_t ctx_run(struct ctx *ctx, uint32_t function, bool one_way,
		       uint64_t *ret_ns)
{
	int32_t status;

	*ret_ns = run_entry(ctx, function, &status);
	return ctx_settle(ctx, status, one_way);
}

/* The same, with all of it measured: it is waited for the commit. */
static PRAAS_COLD int32_t ctx_run_timed(struct ctx *ctx, uint32_t function,
					struct praas_frame_timing *ret_timing)
{
	uint64_t began = praas_now_ns(), ran;
	int32_t status;

	ctx->worker->clocks[function].skip = 0;
	(void)run_entry(ctx, function, &status); /* by a finer clock, for the others */
	ran = praas_now_ns();
	status = ctx_settle(ctx, status, false);
	ret_timing->run_ns = ran - began;
	ret_timing->state_ns = praas_now_ns() - ran;
	return status;
}

/* How long a call has waited that says when it came: of a client's word no more than can be. */
static uint64_t waited(uint64_t since)
{
	uint64_t now = praas_now_ns();

	return since != 0 && since < now ? now - since : 0;
}

/* ---- asked for by the controller ---- */

static INLINED void push_result(struct ctx *ctx, int32_t status, uint64_t run_ns)
{
	struct worker *w = ctx->worker;
	struct output *out = &ctx->out;
	struct praas_frame f = { .kind = PRAAS_FRAME_RESULT,
				 .id = ctx->head.info.id,
				 .status = status,
				 .bytes = status == 0 ? out->bytes : 0,
				 .aux = run_ns };
	uint32_t segment = (uint32_t)out->segment;
	uint64_t offset = out->offset;
	struct praas_worker_buffer text;

	if (status != 0 && out->buffer.segment != 0)
		praas_worker_end_drop(&w->end, &out->buffer);
	if (status != 0 && ctx->text[0] &&
	    praas_worker_end_alloc(&w->end, sizeof(ctx->text), &text) == 0) {
		f.bytes = strlen(ctx->text) + 1;
		memcpy(text.data, ctx->text, f.bytes);
		segment = text.segment;
		offset = text.offset;
	}
	if (f.bytes == 0) {
		if (status == 0 && out->buffer.segment != 0)
			praas_worker_end_drop(&w->end, &out->buffer);
		segment = 0;
	}
	if (praas_worker_end_push(&w->end, &f, NULL, segment, offset) != 0)
		worker_fatal(w, "cannot push a result");
}

static const struct praas_worker_call *call_of(const struct worker *w, uint32_t level)
{
	return (const void *)((const uint8_t *)w->end.call +
			      level * PRAAS_WORKER_CALL_BYTES);
}

/* Its inputs, and what is known of it. */
static INLINED void ctx_fill(struct worker *w, struct ctx *ctx,
			     const struct praas_worker_frame *frame)
{
	const struct praas_frame *f = &frame->head;
	const struct praas_worker_call *call;

	ctx->given = true;
	ctx->level = (uint32_t)f->status >> 16;
	if (f->function >= w->end.start.functions_count || f->status < 1 ||
	    ctx->level >= PRAAS_WORKER_LEVELS_MAX)
		worker_fatal(w, "no such function");
	call = call_of(w, ctx->level);
	ctx->head.info.id = f->id;
	ctx->head.info.source = f->aux;
	ctx->head.info.deadline_ns = f->deadline_ns;
	ctx->head.info.inputs = (uint32_t)f->status & 0xffff;
	ctx->head.info.function = w->end.functions[f->function].name;
	if (f->key_bytes)
		ctx->head.info.key = call->key;
	ctx->input = (struct praas_worker_input){ .segment = frame->segment,
						  .offset = frame->offset,
						  .bytes = f->bytes,
						  .source = f->aux };
	if (ctx->head.info.inputs > 1)
		ctx->inputs = call->inputs;
	else if (f->bytes &&
		 praas_worker_end_view(&w->end, frame->segment, frame->offset, f->bytes,
				       &ctx->data) != 0)
		worker_fatal(w, "an input lies nowhere");
}

static void push_timing(struct ctx *ctx, const struct praas_frame_timing *timing)
{
	const struct praas_frame f = { .kind = PRAAS_WORKER_TIMING,
				       .id = ctx->head.info.id,
				       .deadline_ns = timing->state_ns,
				       .aux = timing->queue_ns };

	if (praas_worker_end_push(&ctx->worker->end, &f, NULL, 0, 0) != 0)
		worker_fatal(ctx->worker, "cannot push a timing");
}

/* below: who waits, and has this run on top of it; NULL. special, known when this is compiled: the
 * frame has flags. */
static INLINED void run_frame_as(struct worker *w,
				 const struct praas_worker_frame *frame,
				 const struct ctx *below, bool special)
{
	const struct praas_frame *f = &frame->head;
	uint32_t depth = below ? below->depth + 1 : 0;
	bool timed = special && (f->flags & PRAAS_FRAME_TIMING);
	struct praas_frame_timing timing;
	struct ctx *ctx = &contexts[depth];
	uint64_t run_ns = 0;
	int32_t status;

	ctx_begin(w, ctx, depth);
	ctx->dispatch = w->dispatches;
	ctx_fill(w, ctx, frame);
	if (special && (f->flags & PRAAS_FRAME_TRACE))
		praas_span_take_over(&ctx->head.info, call_of(w, ctx->level)->trace);
	if (timed)
		timing = (struct praas_frame_timing){
			.queue_ns = waited(call_of(w, ctx->level)->arrived_ns)
		};
	if (!below)
		praas_state_reader_enter(&w->reader);
	/* Given up while it waited behind a direct call: it does not run. */
	if (praas_unlikely(ctx_cancelled(&ctx->head)))
		status = f->deadline_ns != 0 && praas_now_ns() >= f->deadline_ns
				 ? PRAAS_DEADLINE
				 : PRAAS_CANCELLED;
	else if (timed)
		status = ctx_run_timed(ctx, f->function, &timing);
	else
		status = ctx_run(ctx, f->function, true, &run_ns);
	if (timed) {
		push_timing(ctx, &timing);
		run_ns = timing.run_ns;
	}
	push_result(ctx, status, run_ns);
	ctx_drop_owned(ctx);
	if (!below)
		praas_state_reader_leave(&w->reader);
	w->runs++;
	if (!below) /* else it is in the time of who waits */
		w->busy_ns += run_ns;
}

static PRAAS_COLD void run_frame_special(struct worker *w,
					 const struct praas_worker_frame *frame,
					 const struct ctx *below)
{
	run_frame_as(w, frame, below, true);
}

static void run_frame(struct worker *w, const struct praas_worker_frame *frame,
		      const struct ctx *below)
{
	if (praas_unlikely(frame->head.flags))
		run_frame_special(w, frame, below);
	else
		run_frame_as(w, frame, below, false);
}

int32_t worker_asker(const struct ctx *ctx)
{
	return (int32_t)ctx->depth |
	       (ctx->worker->end.in_direct >= 0 ? PRAAS_WORKER_IN_DIRECT : 0);
}

void worker_help(struct worker *w, const struct ctx *ctx)
{
	int32_t in_direct = w->end.in_direct;
	struct praas_worker_frame frame;
	int rc;

	/* It comes right behind. */
	while ((rc = worker_take(w, &frame)) == -EAGAIN && !w->end.stopped)
		(void)sched_yield();
	if (rc != 0 || ctx->depth + 1 >= DEPTH_MAX)
		worker_fatal(w, "nothing to help with");
	/* The direct call's loans and buffers are not this one's. */
	w->end.in_direct = -1;
	run_frame(w, &frame, ctx);
	w->end.in_direct = in_direct;
}

/* ---- asked for by a function of ours ---- */

void worker_run_nested(struct worker *w, const struct ctx *parent, struct call *call)
{
	struct ctx *ctx = &contexts[parent->depth + 1];
	uint64_t run_ns;

	ctx_begin(w, ctx, parent->depth + 1);
	ctx->dispatch = parent->dispatch;
	ctx->direct_number = parent->direct_number;
	ctx->level = parent->level;
	ctx->head.info.id = call->id;
	ctx->head.info.source = parent->head.info.pid;
	ctx->head.info.deadline_ns = parent->head.info.deadline_ns;
	ctx->head.info.function = w->end.functions[call->function].name;
	ctx->head.info.key = call->key;
	if (praas_unlikely(praas_span_traced(&parent->head.info))) {
		praas_span_hand_on(&parent->head.info, ctx->trace);
		praas_span_take_over(&ctx->head.info, ctx->trace);
	}
	ctx->data = call->data;
	ctx->input = (struct praas_worker_input){ .bytes = call->bytes,
						  .source = parent->head.info.pid };
	call->status = ctx_run(ctx, call->function, false, &run_ns);
	ctx_drop_owned(ctx);
	worker_count(w, call->function, call->status, call->bytes,
		     call->status == 0 ? ctx->out.bytes : 0, run_ns);
	w->nested_runs++;
	call->state = CALL_DONE;
	ctx_output_keep(ctx, call);
}

/* ---- asked for by a direct client ---- */

static int32_t direct_output(struct ctx *ctx, struct praas_direct_reply *r)
{
	struct output *out = &ctx->out;

	if (praas_unlikely(out->bytes && !out->direct && ctx_output_share(ctx) != 0)) {
		(void)snprintf(ctx->text, sizeof(ctx->text),
			       "the client cannot be shown a result of this size");
		return PRAAS_NO_MEMORY;
	}
	if (out->bytes) {
		r->segment = out->direct ? 0 : out->buffer.segment;
		r->offset = out->offset;
		r->bytes = out->bytes;
		out->buffer.segment = 0; /* given */
		out->direct = false;
	}
	return PRAAS_OK;
}

/* timing: NULL when run_ns is all that is known. */
static INLINED void direct_reply(struct ctx *ctx, int32_t status, uint64_t run_ns,
				 const struct praas_frame_timing *timing)
{
	struct worker *w = ctx->worker;
	struct praas_direct_reply r = { .id = ctx->head.info.id,
					.offset = PRAAS_DIRECT_NO_BUFFER,
					.run_ns = run_ns };
	void *text;

	if (status == 0)
		status = direct_output(ctx, &r);
	ctx_output_drop(ctx);
	if (status != 0 && status != PRAAS_DEADLINE && ctx->text[0] &&
	    praas_direct_alloc(ctx->direct, sizeof(ctx->text), &r.offset, &text) == 0) {
		r.bytes = strlen(ctx->text) + 1;
		memcpy(text, ctx->text, r.bytes);
	}
	r.status = status;
	w->direct_failures += status != 0;
	w->direct_out += r.bytes;
	if ((timing ? praas_direct_reply_timed(ctx->direct, &r, timing)
		    : praas_direct_reply(ctx->direct, &r)) != 0)
		(void)praas_worker_end_detach_now(&w->end, ctx->direct->attach.client);
}

/* What only the controller can decide goes back untouched: the client sends it the other way. */
static bool direct_allowed(const struct worker *w, uint32_t function)
{
	return w->end.functions[function].plain;
}

static void end_direct(struct worker *w)
{
	atomic_store_explicit(&w->end.line->direct_call, 0, memory_order_relaxed);
	w->end.in_direct = -1;
}

/* Only the controller can decide it: it goes back untouched. */
static PRAAS_COLD void refuse_direct(struct worker *w, struct praas_direct *d,
				     uint64_t id)
{
	const struct praas_direct_reply r = { .id = id,
					      .status = PRAAS_CANCELLED,
					      .offset = PRAAS_DIRECT_NO_BUFFER,
					      .run_ns = PRAAS_DIRECT_WITHDRAWN };

	if (praas_direct_reply(d, &r) != 0)
		(void)praas_worker_end_detach_now(&w->end, d->attach.client);
	end_direct(w);
}

/* special, known when this is compiled: the call has flags. */
static INLINED void run_direct_as(struct worker *w, struct praas_direct *d,
				  const struct praas_direct_call *call, bool special)
{
	static struct ctx ctx;
	bool timed = special && (call->head.flags & PRAAS_FRAME_TIMING);
	struct praas_frame_timing timing;
	uint64_t run_ns = 0, failures = w->direct_failures, out = w->direct_out;
	int32_t status;

	ctx_begin(w, &ctx, 0);
	ctx.direct = d;
	worker_settle(w);
	ctx.head.info.id = call->head.id;
	ctx.head.info.source = call->head.source;
	ctx.head.info.deadline_ns = call->head.deadline_ns;
	ctx.head.info.key = call->key;
	ctx.direct_number = ++w->direct_taken;
	w->direct_in += call->head.bytes;
	tell_direct(w, &ctx, call->head.function);
	if (special && (call->head.flags & PRAAS_FRAME_TRACE))
		praas_span_take_over(&ctx.head.info, call->trace);
	if (timed)
		timing = (struct praas_frame_timing){ .queue_ns =
							      waited(call->head.aux) };
	ctx.data = call->data;
	ctx.input = (struct praas_worker_input){ .bytes = call->head.bytes,
						 .source = call->head.source };
	w->end.in_direct = (int32_t)d->attach.client;
	if (call->head.function >= w->end.start.functions_count) {
		status = PRAAS_NO_FUNCTION;
	} else if (!direct_allowed(w, call->head.function)) {
		refuse_direct(w, d, call->head.id);
		ctx.head.info.key = "";
		return;
	} else if (call->head.deadline_ns && praas_now_ns() >= call->head.deadline_ns) {
		status = PRAAS_DEADLINE;
	} else {
		ctx.head.info.function = w->end.functions[call->head.function].name;
		praas_state_reader_enter(&w->reader);
		status = timed ? ctx_run_timed(&ctx, call->head.function, &timing)
			       : ctx_run(&ctx, call->head.function, false, &run_ns);
		/* As by the other way: who is late is told so, whatever it came to. */
		if (call->head.deadline_ns && praas_now_ns() >= call->head.deadline_ns)
			status = PRAAS_DEADLINE;
	}
	while (w->borrowed_count != 0)
		worker_return(w, w->borrowed[w->borrowed_count - 1]);
	if (timed)
		run_ns = timing.run_ns;
	direct_reply(&ctx, status, run_ns, timed ? &timing : NULL);
	end_direct(w);
	worker_count(w, call->head.function, w->direct_failures != failures,
		     call->head.bytes, w->direct_out - out, run_ns);
	ctx.head.info.key = ""; /* the call is our caller's */
	ctx_drop_owned(&ctx);
	praas_state_reader_leave(&w->reader);
	w->runs++;
	w->direct_runs++;
	w->busy_ns += run_ns;
}

static PRAAS_COLD void run_direct_special(struct worker *w, struct praas_direct *d,
					  const struct praas_direct_call *call)
{
	run_direct_as(w, d, call, true);
}

static void run_direct(struct worker *w, struct praas_direct *d,
		       const struct praas_direct_call *call)
{
	if (praas_unlikely(call->head.flags))
		run_direct_special(w, d, call);
	else
		run_direct_as(w, d, call, false);
}

/* Whoever was just answered may call again within a round trip of the cache line: his ring alone
 * is looked at, without a pause, for about as long. */
static bool calls_again(const struct praas_direct *d)
{
	for (unsigned i = 0; i < DIRECT_LOOKS; i++)
		if (praas_direct_ready(d))
			return true;
	return false;
}

/* Calls of one direct client, as long as they come at once. 0; -EPROTO its ring is broken. */
static int serve_direct(struct worker *w, struct praas_direct *d, unsigned *done)
{
	struct praas_direct_call call PRAAS_UNINITIALIZED;
	unsigned calls = 0;
	int rc;

	do {
		rc = praas_direct_take(d, &call);
		if (rc != 0)
			break;
		run_direct(w, d, &call);
		calls++;
	} while (calls < DIRECT_BURST && !w->end.detach_later && calls_again(d));
	*done += calls;
	return rc == -EAGAIN ? 0 : rc;
}

/* Calls of all direct clients. Returns how many there were. */
static unsigned poll_direct(struct worker *w)
{
	unsigned done = 0;

	for (uint32_t i = 0; i < w->end.direct_count; i++) {
		struct praas_direct *d = w->end.direct[i];

		if (d && serve_direct(w, d, &done) != 0 &&
		    praas_worker_end_detach_now(&w->end, i) != 0)
			return done;
		if (w->end.detach_later)
			(void)praas_worker_end_detach_now(&w->end, i);
	}
	return done;
}

int worker_loop(struct worker *w)
{
	struct praas_worker_frame frame;
	struct praas_waiter waiter;

	praas_waiter_init(&waiter, (enum praas_wait_mode)w->end.start.wait_mode);
	worker_clock_learn(w);
	while (!w->end.stopped) {
		int rc = worker_take(w, &frame);
		unsigned work = 0;

		if (rc == 0) {
			worker_settle(w);
			run_frame(w, &frame, NULL);
			work = 1;
		} else if (rc != -EAGAIN) {
			return -EPROTO;
		}
		if (w->end.direct_count)
			work += poll_direct(w);
		if (work) {
			praas_waiter_busy(&waiter);
			worker_tell_counters(w);
			/* The controller, which has to pass the result on, may need this core. */
			if (rc == 0)
				waiter.idle = waiter.pauses;
			continue;
		}
		if ((waiter.idle & 1023u) == 1023u)
			worker_clock_learn(w);
		praas_worker_end_idle(&w->end, &waiter, true);
	}
	return 0;
}
