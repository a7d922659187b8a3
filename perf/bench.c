/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs contenders in turns and prints their lines.
 */
#include "perf/bench.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "perf/clock.h"

struct praas_bench_options praas_options;

static FILE *output;

void praas_bench_output(void *file)
{
	output = file;
}

static void emit(const char *text)
{
	(void)fputs(text, stdout);
	(void)fflush(stdout);
	if (output) {
		(void)fputs(text, output);
		(void)fflush(output);
	}
}

static void line(const char *bench, const char *variant, const char *format, va_list ap)
{
	const char *device = praas_options.device;
	char members[900];
	char text[1200];

	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): our caller has begun it */
	(void)vsnprintf(members, sizeof members, format, ap);
	(void)snprintf(text, sizeof text,
		       "{\"bench\":\"%s\",%s%.40s%s\"variant\":\"%s\",%s}\n", bench,
		       device ? "\"device\":\"" : "", device ? device : "",
		       device ? "\"," : "", variant, members);
	emit(text);
}

void praas_bench_line(const char *bench, const char *variant, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	line(bench, variant, format, ap);
	va_end(ap);
}

void praas_bench_skip(const char *bench, const char *variant, const char *format, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): begun above */
	(void)vsnprintf(why, sizeof why, format, ap);
	va_end(ap);
	for (char *p = why; *p; p++)
		if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
			*p = '\'';
	praas_bench_line(bench, variant, "\"skipped\":\"%s\"", why);
}

void praas_bench_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	(void)sched_setaffinity(0, sizeof set, &set); /* a wish */
}

void praas_bench_pin_threads(int pid, int cpu)
{
	char path[64];
	struct dirent *e;
	cpu_set_t set;
	DIR *dir;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	(void)snprintf(path, sizeof path, "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			(void)sched_setaffinity((pid_t)strtol(e->d_name, NULL, 10),
						sizeof set, &set);
	if (dir)
		(void)closedir(dir);
}

/* The parent of a process; -1 when it is gone. */
static int parent_of(int pid)
{
	char path[64], buf[512];
	const char *p;
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	n = fread(buf, 1, sizeof buf - 1, f);
	(void)fclose(f);
	buf[n] = '\0';
	p = strrchr(buf, ')');
	return p && strlen(p) > 4 ? (int)strtol(p + 4, NULL, 10) : -1;
}

static bool descends(int pid, int ancestor)
{
	for (unsigned depth = 0; pid > 1 && depth < 32; depth++) {
		if (pid == ancestor)
			return true;
		pid = parent_of(pid);
	}
	return false;
}

