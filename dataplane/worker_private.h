/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the worker executor: what its files share. Data thread.
 */
#ifndef PRAAS_DATAPLANE_WORKER_PRIVATE_H
#define PRAAS_DATAPLANE_WORKER_PRIVATE_H

#include "dataplane/process.h"
#include "dataplane/process_fn.h"
#include "dataplane/worker_executor.h"
#include "shm/log_ring.h"

#define WX_REGIONS_MAX 128u /* arenas, retired arenas and big buffers */
#define WX_FOREIGN_MAX 96u  /* segments of clients that workers may see */
#define WX_HANDLES 2048u    /* results under way at once */
#define WX_LOANS_MAX 256u   /* values that one worker holds */
#define WX_CALLS_MAX 64u    /* functions that one worker has started */
#define WX_CRASHES 5u       /* in a minute: degraded */
#define WX_LOG_BYTES 65536u
#define WX_COPY_MAX 4096u /* smaller values are copied to the pool: arenas stay empty */
#define WX_LAYERS_MAX 512u
#define WX_CANCELS_MAX                                                                 \
	8u /* direct calls to be cancelled that nobody is seen to run yet */
#define PRAAS_WORKER_CLIENTS_MAX 64u
#define WX_AHEAD_MAX 31u /* calls in a worker's ring behind the one that it runs */
#define WX_AHEAD_LATE_NS 200000u /* held up for so long they are taken back */

struct wx;
struct wx_worker;

/* A segment that a worker writes: its arena, or one big buffer. Lives until its writer is gone (or
 * has given it away) and nothing that we hold lies in it. */
struct wx_region {
	struct praas_segment segment; /* base NULL: free */
	struct praas_lent lent;       /* the same, for ports that send from it */
	struct wx *ex;
	int read_fd;     /* read-only, for the other workers */
	uint32_t worker; /* writer */
	bool arena;
	bool closed;        /* writer gone; a big one: lent to us */
	uint32_t shown;     /* bit per worker that has mapped it */
	uint64_t data_from; /* where buffers may lie */
	uint64_t held;      /* values and results of ours in it */
	uint64_t *pending;  /* offsets that did not fit the return ring */
	uint32_t pending_count, pending_max;
};

/* A client's segment that workers may see. */
struct wx_foreign {
	uint32_t id; /* 0: free */
	uint64_t bytes;
	int fd;
	uint32_t shown;
};

enum wx_state { WX_ABSENT = 0, WX_STARTING, WX_IDLE, WX_BUSY, WX_DYING };

/* A function that a worker has started. */
struct wx_call {
	struct wx_worker *worker;
	uint64_t id;
	uint64_t inv_id; /* of its invocation */
	uint32_t life;
	uint32_t depth; /* of who started it */
	bool used;
};

/* What runs, or waits with something on top. inv NULL: a direct call. */
struct wx_frame {
	struct praas_invocation *inv;
	uint64_t number; /* of its dispatch */
	uint32_t level;  /* how many of ours are below */
};

/* A call that lies in a worker's ring behind the one that it runs. */
struct wx_ahead {
	struct praas_invocation *inv;
	uint64_t number; /* of its dispatch */
};

/* Something that a worker may read until it gives it back or its invocation ends. */
struct wx_loan {
	struct praas_value value;
	struct praas_buf *buf; /* either this or value */
	uint64_t token;        /* segment << 48 | offset */
	uint32_t depth;        /* of the frame that it ends with */
};

