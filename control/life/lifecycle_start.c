/* SPDX-License-Identifier: Apache-2.0
 *
 * Activation: a new epoch on the disk, a controller started with its configuration, its join.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "control/life/data_listen.h"
#include "control/limits.h"
#include "control/names.h"
#include "controller/store/s3_credentials.h"
#include "controller/store/seal_keys.h"
#include "internal/base.h"

void praas_life_new_epoch(struct praas_process_record *record, uint32_t epoch,
			  uint8_t ret_token[PRAAS_KEY_BYTES])
{
	record->epoch = epoch;
	record->os_pid = 0;
	record->os_start = 0;
	record->endpoints[0] = 0;
	record->counted = (struct praas_usage){ 0 };
	praas_random(record->controller, sizeof(record->controller));
	praas_random(ret_token, PRAAS_KEY_BYTES);
	praas_hash(ret_token, PRAAS_KEY_BYTES, record->join_hash);
}

/* The controller before was fenced: an epoch above all that the slot log knows. */
static void pass_log(struct praas_life_process *p, struct praas_process_record *record)
{
	struct praas_life *life = p->life;
	struct praas_owner_log seen;
	struct praas_owner owner;

	if (praas_life_read_log(p, &seen))
		return; /* what the controller told has to do */
	(void)pthread_mutex_lock(&life->lock);
	owner = praas_life_owner(p);
	if (seen.epoch >= owner.epoch)
		praas_life_new_epoch(&p->record, praas_owner_next_epoch(&owner, &seen),
				     p->token);
	*record = p->record;
	(void)pthread_mutex_unlock(&life->lock);
}

static json_t *hex_of(const uint8_t *data, size_t bytes)
{
	char text[2 * PRAAS_KEY_BYTES + 1];
	json_t *value;

	praas_check(bytes <= PRAAS_KEY_BYTES);
	praas_hex_encode(data, bytes, text);
	value = json_string(text);
	explicit_bzero(text, sizeof(text));
	return value;
}

static json_t *listen_of(const struct praas_life_process *p,
			 const struct praas_process_record *record,
			 const struct praas_node *node)
{
	const struct praas_life *life = p->life;
	char socket[sizeof(life->run_dir) + sizeof(PRAAS_LIFE_SOCKET) + 32];

	(void)snprintf(socket, sizeof(socket), "%s/" PRAAS_LIFE_SOCKET, life->run_dir,
		       (unsigned long long)record->number, record->epoch);
	return praas_listen_list(node, life->data_listen, socket);
}

/* As a controller knows it: checkpoints from time to time are asked for by us. */
static const char *durability_text(uint32_t checkpoint_ms)
{
	if (checkpoint_ms == PRAAS_CHECKPOINT_GATE)
		return "gate";
	return checkpoint_ms == PRAAS_CHECKPOINT_JOURNAL ? "journal" : "swap";
}

static const char *wait_text(uint8_t wait)
{
	static const char *const texts[] = { "adaptive", "spin", "block" };

	return texts[wait < 3 ? wait : 0];
}

/* The keys of the store, for a controller that is to use it. 0 also when it needs none. */
static int add_store_keys(const struct praas_life *life, json_t *config)
{
	struct praas_s3_credentials keys;
	json_t *object;
	const char *why;

	if (strncmp(life->store_url, "s3:", 3) != 0 ||
	    praas_s3_credentials_find(&keys, &why) != 0)
		return 0; /* it may find its own */
	object = json_pack("{s:s,s:s,s:s,s:I}", "key_id", keys.key_id, "secret",
			   keys.secret, "session", keys.session, "expires",
			   (json_int_t)keys.expires_s);
	praas_s3_credentials_wipe(&keys);
	return object ? json_object_set_new(config, "store_keys", object) : -1;
}

