/* SPDX-License-Identifier: Apache-2.0
 *
 * Records: what the control service knows and must not forget, behind one table: SQLite on a
 * single machine, memory for tests, Redis for a fleet. One conformance suite (tests/unit/
 * test_records.c) runs on each. A record of a process is an index: which epoch was last given to
 * whom. The slot log decides who may commit (docs/lifecycle.md).
 *
 * Every call may be made from any thread, blocks at most for one durable commit, and has happened
 * when it returns 0. Updates name the version that they replace, so two writers cannot both win.
 */
#ifndef PRAAS_CONTROL_RECORDS_H
#define PRAAS_CONTROL_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/limits.h"
#include "control/records/queued.h"
#include "control/records/usage.h"
#include "praas/types.h"

#define PRAAS_RECORD_ID_BYTES 16u
#define PRAAS_RECORD_HASH_BYTES 32u
#define PRAAS_ENDPOINTS_BYTES 1024u
#define PRAAS_ITEM_BODY_BYTES 1024u
#define PRAAS_TENANT_DEFAULT "default" /* always there; of what was before tenants */

/* In place of a number of milliseconds: what is acknowledged is in a log (docs/journal.md). */
#define PRAAS_CHECKPOINT_JOURNAL (UINT32_MAX - 1)
#define PRAAS_CHECKPOINT_GATE UINT32_MAX

/* Milliseconds between two checkpoints; 0 none. */
static inline uint32_t praas_checkpoint_every(uint32_t checkpoint_ms)
{
	return checkpoint_ms >= PRAAS_CHECKPOINT_JOURNAL ? 0 : checkpoint_ms;
}

struct praas_app_record {
	uint64_t version;    /* 0: not stored yet; set by the store */
	uint64_t created_ns; /* CLOCK_REALTIME */
	uint64_t memory_bytes, bytes_max;
	uint64_t
		state_bytes; /* that a process may hold, in memory or not; 0: as much as memory_bytes, in memory */
	uint32_t vcpu_milli, concurrency;
	bool isolation_inline; /* else worker */
	bool allow_weak_sandbox;
	uint8_t wait; /* 0 adaptive, 1 spin, 2 block */
	uint32_t
		checkpoint_ms; /* while a process serves (control/life/checkpoint.h); 0 none; or one of those above */
	uint32_t
		revision; /* of its code, counted from 1; 0: as the folder is (control/life/code.h) */
	uint64_t deployed_ns;                    /* CLOCK_REALTIME */
	uint8_t digest[PRAAS_RECORD_HASH_BYTES]; /* of that code */
	uint8_t id[PRAAS_RECORD_ID_BYTES];
	char tenant[PRAAS_NAME_MAX + 1]; /* whose it is; never changes */
	char name[PRAAS_NAME_MAX + 1];   /* among those of its tenant */
	char code[PRAAS_LIMIT_CODE_BYTES];
};

/* States of a process as the control service sees them (docs/lifecycle.md). Stored. */
enum praas_life_state {
	PRAAS_LIFE_SWAPPED = 1,    /* no controller; all is in the store */
	PRAAS_LIFE_ACTIVATING = 2, /* a controller was started and has not joined */
	PRAAS_LIFE_ACTIVE = 3,     /* serves */
	PRAAS_LIFE_DRAINING = 4,   /* asked to swap out */
	PRAAS_LIFE_LOST = 5,   /* as SWAPPED; the last epoch ended without a snapshot */
	PRAAS_LIFE_KILLED = 6, /* as SWAPPED; ended on request without a snapshot */
	PRAAS_LIFE_DELETING = 7, /* being erased; final */
	PRAAS_LIFE_MIGRATING =
		8 /* its controller hands it over to another one, of the next epoch */
};
const char *praas_life_state_text(enum praas_life_state state);

struct praas_process_record {
	uint64_t version; /* 0: not stored yet; set by the store */
	uint64_t
		number; /* praas_pid_t; given by the store on creation, never given again */
	uint64_t created_ns, changed_ns;
	uint64_t os_start; /* start time of os_pid, in ticks: tells a reused id apart */
	uint64_t state_bytes; /* in the store, as far as its controllers told */
	uint64_t named_bytes; /* the same of its named snapshots */
	int64_t slot;         /* of the last commit that we were told of; -1 none */
	int32_t os_pid;       /* of the controller; 0 none */
	uint32_t generation;
	uint32_t epoch;      /* the highest given out; 0 none yet */
	uint32_t lost_epoch; /* the last that ended without a snapshot; 0 none */
	uint32_t revision;   /* of the code that its last epoch began with */
	uint8_t state;       /* enum praas_life_state */
	uint8_t app[PRAAS_RECORD_ID_BYTES];
	uint8_t controller[PRAAS_RECORD_ID_BYTES];
	uint8_t join_hash[PRAAS_RECORD_HASH_BYTES]; /* SHA-256 of the join token */
	char name[PRAAS_NAME_MAX + 1];
	char node[PRAAS_NAME_MAX +
		  1]; /* of its last start (control/node/nodes.h); "" none yet */
	char endpoints[PRAAS_ENDPOINTS_BYTES]; /* JSON array, "" when not serving */
	/* What was used until then is in rows of usage; of the counters of this epoch's controller, as
	 * much as that. */
	uint64_t used_ns;
	struct praas_usage counted;
};

