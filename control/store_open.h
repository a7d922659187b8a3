/* SPDX-License-Identifier: Apache-2.0
 *
 * The store of snapshots as praas-control was told of it: its keys, whether it can be used, whether it is whole.
 */
#ifndef PRAAS_CONTROL_STORE_OPEN_H
#define PRAAS_CONTROL_STORE_OPEN_H

#include "control/options.h"
#include "controller/store/seal_keys.h"

/* What seals what is stored; none: it is in clear. 0; or why not, which was told. */
int praas_stores_keys(const struct praas_options *o, struct praas_seal_keys *ret_keys);

/* What it says goes wrong later would cost processes: so it is tried now. 0; or why not, which was told. */
int praas_stores_try(const char *url);

/* --check-store: an exit code. */
int praas_stores_check(const struct praas_options *o);

#endif
