/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets of the control service: the root key from which every controller's key is derived, the
 * administrator's token, and the tickets made from them. Read-only once opened; any thread.
 */
#ifndef PRAAS_CONTROL_KEYS_H
#define PRAAS_CONTROL_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "control/records/records.h"
#include "transport/ticket.h"

#define PRAAS_HASH_BYTES 32u
#define PRAAS_TOKEN_MIN 16u /* characters of an administrator's token */
#define PRAAS_TOKEN_MAX 1024u

struct praas_keys {
	uint8_t root[PRAAS_KEY_BYTES];
	uint8_t admin_hash
		[PRAAS_HASH_BYTES]; /* SHA-256 of the token; the token is not kept */
};

/* Reads DIR/root.key, or makes it (mode 0600). The token comes from token_file; NULL: from the
 * environment's PRAAS_ADMIN_TOKEN; else from DIR/admin.token, made on first use. 0 or an errno with
 * words in ret_text (256 bytes). */
int praas_keys_open(const char *dir, const char *token_file,
		    struct praas_keys *ret_keys, char *ret_text);
/* Wipes. */
void praas_keys_close(struct praas_keys *keys);

/* Constant in time. */
bool praas_keys_admin(const struct praas_keys *keys, const char *token);

void praas_hash(const void *data, size_t bytes, uint8_t ret_hash[PRAAS_HASH_BYTES]);

/* The id of a tenant, as tickets and slot logs have it: of the root key and his name. */
void praas_keys_tenant(const struct praas_keys *keys, const char *name,
		       uint8_t ret_id[PRAAS_ID_BYTES]);

/* What a ticket is to allow. */
struct praas_grant {
	uint32_t rights; /* enum praas_right bits */
	uint32_t ttl_s;
	uint64_t bytes_max; /* 0: the process's limit */
	praas_pid_t source; /* who he is to the process; 0: one is made up */
};

/* Who a client is to processes: unlike all others. */
praas_pid_t praas_keys_source(void);

/* A ticket for a serving process, as docs/rest.md shows it. endpoints is borrowed. 0; -ENOMEM;
 * -EIO the crypto library failed. */
int praas_keys_ticket(const struct praas_keys *keys, const struct praas_app_record *app,
		      const struct praas_process_record *process, json_t *endpoints,
		      const struct praas_grant *grant, json_t **ret_ticket);

#endif
