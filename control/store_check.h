/* SPDX-License-Identifier: Apache-2.0
 *
 * praas-control --check-store URL, which is praas doctor --store URL: whether the stores of processes below an address
 * are whole. Nothing is changed, and a service may run on them.
 */
#ifndef PRAAS_CONTROL_STORE_CHECK_H
#define PRAAS_CONTROL_STORE_CHECK_H

#include <stdbool.h>

#include "controller/store/seal_keys.h"

/* keys: that stores are sealed with. Prints what it finds: lines, or one JSON document. Returns an exit code: 0 all is whole (what nobody needs is told,
 * and no damage), 1 something is missing, corrupt or unreadable, or could not be looked at, 4 there is no such
 * store, 5 refused. */
int praas_check_stores(const char *url, const struct praas_seal_keys *keys, bool json);

#endif
