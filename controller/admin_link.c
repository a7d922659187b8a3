/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "controller/admin_private.h"
#include "controller/journal.h"
#include "controller/spawn.h"
#include "internal/base.h"

#define METRICS_BUSY_NS 1000000000u
#define METRICS_IDLE_NS UINT64_C(10000000000)
#define REQUEST_ID_MAX INT64_MAX

static void hex(const uint8_t *data, size_t bytes, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes; i++) {
		ret_text[2 * i] = digits[data[i] >> 4];
		ret_text[2 * i + 1] = digits[data[i] & 15];
	}
	ret_text[2 * bytes] = '\0';
}

/* A list that is not whole is none: NULL, and no message comes of it. */
static void add(json_t **list, const char *text)
{
	if (json_array_append_new(*list, json_string(text)) == 0)
		return;
	json_decref(*list);
	*list = NULL;
}

static json_t *words(const char *text)
{
	char copy[256], *save = NULL;
	json_t *list = json_array();

	(void)snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, " ", &save); word;
	     word = strtok_r(NULL, " ", &save))
		add(&list, word);
	return list;
}

static json_t *endpoints(const struct praas_admin *a)
{
	json_t *list = json_array();
	const char *endpoint;

	for (unsigned i = 0; (endpoint = praas_data_endpoint(a->data, i)) != NULL; i++)
		add(&list, endpoint);
	return list;
}

static const char *state_word(const struct praas_admin *a)
{
	if (a->move.id != 0 && a->move.fd >= 0)
		return "MIGRATING";
	return a->swap.final ? "DRAINING" : "ACTIVE";
}

void praas_admin_join(struct praas_admin *a)
{
	const struct praas_config *c = a->config;
	char controller[2 * PRAAS_ID_BYTES + 1];
	json_t *message;

	if (!a->serving || !praas_link_connected(a->link))
		return;
	/* Who hears that we serve takes a move that nobody came for as called off: so it is. */
	if (a->move.listen_fd >= 0)
		praas_admin_move_over(a);
	hex(c->controller_id, sizeof(c->controller_id), controller);
	message = json_pack("{ss ss sI sI ss so si ss so ss}", "t", "join", "token",
			    c->join_token, "pid", (json_int_t)c->pid, "epoch",
			    (json_int_t)c->epoch, "controller", controller, "endpoints",
			    endpoints(a), "os_pid", (int)getpid(), "executor",
			    c->isolation_inline ? "inline" : "worker", "sandbox",
			    words(praas_data_layers(a->data)), "state", state_word(a),
			    "seen", (json_int_t)a->catch_up.position);
	if (message && c->node[0])
		(void)json_object_set_new(
			message, "node",
			json_string(c->node)); /* else it is not said */
	if (praas_link_send(a->link, message) != 0) {
		praas_link_renew(a->link); /* a connection begins with it */
		return;
	}
	if (a->metrics_seq > 0) { /* who asks has perhaps forgotten what was told */
		praas_admin_functions_again(a);
		praas_admin_metrics_now(a);
	}
}

void praas_admin_answer(struct praas_admin *a, uint64_t id, int rc)
{
	json_t *message;

	if (id == 0)
		return;
	if (rc == 0) {
		praas_admin_metrics_now(a);
		message =
			json_pack("{ss sI sb sI sI}", "t", "done", "id", (json_int_t)id,
				  "ok", 1, "slot", (json_int_t)a->log.snapshot_slot,
				  "cut", (json_int_t)a->queue_cut);
	} else {
		message =
			json_pack("{ss sI sb ss ss}", "t", "done", "id", (json_int_t)id,
				  "ok", 0, "code", praas_admin_code(rc), "message",
				  a->failure[0] ? a->failure : strerror(-rc));
	}
	if (praas_link_send(a->link, message) != 0)
		praas_link_renew(
			a->link); /* it would wait for ever: it is to ask anew */
}

static uint64_t cpu_ns(const struct praas_admin *a)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) != 0)
		return 0;
	return (a->spawner ? praas_spawner_cpu_ns(a->spawner) : 0) +
	       (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000u +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
}

/* How long nothing has come; since it serves, if never anything has. */
static uint64_t quiet_ns(const struct praas_admin *a,
			 const struct praas_process_stats *s, uint64_t now_ns)
{
	uint64_t last = praas_max_u64(s->last_activity_ns, a->serving_ns);

	return now_ns > last ? now_ns - last : 0;
}

