/* SPDX-License-Identifier: Apache-2.0
 *
 * The function API: what a function of a cloud process may call.
 *
 * A function library is a shared object that exports entries
 *
 *     int my_function(struct praas_ctx *ctx);
 *
 * and links nothing of PraaS: every call below goes through the table that ctx carries.
 * An entry returns 0, or a positive error code of the author's own (its text is set with
 * praas_fail()). One invocation runs on one thread; ctx is that thread's alone, and ends
 * with the entry. All calls are for that thread unless they say otherwise.
 *
 * Errors: 0 or negative errno. -EAGAIN nothing yet, -ENOENT no such thing, -EMSGSIZE over a
 * limit, -ENOSPC no memory left in the process's limit, -ECANCELED the caller gave up,
 * -ETIMEDOUT, -ESHUTDOWN the process is being swapped out, -EINVAL the caller's mistake,
 * -EBUSY another update holds it, -ESTALE a version differs, -EDEADLK it would wait for itself.
 *
 * State: reads see the last committed values and this invocation's own writes. Writes become
 * visible to others all together when the entry returns 0, or at praas_state_commit(); an
 * entry that fails, crashes or is interrupted leaves none of them (paper, sections 3.1, 4.4).
 */
#ifndef PRAAS_FUNCTION_H
#define PRAAS_FUNCTION_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>

#include <praas/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRAAS_FUNCTION_ABI 1u

/* Mark an entry with it: `PRAAS_FUNCTION int hello(struct praas_ctx *ctx)`. */
#ifdef __cplusplus
#define PRAAS_FUNCTION extern "C" __attribute__((visibility("default")))
#else
#define PRAAS_FUNCTION __attribute__((visibility("default")))
#endif

/* Flags of praas_state_get_flags(), …put_flags(), praas_send_flags() and praas_recv_flags(). Others are
 * -EINVAL. The calls without flags share. */
#define PRAAS_SHARE 0x0u /* by reference into shared memory */
#define PRAAS_COPY 0x1u /* a private copy: the other side's later changes cannot show */
#define PRAAS_NOWAIT 0x2u /* of praas_send_flags(): without room it fails at once */

struct praas_ctx;

/* Facts about the invocation; constant while it runs, but that one without a trace takes over that of
 * the first message with one that it receives. */
struct praas_call_info {
	uint64_t id;          /* of this invocation; the same in every retry */
	praas_pid_t pid;      /* the process it runs in */
	praas_pid_t source;   /* who asked: a process, or a client (PRAAS_CLIENT set) */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0 when there is none */
	uint32_t epoch;       /* of the process */
	uint32_t inputs;      /* number of inputs, 1 with the standard trigger */
	const char *function; /* its name */
	const char *key;      /* the invocation key, "" when none */
	uint8_t trace_id[16]; /* W3C trace context; zero when there is none */
	uint8_t span_id[8];   /* of the caller, or of who sent that message */
	uint8_t trace_flags;  /* of that trace: 0x01 sampled */
};

/* An update of one state object in place; see praas_state_update_begin(). */
struct praas_update {
	void *data;       /* writable; 64-byte aligned */
	size_t bytes;     /* of the object */
	uint64_t version; /* that it had; 0: just created, zeroed */
	uint64_t token;   /* private */
};

