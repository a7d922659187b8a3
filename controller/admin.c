/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/admin.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "controller/admin_private.h"
#include "controller/journal.h"
#include "controller/spawn.h"
#include "internal/base.h"

#define FLUSH_NS 1000000000u
#define FDS_MAX 7u

static void order(struct praas_admin *a, enum praas_exchange_order kind, uint64_t arg)
{
	if (praas_exchange_order(a->exchange, kind, arg, 0) != 0)
		praas_journal(PRAAS_LOG_ERROR,
			      "the data thread does not take its orders");
}

void praas_admin_end(struct praas_admin *a, int exit_code, const char *code,
		     const char *message)
{
	json_t *line;

	if (a->over)
		return;
	a->over = true;
	a->exit_code = exit_code;
	if (!code)
		return;
	praas_journal(PRAAS_LOG_ERROR, "%s: %s", code, message);
	line = json_pack("{ss ss ss ss}", "t", "failed", "token", a->config->join_token,
			 "code", code, "message", message);
	if (line && exit_code == PRAAS_EXIT_FENCED && a->log.epoch_max > 0)
		(void)json_object_set_new(
			line, "epoch",
			json_integer(a->log.epoch_max)); /* may be missing */
	if (!praas_link_connected(a->link))
		praas_link_poll(a->link, praas_now_ns()); /* one attempt */
	(void)praas_link_send(a->link, line); /* our exit code says it, too */
}

/* ---- reports of the data thread ---- */

/* b: why not, or the position of the backup queue that was loaded. */
static void on_serving(struct praas_admin *a, int rc, uint64_t b)
{
	char *text = rc != 0 ? (char *)(uintptr_t)b : NULL;
	const char *endpoint;

	if (rc != 0) {
		praas_admin_end(a, PRAAS_EXIT_START, "START",
				text ? text : strerror(-rc));
		free(text);
		return;
	}
	a->serving = true;
	a->catch_up.position = b;
	a->serving_ns = praas_now_ns();
	if (a->move.take.phase != PRAAS_TAKE_NONE)
		praas_admin_take_serving(a);
	else
		praas_admin_join(a); /* somebody waits for it */
	for (unsigned i = 0; (endpoint = praas_data_endpoint(a->data, i)) != NULL; i++)
		praas_journal(PRAAS_LOG_INFO, "serves at %s", endpoint);
	for (unsigned i = 0; i < a->config->listen_count; i++)
		if (praas_data_left_out(a->data, i))
			praas_journal(PRAAS_LOG_INFO, "goes without: %s",
				      praas_data_left_out(a->data, i));
	praas_admin_act(a);
}

static void on_cut(struct praas_admin *a, int rc, struct praas_cut *cut)
{
	a->cut = cut;
	if (rc == 0)
		rc = praas_admin_log_cut(a, cut, a->swap.final);
	if (rc != 0)
		(void)snprintf(a->failure, sizeof(a->failure),
			       "cannot collect the state: %s", strerror(-rc));
	praas_admin_swap_event(a, PRAAS_SWAP_CUT_DONE, rc, 0);
}

static void on_log(int level, const struct praas_log_note *note)
{
	praas_journal_function((enum praas_log_level)level, note->function, note->trace,
			       note->text);
}

static void on_built(struct praas_admin *a, int rc, char *text)
{
	if (rc != 0)
		praas_admin_end(a, PRAAS_EXIT_START, "START",
				text ? text : strerror(-rc));
	a->built = true;
	free(text);
}

/* late: what is still to be loaded; NULL: nothing. */
static void on_loaded(struct praas_admin *a, int rc, struct praas_snapshot_late *late)
{
	struct praas_activate_event loaded = { .kind = PRAAS_ACTIVATE_LOADED,
					       .rc = rc,
					       .released = a->released,
					       .whole = a->whole };

	a->late = late;
	if (rc != 0)
		(void)snprintf(a->failure, sizeof(a->failure),
			       "snapshot in slot %llu cannot be loaded: %s",
			       (unsigned long long)a->activate.loaded_slot,
			       rc == -EPROTO ? "damaged" : strerror(-rc));
	if (a->move.take.phase != PRAAS_TAKE_NONE)
		praas_admin_take_loaded(a, rc);
	else
		praas_admin_activate_event(a, &loaded);
}

