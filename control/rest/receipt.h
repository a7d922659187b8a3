/* SPDX-License-Identifier: Apache-2.0
 *
 * Who has a message that is received through REST. It is held in its mailbox, where nobody else is given it,
 * until its answer was handed to a client who is still there, or is kept for his Idempotency-Key. Else the
 * connection that it is held on ends, and it is there for the next one, in its place: it may be received
 * twice, but is not lost.
 */
#ifndef PRAAS_CONTROL_RECEIPT_H
#define PRAAS_CONTROL_RECEIPT_H

#include <stdbool.h>

#include "praas/client.h"

struct praas_request;

struct praas_receipt {
	praas_connection *conn; /* that it is held on; NULL: there is no receipt */
	struct praas_msg_held held;
	bool counts; /* among the calls of its process */
	int fd; /* the client's socket, while it is not known whether he is there */
	struct praas_request *next; /* of all that are open */
};

/* It was received for rq, on a connection that stays rq's. */
void praas_receipt_open(struct praas_request *rq, praas_connection *conn,
			const struct praas_msg_held *held);
/* It is taken out of its mailbox. Blocks. */
void praas_receipt_take(struct praas_request *rq);
/* It stays there. */
void praas_receipt_drop(struct praas_request *rq);
/* Its answer was sent on that socket, which is the caller's: a job ends the receipt, and the request. */
void praas_receipt_sent(struct praas_request *rq, int fd);
/* Those of rq's process whose answers have left are waited for, for a moment: who has a message does not meet it
 * again in a snapshot that he asks for next. From a job. */
void praas_receipts_settle(const struct praas_request *rq);

#endif
