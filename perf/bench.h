/* SPDX-License-Identifier: Apache-2.0
 *
 * The frame of every benchmark: contenders that run in turns (A B C A B C …) inside one
 * process run, so that the machine's moods hit all of them, and lines of JSON as
 * docs/performance.md specifies them. A contender is ours, a floor, or a peer.
 */
#ifndef PRAAS_PERF_BENCH_H
#define PRAAS_PERF_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "perf/hist.h"

#define PRAAS_ROUNDS_MAX 64u
#define PRAAS_CONTENDERS_MAX 16u

struct praas_bench_options {
	bool table;            /* lines for people instead of JSON */
	bool quick;            /* a tenth of the work */
	unsigned rounds;       /* turns per contender */
	uint64_t limit_ns;     /* of a contender's rounds together; 0: none */
	uint64_t size_only;    /* of payloads that can be chosen; ~0: all */
	const char *only;      /* comma list of bench names, NULL: all */
	const char *variant;   /* of what is ours, this variant alone; NULL: all */
	const char *device;    /* said in each line; NULL: not */
	const char *bin;       /* folder of our programs */
	const char *functions; /* folder of the benchmark functions (praas.json) */
	const char *work;      /* temporary folder, on the disk under test */
	const char *redis;     /* redis-server program, NULL: no peer */
	const char *s3;        /* address of an empty store in a bucket; NULL: none */
	int cpu_client, cpu_server;
};

enum praas_role { PRAAS_ROLE_OURS, PRAAS_ROLE_FLOOR, PRAAS_ROLE_PEER };

/* One contender. round() does n operations and adds each one's time; 0 or negative
 * errno, and a contender that fails is reported and left out from then on. */
struct praas_contender {
	const char *bench;   /* "invoke" */
	const char *variant; /* "shm-direct" */
	enum praas_role role;
	const char *waits; /* how both sides waited: "spin", "adaptive", "block" */
	uint64_t size;     /* payload bytes */
	uint64_t n;        /* operations a round */
	double scale;      /* multiplies times (0.5: half a round trip); 0 means 1 */
	int (*setup)(struct praas_contender *c);
	int (*round)(struct praas_contender *c, uint64_t n, struct praas_hist *h);
	void (*teardown)(struct praas_contender *c);
	void *data;      /* of the contender */
	const void *arg; /* of whoever made it */
	unsigned live;   /* processes that lived meanwhile; 0: not told */
	const char *
		versus; /* variant of the floor to compare with; NULL: the only floor */
	/* Results. */
	struct praas_hist hist;
	double round_p50[PRAAS_ROUNDS_MAX], round_p99[PRAAS_ROUNDS_MAX];
	unsigned rounds_done;
	uint64_t op_ns, spent_ns; /* an operation, as it warmed up; all of its rounds */
	bool limited; /* by time: fewer operations, or rounds, than asked for */
	int failed;   /* negative errno; -ECANCELED: it was not wanted */
};

extern struct praas_bench_options praas_options;

/* Runs all contenders in turns and prints a line for each. */
void praas_bench_run(struct praas_contender *c, unsigned count);

/* Prints how many a second a pipelined contender did. */
void praas_bench_per_second(const struct praas_contender *c, unsigned inflight);

/* Prints one JSON line; format and arguments are the members after
 * {"bench":…,"variant":…. */
void praas_bench_line(const char *bench, const char *variant, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A line that says that something could not be run, and why. */
void praas_bench_skip(const char *bench, const char *variant, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void praas_bench_output(void *file); /* FILE *, also written to; NULL: none */

/* Keeps this thread on one core; ignored when there is no such core. */
void praas_bench_pin(int cpu);
/* Keeps the threads of a process on one core. */
void praas_bench_pin_threads(int pid, int cpu);
/* Keeps a process with its threads and descendants on one core. */
void praas_bench_pin_tree(int pid, int cpu);

/* Median of n values; reorders them. */
double praas_bench_median(double *v, unsigned n);

/* Floors: fill in a contender. size is its payload. */
void praas_floor_ring(struct praas_contender *c, const char *bench, uint64_t size);
void praas_floor_ring_3party(struct praas_contender *c, const char *bench,
			     uint64_t size);
/* What of a swap of size bytes the store does. Not a floor. */
enum praas_bench_place {
	PRAAS_BENCH_FOLDER,
	PRAAS_BENCH_BUCKET,
	PRAAS_BENCH_SEALED,
	PRAAS_BENCH_REDIS
};
void praas_bench_store(struct praas_contender *c, uint64_t size, bool write,
		       enum praas_bench_place place);
/* Bare libcurl into praas_options.s3, and back. */
void praas_floor_curl(struct praas_contender *c, const char *bench, uint64_t size,
		      bool write);
/* A vector copied in and added to a sum: by one core, or written by one and added by another. */
void praas_floor_reduce(struct praas_contender *c, uint64_t size, bool two_cores);
void praas_floor_ring_stream(struct praas_contender *c, const char *bench);
void praas_floor_futex(struct praas_contender *c, const char *bench, uint64_t size);
void praas_floor_mq(struct praas_contender *c, const char *bench, uint64_t size);
void praas_floor_unix(struct praas_contender *c, const char *bench, uint64_t size);
void praas_floor_tcp(struct praas_contender *c, const char *bench, uint64_t size,
		     bool spin);
void praas_floor_tcp_stream(struct praas_contender *c, const char *bench, uint64_t size,
			    unsigned inflight);
void praas_floor_memcpy(struct praas_contender *c, const char *bench, uint64_t size);
void praas_floor_file(struct praas_contender *c, const char *bench, uint64_t size,
		      bool write);

/* The benches; each prints its lines. */
void praas_bench_floor(void);
void praas_bench_invoke(void);
void praas_bench_throughput(void);
void praas_bench_chain(void);
void praas_bench_message(void);
void praas_bench_state(void);
void praas_bench_reduce(void);
void praas_bench_durable(void);
void praas_bench_swap(void);
void praas_bench_wake(void);
void praas_bench_allocate(void);
void praas_bench_rest(void);
void praas_bench_idle(void);
void praas_bench_growth(void);

#endif