/* The keys that seal what it stores, as lines; 0 also when there are none. */
static int add_seal_keys(const struct praas_life *life, json_t *config)
{
	const struct praas_seal_keys *keys = life->config.seal_keys;
	char text[PRAAS_SEAL_KEYS_MAX * (2 * PRAAS_SEAL_KEY_BYTES + 1) + 1] = "";
	json_t *object;

	if (!keys || keys->count == 0)
		return 0;
	for (unsigned i = 0; i < keys->count; i++) {
		char *line = text + (size_t)i * (2 * PRAAS_SEAL_KEY_BYTES + 1);

		praas_hex_encode(keys->key[i].secret, PRAAS_SEAL_KEY_BYTES, line);
		line[2 * PRAAS_SEAL_KEY_BYTES] = '\n';
		line[2 * PRAAS_SEAL_KEY_BYTES + 1] = '\0';
	}
	object = json_pack("{s:s,s:b}", "keys", text, "refuse_clear",
			   keys->refuse_clear);
	explicit_bzero(text, sizeof(text));
	return object ? json_object_set_new(config, "seal_keys", object) : -1;
}

static int add_limits(const struct praas_app_record *app, json_t *config)
{
	if (json_object_set_new(config, "memory_bytes",
				json_integer((json_int_t)app->memory_bytes)) ||
	    json_object_set_new(config, "state_bytes",
				json_integer((json_int_t)app->state_bytes)) ||
	    json_object_set_new(config, "vcpu_milli", json_integer(app->vcpu_milli)) ||
	    json_object_set_new(config, "concurrency", json_integer(app->concurrency)))
		return -1;
	return 0;
}

/* docs/control-link.md. NULL: no memory, or no crypto. */
json_t *praas_life_config_of(const struct praas_life_process *p,
			     const struct praas_process_record *record,
			     const struct praas_node *node, const uint8_t *token)
{
	struct praas_life *life = p->life;
	const struct praas_app_record *app = &p->app;
	char store[2 * PRAAS_LIFE_PATH_BYTES], code[PRAAS_LIFE_CODE_BYTES];
	uint8_t key[PRAAS_KEY_BYTES], tenant[PRAAS_ID_BYTES];
	json_t *config;

	if (praas_ticket_controller_key(life->config.keys->root, record->controller,
					key))
		return NULL;
	praas_life_store_url(life, record, store);
	praas_life_code(life, app, code);
	praas_keys_tenant(life->config.keys, app->tenant, tenant);
	config = json_pack("{s:o,s:o,s:o,s:s,s:s,s:I,s:I,s:I,s:o,s:o,s:s,s:s,s:s,s:o}",
			   "tenant", hex_of(tenant, PRAAS_ID_BYTES), "app_id",
			   hex_of(record->app, PRAAS_ID_BYTES), "controller_id",
			   hex_of(record->controller, PRAAS_ID_BYTES), "app", app->name,
			   "process", record->name, "pid", (json_int_t)record->number,
			   "generation", (json_int_t)record->generation, "epoch",
			   (json_int_t)record->epoch, "controller_key",
			   hex_of(key, sizeof(key)), "join_token",
			   hex_of(token, PRAAS_KEY_BYTES), "link", "", "store", store,
			   "code", code, "listen", listen_of(p, record, node));
	explicit_bzero(key, sizeof(key));
	if (!config)
		return NULL;
	if (json_object_set_new(config, "node", json_string(node->name)) ||
	    json_object_set_new(config, "link",
				json_sprintf("unix://%s", life->link_path)) ||
	    add_store_keys(life, config) || add_seal_keys(life, config) ||
	    json_object_set_new(
		    config, "isolation",
		    json_string(app->isolation_inline ? "inline" : "worker")) ||
	    add_limits(app, config) ||
	    json_object_set_new(config, "tasks_max",
				json_integer(PRAAS_LIMIT_TASKS_PER_WORKER)) ||
	    json_object_set_new(config, "bytes_max",
				json_integer((json_int_t)app->bytes_max)) ||
	    json_object_set_new(config, "wait", json_string(wait_text(app->wait))) ||
	    json_object_set_new(config, "durability",
				json_string(durability_text(app->checkpoint_ms))) ||
	    json_object_set_new(config, "allow_weak_sandbox",
				json_boolean(app->allow_weak_sandbox)) ||
	    json_object_set_new(config, "fresh", json_boolean(record->epoch == 1)) ||
	    json_object_set_new(config, "upload_s",
				json_integer((json_int_t)life->config.upload_s)) ||
	    (life->worker[0] &&
	     json_object_set_new(config, "worker", json_string(life->worker)))) {
		json_decref(config);
		return NULL;
	}
	return config;
}

