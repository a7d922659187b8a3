/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection that is made when it is wanted, and again when it breaks: a command is asked until there is an answer,
 * or its time is over. So one whose answer was lost is asked twice: what changes something says by the lane's
 * id and turn which change it is, and its script does it once. One thread at a time.
 */
#ifndef PRAAS_REDIS_LANE_H
#define PRAAS_REDIS_LANE_H

#include <time.h>

#include "redis/script.h"
#include "redis/session.h"

#define PRAAS_REDIS_ID_BYTES 16u
#define PRAAS_REDIS_ID_TEXT (2u * PRAAS_REDIS_ID_BYTES + 1u) /* in hex, with the zero */

/* What was asked, since whoever has the lane looked last. */
struct praas_redis_counts {
	uint64_t requests;                   /* commands of the user's that were sent */
	uint64_t retries;                    /* of them, after a failure */
	uint64_t failures;                   /* that no repetition helped */
	uint64_t bytes_sent, bytes_received; /* of words and values */
};

struct praas_redis_lane {
	struct praas_redis_link *link; /* NULL: none now */
	uint64_t turn;                 /* of the last change; its user counts */
	char id[PRAAS_REDIS_ID_TEXT];
	struct praas_redis_counts counts;
};

/* How a lane gets its connection. joined looks at a new one before it is used, and may ask over it: 0; anything else
 * ends it, and is why; -EAGAIN … (praas_redis_passes()) another may do. ret_text has 256 bytes. */
struct praas_redis_way {
	struct praas_redis_session_config session;
	int (*joined)(void *user, struct praas_redis_link *link,
		      const struct praas_redis_server *server, uint64_t deadline_ns,
		      char *ret_text);
	void *user;
};

/* With an id that nobody else has. */
void praas_redis_lane_init(struct praas_redis_lane *lane);
/* Ends the connection; the next command makes another. */
void praas_redis_lane_cut(struct praas_redis_lane *lane);

/* script: what args runs by its SHA-1; NULL: none. 0, and the reply, which is no error; -ENOSPC its memory is full;
 * -EACCES; -EPROTO it said something else, in ret_text (256 bytes); -EIO it cannot write; -EINVAL … of joined; what
 * praas_redis_passes() knows: the time is over. */
int praas_redis_lane_ask(struct praas_redis_lane *lane,
			 const struct praas_redis_way *way,
			 const struct praas_redis_args *args,
			 const struct praas_redis_script *script, uint64_t deadline_ns,
			 redisReply **ret_reply, char *ret_text);

/* It is worth to ask again. */
bool praas_redis_passes(int rc);

static inline struct timespec praas_redis_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u),
				  .tv_nsec = (long)(ns % 1000000000u) };
}

#endif