static void on_report(struct praas_admin *a, const struct praas_exchange_msg *msg)
{
	int rc = (int)(int64_t)msg->a;
	void *pointer = (void *)(uintptr_t)msg->b;

	switch ((enum praas_exchange_report)msg->kind) {
	case PRAAS_REPORT_BUILT:
		on_built(a, rc, pointer);
		break;
	case PRAAS_REPORT_LOADED:
		on_loaded(a, rc, pointer);
		break;
	case PRAAS_REPORT_LISTENING:
		praas_admin_take_listening(a, rc, pointer);
		break;
	case PRAAS_REPORT_SERVING:
		on_serving(a, rc, msg->b);
		break;
	case PRAAS_REPORT_QUIET:
		praas_admin_swap_event(a, PRAAS_SWAP_QUIET, 0, 0);
		break;
	case PRAAS_REPORT_CUT:
		on_cut(a, rc, pointer);
		break;
	case PRAAS_REPORT_ASK:
		praas_admin_mail_ask(a, pointer);
		break;
	case PRAAS_REPORT_QUEUE:
		praas_admin_mail_applied(a, rc, msg->b);
		break;
	case PRAAS_REPORT_FUNCTIONS:
		praas_admin_functions(a);
		break;
	case PRAAS_REPORT_MEMBERS:
		praas_admin_members_ask(a);
		break;
	case PRAAS_REPORT_LOG_FAILED:
		praas_admin_log_failed(a, rc);
		break;
	case PRAAS_REPORT_ROOM:
		a->room_due_ns = praas_now_ns();
		break;
	case PRAAS_REPORT_LOG:
		on_log(rc, pointer);
		free(pointer);
		break;
	}
}

static void take_reports(struct praas_admin *a)
{
	struct praas_exchange_msg msg;
	uint64_t count;

	if (read(a->exchange->admin_event_fd, &count, sizeof(count)) < 0 &&
	    errno != EAGAIN)
		praas_journal(PRAAS_LOG_ERROR, "eventfd: %s", strerror(errno));
	praas_admin_metrics_wake(a);
	while (praas_exchange_take_report(a->exchange, &msg) == 0)
		on_report(a, &msg);
}

/* ---- the loop ---- */

