/* SPDX-License-Identifier: Apache-2.0 */
#include "control/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/collect.h"
#include "control/life/data_listen.h"
#include "control/names.h"
#include "control/rest/listen.h"
#include "control/rest/pass.h"
#include "control/rest/tls.h"
#include "control/say.h"
#include "control/store_open.h"
#include "controller/store/gc.h"
#include "controller/store/whole.h"
#include "internal/base.h"

#define PATH_BYTES PRAAS_PARTS_PATH
#define SOCKET_ROOM                                                                    \
	28u /* "/NUMBER-EPOCH.sock" of 32 bits each, below a UNIX address's 107 */
#define ACTIVATE_NS (30 * 1000000000ull)
#define ERROR_TEXT 256
#define HOST_BYTES 256
#define PLACE_BYTES 16

int praas_parts_complain(const char *what, const char *which, int rc)
{
	praas_say(PRAAS_SAY_ERROR, "%s %s: %s", what, which, strerror(-rc));
	return rc;
}

static int complain(const char *what, const char *which, int rc)
{
	return praas_parts_complain(what, which, rc);
}

static int make_folder(const char *path)
{
	return mkdir(path, 0700) && errno != EEXIST
		       ? complain("cannot make", path, -errno)
		       : 0;
}

static int sub_folder(const char *folder, const char *name, char ret_path[PATH_BYTES])
{
	int n = snprintf(ret_path, PATH_BYTES, "%s/%s", folder, name);

	if (n < 0 || n >= PATH_BYTES)
		return complain("path", folder, -ENAMETOOLONG);
	return make_folder(ret_path);
}

static int open_folders(struct praas_parts *s, const struct praas_options *o)
{
	char path[PATH_BYTES];
	int rc = make_folder(o->data);

	if (rc)
		return rc;
	if (!realpath(o->data, path) || strlen(path) >= PATH_BYTES)
		return complain("cannot use", o->data, -errno);
	(void)snprintf(s->data, sizeof(s->data), "%s", path);
	rc = sub_folder(s->data, "store", path);
	if (rc == 0)
		rc = sub_folder(s->data, "log", path);
	if (rc == 0)
		rc = sub_folder(s->data, "code", path);
	if (rc == 0 && o->run) {
		rc = make_folder(o->run);
		if (rc == 0 && !realpath(o->run, s->run))
			rc = complain("cannot use", o->run, -errno);
	} else if (rc == 0) {
		rc = sub_folder(s->data, "run", s->run);
	}
	if (rc == 0 && strlen(s->run) + SOCKET_ROOM > 107)
		rc = complain("too long for sockets (choose a short --run DIR):",
			      s->run, -ENAMETOOLONG);
	return rc;
}

/* One control service per data folder, or several that know of each other. A lock of the process: a controller that is about to begin has
 * our descriptors until it execs, and must not keep the folder from who comes after us. */
static int take_lock(struct praas_parts *s, const struct praas_options *o)
{
	struct flock lock = { .l_type = o->replica ? F_RDLCK : F_WRLCK,
			      .l_whence = SEEK_SET };
	char path[PATH_BYTES + 8];

	(void)snprintf(path, sizeof(path), "%s/lock", s->data);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return complain("cannot open", path, -errno);
	if (fcntl(s->lock_fd, F_SETLK, &lock))
		return complain("another control service uses", s->data, -errno);
	if (o->replica)
		return 0; /* it says where the active one answers */
	/* Until praas_parts_note() it says nothing. */
	return ftruncate(s->lock_fd, 0) ? complain("cannot write", path, -errno) : 0;
}

/* Next to this program, or where an installation has it. */
static int find_controller(struct praas_parts *s, const struct praas_options *o)
{
	static const char *const places[] = { "praas-controller",
					      "../libexec/praas/praas-controller" };
	char self[PATH_BYTES] = "", path[2 * PATH_BYTES];
	char *slash;

	if (o->controller)
		return realpath(o->controller, s->controller)
			       ? 0
			       : complain("controller", o->controller, -errno);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return complain("cannot read", "/proc/self/exe", -errno);
	slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", self, places[i]);
		if (access(path, X_OK) == 0 && realpath(path, s->controller))
			return 0;
	}
	return complain(
		"praas-controller is not next to this program (--controller PATH);",
		self, -ENOENT);
}

