/* SPDX-License-Identifier: Apache-2.0
 *
 * A call through the process with an inline function: from the transport's upcall to the reply
 * handed to the transport, which here is nothing but two buffers. And reads and writes of state,
 * messages, and a reader of the published index.
 */
#include "dataplane/process.h"
#include "dataplane/process_fn.h"
#include "dataplane/state_index.h"
#include "perf/micro/micro.h"
#include "shm/doorbell.h"
#include "transport/ticket.h"

#define POOL_BYTES (16u << 20)

static struct praas_segment segment;
static struct praas_pool *pool;
static struct praas_process *process;
static struct praas_function functions[2];
static struct praas_conn conn;
static struct praas_port port;
static struct praas_buf request, reply, spare;
static uint8_t reply_memory[4096];

static void check(int rc)
{
	if (rc != 0)
		abort();
}

static void release_nothing(struct praas_buf *buf)
{
	(void)buf;
}

static int alloc_reply(struct praas_conn *c, uint64_t bytes, struct praas_buf **ret_buf)
{
	(void)c;
	reply.head.bytes = bytes;
	*ret_buf = &reply;
	return 0;
}

static int alloc_spare(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	(void)user;
	spare.head.bytes = bytes;
	*ret_buf = &spare;
	return 0;
}

static int send_reply(struct praas_conn *c, struct praas_buf *buf)
{
	(void)c;
	praas_micro_keep(buf);
	return buf->head.status;
}

static int send_head(struct praas_conn *c, const struct praas_frame *head)
{
	(void)c;
	praas_micro_keep(head);
	return 0;
}

static const struct praas_transport_ops ops = { .scheme = "none",
						.alloc = alloc_reply,
						.send = send_reply,
						.send_head = send_head };
static const struct praas_memory memory = { .alloc = alloc_spare };

static void start(void)
{
	static const char *const names[] = { "noop", "echo" };
	struct praas_process_config config = { .pid = 1,
					       .epoch = 1,
					       .functions = functions,
					       .functions_count = 2,
					       .bytes_max = 1 << 20,
					       .pool_segment = &segment,
					       .memory = &memory };

	check(praas_doorbell_setup());
	check(praas_segment_create("micro", POOL_BYTES, 1, 0, &segment));
	check(praas_pool_new(&segment, 0, POOL_BYTES, &pool));
	config.pool = pool;
	for (unsigned i = 0; i < 2; i++) {
		(void)snprintf(functions[i].name, sizeof(functions[i].name), "%s",
			       names[i]);
		(void)snprintf(functions[i].symbol, sizeof(functions[i].symbol), "%s",
			       names[i]);
		(void)snprintf(functions[i].library, sizeof(functions[i].library), "%s",
			       PRAAS_MICRO_FUNCTIONS);
	}
	check(praas_executor_inline_new(functions, 2, &config.executor));
	check(praas_process_new(&config, &process));
	praas_process_gate(process, true);
	reply = (struct praas_buf){ .data = reply_memory,
				    .capacity = sizeof(reply_memory),
				    .release = release_nothing };
	spare = reply;
	request =
		(struct praas_buf){ .data = reply_memory, .release = release_nothing };
	port = (struct praas_port){ .ops = &ops };
	conn = (struct praas_conn){ .ops = &ops,
				    .port = &port,
				    .peer_source = PRAAS_CLIENT | 1,
				    .peer_rights = PRAAS_RIGHT_ALL,
				    .bytes_max = 1u << 20 };
	praas_conn_set_events(&conn, praas_process_conn_events(), process);
}

static void calls(uint64_t count, uint16_t function, uint64_t bytes)
{
	start();
	for (uint64_t i = 1; i <= count; i++) {
		request.head = (struct praas_frame){ .kind = PRAAS_FRAME_INVOKE,
						     .function = function,
						     .id = i,
						     .bytes = bytes };
		conn.events->frame(process, &conn, &request);
	}
}

static void noop(uint64_t count)
{
	calls(count, 0, 0);
}

static void echo_64(uint64_t count)
{
	calls(count, 1, 64);
}

/* A turn of the data thread's loop that finds nothing. */
static void poll_idle(uint64_t count)
{
	start();
	for (uint64_t i = 0; i < count; i++)
		if (praas_process_poll(process, 16) != 0)
			abort();
}

static void put_one(struct praas_state_write *w)
{
	uint64_t version;
	uint8_t *data;

	check(praas_process_value_new(process, 64, &w->value, &data));
	memset(data, 1, 64);
	check(praas_process_fn_commit(process, w, 1, &version));
}

static void state_put(uint64_t count)
{
	static struct praas_state_write w = { .key_bytes = 5, .key = "a-key" };

	start();
	for (uint64_t i = 0; i < count; i++)
		put_one(&w);
}

/* As a worker reads: from the published index, between enter and leave. */
static void reader_get(uint64_t count)
{
	static struct praas_state_write w = { .key_bytes = 5, .key = "a-key" };
	static struct praas_state_reader_line line;
	struct praas_state_reader r;
	struct praas_state_found found;

	start();
	put_one(&w);
	check(praas_state_reader_init(
		&r, &segment, praas_process_state_index_offset(process), &line));
	for (uint64_t i = 0; i < count; i++) {
		praas_state_reader_enter(&r);
		check(praas_state_reader_get(&r, "a-key", 5, &found));
		praas_state_reader_leave(&r);
		praas_micro_keep(&found);
	}
}

static void send_recv(uint64_t count)
{
	start();
	for (uint64_t i = 0; i < count; i++) {
		struct praas_fn_wait wait = { .deadline_ns = 0 };
		struct praas_value value;
		uint8_t *data;

		check(praas_process_value_new(process, 64, &value, &data));
		check(praas_process_fn_send(process, PRAAS_SELF, "key", 3, &value, NULL,
					    NULL));
		check(praas_process_fn_recv(process, PRAAS_ANY, "key", 3, &wait));
		praas_value_release(&wait.message.value);
	}
}

int main(int argc, char **argv)
{
	static const struct praas_micro table[] = {
		{ "noop", noop },
		{ "echo_64", echo_64 },
		{ "poll_idle", poll_idle },
		{ "state_put", state_put },
		{ "reader_get", reader_get },
		{ "send_recv", send_recv },
	};

	return praas_micro_main(argc, argv, table, sizeof(table) / sizeof(table[0]));
}
