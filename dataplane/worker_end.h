/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's end of what dataplane/worker_proto.h describes: its segments, its rings with the
 * controller, its buffers, its direct clients. One thread. Belongs to praas-worker, which runs
 * functions on top of it (controller/worker).
 */
#ifndef PRAAS_DATAPLANE_WORKER_END_H
#define PRAAS_DATAPLANE_WORKER_END_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/worker_proto.h"
#include "shm/log_ring.h"
#include "shm/pool.h"
#include "transport/frame.h"
#include "transport/shm_direct.h"

#define PRAAS_WORKER_SEGMENTS_MAX 192u
#define PRAAS_WORKER_DIRECT_MAX 64u
#define PRAAS_WORKER_PARKED_MAX 64u /* the controller sends fewer ahead */

/* A frame from the controller, decoded. */
struct praas_worker_frame {
	struct praas_frame head;
	uint16_t segment;
	uint64_t offset;
};

struct praas_worker_end {
	struct praas_worker_start start;
	struct praas_worker_function *functions; /* start.functions_count of them */
	struct praas_segment pool_segment, control, arena, log;
	struct praas_segment others[PRAAS_WORKER_SEGMENTS_MAX]; /* base NULL: free */
	uint32_t others_count;                                  /* entries ever used */
	struct praas_channel channel;
	struct praas_pool *pool; /* of the arena */
	uint8_t *keys;
	struct praas_worker_line *line;
	struct praas_function_counts *counts; /* by function */
	const struct praas_worker_order *order;
	const struct praas_worker_call *call;
	struct praas_doorbell doorbell;
	struct praas_log_tx log_tx;
	struct praas_direct *direct[PRAAS_WORKER_DIRECT_MAX];
	uint32_t direct_count; /* entries up to here may be used */
	int wake_fd;
	uint64_t requests; /* ids of ours given so far */
	int32_t in_direct; /* client whose call is being run; -1: none */
	bool detach_later; /* it is to go when that call has ended */
	/* INVOKEs that came while something waited for an answer; a ring. */
	struct praas_worker_frame parked[PRAAS_WORKER_PARKED_MAX];
	uint32_t parked_first, parked_count;
	bool stopped; /* STOP, or the controller is gone */
	/* The outcome of an INVOKE of ours; called while something waits or polls. */
	void (*result)(struct praas_worker_end *end,
		       const struct praas_worker_frame *frame);
};

/* Read START … GO from the socket and map all. ret_text: PRAAS_ERROR_TEXT_MAX bytes, says what
 * failed. 0; negative errno. */
int praas_worker_end_open(struct praas_worker_end *end, char *ret_text);
/* Tell the controller that we cannot start. */
void praas_worker_end_failed(const char *text);

/* Handle what waits on the socket. 0; -EPROTO. */
int praas_worker_end_socket(struct praas_worker_end *end);

/* Let a direct client go: when its call has ended and detach_later is set, or when it broke the
 * protocol. Tells the controller. */
int praas_worker_end_detach_now(struct praas_worker_end *end, uint32_t client);

/* Memory of a segment that is mapped; asks the socket when it is not known yet. The address is
 * valid until the controller unmaps it, which it does not while we use it. 0; -EPROTO. */
int praas_worker_end_view(struct praas_worker_end *end, uint32_t segment,
			  uint64_t offset, uint64_t bytes, const uint8_t **ret_data);
/* The segment with that id; NULL unknown. */
const struct praas_segment *praas_worker_end_segment(struct praas_worker_end *end,
						     uint32_t segment);

/* A buffer to write: in the arena, or (bytes too many) a big segment, which costs a message.
 * 0; -EMSGSIZE over bytes_max; -ENOSPC no memory. */
struct praas_worker_buffer {
	uint8_t *data;
	uint64_t offset;
	uint64_t capacity;
	uint32_t segment;
};
int praas_worker_end_alloc(struct praas_worker_end *end, uint64_t bytes,
			   struct praas_worker_buffer *ret_buffer);
/* Always a segment of its own. Errors as above. */
int praas_worker_end_alloc_big(struct praas_worker_end *end, uint64_t bytes,
			       struct praas_worker_buffer *ret_buffer);
/* Give an unlent buffer back. */
void praas_worker_end_drop(struct praas_worker_end *end,
			   const struct praas_worker_buffer *b);

/* Push a frame; waits while the ring is full. The payload (segment and offset, bytes > 0) is lent.
 * key may be NULL. With flag TRACE its trace was put by praas_worker_end_trace() right before. 0; -EPROTO;
 * -ESHUTDOWN the controller is gone. */
uint8_t *praas_worker_end_trace(struct praas_worker_end *end);
int praas_worker_end_push(struct praas_worker_end *end, const struct praas_frame *f,
			  const char *key, uint32_t segment, uint64_t offset);

/* The next frame that is not handled here: INVOKE, or REPLY. 0; -EAGAIN; -EPROTO. Who waits for
 * something else parks an INVOKE: it was sent ahead, or by the controller's not knowing of a direct
 * call. next() takes what was parked first. */
int praas_worker_end_next(struct praas_worker_end *end,
			  struct praas_worker_frame *ret_frame);
int praas_worker_end_pop(struct praas_worker_end *end,
			 struct praas_worker_frame *ret_frame);

int praas_worker_end_park(struct praas_worker_end *end,
			  const struct praas_worker_frame *frame);

/* Push f with an id of ours and wait for its REPLY. As push; the outcome is in ret_reply. */
int praas_worker_end_request(struct praas_worker_end *end, struct praas_frame *f,
			     const char *key, uint32_t segment, uint64_t offset,
			     struct praas_worker_frame *ret_reply);

/* Take back what the controller returned. */
void praas_worker_end_returns(struct praas_worker_end *end);
/* Give a payload of the controller's back early. */
void praas_worker_end_return(struct praas_worker_end *end, uint32_t segment,
			     uint64_t offset);

/* Nothing to do: pause, yield or sleep. direct: also wake for direct clients. */
void praas_worker_end_idle(struct praas_worker_end *end, struct praas_waiter *waiter,
			   bool direct);

#endif