/* The table behind the calls. Members are only ever appended; size says how many exist. */
struct praas_function_ops {
	uint32_t abi;  /* PRAAS_FUNCTION_ABI */
	uint32_t size; /* bytes of this table */
	int (*input)(struct praas_ctx *, uint32_t index, struct praas_msg *ret_msg);
	int (*output)(struct praas_ctx *, size_t bytes, void **ret_data);
	int (*output_resize)(struct praas_ctx *, size_t bytes, void **ret_data);
	int (*output_view)(struct praas_ctx *, const struct praas_view *view);
	void (*fail_text)(struct praas_ctx *, const char *text);
	int (*state_get)(struct praas_ctx *, const char *key, uint32_t flags,
			 struct praas_view *ret_view, uint64_t *ret_version);
	int (*buffer)(struct praas_ctx *, size_t bytes, void **ret_data);
	int (*state_put)(struct praas_ctx *, const char *key, const void *data,
			 size_t bytes, uint32_t flags);
	int (*state_delete)(struct praas_ctx *, const char *key);
	int (*state_cas)(struct praas_ctx *, const char *key, uint64_t version,
			 const void *data, size_t bytes);
	int (*state_list)(struct praas_ctx *, const char *prefix, const char *after,
			  struct praas_state_info *ret_infos, uint32_t infos_max,
			  uint32_t *ret_count);
	int (*state_commit)(struct praas_ctx *);
	int (*update_begin)(struct praas_ctx *, const char *key, size_t bytes,
			    int64_t timeout_ns, struct praas_update *ret_update);
	int (*update_commit)(struct praas_ctx *, struct praas_update *update);
	int (*send)(struct praas_ctx *, praas_pid_t destination, const char *key,
		    const void *data, size_t bytes, uint32_t flags);
	int (*recv)(struct praas_ctx *, praas_pid_t source, const char *key,
		    int64_t timeout_ns, uint32_t flags, struct praas_msg *ret_msg);
	int (*peek)(struct praas_ctx *, praas_pid_t source, const char *key,
		    struct praas_msg *ret_msg);
	void (*release)(struct praas_ctx *, struct praas_view *view);
	int (*invoke)(struct praas_ctx *, praas_pid_t destination, const char *function,
		      const char *key, const void *data, size_t bytes,
		      uint64_t *ret_call);
	int (*wait)(struct praas_ctx *, uint64_t call, int64_t timeout_ns,
		    int *ret_status, struct praas_view *ret_result);
	bool (*cancelled)(struct praas_ctx *);
	int (*member)(struct praas_ctx *, const char *name, praas_pid_t *ret_pid);
	void (*log)(struct praas_ctx *, int level, const char *text);
	int (*msg_trace)(struct praas_ctx *, const struct praas_msg *msg,
			 struct praas_trace_context *ret_trace);
	int (*members)(struct praas_ctx *, struct praas_member_info *ret_infos,
		       uint32_t infos_max, uint32_t *ret_count, uint64_t *ret_version);
	int (*members_wait)(struct praas_ctx *, uint64_t version, int64_t timeout_ns,
			    uint64_t *ret_version);
};

/* The head of every context; what follows belongs to its maker. */
struct praas_ctx {
	const struct praas_function_ops *ops;
	struct praas_call_info info;
};

/** Facts about this invocation. Never NULL; valid until the entry returns. */
static inline const struct praas_call_info *praas_info(const struct praas_ctx *ctx)
{
	return &ctx->info;
}

/**
 * Input number index, from 0; with the standard trigger there is exactly one.
 * ret_msg aliases the received bytes, is read-only and valid until the entry returns.
 * Returns 0; -ENOENT index is not below info.inputs. No copy, no system call.
 */
static inline int praas_input(struct praas_ctx *ctx, uint32_t index,
			      struct praas_msg *ret_msg)
{
	return ctx->ops->input(ctx, index, ret_msg);
}

/**
 * Make the result bytes long and give the memory to fill, which the caller receives without
 * a copy of ours. Contents are undefined. A second call replaces the first.
 * Returns 0; -EMSGSIZE over the result limit; -ENOSPC no memory.
 */
static inline int praas_output(struct praas_ctx *ctx, size_t bytes, void **ret_data)
{
	return ctx->ops->output(ctx, bytes, ret_data);
}

/**
 * Grow or shrink the result; what was written up to the smaller length stays. The address may
 * change. Shrinking never fails. Errors as praas_output().
 */
static inline int praas_output_resize(struct praas_ctx *ctx, size_t bytes,
				      void **ret_data)
{
	return ctx->ops->output_resize(ctx, bytes, ret_data);
}

/**
 * Make a view (an input, a state object, a message) the result: by reference where both ends
 * share the memory it lies in, else with one copy. Errors as praas_output().
 */
static inline int praas_output_view(struct praas_ctx *ctx,
				    const struct praas_view *view)
{
	return ctx->ops->output_view(ctx, view);
}

/** Set the error text (cut at PRAAS_ERROR_TEXT_MAX) and return code; `return praas_fail(…)`. */
static inline int praas_fail(struct praas_ctx *ctx, int code, const char *text)
{
	ctx->ops->fail_text(ctx, text);
	return code;
}

/**
 * Read a state object. PRAAS_SHARE: ret_view points to the shared, immutable object and stays
 * valid until the entry returns, whatever others commit. PRAAS_COPY: a copy of the same life.
 * ret_version may be NULL; 0 for an object written by this invocation and not yet committed.
 * Returns 0; -ENOENT; -EINVAL bad key; -ENOSPC no memory for the copy. A read sends no message.
 * Paper: section 4.4.
 */
static inline int praas_state_get_flags(struct praas_ctx *ctx, const char *key,
					uint32_t flags, struct praas_view *ret_view,
					uint64_t *ret_version)
{
	return ctx->ops->state_get(ctx, key, flags, ret_view, ret_version);
}

