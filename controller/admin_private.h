/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the admin thread share. Only they include this.
 */
#ifndef PRAAS_CONTROLLER_ADMIN_PRIVATE_H
#define PRAAS_CONTROLLER_ADMIN_PRIVATE_H

#include "controller/admin.h"
#include "controller/data.h"
#include "controller/hand_over.h"
#include "controller/link.h"
#include "controller/mail.h"
#include "controller/members.h"
#include "controller/sm_activate.h"
#include "controller/sm_catch_up.h"
#include "controller/sm_move.h"
#include "controller/sm_swap_out.h"
#include "controller/store/named.h"
#include "controller/store/redo.h"

#define PRAAS_ADMIN_ASKS 64u /* questions for ways under way */

/* A question that the control service has not answered yet. */
struct praas_admin_ask {
	uint64_t id; /* on the link; 0: free */
	uint64_t receiver;
	uint32_t attempt;
};

/* A move, of a source or of a destination; fds -1: none. */
struct praas_admin_move {
	struct praas_move source;
	struct praas_take take;
	uint64_t id;   /* of the request; 0: none is under way */
	uint32_t to;   /* e' */
	uint32_t from; /* a destination: the source's epoch */
	char at[PRAAS_CONFIG_PATH_MAX + 1];
	uint8_t secret[PRAAS_HAND_SECRET_BYTES];
	int listen_fd, fd;
	uint64_t due_ns;   /* somebody is waited for no longer than that; 0: nobody */
	uint64_t again_ns; /* what could not be done is tried again then; 0: nothing */
	uint64_t backoff_ns;
	uint64_t closed_ns; /* since when the gate is closed */
	uint64_t bytes;
	bool told; /* a destination: the source knows; it need not be waited for any more */
	struct praas_store *store;      /* what came */
	struct praas_snapshot snapshot; /* of it */
	struct praas_data_moved
		*moved; /* a source: where it lives now; NULL: not told */
};

struct praas_admin {
	struct praas_config *config; /* constant once its process is known */
	const struct praas_manifest *manifest;
	struct praas_exchange *exchange;
	struct praas_data *data;
	struct praas_link *link;
	struct praas_spawner *spawner;
	struct praas_store *store;      /* ours */
	struct praas_store *load_store; /* the data thread's while it loads */
	struct praas_slot_log log;
	struct praas_activate activate;
	struct praas_swap swap;
	uint64_t
		checkpoint_id; /* was asked for while one of our own was taken; 0: none */
	struct praas_admin_move move;
	struct praas_snapshot current,
		previous;             /* last committed ones; also what was loaded */
	struct praas_named_set named; /* what else the sweep keeps */
	struct praas_data_load load;
	struct praas_cut *cut;          /* being written */
	struct praas_slot_entry *entry; /* of the commit under way */
	uint64_t written_bytes;
	struct praas_snapshot_late
		*late; /* the data thread's; what is still to be loaded */
	uint64_t drain_due_ns, put_due_ns, metrics_due_ns,
		sweep_due_ns; /* 0: not set */
	uint64_t late_due_ns;
	uint64_t
		room_due_ns; /* a checkpoint makes room for state beyond memory; 0: none is wanted */
	struct praas_admin_ask asks[PRAAS_ADMIN_ASKS];
	struct praas_catch_up catch_up;
	struct praas_catch_up_action catch_last; /* what was to be done last */
	uint64_t mail_id; /* of the last request about messages */
	uint64_t
		catch_id; /* of the queue's part, or of "serve", that is waited for; 0: none */
	bool catch_more; /* of that part */
	uint64_t catch_due_ns, catch_backoff_ns;
	struct praas_members_feed members;
	bool members_wanted; /* a function has asked for them */
	bool joined;         /* on this connection, as the control service said */
	uint64_t queue_cut;  /* of the last committed snapshot */
	uint64_t stop_due_ns, stop_end_ns; /* of a signal; 0: none, or obeyed */
	uint64_t put_backoff_ns;
	uint64_t serving_ns;              /* since when */
	uint64_t metrics_seq, metrics_ns; /* number and time of the last metrics sent */
	struct praas_process_stats metrics_last;
	struct praas_admin_told *functions_told; /* of each; NULL: nothing yet */
	uint64_t functions_seq;                  /* of the last message about them */
	uint64_t held_ns, held_bytes; /* when, and how large, the state was seen last */
	double held;         /* state × time since it serves, in byte seconds */
	int identity_fd;     /* of the rest of the configuration; -1: it is known */
	char *identity_text; /* read so far */
	size_t identity_bytes;
	int again_fd; /* what another start is to be made with; -1 */
	bool built;   /* the data thread has made all that needs no identity */
	bool serving, settled, refused;
	bool released; /* what is being loaded is a REL */
	bool whole; /* … has all that anybody has seen of the epoch before: its log says so */
	bool act_waits;    /* ACT of a process without a past: until it serves */
	bool metrics_rest; /* nothing has changed: the data thread wakes us */
	bool over;         /* leave the loop with exit_code */
	int exit_code;
	int signal_fd;
	struct praas_redo *redo;     /* the log of a journal; NULL: there is none */
	struct praas_bell redo_bell; /* of its thread */
	uint64_t
		redo_number; /* of its last record when it was opened, or what the snapshot says */
	uint64_t redo_due_ns; /* a snapshot is to be made for its sake; 0: none */
	uint64_t replayed;    /* turns */
	bool log_due; /* the log begins in the midst of what was loaded: a snapshot soon */
	char failure[512]; /* for people, of an end that is none of the good ones */
};

