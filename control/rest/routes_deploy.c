/* SPDX-License-Identifier: Apache-2.0
 *
 * Another revision of an application: its code is copied and looked at, one process that serves is
 * started with it, and only then it is the application's; the others follow one by one. Each is swapped
 * out and in, and keeps its state. When one does not start with it, the revision before is back for all.
 * Should the service end meanwhile: until the first process has started nothing has changed (the next service
 * swaps it out again, and removes the copy), later some run the old one until their next start, and asking
 * again goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/life/code.h"
#include "control/rest/app_body.h"
#include "control/rest/request.h"
#include "internal/base.h"

#define WAIT_NS (60 * 1000000000ull)
#define SWAP_NS (300 * 1000000000ull)

/* rq->app is the one before. */
struct praas_deploy {
	struct praas_app_record app; /* what is deployed */
	bool same;                   /* as before: nothing is to be stored */
	bool stored;                 /* it is the application's now */
	bool back; /* it failed: those that were rolled get the one before */
	struct praas_life_name *names;
	uint32_t count, at; /* those before at are done */
	uint32_t rolled;
	struct praas_outcome failure;
};

static void next(struct praas_request *rq);

static void end(struct praas_request *rq)
{
	praas_life_deploy_end(rq->service->life, &rq->app);
	free(rq->deploy->names);
	free(rq->deploy);
	rq->deploy = NULL;
}

static void drop_code(struct praas_request *rq, const struct praas_app_record *app)
{
	char folder[PRAAS_LIFE_CODE_BYTES];

	praas_life_code(rq->service->life, app, folder);
	(void)praas_code_remove(folder); /* else the next deployment does */
}

/* ---- the end ------------------------------------------------------------------------ */

static void tell_done(struct praas_request *rq)
{
	struct praas_deploy *d = rq->deploy;
	json_t *reply = json_pack("{s:o?,s:b,s:I}", "app", praas_app_json(&d->app),
				  "changed", !d->same, "rolled", (json_int_t)d->rolled);

	praas_life_code_tidy(rq->service->life, &d->app);
	end(rq);
	praas_reply_json(rq, 200, reply);
}

static void tell_failed(struct praas_request *rq)
{
	struct praas_outcome why = rq->deploy->failure;
	bool same = rq->deploy->same;

	if (!same)
		praas_life_code_tidy(rq->service->life, &rq->app);
	end(rq);
	if (why.rc == -ESHUTDOWN || why.rc == -ETIMEDOUT)
		praas_reply_outcome(rq, &why);
	else
		praas_reply_error(rq, 409, "deploy_failed",
				  same ? "look at the process's log"
				       : "the revision before is back; look at the "
					 "process's log",
				  "a process does not start with it: %s", why.text);
}

/* The one before is the application's again, also for those that have started with this one. */
/* NOLINTNEXTLINE(misc-no-recursion): it goes back once, and cannot fail then */
static void fail(struct praas_request *rq, const struct praas_outcome *why)
{
	struct praas_records *records = rq->service->records;
	struct praas_deploy *d = rq->deploy;

	d->failure = *why;
	if (d->same || why->rc == -ESHUTDOWN) {
		tell_failed(rq); /* who asks again goes on from here */
		return;
	}
	if (d->stored) {
		rq->app.version = d->app.version;
		(void)records->ops->app_put(records, &rq->app); /* or it stays so */
	}
	(void)praas_life_use(rq->service->life, 0, &rq->app); /* at the latest after a
								* restart of ours */
	d->back = true;
	d->count = d->at < d->count ? d->at + 1 : d->count;
	d->at = 0;
	next(rq);
}

/* ---- one process after the other ---------------------------------------------------- */

/* It is known to start: from now on it is the application's. */
/* NOLINTNEXTLINE(misc-no-recursion): it goes back once, and cannot fail then */
static bool store(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	struct praas_deploy *d = rq->deploy;
	struct praas_outcome why = { .rc = -EIO };
	int rc;

	if (d->stored)
		return true;
	rc = records->ops->app_put(records, &d->app);
	if (rc == 0) {
		d->stored = true;
		rc = praas_life_use(rq->service->life, 0, &d->app);
	}
	if (rc == 0)
		return true;
	why.rc = rc;
	(void)snprintf(why.code, sizeof(why.code), "store_failed");
	(void)snprintf(why.text, sizeof(why.text), "the record cannot be written: %s",
		       strerror(-rc));
	fail(rq, &why);
	return false;
}

static void woken(struct praas_request *rq)
{
	struct praas_deploy *d = rq->deploy;
	struct praas_outcome outcome = rq->wait.outcome;

	if (!d->back && outcome.rc && outcome.rc != -ENOENT) {
		fail(rq, &outcome);
		return;
	}
	d->at++;
	d->rolled += !d->back && outcome.rc == 0;
	if (d->back || outcome.rc || store(rq))
		next(rq);
}

/* One that lost its state meanwhile, or was deleted, need not be swapped out. */
static void swapped(struct praas_request *rq)
{
	struct praas_deploy *d = rq->deploy;
	struct praas_outcome outcome = rq->wait.outcome;

	if (!d->back && outcome.rc && outcome.rc != -ESTALE && outcome.rc != -ENOENT) {
		fail(rq, &outcome);
		return;
	}
	praas_life_activate(rq->service->life,
			    d->stored && !d->back ? &d->app : &rq->app,
			    d->names[d->at].name,
			    praas_request_await(rq, woken, praas_now_ns() + WAIT_NS));
}

