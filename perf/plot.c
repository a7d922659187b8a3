/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/plot.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SERIES_MAX 24u
#define POINTS_MAX 32u
#define BENCHES_MAX 32u
#define WIDTH 860.0
#define HEIGHT 480.0
#define LEFT 80.0
#define RIGHT 220.0
#define TOP 40.0
#define BOTTOM 60.0

struct series {
	char name[64];
	bool floor;
	unsigned count;
	double x[POINTS_MAX], y[POINTS_MAX];
};

struct chart {
	char bench[32];
	bool counts; /* over how many there are, not over bytes */
	unsigned count;
	struct series series[SERIES_MAX];
};

static struct chart charts[BENCHES_MAX];
static unsigned charts_count;

static struct chart *chart_of(const char *bench)
{
	for (unsigned i = 0; i < charts_count; i++)
		if (strcmp(charts[i].bench, bench) == 0)
			return &charts[i];
	if (charts_count == BENCHES_MAX)
		return NULL;
	(void)snprintf(charts[charts_count].bench, sizeof charts[0].bench, "%s", bench);
	return &charts[charts_count++];
}

static void add_point(struct chart *c, const char *name, bool floor, double x, double y)
{
	struct series *s = NULL;

	for (unsigned i = 0; i < c->count && !s; i++)
		if (strcmp(c->series[i].name, name) == 0)
			s = &c->series[i];
	if (!s && c->count < SERIES_MAX) {
		s = &c->series[c->count++];
		(void)snprintf(s->name, sizeof s->name, "%s", name);
		s->floor = floor;
	}
	if (!s || s->count == POINTS_MAX || y <= 0)
		return;
	for (unsigned i = 0; i < s->count; i++)
		if (s->x[i] == x)
			return;
	s->x[s->count] = x < 1 ? 1 : x;
	s->y[s->count++] = y;
}

/* Of growth: how many there are, and what it takes then. */
static void add_points(struct chart *c, const char *name, const json_t *points)
{
	const json_t *point;
	size_t i;

	c->counts = c->counts || json_array_size(points) > 0;
	json_array_foreach(points, i, point)
	{
		add_point(c, name, false, json_number_value(json_array_get(point, 0)),
			  json_number_value(json_array_get(point, 1)));
	}
}

static void take_line(const char *text)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *bench = json_string_value(json_object_get(o, "bench"));
	const char *variant = json_string_value(json_object_get(o, "variant"));
	const char *peer = json_string_value(json_object_get(o, "peer"));
	const char *floor = json_string_value(json_object_get(o, "floor"));
	double size = json_number_value(json_object_get(o, "size"));
	double p50 = json_number_value(json_object_get(o, "p50"));
	struct chart *c = bench && variant ? chart_of(bench) : NULL;

	if (c) {
		add_point(c, variant, false, size, p50);
		add_points(c, variant, json_object_get(o, "points"));
		if (peer)
			add_point(c, peer, true, size,
				  json_number_value(json_object_get(o, "peer_p50")));
		if (floor)
			add_point(c, floor, true, size,
				  json_number_value(json_object_get(o, "floor_p50")));
	}
	json_decref(o);
}

struct range {
	double lo, hi;
};

static void widen(struct range *r, double v)
{
	if (v < r->lo)
		r->lo = v;
	if (v > r->hi)
		r->hi = v;
}

/* Position on a logarithmic axis between a and b. */
static double place(const struct range *r, double v, double a, double b)
{
	double lo = log10(r->lo), hi = log10(r->hi);

	return hi > lo ? a + (log10(v) - lo) / (hi - lo) * (b - a) : (a + b) / 2;
}

static void draw_axes(FILE *f, const struct range *x, const struct range *y)
{
	int x_first = (int)ceil(log10(x->lo)),
	    x_last = (int)floor(log10(x->hi * 1.001));
	int y_first = (int)floor(log10(y->lo)),
	    y_last = (int)floor(log10(y->hi * 1.001));

	for (int e = x_first; e <= x_last; e++) {
		double v = pow(10, e);
		double at = place(x, v, LEFT, WIDTH - RIGHT);

		(void)fprintf(
			f,
			"<path d='M%.1f %.1fV%.1f' stroke='#ddd'/>"
			"<text x='%.1f' y='%.1f' text-anchor='middle'>%g</text>\n",
			at, TOP, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 18, v);
	}
	for (int e = y_first; e <= y_last; e++) {
		double v = pow(10, e);
		double at = place(y, v, HEIGHT - BOTTOM, TOP);

		(void)fprintf(f,
			      "<path d='M%.1f %.1fH%.1f' stroke='#ddd'/>"
			      "<text x='%.1f' y='%.1f' text-anchor='end'>%g</text>\n",
			      LEFT, at, WIDTH - RIGHT, LEFT - 6, at + 4, v);
	}
}

