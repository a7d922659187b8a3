/* SPDX-License-Identifier: Apache-2.0
 *
 * Applications as bodies of requests and answers, and the folders that they name.
 */
#ifndef PRAAS_CONTROL_APP_BODY_H
#define PRAAS_CONTROL_APP_BODY_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "control/json.h"
#include "control/records/records.h"

struct praas_request;

/* Members that are given replace what app has; all are among known. false: error says what is wrong. */
bool praas_app_take(json_t *object, const char *const *known,
		    struct praas_app_record *app, struct praas_json_error *error);
/* Answers so. */
void praas_app_refuse(struct praas_request *rq, const struct praas_json_error *error);
/* Whether this service can keep what the application asks for; false: it is answered. */
bool praas_app_durable(struct praas_request *rq, const struct praas_app_record *app);
/* The same, when it has too little memory to hold state beyond it. */
bool praas_app_state(struct praas_request *rq, const struct praas_app_record *app);
/* The folder must hold a praas.json that names functions, and their libraries. 0; -EINVAL: text says what
 * is wrong; else an errno of ours. strict: the libraries must look like some. */
int praas_app_code_check(const char *code, bool strict, char *ret_text, size_t bytes);
/* NULL: no memory. */
json_t *praas_app_json(const struct praas_app_record *app);

#endif