/** praas_state_get_flags() with PRAAS_SHARE. */
static inline int praas_state_get(struct praas_ctx *ctx, const char *key,
				  struct praas_view *ret_view, uint64_t *ret_version)
{
	return ctx->ops->state_get(ctx, key, PRAAS_SHARE, ret_view, ret_version);
}

/**
 * Memory in which to build a state object or a message; given to praas_state_put() or
 * praas_send() it is published without a copy and must not be written any more. Unused memory
 * goes back when the entry returns.
 */
static inline int praas_buffer(struct praas_ctx *ctx, size_t bytes, void **ret_data)
{
	return ctx->ops->buffer(ctx, bytes, ret_data);
}

/** Write a state object, visible to others at the commit. No copy when data is from
 * praas_buffer(). Returns 0; -EINVAL bad key; -EMSGSIZE; -ENOSPC. */
static inline int praas_state_put(struct praas_ctx *ctx, const char *key,
				  const void *data, size_t bytes)
{
	return ctx->ops->state_put(ctx, key, data, bytes, PRAAS_SHARE);
}

/** praas_state_put() with a choice. PRAAS_COPY: data is copied even when it is from
 * praas_buffer(), which stays the function's to write. */
static inline int praas_state_put_flags(struct praas_ctx *ctx, const char *key,
					const void *data, size_t bytes, uint32_t flags)
{
	return ctx->ops->state_put(ctx, key, data, bytes, flags);
}

/** Delete a state object at the commit. Returns 0; -ENOENT. */
static inline int praas_state_delete(struct praas_ctx *ctx, const char *key)
{
	return ctx->ops->state_delete(ctx, key);
}

/**
 * Put that commits only if the object still has that version (0: does not exist) when the
 * invocation commits; otherwise the whole commit fails and the caller of the function gets
 * PRAAS_CONFLICT. With praas_state_commit() the conflict is returned there (-ESTALE).
 */
static inline int praas_state_cas(struct praas_ctx *ctx, const char *key,
				  uint64_t version, const void *data, size_t bytes)
{
	return ctx->ops->state_cas(ctx, key, version, data, bytes);
}

/**
 * List committed objects whose key begins with prefix, in the order of their keys, after the
 * key `after` ("" or NULL: from the start). At most infos_max are written.
 */
static inline int praas_state_list(struct praas_ctx *ctx, const char *prefix,
				   const char *after,
				   struct praas_state_info *ret_infos,
				   uint32_t infos_max, uint32_t *ret_count)
{
	return ctx->ops->state_list(ctx, prefix, after, ret_infos, infos_max,
				    ret_count);
}

/** Commit this invocation's writes now, all or none. Returns 0; -ESTALE a compare-and-swap
 * failed (nothing was written); -ENOSPC. */
static inline int praas_state_commit(struct praas_ctx *ctx)
{
	return ctx->ops->state_commit(ctx);
}

/**
 * Take exclusive, writable access to one object in place: for accumulators. It is created
 * zeroed with that size when missing; bytes 0 takes it as it is. Others' updates of it wait;
 * reads see the bytes as they change. The update ends with praas_state_update_commit(), or with
 * the entry (which commits it, even when the entry fails: in place has no undo). If the worker
 * dies in an update the object is marked torn: later calls on it return -EIO until it is put or
 * deleted.
 * timeout_ns 0 polls, negative waits without limit.
 * Returns 0; -EBUSY held by another for that long; -ESTALE exists with another size; -EIO torn.
 */
static inline int praas_state_update_begin(struct praas_ctx *ctx, const char *key,
					   size_t bytes, int64_t timeout_ns,
					   struct praas_update *ret_update)
{
	return ctx->ops->update_begin(ctx, key, bytes, timeout_ns, ret_update);
}

/** End an update; the object's version increases. Returns 0; -EINVAL not held. */
static inline int praas_state_update_commit(struct praas_ctx *ctx,
					    struct praas_update *update)
{
	return ctx->ops->update_commit(ctx, update);
}

