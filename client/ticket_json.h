/* SPDX-License-Identifier: Apache-2.0
 *
 * What `POST …/tickets` answers (docs/rest.md), decoded and checked.
 */
#ifndef PRAAS_CLIENT_TICKET_JSON_H
#define PRAAS_CLIENT_TICKET_JSON_H

#include <stdint.h>

#include "praas/types.h"
#include "transport/ticket.h"
#include "transport/transport.h"

#define PRAAS_ENDPOINTS_MAX 8u
#define PRAAS_TICKET_JSON_MAX 65536u

struct praas_ticket_json {
	char process[PRAAS_NAME_MAX + 1];
	char endpoints[PRAAS_ENDPOINTS_MAX][PRAAS_ADDR_MAX];
	uint32_t endpoints_count; /* more than PRAAS_ENDPOINTS_MAX are ignored */
	uint32_t
		lost_epoch; /* the last that ended without a snapshot of its end; 0 none */
	uint8_t ticket[PRAAS_TICKET_BYTES];
	uint8_t session_key[PRAAS_KEY_BYTES];
};

/* 0; -EINVAL, with words for praas_error(). */
int praas_ticket_json_decode(const char *text, struct praas_ticket_json *ret_ticket);

#endif
