/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "tests/lib/wire.h"
#include "transport/sealed.h"
#include "transport/tcp.h"

/* Records over what is there everywhere. */
extern const struct praas_transport_ops sealed_tcp_ops;
PRAAS_SEALED_TRANSPORT(sealed_tcp_ops, "tcp+sealed", praas_tcp_transport_ops);

/* Frames of a hundred: lost, doubled, changed. */
static void bad_wire(void)
{
	wire_set_faults(3, 2, 2, 1);
}

/* One more transport is one more line. */
static const struct scheme schemes[] = {
	{ .name = "tcp4",
	  .listen = "tcp://127.0.0.1:0",
	  .nowhere = "tcp://127.0.0.1:1",
	  .multishot = true },
	{ .name = "tcp6",
	  .listen = "tcp://[::1]:0",
	  .nowhere = "tcp://[::1]:1",
	  .multishot = true },
	{ .name = "tcp4-poll",
	  .listen = "tcp://127.0.0.1:0",
	  .nowhere = "tcp://127.0.0.1:1" },
	{ .name = "tls4",
	  .listen = "tls://127.0.0.1:0",
	  .nowhere = "tls://127.0.0.1:1" },
	{ .name = "tls6", .listen = "tls://[::1]:0", .nowhere = "tls://[::1]:1" },
	{ .name = "shm", .listen = "shm://%/s.sock", .nowhere = "shm://%/nobody.sock" },
	{ .name = "verbs",
	  .listen = "verbs://10.99.0.1:0",
	  .nowhere = "verbs://10.99.0.1:1" },
	{ .name = "verbs-pair",
	  .listen = "verbs://10.99.0.2:0",
	  .nowhere = "verbs://10.99.0.2:1" },
	{ .name = "sealed.tcp4",
	  .listen = "tcp+sealed://127.0.0.1:0",
	  .nowhere = "tcp+sealed://127.0.0.1:1",
	  .ops = &sealed_tcp_ops },
	{ .name = "sealed.verbs",
	  .listen = "verbs+sealed://10.99.0.1:0",
	  .nowhere = "verbs+sealed://10.99.0.1:1" },
	{ .name = "sealed.ofi.tcp",
	  .listen = "ofi+sealed://tcp@127.0.0.1:0",
	  .nowhere = "ofi+sealed://tcp@127.0.0.1:1" },
	{ .name = "sealed.ofi.net",
	  .listen = "ofi+sealed://net@127.0.0.1:0",
	  .nowhere = "ofi+sealed://net@127.0.0.1:1" },
	/* The datagram transport on a wire in memory; and on a bad one. */
	{ .name = "wire4",
	  .listen = "wire://10.0.0.1:0",
	  .nowhere = "wire://10.0.0.1:1",
	  .ops = &wire_transport_ops },
	{ .name = "wire6",
	  .listen = "wire://[fd00::1]:0",
	  .nowhere = "wire://[fd00::1]:1",
	  .ops = &wire_transport_ops },
	{ .name = "wire4-bad",
	  .listen = "wire://10.0.0.1:0",
	  .nowhere = "wire://10.0.0.1:1",
	  .ops = &wire_transport_ops,
	  .prepare = bad_wire },
	/* Both ends are devices of this process; tests/dpdk/run makes them. */
	{ .name = "dpdk4",
	  .listen = "dpdk://10.77.0.1:0",
	  .nowhere = "dpdk://10.77.0.1:1" },
	{ .name = "dpdk6",
	  .listen = "dpdk://[fd77::1]:0",
	  .nowhere = "dpdk://[fd77::1]:1" },
	{ .name = "dpdk4-paced",
	  .listen = "dpdk://10.77.0.1:0",
	  .nowhere = "dpdk://10.77.0.1:1",
	  .paced = true },
	{ .name = "dpdk6-paced",
	  .listen = "dpdk://[fd77::1]:0",
	  .nowhere = "dpdk://[fd77::1]:1",
	  .paced = true },
	{ .name = "ofi.tcp",
	  .listen = "ofi://tcp@127.0.0.1:0",
	  .nowhere = "ofi://tcp@127.0.0.1:1" },
	{ .name = "ofi.tcp-packets",
	  .listen = "ofi://tcp@127.0.0.1:0",
	  .nowhere = "ofi://tcp@127.0.0.1:1",
	  .packets_only = true },
	{ .name = "ofi.tcp-registers",
	  .listen = "ofi://tcp@127.0.0.1:0",
	  .nowhere = "ofi://tcp@127.0.0.1:1",
	  .registers = true },
	{ .name = "ofi.net",
	  .listen = "ofi://net@127.0.0.1:0",
	  .nowhere = "ofi://net@127.0.0.1:1" },
	{ .name = "ofi.net6",
	  .listen = "ofi://net@[::1]:0",
	  .nowhere = "ofi://net@[::1]:1" },
	{ .name = "ofi.net-rxm",
	  .listen = "ofi://net+ofi_rxm@127.0.0.1:0",
	  .nowhere = "ofi://net+ofi_rxm@127.0.0.1:1" },
	{ .name = "ofi.verbs-rxm",
	  .listen = "ofi://verbs+ofi_rxm@10.99.0.1:0",
	  .nowhere = "ofi://verbs+ofi_rxm@10.99.0.1:1" },
	{ .name = "ofi.shm",
	  .listen = "ofi://shm@%",
	  .nowhere = "ofi://shm@praas-nobody",
	  .paced = true },
	{ .name = "ofi.sockets",
	  .listen = "ofi://sockets@127.0.0.1:0",
	  .nowhere = "ofi://sockets@127.0.0.1:1",
	  .paced = true },
	{ .name = "ofi.rxd",
	  .listen = "ofi://udp+ofi_rxd@127.0.0.1:0",
	  .nowhere = "ofi://udp+ofi_rxd@127.0.0.1:1",
	  .nobody = -ETIMEDOUT,
	  .paced = true },
};

const struct scheme *scheme_find(const char *name)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strcmp(schemes[i].name, name) == 0)
			return &schemes[i];
	}
	return NULL;
}

const char *scheme_missing(const struct scheme *scheme)
{
	const struct praas_transport_ops *ops =
		scheme->ops ? scheme->ops : praas_transport_find(scheme->listen);
	struct praas_port_config config = { .conns_max = 1 };
	struct praas_heap *heap;
	struct praas_port *port;
	struct praas_conn *conn;
	const char *missing = NULL;
	int rc;

	if (ops == NULL)
		return "not in this build";
	if (strncmp(scheme->listen, "ofi", 3) != 0 &&
	    strncmp(scheme->listen, "verbs", 5) != 0)
		return NULL;
	assert_int_equal(praas_heap_new(NULL, &heap), 0);
	config.memory = praas_heap_memory(heap);
	rc = ops->open(&config, &port);
	if (rc != 0) {
		praas_heap_free(heap);
		assert_int_equal(rc, -ENODEV);
		return "no RDMA device";
	}
	rc = ops->connect(port, scheme->nowhere, &rig_side_events, NULL, &conn);
	if (rc == 0)
		ops->close(conn, false);
	else if (rc == -EPROTONOSUPPORT)
		missing = "libfabric is not installed";
	else if (rc == -ENODEV)
		missing = "libfabric has no such provider here";
	ops->free(port);
	praas_heap_free(heap);
	return missing;
}
