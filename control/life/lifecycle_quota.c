/* SPDX-License-Identifier: Apache-2.0
 *
 * What processes use of their tenant's limits. A process counts from its record to its erasure; its
 * memory from the decision to start a controller until it rests; its state is what its controllers
 * tell.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stdio.h>

static struct praas_outcome over(const struct praas_life *life, const char *tenant,
				 enum praas_quota quota)
{
	const struct praas_quota_row *row = &praas_quota_rows[quota];
	struct praas_tenant t = { .limits = { 0 } };
	char text[200];

	(void)praas_tenants_get(life->config.tenants, tenant, &t); /* else it is 0 */
	(void)snprintf(text, sizeof(text), "the tenant's limit of %s is %llu",
		       row->name, (unsigned long long)t.limits[quota]);
	return praas_outcome_of(-EDQUOT, row->code, text);
}

int praas_life_take_process(struct praas_life *life, const struct praas_app_record *app,
			    struct praas_outcome *ret_why)
{
	if (praas_tenants_take(life->config.tenants, app->tenant, PRAAS_QUOTA_PROCESSES,
			       1) == 0)
		return 0;
	*ret_why = over(life, app->tenant, PRAAS_QUOTA_PROCESSES);
	return -EDQUOT;
}

int praas_life_take_new(struct praas_life *life, const struct praas_app_record *app,
			struct praas_outcome *ret_why)
{
	struct praas_tenants *tenants = life->config.tenants;

	if (praas_life_take_process(life, app, ret_why))
		return -EDQUOT;
	if (praas_tenants_take(tenants, app->tenant, PRAAS_QUOTA_MEMORY,
			       app->memory_bytes)) {
		praas_tenants_give(tenants, app->tenant, PRAAS_QUOTA_PROCESSES, 1);
		*ret_why = over(life, app->tenant, PRAAS_QUOTA_MEMORY);
		return -EDQUOT;
	}
	return 0;
}

void praas_life_give_new(struct praas_life *life, const struct praas_app_record *app)
{
	struct praas_tenants *tenants = life->config.tenants;

	praas_tenants_give(tenants, app->tenant, PRAAS_QUOTA_PROCESSES, 1);
	praas_tenants_give(tenants, app->tenant, PRAAS_QUOTA_MEMORY, app->memory_bytes);
}

bool praas_life_charge(struct praas_life_process *p, struct praas_outcome *ret_why)
{
	if (p->charged)
		return true;
	if (praas_tenants_take(p->life->config.tenants, p->app.tenant,
			       PRAAS_QUOTA_MEMORY, p->app.memory_bytes)) {
		*ret_why = over(p->life, p->app.tenant, PRAAS_QUOTA_MEMORY);
		return false;
	}
	p->charged = true;
	return true;
}

void praas_life_charge_running(struct praas_life_process *p)
{
	if (!p->charged)
		praas_tenants_count(p->life->config.tenants, p->app.tenant,
				    PRAAS_QUOTA_MEMORY, 0, p->app.memory_bytes);
	p->charged = true;
	praas_life_node_running(p);
}

void praas_life_discharge(struct praas_life_process *p)
{
	if (p->charged)
		praas_tenants_give(p->life->config.tenants, p->app.tenant,
				   PRAAS_QUOTA_MEMORY, p->app.memory_bytes);
	p->charged = false;
	praas_life_node_leave(p);
}

void praas_life_count_state(struct praas_life_process *p, uint64_t bytes)
{
	bytes = bytes <= INT64_MAX / 2 ? bytes : INT64_MAX / 2; /* it is told so */
	praas_tenants_count(p->life->config.tenants, p->app.tenant, PRAAS_QUOTA_STATE,
			    p->record.state_bytes, bytes);
	p->record.state_bytes = bytes;
}

void praas_life_count_named(struct praas_life_process *p, uint64_t bytes)
{
	bytes = bytes <= INT64_MAX / 2 ? bytes : INT64_MAX / 2;
	praas_tenants_count(p->life->config.tenants, p->app.tenant, PRAAS_QUOTA_STATE,
			    p->record.named_bytes, bytes);
	p->record.named_bytes = bytes;
}

void praas_life_give_erased(struct praas_life_process *p)
{
	praas_life_discharge(p);
	praas_life_count_state(p, 0);
	praas_life_count_named(p, 0);
	praas_tenants_give(p->life->config.tenants, p->app.tenant,
			   PRAAS_QUOTA_PROCESSES, 1);
}
