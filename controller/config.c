/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/worker_proto.h"

#include "controller/store/gc.h"
#define DRAIN_MS_DEFAULT 10000u
#define UPLOAD_S_DEFAULT (PRAAS_GC_GRACE_S / PRAAS_GC_UPLOADS)
#define UPLOAD_S_MAX 31536000u
#define DRAIN_MS_MAX 3600000u
#define TASKS_MAX 4096u
#define TASKS_DEFAULT 64u

static void copy(struct praas_json_reader *r, const char *member, char *to, size_t room)
{
	const char *text = praas_json_string(r, member, room - 1, NULL);

	(void)snprintf(to, room, "%s", text); /* the reader has checked its length */
}

static void read_names(struct praas_json_reader *r, struct praas_config *c)
{
	praas_json_hex(r, "tenant", c->tenant, sizeof(c->tenant));
	praas_json_hex(r, "app_id", c->app_id, sizeof(c->app_id));
	praas_json_hex(r, "controller_id", c->controller_id, sizeof(c->controller_id));
	praas_json_hex(r, "controller_key", c->controller_key,
		       sizeof(c->controller_key));
	copy(r, "join_token", c->join_token, sizeof(c->join_token));
	if (!praas_json_failed(r) &&
	    (strlen(c->join_token) != sizeof(c->join_token) - 1 ||
	     strspn(c->join_token, "0123456789abcdef") != sizeof(c->join_token) - 1))
		praas_json_fail(r, "join_token",
				"must be hex digits of the right number");
	copy(r, "app", c->app, sizeof(c->app));
	copy(r, "process", c->process, sizeof(c->process));
	if (!praas_json_failed(r) &&
	    (!praas_json_is_name(c->app) || !praas_json_is_name(c->process)))
		praas_json_fail(r, "app and process", "must be names");
	c->pid = praas_json_number(r, "pid", 1, INT64_MAX);
	c->generation = praas_json_number(r, "generation", 0, INT64_MAX);
	c->epoch = (uint32_t)praas_json_number(r, "epoch", 1, UINT32_MAX);
	c->fresh = praas_json_bool(r, "fresh", false);
}

static void read_places(struct praas_json_reader *r, struct praas_config *c)
{
	static const char unix_scheme[] = "unix://";
	const char *link = praas_json_string(r, "link", PRAAS_CONFIG_PATH_MAX, "");
	size_t skip = sizeof(unix_scheme) - 1;

	if (link[0] != '\0' && (strncmp(link, unix_scheme, skip) != 0 ||
				link[skip] != '/' || strlen(link + skip) > 107))
		praas_json_fail(r, "link",
				"must be unix:// and an absolute path of at most "
				"107 bytes");
	else if (link[0] != '\0')
		(void)snprintf(c->link, sizeof(c->link), "%s",
			       link + skip); /* checked */
	copy(r, "store", c->store, sizeof(c->store));
	(void)snprintf(c->node, sizeof(c->node), "%s",
		       praas_json_string(r, "node", sizeof(c->node) - 1,
					 "")); /* the reader has checked its length */
	c->upload_s =
		praas_json_number_or(r, "upload_s", 0, UPLOAD_S_MAX, UPLOAD_S_DEFAULT);
	(void)snprintf(c->log, sizeof(c->log), "%s",
		       praas_json_string(r, "log", sizeof(c->log) - 1,
					 "")); /* the reader has checked its length */
	if (c->log[0] != '\0' && c->log[0] != '/')
		praas_json_fail(r, "log", "must be an absolute path");
}

static void read_store_keys(struct praas_json_reader *parent, struct praas_config *c)
{
	const json_t *value = praas_json_member(parent, "store_keys");
	struct praas_s3_credentials *k = &c->store_keys;
	struct praas_json_reader r;

	if (!value || json_is_null(value))
		return;
	r = praas_json_reader(value, "store_keys", parent->error);
	copy(&r, "key_id", k->key_id, sizeof(k->key_id));
	copy(&r, "secret", k->secret, sizeof(k->secret));
	copy(&r, "session", k->session, sizeof(k->session));
	k->expires_s = (int64_t)praas_json_number(&r, "expires", 0, INT64_MAX);
	praas_json_end(&r);
	c->has_store_keys = praas_s3_credentials_valid(k);
	if (!praas_json_failed(parent) && !c->has_store_keys)
		praas_json_fail(parent, "store_keys", "must be printable");
}