/* NOLINTNEXTLINE(misc-no-recursion): it goes back once, and cannot fail then */
static void next(struct praas_request *rq)
{
	struct praas_life *life = rq->service->life;
	struct praas_deploy *d = rq->deploy;
	struct praas_outcome memory = { .rc = -ENOMEM, .text = "out of memory" };

	if (d->at == d->count) {
		if (d->back)
			tell_failed(rq);
		else if (store(rq))
			tell_done(rq);
		return;
	}
	if (!d->stored && !d->back &&
	    praas_life_use(life, d->names[d->at].number, &d->app)) {
		fail(rq, &memory);
		return;
	}
	praas_life_swap_out(life, &rq->app, d->names[d->at].name,
			    praas_request_await(rq, swapped, praas_now_ns() + SWAP_NS));
}

/* ---- what is to be deployed --------------------------------------------------------- */

static bool take_body(struct praas_request *rq, struct praas_app_record *ret_app,
		      bool *ret_roll)
{
	static const char *const known[] = { "name",       "code", "resources",
					     "isolation",  "wait", "allow_weak_sandbox",
					     "durability", "roll", NULL };
	struct praas_json_error error;

	*ret_app = rq->app;
	*ret_roll = true;
	if (!praas_app_take(rq->json, known, ret_app, &error) ||
	    !praas_json_bool(rq->json, "roll", ret_roll, &error)) {
		praas_app_refuse(rq, &error);
		return false;
	}
	if (!praas_app_durable(rq, ret_app) || !praas_app_state(rq, ret_app))
		return false;
	if (strcmp(ret_app->name, rq->app.name) != 0) {
		praas_reply_error(rq, 400, "invalid", "leave it out",
				  "\"name\" is another than that in the path");
		return false;
	}
	return true;
}

static bool is_same(const struct praas_app_record *a, const struct praas_app_record *b)
{
	return a->revision > 0 && !memcmp(a->digest, b->digest, sizeof(a->digest)) &&
	       !strcmp(a->code, b->code) && a->memory_bytes == b->memory_bytes &&
	       a->state_bytes == b->state_bytes && a->bytes_max == b->bytes_max &&
	       a->vcpu_milli == b->vcpu_milli && a->concurrency == b->concurrency &&
	       a->wait == b->wait && a->checkpoint_ms == b->checkpoint_ms &&
	       a->isolation_inline == b->isolation_inline &&
	       a->allow_weak_sandbox == b->allow_weak_sandbox;
}

/* Copies the code as a new revision, unless it is what is there. 0; -EINVAL and why; an errno of ours. */
static int copy(struct praas_request *rq, struct praas_deploy *d, char *text)
{
	char folder[PRAAS_LIFE_CODE_BYTES];
	struct timespec now;
	int rc = praas_app_code_check(d->app.code, true, text, PRAAS_CODE_TEXT_BYTES);

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	d->app.deployed_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	d->app.revision = praas_life_revision(rq->service->life, &rq->app);
	praas_life_code(rq->service->life, &d->app, folder);
	if (rc == 0)
		rc = praas_code_remove(folder); /* of one that was cut off */
	if (rc)
		return rc;
	rc = praas_code_copy(d->app.code, folder, d->app.digest, text);
	if (rc == 0) /* it may have changed meanwhile */
		rc = praas_app_code_check(folder, true, text, PRAAS_CODE_TEXT_BYTES);
	d->same = rc == 0 && is_same(&rq->app, &d->app);
	if (rc || d->same)
		drop_code(rq, &d->app);
	if (d->same) {
		d->app = rq->app;
		d->stored = true;
	}
	return rc;
}

/* As it is now that nobody else deploys it. 0; -EBUSY somebody just did; or what the records say. */
static int look_again(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	struct praas_app_record app;
	int rc = records->ops->app_get(records, rq->app.tenant, rq->app.name, &app);

	if (rc == 0 && app.version != rq->app.version)
		rc = -EBUSY;
	return rc;
}

static void refuse(struct praas_request *rq, int rc, const char *text)
{
	if (rc == -EINVAL)
		praas_reply_error(rq, 400, "invalid_code",
				  "give the absolute path of a folder with praas.json "
				  "and its libraries",
				  "%s", text);
	else if (rc == -EBUSY)
		praas_reply_error(rq, 409, "busy", "wait, then ask again",
				  "the application is being deployed");
	else if (rc == -ENOENT)
		praas_reply_no_app(rq);
	else
		praas_reply_unstored(rq, rc, "the application cannot be deployed");
}

void praas_route_apps_deploy(struct praas_request *rq)
{
	struct praas_life *life = rq->service->life;
	char text[PRAAS_CODE_TEXT_BYTES] = "";
	struct praas_app_record app;
	struct praas_deploy *d;
	bool roll;
	int rc;

	if (!praas_request_app(rq) || !take_body(rq, &app, &roll))
		return;
	d = calloc(1, sizeof(*d));
	rc = d ? praas_life_deploy_begin(life, &rq->app) : -ENOMEM;
	if (rc) {
		free(d);
		refuse(rq, rc, text);
		return;
	}
	rq->deploy = d;
	d->app = app;
	rc = look_again(rq);
	if (rc == 0)
		rc = copy(rq, d, text);
	if (rc == 0 && roll) {
		rc = praas_life_outdated(life, &d->app, &d->names, &d->count);
		if (rc && !d->same)
			drop_code(rq, &d->app);
	}
	if (rc == 0) {
		next(rq);
		return;
	}
	end(rq);
	refuse(rq, rc, text);
}
