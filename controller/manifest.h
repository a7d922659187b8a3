/* SPDX-License-Identifier: Apache-2.0
 *
 * praas.json: which functions a code folder has.
 *
 *   {"functions": {"reduce": {"library": "libreduce.so", "symbol": "reduce",
 *        "trigger": {"type": "multi-source", "count": 4, "timeout_ms": 1000},
 *        "concurrency": "serial"}}}
 *
 * library is a path inside the folder; symbol is the function's name when it is left out; trigger
 * is "standard" and concurrency "parallel" ("serial", "serial-per-key") when left out. "then" names
 * the function that its result goes on to, whose result the caller gets; {"function": NAME, "process": NAME}: in that
 * process. A "description" may stand anywhere an object may. Anything else is refused.
 */
#ifndef PRAAS_CONTROLLER_MANIFEST_H
#define PRAAS_CONTROLLER_MANIFEST_H

#include <stddef.h>

#include "controller/json.h"
#include "dataplane/executor.h"

#define PRAAS_MANIFEST_FILE "praas.json"
#define PRAAS_MANIFEST_BYTES_MAX (1024u * 1024u)
#define PRAAS_MANIFEST_FUNCTIONS_MAX 1024u
#define PRAAS_MANIFEST_STAGES_MAX 16u /* functions one after the other, by "then" */

struct praas_manifest {
	struct praas_function
		*functions; /* sorted by name: their numbers are their places */
	uint32_t count;
	uint64_t stamp; /* of praas.json and the libraries, when they were looked at */
};

/* code: absolute path of the folder. Returns 0; -EINVAL and says why in error; -ENOMEM. */
int praas_manifest_parse(const char *text, size_t bytes, const char *code,
			 struct praas_manifest *ret_manifest,
			 char error[PRAAS_JSON_ERROR_MAX]);

/* The same from the folder's praas.json; looks that the libraries are there, too. */
int praas_manifest_load(const char *code, struct praas_manifest *ret_manifest,
			char error[PRAAS_JSON_ERROR_MAX]);

/* The files in the folder are not those that were there then. */
bool praas_manifest_stale(const char *code, const struct praas_manifest *manifest);

/* A zeroed one is allowed. */
void praas_manifest_release(struct praas_manifest *manifest);

#endif
