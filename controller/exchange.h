/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the data thread and the admin thread: two rings in private memory, and nothing else
 * but counters that one writes and the other reads. Pointers that pass are given: who receives one
 * owns what it points to, unless the message says otherwise.
 */
#ifndef PRAAS_CONTROLLER_EXCHANGE_H
#define PRAAS_CONTROLLER_EXCHANGE_H

#include <stdatomic.h>
#include <stdint.h>

#include "dataplane/process.h"
#include "shm/doorbell.h"
#include "shm/ring.h"

#define PRAAS_EXCHANGE_SLOTS 256u

/* Admin → data. */
enum praas_exchange_order {
	PRAAS_ORDER_IDENTITY =
		1,        /* the configuration is whole now; before all others */
	PRAAS_ORDER_LOAD, /* a: struct praas_data_load, lent until LOADED */
	PRAAS_ORDER_LISTEN, /* open the ports before there is anything to serve → LISTENING */
	PRAAS_ORDER_SERVE, /* a: 1 clean (sm_activate.h); open ports and gate → SERVING */
	PRAAS_ORDER_GATE_OPEN,
	PRAAS_ORDER_GATE_CLOSE, /* a: 1 because it moves */
	PRAAS_ORDER_WAIT_QUIET, /* → QUIET, once */
	PRAAS_ORDER_INTERRUPT,  /* end what runs now */
	PRAAS_ORDER_CUT,        /* a: 1 it is the last one → CUT */
	PRAAS_ORDER_CUT_DROP,   /* a: struct praas_cut, given back */
	PRAAS_ORDER_FUNCTIONS,  /* publish what functions did → FUNCTIONS */
	PRAAS_ORDER_MEMBERS,    /* a: malloc'd struct praas_members */
	PRAAS_ORDER_WAY,        /* a: malloc'd struct praas_way, of ASK */
	PRAAS_ORDER_QUEUE, /* a: malloc'd struct praas_mail_batch, to be applied → QUEUE */
	PRAAS_ORDER_KEPT, /* a: a snapshot has all up to that number of the log (praas_cut.covers) */
	PRAAS_ORDER_PLACES, /* a: struct praas_places of the snapshot committed last; b: struct praas_store that
			      * values are read from, lent to the end */
	PRAAS_ORDER_MOVED, /* a: malloc'd struct praas_data_moved, for clients that follow */
	PRAAS_ORDER_STOP /* end the thread; a: 1 tell clients that the process has moved */
};

/* Data → admin. */
enum praas_exchange_report {
	PRAAS_REPORT_BUILT =
		1, /* a: rc; process and executor exist; b: malloc'd text or NULL */
	PRAAS_REPORT_LOADED, /* a: rc; b: struct praas_snapshot_late that admin may step, lent
				 * until the next LOAD or the end; or NULL */
	PRAAS_REPORT_LISTENING, /* a: rc; b: malloc'd text of why not, or NULL */
	PRAAS_REPORT_SERVING, /* a: rc; b: malloc'd text of why not, or NULL; rc 0: the queue cut */
	PRAAS_REPORT_QUIET,
	PRAAS_REPORT_CUT,   /* a: rc; b: struct praas_cut */
	PRAAS_REPORT_ASK,   /* b: malloc'd struct praas_mail_ask → WAY */
	PRAAS_REPORT_QUEUE, /* a: rc; b: position up to which the queue is applied */
	PRAAS_REPORT_FUNCTIONS, /* what they did is in the exchange */
	PRAAS_REPORT_MEMBERS, /* a function wants them → MEMBERS, also when they change */
	PRAAS_REPORT_LOG_FAILED, /* a: rc; 0: it has become long. A snapshot is wanted */
	PRAAS_REPORT_ROOM, /* much of the state has changed: a checkpoint is wanted, until one is committed */
	PRAAS_REPORT_LOG /* a: level; b: malloc'd struct praas_log_note */
};

struct praas_log_note {
	char function[PRAAS_NAME_MAX + 1];
	char text[PRAAS_ERROR_TEXT_MAX];
	uint8_t trace[16]; /* W3C trace id; zeros: none */
};

struct praas_exchange_msg {
	uint64_t kind;
	uint64_t a, b;
};

#define PRAAS_STATS_WORDS (sizeof(struct praas_process_stats) / sizeof(uint64_t))

struct praas_exchange {
	struct praas_ring_slot orders[PRAAS_EXCHANGE_SLOTS];  /* written by admin */
	struct praas_ring_slot reports[PRAAS_EXCHANGE_SLOTS]; /* written by data */
	struct praas_ring_tail orders_tail;                   /* written by data */
	struct praas_ring_tail reports_tail;                  /* written by admin */
	struct praas_doorbell_shared data_sleeps;             /* written by data */
	_Atomic uint64_t stats[PRAAS_STATS_WORDS]; /* written by data, now and then */
	struct praas_function_counts
		*counts; /* written by data: of each function; NULL: not made */
	_Atomic uint32_t
		stats_wanted; /* admin sleeps until they change; cleared by data */
	/* The admin thread's ends. */
	struct praas_ring_tx orders_tx;
	struct praas_ring_rx reports_rx;
	struct praas_bell data_bell;
	/* The data thread's ends. */
	struct praas_ring_tx reports_tx;
	struct praas_ring_rx orders_rx;
	struct praas_doorbell data_doorbell;
	int data_event_fd, admin_event_fd; /* eventfds */
};

/* 0; -ENOMEM; -EMFILE. */
int praas_exchange_new(struct praas_exchange **ret_x);
/* Before the data thread starts. 0; -ENOMEM. */
int praas_exchange_counts_new(struct praas_exchange *x, uint32_t functions_count);
/* When both threads are through with it. NULL is allowed. */
void praas_exchange_free(struct praas_exchange *x);

/* Admin thread. 0; -EAGAIN full (256 orders that nobody takes: the data thread hangs). */
int praas_exchange_order(struct praas_exchange *x, enum praas_exchange_order kind,
			 uint64_t a, uint64_t b);
int praas_exchange_take_report(struct praas_exchange *x,
			       struct praas_exchange_msg *ret_msg);

/* Data thread. -EAGAIN full: try later. */
int praas_exchange_report(struct praas_exchange *x, enum praas_exchange_report kind,
			  uint64_t a, uint64_t b);
int praas_exchange_take_order(struct praas_exchange *x,
			      struct praas_exchange_msg *ret_msg);

void praas_exchange_publish(struct praas_exchange *x,
			    const struct praas_process_stats *stats);
void praas_exchange_publish_functions(struct praas_exchange *x,
				      const struct praas_function_sums *sums,
				      uint32_t functions_count);
void praas_exchange_stats(const struct praas_exchange *x,
			  struct praas_process_stats *ret_stats);
/* Admin thread: the next change is to wake it, once. Look at the stats after this. */
void praas_exchange_stats_wake(struct praas_exchange *x);

#endif