/* Ends the loop. code: for the link; NULL: nothing to tell. */
void praas_admin_end(struct praas_admin *a, int exit_code, const char *code,
		     const char *message);

/* ---- admin_identity.c: a controller that was made ready in advance ---- */

/* Something came on identity_fd. */
void praas_admin_identity(struct praas_admin *a);
/* config is whole: opens its stores and the link, begins the activation. */
void praas_admin_identified(struct praas_admin *a);

/* ---- admin_swap.c: the shells around the state machines ---- */

/* It serves: what waited for that is written. */
void praas_admin_act(struct praas_admin *a);
void praas_admin_activate_event(struct praas_admin *a,
				const struct praas_activate_event *event);
void praas_admin_swap_event(struct praas_admin *a, enum praas_swap_event_kind kind,
			    int rc, uint64_t id);
/* A signal asks for a swap-out. One that fails is tried again while control is not there to decide, and
 * in the end we go without. */
void praas_admin_stop(struct praas_admin *a, uint64_t now_ns);
void praas_admin_stop_again(struct praas_admin *a, uint64_t now_ns);
/* A commit whose outcome is not known is tried again. */
void praas_admin_put_again(struct praas_admin *a);
/* Remove what an earlier life left and neither the last two snapshots nor named ones need. */
void praas_admin_sweep(struct praas_admin *a);
/* Loads some more of the state that comes late. */
void praas_admin_late(struct praas_admin *a, uint64_t now_ns);
/* A checkpoint is to make room for state. */
void praas_admin_room_due(struct praas_admin *a, uint64_t now_ns);
/* The code of an errno in messages of the link. */
const char *praas_admin_code(int rc);

/* Begins a snapshot's load by the data thread; whole: nothing of it comes later. */
int praas_admin_load(struct praas_admin *a, struct praas_store *store,
		     const struct praas_snapshot *snapshot, bool whole);
/* What its log says. */
int praas_admin_open_log(struct praas_admin *a);
/* Its ACT is in: commits are allowed. */
void praas_admin_settled(struct praas_admin *a);
/* Ends it, with words for whoever started it. */
void praas_admin_activation_failed(struct praas_admin *a, int rc);

/* ---- admin_log.c: a journal ---- */

/* It is to have a log, or has left one. */
bool praas_admin_log_wanted(struct praas_admin *a);
/* Our ACT is in: replays into a->current. back: epoch of a rollback, which has undone what was before; 0: none. 0; or why not, with a->failure. */
int praas_admin_log_open(struct praas_admin *a, uint32_t back);
void praas_admin_log_settled(struct praas_admin *a);
/* Whether this epoch writes one, not only reads what an earlier one has left. */
bool praas_admin_log_kept(const struct praas_admin *a);
/* All that the cut has is durable in the log, where the destination goes on. 0; -ETIMEDOUT; or why it is not. */
int praas_admin_log_hand(struct praas_admin *a);
/* Goes on in the log of the source, when our ACT is in. 0; or why not: praas_redo_open(). */
int praas_admin_log_take(struct praas_admin *a);
/* Says in a cut up to where the log is in it. -ENOMEM; -E2BIG. */
int praas_admin_log_cut(struct praas_admin *a, struct praas_cut *cut, bool final);
/* a->cut is committed, and is a->current. */
void praas_admin_log_committed(struct praas_admin *a);
/* It cannot be written, or (0) is too long: a snapshot is wanted. */
void praas_admin_log_failed(struct praas_admin *a, int rc);
void praas_admin_log_due(struct praas_admin *a, uint64_t now_ns);

