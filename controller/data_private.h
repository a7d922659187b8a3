/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the data thread share. Only they include this.
 */
#ifndef PRAAS_CONTROLLER_DATA_PRIVATE_H
#define PRAAS_CONTROLLER_DATA_PRIVATE_H

#include <pthread.h>

#include "controller/cut.h"
#include "controller/data.h"
#include "controller/fetch.h"
#include "controller/gate.h"
#include "controller/mail.h"
#include "controller/places.h"
#include "controller/pool_memory.h"
#include "controller/store/redo.h"
#include "dataplane/changes.h"
#include "transport/session.h"

#define PRAAS_DATA_TEXT_MAX 512u
#define PRAAS_DATA_BIG_SEGMENTS 0x1000u /* ids of payloads larger than the pool has */
#define PRAAS_DATA_BIG_COUNT 0x1000u
#define PRAAS_DATA_CLIENT_SEGMENTS 0x2000u /* ids from here on: the shm transport's */
#define PRAAS_DIRECT_CLIENTS 64u

/* A client of the shm transport with a number for the direct path. */
struct praas_direct_client {
	struct praas_conn *conn; /* NULL: gone */
	uint64_t attached;       /* workers that have it mapped */
};

/* Of a journal. Numbers are those of the log's records, and go on when it cannot be written. */
struct praas_data_log {
	struct praas_redo *redo; /* the admin thread's; NULL: there is none */
	struct praas_changes changes;
	struct praas_gate gate;
	uint64_t last;  /* of the last turn that changed something */
	uint64_t kept;  /* up to there a snapshot has it */
	uint64_t bytes; /* in the log since then */
	bool failed;    /* what it has is not all any more */
	bool told;      /* that a snapshot is wanted */
	bool asked;     /* somebody waits for it without a frame */
};

struct praas_data {
	struct praas_data_config config;
	pthread_t thread;
	struct praas_pool_memory *memory;
	struct praas_executor *executor; /* also owned by process once that exists */
	struct praas_process *process;
	struct praas_session_server *sessions;
	char (*names)[PRAAS_NAME_MAX + 1];
	uint8_t *function_flags; /* PRAAS_FUNCTION_… by number */
	struct praas_port *ports[PRAAS_CONFIG_LISTEN_MAX];
	unsigned ports_count;
	bool ports_tried; /* to open them; what came of it: */
	int ports_rc;
	char endpoints[PRAAS_CONFIG_LISTEN_MAX][PRAAS_ADDR_MAX];
	/* Why there is none at an address that may be left out; "": there is, or it was never asked for. */
	char left_out[PRAAS_CONFIG_LISTEN_MAX][PRAAS_DATA_TEXT_MAX];
	char layers[256];
	struct praas_waiter waiter;
	struct praas_port *hot; /* had work last */
	uint32_t hot_turns; /* so many more it is looked at alone; 0: nothing is hot */
	uint64_t all_ns;    /* when the others were looked at in spite of it */
	uint64_t alone_ns;  /* how long after that they are not; learned */
	bool others_worked; /* then they had something to do */
	/* After a worker's answer its caller is awaited without a yield (data.c). */
	bool expecting;
	uint64_t expecting_ns; /* since when; 0: not looked at the clock yet */
	uint64_t expect_ns;    /* so long; learned */
	uint32_t expect_misses;
	struct praas_shm_spare
		*spare; /* for the first client, while there is no port */
	struct praas_snapshot_late *late; /* of its large state; NULL: none */
	/* Of state beyond memory. */
	struct praas_places
		*places; /* of the last committed snapshot; NULL: there is none */
	struct praas_fetcher *fetcher; /* NULL: all of the state is in memory */
	struct praas_bell fetch_bell;  /* of its thread */
	uint64_t fetch_told_ns;        /* when a failure was told last */
	bool loaded;                   /* a snapshot has been loaded into process */
	bool built;                    /* BUILT has been reported */
	bool serve_wanted;             /* SERVE came before the workers were ready */
	bool listen_wanted;            /* LISTEN came before the workers were ready */
	bool quiet_wanted;
	bool clean; /* of SERVE */
	bool cut_final;
	uint64_t quiet_until_ns; /* so long messages to others may take */
	uint64_t cut_until_ns;   /* a cut is wanted, and fails then; 0: none */
	bool direct_open;        /* the direct path may be granted */
	bool direct_wanted;      /* somebody has not what he could have */
	bool stop;
	uint64_t tick_ns;               /* last time that sessions were looked after */
	char text[PRAAS_DATA_TEXT_MAX]; /* why building failed */
	struct praas_conn_events direct_events;
	struct praas_direct_client direct[PRAAS_DIRECT_CLIENTS];
	uint64_t direct_calls; /* that the workers told last */
	uint64_t direct_seen;  /* the same, when it was looked whether there are more */
	struct praas_data_log log;
	uint64_t direct_last_ns; /* when these were seen to become more */
};

