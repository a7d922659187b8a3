/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of a control service as its program has them, opened in their order and closed in the reverse one; and
 * the time in which one of several services has none of the records, and waits for them (standby.c).
 */
#ifndef PRAAS_CONTROL_PARTS_H
#define PRAAS_CONTROL_PARTS_H

#include <signal.h>
#include <stdbool.h>

#include "control/options.h"
#include "control/replica.h"
#include "control/rest/rest.h"
#include "control/service.h"

#define PRAAS_PARTS_PATH 4096 /* realpath() wants PATH_MAX */

#define PRAAS_EXIT_FENCED                                                              \
	3 /* another service has the records: whoever starts this one again has one more that stands by */

struct praas_parts {
	struct praas_service service;
	struct praas_rest *rest; /* NULL: REST is not open yet */
	char data[PRAAS_PARTS_PATH], run[PRAAS_PARTS_PATH];
	char controller[PRAAS_PARTS_PATH], worker[PRAAS_PARTS_PATH];
	int lock_fd;
	char log_dir[PRAAS_PARTS_PATH + 8], store_url[PRAAS_PARTS_PATH + 32];
	const struct praas_options *options;
	sigset_t signals; /* that are blocked, and waited for */
	/* One of several; lease.ms 0: it is the only one. */
	struct praas_replica replica;
	struct praas_lease lease;
	bool stands_by; /* it has announced itself, and waits */
};

#define PRAAS_PARTS_NONE                                                               \
	{                                                                              \
		.lock_fd = -1, .replica.fd = -1                                        \
	}

/* All of them: it is active then. 0; -ECANCELED it was told to end while it stood by; what went wrong was told. */
int praas_parts_open(struct praas_parts *parts);
/* served: it was active. Then processes are swapped out, unless another service is there to take them over. */
void praas_parts_close(struct praas_parts *parts, bool served);

/* For the files of the parts. Says what failed; returns rc. */
int praas_parts_complain(const char *what, const char *which, int rc);
int praas_parts_open_rest(struct praas_parts *parts);
/* The line that tells where it answers: on stdout and --ready-fd. */
int praas_parts_announce(const struct praas_parts *parts);
/* The same for who finds the folder's lock held; of who is active. */
int praas_parts_note(const struct praas_parts *parts);
/* Until a signal, or for ns (0: for ever). Looks at certificates meanwhile, about once a second. Returns true: it is to end. */
bool praas_parts_wait(const struct praas_parts *parts, long ns);

/* standby.c. What a lease calls while another has the records; user: the parts. */
int praas_standby_busy(void *parts, const char *owner, const char *why);
/* They were lost: ends the program. */
void praas_standby_lost(void *parts);
/* All is open: requests are no more passed on, but taken. 0; an errno. */
int praas_standby_over(struct praas_parts *parts);
/* Whether another service is there that will take over, now that this one has been told to end. Waits for a moment: all of
 * them may have been told. */
bool praas_standby_heir(const struct praas_parts *parts);

#endif