struct wx_worker {
	struct wx *ex;
	uint32_t index;
	enum wx_state state;
	uint32_t life; /* increases with every start */
	struct wx_region *arena;
	struct praas_channel channel;
	struct praas_worker_line *line; /* its words, read-only here */
	struct praas_worker_order *order;
	struct praas_worker_call *call;
	struct praas_log_rx log_rx;
	struct praas_segment control, log; /* of this life */
	struct praas_doorbell doorbell;    /* ours, that it rings */
	int socket;                        /* control socket */
	int wake_fd;                       /* our end of the wake socket */
	uint64_t deadline_ns;              /* of start or of the running call; 0 */
	uint64_t dispatches;               /* in this life */
	struct praas_invocation *inv;      /* on top */
	uint64_t number;                   /* of its dispatch */
	uint32_t level, depth;             /* its place; entries of below[] in use */
	struct wx_frame below[PRAAS_WORKER_LEVELS_MAX];
	struct wx_ahead ahead[WX_AHEAD_MAX]; /* a ring */
	uint32_t ahead_first, ahead_count;
	uint64_t ahead_ns; /* since when they are behind that one */
	uint64_t commits;  /* one-way ones that we have heeded */
	const char *end_text;
	struct praas_fn_wait wait; /* its one question that waits */
	struct wx_send {           /* that waits for room */
		struct praas_value value;
		uint64_t destination;
		bool traced;
		uint8_t key_bytes;
		char key[PRAAS_KEY_MAX + 1];
		uint8_t trace[PRAAS_TRACE_BYTES];
	} send;
	uint64_t wait_id;
	uint64_t wait_until_ns; /* of a WAIT */
	struct wx_call *wait_call;
	/* Of a WAIT for a call in another process, as long as it takes. */
	uint64_t wait_nonce; /* 0: it has not asked yet */
	/* When it asks next (dataplane/circle.h); 0: it was not looked at. */
	uint64_t ask_ns, ask_step_ns;
	struct wx_call calls[WX_CALLS_MAX];
	struct wx_loan loans[WX_LOANS_MAX];
	uint64_t clients; /* direct ones, a bit each */
	uint64_t detaching,
		gone; /* of them: asked to be let go; whose call nobody waits for */
	uint64_t detach_ns; /* since when it could have let them go */
	uint64_t sources[PRAAS_WORKER_CLIENTS_MAX]; /* identities of direct clients */
	uint64_t
		direct_committed; /* the direct call that last committed; 0 none, all ones: its
				    * worker's line did not say which */
	uint32_t loans_count;
	uint32_t segments;   /* that it has mapped of foreign ones */
	uint32_t asks_depth; /* of who asks, in the worker */
	int32_t end_status;  /* why we killed it: enum praas_status; 0: we did not */
	int commit_rc; /* of the writes that come with the end of inv: 1 they are in the index,
			      * < 0 they are not, and so says the RESULT; 0 none came */
	bool ahead_held; /* no more ahead until the call has ended: it takes long */
	bool waiting;
	bool wait_endless; /* of a WAIT: no limit but the deadline of who waits */
	bool asks_direct;  /* who asks is a direct call */
	bool wait_direct;  /* the question that waits is a direct call's */
	uint8_t wait_kind;
	/* Of each function, as far as it is in the process's sums. */
	struct wx_counts *counted;
	const struct praas_function_counts *counts; /* in its arena; NULL with line */
	uint64_t life_ns;                           /* when this life began */
	/* Of former lives. */
	uint64_t calls_before, direct_before, failures_before, nested_before,
		busy_before, in_before, out_before;
};

/* What a worker told of a function, and was believed. */
struct wx_counts {
	uint64_t calls, errors, bytes_in, bytes_out, run_ns;
};

/* A cancel of a direct call that was faster than the call. */
struct wx_cancel {
	uint64_t source, id, until_ns;
};

/* The direct call that a worker says it runs. */
struct wx_direct_run {
	uint64_t number, id, deadline_ns;
	uint32_t client;
};

struct wx {
	struct praas_executor base;
	struct praas_worker_executor_config config;
	struct praas_channel_geometry control_geometry, arena_geometry;
	bool armed, begun, stopping;
	bool announced, died; /* since the last arm(): did we; did workers */
	bool freed;           /* kept until nothing lies in a region any more */
	uint64_t stop_ns;
	int epoll_fd, event_fd, timer_fd;
	struct wx_worker workers[PRAAS_WORKERS_MAX];
	uint32_t idle;            /* workers in that state */
	struct wx_worker *helper; /* whose turn it is to run what starts now; NULL */
	uint32_t last;            /* worker that ran last: its caches are warm */
	struct wx_region regions[WX_REGIONS_MAX];
	uint32_t next_id;
	struct wx_foreign foreign[WX_FOREIGN_MAX];
	struct praas_buf *handles, *free_handles;
	struct praas_state_write *writes; /* PRAAS_WRITES_MAX */
	struct wx_counts *counted;        /* of each worker and function */
	uint32_t *run_ns; /* of each function, on average; all ones: never ran */
	uint64_t crash_ns[WX_CRASHES]; /* of the last ones, a ring */
	uint32_t crash_next;
	bool degraded;
	uint32_t polls;
	char layers[WX_LAYERS_MAX];
	char failure[PRAAS_ERROR_TEXT_MAX]; /* why the last start failed; "" */
	char last_death[PRAAS_ERROR_TEXT_MAX];
	const struct praas_worker_direct_ops
		*direct; /* NULL: nobody has direct clients */
	void *direct_user;
	struct wx_cancel cancels[WX_CANCELS_MAX];
	uint32_t cancels_count;
	struct praas_worker_executor_stats stats;
};

