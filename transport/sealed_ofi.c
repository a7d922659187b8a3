/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi.h"
#include "transport/sealed.h"

PRAAS_SEALED_TRANSPORT(praas_sealed_ofi_transport_ops, "ofi+sealed",
		       praas_ofi_transport_ops);
