/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_fabric.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "internal/base.h"
#include "transport/ofi_packet.h"

/*
 * Debian's libfabric brings a dozen libraries, one of which takes 200 ms and the program's signal
 * handlers when it is loaded. So it is loaded by the first port that wants it, and the handlers are
 * put back. All of its functions but four are reached through tables in its objects.
 */

#define LIBRARY "libfabric.so.1"
#define API FI_VERSION(1, 11)
#define CQ_MIN 256u
/* What a domain may ask of us. */
#define MR_MODES (FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY)
#define SHM_SERVICE "praas" /* with it a name of shared memory is used as it is */

static struct library {
	pthread_once_t once;
	bool loaded;
	int (*getinfo)(uint32_t version, const char *node, const char *service,
		       uint64_t flags, const struct fi_info *hints,
		       struct fi_info **ret_info);
	void (*freeinfo)(struct fi_info *info);
	struct fi_info *(*dupinfo)(const struct fi_info *info);
	int (*fabric)(struct fi_fabric_attr *attr, struct fid_fabric **ret_fabric,
		      void *context);
} lib = { .once = PTHREAD_ONCE_INIT };

/* The symbol of the interface that the headers describe; newer libraries keep it. */
static bool find(void *handle, const char *name, const char *version,
		 void *ret_function)
{
	void *symbol = dlvsym(handle, name, version);

	memcpy(ret_function, &symbol, sizeof(symbol));
	return symbol != NULL;
}

static const int taken_signals[] = { SIGINT, SIGILL,  SIGABRT, SIGBUS,
				     SIGFPE, SIGSEGV, SIGTERM };
#define TAKEN (sizeof(taken_signals) / sizeof(taken_signals[0]))

static void load(void)
{
	struct sigaction before[TAKEN];
	void *handle;

	for (size_t i = 0; i < TAKEN; i++)
		(void)sigaction(taken_signals[i], NULL, &before[i]); /* valid numbers */
	handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (handle != NULL)
		lib.loaded = find(handle, "fi_getinfo", "FABRIC_1.3", &lib.getinfo) &&
			     find(handle, "fi_freeinfo", "FABRIC_1.3", &lib.freeinfo) &&
			     find(handle, "fi_dupinfo", "FABRIC_1.3", &lib.dupinfo) &&
			     find(handle, "fi_fabric", "FABRIC_1.1", &lib.fabric);
	for (size_t i = 0; i < TAKEN; i++)
		(void)sigaction(taken_signals[i], &before[i], NULL); /* as above */
}

static int load_once(void)
{
	(void)pthread_once(&lib.once, load); /* cannot fail */
	return lib.loaded ? 0 : -EPROTONOSUPPORT;
}

static int fill_hints(struct fi_info *hints, const char *provider, uint64_t caps)
{
	hints->caps = caps;
	hints->mode = FI_CONTEXT | FI_CONTEXT2;
	hints->ep_attr->type = FI_EP_RDM;
	hints->domain_attr->mr_mode = MR_MODES;
	hints->domain_attr->threading = FI_THREAD_DOMAIN;
	hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
	hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
	hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
	if (provider[0] == '\0')
		return 0;
	hints->fabric_attr->prov_name = strdup(provider); /* freed with the hints */
	return hints->fabric_attr->prov_name != NULL ? 0 : -ENOMEM;
}

/* What libfabric says about addr, with one set of capabilities. */
static int ask(const struct praas_ofi_addr *addr, uint64_t flags, uint64_t caps,
	       struct fi_info **ret_info)
{
	const char *node = addr->node[0] ? addr->node : NULL;
	const char *service = addr->service[0] ? addr->service : NULL;
	struct fi_info *hints = lib.dupinfo(NULL);
	int rc;

	if (hints == NULL)
		return -ENOMEM;
	rc = fill_hints(hints, addr->provider, caps);
	if (strcmp(addr->provider, "shm") == 0)
		service = SHM_SERVICE;
	/* With a name of its own, or one that the provider is to choose. */
	if (addr->name_bytes > 0 || (node != NULL && strcmp(node, "0") == 0))
		node = service = NULL;
	if (node == NULL)
		flags = 0;
	if (rc == 0)
		rc = lib.getinfo(API, node, service, flags, hints, ret_info);
	lib.freeinfo(hints);
	if (rc == -FI_ENODATA)
		return -ENODEV;
	return rc == -FI_ENOENT ? -EINVAL : rc;
}

/* With remote reads when the provider has them. */
static int choose(const struct praas_ofi_addr *addr, uint64_t flags,
		  struct fi_info **ret_info)
{
	int rc = ask(addr, flags, FI_MSG | FI_RMA | FI_READ | FI_REMOTE_READ, ret_info);

	return rc == -ENODEV ? ask(addr, flags, FI_MSG, ret_info) : rc;
}