/* What a call is told that ended with its worker: that it came to nothing is not true of one whose
 * writes are kept. */
static inline int32_t wx_outcome(int32_t status, bool committed)
{
	bool undone = status == PRAAS_CRASHED || status == PRAAS_NO_MEMORY ||
		      status == PRAAS_INTERRUPTED;

	return committed && undone ? PRAAS_UNKNOWN : status;
}

static inline struct wx *wx_of(struct praas_executor *ex)
{
	return (struct wx *)(void *)ex; /* its first member */
}

static inline const struct wx *wx_of_const(const struct praas_executor *ex)
{
	return (const struct wx *)(const void *)ex;
}

/* ---- worker_dispatch.c ---- */

int wx_start(struct praas_executor *base, struct praas_invocation *inv);
/* The one that w ran has ended, and nothing lies below: the next in its ring is the one. */
void wx_ahead_next(struct wx_worker *w);
/* How long a function ran, as its worker says. */
void wx_ahead_learn(struct wx *ex, uint32_t function, uint64_t run_ns);
/* What w has not begun goes back to the process's queue. */
void wx_ahead_withdraw(struct wx_worker *w);
/* The same for a worker that runs no more. */
void wx_ahead_lost(struct wx_worker *w);
/* inv is given up. False: it is not in the ring of any. */
bool wx_ahead_cancel(struct wx *ex, const struct praas_invocation *inv);
/* Those that are held up. When to look again; UINT64_MAX: no need. */
void wx_ahead_watch(struct wx_worker *w, uint64_t now);
uint64_t wx_ahead_due(const struct wx_worker *w);
/* SKIPPED. 0; -EPROTO. */
int wx_on_skipped(struct wx_worker *w, const struct praas_frame *f);

/* ---- worker_region.c ---- */

/* A segment that worker w will write. 0; -ENOMEM, -EMFILE, -ENOBUFS too many. */
int wx_region_new(struct wx *ex, uint32_t worker, uint64_t bytes, bool arena,
		  struct wx_region **ret_region);
void wx_region_free(struct wx_region *r);
/* The writer is gone; frees it when nothing lies in it. */
void wx_region_close(struct wx_region *r);
struct wx_region *wx_region_find(struct wx *ex, uint32_t id);
/* What a worker names, checked: it must be its own. NULL: it lies. */
struct wx_region *wx_region_named(struct wx_worker *w, uint32_t segment,
				  uint64_t offset, uint64_t bytes);
/* One thing of ours in it ends: give the buffer back, or the region. */
void wx_region_release(struct wx_region *r, uint64_t offset);
void wx_region_flush(struct wx_region *r);
/* After free(): the last of it goes with the last thing that lies in a region. */
void wx_free_rest(struct wx *ex);
/* Make sure that w has mapped what lies in that segment. 0; -EPERM it cannot be shown. */
/* Writes who the process is where the worker reads it. */
void wx_identify(struct wx_worker *w);
int wx_show(struct wx_worker *w, uint32_t segment);
/* A value of what a worker named: small ones are copied to the pool. 0; -EPROTO; -ENOSPC. */
int wx_value(struct wx_worker *w, uint32_t segment, uint64_t offset, uint64_t bytes,
	     struct praas_value *ret_value);
/* The same, where it lies whatever its size. */
int wx_value_here(struct wx_worker *w, struct wx_region *r, uint64_t offset,
		  uint64_t bytes, struct praas_value *ret_value);
