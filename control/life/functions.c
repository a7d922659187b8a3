/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/functions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/names.h"
#include "internal/base.h"

#define TOLD_STEP 16u
#define NUMBERS 5u               /* behind the name */
#define SUM_MAX (UINT64_MAX / 4) /* no row goes round */

struct told {
	char function[PRAAS_NAME_MAX + 1];
	uint32_t row; /* of the rows; 0: the one without names */
	struct praas_function_totals sums;
};

struct praas_functions_told {
	uint64_t seq; /* of the last message */
	uint32_t count;
	struct told *functions; /* room for whole steps */
};

struct praas_functions {
	uint32_t count; /* at least 1 */
	struct praas_function_row rows[PRAAS_FUNCTIONS_ROWS_MAX + 1];
};

struct praas_functions *praas_functions_new(void)
{
	struct praas_functions *f = calloc(1, sizeof(*f));

	if (f)
		f->count = 1;
	return f;
}

void praas_functions_free(struct praas_functions *f)
{
	free(f);
}

void praas_functions_epoch(struct praas_functions_told **told)
{
	if (*told)
		free((*told)->functions);
	free(*told);
	*told = NULL;
}

/* ---- rows ---- */

static uint32_t row_of(struct praas_functions *f, const char *tenant, const char *app,
		       const char *function)
{
	struct praas_function_row *r;
	uint32_t tenants = 0;

	for (uint32_t i = 1; i < f->count; i++) {
		r = &f->rows[i];
		if (strcmp(r->tenant, tenant) != 0)
			continue;
		tenants++;
		if (strcmp(r->app, app) == 0 && strcmp(r->function, function) == 0)
			return i;
	}
	if (tenants >= PRAAS_FUNCTIONS_TENANT_MAX ||
	    f->count > PRAAS_FUNCTIONS_ROWS_MAX)
		return 0;
	r = &f->rows[f->count];
	(void)snprintf(r->tenant, sizeof(r->tenant), "%s", tenant); /* names fit */
	(void)snprintf(r->app, sizeof(r->app), "%s", app);
	(void)snprintf(r->function, sizeof(r->function), "%s", function);
	return f->count++;
}

/* ---- what is told ---- */

static struct told *find(const struct praas_functions_told *t, const char *function)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (strcmp(t->functions[i].function, function) == 0)
			return &t->functions[i];
	return NULL;
}

static struct told *add(struct praas_functions_told *t, const char *function)
{
	struct told *more;

	if (t->count == PRAAS_FUNCTIONS_TOLD_MAX)
		return NULL;
	if (t->count % TOLD_STEP == 0) {
		more = realloc(t->functions, (t->count + TOLD_STEP) * sizeof(*more));
		if (!more)
			return NULL;
		t->functions = more;
	}
	more = &t->functions[t->count++];
	*more = (struct told){ 0 };
	(void)snprintf(more->function, sizeof(more->function), "%s", function);
	return more;
}

static void grow(uint64_t *sum, uint64_t *before, uint64_t now, bool count)
{
	if (now <= *before)
		return;
	if (count && *sum <= SUM_MAX && now - *before <= SUM_MAX)
		*sum += now - *before;
	*before = now;
}

/* count: false, it was counted before we began to listen. */
static void on_sums(struct praas_function_row *r, struct told *t,
		    const struct praas_function_totals *now, bool count)
{
	grow(&r->sums.calls, &t->sums.calls, now->calls, count);
	grow(&r->sums.errors, &t->sums.errors, now->errors, count);
	grow(&r->sums.bytes_in, &t->sums.bytes_in, now->bytes_in, count);
	grow(&r->sums.bytes_out, &t->sums.bytes_out, now->bytes_out, count);
	grow(&r->sums.run_ns, &t->sums.run_ns, now->run_ns, count);
}

/* [name, calls, errors, bytes in, bytes out, ns]. False: it is not that. */
static bool parse(const json_t *row, const char **ret_function,
		  struct praas_function_totals *ret_sums)
{
	uint64_t n[NUMBERS];
	const char *name = json_string_value(json_array_get(row, 0));

	if (!name || !praas_name_valid(name) || json_array_size(row) != NUMBERS + 1)
		return false;
	for (unsigned i = 0; i < NUMBERS; i++) {
		const json_t *value = json_array_get(row, i + 1);

		if (!json_is_integer(value) || json_integer_value(value) < 0)
			return false;
		n[i] = (uint64_t)json_integer_value(value);
	}
	*ret_function = name;
	*ret_sums = (struct praas_function_totals){ n[0], n[1], n[2], n[3], n[4] };
	return true;
}

void praas_functions_told(struct praas_functions *f, const char *tenant,
			  const char *app, struct praas_functions_told **told,
			  const json_t *message)
{
	const json_t *rows = json_object_get(message, "rows");
	bool again = json_is_true(json_object_get(message, "again"));
	uint64_t seq = praas_json_number_or(message, "seq", 0);

	if (!*told)
		*told = calloc(1, sizeof(**told));
	if (!*told || seq <= (*told)->seq)
		return;
	(*told)->seq = seq;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		struct praas_function_totals sums;
		const char *function;
		struct told *t;
		bool known;

		if (!parse(json_array_get(rows, i), &function, &sums))
			continue;
		t = find(*told, function);
		known = t != NULL;
		if (!known)
			t = add(*told, function);
		if (!t)
			return;
		if (!known)
			t->row = row_of(f, tenant, app, function);
		on_sums(&f->rows[t->row], t, &sums, known || !again);
	}
}

int praas_functions_rows(const struct praas_functions *f,
			 struct praas_function_row **ret_rows, uint32_t *ret_count)
{
	struct praas_function_row *rows = calloc(f->count, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	memcpy(rows, f->rows, f->count * sizeof(*rows));
	*ret_rows = rows;
	*ret_count = f->count;
	return 0;
}
