/* SPDX-License-Identifier: Apache-2.0
 *
 * What a control service says on the link: lines, raw parts, ways, pieces of the backup queue, members. Whatever it
 * is, it is taken as it should be or refused, and a part of the queue lies inside of what came.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller/link.h"
#include "controller/mail.h"
#include "controller/members.h"

static char path[64];
static struct praas_members_feed members;
static int listener = -1;

static void remove_socket(void)
{
	(void)unlink(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	(void)argc;
	(void)argv;
	(void)snprintf(path, sizeof(path), "/tmp/praas-fuzz-mail-%d.sock",
		       (int)getpid());
	memcpy(addr.sun_path, path, sizeof(path));
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 ||
	    bind(listener, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(listener, 4) != 0 || atexit(remove_socket) != 0)
		abort();
	return 0;
}

/* What was taken can be asked for in turn. */
static void ask_again(const struct praas_mail_batch *b)
{
	struct praas_outbox_question q = { .receiver = 7, .count = b->count };
	struct praas_mail_ask *ask;
	json_t *line;

	for (uint32_t i = 0; i < b->count; i++)
		q.items[i] =
			(struct praas_outbox_item){ .seq = b->messages[i].seq,
						    .key = b->messages[i].key,
						    .data = b->messages[i].data,
						    .trace = b->messages[i].trace,
						    .bytes = b->messages[i].bytes,
						    .key_bytes =
							    b->messages[i].key_bytes };
	ask = praas_mail_ask_new(&q);
	line = ask ? praas_mail_ask_line(ask, 1) : NULL;
	if (!line || json_array_size(json_object_get(line, "messages")) != b->count)
		abort();
	json_decref(line);
	free(ask);
}

/* Whoever is in the list is found by his number and, but for another of that name, by that. */
static void look_at_members(int rc)
{
	const struct praas_members *list = members.list;

	for (uint32_t i = 0; rc > 0 && i < list->count; i++) {
		const struct praas_member_info *one = &list->items[i];
		const struct praas_member_info *named = praas_members_named(
			list, one->name, (uint32_t)strlen(one->name));

		if (praas_members_after(list, one->pid) != i + 1 || !named ||
		    strcmp(named->name, one->name) != 0 || named < one)
			abort();
	}
}

static void on_message(void *user, const json_t *message, const uint8_t *raw,
		       uint64_t raw_bytes)
{
	struct praas_mail_batch *b = NULL;
	struct praas_way way;
	uint64_t sum = 0;

	(void)user;
	look_at_members(praas_members_feed(&members, message));
	(void)praas_mail_way_parse(message, &way); /* either is fine */
	if (way.endpoints_count > PRAAS_WAY_ENDPOINTS_MAX)
		abort();
	if (praas_mail_batch_parse(message, raw, raw_bytes, &b) != 0)
		return;
	for (uint32_t i = 0; i < b->count; i++)
		sum += b->messages[i].key_bytes + b->messages[i].bytes;
	if (sum != raw_bytes)
		abort();
	ask_again(b);
	free(b);
}

static void on_connected(void *user)
{
	(void)user;
}

static const struct praas_link_events events = { .connected = on_connected,
						 .message = on_message };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_link *link;
	int fd;

	if (praas_link_new(path, &events, NULL, &link) != 0)
		abort();
	praas_link_poll(link, UINT64_MAX);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		abort();
	for (size_t at = 0; at < bytes;) {
		ssize_t n =
			send(fd, data + at, bytes - at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			break; /* it has ended the connection, or does not read on */
		at += (size_t)n;
		praas_link_poll(link, 1);
	}
	(void)close(fd);
	praas_link_poll(link, 1);
	praas_link_free(link);
	praas_members_feed_release(&members);
	return 0;
}
