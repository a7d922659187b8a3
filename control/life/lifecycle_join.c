/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom to believe that it serves a process, and as what: a controller that joins (docs/control-link.md). On the link
 * thread.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/json.h"
#include "control/names.h"
#include "control/say.h"
#include "internal/base.h"

void praas_life_refuse(struct praas_life *life, uint64_t conn, const char *why)
{
	json_t *message = json_pack("{s:s,s:s}", "t", "refused", "message", why);

	life->stats.refused_joins++;
	praas_say(PRAAS_SAY_WARNING, "a join was refused: %s", why);
	if (message)
		(void)praas_link_send(life->link, conn,
				      message); /* closed either way */
	json_decref(message);
	praas_link_close(life->link, conn);
}

/* An endpoint is "scheme://rest" of printable characters. */
static bool endpoint_good(const json_t *value)
{
	const char *text = json_string_value(value);

	if (!text || json_string_length(value) > PRAAS_LIMIT_ENDPOINT_BYTES ||
	    !strstr(text, "://"))
		return false;
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c == 0x7f)
			return false;
	return true;
}

/* JSON text of a good list of endpoints. 0; -EPROTO. */
static int endpoints_of(const json_t *message, char ret_text[PRAAS_ENDPOINTS_BYTES])
{
	json_t *list = json_object_get(message, "endpoints");
	size_t n = json_array_size(list), bytes;

	if (n == 0 || n > PRAAS_LIMIT_ENDPOINTS)
		return -EPROTO;
	for (size_t i = 0; i < n; i++)
		if (!endpoint_good(json_array_get(list, i)))
			return -EPROTO;
	bytes = json_dumpb(list, ret_text, PRAAS_ENDPOINTS_BYTES - 1, JSON_COMPACT);
	if (bytes == 0 || bytes >= PRAAS_ENDPOINTS_BYTES)
		return -EPROTO;
	ret_text[bytes] = 0;
	return 0;
}

/* Why a join is not to be believed; NULL: it is. */
static const char *join_fault(const struct praas_life_process *p, const json_t *message,
			      pid_t peer)
{
	uint8_t token[PRAAS_KEY_BYTES], controller[PRAAS_ID_BYTES],
		hash[PRAAS_HASH_BYTES];

	if (praas_hex_decode(praas_json_text_or(message, "token", ""), token,
			     sizeof(token)))
		return "its token is not one";
	praas_hash(token, sizeof(token), hash);
	if (!praas_equal_constant(hash, p->record.join_hash, sizeof(hash)))
		return "its token is wrong";
	if (praas_json_number_or(message, "epoch", 0) != p->record.epoch &&
	    !praas_life_is_taker(p, praas_json_number_or(message, "epoch", 0)))
		return "its epoch is another";
	if (praas_hex_decode(praas_json_text_or(message, "controller", ""), controller,
			     sizeof(controller)) ||
	    memcmp(controller, p->record.controller, sizeof(controller)) != 0)
		return "its controller id is another";
	if (praas_life_resting(p->record.state) ||
	    p->record.state == PRAAS_LIFE_DELETING || p->want_kill)
		return "the process is not meant to run";
	if (praas_json_number_or(message, "epoch", 0) != p->record.epoch)
		return p->has_taker && p->taker.os_pid != peer
			       ? "it is not the OS process that was to take over"
			       : NULL;
	if (p->has_instance && p->instance.os_pid != peer)
		return "it is not the OS process that was started";
	return NULL;
}

/* After a restart of ours: a controller that was started so shortly before that its process id
 * had not been recorded. Its token proves what it is. */
static int adopt_peer(struct praas_life_process *p, pid_t peer)
{
	struct praas_life *life = p->life;
	struct praas_backend *backend = praas_life_backend(p);
	int rc = backend->ops->adopt(backend, peer, praas_os_start(peer), p->number,
				     p->record.epoch, &p->instance);

	if (rc)
		return rc;
	rc = praas_life_watch(life, &p->instance);
	if (rc)
		return rc;
	p->has_instance = true;
	life->instances++;
	return 0;
}

bool praas_life_on_join(struct praas_life *life, uint64_t conn, pid_t peer,
			json_t *message, struct praas_life_waits *done)
{
	struct praas_life_process *p =
		praas_life_find(life, praas_json_number_or(message, "pid", 0));
	const char *state = praas_json_text_or(message, "state", "");
	char endpoints[PRAAS_ENDPOINTS_BYTES];
	const char *fault = "no such process";
	uint64_t seen, epoch = praas_json_number_or(message, "epoch", 0);
	struct praas_outcome ok = { 0 };
	bool moves, taken;

	if (p)
		fault = join_fault(p, message, peer);
	if (!fault && endpoints_of(message, endpoints))
		fault = "its endpoints are not a list of addresses";
	if (!fault && !praas_life_position(message, "seen", &seen))
		fault = "its place in the queue is none";
	if (!fault && p->starting) { /* its start is still being recorded */
		p->pending_conn = conn;
		p->pending_peer = peer;
		p->pending_seen = seen;
		memcpy(p->pending_endpoints, endpoints, sizeof(endpoints));
		return false;
	}
	moves = !fault && p->record.state == PRAAS_LIFE_MIGRATING;
	taken = moves && epoch != p->record.epoch;
	if (taken)
		praas_life_taken(p, (uint32_t)epoch);
	if (!fault)
		praas_life_node_told(p, praas_json_text_or(message, "node", ""));
	if (!fault && !p->has_instance && adopt_peer(p, peer))
		fault = "its OS process cannot be watched";
	if (fault) {
		praas_life_refuse(life, conn, fault);
		return false;
	}
	if (moves && !taken && !strcmp(state, "MIGRATING")) {
		praas_life_moves_on(p, conn, endpoints);
		return false;
	}
	if (moves && !taken)
		praas_life_kept(p, "its controller was not reached", done);
	praas_life_serving(p, conn, endpoints, seen, !strcmp(state, "DRAINING"), done);
	if (taken &&
	    p->record.state != PRAAS_LIFE_ACTIVATING) /* else when it has caught up */
		praas_life_finish(p, &p->moved, &ok, done);
	return true;
}
