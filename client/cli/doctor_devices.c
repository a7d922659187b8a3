/* SPDX-License-Identifier: Apache-2.0
 *
 * praas doctor: devices that the data plane can use beside the kernel's network.
 */
#include "client/cli/doctor.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <praas/client.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOCKED_WANTED (256ull << 20) /* a process's memory_bytes when none is said */

/* What a device of RDMA needs beside itself. */
static void judge_rdma(struct praas_finding *f, bool active)
{
	struct rlimit locked = { .rlim_cur = RLIM_INFINITY };

	(void)getrlimit(RLIMIT_MEMLOCK, &locked); /* cannot fail */
	f->verdict = PRAAS_FINDING_NOTE;
	if (access("/dev/infiniband/rdma_cm", R_OK | W_OK) != 0)
		f->advice =
			"verbs:// needs /dev/infiniband/rdma_cm: modprobe rdma_ucm, "
			"and rights to it";
	else if (!active)
		f->advice =
			"no port is ACTIVE: look at rdma link and the cable, or use "
			"another transport";
	else if (locked.rlim_cur < LOCKED_WANTED)
		f->advice = "a process registers its memory_bytes with the device: "
			    "raise the limit of locked memory (ulimit -l, "
			    "LimitMEMLOCK=)";
	else
		f->verdict = PRAAS_FINDING_GOOD;
}

void praas_look_rdma(struct praas_finding *f)
{
	bool active = false;
	char path[PATH_MAX];
	char state[PRAAS_FINDING_BYTES];
	size_t at = 0;
	DIR *folder = opendir("/sys/class/infiniband");
	const struct dirent *entry;

	while (folder && (entry = readdir(folder)) && at < PRAAS_FINDING_BYTES - 64) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path),
			       "/sys/class/infiniband/%s/ports/1/state",
			       entry->d_name); /* fits */
		if (!praas_doctor_line(path, state))
			(void)snprintf(state, sizeof(state), "no port"); /* fits */
		active |= strstr(state, "ACTIVE") != NULL;
		at += (size_t)snprintf(f->found + at, PRAAS_FINDING_BYTES - at,
				       "%s%.32s (%.20s)", at ? ", " : "", entry->d_name,
				       state);
	}
	if (folder)
		(void)closedir(folder); /* read only */
	if (at == 0)
		praas_doctor_found(f,
				   "no device; TCP and shared memory do not need one");
	else
		judge_rdma(f, active);
}

void praas_look_ofi(struct praas_finding *f)
{
	int rc = praas_transport_probe("ofi", f->found, sizeof(f->found));

	if (rc == -EOPNOTSUPP)
		praas_doctor_found(f, "not in this build");
	else if (rc == -EPROTONOSUPPORT)
		f->advice = "ofi:// needs libfabric: apt install libfabric1";
	else if (rc == -ENODEV)
		praas_doctor_found(f, "libfabric has no provider here");
	if (f->advice)
		f->verdict = PRAAS_FINDING_NOTE;
}

void praas_look_dpdk(struct praas_finding *f)
{
	int rc = praas_transport_probe("dpdk", f->found, sizeof(f->found));

	if (rc == -EPROTONOSUPPORT)
		f->advice =
			"dpdk:// needs libpraas_dpdk.so, which is built where DPDK is "
			"(apt install libdpdk-dev)";
	else if (rc == -EINVAL)
		f->advice = "PRAAS_DPDK=\"dev=NAME ip=ADDRESS/PREFIX; …\": "
			    "docs/transports.md";
	else if (rc == -ENODEV && getenv("PRAAS_DPDK"))
		f->advice = "bind it: dpdk-devbind.py -b vfio-pci DEVICE";
	if (f->advice)
		f->verdict = PRAAS_FINDING_NOTE;
}

void praas_look_iommu(struct praas_finding *f)
{
	DIR *folder = opendir("/sys/kernel/iommu_groups");
	bool vfio = access("/dev/vfio/vfio", R_OK | W_OK) == 0;
	const struct dirent *entry;
	unsigned groups = 0;

	while (folder && (entry = readdir(folder)))
		groups += entry->d_name[0] != '.';
	if (folder)
		(void)closedir(folder); /* read only */
	praas_doctor_found(
		f, "%u groups, VFIO %s%s", groups, vfio ? "ready" : "not loaded",
		groups || vfio ? "" : "; only DPDK on a physical port needs them");
	if (groups > 0 && !vfio)
		f->advice = "to give a port to DPDK: modprobe vfio-pci";
	else if (groups == 0 && vfio)
		f->advice = "devices are not held to their memory: intel_iommu=on or "
			    "amd_iommu=on on the kernel's command line";
	if (f->advice)
		f->verdict = PRAAS_FINDING_NOTE;
}
