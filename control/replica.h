/* SPDX-License-Identifier: Apache-2.0
 *
 * One of several control services with one data folder on one machine, as the others see it: a file in the folder,
 * locked as long as it lives. So one that waits for the records knows at once when who has them was killed; only for
 * one that stands still does it have to wait until the lease has run out.
 */
#ifndef PRAAS_CONTROL_REPLICA_H
#define PRAAS_CONTROL_REPLICA_H

#include <stdbool.h>

#define PRAAS_REPLICA_PLACE 33u /* bytes of a place: 32 hexadecimal digits */

struct praas_replica {
	char data[4096];
	char folder[PRAAS_REPLICA_PLACE]; /* the place of a service that has it alone */
	char place
		[PRAAS_REPLICA_PLACE]; /* ours: its first half, and what nobody else has */
	int fd;                        /* -1: there is none */
};

/* folder: 32 hexadecimal digits that name the folder and the machine. 0; an errno. */
int praas_replica_open(const char *data, const char *folder,
		       struct praas_replica *ret_replica);
/* Others see that it has ended. One that was never opened (fd -1) is allowed. */
void praas_replica_close(struct praas_replica *replica);
/* Whether the owner of records ("PLACE:…") has ended. 1; 0 it lives; -EXDEV it is of another folder or machine:
 * nobody here can know; an errno. The caller has the lock that keeps services without others out of the folder. */
int praas_replica_ended(const struct praas_replica *replica, const char *owner);
/* Whether any other lives. */
bool praas_replica_others(const struct praas_replica *replica);

#endif
