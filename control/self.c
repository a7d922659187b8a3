/* SPDX-License-Identifier: Apache-2.0 */
#include "control/self.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "control/say.h"

/* Each controller costs us a handful of descriptors. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* then with those that there are */
}

int praas_self_prepare(void)
{
	struct rlimit none = { 0, 0 };
	int rc = 0;

	raise_limits();
	/* The limit alone would not do: a program in core_pattern is not asked for it. Not dumpable is not
	 * to be traced, nor read through /proc, by others of our user either. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none))
		rc = -errno;
	if (rc)
		praas_say(PRAAS_SAY_ERROR, "cannot turn off core dumps: %s",
			  strerror(-rc));
	return rc;
}
