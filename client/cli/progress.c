/* SPDX-License-Identifier: Apache-2.0
 *
 * How far long work is, for who waits at a terminal: one line of standard error that is
 * written over. Nothing where standard error is no terminal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"

#define SHOW_NS 100000000u /* not more often than that */
#define BAR 24u

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void show(const struct praas_cli_progress *p)
{
	static const char full[] = "########################";
	char bytes[16];
	uint64_t filled = p->total ? BAR * p->done / p->total : 0;

	(void)fputs("\r\033[K", stderr);
	if (p->total)
		(void)fprintf(stderr, "[%-*.*s] %" PRIu64 " of %" PRIu64, (int)BAR,
			      (int)(filled < BAR ? filled : BAR), full, p->done,
			      p->total);
	else
		(void)fprintf(stderr, "%" PRIu64, p->done);
	if (p->bytes) {
		praas_cli_bytes_text(p->bytes, bytes);
		(void)fprintf(stderr, ", %s", bytes);
	}
	(void)fflush(stderr);
}

void praas_cli_progress(struct praas_cli_progress *p, uint64_t done, uint64_t bytes)
{
	uint64_t now;

	p->done += done;
	p->bytes += bytes;
	if (!p->asked) {
		p->asked = true;
		p->terminal = isatty(STDERR_FILENO) == 1;
		p->shown_ns = p->terminal ? now_ns() : 0; /* short work shows none */
	}
	if (!p->terminal)
		return;
	now = now_ns();
	if (now - p->shown_ns < SHOW_NS)
		return;
	p->shown_ns = now;
	p->shown = true;
	show(p);
}

void praas_cli_progress_end(const struct praas_cli_progress *p)
{
	if (p->shown)
		(void)fputs("\r\033[K", stderr);
}
