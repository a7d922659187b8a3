/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole file, or what a descriptor gives until its end, in memory; bounded.
 */
#ifndef PRAAS_CONTROLLER_FILE_H
#define PRAAS_CONTROLLER_FILE_H

#include <stddef.h>

/* ret_text: malloc'd, NUL-terminated, the caller's. 0; -EMSGSIZE more than bytes_max; errno. */
int praas_file_read(const char *path, size_t bytes_max, char **ret_text,
		    size_t *ret_bytes);
int praas_file_read_fd(int fd, size_t bytes_max, char **ret_text, size_t *ret_bytes);

#endif