/**
 * Send a message into the mailbox of a process of this application (PRAAS_SELF: this one's), wherever it runs, also while
 * it rests: then it waits in its backup queue (up to 1 MiB; a larger one wakes it). The sender is stamped by the controller.
 * data from praas_buffer() is not copied inside this process; to another one it is copied once.
 * It carries the trace of this invocation, whose span is its parent.
 * Messages of one process to another arrive in their order, once; after a crash of a sender without
 * a gate (docs/journal.md) perhaps again.
 * Returns 0 when the controller has accepted it: to another process it is in the outbox then, which is part of this
 * process's snapshot. At most 256 messages to one process are on their way, and no more to one than are left for all others:
 * then it waits, until the deadline of this invocation or, without one, for 30 s. So who is slow to take messages slows who
 * sends to him, and nobody else.
 * -ENOENT no such process, as far as it is known (one that was deleted a moment ago is told later, and in the log);
 * -EMSGSIZE; -ETIMEDOUT no room in that time; -ECANCELED; -EAGAIN no room, and PRAAS_NOWAIT; -ENOBUFS no room, and a
 * function inside of a controller cannot wait, or this process's own mailbox is full; -ENOSPC no memory for it; -EINVAL
 * bad key.
 * Paper: section 3.1, Listing 1; 4.2.
 */
static inline int praas_send(struct praas_ctx *ctx, praas_pid_t destination,
			     const char *key, const void *data, size_t bytes)
{
	return ctx->ops->send(ctx, destination, key, data, bytes, PRAAS_SHARE);
}

/** praas_send() with a choice: PRAAS_COPY as praas_state_put_flags(), PRAAS_NOWAIT. */
static inline int praas_send_flags(struct praas_ctx *ctx, praas_pid_t destination,
				   const char *key, const void *data, size_t bytes,
				   uint32_t flags)
{
	return ctx->ops->send(ctx, destination, key, data, bytes, flags);
}

/**
 * Take the oldest message matching (source, key) out of this process's mailbox.
 * source: a process, or PRAAS_ANY. timeout_ns: 0 polls once, negative waits without limit.
 * ret_msg is valid until praas_release() or until the entry returns.
 * Returns 0; -EAGAIN none in time; -EINVAL bad key; -ESHUTDOWN; -ECANCELED.
 * Paper: section 3.1, Listing 1; ANY as in section 4.2, Listing 3.
 */
static inline int praas_recv(struct praas_ctx *ctx, praas_pid_t source, const char *key,
			     int64_t timeout_ns, struct praas_msg *ret_msg)
{
	return ctx->ops->recv(ctx, source, key, timeout_ns, PRAAS_SHARE, ret_msg);
}

/**
 * praas_recv() with a choice. PRAAS_COPY: a copy that no sender can reach any more.
 * As praas_recv(); -ENOSPC no memory for the copy: ret_msg is then the message by reference.
 */
static inline int praas_recv_flags(struct praas_ctx *ctx, praas_pid_t source,
				   const char *key, int64_t timeout_ns, uint32_t flags,
				   struct praas_msg *ret_msg)
{
	return ctx->ops->recv(ctx, source, key, timeout_ns, flags, ret_msg);
}

/** As praas_recv() with timeout 0, but the message stays in the mailbox. */
static inline int praas_peek(struct praas_ctx *ctx, praas_pid_t source, const char *key,
			     struct praas_msg *ret_msg)
{
	return ctx->ops->peek(ctx, source, key, ret_msg);
}

/**
 * The trace that a message carries: known of the one that this invocation received or peeked at last.
 * Returns 0; -ENOENT it has none, another was received since, or this PraaS is older.
 */
static inline int praas_msg_trace(struct praas_ctx *ctx, const struct praas_msg *msg,
				  struct praas_trace_context *ret_trace)
{
	if (ctx->ops->size < offsetof(struct praas_function_ops, msg_trace) +
				     sizeof(ctx->ops->msg_trace))
		return -ENOENT;
	return ctx->ops->msg_trace(ctx, msg, ret_trace);
}

/** Give a received message's or result's memory back early. */
static inline void praas_release(struct praas_ctx *ctx, struct praas_view *view)
{
	ctx->ops->release(ctx, view);
}

/**
 * Start another function, here (PRAAS_SELF) or in another process of the application, which is woken if it rests; key may
 * be NULL. function: a name of this process's own functions. ret_call names it for praas_wait(). The deadline of this
 * invocation goes along. In another process it runs once, but perhaps again after a crash there, when the status is
 * PRAAS_UNKNOWN (docs/protocols.md); a process that does not exist is PRAAS_NOT_FOUND.
 * Returns 0; -ENOENT no such function or process; -ENOBUFS queue full; -EMSGSIZE.
 */
static inline int praas_invoke_async(struct praas_ctx *ctx, praas_pid_t destination,
				     const char *function, const char *key,
				     const void *data, size_t bytes, uint64_t *ret_call)
{
	return ctx->ops->invoke(ctx, destination, function, key, data, bytes, ret_call);
}

