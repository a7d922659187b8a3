/* SPDX-License-Identifier: Apache-2.0
 *
 * Invocations that a thread of HTTP began while it looked at its sockets once. They are under way
 * together on one connection, so that a worker which shares our core gets it once for all of them, and the
 * audit log gets their lines with one write. The first that libmicrohttpd shows to us again waits for
 * all; what takes longer is ended by one job. All but that job is of the thread that began them.
 */
#ifndef PRAAS_CONTROL_BURST_H
#define PRAAS_CONTROL_BURST_H

#include <stdbool.h>

#include "praas/client.h"

struct praas_burst;
struct praas_request;

/* For an invocation of rq->wait.record, which counts as a call of that process: one to submit it on, the
 * last begun or a new one; NULL: no connection is kept on which functions were quick lately. */
struct praas_burst *praas_burst_open(struct praas_request *rq);
praas_connection *praas_burst_connection(const struct praas_burst *burst);
/* rq->call was submitted: its end is the burst's. */
void praas_burst_add(struct praas_burst *burst, struct praas_request *rq);
/* It was not; good: the connection can be used again. */
void praas_burst_refuse(struct praas_burst *burst, bool good);

/* libmicrohttpd shows a request again: waits for all, unless more come. true: it was answered; false: it
 * will be shown again, or its connection is suspended and a job answers it. */
bool praas_burst_look(struct praas_request *rq);

/* Its client is gone while it is under way: it ends without him, and with itself. */
void praas_burst_orphan(struct praas_request *rq);

#endif
