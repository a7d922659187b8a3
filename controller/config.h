/* SPDX-License-Identifier: Apache-2.0
 *
 * The start configuration of a controller (docs/control-link.md): read once, checked to the last
 * member, constant afterwards.
 */
#ifndef PRAAS_CONTROLLER_CONFIG_H
#define PRAAS_CONTROLLER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/json.h"
#include "controller/store/s3_credentials.h"
#include "controller/store/seal_keys.h"
#include "controller/store/store.h"
#include "praas/types.h"
#include "shm/doorbell.h"
#include "transport/ticket.h"
#include "transport/transport.h"

#define PRAAS_CONFIG_BYTES_MAX (1024u * 1024u)
#define PRAAS_CONFIG_LISTEN_MAX 8u
#define PRAAS_CONFIG_PATH_MAX 255u
#define PRAAS_CONFIG_LOG_MAX 4200u
#define PRAAS_MEMORY_BYTES_MIN (8ull << 20)
#define PRAAS_MEMORY_BYTES_MAX (1ull << 42)
#define PRAAS_STATE_BYTES_MAX (1ull << 44)

enum praas_durability {
	PRAAS_DURABILITY_SWAP = 0, /* as the last snapshot has it */
	PRAAS_DURABILITY_JOURNAL, /* what is put or sent is acknowledged when it is durable */
	PRAAS_DURABILITY_GATE /* and nothing leaves the process before that */
};

struct praas_config {
	/* Only what follows from the application is known: a controller is made ready, and told later
	 * which process it is. */
	bool prepare;
	uint8_t tenant[PRAAS_ID_BYTES], app_id[PRAAS_ID_BYTES],
		controller_id[PRAAS_ID_BYTES];
	char app[PRAAS_NAME_MAX + 1], process[PRAAS_NAME_MAX + 1];
	praas_pid_t pid;
	uint64_t generation;
	uint32_t epoch;
	uint8_t controller_key[PRAAS_KEY_BYTES];
	char join_token[2 * PRAAS_KEY_BYTES + 1]; /* passed on as it came */
	char link[PRAAS_CONFIG_PATH_MAX +
		  1]; /* path of the socket; "": no link (tests) */
	char store[PRAAS_STORE_URL_MAX + 1];
	bool has_store_keys; /* else the store's own way to find some */
	struct praas_s3_credentials store_keys;
	struct praas_seal_keys seal_keys; /* of what is stored; none: it is in clear */
	char node
		[PRAAS_NAME_MAX +
		 1]; /* on which it runs, as the control service calls it; "": not said */
	uint64_t upload_s; /* that a snapshot may take to be written; 0: any time */
	char code[PRAAS_CONFIG_PATH_MAX + 1];
	char worker[PRAAS_CONFIG_PATH_MAX + 1]; /* program; "": beside ours */
	char listen[PRAAS_CONFIG_LISTEN_MAX][PRAAS_ADDR_MAX];
	unsigned listen_count;
	uint32_t
		listen_weak; /* bit i: listen[i] is left out when it cannot be opened */
	bool isolation_inline;
	uint64_t memory_bytes;
	uint64_t
		state_bytes; /* of all state; what has no memory lies in the store. 0: as memory_bytes, and all
				* of it is in memory */
	uint32_t vcpu_milli; /* 0: no limit */
	enum praas_durability
		durability; /* of what is acknowledged (docs/journal.md) */
	uint32_t concurrency;
	uint32_t tasks_max; /* of one worker */
	uint64_t bytes_max;
	enum praas_wait_mode wait;
	bool allow_weak_sandbox;
	uint32_t cgroup_version; /* 0: none given */
	char cgroup_path[PRAAS_CONFIG_PATH_MAX + 1];
	char log[PRAAS_CONFIG_LOG_MAX + 1]; /* file of ours; "": where stderr is */
	bool fresh;
	/* The state of the process comes from the controller that serves it, which listens there. "": from the
	 * store. */
	char move_at[PRAAS_CONFIG_PATH_MAX + 1];
	uint8_t move_secret[PRAAS_KEY_BYTES];
	uint64_t drain_ms; /* T_drain */
};

/* 0; -EINVAL and error says what is wrong. */
int praas_config_parse(const char *text, size_t bytes, struct praas_config *ret_config,
		       char error[PRAAS_JSON_ERROR_MAX]);

/* A controller that was prepared with one can be given the other. */
bool praas_config_fits(const struct praas_config *prepared,
		       const struct praas_config *config);

/* Overwrites the secrets: when they have been handed to who needs them. */
void praas_config_wipe(struct praas_config *config);

#endif
