/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/sender.h"

#include <errno.h>

#include "internal/base.h"

int praas_sender_init(struct praas_sender *s, const struct praas_sender_config *config)
{
	if (!config->slots || config->window == 0 ||
	    config->window > PRAAS_SENDER_WINDOW_MAX ||
	    (config->window & (config->window - 1)) != 0 || config->batch == 0 ||
	    config->epoch == 0 || config->backoff_min_ns == 0 ||
	    config->backoff_max_ns < config->backoff_min_ns || config->silence_ns == 0)
		return -EINVAL;
	*s = (struct praas_sender){ .config = *config, .last.epoch = config->epoch };
	return 0;
}

static void earlier(uint64_t *due_ns, uint64_t at_ns)
{
	if (*due_ns == 0 || at_ns < *due_ns)
		*due_ns = at_ns;
}

static void append_slot(struct praas_sender *s, struct praas_seq seq, uint64_t token,
			uint64_t deadline_ns)
{
	*praas_sender_at(s, s->count++) = (struct praas_sender_slot){
		.seq = seq, .token = token, .deadline_ns = deadline_ns
	};
	if (deadline_ns != 0)
		earlier(&s->deadline_ns, deadline_ns);
}

int praas_sender_push(struct praas_sender *s, uint64_t token, uint64_t deadline_ns,
		      struct praas_seq *ret_seq)
{
	if (s->path == PRAAS_SENDER_GONE)
		return -ENOENT;
	if (s->count == s->config.window)
		return -EAGAIN;
	s->last.number++;
	append_slot(s, s->last, token, deadline_ns);
	*ret_seq = s->last;
	return 0;
}

static bool current(const struct praas_sender *s, uint32_t attempt,
		    enum praas_sender_path path)
{
	return s->attempt == attempt && s->path == path;
}

/* Another path, from the first message on. */
static void leave(struct praas_sender *s)
{
	if (s->path == PRAAS_SENDER_CONNECTING || s->path == PRAAS_SENDER_DIRECT) {
		s->close = true;
		s->close_attempt = s->attempt;
	}
	s->connect = false;
	s->sent = 0;
	s->path = PRAAS_SENDER_WAITING;
	s->attempt++;
}

static void back_off(struct praas_sender *s, uint64_t now_ns)
{
	s->backoff_ns = praas_min_u64(
		praas_max_u64(2 * s->backoff_ns, s->config.backoff_min_ns),
		s->config.backoff_max_ns);
	s->retry_ns = now_ns + s->backoff_ns;
}

static void finish(struct praas_sender *s, uint32_t index, int rc, uint8_t level)
{
	struct praas_sender_slot *slot = praas_sender_at(s, index);

	if (slot->over)
		return;
	slot->over = true;
	slot->rc = rc;
	slot->level = level;
	s->over++;
}

/* All of this attempt up to a place are accepted. */
static void accepted(struct praas_sender *s, struct praas_seq seq,
		     enum praas_sender_level level)
{
	for (uint32_t i = 0; i < s->sent; i++) {
		if (praas_seq_compare(praas_sender_at(s, i)->seq, seq) > 0)
			break;
		finish(s, i, 0, (uint8_t)level);
	}
}

void praas_sender_queued(struct praas_sender *s, uint32_t attempt, struct praas_seq seq,
			 uint64_t now_ns)
{
	if (!current(s, attempt, PRAAS_SENDER_ASKING))
		return;
	accepted(s, seq, PRAAS_SENDER_DURABLE);
	if (praas_seq_compare(seq, s->durable) > 0)
		s->durable = seq;
	leave(s);
	s->backoff_ns = 0;
	s->retry_ns = now_ns;
}

static void connect_to(struct praas_sender *s, uint32_t epoch, uint64_t now_ns)
{
	leave(s);
	s->path = PRAAS_SENDER_CONNECTING;
	s->epoch = epoch;
	s->connect = true;
	s->heard_ns = now_ns;
}