static int find_programs(struct praas_parts *s, const struct praas_options *o)
{
	int rc = find_controller(s, o);

	if (rc == 0 && access(s->controller, X_OK))
		rc = complain("controller", s->controller, -errno);
	if (rc == 0 && o->worker && !realpath(o->worker, s->worker))
		rc = complain("worker", o->worker, -errno);
	return rc;
}

/* This data folder, of which one service at a time has the lock, on this machine. */
static void place_of(const struct praas_parts *s, char ret_place[2 * PLACE_BYTES + 1])
{
	char text[PATH_BYTES + HOST_BYTES] = "";
	uint8_t hash[PRAAS_HASH_BYTES];

	(void)gethostname(text, HOST_BYTES - 1);
	(void)snprintf(text + strlen(text), PATH_BYTES, "%s", s->data);
	praas_hash(text, strlen(text), hash);
	praas_hex_encode(hash, PLACE_BYTES, ret_place);
}

static int open_replica(struct praas_parts *s, const struct praas_options *o)
{
	char place[2 * PLACE_BYTES + 1];
	int rc;

	if (!o->replica)
		return 0;
	place_of(s, place);
	s->lease.ms = o->lease_s * 1000;
	s->lease.busy = praas_standby_busy;
	s->lease.lost = praas_standby_lost;
	s->lease.user = s;
	s->service.lease = &s->lease;
	rc = praas_replica_open(s->data, place, &s->replica);
	return rc ? complain("cannot make a file in", s->data, rc) : 0;
}

static int open_records(struct praas_parts *s, const struct praas_options *o)
{
	char url[PATH_BYTES + 32], text[ERROR_TEXT] = "", place[2 * PLACE_BYTES + 1];
	int rc;

	place_of(s, place);
	(void)snprintf(url, sizeof(url), "sqlite://%s/records.db", s->data);
	if (o->replica)
		rc = praas_records_open_shared(o->records, s->replica.place, &s->lease,
					       &s->service.records, text);
	else
		rc = praas_records_open(o->records ? o->records : url, place,
					&s->service.records, text);
	if (rc == 0)
		rc = praas_records_cached(s->service.records, &s->service.records);
	if (rc && rc != -ECANCELED)
		praas_say(PRAAS_SAY_ERROR, "records: %s", text);
	if (rc == 0 && o->replica)
		praas_say(PRAAS_SAY_INFO,
			  "this control service is the active one (term %llu)",
			  (unsigned long long)s->lease.term);
	return rc;
}

