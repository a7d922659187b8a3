/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the common suite share: one rig, of the transport under test.
 */
#ifndef PRAAS_TEST_TRANSPORT_SUITE_H
#define PRAAS_TEST_TRANSPORT_SUITE_H

#include "rig.h"

extern const struct scheme *scheme; /* under test */
extern struct rig rig;

/* ends.c: connections that end, in order or not. */
void test_transport_close_during_send(void **state);
void test_transport_close_after_flush(void **state);
void test_transport_half_close(void **state);
void test_transport_answers_before_the_end(void **state);
void test_transport_reconnects(void **state);

#endif
