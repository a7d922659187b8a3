/* SPDX-License-Identifier: Apache-2.0
 *
 * As much of <praas/client.h> as the control service uses, without a data plane: state and messages
 * in memory, functions by name:
 *
 *   echo      its input                    fail      code 7, "it failed"
 *   crash     PRAAS_CRASHED                slow      PRAAS_DEADLINE at the deadline
 *   key       the invocation's key         epoch     the ticket's epoch, in decimal
 *   drain     PRAAS_DRAINING once per epoch 1, then as echo
 *   nap       as echo, after 3 ms
 *   cut       as echo, but its first answer is lost with the connection; with its id sent again: "again"
 *   lost      the connection is lost each time; past  the same, and nobody knows the id; losses  how many
 *
 * Several calls may be under way on one connection.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "praas/client.h"

#define NAP_NS 3000000u

struct pending {
	struct pending *next;
	struct praas_result result;
	uint64_t call, ready_ns;
};

struct praas_connection {
	json_int_t number, epoch;
	struct pending *pending; /* calls under way */
	uint64_t call;           /* the last */
};

struct item {
	struct item *next;
	json_int_t number;
	int is_message;
	const praas_connection *held; /* by whom */
	char key[PRAAS_KEY_MAX + 1];
	void *data;
	size_t bytes;
	uint64_t version;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct item *items;
static uint64_t version_last;
static _Atomic uint64_t cut, lost;

static const char *const functions[] = { "echo", "fail",  "crash", "slow",
					 "key",  "epoch", "drain", "nap",
					 "cut",  "lost",  "past",  "losses" };

const char *praas_status_text(int status)
{
	return status == PRAAS_CRASHED ? "the worker died" : "a status";
}

int praas_connect_ticket(const char *ticket_json,
			 const struct praas_connect_config *config,
			 praas_connection **ret_conn)
{
	json_t *ticket = json_loads(ticket_json, 0, NULL);
	praas_connection *conn;

	(void)config;
	if (strlen(json_string_value(json_object_get(ticket, "ticket"))) != 304 ||
	    strlen(json_string_value(json_object_get(ticket, "session_key"))) != 64)
		return -EINVAL;
	conn = calloc(1, sizeof(*conn));
	conn->number = json_integer_value(json_object_get(ticket, "number"));
	conn->epoch = json_integer_value(json_object_get(ticket, "epoch"));
	json_decref(ticket);
	*ret_conn = conn;
	return 0;
}

void praas_close(praas_connection *conn)
{
	struct pending *p;

	(void)pthread_mutex_lock(&lock);
	for (struct item *i = items; conn && i; i = i->next)
		if (i->held == conn)
			i->held = NULL;
	(void)pthread_mutex_unlock(&lock);
	while (conn && (p = conn->pending)) {
		conn->pending = p->next;
		free((void *)(uintptr_t)p->result.view.data);
		free(p);
	}
	free(conn);
}

int praas_function_lookup(praas_connection *conn, const char *function,
			  uint32_t *ret_function)
{
	(void)conn;
	for (uint32_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (strcmp(functions[i], function) != 0)
			continue;
		*ret_function = i;
		return 0;
	}
	return -ENOENT;
}

static void give(struct praas_result *result, int status, const void *data,
		 size_t bytes)
{
	void *copy = malloc(bytes + 1);

	if (bytes > 0)
		memcpy(copy, data, bytes);
	result->status = status;
	result->view.data = copy;
	result->view.bytes = bytes;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int praas_submit(praas_connection *conn, const struct praas_call *call,
		 uint64_t *ret_call)
{
	const char *name = functions[call->function];
	struct pending *p = calloc(1, sizeof(*p));
	struct praas_result *ret_result = &p->result;
	char text[32];

	ret_result->run_ns = 1000;
	*ret_call = p->call = ++conn->call;
	p->next = conn->pending;
	conn->pending = p;
	if (call->flags & PRAAS_CALL_TIMING)
		*call->timing = (struct praas_timing){ 15, 1, 2, 3, 4, 5 };
	if (!strcmp(name, "fail")) {
		give(ret_result, 7, "it failed", 9);
	} else if (!strcmp(name, "crash")) {
		give(ret_result, PRAAS_CRASHED, "", 0);
	} else if (!strcmp(name, "slow")) {
		p->ready_ns = now_ns() + call->timeout_ns;
		give(ret_result, PRAAS_DEADLINE, "", 0);
	} else if (!strcmp(name, "key")) {
		give(ret_result, 0, call->key ? call->key : "",
		     call->key ? strlen(call->key) : 0);
	} else if (!strcmp(name, "losses")) {
		(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)lost);
		give(ret_result, 0, text, strlen(text));
	} else if (!strcmp(name, "epoch")) {
		(void)snprintf(text, sizeof(text), "%lld", conn->epoch);
		give(ret_result, 0, text, strlen(text));
	} else if (!strcmp(name, "cut") && call->id != 0 && call->id == cut) {
		give(ret_result, 0, "again", 5);
	} else if (!strcmp(name, "cut") || !strcmp(name, "lost") ||
		   !strcmp(name, "past")) {
		give(ret_result, PRAAS_UNKNOWN, "lost", 4);
		ret_result->call = 0x1000 + *ret_call;
		cut = ret_result->call;
		ret_result->retry_ns = name[0] != 'p';
		lost++;
	} else {
		static int drained;

		if (!strcmp(name, "drain") &&
		    !__atomic_exchange_n(&drained, 1, __ATOMIC_RELAXED))
			give(ret_result, PRAAS_DRAINING, "", 0);
		else
			give(ret_result, 0, call->data, call->bytes);
		if (!strcmp(name, "nap"))
			p->ready_ns = now_ns() + NAP_NS;
	}
	return 0;
}

int praas_wait_call(praas_connection *conn, uint64_t call, int64_t timeout_ns,
		    struct praas_result *ret_result)
{
	struct pending **at = &conn->pending, *p;
	uint64_t now = now_ns(), wait;
	struct timespec t;
	bool late;