/* The state had the size that it was seen with last, until now. */
static void count_held(struct praas_admin *a, const struct praas_process_stats *s,
		       uint64_t now_ns)
{
	uint64_t since = praas_max_u64(a->held_ns, a->serving_ns);

	if (now_ns > since)
		a->held += (double)a->held_bytes * ((double)(now_ns - since) / 1e9);
	a->held_ns = now_ns;
	a->held_bytes = s->state_bytes;
}

/* Of state beyond memory. What is left out is told the next time. */
static void add_overflow(json_t *message, const struct praas_process_stats *s)
{
	(void)json_object_set_new(message, "state_out_keys",
				  json_integer((json_int_t)s->state_out_keys));
	(void)json_object_set_new(message, "state_out_bytes",
				  json_integer((json_int_t)s->state_out_bytes));
	(void)json_object_set_new(message, "state_fetches",
				  json_integer((json_int_t)s->state_fetches));
	(void)json_object_set_new(message, "state_evictions",
				  json_integer((json_int_t)s->state_evictions));
	(void)json_object_set_new(message, "state_fetch_failures",
				  json_integer((json_int_t)s->state_fetch_failures));
}

static void send_metrics(struct praas_admin *a, const struct praas_process_stats *s,
			 uint64_t now_ns)
{
	json_t *message;

	a->metrics_last = *s;
	a->metrics_ns = now_ns;
	message = json_pack(
		"{ss sI sI sI sI sI sI sI sI sI sI sI sI sI sI sf}", "t", "metrics",
		"seq", (json_int_t)++a->metrics_seq, "invocations",
		(json_int_t)s->invocations, "running", (json_int_t)s->running, "queued",
		(json_int_t)s->queued, "dormant", (json_int_t)s->dormant,
		"mailbox_depth", (json_int_t)s->mailbox_depth, "state_keys",
		(json_int_t)s->state_keys, "state_bytes", (json_int_t)s->state_bytes,
		"idle_ns", (json_int_t)quiet_ns(a, s, now_ns), "cpu_ns",
		(json_int_t)cpu_ns(a), "wall_ns", (json_int_t)(now_ns - a->serving_ns),
		"bytes_in", (json_int_t)s->bytes_in, "bytes_out",
		(json_int_t)s->bytes_out, "circles", (json_int_t)s->circles,
		"resident_byte_s", a->held);
	if (message && a->config->state_bytes > 0)
		add_overflow(message, s);
	(void)praas_link_send(a->link, message); /* the next one says more */
	praas_admin_functions(a);
}

void praas_admin_metrics(struct praas_admin *a, uint64_t now_ns)
{
	struct praas_process_stats s;
	bool same;

	a->metrics_due_ns = now_ns + METRICS_BUSY_NS;
	a->metrics_rest = false;
	if (!a->serving)
		return;
	praas_exchange_stats(a->exchange, &s);
	count_held(a, &s, now_ns);
	if (!praas_link_connected(a->link))
		return;
	same = memcmp(&s, &a->metrics_last, sizeof(s)) == 0;
	if (same && now_ns - a->metrics_ns < METRICS_IDLE_NS) {
		praas_exchange_stats_wake(a->exchange);
		praas_exchange_stats(a->exchange, &s);
		a->metrics_rest = memcmp(&s, &a->metrics_last, sizeof(s)) == 0;
		if (a->metrics_rest)
			a->metrics_due_ns = a->metrics_ns + METRICS_IDLE_NS;
		return;
	}
	send_metrics(a, &s, now_ns);
	/* What functions did is told when the data thread has put it there. */
	(void)praas_exchange_order(a->exchange, PRAAS_ORDER_FUNCTIONS, 0, 0);
}

void praas_admin_metrics_now(struct praas_admin *a)
{
	uint64_t now_ns = praas_now_ns();
	struct praas_process_stats s;

	if (!a->serving || !praas_link_connected(a->link))
		return;
	praas_exchange_stats(a->exchange, &s);
	count_held(a, &s, now_ns);
	send_metrics(a, &s, now_ns);
}

void praas_admin_metrics_wake(struct praas_admin *a)
{
	if (!a->metrics_rest)
		return;
	a->metrics_rest = false;
	a->metrics_due_ns = a->metrics_ns + METRICS_BUSY_NS;
}

