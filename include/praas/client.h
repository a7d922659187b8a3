/* SPDX-License-Identifier: Apache-2.0
 *
 * The client API: libpraas.
 *
 * Two objects. A *control* handle speaks REST to the control service: applications, processes,
 * credentials. A *connection* speaks to one cloud process, directly, over shared memory on the
 * same host or over TCP: invocations, messages, state. One connection is used by one thread at
 * a time; many connections are cheap. Nothing here starts a thread.
 *
 * Errors: 0 or negative errno for the call itself; the outcome of an invocation is its status
 * (0, the function's own positive code, or enum praas_status). -ENOENT no such thing, -EACCES
 * refused, -ECONNREFUSED, -ENOTCONN the connection ended, -EAGAIN not yet, -ENOBUFS too many in
 * flight, -EMSGSIZE over a limit, -ETIMEDOUT, -EINVAL the caller's mistake, -EPROTO the peer
 * broke the protocol. praas_error() says more about the last failure, in words.
 */
#ifndef PRAAS_CLIENT_H
#define PRAAS_CLIENT_H

#include <stdbool.h>

#include <praas/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRAAS_API __attribute__((visibility("default")))

struct praas_control;                             /* a control service */
typedef struct praas_connection praas_connection; /* a connection to one process */

/** Words for a status of an invocation (enum praas_status). Never NULL; static. */
PRAAS_API const char *praas_status_text(int status);

/** What went wrong in this thread's last failing call of this library; "" if nothing. */
PRAAS_API const char *praas_error(void);

/* ---- control service ---------------------------------------------------------------- */

/**
 * Open a control service. url "http://127.0.0.1:8080", "https://host:8443" or
 * "unix:///run/praas/control.sock"; NULL: PRAAS_URL. token: bearer key, NULL: PRAAS_TOKEN. With https the
 * certificate is verified, against the file that PRAAS_CA names, else what the system trusts. Nothing
 * is sent yet. Blocking calls below.
 */
PRAAS_API int praas_control_open(const char *url, const char *token,
				 struct praas_control **ret_control);
PRAAS_API void praas_control_close(struct praas_control *control);

/**
 * Any REST request, for what has no call of its own: method, path with query, body may be NULL.
 * ret_status is the HTTP status; ret_body is malloc'd, NUL-terminated, the caller's.
 */
PRAAS_API int praas_control_request(struct praas_control *control, const char *method,
				    const char *path, const char *content_type,
				    const void *body, size_t body_bytes,
				    int *ret_status, char **ret_body,
				    size_t *ret_bytes);

/** A header of the last answer on this control service, NULL: it had none of that name. Borrowed
 * until the next request. */
PRAAS_API const char *praas_control_header(struct praas_control *control,
					   const char *name);

/** Create an application from the folder `code` that holds praas.json and its libraries.
 * resources may be NULL or JSON members: "\"memory_bytes\": 268435456, \"concurrency\": 2". */
PRAAS_API int praas_app_create(struct praas_control *control, const char *app,
			       const char *code, const char *resources);
PRAAS_API int praas_app_delete(struct praas_control *control, const char *app);

/** Create a process, or swap an existing one in. name may be NULL: ret_name has it (at least
 * PRAAS_NAME_MAX + 1 bytes; may be NULL). Returns when it serves. */
PRAAS_API int praas_process_create(struct praas_control *control, const char *app,
				   const char *name, char *ret_name);
PRAAS_API int praas_process_swap_out(struct praas_control *control, const char *app,
				     const char *name);
PRAAS_API int praas_process_swap_in(struct praas_control *control, const char *app,
				    const char *name);
PRAAS_API int praas_process_delete(struct praas_control *control, const char *app,
				   const char *name);

/* ---- connection --------------------------------------------------------------------- */

/* How a connection waits for results; docs/performance.md tells what each costs. */
enum praas_wait_policy {
	PRAAS_WAIT_ADAPTIVE = 0, /* poll, then yield, then sleep (default) */
	PRAAS_WAIT_SPIN = 1,     /* poll only: for a core of one's own */
	PRAAS_WAIT_BLOCK = 2     /* sleep at once */
};

struct praas_connect_config {
	const char *
		transport; /* NULL or "auto": the best that is offered; or a scheme: "tcp".
			    * "verbs", "ofi": the sealed kind where there is no other */
	uint64_t timeout_ns;   /* for connect and handshake; 0: 5 s */
	uint32_t inflight_max; /* invocations at once, power of two; 0: 256 */
	enum praas_wait_policy wait;
	bool no_direct; /* shm: keep to the controller's path (for measuring) */
	bool no_follow; /* when the process moves to another controller the connection ends */
	bool members; /* tell PRAAS_EVENT_MEMBERS */
};

