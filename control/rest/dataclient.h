/* SPDX-License-Identifier: Apache-2.0
 *
 * The data plane for REST: connections of libpraas, kept per process while its epoch lasts, each
 * used by one request at a time.
 */
#ifndef PRAAS_CONTROL_DATACLIENT_H
#define PRAAS_CONTROL_DATACLIENT_H

#include <stdint.h>

#include "control/node/nodes.h"
#include "control/records/records.h"
#include "control/tenants/keys.h"
#include "praas/client.h"

struct praas_data;

/* keys and nodes are borrowed until free. 0; -ENOMEM. */
int praas_data_new(const struct praas_keys *keys, const struct praas_nodes *nodes,
		   struct praas_data **ret_data);
void praas_data_free(struct praas_data *data);

/* A connection of one's own to a serving process. fresh: not one that was used before.
 * 0; -ECONNREFUSED it does not serve any more; -ETIMEDOUT; -EACCES; another errno. */
int praas_data_lease(struct praas_data *data, const struct praas_app_record *app,
		     const struct praas_process_record *process, bool fresh,
		     praas_connection **ret_conn);
/* One that is kept, if the last call on it was quick; else NULL. Never waits. */
praas_connection *praas_data_quick(struct praas_data *data,
				   const struct praas_process_record *process);
/* good: it can be used again. quick: a call on it took no time to speak of. */
void praas_data_return(struct praas_data *data,
		       const struct praas_process_record *process,
		       praas_connection *conn, bool good, bool quick);

#endif
