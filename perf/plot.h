/* SPDX-License-Identifier: Apache-2.0
 *
 * SVG plots from the JSON lines: for each bench a chart of p50 over payload size, one
 * line a variant, floors dashed, both axes logarithmic.
 */
#ifndef PRAAS_PERF_PLOT_H
#define PRAAS_PERF_PLOT_H

/* Reads the lines of json_path and writes DIR/BENCH.svg for each bench in them. 0 or
 * negative errno, said on stderr. */
int praas_plot(const char *json_path, const char *dir);

#endif