/* ---- what control says ---- */

/* A swap-out for want of work, with the time for which there must have been none. */
static bool idle_enough(const struct praas_admin *a, const json_t *message)
{
	json_int_t ms = json_integer_value(json_object_get(message, "idle_ms"));
	struct praas_process_stats s;

	if (ms <= 0)
		return true; /* wanted in any case */
	praas_exchange_stats(a->exchange, &s);
	return s.running == 0 && s.queued == s.dormant &&
	       quiet_ns(a, &s, praas_now_ns()) / 1000000 >= (uint64_t)ms;
}

/* A checkpoint that nobody asked for, for room or for the log, is being taken. */
static bool saves_itself(const struct praas_admin *a)
{
	return !a->swap.final && a->swap.id == 0 &&
	       (a->swap.phase == PRAAS_SWAP_CUTTING ||
		a->swap.phase == PRAAS_SWAP_WRITING ||
		a->swap.phase == PRAAS_SWAP_COMMITTING);
}

/* It may have been cut before what the asker wants saved: his own comes after it. */
static void on_checkpoint(struct praas_admin *a, uint64_t id)
{
	if (id != 0 && a->checkpoint_id == 0 && saves_itself(a))
		a->checkpoint_id = id;
	else
		praas_admin_swap_event(a, PRAAS_SWAP_ASK_CHECKPOINT, 0, id);
}

void praas_admin_checkpoint_waits(struct praas_admin *a)
{
	uint64_t id = a->checkpoint_id;

	if (id == 0 || saves_itself(a))
		return;
	a->checkpoint_id = 0;
	praas_admin_swap_event(a, PRAAS_SWAP_ASK_CHECKPOINT, 0, id);
}

static void on_request(struct praas_admin *a, const char *type, const json_t *message)
{
	const json_t *id = json_object_get(message, "id");
	uint64_t number =
		json_integer_value(id) > 0 ? (uint64_t)json_integer_value(id) : 0;

	if (strcmp(type, "swap-out") == 0 && !idle_enough(a, message)) {
		(void)snprintf(a->failure, sizeof(a->failure), "it has work");
		praas_admin_answer(a, number, -EBUSY);
	} else if (strcmp(type, "swap-out") == 0) {
		praas_admin_swap_event(a, PRAAS_SWAP_ASK_SWAP, 0, number);
	} else if (strcmp(type, "move") == 0) {
		praas_admin_move_ask(a, number, message);
	} else if (strcmp(type, "checkpoint") == 0) {
		on_checkpoint(a, number);
	} else if (strcmp(type, "cancel-swap-out") == 0) {
		praas_admin_move_cancel(a);
		praas_admin_swap_event(a, PRAAS_SWAP_ASK_CANCEL, 0, 0);
	} else if (strcmp(type, "kill") == 0) {
		praas_journal(PRAAS_LOG_INFO, "killed on request");
		praas_admin_answer(a, number, 0);
		praas_admin_end(a, PRAAS_EXIT_DONE, NULL, NULL);
	} else if (strcmp(type, "members") == 0) {
		praas_admin_members_line(a, message);
	}
}

static void on_message(void *user, const json_t *message, const uint8_t *raw,
		       uint64_t raw_bytes)
{
	struct praas_admin *a = user;
	const char *type = json_string_value(json_object_get(message, "t"));
	const char *why = json_string_value(json_object_get(message, "message"));

	if (!type)
		return;
	if (strcmp(type, "refused") == 0) {
		praas_journal(PRAAS_LOG_ERROR, "the control service refuses us: %s",
			      why ? why : "no reason given");
		praas_admin_end(a, PRAAS_EXIT_START, NULL, NULL);
		return;
	}
	if (strcmp(type, "ok") == 0) {
		praas_admin_members_joined(a);
		if (json_is_true(json_object_get(message, "shared")))
			praas_link_look(a->link);
		if (json_is_true(json_object_get(message, "more")))
			praas_admin_mail_more(a);
		return;
	}
	if (!praas_admin_mail_message(a, type, message, raw, raw_bytes))
		on_request(a, type, message);
}

static void on_connected(void *user)
{
	struct praas_admin *a = user;

	a->joined = false;
	praas_admin_mail_renew(a);
	praas_admin_join(a);
}

const struct praas_link_events praas_admin_link_events = {
	.connected = on_connected,
	.message = on_message,
};