int praas_ofi_providers(char *ret_text, size_t bytes)
{
	const struct praas_ofi_addr any = { 0 };
	struct fi_info *list = NULL;
	size_t at = 0;
	int rc = load_once();

	(void)snprintf(ret_text, bytes, "%s", rc ? LIBRARY " is not installed" : "");
	if (rc == 0)
		rc = ask(&any, 0, FI_MSG, &list);
	for (struct fi_info *i = list; i != NULL && at < bytes; i = i->next) {
		const char *name = i->fabric_attr->prov_name;
		const char *known = strstr(ret_text, name);
		size_t length = strlen(name);

		if (!known || strcspn(known, " ") != length) /* one line a device */
			at += (size_t)snprintf(ret_text + at, bytes - at, "%s%s",
					       at ? " " : "", name);
	}
	if (list != NULL)
		lib.freeinfo(list);
	return rc;
}

static int open_queue(struct praas_ofi_fabric *f, uint32_t receives)
{
	struct fi_cq_attr attr = { .format = FI_CQ_FORMAT_MSG,
				   .wait_obj = FI_WAIT_FD,
				   .size = praas_max_u64(CQ_MIN, 2 * receives) };
	int rc = fi_cq_open(f->domain, &attr, &f->cq, NULL);

	f->wait_fd = -1;
	if (rc == 0 && fi_control(&f->cq->fid, FI_GETWAIT, &f->wait_fd) == 0)
		return 0;
	f->wait_fd = -1;
	if (rc == 0)
		(void)fi_close(&f->cq->fid); /* nothing is bound to it */
	f->cq = NULL;
	attr.wait_obj = FI_WAIT_NONE;
	return fi_cq_open(f->domain, &attr, &f->cq, NULL);
}

static int open_endpoint(struct praas_ofi_fabric *f, uint32_t receives)
{
	struct fi_av_attr attr = { .type = FI_AV_UNSPEC };
	size_t bytes = sizeof(f->name);
	int rc = lib.fabric(f->info->fabric_attr, &f->fabric, NULL);

	if (rc == 0)
		rc = fi_domain(f->fabric, f->info, &f->domain, NULL);
	if (rc == 0)
		rc = open_queue(f, receives);
	if (rc == 0)
		rc = fi_av_open(f->domain, &attr, &f->av, NULL);
	if (rc == 0)
		rc = fi_endpoint(f->domain, f->info, &f->ep, NULL);
	if (rc == 0)
		rc = fi_ep_bind(f->ep, &f->cq->fid, FI_TRANSMIT | FI_RECV);
	if (rc == 0)
		rc = fi_ep_bind(f->ep, &f->av->fid, 0);
	if (rc == 0)
		rc = fi_enable(f->ep);
	if (rc == 0)
		rc = fi_getname(&f->ep->fid, f->name, &bytes);
	f->name_bytes = (uint32_t)bytes;
	return rc;
}

int praas_ofi_fabric_open(struct praas_ofi_fabric *f, const struct praas_ofi_addr *addr,
			  bool listen, uint32_t *receives)
{
	int rc = load_once();

	memset(f, 0, sizeof(*f));
	f->wait_fd = -1;
	if (rc != 0)
		return rc;
	rc = choose(addr, listen ? FI_SOURCE : 0, &f->info);
	if (rc != 0)
		return rc;
	if (f->info->ep_attr->max_msg_size < PRAAS_OFI_PACKET_BYTES) {
		praas_ofi_fabric_close(f);
		return -ENODEV;
	}
	*receives = (uint32_t)praas_min_u64(*receives, f->info->rx_attr->size);
	f->rma = (f->info->caps & FI_RMA) != 0;
	f->local = (f->info->domain_attr->mr_mode & FI_MR_LOCAL) != 0;
	f->virtual = (f->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR) != 0;
	f->prov_key = (f->info->domain_attr->mr_mode & FI_MR_PROV_KEY) != 0;
	f->inject = f->info->tx_attr->inject_size;
	rc = open_endpoint(f, *receives);
	if (rc != 0)
		praas_ofi_fabric_close(f);
	return rc;
}

static bool is_text(const struct praas_ofi_fabric *f)
{
	return f->info->addr_format == FI_ADDR_STR;
}

static void close_object(struct fid *object)
{
	if (object != NULL)
		(void)fi_close(object); /* nothing of it is used any more */
}

void praas_ofi_fabric_close(struct praas_ofi_fabric *f)
{
	close_object(f->ep ? &f->ep->fid : NULL);
	close_object(f->cq ? &f->cq->fid : NULL);
	close_object(f->av ? &f->av->fid : NULL);
	close_object(f->domain ? &f->domain->fid : NULL);
	close_object(f->fabric ? &f->fabric->fid : NULL);
	if (f->info != NULL)
		lib.freeinfo(f->info);
	memset(f, 0, sizeof(*f));
	f->wait_fd = -1;
}

