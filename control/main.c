/* SPDX-License-Identifier: Apache-2.0
 *
 * praas-control: starts the parts in order, says where it listens, waits for a signal, and stops
 * them in the reverse order with every process swapped out.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "control/backup.h"
#include "control/json.h"
#include "control/options.h"
#include "control/parts.h"
#include "control/say.h"
#include "control/self.h"
#include "control/store_open.h"
#include "controller/store/gc.h"
#include "internal/base.h"

#define ERROR_TEXT 256

static int back_up(const struct praas_options *o)
{
	char text[ERROR_TEXT] = "";
	int rc = praas_backup(o->data, o->backup, text);

	if (rc)
		(void)fprintf(stderr, "praas-control: back-up: %s\n", text);
	else
		(void)printf("{\"backup\":\"%s\"}\n", o->backup);
	return rc ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct praas_parts s = PRAAS_PARTS_NONE;
	struct praas_options o = { .nodes = &s.service.nodes,
				   .collect_s = PRAAS_GC_GRACE_S };
	int rc;

	praas_json_prepare();
	praas_options_defaults(&o);
	rc = praas_options_parse(argc, argv, &o);
	if (rc)
		return rc == -ECANCELED ? 0 : 2;
	praas_say_json(o.log && strcmp(o.log, "json") == 0);
	if (o.backup)
		return back_up(&o);
	if (o.check_store)
		return praas_stores_check(&o);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(077);
	(void)sigemptyset(&s.signals);
	(void)sigaddset(&s.signals, SIGTERM);
	(void)sigaddset(&s.signals, SIGINT);
	(void)sigaddset(&s.signals, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &s.signals, NULL); /* before the first thread */
	s.service.started_ns = praas_now_ns();
	rc = praas_self_prepare();
	if (rc == 0 && o.log_file && (rc = praas_say_file(o.log_file, 0)) != 0)
		(void)praas_parts_complain("--log-file", o.log_file, rc);
	s.options = &o;
	if (rc == 0)
		rc = praas_parts_open(&s);
	if (rc == 0)
		(void)praas_parts_wait(&s, 0);
	praas_parts_close(&s, rc == 0);
	return rc && rc != -ECANCELED ? 1 : 0;
}
