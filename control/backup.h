/* SPDX-License-Identifier: Apache-2.0
 *
 * A copy of what the control service must not forget, taken while it runs or not: records as of one
 * moment, and the keys without which they are worth nothing.
 */
#ifndef PRAAS_CONTROL_BACKUP_H
#define PRAAS_CONTROL_BACKUP_H

/* Copies what is in the data folder from into the folder to, which must not be there, or be empty.
 * What is there afterwards is complete and on the disk; on failure nothing is. 0; -ENOENT from has
 * no records; -ENOTEMPTY; an errno. ret_text (256 bytes) tells why. */
int praas_backup(const char *from, const char *to, char *ret_text);

#endif
