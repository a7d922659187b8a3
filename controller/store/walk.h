/* SPDX-License-Identifier: Apache-2.0
 *
 * The stores of processes below one address: APPLICATION/NUMBER-GENERATION, or the address itself.
 */
#ifndef PRAAS_CONTROLLER_STORE_WALK_H
#define PRAAS_CONTROLLER_STORE_WALK_H

#include "controller/store/store.h"

/* Tells fn where each is, below url ("": url itself is one). Those that come or go meanwhile may be told or not.
 * 0; -EINVAL no address of a store; -ENOENT there is no such folder; what fn returned; or what the store says, then
 * ret_why has its words. */
int praas_store_walk(const char *url, praas_store_list_fn fn, void *user,
		     char ret_why[PRAAS_STORE_WHY_BYTES]);

#endif
