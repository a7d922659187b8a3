/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/ownership.h"

#include <errno.h>

bool praas_owner_resting(const struct praas_owner *o)
{
	return o->state == PRAAS_LIFE_SWAPPED || o->state == PRAAS_LIFE_LOST ||
	       o->state == PRAAS_LIFE_KILLED;
}

static bool owned(const struct praas_owner *o)
{
	return o->state == PRAAS_LIFE_ACTIVATING || o->state == PRAAS_LIFE_ACTIVE ||
	       o->state == PRAAS_LIFE_DRAINING || o->state == PRAAS_LIFE_MIGRATING;
}

enum praas_owner_path praas_owner_append(const struct praas_owner *o)
{
	if (o->state == PRAAS_LIFE_DELETING)
		return PRAAS_OWNER_GONE;
	if (o->state == PRAAS_LIFE_ACTIVE && !o->behind)
		return PRAAS_OWNER_MOVED;
	if (o->rounds >= PRAAS_OWNER_ROUNDS)
		return PRAAS_OWNER_BUSY;
	return PRAAS_OWNER_QUEUED;
}

uint32_t praas_owner_next_epoch(const struct praas_owner *o,
				const struct praas_owner_log *log)
{
	uint32_t given = o->epoch > o->to ? o->epoch : o->to;

	return (given > log->epoch ? given : log->epoch) + 1;
}

int praas_owner_activate(struct praas_owner *o, const struct praas_owner_log *log,
			 uint64_t lease_ns, uint32_t *ret_epoch)
{
	if (o->state == PRAAS_LIFE_DELETING)
		return -ENOENT;
	if (!praas_owner_resting(o))
		return -EBUSY;
	o->rest = o->state;
	o->epoch = praas_owner_next_epoch(o, log);
	o->state = PRAAS_LIFE_ACTIVATING;
	o->behind = false;
	o->rounds = 0;
	o->lease_ns = lease_ns;
	*ret_epoch = o->epoch;
	return 0;
}

/* A destination asks for something only when its ACT is in the log. */
static void repair(struct praas_owner *o, uint32_t epoch, uint64_t lease_ns)
{
	(void)praas_owner_moved(o, epoch, lease_ns); /* or it is no destination */
}

int praas_owner_serve(struct praas_owner *o, uint32_t epoch, uint64_t seen,
		      uint64_t tail, uint64_t lease_ns)
{
	repair(o, epoch, lease_ns);
	if (!owned(o) || o->epoch != epoch)
		return -ESTALE;
	if (o->state == PRAAS_LIFE_MIGRATING)
		return -EBUSY; /* its gate is closed: said before that, or after it kept the process */
	if ((o->state != PRAAS_LIFE_ACTIVE || o->behind) && seen != tail) {
		o->rounds++;
		return -EAGAIN;
	}
	o->state = PRAAS_LIFE_ACTIVE;
	o->behind = false;
	o->rounds = 0;
	o->lease_ns = lease_ns;
	return 0;
}

int praas_owner_open(struct praas_owner *o, uint32_t epoch, uint64_t seen,
		     uint64_t tail, uint64_t lease_ns)
{
	repair(o, epoch, lease_ns);
	if (!owned(o) || o->epoch != epoch)
		return -ESTALE;
	if (o->state == PRAAS_LIFE_MIGRATING)
		return -EBUSY;
	if (o->state != PRAAS_LIFE_ACTIVE || o->behind)
		o->behind = seen != tail;
	o->state = PRAAS_LIFE_ACTIVE;
	o->rounds =
		0; /* who sends need not wait: it is not the queue that is in the way */
	o->lease_ns = lease_ns;
	return 0;
}

int praas_owner_renew(struct praas_owner *o, uint32_t epoch, uint64_t lease_ns)
{
	repair(o, epoch, lease_ns);
	if (!owned(o) || o->epoch != epoch)
		return -ESTALE;
	o->lease_ns = lease_ns;
	return 0;
}

int praas_owner_drain(struct praas_owner *o)
{
	if (o->state != PRAAS_LIFE_ACTIVE)
		return -EBUSY;
	o->state = PRAAS_LIFE_DRAINING;
	o->behind = false;
	return 0;
}

/* Only the destination writes while the source cannot. Which number it has is not known after a restart. */
static bool destination(const struct praas_owner *o, uint32_t epoch)
{
	return o->to > o->epoch ? epoch == o->to : epoch > o->epoch;
}

int praas_owner_move(struct praas_owner *o)
{
	if (o->state != PRAAS_LIFE_ACTIVE || o->behind)
		return -EBUSY;
	o->to = praas_owner_next_epoch(o, &(struct praas_owner_log){ 0 });
	o->state = PRAAS_LIFE_MIGRATING;
	return 0;
}

int praas_owner_moved(struct praas_owner *o, uint32_t epoch, uint64_t lease_ns)
{
	if (o->state != PRAAS_LIFE_MIGRATING || !destination(o, epoch))
		return -ESTALE;
	o->state = PRAAS_LIFE_ACTIVATING;
	o->rest = PRAAS_LIFE_LOST; /* what it was is in its memory only */
	o->epoch = epoch;
	o->rounds = 0;
	o->lease_ns = lease_ns;
	return 0;
}

int praas_owner_kept(struct praas_owner *o, uint32_t epoch)
{
	if (o->state != PRAAS_LIFE_MIGRATING || o->epoch != epoch)
		return -ESTALE;
	o->state = PRAAS_LIFE_DRAINING;
	return 0;
}

/* Nobody owns it any more. */
static void rest(struct praas_owner *o, uint8_t state)
{
	o->state = state;
	o->behind = false;
	o->rounds = 0;
	o->lease_ns = 0;
}

int praas_owner_release(struct praas_owner *o, uint32_t epoch)
{
	if (!owned(o) || o->epoch != epoch)
		return -ESTALE;
	rest(o, PRAAS_LIFE_SWAPPED);
	return 0;
}

int praas_owner_ended(struct praas_owner *o, uint32_t epoch,
		      const struct praas_owner_log *log, bool gone, uint64_t now_ns)
{
	if (!owned(o) || o->epoch != epoch)
		return -ESTALE;
	if (!gone && now_ns < o->lease_ns)
		return -EBUSY;
	if (o->state == PRAAS_LIFE_MIGRATING && !log->released) {
		/* Whatever comes of it now, the destination's number is given out. */
		if (destination(o, log->epoch))
			return praas_owner_moved(o, log->epoch, o->lease_ns);
		o->epoch = praas_owner_next_epoch(o, log) - 1;
		rest(o, PRAAS_LIFE_LOST);
		return 0;
	}
	if (log->released)
		rest(o, PRAAS_LIFE_SWAPPED);
	else if (o->state == PRAAS_LIFE_ACTIVATING)
		rest(o, o->rest); /* it never served: nothing is lost by it */
	else
		rest(o, PRAAS_LIFE_LOST);
	return 0;
}

int praas_owner_delete(struct praas_owner *o)
{
	o->state = PRAAS_LIFE_DELETING;
	return 0;
}

int praas_owner_erase(const struct praas_owner *o, const struct praas_owner_log *log,
		      bool gone, uint64_t now_ns)
{
	if (o->state != PRAAS_LIFE_DELETING || !log->tomb)
		return -EBUSY;
	return gone || now_ns >= o->lease_ns ? 0 : -EBUSY;
}