/* ---- admin_move.c: the process goes to another controller ---- */

/* The control service asks for it. */
void praas_admin_move_ask(struct praas_admin *a, uint64_t id, const json_t *message);
/* It is called off. */
void praas_admin_move_cancel(struct praas_admin *a);
/* Something may have come from the destination. */
void praas_admin_move_poll(struct praas_admin *a);
void praas_admin_move_due(struct praas_admin *a, uint64_t now_ns);
/* The cut is made: over with it; or it is not wanted any more. True: the swap machine's HANDED is *ret_rc, now. */
bool praas_admin_hand(struct praas_admin *a, bool over, int *ret_rc);
/* The request is answered. */
void praas_admin_move_over(struct praas_admin *a);
/* The other one sees that we are gone. */
void praas_admin_move_hang_up(struct praas_admin *a);
/* Whatever is open. */
void praas_admin_move_release(struct praas_admin *a);

/* ---- admin_take.c: it comes from another controller ---- */

/* In place of an activation. */
void praas_admin_take_begin(struct praas_admin *a);
/* PRAAS_REPORT_LISTENING, _LOADED, _SERVING. */
void praas_admin_take_listening(struct praas_admin *a, int rc, char *text);
void praas_admin_take_loaded(struct praas_admin *a, int rc);
void praas_admin_take_serving(struct praas_admin *a);
void praas_admin_take_poll(struct praas_admin *a);
void praas_admin_take_due(struct praas_admin *a, uint64_t now_ns);

/* ---- admin_mail.c: messages between processes ---- */

/* The data thread asks for a way; ask is given. */
void praas_admin_mail_ask(struct praas_admin *a, struct praas_mail_ask *ask);
/* The control service has messages for us: catch up with the backup queue. */
void praas_admin_mail_more(struct praas_admin *a);
/* "way", "queue", "served". false: none of them. */
bool praas_admin_mail_message(struct praas_admin *a, const char *type,
			      const json_t *message, const uint8_t *raw,
			      uint64_t raw_bytes);
/* A part of the queue was applied up to position, or not: rc. */
void praas_admin_mail_applied(struct praas_admin *a, int rc, uint64_t position);
/* The gate closes: nothing more is read from the queue. */
void praas_admin_mail_stop(struct praas_admin *a);
/* The link begins anew: nothing will be answered. */
void praas_admin_mail_renew(struct praas_admin *a);
void praas_admin_mail_due(struct praas_admin *a);

/* ---- admin_members.c: the members of the application ---- */

/* A function wants them. */
void praas_admin_members_ask(struct praas_admin *a);
/* The control service believes our join. */
void praas_admin_members_joined(struct praas_admin *a);
void praas_admin_members_line(struct praas_admin *a, const json_t *line);

/* ---- admin_link.c: what is said on the link ---- */

extern const struct praas_link_events praas_admin_link_events;
void praas_admin_join(struct praas_admin *a);
void praas_admin_answer(struct praas_admin *a, uint64_t id, int rc);
void praas_admin_metrics(struct praas_admin *a, uint64_t now_ns);
/* Now, because something ends: what comes later may not be heard. */
void praas_admin_metrics_now(struct praas_admin *a);
/* The data thread has something to tell: perhaps other numbers. */
void praas_admin_metrics_wake(struct praas_admin *a);

/* ---- admin_functions.c ---- */

/* What functions did since it was told last. */
void praas_admin_functions(struct praas_admin *a);
/* A checkpoint that was asked for while one of our own was taken begins when that is over. */
void praas_admin_checkpoint_waits(struct praas_admin *a);
/* What was told of them before, once more: it does not count again. */
void praas_admin_functions_again(struct praas_admin *a);

#endif