int praas_ofi_fabric_address(const struct praas_ofi_fabric *f,
			     char ret_addr[PRAAS_ADDR_MAX])
{
	struct praas_ofi_addr addr = { .name_bytes = 0 };
	const struct sockaddr_in *v4 = (const void *)f->name;
	const struct sockaddr_in6 *v6 = (const void *)f->name;
	unsigned port = 0;

	if (f->ep == NULL)
		return -ENOTCONN;
	(void)snprintf(addr.provider, sizeof(addr.provider), "%s",
		       f->info->fabric_attr->prov_name); /* cut: refused when parsed */
	if (f->info->addr_format == FI_SOCKADDR_IN) {
		(void)inet_ntop(AF_INET, &v4->sin_addr, addr.node,
				sizeof(addr.node)); /* fits */
		port = ntohs(v4->sin_port);
	} else if (f->info->addr_format == FI_SOCKADDR_IN6) {
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, addr.node,
				sizeof(addr.node)); /* fits */
		port = ntohs(v6->sin6_port);
	} else if (sscanf((const char *)f->name, "fi_ns://%63[^:]:" SHM_SERVICE,
			  addr.node) != 1 ||
		   !is_text(f)) {
		addr.node[0] = '\0';
		memcpy(addr.name, f->name, f->name_bytes);
		addr.name_bytes = f->name_bytes;
	}
	if (port != 0)
		(void)snprintf(addr.service, sizeof(addr.service), "%u",
			       port); /* fits */
	return praas_ofi_addr_format(&addr, ret_addr);
}

bool praas_ofi_name_fits(const struct praas_ofi_fabric *f, const uint8_t *name,
			 uint32_t bytes)
{
	const struct sockaddr *ours = (const void *)f->name;
	sa_family_t family;

	if (bytes == 0 || bytes > PRAAS_OFI_NAME_MAX)
		return false;
	if (is_text(f)) {
		for (uint32_t i = 0; i + 1 < bytes; i++) {
			if (!isgraph(name[i]))
				return false;
		}
		return name[bytes - 1] == '\0';
	}
	if (bytes != f->name_bytes)
		return false;
	if (f->info->addr_format != FI_SOCKADDR_IN &&
	    f->info->addr_format != FI_SOCKADDR_IN6)
		return true;
	memcpy(&family, name, sizeof(family));
	return family == ours->sa_family;
}

int praas_ofi_fabric_resolve(const struct praas_ofi_fabric *f,
			     const struct praas_ofi_addr *addr,
			     uint8_t ret_name[PRAAS_OFI_NAME_MAX], uint32_t *ret_bytes)
{
	struct praas_ofi_addr to = *addr;
	struct fi_info *info = NULL;
	int rc;

	if (to.name_bytes > 0) {
		memcpy(ret_name, to.name, to.name_bytes);
		*ret_bytes = to.name_bytes;
		return praas_ofi_name_fits(f, ret_name, to.name_bytes) ? 0 : -EINVAL;
	}
	if (to.provider[0] == '\0')
		(void)snprintf(to.provider, sizeof(to.provider), "%s",
			       f->info->fabric_attr->prov_name); /* as above */
	rc = choose(&to, 0, &info);
	if (rc != 0)
		return rc;
	if (strcmp(info->fabric_attr->prov_name, f->info->fabric_attr->prov_name) !=
		    0 ||
	    info->dest_addr == NULL || info->dest_addrlen > PRAAS_OFI_NAME_MAX) {
		rc = info->dest_addr == NULL ? -EINVAL : -ENODEV;
	} else {
		memcpy(ret_name, info->dest_addr, info->dest_addrlen);
		*ret_bytes = (uint32_t)info->dest_addrlen;
	}
	lib.freeinfo(info);
	return rc;
}

/* Keys that we choose are not to be guessed: who knows one may read the memory. */
static int next_key(struct praas_ofi_fabric *f, uint64_t *ret_key)
{
	uint64_t bits = 8 * praas_min_u64(8, f->info->domain_attr->mr_key_size);

	if (f->keys_left == 0) {
		if (getrandom(f->keys, sizeof(f->keys), 0) != sizeof(f->keys))
			return -EIO;
		f->keys_left = sizeof(f->keys) / sizeof(f->keys[0]);
	}
	*ret_key = f->keys[--f->keys_left];
	if (bits < 64)
		*ret_key &= (UINT64_C(1) << bits) - 1;
	return 0;
}

int praas_ofi_register(struct praas_ofi_fabric *f, const void *data, uint64_t bytes,
		       uint64_t access, struct fid_mr **ret_mr)
{
	uint64_t key = 0;
	int rc = 0;

	/* Twice: a key may be taken. */
	for (unsigned i = 0; i < 2; i++) {
		if (!f->prov_key)
			rc = next_key(f, &key);
		if (rc != 0)
			return rc;
		rc = fi_mr_reg(f->domain, data, bytes, access, 0, key, 0, ret_mr, NULL);
		if (rc != -FI_ENOKEY)
			break;
	}
	return rc;
}