static int open_keys(struct praas_parts *s, const struct praas_options *o)
{
	char text[ERROR_TEXT] = "";
	int fd = open(s->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 || flock(fd, LOCK_EX) ? -errno : 0;

	if (rc) {
		if (fd >= 0)
			(void)close(fd);
		return complain("cannot lock", s->data, rc);
	}
	/* The first of several that start at once makes them. */
	rc = praas_keys_open(s->data, o->token_file, &s->service.keys, text);
	(void)close(fd);
	(void)unsetenv("PRAAS_ADMIN_TOKEN"); /* children need not know it */
	if (rc)
		praas_say(PRAAS_SAY_ERROR, "keys: %s", text);
	return rc;
}

static int open_tenants(struct praas_parts *s, const struct praas_options *o)
{
	char text[ERROR_TEXT] = "";
	int rc = praas_tenants_open(s->service.records, &s->service.tenants, text);

	(void)o;
	if (rc == 0)
		rc = praas_tokens_open(s->service.records, &s->service.tokens, text);
	if (rc == 0)
		rc = praas_memos_new(s->service.records, &s->service.memos);
	if (rc)
		praas_say(PRAAS_SAY_ERROR, "records: %s", text);
	return rc;
}

static int open_audit(struct praas_parts *s, const struct praas_options *o)
{
	char file[PATH_BYTES + 32];
	struct praas_audit_config config = { .file = file };
	int rc;

	(void)o;
	(void)snprintf(file, sizeof(file), "%s/log/audit.jsonl", s->data);
	rc = praas_audit_open(&config, &s->service.audit);
	return rc ? complain("cannot open", file, rc) : 0;
}

static int open_store(struct praas_parts *s, const struct praas_options *o)
{
	const char *why = "";
	int rc = praas_stores_keys(o, &s->service.seal_keys);

	if (rc)
		return rc;
	if (o->snapshots)
		(void)snprintf(s->store_url, sizeof(s->store_url), "%s", o->snapshots);
	else
		(void)snprintf(s->store_url, sizeof(s->store_url), "file://%s/store",
			       s->data);
	s->service.store_url = s->store_url;
	if (!o->snapshots)
		return 0;
	rc = strlen(o->snapshots) < sizeof(s->store_url)
		     ? praas_store_url_check(s->store_url, &why)
		     : -EINVAL;
	if (rc == 0)
		rc = praas_store_take_keys(s->store_url, &why);
	if (rc) {
		praas_say(PRAAS_SAY_ERROR, "--snapshots %.200s: %s", o->snapshots, why);
		return rc;
	}
	return praas_stores_try(s->store_url);
}

/* Data planes that others can reach speak TLS unless told otherwise. */
static int wants_data_tls(const struct praas_options *o, const char *host,
			  bool *ret_tls)
{
	struct sockaddr_storage addr;
	socklen_t bytes;
	char text[80];

	(void)snprintf(text, sizeof(text), "[%.70s]:0", host);
	if (praas_listen_parse(text, &addr, &bytes) != 0)
		return complain("--data-host is no address:", host, -EINVAL);
	if (strcmp(o->data_tls, "on") == 0)
		*ret_tls = true;
	else if (strcmp(o->data_tls, "off") == 0)
		*ret_tls = false;
	else if (strcmp(o->data_tls, "auto") == 0)
		*ret_tls = !praas_listen_loopback(&addr);
	else
		return complain("--data-tls is auto, on or off, not", o->data_tls,
				-EINVAL);
	return 0;
}

/* Named so that it is the same after a restart, and another for each node. */
static void group_of(const struct praas_parts *s, const char *node, char ret_group[32])
{
	char text[PATH_BYTES + PRAAS_NAME_MAX + 2];
	uint8_t hash[PRAAS_HASH_BYTES];
	bool plain = strcmp(node, PRAAS_NODE_DEFAULT) == 0;
	int n = snprintf(text, sizeof(text), "%s%s%s", s->data, plain ? "" : "\n",
			 plain ? "" : node);

	(void)snprintf(ret_group, 32, "praas-");
	praas_hash(text, (size_t)n, hash);
	praas_hex_encode(hash, 6, ret_group + strlen(ret_group));
}

static int open_node(struct praas_parts *s, const struct praas_options *o,
		     struct praas_node *node)
{
	char group[32];
	struct praas_backend_local_config config = {
		.controller = s->controller,
		.log_dir = s->log_dir,
		.group = o->no_cgroup ? NULL : group,
		.netns = node->netns[0] ? node->netns : NULL,
		.prewarm = (uint32_t)o->prewarm,
	};
	int rc;

	if (!node->listen[0])
		(void)snprintf(node->listen, sizeof(node->listen), "%s", o->data_host);
	rc = wants_data_tls(o, node->listen, &node->tls);
	if (rc)
		return rc;
	group_of(s, node->name, group);
	rc = praas_backend_local_new(&config, &node->backend);
	if (rc && node->netns[0])
		praas_say(PRAAS_SAY_ERROR, "node %s: network namespace %s: %s",
			  node->name, node->netns, strerror(-rc));
	else if (rc)
		return complain("back end", s->controller, rc);
	return rc;
}

static int open_nodes(struct praas_parts *s, const struct praas_options *o)
{
	struct praas_nodes *nodes = &s->service.nodes;
	const char *why;
	int rc = 0;

	(void)snprintf(s->log_dir, sizeof(s->log_dir), "%s/log", s->data);
	s->service.log_dir = s->log_dir;
	if (nodes->count == 0)
		(void)praas_nodes_add(nodes, PRAAS_NODE_DEFAULT,
				      &why); /* it is right */
	for (uint32_t i = 0; rc == 0 && i < nodes->count; i++)
		rc = open_node(s, o, &nodes->node[i]);
	return rc;
}

static int open_jobs(struct praas_parts *s, const struct praas_options *o)
{
	int rc = praas_jobs_new(PRAAS_LIMIT_JOBS, PRAAS_LIMIT_QUEUE, &s->service.jobs);

	(void)o;
	if (rc == 0)
		rc = praas_events_new(&s->service.events);
	return rc ? complain("cannot begin the work of", s->data, rc) : 0;
}

static int open_work(struct praas_parts *s, const struct praas_options *o)
{
	int rc = praas_data_new(&s->service.keys, &s->service.nodes, &s->service.data);

	return rc ? complain("cannot begin the work of", s->data, rc)
		  : open_nodes(s, o);
}

/* What goes over these wires can be read and changed there: said once, to who has asked for it. */
static void warn_of_clear(const struct praas_nodes *nodes, const char *list)
{
	bool clear = false;
	size_t bytes;

	for (uint32_t i = 0; i < nodes->count; i++)
		clear |= !nodes->node[i].tls && !nodes->node[i].netns[0];
	while (clear && list && (list = praas_listen_clear(list, &bytes)) != NULL) {
		praas_say(PRAAS_SAY_WARNING,
			  "%.*s is neither encrypted nor authenticated after the "
			  "handshake: for a network of your own only, or with "
			  "--data-tls on",
			  (int)bytes, list);
		list += bytes;
	}
}

static int open_life(struct praas_parts *s, const struct praas_options *o)
{
	char link_path[PATH_BYTES + 16], code[PATH_BYTES + 16];
	struct praas_life_config config = {
		.upload_s = o->collect_s / PRAAS_GC_UPLOADS,
		.seal_keys = &s->service.seal_keys,
		.records = s->service.records,
		.lease = s->service.lease,
		.keys = &s->service.keys,
		.tenants = s->service.tenants,
		.events = s->service.events,
		.nodes = &s->service.nodes,
		.jobs = s->service.jobs,
		.link_path = link_path,
		.run_dir = s->run,
		.code_dir = code,
		.store_url = s->store_url,
		.data_listen = o->data_listen,
		.worker = s->worker,
		.activate_ns = ACTIVATE_NS,
		.idle = { .after_ns = o->idle_s * 1000000000u,
			  .swap_ns = o->idle_swap_s * 1000000000u,
			  .calls_max = o->idle_calls,
			  .pressure = (uint32_t)o->pressure },
		.drain_ns = o->drain_s * 1000000000u,
		.drain_moves = (uint32_t)o->drain_moves,
		.balance_ns = o->balance_s * 1000000000u,
		.balance_stay = o->balance_stay_s * 1000000000u,
		.balance_gap = (uint32_t)o->balance_percent,
		.rejoin_ns = o->rejoin_s * 1000000000u,
		.usage_ns = o->usage_s * 1000000000u,
		.usage_days = o->usage_days
	};
	int rc = praas_place_policy_parse(o->placement, &config.placement);

	if (rc)
		return complain("--placement", o->placement, rc);
	warn_of_clear(&s->service.nodes, o->data_listen);
	(void)snprintf(link_path, sizeof(link_path), "%s/link.sock", s->run);
	(void)snprintf(code, sizeof(code), "%s/code", s->data);
	rc = praas_life_new(&config, &s->service.life);
	if (rc)
		return complain("link", link_path, rc);
	rc = praas_life_start(s->service.life);
	return rc ? complain("cannot take over the processes of", s->data, rc) : 0;
}

static int open_collect(struct praas_parts *s, const struct praas_options *o)
{
	int rc = praas_collect_start(s->store_url, &s->service.seal_keys, o->collect_s,
				     &s->service.collect);

	return rc ? complain("cannot collect in", s->store_url, rc) : 0;
}

static int open_tls(struct praas_parts *s, const struct praas_options *o)
{
	char text[ERROR_TEXT] = "";
	int rc = o->tls_cert ? praas_tls_open(o->tls_cert, o->tls_key, text) : 0;

	(void)s;
	if (rc)
		praas_say(PRAAS_SAY_ERROR, "TLS: %s", text);
	return rc;
}

int praas_parts_open_rest(struct praas_parts *s)
{
	const struct praas_options *o = s->options;
	struct praas_rest_config config = { .listen = o->listen,
					    .insecure = o->insecure,
					    .tls = o->tls_cert != NULL,
					    .head_s = (uint32_t)o->head_s,
					    .service = &s->service };
	int rc = praas_rest_start(&config, &s->rest);

	if (rc == -EACCES && !o->insecure && !o->tls_cert)
		return complain("not a loopback address (--tls-cert and --tls-key, or "
				"--insecure-listen, allow it):",
				o->listen, rc);
	return rc ? complain("cannot listen on", o->listen, rc) : 0;
}

static int open_rest(struct praas_parts *s, const struct praas_options *o)
{
	int rc = s->rest ? 0 : praas_parts_open_rest(s);

	return rc || !o->replica ? rc : praas_standby_over(s);
}

static int tell(struct praas_parts *s, const struct praas_options *o)
{
	int rc = praas_parts_note(s);

	(void)o;
	return rc || s->stands_by ? rc : praas_parts_announce(s);
}

/* Each needs those before it. */
static int (*const steps[])(struct praas_parts *s, const struct praas_options *o) = {
	open_folders, take_lock,    find_programs, open_tls,   open_keys,  open_jobs,
	open_replica, open_records, open_tenants,  open_audit, open_store, open_work,
	open_life,    open_collect, open_rest,     tell,
};

int praas_parts_open(struct praas_parts *parts)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(steps) / sizeof(steps[0]); i++)
		rc = steps[i](parts, parts->options);
	return rc;
}