/* What came of a spawn. */
struct spawned {
	struct praas_instance instance;
	int rc; /* 0: it runs */
};

static struct praas_outcome start_failure(int rc, int record_rc)
{
	char text[200];

	if (record_rc)
		return praas_outcome_of(record_rc, "store_failed",
					"the record cannot be written");
	if (rc == -EIDRM)
		return praas_outcome_of(
			rc, "store_failed",
			"its snapshot is not in the store: it was deleted after the "
			"back-up that the records are of, or the store was not "
			"restored");
	(void)snprintf(text, sizeof(text), "the controller cannot be started: %s",
		       strerror(-rc));
	return praas_outcome_of(rc, "start_failed", text);
}

/* No lock. */
static struct spawned spawn_now(struct praas_life_process *p,
				const struct praas_process_record *record)
{
	struct praas_backend *backend = praas_life_backend(p);
	json_t *config = praas_life_config_of(p, record, praas_life_node(p), p->token);
	struct spawned s = { .rc = -ENOMEM };

	if (config)
		s.rc = backend->ops->start(backend, config, record->number,
					   record->epoch, &s.instance);
	json_decref(config);
	explicit_bzero(p->token, sizeof(p->token));
	return s;
}

/* One that must not serve; lock held. */
static void end_now(struct praas_life *life, struct praas_instance *instance)
{
	struct praas_exit gone;

	praas_life_end(instance);
	praas_life_reap(life, instance, &gone);
}

/* The controller runs, or does not; the record is on the disk (record_rc 0), or is not. Lock held. */
static void started(struct praas_life_process *p, struct spawned *spawn, int record_rc,
		    struct praas_life_waits *done)
{
	struct praas_life *life = p->life;
	struct praas_outcome why;
	int rc = spawn->rc;

	p->starting = false;
	if (rc == 0 && record_rc == 0)
		rc = praas_life_watch(life, &spawn->instance);
	if (rc || record_rc) {
		if (spawn->rc == 0)
			end_now(life, &spawn->instance);
		why = start_failure(rc, record_rc);
		praas_life_start_failed(p, &why, done);
		return;
	}
	p->instance = spawn->instance;
	p->has_instance = true;
	life->instances++;
	if (p->want_kill || p->record.state == PRAAS_LIFE_DELETING) {
		praas_life_end(&p->instance);
	} else if (p->pending_conn && p->pending_peer == p->instance.os_pid) {
		praas_life_serving(p, p->pending_conn, p->pending_endpoints,
				   p->pending_seen, false, done);
		p->dirty = true;
	} else if (p->pending_conn) {
		praas_link_close(life->link,
				 p->pending_conn); /* somebody with its token */
	}
	p->pending_conn = 0;
	if (p->dirty)
		praas_life_save(p);
}

/* Its record is stored, or never will be. Lock held. */
static void born(struct praas_life_process *p)
{
	struct praas_life_process **at = &p->life->unborn;

	while (*at != p)
		at = &(*at)->unborn_next;
	*at = p->unborn_next;
	p->unborn_next = NULL;
}

/* Its record cannot be stored: nothing of it stays. Those who wait (requests that create it, calls that it was placed
 * for) are told, or get the one of its name. */
static void drop_new(struct praas_life_process *p, struct spawned *spawn,
		     const struct praas_process_record *record, int rc,
		     const struct praas_life_wait *own, bool *ret_created)
{
	struct praas_life *life = p->life;
	struct praas_app_record app = p->app;
	struct praas_life_wait *wait, *next;

	(void)pthread_mutex_lock(&life->lock);
	if (spawn->rc == 0)
		end_now(life, &spawn->instance);
	if (p->pending_conn)
		praas_link_close(life->link, p->pending_conn);
	born(p);
	wait = p->serving.head;
	p->serving.head = NULL;
	praas_life_give_new(life, &app);
	praas_life_forget(p);
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
	if (spawn->rc == 0)
		praas_life_drop_store(life, record);
	for (; wait; wait = next) {
		next = wait->next;
		if (wait == own && rc == -EEXIST)
			*ret_created = false;
		if (rc == -EEXIST) {
			praas_life_activate(life, &app, record->name, wait);
			continue;
		}
		wait->outcome = praas_life_create_failed(rc);
		wait->done(wait);
	}
}