/* Small things that are few and are read whole: tenants, keys (control/tenants/tenants.h, control/tenants/tokens.h),
 * nodes that are drained (control/life/lifecycle_nodes.c). */
enum praas_item_kind { /* stored */
		       PRAAS_ITEM_TENANT = 1,
		       PRAAS_ITEM_TOKEN = 2,
		       PRAAS_ITEM_NODE = 3 /* one that is drained */
};

struct praas_item {
	uint64_t version;                 /* 0: not stored yet; set by the store */
	char id[PRAAS_NAME_MAX + 1];      /* a name; of its kind */
	char body[PRAAS_ITEM_BODY_BYTES]; /* JSON, by whoever owns the kind */
};

/* What came of a request that said Idempotency-Key (control/records/memo.h). */
struct praas_memo {
	uint64_t made_ns;                         /* CLOCK_REALTIME */
	uint32_t status;                          /* that was answered; 0: none yet */
	uint32_t answer_bytes;                    /* at most PRAAS_LIMIT_MEMO_BYTES */
	uint8_t id[PRAAS_RECORD_HASH_BYTES];      /* of tenant and key */
	uint8_t request[PRAAS_RECORD_HASH_BYTES]; /* of what was asked for */
	uint8_t run[PRAAS_RECORD_ID_BYTES];       /* of the service that began it */
	char tenant[PRAAS_NAME_MAX + 1];
	void *answer; /* malloc'd where it is returned */
};

struct praas_memo_sum {
	char tenant[PRAAS_NAME_MAX + 1];
	uint64_t bytes; /* of its memos, PRAAS_MEMO_BYTES for each and its answer */
};
#define PRAAS_MEMO_BYTES 512u

/* What to sum up of the rows of usage. */
struct praas_usage_filter {
	uint64_t since_ns, until_ns;
	const char *tenant, *app, *name; /* NULL: all */
	/* Only what comes behind it in the order of tenant, application, number. */
	const char *after_tenant, *after_app; /* "": from the beginning */
	uint64_t after_number;
};

/* What a process used in that time as far as rows tell, and what is to be added for the rest. */
struct praas_usage_sum {
	uint64_t number;
	char tenant[PRAAS_NAME_MAX + 1], app[PRAAS_NAME_MAX + 1],
		name[PRAAS_NAME_MAX + 1];
	struct praas_usage used;
	uint8_t state; /* of its record, as all below; 0: the process was deleted */
	int64_t slot;
	uint64_t state_bytes, used_ns;
};

struct praas_records;

/* One store. Errors besides those named: -EIO the store failed (its own words went to the log),
 * -EPROTO what it holds is damaged (the log says what). */
struct praas_records_ops {
	/* version 0: create, -EEXIST when the name is taken, -ENOSPC at the limit. Else replace,
	 * -ESTALE when another version is stored. Sets version. */
	int (*app_put)(struct praas_records *r, struct praas_app_record *app);
	int (*app_get)(struct praas_records *r, const char *tenant, const char *name,
		       struct praas_app_record *ret_app); /* -ENOENT */
	/* Of one tenant in the order of names, those after the name `after` (NULL: all), at most max.
	 * tenant NULL: of all, by tenant and name, after the pair "TENANT/NAME". */
	int (*app_list)(struct praas_records *r, const char *tenant, const char *after,
			uint32_t max, struct praas_app_record *ret_apps,
			uint32_t *ret_count);
	/* -ENOENT, -ENOTEMPTY while it has processes. */
	int (*app_delete)(struct praas_records *r,
			  const uint8_t id[PRAAS_RECORD_ID_BYTES]);
	/* A number that no process has or had, nor will be given again, for one that is to be created: it may
	 * be used before the record is stored. 0: the store failed. */
	uint64_t (*process_number)(struct praas_records *r);
	/* As app_put; sets number on creation, unless it was given one. -ENOENT no such application. */
	int (*process_put)(struct praas_records *r,
			   struct praas_process_record *process);
	/* name NULL: the process with *ret_process's number. -ENOENT. */
	int (*process_get)(struct praas_records *r, const uint8_t *app,
			   const char *name, struct praas_process_record *ret_process);
	/* app NULL: of all applications, by number after the number written in `after`. */
	int (*process_list)(struct praas_records *r, const uint8_t *app,
			    const char *after, uint32_t max,
			    struct praas_process_record *ret_processes,
			    uint32_t *ret_count);
	int (*process_delete)(struct praas_records *r, uint64_t number); /* -ENOENT */
	/* Whether what a call has returned 0 for survives any crash, as far as is known (ack level D of
	 * docs/protocols.md). May change while it runs. */
	bool (*durable)(struct praas_records *r);
	void (*close)(struct praas_records *r);
};

