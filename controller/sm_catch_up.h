/* SPDX-License-Identifier: Apache-2.0
 *
 * Catching up with the backup queue (docs/protocols.md): read what waits there, then ask to
 * be recorded as active; that is granted only if nothing has come since (a message that did would
 * wait until the next swap). A mailbox that is full in between has to be emptied by functions first: then it is
 * recorded as active at once, and goes on reading as there is room. Part of an activation, and of going on after a drain that was called
 * off. Pure: events in, actions out.
 */
#ifndef PRAAS_CONTROLLER_SM_CATCH_UP_H
#define PRAAS_CONTROLLER_SM_CATCH_UP_H

#include <stdbool.h>
#include <stdint.h>

enum praas_catch_up_event_kind {
	PRAAS_CATCH_UP_START = 1, /* position: the last message of the queue that counts
				   * already; also begins again */
	/* rc, position of the last one that was applied, more. -ENOBUFS: the mailbox has no room for the next */
	PRAAS_CATCH_UP_READ_DONE,
	/* COMMIT, OPEN: rc: 0; -EAGAIN more has come; -ESTALE the epoch is over */
	PRAAS_CATCH_UP_COMMITTED,
	PRAAS_CATCH_UP_STOP /* a drain begins: what is read from here on would count without
			     * being in the snapshot that ends the epoch */
};

struct praas_catch_up_event {
	enum praas_catch_up_event_kind kind;
	int rc; /* -ESTALE: over; other than those named: not known, tried again */
	uint64_t position;
	bool more; /* the read ended before the queue did */
};

enum praas_catch_up_action_kind {
	PRAAS_CATCH_UP_NOTHING = 0,
	PRAAS_CATCH_UP_READ, /* position: what comes after it, applied in order → READ_DONE */
	PRAAS_CATCH_UP_COMMIT, /* position: all up to it is applied → COMMITTED */
	/* To be recorded as active though more waits in the queue: else nobody could take messages out of the mailbox
	 * → COMMITTED. Messages to it are queued on, so none comes before those that wait. */
	PRAAS_CATCH_UP_OPEN,
	PRAAS_CATCH_UP_END /* rc 0: recorded as active; -ESTALE: stop for ever */
};

struct praas_catch_up_action {
	enum praas_catch_up_action_kind kind;
	int rc;
	uint64_t position;
	bool again; /* the same as before failed: not at once */
};

enum praas_catch_up_phase {
	PRAAS_CATCH_UP_IDLE = 0,
	PRAAS_CATCH_UP_READING,
	PRAAS_CATCH_UP_COMMITTING,
	PRAAS_CATCH_UP_OPENING
};

struct praas_catch_up {
	enum praas_catch_up_phase phase;
	bool open;         /* it is recorded as active already */
	uint64_t position; /* all up to here is applied: the queue cut of a snapshot */
};

/* Zeroed memory is the beginning. An event that cannot be is ignored. */
struct praas_catch_up_action praas_catch_up_step(
	struct praas_catch_up *c, const struct praas_catch_up_event *event);

#endif