/* A buffer of what a worker named; by reference when there is a handle. 0; -EPROTO; -ENOBUFS. */
int wx_buf(struct wx_worker *w, uint32_t segment, uint64_t offset, uint64_t bytes,
	   struct praas_buf **ret_buf);
/* A buffer with a text and its zero. NULL: no memory. */
struct praas_buf *wx_text(struct wx *ex, const char *text);
/* A buffer that w can read: buf itself, or a copy in its place (buf is released). 0; -ENOBUFS. */
int wx_readable(struct wx_worker *w, struct praas_buf **buf);
/* Message on a worker's control socket. fds may be NULL. 0; -EPIPE, -EAGAIN: it is lost. */
int wx_socket_send(struct wx_worker *w, uint32_t kind, const void *body, uint32_t bytes,
		   const int *fds, unsigned fds_count);
/* Tell it to look there, soon. */
void wx_socket_ring(struct wx_worker *w);

/* ---- worker_executor.c ---- */

/* The trace of the frame that was just popped, with flag TRACE; copied. */
void wx_take_trace(const struct wx_worker *w, uint8_t ret_trace[PRAAS_TRACE_BYTES]);

/* ---- worker_calls.c ---- */

/* A frame of a running worker, other than RESULT. 0; -EPROTO. */
int wx_on_call(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
	       uint64_t offset, const char *key);
/* The invocation of w has ended: nothing that it had is kept. */
void wx_calls_end(struct wx_worker *w);
/* Loans given back early. 0; -EPROTO. */
int wx_take_returns(struct wx_worker *w);
/* value (moved) or buf (given) becomes the worker's to read. 0; -ENOBUFS: it is the caller's. */
int wx_loan_add(struct wx_worker *w, struct praas_value *value, struct praas_buf *buf);
void wx_push(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
	     uint64_t offset);
void wx_reply(struct wx_worker *w, uint64_t id, int rc, uint64_t aux);
/* Who asks by f was given up before; then f has its answer. */
bool wx_given_up(struct wx_worker *w, const struct praas_frame *f);
/* The question that waits is answered: given up. */
void wx_wait_give_up(struct wx_worker *w);

/* Answer with a value that becomes the worker's to read; f is the reply but for its size. */
void wx_reply_value(struct wx_worker *w, struct praas_frame *f,
		    struct praas_value *value);
void wx_reply_message(struct wx_worker *w, uint64_t id, struct praas_message *message);
/* It waits, and for nothing that a call on top of it could bring about. */
bool wx_wait_alone(const struct wx_worker *w);
/* Its WAIT can never end, for the reason in text: it is told so, and the call is withdrawn. */
void wx_wait_withdraw(struct wx_worker *w, const char *text);
/* It waits no more, and is not told. */
void wx_wait_cancel(struct wx_worker *w);
/* Its one question that may wait: w->wait is for the process's call, whose result ends or begins the waiting. */
void wx_wait_begin(struct wx_worker *w, const struct praas_frame *f);
void wx_wait_begun(struct wx_worker *w, int rc);

/* ---- worker_messages.c ---- */

int wx_on_send(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
	       uint64_t offset, const char *key);
/* There may be room for what waits, or it is given up: rc. */
void wx_on_room(struct wx_worker *w, int rc);
int wx_on_peek(struct wx_worker *w, const struct praas_frame *f, const char *key);
void wx_on_member(struct wx_worker *w, const struct praas_frame *f, const char *key);
void wx_on_members(struct wx_worker *w, const struct praas_frame *f);
int wx_on_members_wait(struct wx_worker *w, const struct praas_frame *f);

/* ---- worker_invoke.c ---- */

int wx_on_invoke(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
		 uint64_t offset, const char *key);

/* ---- worker_direct.c ---- */