void praas_sender_route(struct praas_sender *s, uint32_t epoch, uint64_t now_ns)
{
	if (s->path == PRAAS_SENDER_WAITING && s->retry_ns <= now_ns)
		connect_to(s, epoch, now_ns);
}

void praas_sender_moved(struct praas_sender *s, uint32_t attempt, uint32_t epoch,
			uint64_t now_ns)
{
	bool asked = current(s, attempt, PRAAS_SENDER_ASKING);

	if (!asked && !current(s, attempt, PRAAS_SENDER_DIRECT))
		return;
	if (!asked && epoch <= s->epoch) {
		praas_sender_lost(s, attempt, now_ns);
		return;
	}
	connect_to(s, epoch, now_ns);
}

void praas_sender_gone(struct praas_sender *s, uint32_t attempt)
{
	if (!current(s, attempt, PRAAS_SENDER_ASKING))
		return;
	leave(s);
	s->path = PRAAS_SENDER_GONE;
	for (uint32_t i = 0; i < s->count; i++)
		finish(s, i, -ENOENT, 0);
}

void praas_sender_connected(struct praas_sender *s, uint32_t attempt, uint64_t now_ns)
{
	if (!current(s, attempt, PRAAS_SENDER_CONNECTING))
		return;
	s->path = PRAAS_SENDER_DIRECT;
	s->heard_ns = now_ns;
}

void praas_sender_acked(struct praas_sender *s, uint32_t attempt, struct praas_seq seq,
			uint64_t now_ns)
{
	if (!current(s, attempt, PRAAS_SENDER_DIRECT))
		return;
	accepted(s, seq, PRAAS_SENDER_MEMORY);
	s->backoff_ns = 0;
	s->heard_ns = now_ns;
}

void praas_sender_lost(struct praas_sender *s, uint32_t attempt, uint64_t now_ns)
{
	if (s->attempt != attempt || s->path == PRAAS_SENDER_GONE ||
	    s->path == PRAAS_SENDER_WAITING)
		return;
	leave(s);
	back_off(s, now_ns);
}

/* Deadlines that have passed; the others keep their order. */
static void expire(struct praas_sender *s, uint64_t now_ns)
{
	if (s->deadline_ns == 0 || now_ns < s->deadline_ns)
		return;
	s->deadline_ns = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		const struct praas_sender_slot *slot = praas_sender_at(s, i);

		if (slot->deadline_ns == 0)
			continue;
		if (slot->deadline_ns <= now_ns)
			finish(s, i, slot->tried ? -ETIMEDOUT : -ECANCELED, 0);
		else
			earlier(&s->deadline_ns, slot->deadline_ns);
	}
}

static bool waits(const struct praas_sender *s)
{
	return s->path == PRAAS_SENDER_ASKING || s->path == PRAAS_SENDER_CONNECTING ||
	       (s->path == PRAAS_SENDER_DIRECT && s->sent > 0);
}

/* The first message that is over leaves the window; those before it move up. */
static void report(struct praas_sender *s, struct praas_sender_action *ret_action)
{
	const struct praas_sender_slot *slot;
	uint32_t i = 0;

	while (!praas_sender_at(s, i)->over)
		i++;
	slot = praas_sender_at(s, i);
	*ret_action = (struct praas_sender_action){ .kind = PRAAS_SENDER_DONE,
						    .rc = slot->rc,
						    .level = slot->level,
						    .token = slot->token,
						    .epoch = s->epoch,
						    .seq = slot->seq };
	if (i < s->sent)
		s->sent--;
	for (; i > 0; i--)
		*praas_sender_at(s, i) = *praas_sender_at(s, i - 1);
	s->head++;
	s->count--;
	s->over--;
}

static void append(struct praas_sender *s, uint64_t now_ns,
		   struct praas_sender_action *ret_action)
{
	s->path = PRAAS_SENDER_ASKING;
	s->attempt++;
	s->heard_ns = now_ns;
	s->sent = s->count < s->config.batch ? s->count : s->config.batch;
	for (uint32_t i = 0; i < s->sent; i++)
		praas_sender_at(s, i)->tried = true;
	*ret_action = (struct praas_sender_action){ .kind = PRAAS_SENDER_APPEND,
						    .attempt = s->attempt,
						    .count = s->sent };
}

