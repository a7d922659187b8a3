/* SPDX-License-Identifier: Apache-2.0
 *
 * Tenants: who applications belong to, what each may use, and what it uses now. All is in memory;
 * names and limits are stored, usage is counted from the records at the start. One leaf lock, held
 * for memory work only.
 */
#ifndef PRAAS_CONTROL_TENANTS_H
#define PRAAS_CONTROL_TENANTS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/records/records.h"

/* What is limited. */
enum praas_quota {
	PRAAS_QUOTA_APPS,
	PRAAS_QUOTA_PROCESSES, /* that exist, swapped ones too */
	PRAAS_QUOTA_MEMORY,    /* memory_bytes of those that have a controller */
	PRAAS_QUOTA_STATE,     /* bytes of state, as controllers told */
	PRAAS_QUOTA_CALLS,     /* requests under way */
	PRAAS_QUOTA_RATE,      /* requests a second */
	PRAAS_QUOTAS
};

/* How a limit is named and what it may be. */
struct praas_quota_row {
	const char *name;      /* in JSON: "memory_bytes" */
	const char *code;      /* of the error: "quota_memory" */
	const char *hint;      /* what to do about it */
	uint64_t normal, most; /* of a new tenant; that can be said */
	int status;            /* of HTTP */
};
extern const struct praas_quota_row praas_quota_rows[PRAAS_QUOTAS];

struct praas_tenant {
	char name[PRAAS_NAME_MAX + 1];
	uint64_t limits[PRAAS_QUOTAS], used[PRAAS_QUOTAS];
};

struct praas_tenants;

/* Loads all, and counts. records is borrowed until close. 0; an errno, with words in ret_text (256
 * bytes). The tenant "default" is always there, with the most of everything unless stored. */
int praas_tenants_open(struct praas_records *records,
		       struct praas_tenants **ret_tenants, char *ret_text);
void praas_tenants_close(struct praas_tenants *tenants);

/* A new one (create), or other limits of one that is there. 0; -EEXIST; -ENOENT; -ENOSPC there are
 * too many; -EIO. */
int praas_tenants_put(struct praas_tenants *tenants, const struct praas_tenant *tenant,
		      bool create);
/* -ENOENT; -ENOTEMPTY it has applications; -EPERM "default". On success nothing can be taken for
 * it any more. */
int praas_tenants_delete(struct praas_tenants *tenants, const char *name);
int praas_tenants_get(struct praas_tenants *tenants, const char *name,
		      struct praas_tenant *ret_tenant); /* -ENOENT */
/* In the order of names, those after `after` ("": all), at most max. 0; -ENOMEM. */
int praas_tenants_list(struct praas_tenants *tenants, const char *after, uint32_t max,
		       struct praas_tenant *ret_tenants, uint32_t *ret_count);

/* Uses amount more. 0; -EDQUOT that would be over its limit; -ENOENT no such tenant. */
int praas_tenants_take(struct praas_tenants *tenants, const char *name,
		       enum praas_quota quota, uint64_t amount);
/* Uses amount less. */
void praas_tenants_give(struct praas_tenants *tenants, const char *name,
			enum praas_quota quota, uint64_t amount);
/* What is used changed by itself: may go over the limit. */
void praas_tenants_count(struct praas_tenants *tenants, const char *name,
			 enum praas_quota quota, uint64_t before, uint64_t after);
/* -EDQUOT nothing more may be used. */
int praas_tenants_check(struct praas_tenants *tenants, const char *name,
			enum praas_quota quota);
/* One request at now_ns (CLOCK_MONOTONIC): a second's worth may come at once. 0; -EDQUOT. */
int praas_tenants_rate(struct praas_tenants *tenants, const char *name,
		       uint64_t now_ns);

/* As it is stored. Strict. 0; -EPROTO. */
int praas_tenant_decode(const struct praas_item *item, struct praas_tenant *ret_tenant);

#endif
