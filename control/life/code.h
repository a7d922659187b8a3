/* SPDX-License-Identifier: Apache-2.0
 *
 * Revisions of an application's code: a folder with praas.json and its libraries, copied when it is
 * deployed and never changed afterwards. Whatever becomes of the folder that it was copied from, a
 * process starts with what was deployed, and a deployment that failed leaves the one before.
 */
#ifndef PRAAS_CONTROL_CODE_H
#define PRAAS_CONTROL_CODE_H

#include <stddef.h>
#include <stdint.h>

#define PRAAS_CODE_TEXT_BYTES 400u
#define PRAAS_CODE_DIGEST_BYTES 32u

/* Copies the folder from (absolute) into the new folder to, on the disk when it returns. Links count as
 * the files that they lead to, within the folder. The folder above to is made if need be. ret_digest: of names and contents. 0; -EINVAL it cannot
 * be deployed, and why in ret_text; or an errno that says nothing about the folder. On failure nothing
 * of to is left. Any thread; blocks for the copy. */
int praas_code_copy(const char *from, const char *to,
		    uint8_t ret_digest[PRAAS_CODE_DIGEST_BYTES],
		    char ret_text[PRAAS_CODE_TEXT_BYTES]);

/* Removes a folder with all in it; what is not there is removed. 0; -EIO. */
int praas_code_remove(const char *folder);

#endif