void praas_bench_pin_tree(int pid, int cpu)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;

	while (dir && (e = readdir(dir)) != NULL) {
		int other = (int)strtol(e->d_name, NULL, 10);

		if (other > 0 && descends(other, pid))
			praas_bench_pin_threads(other, cpu);
	}
	if (dir)
		(void)closedir(dir);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double praas_bench_median(double *v, unsigned n)
{
	if (n == 0)
		return 0;
	qsort(v, n, sizeof *v, compare_doubles);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double scale_of(const struct praas_contender *c)
{
	return c->scale > 0 ? c->scale : 1.0;
}

/* Until the pollers of the round before have gone to sleep (they poll for up to 2 ms).
 */
static void settle(void)
{
	struct timespec pause = { .tv_nsec = 6000000 };

	(void)nanosleep(&pause, NULL);
}

static uint64_t ops_asked(const struct praas_contender *c)
{
	return praas_options.quick ? c->n / 10 + 1 : c->n;
}

/* Whether there is no time for as many operations, by how it warmed up. */
static bool is_slow(const struct praas_contender *c)
{
	return praas_options.limit_ns != 0 &&
	       ops_asked(c) * c->op_ns > praas_options.limit_ns / praas_options.rounds;
}

/* The operations of a round. */
static uint64_t ops_of(struct praas_contender *c, bool warm_up)
{
	uint64_t round_ns;

	if (warm_up)
		return ops_asked(c) / 10 + 1;
	if (!is_slow(c))
		return ops_asked(c);
	c->limited = true;
	round_ns = praas_options.limit_ns / praas_options.rounds;
	return round_ns > c->op_ns ? round_ns / c->op_ns : 1;
}

static void one_round(struct praas_contender *c, bool warm_up)
{
	static struct praas_hist h; /* too large for the stack */
	uint64_t n = ops_of(c, warm_up), begun_ns, took_ns;
	int rc;

	if (praas_options.limit_ns != 0 && c->spent_ns >= praas_options.limit_ns) {
		c->limited = true;
		return;
	}
	memset(&h, 0, sizeof h);
	settle();
	begun_ns = praas_now_ns();
	rc = c->round(c, n, &h);
	took_ns = praas_now_ns() - begun_ns;
	if (rc != 0) {
		c->failed = rc;
		return;
	}
	if (warm_up)
		c->op_ns = took_ns / n;
	if (warm_up || c->rounds_done == PRAAS_ROUNDS_MAX)
		return;
	c->spent_ns += took_ns;
	c->round_p50[c->rounds_done] = praas_hist_quantile(&h, 0.5) * scale_of(c);
	c->round_p99[c->rounds_done++] = praas_hist_quantile(&h, 0.99) * scale_of(c);
	praas_hist_merge(&c->hist, &h);
}

/* The floor to compare with: the one named, else the fastest of that size. */
static const struct praas_contender *floor_of(const struct praas_contender *all,
					      unsigned count,
					      const struct praas_contender *c)
{
	const struct praas_contender *best = NULL;

	for (unsigned i = 0; i < count; i++) {
		const struct praas_contender *f = &all[i];

		if (f->role != PRAAS_ROLE_FLOOR || f->size != c->size || f->failed ||
		    (c->versus && strcmp(f->variant, c->versus) != 0))
			continue;
		if (!best || praas_hist_quantile(&f->hist, 0.5) <
				     praas_hist_quantile(&best->hist, 0.5))
			best = f;
	}
	return best;
}

/* Median and spread of the ratios of the rounds that both did. */
static void round_ratios(const struct praas_contender *a,
			 const struct praas_contender *b, double ret[3])
{
	double r[PRAAS_ROUNDS_MAX];
	unsigned n = a->rounds_done < b->rounds_done ? a->rounds_done : b->rounds_done;

	for (unsigned i = 0; i < n; i++)
		r[i] = b->round_p50[i] > 0 ? a->round_p50[i] / b->round_p50[i] : 0;
	ret[0] = praas_bench_median(r, n);
	ret[1] = n ? r[0] : 0;
	ret[2] = n ? r[n - 1] : 0;
}

/* The 99th percentile of the middle round: one round in which the machine was busy elsewhere
 * decides that of all rounds together. */
static double median_p99(const struct praas_contender *c)
{
	double v[PRAAS_ROUNDS_MAX];

	memcpy(v, c->round_p99, c->rounds_done * sizeof *v);
	return praas_bench_median(v, c->rounds_done);
}

/* Nanoseconds as people read them. */
static const char *human(double ns, char text[32])
{
	if (ns < 1e3)
		(void)snprintf(text, 32, "%.0f ns", ns);
	else if (ns < 1e6)
		(void)snprintf(text, 32, "%.2f us", ns / 1e3);
	else
		(void)snprintf(text, 32, "%.2f ms", ns / 1e6);
	return text;
}

static void print_row(const struct praas_contender *c,
		      const struct praas_contender *floor)
{
	char p50[32], p99[32], floor_p50[32], text[300];
	double r[3];
	int at;

	at = snprintf(text, sizeof text, "  %-10s %-18s %9llu B  p50 %10s  p99 %10s",
		      c->bench, c->variant, (unsigned long long)c->size,
		      human(praas_hist_quantile(&c->hist, 0.5) * scale_of(c), p50),
		      human(praas_hist_quantile(&c->hist, 0.99) * scale_of(c), p99));
	if (c->limited)
		at += snprintf(text + at, sizeof text - (size_t)at,
			       "  (cut short to %.3g s)",
			       (double)praas_options.limit_ns / 1e9);
	if (c->role == PRAAS_ROLE_FLOOR) {
		(void)snprintf(text + at, sizeof text - (size_t)at, "  (floor)\n");
	} else if (floor) {
		round_ratios(c, floor, r);
		(void)snprintf(
			text + at, sizeof text - (size_t)at, "  %.2f x %s (%s)\n", r[0],
			floor->variant,
			human(praas_hist_quantile(&floor->hist, 0.5) * scale_of(floor),
			      floor_p50));
	} else {
		(void)snprintf(text + at, sizeof text - (size_t)at, "\n");
	}
	emit(text);
}

static void print_contender(const struct praas_contender *all, unsigned count,
			    const struct praas_contender *c)
{
	const struct praas_contender *floor = floor_of(all, count, c);
	char text[700];
	double r[3];
	int at;

	if (praas_options.table) {
		print_row(c, floor);
		return;
	}
	at = snprintf(
		text, sizeof text,
		"\"size\":%llu,\"unit\":\"ns\",\"n\":%llu,\"p50\":%.1f,\"p99\":%.1f,"
		"\"p999\":%.1f,\"p99_median\":%.1f,\"waits\":\"%s\"",
		(unsigned long long)c->size, (unsigned long long)c->hist.count,
		praas_hist_quantile(&c->hist, 0.5) * scale_of(c),
		praas_hist_quantile(&c->hist, 0.99) * scale_of(c),
		praas_hist_quantile(&c->hist, 0.999) * scale_of(c), median_p99(c),
		c->waits);
	if (c->limited)
		at += snprintf(text + at, sizeof text - (size_t)at,
			       ",\"limit_s\":%.3g,\"rounds\":%u",
			       (double)praas_options.limit_ns / 1e9, c->rounds_done);
	if (c->live)
		at += snprintf(text + at, sizeof text - (size_t)at, ",\"live\":%u",
			       c->live);
	if (floor && c->role != PRAAS_ROLE_FLOOR) {
		round_ratios(c, floor, r);
		(void)snprintf(text + at, sizeof text - (size_t)at,
			       ",\"floor\":\"%s\",\"floor_p50\":%.1f,"
			       "\"floor_p99_median\":%.1f,\"ratio\":%.3f,"
			       "\"ratio_min\":%.3f,\"ratio_max\":%.3f",
			       floor->variant,
			       praas_hist_quantile(&floor->hist, 0.5) * scale_of(floor),
			       median_p99(floor), r[0], r[1], r[2]);
	}
	praas_bench_line(c->bench, c->variant, "%s", text);
	for (unsigned i = 0; i < count && c->role == PRAAS_ROLE_OURS; i++) {
		const struct praas_contender *p = &all[i];

		if (p->role != PRAAS_ROLE_PEER || p->failed || p->size != c->size)
			continue;
		round_ratios(p, c, r);
		praas_bench_line(
			c->bench, c->variant,
			"\"size\":%llu,\"unit\":\"ns\",\"p50\":%.1f,\"peer\":\"%s\","
			"\"peer_p50\":%.1f,\"speedup\":%.2f,\"speedup_min\":%.2f,"
			"\"waits\":\"%s\",\"peer_waits\":\"%s\"",
			(unsigned long long)c->size,
			praas_hist_quantile(&c->hist, 0.5) * scale_of(c), p->variant,
			praas_hist_quantile(&p->hist, 0.5) * scale_of(p), r[0], r[1],
			c->waits, p->waits);
	}
}

void praas_bench_per_second(const struct praas_contender *c, unsigned inflight)
{
	double ns = praas_hist_quantile(&c->hist, 0.5) * c->scale;

	if (!c->failed && ns > 0)
		praas_bench_line(
			c->bench, c->variant,
			"\"size\":%llu,\"inflight\":%u,\"per_s\":%.0f,\"waits\":\"%s\"",
			(unsigned long long)c->size, inflight, 1e9 / ns, c->waits);
}

/* Floors and peers run beside one that is. */
static bool wanted(const struct praas_contender *c)
{
	return c->role != PRAAS_ROLE_OURS || !praas_options.variant ||
	       strcmp(c->variant, praas_options.variant) == 0;
}

void praas_bench_run(struct praas_contender *c, unsigned count)
{
	unsigned rounds = praas_options.rounds;

	for (unsigned i = 0; i < count; i++) {
		memset(&c[i].hist, 0, sizeof c[i].hist);
		c[i].rounds_done = 0;
		c[i].spent_ns = 0;
		c[i].limited = false;
		c[i].failed = !wanted(&c[i]) ? -ECANCELED
			      : c[i].setup   ? c[i].setup(&c[i])
					     : 0;
		if (!c[i].failed)
			one_round(&c[i], true);
		if (!c[i].failed && is_slow(&c[i])) /* the first ones of all may be */
			one_round(&c[i], true);
	}
	for (unsigned r = 0; r < rounds && r < PRAAS_ROUNDS_MAX; r++)
		for (unsigned i = 0; i < count; i++)
			if (!c[i].failed)
				one_round(&c[i], false);
	for (unsigned i = 0; i < count; i++) {
		if (c[i].failed == -ECANCELED)
			continue;
		if (c[i].failed)
			praas_bench_skip(c[i].bench, c[i].variant, "size %llu: %s",
					 (unsigned long long)c[i].size,
					 strerror(-c[i].failed));
		else
			print_contender(c, count, &c[i]);
	}
	for (unsigned i = 0; i < count; i++)
		if (c[i].teardown && c[i].failed != -ECANCELED)
			c[i].teardown(&c[i]);
}