/** Ask the control service for endpoints and a credential of a process (which wakes a swapped
 * one) and connect; right after praas_process_create() what came with its answer does. config may
 * be NULL. */
PRAAS_API int praas_connect(struct praas_control *control, const char *app,
			    const char *process,
			    const struct praas_connect_config *config,
			    praas_connection **ret_conn);

/** Connect with what `POST …/tickets` answered (JSON text): no control service needed. */
PRAAS_API int praas_connect_ticket(const char *ticket_json,
				   const struct praas_connect_config *config,
				   praas_connection **ret_conn);

/** Close; calls in flight end with PRAAS_UNKNOWN, their buffers go back. NULL is allowed. */
PRAAS_API void praas_close(praas_connection *conn);

/** The scheme of the endpoint in use: "shm", "tls", "tcp", …; static. */
PRAAS_API const char *praas_transport(const praas_connection *conn);
/**
 * What this machine has for a transport ("ofi", "dpdk"), in words; opens nothing, but loads libraries: up
 * to seconds, once. 0: it can be used; -ENODEV: nothing is there; -EPROTONOSUPPORT: a library is not
 * installed; -EINVAL: what the environment says of it is not understood; -EOPNOTSUPP: not in this
 * build. ret_text has at most bytes, its end included.
 */
PRAAS_API int praas_transport_probe(const char *scheme, char *ret_text, size_t bytes);

/**
 * Number of a function of the process by its name, for praas_submit(); resolved at connect.
 * Returns 0; -ENOENT.
 */
PRAAS_API int praas_function_lookup(praas_connection *conn, const char *function,
				    uint32_t *ret_function);

/**
 * A registered buffer of at least bytes, 64-byte aligned, from which sending is free of copies: shared
 * memory that the process sees, or memory that the connection's device knows and sends from (what a
 * transport copies all the same, small payloads above all, docs/transports.md tells). Any other
 * memory can be sent too: that costs one copy, counted in praas_conn_stats.copies.
 * It belongs to the caller until given to a submit (and again once that call's result is there)
 * or to praas_buffer_free(); it ends with the connection. A call sends from its start: praas_call.data
 * as it was returned here. Given to two calls at once the second is sent from a copy.
 * Returns 0; -EMSGSIZE over the limit; -ENOBUFS; -ENOTCONN. The connection's own thread.
 */
PRAAS_API int praas_buffer_alloc(praas_connection *conn, size_t bytes, void **ret_data);
PRAAS_API void praas_buffer_free(praas_connection *conn, void *data);

/** Where the time of one call went. The parts add up to call_ns. */
struct praas_timing {
	uint64_t
		call_ns; /* from praas_call() or praas_submit() to the result's arrival */
	uint64_t client_ns; /* in this library, before the call left */
	uint64_t
		wire_ns; /* under way to the process and back, waking who slept included */
	uint64_t
		queue_ns; /* from its arrival there until the function began; of a call past the
			     * controller, from when it left */
	uint64_t run_ns; /* in the function */
	uint64_t
		state_ns; /* from the function's return until its writes were committed; a commit that it asked
			     * for is in run */
};

struct praas_call {
	uint32_t function; /* from praas_function_lookup() */
	uint32_t flags;    /* PRAAS_CALL_… */
	const void *data;  /* from praas_buffer_alloc(): no copy; any other: one copy */
	size_t bytes;
	const char *key;     /* NULL: none */
	uint64_t timeout_ns; /* until the deadline, which travels along; 0: none */
	uint64_t id;         /* 0: made up; else the caller's own, for retries */
	const uint8_t
		*trace; /* NULL, or 24 bytes: W3C trace id and parent span id; with
				 PRAAS_CALL_TRACE_FLAGS one more */
	/* With PRAAS_CALL_TIMING: the caller's memory, the library's until the result is taken (or the
	 * connection closed), and filled then. */
	struct praas_timing *timing;
};
#define PRAAS_CALL_ONE_WAY                                                             \
	0x1u /* no result; the submit returns 0 once it is handed over */
#define PRAAS_CALL_MORE                                                                \
	0x2u /* others follow at once: over a socket it may leave with them, at the latest
				when the connection is looked at (praas_poll(), any wait) */
#define PRAAS_CALL_TIMING                                                              \
	0x4u /* measure this one in full: praas_call.timing. It is slower by that, and not
				together with PRAAS_CALL_ONE_WAY */

#define PRAAS_CALL_TRACE_FLAGS                                                         \
	0x8u /* trace has 25 bytes, like struct praas_trace_context: the flags, too; zeros
				without it */

