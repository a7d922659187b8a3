/* SPDX-License-Identifier: Apache-2.0
 *
 * A store as a whole: whether anything is in it, and its end. What is not a folder is known by its objects.
 */
#ifndef PRAAS_CONTROLLER_STORE_WHOLE_H
#define PRAAS_CONTROLLER_STORE_WHOLE_H

#include <stdbool.h>

/* 0; or what the store says. */
int praas_store_exists(const char *url, bool *ret_exists);

/* With all that is in it. 0 also when there is nothing; or what the store says: then some of it is left. */
int praas_store_remove(const char *url);

/* Whether an address can be that of a store, and is short enough for the stores of processes below it. 0; -EINVAL, and
 * *ret_why (static, until the next call of this thread) says why. */
int praas_store_url_check(const char *url, const char **ret_why);

/* The keys that s3:// needs are in the environment, to be found once: afterwards children do not see them. 0; or why
 * not, as s3_credentials.h. */
int praas_store_take_keys(const char *url, const char **ret_why);

#endif
