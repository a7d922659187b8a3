/* SPDX-License-Identifier: Apache-2.0
 *
 * uthash, with a lack of memory that is an error of one addition: as it comes it ends the program.
 */
#ifndef PRAAS_CONTROL_TABLE_H
#define PRAAS_CONTROL_TABLE_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* After HASH_ADD…(): whether the element is in the table; else the table is as it was. */
#define PRAAS_TABLE_HAS(handle, element) ((element)->handle.tbl != NULL)

#endif
