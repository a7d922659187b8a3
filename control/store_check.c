/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "controller/store/check.h"
#include "controller/store/sealed.h"
#include "controller/store/walk.h"

#define FINDINGS_MAX 1000u /* that are listed; all are counted */

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_NONE = 4, EXIT_REFUSED = 5 };

struct checking {
	const char *url, *below;
	const struct praas_seal_keys *keys;
	bool json;
	json_t *findings;
	uint64_t listed;
	uint64_t stores, deleted, failed;
	struct praas_check_report sum;
};

static void one_finding(void *user, enum praas_check_kind kind, const char *key,
			const char *why)
{
	struct checking *c = user;
	const char *word = praas_check_word(kind);

	if (c->listed++ >= FINDINGS_MAX)
		return;
	if (c->json)
		(void)json_array_append_new(c->findings,
					    json_pack("{s:s,s:s,s:s,s:s}", "kind", word,
						      "store", c->below, "object", key,
						      "why", why));
	else
		(void)printf("%-10s %s%s%s: %s\n", word, c->below,
			     c->below[0] ? "/" : "", key, why);
}

static void add(struct praas_check_report *sum, const struct praas_check_report *r)
{
	sum->entries += r->entries;
	sum->snapshots += r->snapshots;
	sum->chunks += r->chunks;
	sum->values += r->values;
	sum->bytes += r->bytes;
	sum->unreadable += r->unreadable;
	sum->missing += r->missing;
	sum->corrupt += r->corrupt;
	sum->orphans += r->orphans;
	sum->orphan_bytes += r->orphan_bytes;
}

static void one_failure(struct checking *c, int rc, const char *why)
{
	c->failed++;
	if (c->json)
		(void)json_array_append_new(
			c->findings, json_pack("{s:s,s:s,s:s,s:s}", "kind", "failed",
					       "store", c->below, "object", "", "why",
					       why[0] ? why : strerror(-rc)));
	else
		(void)printf("%-10s %s: %s\n", "failed", c->below,
			     why[0] ? why : strerror(-rc));
}

static int one_store(void *user, const char *below)
{
	struct praas_check_report report;
	char url[PRAAS_STORE_URL_MAX + 1];
	struct checking *c = user;
	struct praas_store *store;
	int rc = 0;

	c->below = below;
	if (below[0] != '\0')
		rc = praas_store_url_below(c->url, below, url, sizeof(url));
	else
		(void)snprintf(url, sizeof(url), "%s", c->url);
	if (rc == 0)
		rc = praas_store_open(url, &store);
	if (rc == 0)
		rc = praas_store_seal(store, c->keys, NULL, &store);
	if (rc != 0) {
		one_failure(c, rc, "");
		return 0;
	}
	rc = praas_check_store(store, one_finding, c, &report);
	c->stores++;
	c->deleted += report.deleted;
	add(&c->sum, &report);
	if (rc == -EPROTO)
		one_failure(c, rc, "no entry of its log can be read");
	else if (rc != 0 && rc != -ENOENT) /* it was never used, or just went */
		one_failure(c, rc, store->why);
	praas_store_free(store);
	return rc == -EACCES ? rc : 0;
}

static void print_sum(const struct checking *c, bool whole)
{
	const struct praas_check_report *s = &c->sum;

	if (c->json) {
		json_t *o = json_pack(
			"{s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,"
			"s:O}",
			"store", c->url, "whole", whole, "stores",
			(json_int_t)c->stores, "deleted", (json_int_t)c->deleted,
			"failed", (json_int_t)c->failed, "entries",
			(json_int_t)s->entries, "snapshots", (json_int_t)s->snapshots,
			"chunks", (json_int_t)s->chunks, "values",
			(json_int_t)s->values, "bytes", (json_int_t)s->bytes,
			"unreadable", (json_int_t)s->unreadable, "missing",
			(json_int_t)s->missing, "corrupt", (json_int_t)s->corrupt,
			"unneeded", (json_int_t)s->orphans, "unneeded_bytes",
			(json_int_t)s->orphan_bytes, "findings", c->findings);

		(void)json_dumpf(o, stdout, JSON_INDENT(2));
		(void)putchar('\n');
		json_decref(o);
		return;
	}
	if (c->listed > FINDINGS_MAX)
		(void)printf("… and %" PRIu64 " more\n", c->listed - FINDINGS_MAX);
	(void)printf("%" PRIu64 " stores, %" PRIu64 " entries of logs, %" PRIu64
		     " snapshots, %" PRIu64 " chunks; %" PRIu64
		     " values compared, %" PRIu64 " bytes\n",
		     c->stores, s->entries, s->snapshots, s->chunks, s->values,
		     s->bytes);
	(void)printf("%" PRIu64 " unreadable, %" PRIu64 " missing, %" PRIu64
		     " corrupt, %" PRIu64 " unneeded (%" PRIu64 " bytes)\n",
		     s->unreadable, s->missing, s->corrupt, s->orphans,
		     s->orphan_bytes);
}

static int tell(const char *url, int rc, const char *why)
{
	(void)fprintf(stderr, "praas-control: the store %s: %s\n", url,
		      rc == -EINVAL ? "is neither file:///FOLDER nor s3://BUCKET "
				      "nor redis://HOST"
		      : why[0]      ? why
				    : strerror(-rc));
	return rc == -ENOENT   ? EXIT_NONE
	       : rc == -EACCES ? EXIT_REFUSED
	       : rc == -EINVAL ? 2
			       : EXIT_FAILED;
}

int praas_check_stores(const char *url, const struct praas_seal_keys *keys, bool json)
{
	struct checking c = { .url = url, .keys = keys, .below = "", .json = json };
	char why[PRAAS_STORE_WHY_BYTES];
	bool whole;
	int rc;

	c.findings = json_array();
	rc = praas_store_walk(url, one_store, &c, why);
	whole = rc == 0 && c.failed == 0 &&
		c.sum.unreadable + c.sum.missing + c.sum.corrupt == 0;
	if (rc == 0)
		print_sum(&c, whole);
	json_decref(c.findings);
	if (rc != 0)
		return tell(url, rc, why);
	if (c.stores == 0 && c.failed == 0) {
		(void)fprintf(stderr,
			      "praas-control: there is no store of a process "
			      "below %s\n",
			      url);
		return EXIT_NONE;
	}
	return whole ? EXIT_DONE : EXIT_FAILED;
}