/**
 * Wait for a started function. ret_status: 0, its own positive code, or enum praas_status.
 * ret_result is valid until praas_release() or until the entry returns.
 * When no worker is free the started function runs here, inside the wait, with a result, writes and
 * errors of its own; so may another one that must end before it. A time limit is then looked at when
 * that has returned, and if it crashes this invocation ends with it. praas_recv() helps likewise when
 * every worker waits.
 * Without a time limit, what can never end fails: a serial function that waits, perhaps through
 * others and other processes, for itself; and every worker waiting with 9 invocations on top of one
 * another. The started function is then withdrawn: it does not run. An entry that returns -EDEADLK
 * tells its caller why: "it would wait for itself: a (pid 1) -> b (pid 2) -> a (pid 1)".
 * Returns 0; -EAGAIN not yet; -EINVAL no such call; -ECANCELED; -ETIMEDOUT own deadline; -EDEADLK.
 */
static inline int praas_wait(struct praas_ctx *ctx, uint64_t call, int64_t timeout_ns,
			     int *ret_status, struct praas_view *ret_result)
{
	return ctx->ops->wait(ctx, call, timeout_ns, ret_status, ret_result);
}

/** Start and wait. A function of the same process is run in place when that is cheaper. */
static inline int praas_invoke(struct praas_ctx *ctx, praas_pid_t destination,
			       const char *function, const void *data, size_t bytes,
			       int *ret_status, struct praas_view *ret_result)
{
	uint64_t call = 0;
	int rc = ctx->ops->invoke(ctx, destination, function, "", data, bytes, &call);

	return rc ? rc : ctx->ops->wait(ctx, call, -1, ret_status, ret_result);
}

/** True once the caller cancelled or the deadline passed; then return soon. A memory read. */
static inline bool praas_cancelled(struct praas_ctx *ctx)
{
	return ctx->ops->cancelled(ctx);
}

/**
 * The process number of a member of the application by its name. The list of members comes when one of these three calls
 * is made first, and is kept up to date from then on; a function in a worker waits for it, up to 2 s.
 * Returns 0; -ENOENT; -EAGAIN the list is not here yet: try again soon; -E2BIG more than 8,192 members.
 */
static inline int praas_member(struct praas_ctx *ctx, const char *name,
			       praas_pid_t *ret_pid)
{
	return ctx->ops->member(ctx, name, ret_pid);
}

/**
 * The members of the application, in the order of their numbers, which is that of their creation: the place in it is a rank.
 * At most infos_max are written; *ret_count is how many there are, *ret_version (may be NULL) names the list: members that
 * see the same version see the same list. Versions grow. What it says of a member was so a moment ago: whoever was swapped
 * out since gets messages and calls all the same.
 * Returns 0; -EAGAIN, -E2BIG as praas_member(); -ENOSPC; -ENOSYS this PraaS is older.
 * Paper: section 4.2.
 */
static inline int praas_members(struct praas_ctx *ctx,
				struct praas_member_info *ret_infos, uint32_t infos_max,
				uint32_t *ret_count, uint64_t *ret_version)
{
	uint64_t version;

	if (ctx->ops->size <
	    offsetof(struct praas_function_ops, members) + sizeof(ctx->ops->members))
		return -ENOSYS;
	return ctx->ops->members(ctx, ret_infos, infos_max, ret_count,
				 ret_version ? ret_version : &version);
}

/**
 * Wait until the list of members is another than that version (0: until there is one). timeout_ns as praas_recv(). A
 * function inside of a controller never waits. *ret_version, which may be NULL, is the version of now.
 * Returns 0; -EAGAIN it is the same, or not here; -ECANCELED; -ESHUTDOWN; -ENOSYS.
 */
static inline int praas_members_wait(struct praas_ctx *ctx, uint64_t version,
				     int64_t timeout_ns, uint64_t *ret_version)
{
	uint64_t now;

	if (ctx->ops->size < offsetof(struct praas_function_ops, members_wait) +
				     sizeof(ctx->ops->members_wait))
		return -ENOSYS;
	return ctx->ops->members_wait(ctx, version, timeout_ns,
				      ret_version ? ret_version : &now);
}

/** Write a line to the process's log; level as in syslog(3), 3 error … 7 debug. Never blocks;
 * lines that find the log full are counted and dropped. */
static inline void praas_log(struct praas_ctx *ctx, int level, const char *text)
{
	ctx->ops->log(ctx, level, text);
}

#ifdef __cplusplus
}
#endif
#endif
