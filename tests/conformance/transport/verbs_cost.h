/* SPDX-License-Identifier: Apache-2.0
 * What the tests of verbs alone share (verbs.c), and those of what a call costs (verbs_cost.c). */
#ifndef PRAAS_TEST_TRANSPORT_VERBS_COST_H
#define PRAAS_TEST_TRANSPORT_VERBS_COST_H

#include "rig.h"

#include "transport/verbs_port.h"

#define LARGE (24u << 20)

extern const struct scheme verbs_scheme;
extern struct rig verbs_rig;

struct praas_verbs_stats verbs_stats(const struct praas_port *port);

void test_verbs_one_post_a_message(void **state);
void test_verbs_sealed_is_one_post_too(void **state);
void test_verbs_polls_without_system_calls(void **state);
void test_verbs_queued_messages_are_one_post(void **state);
void test_verbs_large_is_not_copied(void **state);
void test_verbs_many_connections_take_less_memory(void **state);
void test_verbs_queues_at_every_place(void **state);
void test_verbs_copies_what_nobody_vouches_for(void **state);

#endif