struct praas_result {
	uint64_t call; /* as praas_submit() returned it */
	int status;    /* 0, the function's own code > 0, or enum praas_status */
	struct praas_view
		view; /* result, or error text (NUL-terminated) when status != 0 */
	uint64_t
		run_ns; /* time in the function, as its worker measured it; of one that takes less
			 * than a microsecond perhaps another call's lately; 0 unknown */
	uint64_t
		retry_ns; /* with PRAAS_OVERLOADED: after how long to try again. With PRAAS_UNKNOWN, not
			   * 0: sent again over another connection of the same credential with its id
			   * (call), it does not run twice, as long as the process remembers the id (dedup_entries
			   * others at least). Else 0 */
};

/**
 * Blocking invocation. ret_result->view lives until praas_result_release().
 * Returns 0 when there is a result of whatever status; an errno when the call could not be made.
 */
PRAAS_API int praas_call(praas_connection *conn, const struct praas_call *call,
			 struct praas_result *ret_result);

/** Start an invocation; ret_call names it. -ENOBUFS: inflight_max are under way. */
PRAAS_API int praas_submit(praas_connection *conn, const struct praas_call *call,
			   uint64_t *ret_call);

/** Take up to results_max finished invocations, in any order, without waiting; returns how many
 * (0: none), or -ENOTCONN when the connection has ended and nothing is left to take. */
PRAAS_API int praas_poll(praas_connection *conn, struct praas_result *ret_results,
			 uint32_t results_max);

/** Wait for one invocation. timeout_ns negative: no limit; -EAGAIN: not in time. */
PRAAS_API int praas_wait_call(praas_connection *conn, uint64_t call, int64_t timeout_ns,
			      struct praas_result *ret_result);

/** Ask that an invocation be given up; its result still comes (PRAAS_CANCELLED or what it was). */
PRAAS_API int praas_cancel(praas_connection *conn, uint64_t call);

/** Give a result's memory back. NULL view data is allowed. */
PRAAS_API void praas_result_release(praas_connection *conn,
				    struct praas_result *result);

/** The convenient form: function by name, result copied into memory of the caller's: bytes_max is
 * its size, ret_bytes the result's (-EMSGSIZE when larger; what fits is written). */
PRAAS_API int praas_invoke_simple(praas_connection *conn, const char *function,
				  const void *data, size_t bytes, void *ret_data,
				  size_t bytes_max, size_t *ret_bytes, int *ret_status);

/* ---- messages and state of the process, by a client ---------------------------------
 *
 * Each is one frame to the controller and one back, and blocks until it is answered: for tools
 * and for the ends of a job, not for its inner loop (functions have the same without a message,
 * praas/function.h). Keys are NUL-terminated, 1 to PRAAS_KEY_MAX bytes, not kept; what is
 * returned in ret_data is malloc'd, the caller's, with a NUL behind it.
 *
 * All return 0 or: -EINVAL the key; -EACCES the credential has no such right; -EMSGSIZE more than
 * the process takes; -ENOSPC its memory is full; -ENOBUFS too much is under way; -ESHUTDOWN it is
 * being swapped out (again later); -ENOTCONN the connection has ended; -EIO. Words to it:
 * praas_error(). The connection's own thread. */

/** Puts a message into the process's mailbox, behind those of its key. Its source is the
 * client's identity, stamped by the controller. Paper: section 3.1. */
PRAAS_API int praas_msg_send(praas_connection *conn, const char *key, const void *data,
			     size_t bytes);
/** The same with a trace: 24 bytes, W3C trace id and the span that the message's parent shall be; NULL:
 * none. Who receives it is told, and a function without a trace goes on with it. */
PRAAS_API int praas_msg_send_traced(praas_connection *conn, const char *key,
				    const void *data, size_t bytes,
				    const uint8_t *trace);
/** The same with the trace's flags. */
PRAAS_API int praas_msg_send_context(praas_connection *conn, const char *key,
				     const void *data, size_t bytes,
				     const struct praas_trace_context *trace);
/** Takes the oldest message of a key out of the mailbox, from whomever it is. timeout_ns: 0 looks
 * once, negative waits without limit. Also -EAGAIN: none in that time. ret_source may be NULL. */
PRAAS_API int praas_msg_recv(praas_connection *conn, const char *key,
			     int64_t timeout_ns, void **ret_data, size_t *ret_bytes,
			     praas_pid_t *ret_source);

/** Where a message is from. */
struct praas_msg_origin {
	praas_pid_t source; /* who sent it */
	uint8_t trace[24];  /* its W3C trace id and parent span; zeros: none */
};
/** praas_msg_recv(), with all that is known of the message. */
PRAAS_API int praas_msg_recv_traced(praas_connection *conn, const char *key,
				    int64_t timeout_ns, void **ret_data,
				    size_t *ret_bytes,
				    struct praas_msg_origin *ret_origin);
/** The same with the trace's flags: a trace of zeros: none. ret_source may be NULL. */
PRAAS_API int praas_msg_recv_context(praas_connection *conn, const char *key,
				     int64_t timeout_ns, void **ret_data,
				     size_t *ret_bytes, praas_pid_t *ret_source,
				     struct praas_trace_context *ret_trace);

