/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRAAS_CONTROL_SELF_H
#define PRAAS_CONTROL_SELF_H

/* Before anything secret is read: as many descriptors as we may have, and nothing of us for others of
 * our user, nor on the disk when we die. 0; an errno, said. */
int praas_self_prepare(void);

#endif