/* The admin thread always takes its reports, and there are never more than a few. */
void praas_data_report(struct praas_data *d, enum praas_exchange_report kind,
		       uint64_t a, uint64_t b);

/* Memory, executor, process; and back. text says why not. */
int praas_data_build(struct praas_data *d);
/* Which process it is, and so who may talk to it. */
int praas_data_identify(struct praas_data *d);
void praas_data_unbuild(struct praas_data *d);
/* 1: all workers are ready; 0 not yet; or why not, with text. */
int praas_data_ready(struct praas_data *d);
int praas_data_open_ports(struct praas_data *d);
/* As praas_data_ready(), and the ports are open. */
int praas_data_listen(struct praas_data *d);

/* ---- data_mail.c: messages between processes ---- */

/* How the outbox of the process finds its way. */
void praas_data_mail_host(struct praas_data *d);
/* The orders MEMBERS, WAY and QUEUE; what they name is given. */
void praas_data_mail_order(struct praas_data *d, enum praas_exchange_order kind,
			   void *what);
/* A report of which others must leave room for what counts more. 0; -EAGAIN. */
int praas_data_report_spare(struct praas_data *d, enum praas_exchange_report kind,
			    uint64_t a, uint64_t b);

/* Ports, process; returns work done. */
unsigned praas_data_poll_parts(struct praas_data *d);

/* ---- data_log.c: a journal ---- */

/* Events for authenticated connections, with those in between that a journal needs. */
const struct praas_conn_events *praas_data_log_events(
	struct praas_data *d, const struct praas_conn_events *events);
/* As praas_outbox_host.opened; user is the data thread. */
int praas_data_log_opened(void *user, struct praas_conn *conn);
/* From now on changes are written there, if redo is not NULL; and no more. */
void praas_data_log_begin(struct praas_data *d, struct praas_redo *redo);
void praas_data_log_end(struct praas_data *d);
/* A turn is over. Returns what could leave. */
unsigned praas_data_log_turn(struct praas_data *d);
/* A cut was taken behind that: says up to where the log is in it. */
void praas_data_log_mark(const struct praas_data *d, struct praas_cut *cut);
/* Before it sleeps: there is nothing that could leave. */
bool praas_data_log_idle(const struct praas_data *d);
/* Whether there is something of which it is not durable yet that it happened. */
bool praas_data_log_behind(struct praas_data *d);
/* A snapshot has all up to that number. */
void praas_data_log_kept(struct praas_data *d, uint64_t number);

/* ---- data_overflow.c: state beyond memory ---- */

/* The process is made. 0; -ENOMEM. */
int praas_data_overflow_build(struct praas_data *d);
/* Before a snapshot is loaded: what of it stays in the store. 0; -ENOMEM; or what the store says. */
int praas_data_overflow_load(struct praas_data *d, const struct praas_data_load *load);
/* All else has its memory: so much is left. 0; -ENOSPC too little, with text. */
int praas_data_overflow_serve(struct praas_data *d);
/* Takes what has been read. Returns how much that was. */
unsigned praas_data_overflow_turn(struct praas_data *d);
/* Nothing is read any more. */
void praas_data_overflow_end(struct praas_data *d);
/* The order; places are given. */
void praas_data_overflow_places(struct praas_data *d, struct praas_places *places,
				uint64_t store);

/* ---- data_moved.c ---- */

/* The order; moved is freed. */
void praas_data_moved(struct praas_data *d, struct praas_data_moved *moved);
/* Let what has been answered reach its readers, before the end. */
void praas_data_flush(struct praas_data *d);

/* ---- data_told.c ---- */

/* Counters of the process, for the admin thread. */
void praas_data_publish(struct praas_data *d);
/* What functions did, calls past us included; it is told that. */
void praas_data_publish_functions(struct praas_data *d);
/* A function's own words; user is the data thread. */
void praas_data_on_log(void *user, const struct praas_function_log *line);

/* ---- data_direct.c ---- */

/* Events for authenticated connections: the process's, and ours of those that come and go. */
const struct praas_conn_events *praas_data_direct_events(struct praas_data *d);
/* Makes what the first client on this host needs, before there is a port. */
void praas_data_direct_prepare(struct praas_data *d);
int praas_data_direct_configure(struct praas_data *d, struct praas_port *port);
int praas_data_big_segment(void *user, const struct praas_segment *segment, bool added);
/* Whether direct calls may be made. Closing takes time: until quiet. */
void praas_data_direct_open(struct praas_data *d, bool open);
bool praas_data_direct_quiet(const struct praas_data *d);
/* There were direct calls since it was asked last. */
bool praas_data_direct_goes_on(struct praas_data *d);
/* Add the direct calls, which the process does not see. */
void praas_data_direct_count(struct praas_data *d, struct praas_process_stats *stats);
/* Grant what is wanted. */
void praas_data_direct_poll(struct praas_data *d);

#endif
