/* SPDX-License-Identifier: Apache-2.0
 *
 * What an executor asks of the process on behalf of a running invocation: messages, state,
 * updates, calls. Data thread only. Everything that crosses is a plain struct; nothing here
 * knows whether the function runs inline or in a worker.
 *
 * Results: 0 done; -EINPROGRESS it waits, and wait->done is called exactly once later (also
 * when the invocation is cancelled or the process stops), never before the call returns;
 * other negative errno: it failed and nothing has moved.
 */
#ifndef PRAAS_DATAPLANE_PROCESS_FN_H
#define PRAAS_DATAPLANE_PROCESS_FN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/invocation.h"
#include "dataplane/members.h"
#include "dataplane/timers.h"
#include "dataplane/value.h"
#include "transport/frame.h"

struct praas_process;
struct praas_function_log;

#define PRAAS_WRITES_MAX 1024u /* of one commit */
#define PRAAS_DEADLINE_NEVER (1ull << 62)
#define PRAAS_LIST_BYTES_MAX 65536u /* records of one list */

/* enum praas_status for an errno of this interface, for replies in frames. */
int32_t praas_status_of(int rc);

/* A message taken out of the mailbox; the value is the receiver's. */
struct praas_message {
	uint64_t source;
	uint64_t sequence;
	struct praas_value value;
	bool traced;                      /* it has a trace */
	uint8_t trace[PRAAS_TRACE_BYTES]; /* valid when traced; as in frames */
};

/* A place in a queue, the caller's memory until done() was called or wait_cancel() returned. */
struct praas_fn_wait {
	/* rc 0: message (recv) or grant (update) is given; -EAGAIN the deadline passed;
	 * -ECANCELED; -ESHUTDOWN; -EIO torn meanwhile. */
	void (*done)(struct praas_fn_wait *wait, int rc);
	void *user;
	uint64_t deadline_ns;         /* when to give up; PRAAS_DEADLINE_NEVER: never */
	struct praas_message message; /* of a recv, valid in done() with rc 0 */
	struct praas_update_grant {
		uint64_t version; /* 0: just created */
		uint64_t bytes;   /* of the object */
		uint64_t offset;  /* where it lies now */
		uint32_t
			segment; /* 0 when just created: the holder brings the memory */
		const uint8_t *data;
		uint64_t
			lease; /* its number, and the version that the first commit makes */
	} grant;               /* of an update */
	/* Of an update whose holder keeps the lease and updates again without a message. NULL: it
	 * does not. word: how many such updates it has committed, << 1, and 1 while one is under way;
	 * one word has one lease at a time. ended: leases of that word up to this number are over;
	 * it looks after it has changed its word. */
	const _Atomic uint64_t *word;
	_Atomic uint64_t *ended;
	enum praas_wait_holds {
		PRAAS_HOLDS_NONE = 0, /* what it is given is its own */
		/* Told of held: a message that was let go stays in its place, held for it. */
		PRAAS_HOLDS_PLACE,
		PRAAS_HOLDS_ALL /* so does every message */
	} holds;                /* of a recv */
	/* Of a recv that holds, valid in done() with rc 0: message is borrowed of the mailbox, which
	 * holds that one for it. 0: message is given. */
	uint32_t held;
	/* Private to the process from here. */
	struct praas_process *process;
	struct praas_timer timer;
	struct praas_fn_wait *next, *prev;         /* of the queue that it stands in */
	struct praas_fn_wait *all_next, *all_prev; /* of all that wait */
	uint64_t order, bytes;
	uint32_t queue; /* which + 1; 0: it does not wait */
	uint32_t kind;  /* enum praas_wait_kind */
	uint32_t holder;
	bool any;
	bool updates; /* when the object has come, it begins an update */
	bool once;    /* for which it does not wait */
};

/* Give up waiting: done() will not be called. Allowed when it does not wait. */
void praas_process_fn_wait_cancel(struct praas_process *p, struct praas_fn_wait *wait);

/* A line of a function's log goes where praas_process_log_set() said. */
void praas_process_fn_log(const struct praas_process *p,
			  const struct praas_function_log *line);

/* ---- messages ---- */

/* destination PRAAS_SELF or a pid; value is given on success. key and trace (a block as in frames;
 * NULL: none) are copied. *ret_sequence may be NULL; 0 of a message to another process, which is in the
 * outbox then. -EINVAL key; -ENOENT no such process; -EMSGSIZE; -ENOBUFS number, -ENOSPC bytes of the
 * mailbox; -EAGAIN there is no room in the outbox now (praas_process_fn_room_wait()), -ENOSPC never. */
int praas_process_fn_send(struct praas_process *p, uint64_t destination,
			  const char *key, uint32_t key_bytes,
			  struct praas_value *value, const uint8_t *trace,
			  uint64_t *ret_sequence);

/* Until there is room to send value, which stays the caller's, to another process: in done(wait, 0) it is to be sent; who
 * began to wait first is told first. Goes on while the gate is closed: what is sent then is in the snapshot.
 * -EINPROGRESS; -EAGAIN wait->deadline_ns has passed; -ENOBUFS; -ENOSPC. */
