/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses of a process, as they are told.
 */
#ifndef PRAAS_CONTROL_ENDPOINTS_H
#define PRAAS_CONTROL_ENDPOINTS_H

/* For who is not on its node: endpoints (JSON text, PRAAS_ENDPOINTS_BYTES) without those of shared memory; "" when it
 * is no list, or there is no memory. */
void praas_endpoints_far(char *endpoints);

#endif
