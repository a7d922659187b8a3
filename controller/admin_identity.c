/* SPDX-License-Identifier: Apache-2.0
 *
 * Which process this controller serves. What follows from the application alone (memory, tables,
 * threads, workers with their code) can be made before that is known, and takes longer than all the
 * rest: a controller can stand ready, and is told its process in one message. It serves one process
 * in its life, so nothing of one can reach another.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "controller/admin_private.h"
#include "controller/journal.h"
#include "controller/store/sealed.h"
#include "internal/base.h"

static int open_stores(struct praas_admin *a)
{
	const struct praas_config *c = a->config;
	const struct praas_s3_credentials *keys =
		c->has_store_keys ? &c->store_keys : NULL;
	struct praas_slot_id id = { .pid = c->pid, .generation = c->generation };
	int rc = praas_store_open_with(c->store, keys, &a->store);

	memcpy(id.tenant, c->tenant, sizeof(id.tenant));
	if (rc == 0)
		rc = praas_store_seal(a->store, &c->seal_keys, &id, &a->store);
	if (rc == 0)
		rc = praas_store_open_with(c->store, keys, &a->load_store);
	if (rc == 0)
		rc = praas_store_seal(a->load_store, &c->seal_keys, &id,
				      &a->load_store);
	if (rc != 0)
		(void)snprintf(a->failure, sizeof(a->failure), "store %.300s: %s",
			       a->config->store, strerror(-rc));
	return rc;
}

static void begin(struct praas_admin *a)
{
	struct praas_activate_event start = { .kind = PRAAS_ACTIVATE_START,
					      .epoch = a->config->epoch,
					      .act_first = praas_admin_log_wanted(a) };

	praas_admin_activate_event(a, &start);
}

void praas_admin_identified(struct praas_admin *a)
{
	const struct praas_config *c = a->config;
	int rc = praas_journal_file(a->config->log, 0);

	praas_journal_setup(a->config->pid, a->config->epoch);
	if (rc != 0)
		praas_journal(PRAAS_LOG_WARNING, "log %.300s: %s", a->config->log,
			      strerror(-rc));
	if (c->move_at[0] == '\0') /* else when it has taken the process over */
		praas_link_target(a->link, c->link);
	if (open_stores(a) != 0) {
		praas_admin_end(a, PRAAS_EXIT_START, "START", a->failure);
		return;
	}
	(void)praas_exchange_order(a->exchange, PRAAS_ORDER_IDENTITY, 0,
				   0); /* never full: the first one */
	praas_link_poll(a->link, praas_now_ns());
	a->metrics_due_ns = praas_now_ns();
	if (c->move_at[0] != '\0')
		praas_admin_take_begin(a);
	else
		begin(a);
}

/* The process is another than was prepared for: everything is made anew, by the same program. */
static void begin_again(struct praas_admin *a)
{
	int fd = memfd_create("praas-config", MFD_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, a->identity_text, a->identity_bytes);

	if (n != (ssize_t)a->identity_bytes || lseek(fd, 0, SEEK_SET) != 0) {
		praas_admin_end(a, PRAAS_EXIT_START, "START", strerror(errno));
		if (fd >= 0)
			(void)close(fd); /* memory */
		return;
	}
	a->again_fd = fd;
	praas_admin_end(a, PRAAS_EXIT_DONE, NULL, NULL);
}

/* All of it has come. */
static void take_identity(struct praas_admin *a)
{
	char error[PRAAS_JSON_ERROR_MAX];
	struct praas_config config = { 0 };

	if (a->identity_bytes == 0) { /* it was not needed after all */
		praas_admin_end(a, PRAAS_EXIT_DONE, NULL, NULL);
		return;
	}
	if (praas_config_parse(a->identity_text, a->identity_bytes, &config, error) !=
		    0 ||
	    config.prepare) {
		praas_journal(PRAAS_LOG_ERROR, "configuration: %s",
			      config.prepare ? "it names no process" : error);
		praas_admin_end(a, PRAAS_EXIT_CONFIG, NULL, NULL);
		return;
	}
	if (praas_config_fits(a->config, &config) &&
	    !praas_manifest_stale(config.code, a->manifest)) {
		*a->config = config;
		praas_admin_identified(a);
	} else {
		begin_again(a);
	}
	praas_config_wipe(&config);
}

void praas_admin_identity(struct praas_admin *a)
{
	ssize_t n;

	if (!a->identity_text)
		a->identity_text = malloc(PRAAS_CONFIG_BYTES_MAX + 1);
	if (!a->identity_text) {
		praas_admin_end(a, PRAAS_EXIT_START, "START", strerror(ENOMEM));
		return;
	}
	n = read(a->identity_fd, a->identity_text + a->identity_bytes,
		 PRAAS_CONFIG_BYTES_MAX + 1 - a->identity_bytes);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0 || a->identity_bytes + (size_t)n > PRAAS_CONFIG_BYTES_MAX) {
		praas_journal(PRAAS_LOG_ERROR, "configuration: %s",
			      n < 0 ? strerror(errno) : "is larger than 1 MiB");
		praas_admin_end(a, PRAAS_EXIT_CONFIG, NULL, NULL);
		return;
	}
	a->identity_bytes += (size_t)n;
	if (n > 0)
		return;
	(void)close(a->identity_fd); /* read to its end */
	a->identity_fd = -1;
	take_identity(a);
}
