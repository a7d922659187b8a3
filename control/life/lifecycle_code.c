/* SPDX-License-Identifier: Apache-2.0
 *
 * Which revision of its application's code a process runs with. One that runs keeps what it was started
 * with until its next start; what is deployed is for that.
 */
#include "control/life/lifecycle_private.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control/life/code.h"
#include "control/names.h"

#define APP_BYTES (PRAAS_LIFE_PATH_BYTES + 2 * PRAAS_RECORD_ID_BYTES + 2)

static void folder_of_app(const struct praas_life *life,
			  const struct praas_app_record *app,
			  char ret_folder[APP_BYTES])
{
	char id[2 * PRAAS_RECORD_ID_BYTES + 1];

	praas_hex_encode(app->id, sizeof(app->id), id);
	(void)snprintf(ret_folder, APP_BYTES, "%s/%s", life->code_dir, id); /* fits */
}

void praas_life_code(const struct praas_life *life, const struct praas_app_record *app,
		     char ret_folder[PRAAS_LIFE_CODE_BYTES])
{
	char folder[APP_BYTES];

	folder_of_app(life, app, folder);
	if (app->revision == 0)
		(void)snprintf(ret_folder, PRAAS_LIFE_CODE_BYTES, "%s", app->code);
	else
		(void)snprintf(ret_folder, PRAAS_LIFE_CODE_BYTES, "%s/%u", folder,
			       app->revision); /* fits */
}

/* What may differ between revisions; all else is read without the lock, and stays. */
static void assign(struct praas_app_record *to, const struct praas_app_record *from)
{
	to->version = from->version;
	to->memory_bytes = from->memory_bytes;
	to->bytes_max = from->bytes_max;
	to->state_bytes = from->state_bytes;
	to->vcpu_milli = from->vcpu_milli;
	to->concurrency = from->concurrency;
	to->isolation_inline = from->isolation_inline;
	to->allow_weak_sandbox = from->allow_weak_sandbox;
	to->wait = from->wait;
	to->checkpoint_ms = from->checkpoint_ms;
	to->revision = from->revision;
	to->deployed_ns = from->deployed_ns;
	memcpy(to->digest, from->digest, sizeof(to->digest));
	memcpy(to->code, from->code, sizeof(to->code));
}

/* Its memory counts for what it runs with, and a start reads it without the lock. */
static bool in_use(const struct praas_life_process *p)
{
	return p->charged || p->starting || p->has_instance;
}

static int use(struct praas_life_process *p, const struct praas_app_record *app)
{
	if (!in_use(p)) {
		assign(&p->app, app);
		free(p->app_next);
		p->app_next = NULL;
		return 0;
	}
	if (!p->app_next)
		p->app_next = malloc(sizeof(*p->app_next));
	if (!p->app_next)
		return -ENOMEM;
	*p->app_next = *app;
	return 0;
}

int praas_life_renew(struct praas_life_process *p, const struct praas_app_record *app)
{
	const struct praas_app_record *newest = p->app_next ? p->app_next : &p->app;

	return app->version > newest->version ? use(p, app) : 0;
}

void praas_life_take_next(struct praas_life_process *p)
{
	if (!p->app_next || p->charged)
		return;
	assign(&p->app, p->app_next);
	free(p->app_next);
	p->app_next = NULL;
}

int praas_life_deploy_begin(struct praas_life *life, const struct praas_app_record *app)
{
	int rc = 0;

	(void)pthread_mutex_lock(&life->lock);
	for (uint32_t i = 0; i < life->deploys_count; i++)
		if (!memcmp(life->deploys[i], app->id, sizeof(app->id)))
			rc = -EBUSY;
	if (rc == 0 && life->deploys_count == PRAAS_LIMIT_DEPLOYS)
		rc = -EAGAIN;
	if (rc == 0)
		memcpy(life->deploys[life->deploys_count++], app->id, sizeof(app->id));
	(void)pthread_mutex_unlock(&life->lock);
	return rc;
}

void praas_life_deploy_end(struct praas_life *life, const struct praas_app_record *app)
{
	(void)pthread_mutex_lock(&life->lock);
	for (uint32_t i = 0; i < life->deploys_count; i++) {
		if (memcmp(life->deploys[i], app->id, sizeof(app->id)) != 0)
			continue;
		memmove(life->deploys[i], life->deploys[--life->deploys_count],
			sizeof(app->id));
		break;
	}
	(void)pthread_mutex_unlock(&life->lock);
}

