/* SPDX-License-Identifier: Apache-2.0
 *
 * What the looks of praas doctor share. A look fills its finding; advice is text that stays.
 */
#ifndef PRAAS_CLI_DOCTOR_H
#define PRAAS_CLI_DOCTOR_H

#include <stdbool.h>

#define PRAAS_FINDING_BYTES 256

enum praas_verdict {
	PRAAS_FINDING_GOOD = 0,
	PRAAS_FINDING_NOTE, /* works, but slower or with less */
	PRAAS_FINDING_BAD   /* something that PraaS needs is missing */
};

struct praas_finding {
	const char *about;
	enum praas_verdict verdict;
	char found[PRAAS_FINDING_BYTES];
	const char *advice; /* what to do; NULL */
};

/* What was found, in words. */
__attribute__((format(printf, 2, 3))) void praas_doctor_found(struct praas_finding *f,
							      const char *format, ...);
/* The first line of a small file without its end. False: there is none to read. */
bool praas_doctor_line(const char *path, char ret_line[PRAAS_FINDING_BYTES]);

/* Devices (doctor_devices.c). */
void praas_look_rdma(struct praas_finding *f);
void praas_look_ofi(struct praas_finding *f);
void praas_look_dpdk(struct praas_finding *f);
void praas_look_iommu(struct praas_finding *f);

#endif
