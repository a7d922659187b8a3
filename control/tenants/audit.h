/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log: a line of JSON for each request that changes something, or wanted to, written
 * before it is answered. FILE is renamed to FILE.1, that to FILE.2 …, when it has grown. No secrets:
 * of credentials the public id, of payloads nothing.
 */
#ifndef PRAAS_CONTROL_AUDIT_H
#define PRAAS_CONTROL_AUDIT_H

#include <stddef.h>
#include <stdint.h>

struct praas_audit;

struct praas_audit_config {
	const char *file;   /* copied */
	uint64_t bytes_max; /* of one file; 0: 16 MiB */
	uint32_t files_max; /* besides the one that is written; 0: 8 */
};

/* One request. Texts are borrowed; NULL or "": not known. Any bytes: they are escaped. */
struct praas_audit_entry {
	const char *key, *tenant, *from; /* who */
	const char *method, *route;      /* what */
	const char *app, *pid, *id;      /* of what */
	const char *code;                /* of an error */
	const char *trace;               /* 32 hex digits */
	int status;
	uint64_t ns; /* that it took */
};

/* 0; an errno. */
int praas_audit_open(const struct praas_audit_config *config,
		     struct praas_audit **ret_audit);
void praas_audit_close(struct praas_audit *audit);
/* Any thread. What cannot be written is counted, and told on stderr once a minute. */
void praas_audit_write(struct praas_audit *audit,
		       const struct praas_audit_entry *entry);

/* Lines that are written together. Of one thread; zeros: none. */
struct praas_audit_lines {
	char text[16384];
	size_t bytes;
	uint32_t count;
};

/* Adds one; when there is no room for another, all are written. */
void praas_audit_add(struct praas_audit *audit, struct praas_audit_lines *lines,
		     const struct praas_audit_entry *entry);
/* Writes them all. */
void praas_audit_flush(struct praas_audit *audit, struct praas_audit_lines *lines);
uint64_t praas_audit_failures(struct praas_audit *audit);

#endif
