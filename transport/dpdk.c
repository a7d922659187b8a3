/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dpdk.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal/base.h"
#include "transport/dpdk_config.h"
#include "transport/dpdk_plugin.h"

/*
 * What is in every program: the name of the transport, and how the rest is found. Linked, DPDK would
 * cost each start 2 ms and 2 MiB; started, 0.2 s and 27 MiB (docs/performance.md): it is loaded
 * with the first port. Ports and connections carry the plug-in's table themselves.
 */

#define FILE_NAME "libpraas_dpdk.so"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct praas_dpdk_plugin *plugin; /* once loaded, for ever */
static _Thread_local char last_error[PRAAS_DPDK_ERROR_BYTES];

static const char *dpdk_why(void)
{
	return last_error;
}

/* Where the plug-in may lie, seen from the folder of the program or library that we are in: beside it,
 * in a build tree, installed. */
static const char *const folders[] = { "", "praas/", "../lib/",
				       "../" PRAAS_LIBDIR "/praas/",
				       "../../" PRAAS_LIBDIR "/praas/" };

static void *open_plugin(void)
{
	const char *slash;
	char path[512];
	Dl_info self;
	void *handle;

	if (dladdr(&plugin, &self) == 0 || self.dli_fname == NULL)
		return NULL;
	slash = strrchr(self.dli_fname, '/');
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		int n = snprintf(path, sizeof(path), "%.*s%s%s",
				 slash ? (int)(slash - self.dli_fname + 1) : 0,
				 self.dli_fname, folders[i], FILE_NAME);

		if (n < 0 || (size_t)n >= sizeof(path) || strchr(path, '/') == NULL)
			continue; /* never by the system's search path */
		handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (handle)
			return handle;
	}
	return NULL;
}

static int load(void)
{
	const struct praas_dpdk_plugin *found;
	void *handle = open_plugin();

	if (handle == NULL) {
		const char *why = dlerror();

		(void)snprintf(last_error, sizeof(last_error),
			       "%s is not installed or cannot be loaded: %.160s",
			       FILE_NAME, why ? why : "not found");
		return -EPROTONOSUPPORT;
	}
	found = dlsym(handle, PRAAS_DPDK_PLUGIN_SYMBOL);
	if (found == NULL || found->version != PRAAS_DPDK_PLUGIN_VERSION) {
		(void)snprintf(last_error, sizeof(last_error),
			       "%s is of another build than this program", FILE_NAME);
		(void)dlclose(handle); /* nothing of it was used */
		return -EPROTONOSUPPORT;
	}
	plugin = found;
	return 0;
}

static int load_once(void)
{
	int rc = 0;

	praas_check(pthread_mutex_lock(&lock) == 0);
	if (plugin == NULL)
		rc = load();
	praas_check(pthread_mutex_unlock(&lock) == 0);
	return rc;
}

static int dpdk_open(const struct praas_port_config *config,
		     struct praas_port **ret_port)
{
	const char *devices = getenv("PRAAS_DPDK");
	int rc;

	last_error[0] = '\0';
	if (devices == NULL ||
	    devices[0] == '\0') { /* known without loading anything */
		(void)snprintf(last_error, sizeof(last_error),
			       "PRAAS_DPDK does not say which devices there are");
		return -ENODEV;
	}
	rc = load_once();
	return rc != 0 ? rc : plugin->open(config, ret_port, last_error);
}

/* A device of the PCI bus without a driver that user space may use; -1: it is no such device. */
static int bound(const char *dev)
{
	char path[128], driver[256], link[PRAAS_DPDK_TEXT_MAX];
	ssize_t n;

	if (strlen(dev) != 12 || dev[4] != ':' || dev[7] != ':' || dev[10] != '.')
		return -1; /* 0000:01:00.0 */
	(void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", dev);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = '\0';
	(void)snprintf(driver, sizeof(driver), "%s",
		       strrchr(link, '/') ? strrchr(link, '/') + 1 : "");
	/* Some drive a device from beside the kernel's driver. */
	return strcmp(driver, "vfio-pci") == 0 || strncmp(driver, "mlx", 3) == 0 ||
	       strcmp(driver, "uio_pci_generic") == 0;
}

static int dpdk_probe(char *ret_text, size_t bytes)
{
	const char *devices = getenv("PRAAS_DPDK"), *word = "";
	struct praas_dpdk_config config;
	size_t at = 0;
	int rc = 0;

	if (devices == NULL || devices[0] == '\0') {
		(void)snprintf(ret_text, bytes, "PRAAS_DPDK names no device");
		return -ENODEV;
	}
	rc = praas_dpdk_config_parse(devices, &config, &word);
	if (rc != 0) {
		(void)snprintf(ret_text, bytes, "PRAAS_DPDK is not understood: %s",
			       rc == -EINVAL && word ? word : strerror(-rc));
		return -EINVAL;
	}
	if (load_once() != 0) {
		(void)snprintf(ret_text, bytes, "%s", last_error);
		return -EPROTONOSUPPORT;
	}
	ret_text[0] = '\0';
	for (unsigned i = 0; i < config.devices && at < bytes; i++) {
		bool free_to_use = bound(config.device[i].dev) != 0;

		at += (size_t)snprintf(ret_text + at, bytes - at, "%s%s%s",
				       at ? ", " : "", config.device[i].dev,
				       free_to_use ? "" : " (not bound to vfio-pci)");
		if (!free_to_use)
			rc = -ENODEV;
	}
	return rc;
}

static int dpdk_address(const struct praas_port *port, char ret_addr[PRAAS_ADDR_MAX])
{
	return port->ops->address(port, ret_addr);
}

static int dpdk_connect(struct praas_port *port, const char *addr,
			const struct praas_conn_events *events, void *user,
			struct praas_conn **ret_conn)
{
	return port->ops->connect(port, addr, events, user, ret_conn);
}

static int dpdk_alloc(struct praas_conn *conn, uint64_t bytes,
		      struct praas_buf **ret_buf)
{
	return conn->ops->alloc(conn, bytes, ret_buf);
}

static int dpdk_send(struct praas_conn *conn, struct praas_buf *buf)
{
	return conn->ops->send(conn, buf);
}

static unsigned dpdk_poll(struct praas_port *port, unsigned budget)
{
	return port->ops->poll(port, budget);
}

static int dpdk_arm(struct praas_port *port, int *ret_fd)
{
	return port->ops->arm(port, ret_fd);
}

static void dpdk_close(struct praas_conn *conn, bool after_flush)
{
	conn->ops->close(conn, after_flush);
}

static void dpdk_free(struct praas_port *port)
{
	port->ops->free(port);
}

const struct praas_transport_ops praas_dpdk_transport_ops = {
	.scheme = "dpdk",
	.sealed = true,
	.open = dpdk_open,
	.why = dpdk_why,
	.probe = dpdk_probe,
	.address = dpdk_address,
	.connect = dpdk_connect,
	.alloc = dpdk_alloc,
	.send = dpdk_send,
	.poll = dpdk_poll,
	.arm = dpdk_arm,
	.close = dpdk_close,
	.free = dpdk_free,
};