void praas_life_start_new(struct praas_life_process *p,
			  struct praas_process_record *record,
			  const uint8_t token[PRAAS_KEY_BYTES],
			  const struct praas_life_wait *wait, bool *ret_created)
{
	struct praas_life *life = p->life;
	struct praas_records *records = life->config.records;
	struct praas_life_waits done = { NULL };
	struct praas_process_record other;
	struct spawned spawn = { .rc = -EEXIST };
	/* Who created one of that name before p was there is seen now; who comes later finds p. */
	int rc = records->ops->process_get(records, record->app, record->name, &other);

	if (rc == -ENOENT) {
		memcpy(p->token, token, sizeof(p->token));
		spawn = spawn_now(p, record);
		rc = records->ops->process_put(records, record);
	} else {
		rc = rc ? rc : -EEXIST;
	}
	if (rc) {
		drop_new(p, &spawn, record, rc, wait, ret_created);
		return;
	}
	(void)pthread_mutex_lock(&life->lock);
	born(p);
	p->record.version = record->version;
	praas_events_add(life->config.events, record,
			 praas_life_state_text(PRAAS_LIFE_ACTIVATING));
	started(p, &spawn, 0, &done);
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

static void run_start(struct praas_job *job)
{
	struct praas_life_process *p =
		(struct praas_life_process *)(void *)((char *)job -
						      offsetof(
							      struct praas_life_process,
							      start_job));
	struct praas_life *life = p->life;
	struct praas_life_waits done = { NULL }, settled;
	struct praas_process_record record;
	struct spawned spawn = { 0 };
	int rc;

	(void)pthread_mutex_lock(&life->lock);
	while (p->saving)
		(void)pthread_cond_wait(&life->changed, &life->lock);
	p->dirty = false;
	record = p->record;
	(void)pthread_mutex_unlock(&life->lock);
	if (p->retries > 0)
		pass_log(p, &record);
	/* Beside the commit. A controller of an epoch that is not on the disk is not believed when it
	 * joins; should we end now, the slot log keeps its epoch from being used twice. */
	if (praas_life_store_gone(p))
		spawn.rc = -EIDRM;
	else
		spawn = spawn_now(p, &record);
	rc = praas_life_mail_load(p);
	if (rc == 0)
		rc = praas_life_put(p, &record);
	(void)pthread_mutex_lock(&life->lock);
	if (rc == 0)
		p->record.version = record.version;
	started(p, &spawn, rc, &done);
	settled = p->settled; /* of the epoch before */
	p->settled.head = NULL;
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&settled);
	praas_life_tell(&done);
	(void)pthread_mutex_lock(&life->lock);
	life->background--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
}

void praas_life_begin_activation(struct praas_life_process *p)
{
	struct praas_owner_log seen = { .epoch = p->epoch_seen };
	struct praas_owner owner = praas_life_owner(p);
	struct praas_outcome why;

	praas_life_take_next(p);
	if (!praas_life_charge(p, &why) || praas_life_node_take(p, &why)) {
		praas_life_discharge(p);
		praas_life_finish(p, &p->serving, &why, &p->settled);
		praas_life_save(p);
		return;
	}
	praas_life_not_back(p);
	if (praas_life_resting(p->record.state))
		p->rest_state = p->record.state;
	praas_life_new_epoch(&p->record, praas_owner_next_epoch(&owner, &seen),
			     p->token);
	p->record.revision = p->app.revision;
	praas_account_epoch(&p->account);
	praas_functions_epoch(&p->functions_told);
	praas_life_set_state(p, PRAAS_LIFE_ACTIVATING);
	p->starting = true;
	p->joined = false;
	p->told_swapped = false;
	praas_life_mail_forget(p);
	p->failure = (struct praas_outcome){ 0 };
	p->pending_conn = 0;
	p->begun_ns = praas_now_ns();
	p->phase_deadline_ns = p->begun_ns + p->life->config.activate_ns;
	praas_life_arm(p);
	p->start_job.run = run_start;
	praas_life_background(p->life, &p->start_job);
}

