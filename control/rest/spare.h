/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of requests, kept for the next ones: it is more than what malloc() keeps at hand.
 */
#ifndef PRAAS_CONTROL_SPARE_H
#define PRAAS_CONTROL_SPARE_H

struct praas_request;

/* Any thread. Zeros; NULL: no memory. */
struct praas_request *praas_spare_take(void);
void praas_spare_give(struct praas_request *rq);
/* When none will be asked for any more. */
void praas_spare_end(void);

#endif
