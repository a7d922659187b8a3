/* SPDX-License-Identifier: Apache-2.0
 *
 * What each function did, told to the control service: what has changed, behind the metrics of the
 * process. Numbers are sums since the epoch began, so one that is lost is made up for by the next. On the
 * admin thread, which reads what the data thread counts.
 */
#include <stdlib.h>

#include "controller/admin_private.h"
#include "internal/base.h"

#define ROWS_MAX 64u /* of a message: with the longest names it is 12 KiB */

/* The same words as struct praas_function_counts. */
struct praas_admin_told {
	uint64_t calls, errors, bytes_in, bytes_out, run_ns;
};

static struct praas_admin_told look(const struct praas_function_counts *c)
{
	return (struct praas_admin_told){
		.calls = atomic_load_explicit(&c->calls, memory_order_relaxed),
		.errors = atomic_load_explicit(&c->errors, memory_order_relaxed),
		.bytes_in = atomic_load_explicit(&c->bytes_in, memory_order_relaxed),
		.bytes_out = atomic_load_explicit(&c->bytes_out, memory_order_relaxed),
		.run_ns = atomic_load_explicit(&c->run_ns, memory_order_relaxed),
	};
}

static bool same(const struct praas_admin_told *a, const struct praas_admin_told *b)
{
	return a->calls == b->calls && a->errors == b->errors &&
	       a->bytes_in == b->bytes_in && a->bytes_out == b->bytes_out &&
	       a->run_ns == b->run_ns;
}

static json_t *row(const struct praas_admin *a, uint32_t i,
		   const struct praas_admin_told *t)
{
	return json_pack("[sIIIII]", a->manifest->functions[i].name,
			 (json_int_t)t->calls, (json_int_t)t->errors,
			 (json_int_t)t->bytes_in, (json_int_t)t->bytes_out,
			 (json_int_t)t->run_ns);
}

static int send_rows(struct praas_admin *a, json_t *rows, bool again)
{
	return praas_link_send(a->link, json_pack("{ss sI sb so}", "t", "functions",
						  "seq", (json_int_t)++a->functions_seq,
						  "again", again, "rows", rows));
}

/* From function *at on, as many as go into one message; *at: behind them. 0: there are no more, or it
 * could not be sent. */
static bool send_some(struct praas_admin *a, uint32_t *at, bool again)
{
	struct praas_admin_told now[ROWS_MAX];
	uint32_t which[ROWS_MAX], count = 0;
	static const struct praas_admin_told none;
	json_t *rows = json_array();

	for (; rows && *at < a->manifest->count && count < ROWS_MAX; ++*at) {
		struct praas_admin_told *told = &a->functions_told[*at];

		now[count] = again ? *told : look(&a->exchange->counts[*at]);
		if (same(&now[count], again ? &none : told) ||
		    json_array_append_new(rows, row(a, *at, &now[count])) != 0)
			continue;
		which[count++] = *at;
	}
	if (count == 0 || !rows) {
		json_decref(rows);
		return false;
	}
	if (send_rows(a, rows, again) != 0)
		return false; /* the next one says it */
	for (uint32_t i = 0; i < count; i++)
		a->functions_told[which[i]] = now[i];
	return true;
}

void praas_admin_functions(struct praas_admin *a)
{
	uint32_t at = 0;

	if (!a->functions_told)
		a->functions_told = calloc((size_t)a->manifest->count + 1,
					   sizeof(*a->functions_told));
	if (!a->functions_told || !a->exchange->counts ||
	    !praas_link_connected(a->link))
		return;
	while (send_some(a, &at, false))
		;
}

void praas_admin_functions_again(struct praas_admin *a)
{
	uint32_t at = 0;

	while (a->functions_told && send_some(a, &at, true))
		;
}
