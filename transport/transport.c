/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/transport.h"

#include <string.h>

#include "transport/dpdk.h"
#ifdef PRAAS_HAVE_OFI
#include "transport/ofi.h"
#endif
#include "transport/sealed.h"
#include "transport/shm.h"
#include "transport/tcp.h"
#ifdef PRAAS_HAVE_VERBS
#include "transport/verbs.h"
#endif

/* The transports of this build. A client that may choose tries them in this order: what costs a
 * call less comes first. */
static const struct praas_transport_ops *const transports[] = {
	&praas_shm_transport_ops,
#ifdef PRAAS_HAVE_VERBS
	&praas_verbs_transport_ops, &praas_sealed_verbs_transport_ops,
#endif
#ifdef PRAAS_HAVE_OFI
	&praas_ofi_transport_ops,   &praas_sealed_ofi_transport_ops,
#endif
	&praas_dpdk_transport_ops,  &praas_tls_transport_ops,
	&praas_tcp_transport_ops,
};
#define TRANSPORTS (sizeof(transports) / sizeof(transports[0]))

const struct praas_transport_ops *praas_transport_at(unsigned index)
{
	return index < TRANSPORTS ? transports[index] : NULL;
}

const struct praas_transport_ops *praas_transport_find(const char *addr_or_scheme)
{
	const char *end = strstr(addr_or_scheme, "://");
	size_t bytes = end ? (size_t)(end - addr_or_scheme) : strlen(addr_or_scheme);

	for (unsigned i = 0; i < TRANSPORTS; i++) {
		const char *scheme = transports[i]->scheme;

		if (strlen(scheme) == bytes &&
		    memcmp(scheme, addr_or_scheme, bytes) == 0)
			return transports[i];
	}
	return NULL;
}

const char *praas_transport_why(const struct praas_transport_ops *ops, int rc)
{
	const char *why = ops->why ? ops->why() : "";

	return why[0] ? why : strerror(-rc);
}