	while (*at && (*at)->call != call)
		at = &(*at)->next;
	p = *at;
	if (!p)
		return -EINVAL;
	wait = p->ready_ns > now ? p->ready_ns - now : 0;
	late = timeout_ns >= 0 && wait > (uint64_t)timeout_ns;
	if (late)
		wait = (uint64_t)timeout_ns;
	t.tv_sec = (time_t)(wait / 1000000000u);
	t.tv_nsec = (long)(wait % 1000000000u);
	if (wait > 0)
		(void)nanosleep(&t, NULL);
	if (late)
		return -EAGAIN;
	*ret_result = p->result;
	*at = p->next;
	free(p);
	return 0;
}

int praas_call(praas_connection *conn, const struct praas_call *call,
	       struct praas_result *ret_result)
{
	uint64_t id;

	(void)praas_submit(conn, call, &id); /* never refuses */
	return praas_wait_call(conn, id, -1, ret_result);
}

void praas_result_release(praas_connection *conn, struct praas_result *result)
{
	(void)conn;
	free((void *)(uintptr_t)result->view.data);
}

/* The place of the first that fits; its *at is NULL when there is none. */
static struct item **find(const praas_connection *conn, const char *key, int is_message)
{
	struct item **at = &items;

	while (*at &&
	       ((*at)->number != conn->number || (*at)->is_message != is_message ||
		(*at)->held || strcmp((*at)->key, key) != 0))
		at = &(*at)->next;
	return at;
}

static void put(const praas_connection *conn, const char *key, const void *data,
		size_t bytes, int is_message)
{
	struct item *item = calloc(1, sizeof(*item)), **at = &items;

	item->number = conn->number;
	item->is_message = is_message;
	(void)snprintf(item->key, sizeof(item->key), "%s", key);
	item->data = malloc(bytes + 1);
	if (bytes > 0)
		memcpy(item->data, data, bytes);
	item->bytes = bytes;
	item->version = ++version_last;
	while (*at)
		at = &(*at)->next;
	*at = item;
}

static int take(const praas_connection *conn, const char *key, int is_message)
{
	struct item **at = find(conn, key, is_message), *item = *at;

	if (!item)
		return -ENOENT;
	*at = item->next;
	free(item->data);
	free(item);
	return 0;
}

int praas_msg_send(praas_connection *conn, const char *key, const void *data,
		   size_t bytes)
{
	(void)pthread_mutex_lock(&lock);
	put(conn, key, data, bytes, 1);
	(void)pthread_mutex_unlock(&lock);
	return 0;
}

int praas_msg_send_context(praas_connection *conn, const char *key, const void *data,
			   size_t bytes, const struct praas_trace_context *trace)
{
	(void)trace;
	return praas_msg_send(conn, key, data, bytes);
}

static int copy_out(const praas_connection *conn, const char *key, int is_message,
		    void **ret_data, size_t *ret_bytes, uint64_t *ret_version)
{
	const struct item *item = *find(conn, key, is_message);

	if (!item)
		return -ENOENT;
	*ret_data = malloc(item->bytes + 1);
	memcpy(*ret_data, item->data, item->bytes);
	*ret_bytes = item->bytes;
	*ret_version = item->version;
	return 0;
}

int praas_msg_hold(praas_connection *conn, const char *key, int64_t timeout_ns,
		   void **ret_data, size_t *ret_bytes, struct praas_msg_held *ret_held)
{
	struct item *item;
	int rc;

	(void)timeout_ns;
	*ret_held = (struct praas_msg_held){ .id = 0 };
	(void)pthread_mutex_lock(&lock);
	item = *find(conn, key, 1);
	rc = copy_out(conn, key, 1, ret_data, ret_bytes, &ret_held->id);
	if (rc == 0)
		item->held = conn;
	ret_held->source = ret_held->id;
	(void)pthread_mutex_unlock(&lock);
	return rc ? -EAGAIN : 0;
}

int praas_msg_taken(praas_connection *conn, const struct praas_msg_held *held)
{
	struct item **at = &items, *item;

	(void)pthread_mutex_lock(&lock);
	while ((item = *at) && (item->held != conn || item->version != held->id))
		at = &item->next;
	if (item)
		*at = item->next;
	(void)pthread_mutex_unlock(&lock);
	if (!item)
		return -ENOENT;
	free(item->data);
	free(item);
	return 0;
}

int praas_state_read(praas_connection *conn, const char *key, void **ret_data,
		     size_t *ret_bytes, uint64_t *ret_version)
{
	int rc;

	(void)pthread_mutex_lock(&lock);
	rc = copy_out(conn, key, 0, ret_data, ret_bytes, ret_version);
	(void)pthread_mutex_unlock(&lock);
	return rc;
}

int praas_state_write(praas_connection *conn, const char *key, const void *data,
		      size_t bytes)
{
	(void)pthread_mutex_lock(&lock);
	(void)take(conn, key, 0);
	put(conn, key, data, bytes, 0);
	(void)pthread_mutex_unlock(&lock);
	return 0;
}

int praas_state_remove(praas_connection *conn, const char *key)
{
	int rc;

	(void)pthread_mutex_lock(&lock);
	rc = take(conn, key, 0);
	(void)pthread_mutex_unlock(&lock);
	return rc;
}

int praas_state_enumerate(praas_connection *conn, const char *prefix, const char *after,
			  struct praas_state_info *ret_infos, uint32_t infos_max,
			  uint32_t *ret_count)
{
	uint32_t n = 0;

	(void)pthread_mutex_lock(&lock);
	for (const struct item *i = items; i && n < infos_max; i = i->next) {
		if (i->number != conn->number || i->is_message ||
		    strncmp(i->key, prefix, strlen(prefix)) != 0 ||
		    strcmp(i->key, after) <= 0)
			continue;
		memset(&ret_infos[n], 0, sizeof(ret_infos[n]));
		(void)snprintf(ret_infos[n].key, sizeof(ret_infos[n].key), "%s",
			       i->key);
		ret_infos[n].bytes = i->bytes;
		ret_infos[n++].version = i->version;
	}
	(void)pthread_mutex_unlock(&lock);
	*ret_count = n;
	return 0;
}
