/* SPDX-License-Identifier: Apache-2.0
 *
 * /v1/openapi.json: OpenAPI 3.1, made of a table of routes.
 */
#ifndef PRAAS_CONTROL_OPENAPI_H
#define PRAAS_CONTROL_OPENAPI_H

#include <jansson.h>

#include "control/rest/router.h"

/* NULL: no memory. */
json_t *praas_openapi(const struct praas_route *routes);

#endif
