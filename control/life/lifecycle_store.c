/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a process is in the store: where it is, what its slot log says, its end there.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/names.h"
#include "controller/store/sealed.h"
#include "controller/store/slot_log.h"
#include "controller/store/store.h"
#include "controller/store/whole.h"

#define TOMB_TRIES 4

void praas_life_store_url(const struct praas_life *life,
			  const struct praas_process_record *record,
			  char ret_url[2 * PRAAS_LIFE_PATH_BYTES])
{
	char app[2 * PRAAS_RECORD_ID_BYTES + 1], below[sizeof(app) + 40];

	praas_hex_encode(record->app, sizeof(record->app), app);
	(void)snprintf(below, sizeof(below), "%s/%llu-%u", app,
		       (unsigned long long)record->number, record->generation);
	(void)praas_store_url_below(life->store_url, below, ret_url,
				    2 * PRAAS_LIFE_PATH_BYTES); /* was checked */
}

int praas_life_new_generation(struct praas_life *life,
			      struct praas_process_record *record)
{
	struct praas_records *records = life->config.records;
	uint32_t generation = record->generation;
	char url[2 * PRAAS_LIFE_PATH_BYTES];
	bool there = false;
	int rc;

	for (;; record->generation++) { /* as many as were made, at most */
		praas_life_store_url(life, record, url);
		rc = praas_store_exists(url, &there);
		if (rc || !there)
			break;
	}
	if (rc || record->version == 0 || record->generation == generation)
		return rc;
	rc = records->queue->drop(records, record->number); /* it was for another */
	return rc ? rc : records->ops->process_put(records, record);
}

bool praas_life_store_gone(const struct praas_life_process *p)
{
	char url[2 * PRAAS_LIFE_PATH_BYTES];
	bool there = false;

	if (p->record.slot < 0)
		return false;
	praas_life_store_url(p->life, &p->record, url);
	return praas_store_exists(url, &there) == 0 && !there;
}

/* What it is made of never changes: no lock is needed. */
static struct praas_slot_id log_id(const struct praas_life *life,
				   const struct praas_process_record *record,
				   const char *tenant)
{
	struct praas_slot_id id = { .pid = record->number,
				    .generation = record->generation };

	praas_keys_tenant(life->config.keys, tenant, id.tenant);
	return id;
}

int praas_life_open_store(const struct praas_life *life,
			  const struct praas_process_record *record, const char *tenant,
			  struct praas_store **ret_store)
{
	struct praas_slot_id id = log_id(life, record, tenant);
	char url[2 * PRAAS_LIFE_PATH_BYTES];
	struct praas_store *store;
	int rc;

	praas_life_store_url(life, record, url);
	rc = praas_store_open(url, &store);
	return rc ? rc
		  : praas_store_seal(store, life->config.seal_keys, &id, ret_store);
}

/* Opening a file store would make it. */
static bool folder_is_missing(const char *url)
{
	bool there = true;

	return strncmp(url, "file:", 5) == 0 && praas_store_exists(url, &there) == 0 &&
	       !there;
}

int praas_life_open_log(const struct praas_life *life,
			const struct praas_process_record *record, const char *tenant,
			struct praas_store **ret_store, struct praas_slot_log *ret_log)
{
	struct praas_slot_id id = log_id(life, record, tenant);
	char url[2 * PRAAS_LIFE_PATH_BYTES];
	int rc;

	praas_life_store_url(life, record, url);
	if (folder_is_missing(url))
		return -ENOENT;
	rc = praas_life_open_store(life, record, tenant, ret_store);
	if (rc)
		return rc;
	rc = praas_slot_log_open(*ret_store, &id, ret_log);
	if (rc)
		praas_store_free(*ret_store);
	return rc;
}

static struct praas_owner_log facts(const struct praas_slot_log *log)
{
	return (struct praas_owner_log){ .epoch = log->epoch_max,
					 .released =
						 praas_slot_releases(log->last_kind),
					 .tomb = log->tomb };
}

int praas_life_read_log(const struct praas_life_process *p,
			struct praas_owner_log *ret_log)
{
	struct praas_store *store;
	struct praas_slot_log log;
	int rc = praas_life_open_log(p->life, &p->record, p->app.tenant, &store, &log);

	if (rc)
		return rc;
	*ret_log = facts(&log);
	praas_store_free(store);
	return 0;
}

/* Fences every epoch that there was: whoever still writes finds the tombstone and stops. */
static int put_tomb(const struct praas_life_process *p,
		    const struct praas_process_record *record)
{
	struct praas_slot_entry *entry = calloc(1, sizeof(*entry));
	struct praas_owner owner = { .epoch = record->epoch };
	struct praas_slot_id id = log_id(p->life, record, p->app.tenant);
	struct praas_owner_log seen;
	struct praas_slot_log log;
	struct praas_store *store;
	int rc;

	if (!entry)
		return -ENOMEM;
	rc = praas_life_open_store(p->life, record, p->app.tenant, &store);
	if (rc) {
		free(entry);
		return rc;
	}
	for (int i = 0; i < TOMB_TRIES; i++) {
		rc = praas_slot_log_open(store, &id, &log);
		if (rc || log.tomb)
			break;
		seen = facts(&log);
		*entry = (struct praas_slot_entry){ .kind = PRAAS_SLOT_TOMB };
		entry->epoch = praas_owner_next_epoch(&owner, &seen);
		rc = praas_slot_log_put(&log, entry);
		if (rc != -ESTALE)
			break; /* else somebody got in between */
	}
	praas_store_free(store);
	free(entry);
	return rc;
}

bool praas_life_journals(const struct praas_life *life)
{
	const struct praas_seal_keys *keys = life->config.seal_keys;

	return praas_store_folder(life->store_url) && (!keys || keys->count == 0);
}

uint64_t praas_life_state_memory(const struct praas_life *life)
{
	const char *at = life->data_listen;
	uint64_t count = *at != '\0';

	for (; (at = strchr(at, ',')) != NULL; at++)
		count++;
	if (strstr(life->data_listen, PRAAS_DATA_LISTEN_AUTO))
		count += PRAAS_DATA_LISTEN_AUTOS - 1;
	return PRAAS_LIMIT_STATE_MEMORY_BYTES + count * PRAAS_LIMIT_STATE_ADDRESS_BYTES;
}

void praas_life_drop_store(const struct praas_life *life,
			   const struct praas_process_record *record)
{
	char url[2 * PRAAS_LIFE_PATH_BYTES];

	praas_life_store_url(life, record, url);
	(void)praas_store_remove(
		url); /* what is left takes room, and is in nobody's way */
}

int praas_life_erase_store(const struct praas_life_process *p,
			   const struct praas_process_record *record)
{
	char url[2 * PRAAS_LIFE_PATH_BYTES];
	bool there = false;
	int rc;

	praas_life_store_url(p->life, record, url);
	rc = praas_store_exists(url, &there);
	if (rc || !there)
		return rc; /* it never wrote anything */
	rc = put_tomb(p, record);
	if (rc && rc != -EPROTO) /* a damaged log goes with the rest */
		return rc;
	return praas_store_remove(url);
}
