/* SPDX-License-Identifier: Apache-2.0 */
#include "control/records/records.h"
#include "redis/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ERROR_TEXT 256u

const char *praas_life_state_text(enum praas_life_state state)
{
	static const char *const texts[] = {
		[PRAAS_LIFE_SWAPPED] = "SWAPPED",
		[PRAAS_LIFE_ACTIVATING] = "ACTIVATING",
		[PRAAS_LIFE_ACTIVE] = "ACTIVE",
		[PRAAS_LIFE_DRAINING] = "DRAINING",
		[PRAAS_LIFE_LOST] = "LOST",
		[PRAAS_LIFE_KILLED] = "KILLED",
		[PRAAS_LIFE_DELETING] = "DELETING",
		[PRAAS_LIFE_MIGRATING] = "MIGRATING",
	};

	if ((unsigned)state >= sizeof(texts) / sizeof(texts[0]) || !texts[state])
		return "UNKNOWN";
	return texts[state];
}

int praas_records_open(const char *url, const char *place,
		       struct praas_records **ret_records, char *ret_text)
{
	static const char sqlite[] = "sqlite://";

	if (!strcmp(url, "memory:"))
		return praas_records_memory_open(ret_records);
	if (!strncmp(url, sqlite, sizeof(sqlite) - 1) && url[sizeof(sqlite) - 1] == '/')
		return praas_records_sqlite_open(url + sizeof(sqlite) - 1, ret_records,
						 ret_text);
	if (praas_redis_url_is(url))
		return praas_records_redis_open(url, place, NULL, ret_records,
						ret_text);
	(void)snprintf(ret_text, ERROR_TEXT,
		       "no store of this kind: %.120s (sqlite:///FILE, redis://HOST, "
		       "rediss://HOST, redis+unix:///SOCKET or memory:)",
		       url);
	return -EINVAL;
}

bool praas_records_shareable(const char *url)
{
	return praas_redis_url_is(url);
}

int praas_records_open_shared(const char *url, const char *place,
			      struct praas_lease *lease,
			      struct praas_records **ret_records, char *ret_text)
{
	if (praas_records_shareable(url))
		return praas_records_redis_open(url, place, lease, ret_records,
						ret_text);
	(void)snprintf(ret_text, ERROR_TEXT,
		       "only records in a Redis can be shared, not %.120s", url);
	return -EINVAL;
}
