/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/sealed.h"
#include "transport/verbs.h"

PRAAS_SEALED_TRANSPORT(praas_sealed_verbs_transport_ops, "verbs+sealed",
		       praas_verbs_transport_ops);