int praas_process_fn_room_wait(struct praas_process *p, uint64_t destination,
			       struct praas_value *value, struct praas_fn_wait *wait);

/* source: a process, PRAAS_SELF, a client, or PRAAS_ANY. wait->deadline_ns 0: look once (then
 * wait->done may be NULL). 0: wait->message is given; -EAGAIN none; -EINPROGRESS; -EINVAL; -ENOBUFS. */
int praas_process_fn_recv(struct praas_process *p, uint64_t source, const char *key,
			  uint32_t key_bytes, struct praas_fn_wait *wait);

/* The oldest match stays in the mailbox; ret_message->value is borrowed until the next call into
 * the process (do not release it). 0; -EAGAIN; -EINVAL. */
int praas_process_fn_peek(struct praas_process *p, uint64_t source, const char *key,
			  uint32_t key_bytes, struct praas_message *ret_message);

/* Records as docs/dataplane.md describes, whole ones up to bytes_max. */
int praas_process_fn_list(struct praas_process *p, const char *prefix,
			  uint32_t prefix_bytes, uint64_t after, uint8_t *ret_data,
			  uint64_t bytes_max, uint64_t *ret_bytes, uint64_t *ret_count);

/* ---- state ---- */

/* One write of a commit. Key and fields are the process's copy: never shared memory. */
struct praas_state_write {
	struct praas_value value; /* given when the commit succeeds */
	uint64_t expect;          /* version + 1 that must be there; 0: any */
	bool erase;               /* delete; value is empty */
	uint8_t key_bytes;
	char key[PRAAS_KEY_MAX + 1];
};

/* All or none. A later write of the same key wins over an earlier one. *ret_version is the
 * version that all written objects have now. 0; -ESTALE a version differs (ret_version: the one
 * that is there); -ENOENT delete of nothing; -ENOSPC; -ENOBUFS too many keys; -EMSGSIZE; -EINVAL;
 * -EBUSY an update of it is under way. */
int praas_process_fn_commit(struct praas_process *p, struct praas_state_write *writes,
			    uint32_t count, uint64_t *ret_version);

/* The committed object; borrowed: valid until a commit is followed by praas_process_poll(). One that is in the store
 * only is waited for, which holds the data thread up: bring it first, where that can be.
 * 0; -ENOENT; -EINVAL; -EIO torn; and what bring says. */
int praas_process_fn_state_get(struct praas_process *p, const char *key,
			       uint32_t key_bytes, const struct praas_value **ret_value,
			       uint64_t *ret_version);

/* Brings an object that is in the store only into memory. 0: it is there, or there is none of that key; -EINPROGRESS;
 * -EINVAL; -ENOBUFS too many are on their way; in done() also -EIO damaged; -EREMOTEIO the store does not give it now;
 * -ENOSPC no memory comes free for it. wait->deadline_ns 0: as long as it takes. Goes on while the gate is closed. */
int praas_process_fn_state_bring(struct praas_process *p, const char *key,
				 uint32_t key_bytes, struct praas_fn_wait *wait);

/* Records as docs/dataplane.md describes, in the order of the keys, after the key `after`. */
int praas_process_fn_state_list(struct praas_process *p, const char *prefix,
				uint32_t prefix_bytes, const char *after,
				uint32_t after_bytes, uint8_t *ret_data,
				uint64_t bytes_max, uint64_t *ret_bytes,
				uint64_t *ret_count);

/* Exclusive update in place. holder: worker index, or PRAAS_HOLDER_PROCESS for the data thread
 * itself. A lease is *active* during an update and may be *kept* afterwards: then the holder
 * may update again without asking until recall() wants the lease back.
 * bytes: size to create it with, or that it must have; 0: as it is.
 * 0: wait->grant says where the object is. When it does not lie where the holder can write, the
 * holder copies it to memory of its own and names that in the commit. -EINPROGRESS; -EAGAIN held
 * and wait->deadline_ns is 0; -ENOENT bytes 0 and no such object; -ESTALE other size; -EIO torn. */
#define PRAAS_HOLDER_PROCESS 0xffffffffu
int praas_process_fn_update_begin(struct praas_process *p, uint32_t holder,
				  const char *key, uint32_t key_bytes, uint64_t bytes,
				  struct praas_fn_wait *wait);

/* End an update. moved: NULL when it was done in place, else the new home (given on success).
 * keep: the holder would like to keep the lease; *ret_kept says whether it does (false when
 * somebody waits). A holder whose lease was recalled ends it by a commit with keep false.
 * 0; -EINVAL not held by holder; -ENOSPC. */
int praas_process_fn_update_commit(struct praas_process *p, uint32_t holder,
				   const char *key, uint32_t key_bytes,
				   struct praas_value *moved, bool keep, bool *ret_kept,
				   uint64_t *ret_version);

/* Called when somebody wants a kept lease; at most once per kept lease. */
typedef void (*praas_recall_fn)(void *user, uint32_t holder, const char *key,
				uint32_t key_bytes);