static void end_life(struct praas_parts *s, bool served)
{
	if (!s->service.life)
		return;
	if (served && s->service.lease && praas_standby_heir(s)) {
		praas_say(PRAAS_SAY_INFO,
			  "processes go on: another control service takes them over");
		served = false;
	}
	if (s->rest)
		praas_rest_refuse(s->rest);
	if (served)
		praas_life_stop(s->service.life,
				praas_now_ns() + s->options->stop_s * 1000000000u);
	else
		praas_life_leave(s->service.life);
}

void praas_parts_close(struct praas_parts *s, bool served)
{
	end_life(s, served);
	if (s->rest)
		praas_rest_refuse(s->rest);
	praas_passes_stop(s->service.passes);
	praas_rest_free(s->rest);
	praas_passes_free(s->service.passes);
	praas_collect_stop(s->service.collect);
	praas_jobs_free(s->service.jobs);
	praas_data_free(s->service.data);
	praas_life_free(s->service.life);
	praas_nodes_close(&s->service.nodes);
	praas_audit_close(s->service.audit);
	praas_events_free(s->service.events);
	praas_memos_free(s->service.memos);
	praas_tokens_close(s->service.tokens);
	praas_tenants_close(s->service.tenants);
	if (s->service.records)
		s->service.records->ops->close(s->service.records);
	praas_keys_close(&s->service.keys);
	praas_seal_keys_wipe(&s->service.seal_keys);
	praas_tls_close();
	praas_replica_close(&s->replica);
	if (s->lock_fd >= 0)
		(void)close(s->lock_fd);
}

static int ready_line(const struct praas_parts *s, bool stands_by,
		      char ret_line[PATH_BYTES])
{
	return snprintf(ret_line, PATH_BYTES, "{\"url\":\"%s\",\"pid\":%d%s}\n",
			praas_rest_url(s->rest), (int)getpid(),
			stands_by ? ",\"role\":\"standby\"" : "");
}

int praas_parts_note(const struct praas_parts *s)
{
	char line[PATH_BYTES];
	int n = ready_line(s, false, line);

	if (pwrite(s->lock_fd, line, (size_t)n, 0) != n || ftruncate(s->lock_fd, n))
		return complain("cannot write to", "the lock of --data", -EIO);
	return 0;
}

int praas_parts_announce(const struct praas_parts *s)
{
	char line[PATH_BYTES];
	int n = ready_line(s, s->stands_by, line);

	errno = EIO; /* of a short write */
	if (s->options->ready_fd &&
	    write((int)s->options->ready_fd, line, (size_t)n) != n)
		return complain("cannot write to", "--ready-fd", -errno);
	(void)fputs(line, stdout);
	(void)fflush(stdout);
	return 0;
}