/* Keys as praas_seal_keys_parse() has them, a line each. */
static void read_seal_keys(struct praas_json_reader *parent, struct praas_config *c)
{
	const json_t *value = praas_json_member(parent, "seal_keys");
	struct praas_json_reader r;
	const char *text, *why = "";

	if (!value || json_is_null(value))
		return;
	r = praas_json_reader(value, "seal_keys", parent->error);
	text = praas_json_string(&r, "keys", PRAAS_SEAL_TEXT_MAX, NULL);
	if (!praas_json_failed(&r) &&
	    praas_seal_keys_parse(text, strlen(text), &c->seal_keys, &why) != 0)
		praas_json_fail(&r, "keys", why);
	c->seal_keys.refuse_clear = praas_json_bool(&r, "refuse_clear", false);
	praas_json_end(&r);
}

static void read_move(struct praas_json_reader *parent, struct praas_config *c)
{
	const json_t *value = praas_json_member(parent, "move");
	struct praas_json_reader r;

	if (!value || json_is_null(value))
		return;
	r = praas_json_reader(value, "move", parent->error);
	copy(&r, "at", c->move_at, sizeof(c->move_at));
	praas_json_hex(&r, "secret", c->move_secret, sizeof(c->move_secret));
	praas_json_end(&r);
	if (!praas_json_failed(parent) &&
	    (c->move_at[0] != '/' || strlen(c->move_at) > 107 || c->fresh))
		praas_json_fail(
			parent, "move",
			"must be of a process that is not fresh, at an absolute "
			"path of at most 107 bytes");
}

static void read_code(struct praas_json_reader *r, struct praas_config *c)
{
	copy(r, "code", c->code, sizeof(c->code));
	if (!praas_json_failed(r) && c->code[0] != '/')
		praas_json_fail(r, "code", "must be an absolute path");
	(void)snprintf(c->worker, sizeof(c->worker), "%s",
		       praas_json_string(r, "worker", sizeof(c->worker) - 1,
					 "")); /* the reader has checked its length */
	if (c->worker[0] != '\0' && c->worker[0] != '/')
		praas_json_fail(r, "worker", "must be an absolute path");
}

/* An address that ends in "?" is for where it can be opened. */
static void read_weak(struct praas_config *c, unsigned i)
{
	size_t bytes = strlen(c->listen[i]);

	if (bytes == 0 || c->listen[i][bytes - 1] != '?')
		return;
	c->listen[i][bytes - 1] = '\0';
	c->listen_weak |= UINT32_C(1) << i;
}

static void read_listen(struct praas_json_reader *r, struct praas_config *c)
{
	const json_t *list = praas_json_member(r, "listen");
	size_t count = json_array_size(list);

	if (praas_json_failed(r))
		return;
	if (!json_is_array(list) || count < 1 || count > PRAAS_CONFIG_LISTEN_MAX) {
		praas_json_fail(r, "listen", "must be a list of 1 to 8 addresses");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(list, i);

		if (!json_is_string(item) ||
		    json_string_length(item) >= PRAAS_ADDR_MAX) {
			praas_json_fail(r, "listen",
					"must be addresses below 128 bytes");
			return;
		}
		(void)snprintf(c->listen[i], PRAAS_ADDR_MAX, "%s",
			       json_string_value(item)); /* checked */
		read_weak(c, (unsigned)i);
	}
	c->listen_count = (unsigned)count;
}

static void read_cgroup(struct praas_json_reader *parent, struct praas_config *c)
{
	const json_t *value = praas_json_member(parent, "cgroup");
	struct praas_json_reader r;

	if (!value || json_is_null(value))
		return;
	r = praas_json_reader(value, "cgroup", parent->error);
	c->cgroup_version = (uint32_t)praas_json_number(&r, "version", 1, 2);
	copy(&r, "path", c->cgroup_path, sizeof(c->cgroup_path));
	praas_json_end(&r);
}