/* The predecessor of slot i: the one before it in the window, or the last one that waits in the
 * backup queue. What was acknowledged from memory may be lost by now and must not be waited for. */
static struct praas_seq predecessor(const struct praas_sender *s, uint32_t i)
{
	return i > 0 ? praas_sender_at(s, i - 1)->seq : s->durable;
}

static void send_next(struct praas_sender *s, uint64_t now_ns,
		      struct praas_sender_action *ret_action)
{
	struct praas_sender_slot *slot = praas_sender_at(s, s->sent);

	if (s->sent == 0)
		s->heard_ns = now_ns;
	slot->tried = true;
	*ret_action = (struct praas_sender_action){ .kind = PRAAS_SENDER_SEND,
						    .attempt = s->attempt,
						    .epoch = s->epoch,
						    .token = slot->token,
						    .seq = slot->seq,
						    .after = predecessor(s, s->sent) };
	s->sent++;
}

void praas_sender_poll(struct praas_sender *s, uint64_t now_ns,
		       struct praas_sender_action *ret_action)
{
	*ret_action = (struct praas_sender_action){ .kind = PRAAS_SENDER_NONE };
	if (s->held)
		return;
	expire(s, now_ns);
	if (waits(s) && now_ns - s->heard_ns >= s->config.silence_ns)
		praas_sender_lost(s, s->attempt, now_ns);
	if (s->over > 0) {
		report(s, ret_action);
	} else if (s->close) {
		s->close = false;
		ret_action->kind = PRAAS_SENDER_CLOSE;
		ret_action->attempt = s->close_attempt;
	} else if (s->connect) {
		s->connect = false;
		ret_action->kind = PRAAS_SENDER_CONNECT;
		ret_action->attempt = s->attempt;
		ret_action->epoch = s->epoch;
	} else if (s->path == PRAAS_SENDER_WAITING && s->count > 0 &&
		   s->retry_ns <= now_ns) {
		append(s, now_ns, ret_action);
	} else if (s->path == PRAAS_SENDER_DIRECT && s->sent < s->count) {
		send_next(s, now_ns, ret_action);
	}
}

uint64_t praas_sender_due_ns(const struct praas_sender *s)
{
	uint64_t due_ns = s->deadline_ns;

	if (s->held)
		return 0;
	if (s->path == PRAAS_SENDER_WAITING && s->count > 0)
		earlier(&due_ns, s->retry_ns + (s->retry_ns == 0));
	if (waits(s))
		earlier(&due_ns, s->heard_ns + s->config.silence_ns);
	return due_ns;
}

void praas_sender_hold(struct praas_sender *s, bool held)
{
	s->held = held;
}

void praas_sender_restore(struct praas_sender *s, struct praas_seq last,
			  struct praas_seq durable, bool clean)
{
	if (clean)
		s->last = last;
	s->durable = durable;
}

/* The places of a snapshot are those given out so far, each after the one before. */
static bool in_order(const struct praas_sender *s, struct praas_seq seq)
{
	return praas_seq_compare(seq, s->last) <= 0 &&
	       (s->count == 0 ||
		praas_seq_compare(seq, praas_sender_at(s, s->count - 1)->seq) > 0);
}

int praas_sender_restore_message(struct praas_sender *s, struct praas_seq seq,
				 uint64_t token)
{
	bool renumber = s->last.epoch == s->config.epoch; /* it was not clean */

	if (s->count == s->config.window)
		return -EAGAIN;
	if (!renumber && !in_order(s, seq))
		return -EINVAL;
	if (renumber) {
		s->last.number++;
		seq = s->last;
	}
	append_slot(s, seq, token, 0);
	praas_sender_at(s, s->count - 1)->tried = true;
	return 0;
}
