/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/data_listen.h"

#include <string.h>

#include "control/limits.h"

/* What does not encrypt by itself, and can be made to. */
static const char *const clear[] = { "verbs", "ofi" };
#define CLEARS (sizeof(clear) / sizeof(clear[0]))

static bool is_auto(const char *item, size_t bytes)
{
	return bytes == strlen(PRAAS_DATA_LISTEN_AUTO) &&
	       strncmp(item, PRAAS_DATA_LISTEN_AUTO, bytes) == 0;
}

/* Bytes of the scheme of an address that is in clear; 0: it is not. */
static size_t clear_scheme(const char *item)
{
	for (size_t i = 0; i < CLEARS; i++) {
		size_t bytes = strlen(clear[i]);

		if (strncmp(item, clear[i], bytes) == 0 &&
		    strncmp(item + bytes, "://", 3) == 0)
			return bytes;
	}
	return 0;
}

static int add(json_t *list, const char *item, size_t bytes, bool tls)
{
	size_t scheme = tls ? clear_scheme(item) : 0;

	if (scheme == 0)
		return json_array_append_new(list, json_stringn(item, bytes));
	return json_array_append_new(list, json_sprintf("%.*s+sealed%.*s", (int)scheme,
							item, (int)(bytes - scheme),
							item + scheme));
}

/* What "auto" stands for: devices at the node's address, if there are any. dpdk has to be told which
 * device is for it alone. */
static int add_autos(json_t *list, const struct praas_node *node, bool six)
{
	static const char *const schemes[PRAAS_DATA_LISTEN_AUTOS] = { "verbs://",
								      "ofi://efa@" };
	char item[sizeof(node->listen) + 32];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < PRAAS_DATA_LISTEN_AUTOS; i++) {
		int n = snprintf(item, sizeof(item), six ? "%s[%s]:0?" : "%s%s:0?",
				 schemes[i], node->listen);

		rc = add(list, item, (size_t)n, node->tls);
	}
	return rc;
}

json_t *praas_listen_list(const struct praas_node *node, const char *more,
			  const char *socket)
{
	bool six = strchr(node->listen, ':') != NULL;
	json_t *list = json_pack("[o,o]",
				 json_sprintf(six ? "%s://[%s]:0" : "%s://%s:0",
					      node->tls ? "tls" : "tcp", node->listen),
				 json_sprintf("shm://%s", socket));

	if (node->netns[0])
		more = "";
	while (list && *more) {
		size_t bytes = strcspn(more, ",");
		int rc = is_auto(more, bytes) ? add_autos(list, node, six)
					      : add(list, more, bytes, node->tls);

		if (rc) {
			json_decref(list);
			return NULL;
		}
		more += bytes + (more[bytes] == ',');
	}
	return list;
}

const char *praas_listen_clear(const char *list, size_t *ret_bytes)
{
	while (*list) {
		size_t bytes = strcspn(list, ",");

		if (clear_scheme(list) || is_auto(list, bytes)) {
			*ret_bytes = bytes;
			return list;
		}
		list += bytes + (list[bytes] == ',');
	}
	return NULL;
}