static void read_limits(struct praas_json_reader *r, struct praas_config *c)
{
	static const char *const isolations[] = { "worker", "inline", NULL };
	static const char *const waits[] = { "adaptive", "spin", "block", NULL };
	static const char *const durabilities[] = { "swap", "journal", "gate", NULL };

	c->isolation_inline =
		praas_json_choice(r, "isolation", isolations, "worker") == 1;
	c->memory_bytes =
		praas_json_number_or(r, "memory_bytes", PRAAS_MEMORY_BYTES_MIN,
				     PRAAS_MEMORY_BYTES_MAX, 256ull << 20);
	c->state_bytes =
		praas_json_number_or(r, "state_bytes", 0, PRAAS_STATE_BYTES_MAX, 0);
	if (c->state_bytes != 0 && c->state_bytes < c->memory_bytes)
		praas_json_fail(r, "state_bytes",
				"must be 0, or at least memory_bytes");
	c->vcpu_milli =
		(uint32_t)praas_json_number_or(r, "vcpu_milli", 0, 1024u * 1000u, 0);
	c->concurrency = (uint32_t)praas_json_number_or(r, "concurrency", 1,
							PRAAS_WORKERS_MAX, 1);
	c->tasks_max = (uint32_t)praas_json_number_or(r, "tasks_max", 1, TASKS_MAX,
						      TASKS_DEFAULT);
	c->bytes_max = praas_json_number_or(r, "bytes_max", 1, PRAAS_MEMORY_BYTES_MAX,
					    1ull << 30);
	/* A request and its result must fit together. */
	c->bytes_max = praas_min_u64(c->bytes_max, c->memory_bytes / 2);
	c->wait = (enum praas_wait_mode)praas_json_choice(r, "wait", waits, "adaptive");
	c->allow_weak_sandbox = praas_json_bool(r, "allow_weak_sandbox", false);
	c->durability = (enum praas_durability)praas_json_choice(r, "durability",
								 durabilities, "swap");
	c->drain_ms =
		praas_json_number_or(r, "drain_ms", 0, DRAIN_MS_MAX, DRAIN_MS_DEFAULT);
}

int praas_config_parse(const char *text, size_t bytes, struct praas_config *ret_config,
		       char error[PRAAS_JSON_ERROR_MAX])
{
	struct praas_config c = { 0 };
	struct praas_json_reader r;
	json_t *root;

	error[0] = '\0';
	if (bytes > PRAAS_CONFIG_BYTES_MAX) {
		(void)snprintf(error, PRAAS_JSON_ERROR_MAX, "is larger than 1 MiB");
		return -EINVAL;
	}
	root = praas_json_parse(text, bytes, error);
	if (!root)
		return -EINVAL;
	r = praas_json_reader(root, "", error);
	c.prepare = praas_json_bool(&r, "prepare", false);
	if (c.prepare) {
		praas_json_hex(&r, "app_id", c.app_id, sizeof(c.app_id));
	} else {
		read_names(&r, &c);
		read_places(&r, &c);
		read_store_keys(&r, &c);
		read_seal_keys(&r, &c);
		read_listen(&r, &c);
		read_move(&r, &c);
	}
	read_code(&r, &c);
	read_limits(&r, &c);
	read_cgroup(&r, &c);
	praas_json_end(&r);
	json_decref(root);
	if (praas_json_failed(&r)) {
		praas_config_wipe(&c);
		return -EINVAL;
	}
	*ret_config = c;
	praas_config_wipe(&c);
	return 0;
}

bool praas_config_fits(const struct praas_config *prepared,
		       const struct praas_config *config)
{
	const struct praas_config *p = prepared, *c = config;

	return memcmp(p->app_id, c->app_id, sizeof(p->app_id)) == 0 &&
	       strcmp(p->code, c->code) == 0 && strcmp(p->worker, c->worker) == 0 &&
	       p->isolation_inline == c->isolation_inline &&
	       p->memory_bytes == c->memory_bytes && p->state_bytes == c->state_bytes &&
	       p->vcpu_milli == c->vcpu_milli && p->concurrency == c->concurrency &&
	       p->tasks_max == c->tasks_max && p->bytes_max == c->bytes_max &&
	       p->wait == c->wait && p->allow_weak_sandbox == c->allow_weak_sandbox &&
	       p->cgroup_version == c->cgroup_version &&
	       strcmp(p->cgroup_path, c->cgroup_path) == 0;
}

void praas_config_wipe(struct praas_config *config)
{
	explicit_bzero(config->controller_key, sizeof(config->controller_key));
	explicit_bzero(config->join_token, sizeof(config->join_token));
	explicit_bzero(config->move_secret, sizeof(config->move_secret));
	praas_s3_credentials_wipe(&config->store_keys);
	config->has_store_keys = false;
	praas_seal_keys_wipe(&config->seal_keys);
}