static void draw_series(FILE *f, const struct series *s, unsigned i,
			const struct range *x, const struct range *y)
{
	static const char *const color[] = {
		"#1b6ca8", "#c0392b", "#27803b", "#8e44ad",
		"#b9770e", "#16808a", "#555555", "#d35490"
	};
	const char *c = color[i % (sizeof color / sizeof color[0])];

	(void)fprintf(f,
		      "<polyline fill='none' stroke='%s' stroke-width='2'%s points='",
		      c, s->floor ? " stroke-dasharray='6 4'" : "");
	for (unsigned k = 0; k < s->count; k++)
		(void)fprintf(f, "%.1f,%.1f ", place(x, s->x[k], LEFT, WIDTH - RIGHT),
			      place(y, s->y[k], HEIGHT - BOTTOM, TOP));
	(void)fprintf(f, "'/>\n");
	for (unsigned k = 0; k < s->count; k++)
		(void)fprintf(f, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>",
			      place(x, s->x[k], LEFT, WIDTH - RIGHT),
			      place(y, s->y[k], HEIGHT - BOTTOM, TOP), c);
	(void)fprintf(f, "<text x='%.1f' y='%.1f' fill='%s'>%s</text>\n",
		      WIDTH - RIGHT + 12, TOP + 14 + 18.0 * i, c, s->name);
}

static void sort_points(struct series *s)
{
	for (unsigned i = 1; i < s->count; i++)
		for (unsigned k = i; k > 0 && s->x[k] < s->x[k - 1]; k--) {
			double tx = s->x[k], ty = s->y[k];

			s->x[k] = s->x[k - 1];
			s->y[k] = s->y[k - 1];
			s->x[k - 1] = tx;
			s->y[k - 1] = ty;
		}
}

static int draw(struct chart *c, const char *dir)
{
	struct range x = { INFINITY, 0 }, y = { INFINITY, 0 };
	char path[512];
	FILE *f;

	for (unsigned i = 0; i < c->count; i++) {
		sort_points(&c->series[i]);
		for (unsigned k = 0; k < c->series[i].count; k++) {
			widen(&x, c->series[i].x[k]);
			widen(&y, c->series[i].y[k]);
		}
	}
	if (y.hi <= 0)
		return 0; /* nothing with a time in it */
	y.lo = pow(10, floor(log10(y.lo)));
	y.hi = pow(10, ceil(log10(y.hi)));
	(void)snprintf(path, sizeof path, "%.400s/%.31s.svg", dir, c->bench);
	f = fopen(path, "we");
	if (!f)
		return -errno;
	(void)fprintf(f,
		      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %g %g' "
		      "font-family='sans-serif' font-size='12'>\n"
		      "<rect width='100%%' height='100%%' fill='white'/>\n"
		      "<text x='%g' y='24' font-size='16'>%s: p50 in ns over %s"
		      "</text>\n",
		      WIDTH, HEIGHT, LEFT, c->bench,
		      c->counts ? "their number" : "payload bytes");
	draw_axes(f, &x, &y);
	for (unsigned i = 0; i < c->count; i++)
		draw_series(f, &c->series[i], i, &x, &y);
	(void)fprintf(f, "</svg>\n");
	return fclose(f) ? -errno : 0;
}

int praas_plot(const char *json_path, const char *dir)
{
	FILE *f = fopen(json_path, "re");
	char text[2048];
	int rc = 0;

	if (!f) {
		rc = -errno;
		(void)fprintf(stderr, "praas-perf: %s: %s\n", json_path, strerror(-rc));
		return rc;
	}
	while (fgets(text, sizeof text, f))
		take_line(text);
	(void)fclose(f);
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		rc = -errno;
	for (unsigned i = 0; i < charts_count && rc == 0; i++)
		rc = draw(&charts[i], dir);
	if (rc != 0)
		(void)fprintf(stderr, "praas-perf: plots in %s: %s\n", dir,
			      strerror(-rc));
	return rc;
}