void praas_process_recall_set(struct praas_process *p, praas_recall_fn recall,
			      void *user);

/* The holder died. Active leases: the object is torn. Kept leases: torn when its offset is
 * updating_offset (what the holder said in its arena it was updating; ~0: nothing). */
void praas_process_holder_died(struct praas_process *p, uint32_t holder,
			       uint64_t updating_offset);

/* Copy every state object and message that lies in that segment into the pool, so that the
 * segment can be reused. 0; -ENOSPC (what did not fit stays: the segment must stay too). The old
 * values are released once no reader can see them. */
int praas_process_evacuate(struct praas_process *p, uint32_t segment);

/* A reader of the state index: the line in which a worker publishes its epoch
 * (dataplane/state_index.h); mapped read-only here. NULL: that worker is gone. */
struct praas_state_reader_line;
void praas_process_reader_set(struct praas_process *p, uint32_t worker,
			      const struct praas_state_reader_line *line);
/* Offset of the published index in the pool segment, for struct praas_worker_start. */
uint64_t praas_process_state_index_offset(const struct praas_process *p);

/* ---- calls ---- */

/* Marks ids of calls within the process: slot and its generation. Others are those of remote.h. */
#define PRAAS_CALL_HERE (1ull << 63)

struct praas_fn_call {
	uint64_t destination; /* PRAAS_SELF, or a process of the application */
	uint64_t source;      /* stamped: who asks */
	uint64_t deadline_ns; /* 0: none; the parent's when it is earlier */
	uint32_t function;    /* number */
	const char *key;
	uint32_t key_bytes;
	struct praas_buf *input; /* given on success; may be NULL when empty */
	const uint8_t *trace;    /* a block as in frames, copied; NULL: none */
	struct praas_invocation_caller
		caller; /* done() perhaps before the call returns; of another process with NULL for
			 * the invocation */
	const struct praas_invocation *parent; /* may be NULL */
};
/* 0: caller.done() is called exactly once. *ret_id is set before done() is. -ENOENT; -ENOBUFS
 * queue full; -ESHUTDOWN gate closed and no parent; -EINVAL; -EMSGSIZE. */
int praas_process_fn_invoke(struct praas_process *p, const struct praas_fn_call *call,
			    uint64_t *ret_id);
/* Ask that it end early; it still completes. 0; -ENOENT. */
int praas_process_fn_cancel(struct praas_process *p, uint64_t source, uint64_t id);

/* What must run for the call with that id to end: itself, or who holds the lane that it waits for.
 * 0: it is queued, praas_process_start_queued() may start it; -EBUSY it runs; -EAGAIN it waits for
 * more inputs; -ENOENT the call has ended. *ret_inv is set with 0 and -EBUSY. */
int praas_process_fn_needs(const struct praas_process *p, uint64_t id,
			   struct praas_invocation **ret_inv);
/* The call in another process that the call with that id waits for: itself, or the one that its pipeline goes on in. 0: none. */
uint64_t praas_process_fn_away(const struct praas_process *p, uint64_t id);
/* The oldest invocation that waits for the executor alone; NULL. */
struct praas_invocation *praas_process_first_queued(const struct praas_process *p);
/* Out of its turn, for an executor that has room for just this one. 0; -EAGAIN it has not. */
int praas_process_start_queued(struct praas_process *p, struct praas_invocation *inv);

/* Number of a function by name. 0; -ENOENT. */
int praas_process_function(const struct praas_process *p, const char *name,
			   uint32_t *ret_number);
/* ---- members ---- */

/* pid of a member by name. 0; -ENOENT; -EAGAIN the list is not here yet, it has been asked for; -E2BIG. */
int praas_process_fn_member(struct praas_process *p, const char *name,
			    uint32_t name_bytes, uint64_t *ret_pid);
/* The list, borrowed until the next call into the process, and the place of the first one above that number.
 * 0; -EAGAIN; -E2BIG as above. */
int praas_process_fn_members(struct praas_process *p, uint64_t after,
			     const struct praas_members **ret_list,
			     uint32_t *ret_first);
/* Until there is a list of another version. 0; -EINPROGRESS; -EAGAIN; -ESHUTDOWN; -ENOBUFS. */
int praas_process_fn_members_wait(struct praas_process *p, uint64_t version,
				  struct praas_fn_wait *wait);
uint64_t praas_process_members_version(const struct praas_process *p); /* 0: no list */

/* A value from a received buffer: by reference when it lies in the pool, else by a copy into
 * the pool. The buffer is given on success. 0; -ENOSPC. */
int praas_process_value_from_buf(struct praas_process *p, struct praas_buf *buf,
				 struct praas_value *ret_value);
/* A value of the pool with room for bytes, to be written through *ret_data. 0; -ENOSPC; -EMSGSIZE. */
int praas_process_value_new(struct praas_process *p, uint64_t bytes,
			    struct praas_value *ret_value, uint8_t **ret_data);

#endif
