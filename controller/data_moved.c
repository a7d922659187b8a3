/* SPDX-License-Identifier: Apache-2.0
 *
 * The process lives elsewhere: clients that follow are told, behind all that was answered here; and the thread's end.
 */
#include <stdlib.h>
#include <time.h>

#include "controller/data_private.h"
#include "internal/base.h"

#define ANSWERS_NS 100000000u    /* for answers whose connections had no room */
#define STOP_GRACE_NS 200000000u /* for the last frames on their way */
#define LEFT_NS 20000000u        /* so long clients that were told are listened to */
#define LEFT_LOOK_NS 200000
#define IDLE_TURNS 100u

void praas_data_moved(struct praas_data *d, struct praas_data_moved *moved)
{
	uint64_t end = praas_now_ns() + ANSWERS_NS;

	praas_process_moved(d->process, true);
	while (praas_process_unsent(d->process) && praas_now_ns() < end)
		(void)praas_data_poll_parts(
			d); /* until they are gone, or long enough */
	praas_process_drop_unsent(d->process);
	praas_session_server_moved(d->sessions, moved->epoch, &moved->where);
	free(moved);
}

/* What a client sends before it knows is read: the end of a socket with something unread in it takes what was sent
 * over it along. */
void praas_data_flush(struct praas_data *d)
{
	const struct timespec pause = { .tv_nsec = LEFT_LOOK_NS };
	uint64_t begin = praas_now_ns();
	unsigned idle = 0;

	while (praas_now_ns() - begin < STOP_GRACE_NS) {
		idle = praas_data_poll_parts(d) > 0 ? 0 : idle + 1;
		(void)praas_data_log_turn(d); /* what may leave */
		if (idle < IDLE_TURNS) {
			praas_pause();
			continue;
		}
		if (!d->sessions || !praas_session_server_left(d->sessions) ||
		    praas_now_ns() - begin >= LEFT_NS)
			break;
		(void)nanosleep(&pause, NULL); /* or less */
	}
}