static void count_start(struct praas_life_process *p)
{
	uint64_t ns = praas_now_ns() - p->begun_ns;

	if (p->begun_ns == 0 || !p->instance.child)
		return; /* begun before a restart of ours */
	p->life->stats.start[p->instance.start].count++;
	p->life->stats.start[p->instance.start].sum_ns += ns;
	if (ns > p->life->stats.start[p->instance.start].max_ns)
		p->life->stats.start[p->instance.start].max_ns = ns;
}

/* What its state is after a join. */
static void take_place(struct praas_life_process *p, uint64_t seen, bool draining)
{
	bool first = p->record.state == PRAAS_LIFE_ACTIVATING;

	if (draining && p->record.state == PRAAS_LIFE_ACTIVE)
		praas_life_set_state(p, PRAAS_LIFE_DRAINING);
	p->phase_deadline_ns = 0;
	if (first && !p->mail.behind) { /* else it joins again while it catches up */
		p->life->stats.activations++;
		count_start(p);
	}
	if (p->record.state == PRAAS_LIFE_DRAINING && (p->swap_id || draining)) {
		p->mail.seen = praas_max_u64(seen, p->mail.trimmed);
		return; /* where it is then is looked at when that has failed */
	}
	if (praas_life_caught_up(p, seen)) {
		if (p->record.state != PRAAS_LIFE_ACTIVE)
			praas_life_set_state(p, PRAAS_LIFE_ACTIVE);
	} else if (p->record.state == PRAAS_LIFE_ACTIVE) {
		praas_life_set_state(p, PRAAS_LIFE_DRAINING);
	}
	praas_life_more_time(p);
}

static void welcome(struct praas_life_process *p, bool more)
{
	json_t *shared = p->life->config.lease ? json_true() : NULL;

	praas_life_ask(p, json_pack("{s:s,s:o*,s:o*}", "t", "ok", "more",
				    more ? json_true() : NULL, "shared", shared));
}

void praas_life_serving(struct praas_life_process *p, uint64_t conn,
			const char *endpoints, uint64_t seen, bool draining,
			struct praas_life_waits *done)
{
	struct praas_outcome ok = { 0 };
	bool more;

	praas_life_bind(p, conn);
	(void)snprintf(p->record.endpoints, sizeof(p->record.endpoints), "%s",
		       endpoints);
	p->record.os_pid = p->instance.os_pid;
	p->record.os_start = p->instance.os_start;
	p->joined = true;
	p->active_ns = p->settled_ns = praas_now_ns();
	praas_life_check_from(p, p->active_ns);
	take_place(p, seen, draining);
	more = p->mail.behind && !p->swap_id;
	welcome(p, more);
	p->told_swapped = false;
	p->fresh = false;
	p->recovered = false;
	p->retries = 0;
	if (p->record.state == PRAAS_LIFE_ACTIVE)
		praas_life_finish(p, &p->serving, &ok, done);
	praas_life_prepare_soon(p->life);
	if (p->record.state == PRAAS_LIFE_ACTIVE && (p->want_swap || p->life->stopping))
		praas_life_begin_swap(p, false);
	else
		praas_life_send_pending(p);
}

void praas_life_start_failed(struct praas_life_process *p,
			     const struct praas_outcome *why,
			     struct praas_life_waits *done)
{
	struct praas_outcome ok = { 0 };
	bool killed = p->want_kill;

	praas_life_not_back(p);
	p->life->stats.activation_failures += !killed;
	p->phase_deadline_ns = 0;
	p->want_swap = false;
	p->want_kill = false;
	p->retries = 0;
	if (p->record.state == PRAAS_LIFE_DELETING || p->fresh) {
		/* A create that fails leaves nothing; those who wait are told when that is so. */
		if (p->record.state != PRAAS_LIFE_DELETING)
			p->failure = *why;
		praas_life_set_state(p, PRAAS_LIFE_DELETING);
		praas_life_begin_erase(p);
		return;
	}
	praas_life_finish(p, &p->serving, why, done);
	praas_life_finish(p, &p->swapped, why, done);
	praas_life_finish(p, &p->checkpointed, why, done);
	praas_life_finish(p, &p->moved, why, done);
	praas_life_set_state(p, killed ? PRAAS_LIFE_KILLED
				       : (enum praas_life_state)p->rest_state);
	praas_life_finish(p, &p->ended, &ok, &p->settled);
	(void)praas_life_begin_back(p);
	praas_life_save(p);
}