static void take_signals(struct praas_admin *a)
{
	struct signalfd_siginfo info;

	while (read(a->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		praas_journal(PRAAS_LOG_INFO, "signal %u: swapping out",
			      info.ssi_signo);
		if (!a->serving && !a->settled)
			praas_admin_end(a, PRAAS_EXIT_DONE, NULL,
					NULL); /* nothing yet */
		else
			praas_admin_stop(a, praas_now_ns());
	}
}

static void earliest(uint64_t due_ns, uint64_t *ns)
{
	if (due_ns != 0 && due_ns < *ns)
		*ns = due_ns;
}

static int wait_ms(const struct praas_admin *a, uint64_t now_ns)
{
	uint64_t ns = now_ns + UINT64_C(10000000000);

	earliest(a->drain_due_ns, &ns);
	earliest(a->put_due_ns, &ns);
	earliest(a->sweep_due_ns, &ns);
	earliest(a->late_due_ns, &ns);
	earliest(a->redo_due_ns, &ns);
	earliest(a->room_due_ns, &ns);
	earliest(a->stop_due_ns, &ns);
	earliest(a->catch_due_ns, &ns);
	earliest(a->move.due_ns, &ns);
	earliest(a->move.again_ns, &ns);
	if (praas_link_connected(a->link))
		earliest(a->metrics_due_ns, &ns);
	earliest(praas_link_due_ns(a->link), &ns);
	return ns <= now_ns ? 0 : (int)((ns - now_ns + 999999) / 1000000);
}

static bool due(uint64_t due_ns, uint64_t now_ns)
{
	return due_ns != 0 && due_ns <= now_ns;
}

static void look_at_clock(struct praas_admin *a)
{
	uint64_t now_ns = praas_now_ns();

	if (due(a->drain_due_ns, now_ns)) {
		a->drain_due_ns = 0;
		praas_admin_swap_event(a, PRAAS_SWAP_TIMEOUT, 0, 0);
	}
	if (due(a->put_due_ns, now_ns))
		praas_admin_put_again(a);
	if (due(a->sweep_due_ns, now_ns) && !a->cut)
		praas_admin_sweep(a);
	if (due(a->late_due_ns, now_ns))
		praas_admin_late(a, now_ns);
	if (due(a->redo_due_ns, now_ns))
		praas_admin_log_due(a, now_ns);
	if (due(a->room_due_ns, now_ns))
		praas_admin_room_due(a, now_ns);
	praas_admin_checkpoint_waits(a);
	if (due(a->catch_due_ns, now_ns))
		praas_admin_mail_due(a);
	if (due(a->metrics_due_ns, now_ns))
		praas_admin_metrics(a, now_ns);
	if (due(a->move.due_ns, now_ns) || due(a->move.again_ns, now_ns)) {
		if (a->move.take.phase != PRAAS_TAKE_NONE)
			praas_admin_take_due(a, now_ns);
		else
			praas_admin_move_due(a, now_ns);
	}
	if (due(a->stop_due_ns, now_ns) && !a->over)
		praas_admin_stop_again(a, now_ns);
}

static void poll_move(struct praas_admin *a)
{
	if (a->move.take.phase != PRAAS_TAKE_NONE)
		praas_admin_take_poll(a);
	else
		praas_admin_move_poll(a);
}

static void loop(struct praas_admin *a)
{
	while (!a->over) {
		struct pollfd fds[FDS_MAX] = {
			{ .fd = a->signal_fd, .events = POLLIN },
			{ .fd = a->exchange->admin_event_fd, .events = POLLIN },
			{ .fd = praas_link_fd(a->link),
			  .events = praas_link_wants(a->link) },
			{ .fd = a->spawner ? praas_spawner_fd(a->spawner) : -1,
			  .events = POLLIN },
			{ .fd = a->move.listen_fd, .events = POLLIN },
			{ .fd = a->move.fd, .events = POLLIN },
			{ .fd = a->built ? a->identity_fd : -1, .events = POLLIN },
		};

		if (poll(fds, FDS_MAX, wait_ms(a, praas_now_ns())) < 0 &&
		    errno != EINTR) {
			praas_admin_end(a, PRAAS_EXIT_START, "START", strerror(errno));
			break;
		}
		/* Before the link: control may know already that the process lives elsewhere. */
		if (a->move.listen_fd >= 0 || a->move.fd >= 0)
			poll_move(a);
		if (a->over)
			break;
		praas_link_poll(a->link, praas_now_ns());
		if (a->spawner)
			praas_spawner_poll(a->spawner);
		take_reports(a);
		if (!a->over && fds[FDS_MAX - 1].revents != 0)
			praas_admin_identity(a);
		if (!a->over)
			take_signals(a);
		if (!a->over)
			look_at_clock(a);
	}
}

/* ---- beginning and end ---- */

static int open_signals(int *ret_fd)
{
	sigset_t set;

	(void)sigemptyset(&set); /* cannot fail */
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	*ret_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret_fd >= 0 ? 0 : -errno;
}

static int make_spawner(struct praas_admin *a)
{
	const struct praas_config *c = a->config;
	struct praas_spawner_config sc = {
		.program = c->worker[0] ? c->worker : NULL,
		.code = c->code,
		.cgroup_version = c->cgroup_version,
		.cgroup_path = c->cgroup_version ? c->cgroup_path : NULL,
		.memory_bytes = c->memory_bytes,
		.cpu_milli = c->vcpu_milli,
		.pids_max = c->tasks_max,
		.allow_weak = c->allow_weak_sandbox,
	};
	int rc;

	if (c->isolation_inline)
		return 0;
	rc = praas_spawner_new(&sc, &a->spawner);
	if (rc != 0)
		(void)snprintf(a->failure, sizeof(a->failure),
			       "cannot start workers: %s", strerror(-rc));
	return rc;
}

static int begin(struct praas_admin *a)
{
	struct praas_data_config dc = { .config = a->config, .manifest = a->manifest };
	int rc = praas_exchange_new(&a->exchange);

	if (rc == 0)
		rc = open_signals(&a->signal_fd);
	if (rc == 0)
		rc = make_spawner(a);
	if (rc == 0)
		rc = praas_exchange_counts_new(a->exchange, a->manifest->count);
	dc.exchange = a->exchange;
	dc.spawner = a->spawner;
	if (rc == 0)
		rc = praas_data_start(&dc, &a->data);
	if (rc != 0 && a->failure[0] == '\0')
		(void)snprintf(a->failure, sizeof(a->failure), "%s", strerror(-rc));
	return rc;
}

static void end(struct praas_admin *a)
{
	struct praas_exchange_msg msg;

	praas_link_flush(a->link, FLUSH_NS);
	praas_admin_move_hang_up(a); /* a destination joins then */
	if (a->data) {
		if (a->cut)
			order(a, PRAAS_ORDER_CUT_DROP, (uint64_t)(uintptr_t)a->cut);
		order(a, PRAAS_ORDER_STOP, a->exit_code == PRAAS_EXIT_DONE);
		praas_data_free(a->data);
		/* What nobody took any more. */
		while (praas_exchange_take_report(a->exchange, &msg) == 0)
			if (msg.kind == PRAAS_REPORT_LOG ||
			    msg.kind == PRAAS_REPORT_BUILT ||
			    msg.kind == PRAAS_REPORT_ASK ||
			    msg.kind == PRAAS_REPORT_LISTENING ||
			    (msg.kind == PRAAS_REPORT_SERVING && msg.a != 0))
				free((void *)(uintptr_t)msg.b);
	}
	praas_spawner_free(a->spawner);
	praas_exchange_free(a->exchange);
	praas_link_free(a->link);
	praas_admin_move_release(a);
	praas_snapshot_release(&a->current);
	praas_snapshot_release(&a->previous);
	praas_named_set_release(&a->named);
	praas_members_feed_release(&a->members);
	praas_store_free(a->store);
	praas_store_free(a->load_store);
	if (a->signal_fd >= 0)
		(void)close(a->signal_fd); /* a signalfd */
	if (a->identity_fd >= 0)
		(void)close(a->identity_fd); /* a pipe that nobody needs any more */
	if (a->identity_text)
		explicit_bzero(a->identity_text, a->identity_bytes);
	free(a->identity_text);
	free(a->entry);
	free(a->functions_told);
}

int praas_admin_run(struct praas_config *config, const struct praas_manifest *manifest,
		    int identity_fd, int *ret_again_fd)
{
	struct praas_admin *a = calloc(1, sizeof(*a));
	int code;

	*ret_again_fd = -1;
	if (!a)
		return PRAAS_EXIT_START;
	a->config = config;
	a->manifest = manifest;
	a->signal_fd = a->again_fd = a->move.listen_fd = a->move.fd = -1;
	a->identity_fd = identity_fd;
	a->entry = calloc(1, sizeof(*a->entry));
	if (!a->entry || praas_link_new(config->move_at[0] != '\0' ? "" : config->link,
					&praas_admin_link_events, a, &a->link) != 0) {
		free(a->entry);
		free(a);
		return PRAAS_EXIT_START;
	}
	if (begin(a) != 0) {
		praas_admin_end(a, PRAAS_EXIT_START, "START", a->failure);
	} else {
		if (!config->prepare)
			praas_admin_identified(a);
		loop(a);
	}
	end(a);
	code = a->exit_code;
	*ret_again_fd = a->again_fd;
	free(a);
	return code;
}