bool wx_direct_running(const struct wx_worker *w, struct wx_direct_run *ret_run);
/* Writes were committed that its call did not have to end for: perhaps a direct one. */
void wx_direct_committed(struct wx_worker *w);
/* Deadlines of direct calls, clients that are not let go, cancels that came early. */
void wx_direct_watch(struct wx_worker *w, uint64_t now);
/* When to look next; UINT64_MAX: no need. */
uint64_t wx_direct_next(const struct wx_worker *w, uint64_t now);
void wx_direct_cancel(struct praas_executor *base, uint64_t source, uint64_t id);
/* Frames. 0; -EPROTO. */
int wx_on_detached(struct wx_worker *w, const struct praas_frame *f);
int wx_on_share(struct wx_worker *w, const struct praas_frame *f);
/* The worker is dead: status is what its direct call comes to. */
void wx_drop_clients(struct wx_worker *w, int32_t status);

/* ---- worker_nested.c ---- */

/* WAIT. 0; -EPROTO. */
int wx_on_wait(struct wx_worker *w, const struct praas_frame *f);
/* Who asks by f: RECV or WAIT. 0; -EPROTO: it cannot. */
int wx_asks(struct wx_worker *w, const struct praas_frame *f);
/* Its question is answered with: run what comes, then ask again. */
void wx_wait_interrupt(struct wx_worker *w);
/* It has asked, and will wait: run what is parked in it. */
void wx_wait_began(struct wx_worker *w);
/* The call has ended: who waits for it goes on. */
void wx_wait_over(struct wx_worker *w, const struct wx_call *call);
/* Room on top of what w runs, for what is started now. */
bool wx_frame_push(struct wx_worker *w);
/* The top has ended. */
void wx_frame_pop(struct wx_worker *w);
/* The worker is gone: all on its stack ends, what was on top with that status and text. */
void wx_end_stack(struct wx_worker *w, int32_t status, const char *text);
/* Level of what would be started on it now. */
uint32_t wx_level_next(const struct wx_worker *w);
/* praas_cancelled() becomes true for inv, which is on w's stack. False: it is not. */
bool wx_cancel_mark(struct wx_worker *w, const struct praas_invocation *inv);
/* Let workers that wait run what is queued. Returns work done. */
unsigned wx_help(struct wx *ex);
/* Waits that are over, and those that cannot end. */
void wx_wait_timers(struct wx *ex, uint64_t now);
/* When w's wait is over, or is to be asked about; UINT64_MAX: no need to look. */
uint64_t wx_wait_due(const struct wx_worker *w);

/* ---- worker_circle.c ---- */

/* For the table. */
bool wx_waits(struct praas_executor *base, const struct praas_invocation *inv,
	      struct praas_executor_wait *ret_wait);
void wx_wait_ends(struct praas_executor *base, const struct praas_executor_wait *wait,
		  const char *text);
/* Whether w waits, perhaps through others of this process, for itself: then in words. */
bool wx_in_circle(struct wx_worker *w, char ret_text[PRAAS_ERROR_TEXT_MAX]);
/* It waits for another process: asks when it is time. */
void wx_wait_ask(struct wx_worker *w, uint64_t now);
/* It waits for a call in another process, or for one here that goes on there, as long as it takes. */
static inline bool wx_wait_away(const struct wx_worker *w)
{
	return w->waiting && w->wait_kind == PRAAS_WORKER_WAIT && w->wait_endless &&
	       praas_process_fn_away(w->ex->base.process, w->wait_call->inv_id) != 0;
}

/* ---- worker_attach.c ---- */

void wx_read_log(struct wx_worker *w);

/* ---- worker_life.c ---- */

void wx_begin(struct wx *ex);
/* End a worker: its call ends with that status and text (static). */
void wx_kill(struct wx_worker *w, int32_t status, const char *text);
void wx_violation(struct wx_worker *w);
unsigned wx_deaths(struct wx *ex);
/* Deadlines, start time-outs, end of stop. */
void wx_timers(struct wx *ex);
uint64_t wx_next_timer(const struct wx *ex);
void wx_complete(struct wx_worker *w, int32_t status, struct praas_buf *result,
		 uint64_t run_ns);
int wx_on_ready(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
		uint64_t offset);
int wx_poll_worker(struct wx_worker *w, unsigned budget, unsigned *ret_done);

/* ---- worker_counts.c ---- */

/* It has died, perhaps in a direct call: what it told counts. */
void wx_counts_last(struct wx_worker *w);
/* A life begins. */
void wx_counts_begin(struct wx_worker *w);

#endif
