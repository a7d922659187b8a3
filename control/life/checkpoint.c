/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/checkpoint.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/limits.h"
#include "control/records/records.h"
#include "internal/base.h"

#define MS_NS 1000000ull

static const struct unit {
	const char *name;
	uint32_t ms;
} units[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
#define UNITS (sizeof(units) / sizeof(units[0]))

static const struct unit names[] = { { "swap", 0 },
				     { "journal", PRAAS_CHECKPOINT_JOURNAL },
				     { "gate", PRAAS_CHECKPOINT_GATE } };

static const char checkpoint[] = "checkpoint:";

bool praas_durability_parse(const char *text, uint32_t *ret_ms)
{
	const char *number = text + strlen(checkpoint);
	unsigned long long n;
	char *end;

	*ret_ms = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i].name) != 0)
			continue;
		*ret_ms = names[i].ms;
		return true;
	}
	if (strncmp(text, checkpoint, strlen(checkpoint)) != 0 ||
	    !isdigit((unsigned char)*number))
		return false; /* strtoull() would take blanks and signs */
	n = strtoull(number, &end, 10);
	for (size_t i = 0; i < UNITS; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (n > PRAAS_LIMIT_CHECKPOINT_MS / units[i].ms ||
		    n * units[i].ms < PRAAS_LIMIT_CHECKPOINT_MIN_MS)
			return false;
		*ret_ms = (uint32_t)(n * units[i].ms);
		return true;
	}
	return false;
}

void praas_durability_text(uint32_t ms, char ret_text[PRAAS_DURABILITY_BYTES])
{
	const struct unit *u = units;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (ms != names[i].ms)
			continue;
		(void)snprintf(ret_text, PRAAS_DURABILITY_BYTES, "%s", names[i].name);
		return;
	}
	while (ms % u->ms != 0)
		u++; /* every number is one of ms */
	(void)snprintf(ret_text, PRAAS_DURABILITY_BYTES, "%s%u%s", checkpoint,
		       ms / u->ms, u->name);
}

bool praas_checkpoint_due(const struct praas_checkpoint_input *in,
			  uint64_t *ret_next_ns)
{
	uint64_t every = in->every_ms * MS_NS, due = in->kept_ns + every;
	uint64_t worked = in->told_ns - praas_min_u64(in->idle_ns, in->told_ns);

	*ret_next_ns = 0;
	if (!in->joined || every == 0)
		return false;
	*ret_next_ns = praas_max_u64(due, in->now_ns + 1);
	if (in->now_ns < due)
		return false;
	*ret_next_ns = in->now_ns + every;
	/* A controller that works tells its metrics each second, one that rests does not. */
	return in->ready && (in->running || worked > in->kept_ns);
}