/** A message that is held. */
struct praas_msg_held {
	uint64_t id;                      /* private */
	praas_pid_t source;               /* who sent it */
	struct praas_trace_context trace; /* zeros: none */
};
/** praas_msg_recv() of whoever must not lose it: the message stays in the mailbox, where nobody else is
 * given it, until praas_msg_taken() says that it is safe. If the connection ends before, for whatever reason,
 * the message is there for the next one, in its place: so it may be received twice, but not lost. Messages
 * behind it go to others meanwhile. What is held counts as a request that waits. -ENOMEM: there was no memory
 * for the message, which is held nevertheless; close the connection to give it back. */
PRAAS_API int praas_msg_hold(praas_connection *conn, const char *key,
			     int64_t timeout_ns, void **ret_data, size_t *ret_bytes,
			     struct praas_msg_held *ret_held);
/** Takes it out of the mailbox. Also -ENOENT: it is not held (any more). */
PRAAS_API int praas_msg_taken(praas_connection *conn,
			      const struct praas_msg_held *held);
/** Lists up to infos_max messages whose key begins with prefix ("" or NULL: all), oldest first,
 * of those behind sequence after (0: from the start); they stay. To see more, ask again after the
 * last one's sequence; *ret_count less than infos_max: these were all. */
PRAAS_API int praas_msg_enumerate(praas_connection *conn, const char *prefix,
				  uint64_t after, struct praas_msg_info *ret_infos,
				  uint32_t infos_max, uint32_t *ret_count);
/** Reads a state object as it was last committed. ret_version may be NULL. Also -ENOENT. */
PRAAS_API int praas_state_read(praas_connection *conn, const char *key, void **ret_data,
			       size_t *ret_bytes, uint64_t *ret_version);
/** Writes a state object: a commit of its own. */
PRAAS_API int praas_state_write(praas_connection *conn, const char *key,
				const void *data, size_t bytes);
/** Deletes a state object. Also -ENOENT. */
PRAAS_API int praas_state_remove(praas_connection *conn, const char *key);
/** Lists up to infos_max objects whose key begins with prefix ("" or NULL: all) and comes behind
 * after (NULL: from the start), in the order of their bytes. *ret_count less than infos_max:
 * these were all. */
PRAAS_API int praas_state_enumerate(praas_connection *conn, const char *prefix,
				    const char *after,
				    struct praas_state_info *ret_infos,
				    uint32_t infos_max, uint32_t *ret_count);

/* ---- events ------------------------------------------------------------------------- */

enum praas_event_kind {
	/* The process has moved to another controller, and the connection went along: epoch is the one that goes on
	 * (praas_connect_config.no_follow). The call of this library that meets the move connects anew, so it may take
	 * as long as a connect may. */
	PRAAS_EVENT_MOVED = 1,
	PRAAS_EVENT_DRAINING = 2, /* it is being swapped out */
	/* Told at the connect: the process crashed in that epoch (the event's), or was killed, and what followed
	 * the last snapshot of it is lost. Whoever wrote in that epoch or before looks again. */
	PRAAS_EVENT_EPOCH_LOST = 3,
	PRAAS_EVENT_REAUTH = 4, /* the credential ends soon */
	PRAAS_EVENT_CLOSED = 5, /* the connection ended; status says why */
	/* The application's processes are others, or in other states, than when it was told last; told right after the
	 * connect, too, so who looks then (GET …/members) and after each misses nothing. Only with
	 * praas_connect_config.members; one that waits to be taken stands for all that follow. */
	PRAAS_EVENT_MEMBERS = 6
};

struct praas_event {
	enum praas_event_kind kind;
	int status;     /* enum praas_status or 0 */
	uint32_t epoch; /* of the process, as last told; of EPOCH_LOST the one lost */
};

/** Take the oldest event; -EAGAIN none. At most 16 are kept, the oldest are dropped. */
PRAAS_API int praas_event_poll(praas_connection *conn, struct praas_event *ret_event);

/* ---- counters ------------------------------------------------------------------------ */

struct praas_conn_stats {
	uint64_t calls;  /* submitted */
	uint64_t direct; /* that went past the controller */
	uint64_t
		copies; /* payloads copied here, as they were not of registered memory */
	uint64_t sleeps; /* times a wait went to sleep */
	uint64_t bytes_out;
	uint64_t bytes_in;
	/* Payloads that the transport copied, either way, at this end (docs/transports.md, Copies). */
	uint64_t transport_copies;
};
/** What a connection has done since it was opened. Any time until praas_close(), by its own thread;
 * no system call. */
PRAAS_API void praas_stats(const praas_connection *conn,
			   struct praas_conn_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