/* Items of one store, told apart by kind and id. */
struct praas_items_ops {
	/* As app_put; -ESTALE also when there is none. */
	int (*put)(struct praas_records *r, enum praas_item_kind kind,
		   struct praas_item *item);
	/* In the order of ids, those after `after` (NULL: all), at most max. */
	int (*list)(struct praas_records *r, enum praas_item_kind kind,
		    const char *after, uint32_t max, struct praas_item *ret_items,
		    uint32_t *ret_count);
	int (*take_out)(struct praas_records *r, enum praas_item_kind kind,
			const char *id); /* -ENOENT */
};

struct praas_memos_ops {
	int (*put)(struct praas_records *r,
		   const struct praas_memo *memo); /* -EEXIST */
	int (*get)(struct praas_records *r, const uint8_t *id,
		   struct praas_memo *ret_memo); /* -ENOENT, -ENOMEM */
	/* Replaces the one with that id, if `run` began it. -ESTALE. */
	int (*set)(struct praas_records *r, const struct praas_memo *memo,
		   const uint8_t *run);
	int (*take_out)(struct praas_records *r, const uint8_t *id); /* -ENOENT */
	/* Those made before then. *ret_count: how many there were. */
	int (*expire)(struct praas_records *r, uint64_t before_ns, uint32_t *ret_count);
	/* Of at most max tenants, without what `run` has under way. */
	int (*sums)(struct praas_records *r, const uint8_t *run, uint32_t max,
		    struct praas_memo_sum *ret_sums, uint32_t *ret_count);
};

/* What processes used: rows that are added and never changed, but folded when they are old. They
 * outlive the processes. */
struct praas_usage_ops {
	/* process_put() of one that is stored already, and row, of application app; both or neither.
	 * What of row is more than PRAAS_USAGE_ROW_MAX is left out. */
	int (*put)(struct praas_records *r, struct praas_process_record *process,
		   const struct praas_app_record *app,
		   const struct praas_usage_row *row);
	/* Until thaw(), each() sees the rows and processes as they are now. Only one thread has that at
	 * a time; another waits. Nothing else of the store may be called meanwhile. */
	int (*freeze)(struct praas_records *r);
	/* Each process that has rows in that time, or was created before its end, in order. fn is to
	 * return 0; else that is the end, and is returned. */
	int (*each)(struct praas_records *r, const struct praas_usage_filter *filter,
		    int (*fn)(void *user, const struct praas_usage_sum *sum),
		    void *user);
	void (*thaw)(struct praas_records *r);
	/* Rows that end on a day (UTC) which is over at before_ns become one for each process and day.
	 * Some at a time; *ret_rows: how many were taken up, 0: there is nothing more to do. */
	int (*fold)(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows);
	/* Deletes those that end before then. */
	int (*expire)(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows);
};
#define PRAAS_USAGE_FOLD_PROCESSES 256u /* of a day at a time */
#define PRAAS_USAGE_DAY_NS 86400000000000ull

struct praas_lease;

struct praas_records {
	const struct praas_records_ops *ops;
	const struct praas_items_ops *items;
	const struct praas_memos_ops *memos;
	const struct praas_usage_ops *usage;
	const struct praas_queue_ops *queue;
};

/* "sqlite:///file", "memory:", or as redis/url.h says. place: where this service is, in hex,
 * so that after a crash it has records at once that one service has at a time; NULL: nowhere before. An
 * older format is brought to ours. 0; -EINVAL no such kind of store; -EIO it cannot be used, or is
 * damaged; -EBUSY another service has it; -EPROTO a newer format, or something else than records.
 * ret_text (256 bytes) tells why. */
int praas_records_open(const char *url, const char *place,
		       struct praas_records **ret_records, char *ret_text);
/* Whether records of that address can be shared. */
bool praas_records_shareable(const char *url);
/* The same of records that others wait for, too (lease.h; kept until close). */
int praas_records_open_shared(const char *url, const char *place,
			      struct praas_lease *lease,
			      struct praas_records **ret_records, char *ret_text);
int praas_records_sqlite_open(const char *file, struct praas_records **ret_records,
			      char *ret_text);
/* A whole copy of the records in file, as of one moment, in the new file copy; also while a service
 * uses them. 0; -EIO, and why in ret_text. */
int praas_records_sqlite_copy(const char *file, const char *copy, char *ret_text);
int praas_records_memory_open(struct praas_records **ret_records);
int praas_records_redis_open(const char *url, const char *place,
			     struct praas_lease *lease,
			     struct praas_records **ret_records, char *ret_text);
/* With what was read lately kept in memory; inner is given. For the only writer of a store. 0;
 * -ENOMEM, then inner is still the caller's. */
int praas_records_cached(struct praas_records *inner,
			 struct praas_records **ret_records);

#endif
