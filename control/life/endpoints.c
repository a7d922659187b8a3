/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/endpoints.h"

#include <string.h>

#include <jansson.h>

#include "control/records/records.h"

void praas_endpoints_far(char *endpoints)
{
	json_t *list = endpoints[0] ? json_loads(endpoints, 0, NULL) : NULL;
	size_t bytes = 0;

	for (size_t i = json_array_size(list); i-- > 0;) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text && strncmp(text, "shm:", 4) == 0)
			(void)json_array_remove(list, i); /* it is there */
	}
	if (list)
		bytes = json_dumpb(list, endpoints, PRAAS_ENDPOINTS_BYTES - 1,
				   JSON_COMPACT);
	endpoints[bytes < PRAAS_ENDPOINTS_BYTES ? bytes : 0] =
		0; /* not longer than it was */
	json_decref(list);
}