/* Every process of app that is known; lock held. */
#define EACH_OF(life, app, p, next)                                                    \
	HASH_ITER(hh, (life)->processes, p, next)                                      \
	if (!memcmp((p)->record.app, (app)->id, sizeof((app)->id)))

uint32_t praas_life_revision(struct praas_life *life,
			     const struct praas_app_record *app)
{
	struct praas_life_process *p, *next;
	uint32_t last = app->revision;

	(void)pthread_mutex_lock(&life->lock);
	EACH_OF(life, app, p, next)
	{
		if (p->record.revision > last)
			last = p->record.revision;
	}
	(void)pthread_mutex_unlock(&life->lock);
	return last + 1;
}

int praas_life_use(struct praas_life *life, uint64_t number,
		   const struct praas_app_record *app)
{
	struct praas_life_process *p, *next;
	int rc = 0;

	(void)pthread_mutex_lock(&life->lock);
	EACH_OF(life, app, p, next)
	{
		if ((number == 0 || p->number == number) && use(p, app))
			rc = -ENOMEM;
	}
	(void)pthread_mutex_unlock(&life->lock);
	return rc;
}

int praas_life_outdated(struct praas_life *life, const struct praas_app_record *app,
			struct praas_life_name **ret_names, uint32_t *ret_count)
{
	struct praas_life_process *p, *next;
	struct praas_life_name *names;
	uint32_t count = 0;

	(void)pthread_mutex_lock(&life->lock);
	names = calloc(HASH_COUNT(life->processes) + 1u, sizeof(*names));
	EACH_OF(life, app, p, next)
	{
		if (!names || praas_life_resting(p->record.state) ||
		    p->record.state == PRAAS_LIFE_DELETING ||
		    p->record.revision == app->revision)
			continue;
		memcpy(names[count].name, p->record.name, sizeof(names[0].name));
		names[count++].number = p->number;
	}
	(void)pthread_mutex_unlock(&life->lock);
	if (!names)
		return -ENOMEM;
	*ret_names = names;
	*ret_count = count;
	return 0;
}

static bool runs_with(struct praas_life *life, const struct praas_app_record *app,
		      uint64_t revision)
{
	struct praas_life_process *p, *next;
	bool found = false;

	(void)pthread_mutex_lock(&life->lock);
	EACH_OF(life, app, p, next)
	{
		if (in_use(p) && p->record.revision == revision)
			found = true;
	}
	(void)pthread_mutex_unlock(&life->lock);
	return found;
}

void praas_life_code_tidy(struct praas_life *life, const struct praas_app_record *app)
{
	char folder[APP_BYTES], path[PRAAS_LIFE_CODE_BYTES];
	const struct dirent *e;
	uint64_t revision;
	DIR *dir;

	folder_of_app(life, app, folder);
	dir = opendir(folder);
	if (!dir)
		return; /* it has none */
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): dir is ours */
	while ((e = readdir(dir))) {
		if (praas_number_parse(e->d_name, UINT32_MAX, &revision) ||
		    revision == app->revision || revision + 1 == app->revision ||
		    runs_with(life, app, revision))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%u", folder,
			       (unsigned)revision); /* fits */
		(void)praas_code_remove(path);      /* else the next deployment does */
	}
	(void)closedir(dir);
}

void praas_life_code_remove(const struct praas_life *life,
			    const struct praas_app_record *app)
{
	char folder[APP_BYTES];

	folder_of_app(life, app, folder);
	(void)praas_code_remove(folder); /* nobody finds what may be left */
}

void praas_life_code_recover(struct praas_life *life,
			     const struct praas_app_record *apps, uint32_t count)
{
	uint8_t id[PRAAS_RECORD_ID_BYTES];
	DIR *dir = opendir(life->code_dir);
	const struct dirent *e;

	if (!dir)
		return; /* nothing was deployed yet */
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): dir is ours */
	while ((e = readdir(dir))) {
		struct praas_app_record gone = { .revision = 0 };
		const struct praas_app_record *app;

		if (praas_hex_decode(e->d_name, id, sizeof(id)))
			continue; /* it is no application's */
		app = praas_life_app_of(apps, count, id);
		memcpy(gone.id, id, sizeof(id));
		if (app)
			praas_life_code_tidy(life, app);
		else
			praas_life_code_remove(life, &gone);
	}
	(void)closedir(dir); /* only read */
}
