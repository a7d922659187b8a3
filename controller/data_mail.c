/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/data_private.h"
#include "dataplane/process_fn.h"
#include "internal/base.h"

/*
 * What messages to other processes need of the world: the admin thread, which asks the control service (also who
 * they are), and connections by the ports on which we listen.
 */

static int ask(void *user, const struct praas_outbox_question *question)
{
	struct praas_mail_ask *copy;
	int rc;

	/* Behind the gate: asked again in a moment. */
	if (question->count > 0 && praas_data_log_behind(user))
		return -EAGAIN;
	copy = praas_mail_ask_new(question);
	if (!copy)
		return -ENOMEM;
	rc = praas_data_report_spare(user, PRAAS_REPORT_ASK, 0,
				     (uint64_t)(uintptr_t)copy);
	if (rc != 0)
		free(copy);
	return rc;
}

static struct praas_port *port_for(const struct praas_data *d, const char *address)
{
	const struct praas_transport_ops *ops = praas_transport_find(address);

	for (unsigned i = 0; ops && i < d->ports_count; i++)
		if (d->ports[i]->ops == ops)
			return d->ports[i];
	return NULL;
}

static int connect_to(void *user, const char *address,
		      const struct praas_ticket_secret *secret,
		      const struct praas_conn_events *events,
		      void (*welcome)(void *user, const struct praas_welcome *welcome),
		      void *events_user, struct praas_conn **ret_conn)
{
	struct praas_session_client_config config = { .events = events,
						      .user = events_user,
						      .welcome = welcome };
	struct praas_port *port = port_for(user, address);
	int rc;

	if (!port)
		return -EPROTONOSUPPORT;
	memcpy(config.ticket, secret->ticket, sizeof(config.ticket));
	memcpy(config.session_key, secret->session_key, sizeof(config.session_key));
	rc = praas_session_connect(port, address, &config, ret_conn);
	explicit_bzero(&config, sizeof(config));
	return rc;
}

static void dropped(void *user, uint64_t receiver, int rc)
{
	const struct praas_data *d = user;
	char text[128];
	const struct praas_function_log line = { .text = text, .level = 4 };

	(void)snprintf(text, sizeof(text), "a message to process %llu is lost: %s",
		       (unsigned long long)receiver,
		       rc == -ENOENT ? "there is no such process" : strerror(-rc));
	praas_process_fn_log(d->process, &line);
}

static int ask_members(void *user)
{
	return praas_data_report_spare(user, PRAAS_REPORT_MEMBERS, 0, 0);
}

void praas_data_mail_host(struct praas_data *d)
{
	const struct praas_outbox_host host = { .ask = ask,
						.connect = connect_to,
						.opened = praas_data_log_opened,
						.dropped = dropped,
						.user = d };

	praas_process_outbox_host_set(d->process, &host);
	praas_process_members_host_set(d->process, ask_members, d);
}

/* The place of a transport in the order in which clients try them. */
static unsigned rank(const char *address)
{
	const struct praas_transport_ops *ops = praas_transport_find(address);
	unsigned i = 0;

	while (praas_transport_at(i) && praas_transport_at(i) != ops)
		i++;
	return i;
}

/* Best first; where a process offers what is sealed, nothing that can be read goes to another host. */
static void order_endpoints(struct praas_way *way)
{
	char copy[PRAAS_ADDR_MAX];

	for (uint32_t i = 1; i < way->endpoints_count; i++)
		for (uint32_t k = i;
		     k > 0 && rank(way->endpoints[k]) < rank(way->endpoints[k - 1]);
		     k--) {
			memcpy(copy, way->endpoints[k], sizeof(copy));
			memcpy(way->endpoints[k], way->endpoints[k - 1], sizeof(copy));
			memcpy(way->endpoints[k - 1], copy, sizeof(copy));
		}
}

static void take_way(struct praas_data *d, struct praas_way *way)
{
	order_endpoints(way);
	if (d->process)
		praas_process_way(d->process, way);
	explicit_bzero(way, sizeof(*way));
	free(way);
}

static void take_queue(struct praas_data *d, struct praas_mail_batch *batch)
{
	uint64_t position = 0;
	int rc = praas_process_queue_apply(d->process, batch->messages, batch->count,
					   &position);

	free(batch);
	praas_check(praas_exchange_report(d->config.exchange, PRAAS_REPORT_QUEUE,
					  (uint64_t)(int64_t)rc, position) == 0);
}

static void take_members(struct praas_data *d, struct praas_members *list)
{
	praas_process_members_give(d->process, list);
	praas_session_server_members(d->sessions);
}

void praas_data_mail_order(struct praas_data *d, enum praas_exchange_order kind,
			   void *what)
{
	if (kind == PRAAS_ORDER_WAY)
		take_way(d, what);
	else if (kind == PRAAS_ORDER_QUEUE)
		take_queue(d, what);
	else
		take_members(d, what);
}
