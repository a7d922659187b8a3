/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store_open.h"

#include <string.h>

#include "control/say.h"
#include "control/store_check.h"
#include "controller/store/store.h"

int praas_stores_keys(const struct praas_options *o, struct praas_seal_keys *ret_keys)
{
	const char *why = "";
	int rc = o->store_key ? praas_seal_keys_load(o->store_key, ret_keys, &why) : 0;

	if (rc)
		praas_say(PRAAS_SAY_ERROR, "--store-key: %s", why);
	ret_keys->refuse_clear =
		o->store_clear && strcmp(o->store_clear, "refuse") == 0;
	return rc;
}

int praas_stores_try(const char *url)
{
	struct praas_store *store;
	int rc = praas_store_open(url, &store);

	if (rc) {
		praas_say(PRAAS_SAY_ERROR, "cannot open the store of snapshots %s: %s",
			  url, strerror(-rc));
		return rc;
	}
	rc = praas_store_probe(store);
	if (rc == 0 && store->weak[0])
		praas_say(PRAAS_SAY_WARNING,
			  "what the store of snapshots acknowledges is not durable: %s",
			  store->weak);
	if (rc && store->why[0])
		praas_say(PRAAS_SAY_ERROR, "the store of snapshots: %s", store->why);
	if (rc)
		praas_say(PRAAS_SAY_ERROR, "cannot use the store of snapshots %s: %s",
			  url, strerror(-rc));
	praas_store_free(store);
	return rc;
}

int praas_stores_check(const struct praas_options *o)
{
	struct praas_seal_keys keys = { .count = 0 };
	int rc = praas_stores_keys(o, &keys);

	rc = rc ? 1 : praas_check_stores(o->check_store, &keys, o->json);
	praas_seal_keys_wipe(&keys);
	return rc;
}
