/* SPDX-License-Identifier: Apache-2.0
 *
 * One of several control services while another is active: it has no records, and passes requests on to that one
 * until it takes over. All on the main thread, but for the end of one that has lost the records.
 */
#include "control/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/rest/pass.h"
#include "control/rest/tls.h"
#include "control/say.h"
#include "internal/base.h"

#define LOOK_NS 100000000L /* between two looks whether the records are free */
/* For those told to end at the same time to be gone: each looks for a signal every LOOK_NS. */
#define HEIR_S 1
#define SECOND_NS 1000000000u
#define ERROR_TEXT 256
#define DOOR "rest.sock"

/* ---- signals ------------------------------------------------------------------------ */

/* Loads a certificate that has changed; why not is said once. */
static void refresh_tls(bool always)
{
	char text[ERROR_TEXT] = "";
	bool loaded;
	int rc = praas_tls_refresh(always, &loaded, text);

	if (rc)
		praas_say(PRAAS_SAY_ERROR, "TLS: %s; the certificate before is kept",
			  text);
	else if (loaded)
		praas_say(PRAAS_SAY_INFO, "TLS: a new certificate is used");
}

/* Files are looked at once a second: they may be on any file system. */
bool praas_parts_wait(const struct praas_parts *parts, long ns)
{
	struct timespec span = { .tv_sec = ns ? 0 : 1, .tv_nsec = ns };
	bool tls = parts->options->tls_cert != NULL;
	static uint64_t looked_ns; /* of the main thread alone */
	int which;

	do {
		which = tls || ns ? sigtimedwait(&parts->signals, NULL, &span)
				  : sigwaitinfo(&parts->signals, NULL);
		if (tls &&
		    (which == SIGHUP || praas_now_ns() - looked_ns >= SECOND_NS)) {
			looked_ns = praas_now_ns();
			refresh_tls(which == SIGHUP);
		}
	} while (which == SIGHUP || (which < 0 && !ns));
	return which > 0;
}

/* ---- while another is active -------------------------------------------------------- */

static int door_of(const struct praas_parts *s, char ret_path[PRAAS_PARTS_PATH + 16])
{
	return snprintf(ret_path, PRAAS_PARTS_PATH + 16, "%s/" DOOR, s->run) < 0
		       ? -EINVAL
		       : 0;
}

/* For the first time: from now on requests are taken, and passed on. */
static int begin(struct praas_parts *s)
{
	char path[PRAAS_PARTS_PATH + 16];
	int rc = door_of(s, path);

	if (rc == 0)
		rc = praas_passes_new(path, &s->service.passes);
	if (rc)
		return praas_parts_complain("cannot pass requests on to", path, rc);
	s->stands_by = true;
	/* service.R0, pairs with service.A0: as below; nobody looks yet. */
	atomic_store_explicit(&s->service.stands_by, true, memory_order_release);
	rc = praas_parts_open_rest(s);
	if (rc == 0)
		rc = praas_parts_announce(s);
	if (rc == 0)
		praas_say(PRAAS_SAY_INFO,
			  "another control service is active: this one stands by, and "
			  "passes requests on to it");
	return rc;
}

int praas_standby_busy(void *parts, const char *owner, const char *why)
{
	struct praas_parts *s = parts;
	int rc = owner ? praas_replica_ended(&s->replica, owner) : 0;

	if (rc == 1) {
		praas_say(PRAAS_SAY_WARNING,
			  "the control service that was active has ended without a "
			  "word: this one takes over");
		return PRAAS_LEASE_ENDED;
	}
	if (rc == -EXDEV) {
		praas_say(PRAAS_SAY_ERROR,
			  "records: %s; its data folder is another, or on another "
			  "machine: services that stand by for each other share one",
			  why);
		return -EBUSY;
	}
	if (rc < 0)
		return praas_parts_complain("cannot look for who is active in", s->data,
					    rc);
	if (!owner && !s->stands_by)
		return -EIO; /* a Redis that was never there is a mistake */
	if (!s->stands_by)
		rc = begin(s);
	if (rc == 0 && praas_parts_wait(s, LOOK_NS)) {
		praas_replica_close(&s->replica); /* nobody counts on us any more */
		rc = -ECANCELED;
	}
	return rc ? rc : PRAAS_LEASE_AGAIN;
}

int praas_standby_over(struct praas_parts *parts)
{
	char path[PRAAS_PARTS_PATH + 16];
	int rc = door_of(parts, path);

	/* service.R0, pairs with service.A0: all parts are open. */
	atomic_store_explicit(&parts->service.stands_by, false, memory_order_release);
	if (rc == 0)
		rc = praas_rest_open_inner(parts->rest, path);
	return rc ? praas_parts_complain("cannot listen on", path, rc) : 0;
}

/* ---- its end ------------------------------------------------------------------------ */

void praas_standby_lost(void *parts)
{
	(void)parts;
	praas_say(PRAAS_SAY_ERROR,
		  "this control service is not the active one any more, and ends at "
		  "once; processes go on. Started again, it stands by");
	/* Nothing that is half done may go on: no socket is removed, no process is told anything. */
	_exit(PRAAS_EXIT_FENCED);
}

bool praas_standby_heir(const struct praas_parts *parts)
{
	struct timespec span = { .tv_sec = HEIR_S };

	if (!praas_replica_others(&parts->replica))
		return false;
	(void)nanosleep(&span, NULL);
	return praas_replica_others(&parts->replica);
}
