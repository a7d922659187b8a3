/* SPDX-License-Identifier: Apache-2.0
 *
 * The `praas` command: what its files share. One file per noun; each verb is a function
 * that takes the words after the verb, and returns the exit code. Everything here is
 * cold.
 */
#ifndef PRAAS_CLIENT_CLI_CLI_H
#define PRAAS_CLIENT_CLI_CLI_H

#include <jansson.h>
#include <limits.h>
#include <praas/client.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes; scripts rely on them. */
enum praas_exit {
	PRAAS_EXIT_DONE = 0,
	PRAAS_EXIT_FAILED = 1,
	PRAAS_EXIT_USAGE = 2,
	PRAAS_EXIT_FUNCTION = 3,  /* the function itself returned an error */
	PRAAS_EXIT_NOT_FOUND = 4, /* no such application, process, function, key */
	PRAAS_EXIT_REFUSED = 5,   /* credential, quota */
	PRAAS_EXIT_BUSY = 6       /* overloaded or timed out */
};

/* One run of the command. */
struct praas_cli {
	const char *command; /* "praas app create", for messages */
	const char *url;     /* of the control service; NULL: not said */
	const char *token;   /* bearer key; NULL: none */
	bool json;           /* print JSON */
	bool named;          /* --url or --token was given */
	char *config; /* text of the settings file; url and token may point into it */
	char own_url[512];  /* of a service of this user that was found running */
	char own_token[65]; /* its key */
	struct praas_control *control; /* opened by the first request */
	const char *completing; /* the word to complete; NULL: the verb is to run */
};

/* ---- arguments
 * ------------------------------------------------------------------------ */

enum praas_cli_kind {
	PRAAS_CLI_FLAG = 0, /* bool */
	PRAAS_CLI_TEXT,     /* const char * */
	PRAAS_CLI_NAME,     /* const char *, [A-Za-z0-9._-]{1,64}, not "." or ".." */
	PRAAS_CLI_KEY,      /* const char *, 1 … PRAAS_KEY_MAX bytes */
	PRAAS_CLI_CHOICE,   /* const char *, one of the words in arg, "a|b|c" */
	PRAAS_CLI_SIZE,     /* uint64_t, bytes: 64, 4K, 256M, 2G */
	PRAAS_CLI_DURATION, /* uint64_t, nanoseconds: 50ms, 2s, 5m */
	PRAAS_CLI_COUNT,    /* uint64_t, at least 1 */
	PRAAS_CLI_MILLI     /* uint64_t, thousandths: 1, 0.5, 2.25 */
};

/* An option, or with name NULL an argument by its position. */
struct praas_cli_option {
	const char *name; /* long option */
	int key;          /* its letter, or 0 */
	enum praas_cli_kind kind;
	void *value;     /* of the kind's type; keeps what it has when not given */
	const char *arg; /* what stands for the value in the help: "SIZE" */
	const char *help;
	bool optional; /* of an argument by position: may be missing */
	bool above_zero; /* of a size or duration: 0, which stands for not given, is refused */
};

/* Reads argv[1 …] as options ends with a zeroed entry; --url, --token, --json are known
 * to all. Exits with a message and PRAAS_EXIT_USAGE when they are not right, and after
 * --help. */
void praas_cli_parse(struct praas_cli *cli, const char *doc,
		     const struct praas_cli_option *options, int argc, char **argv);

/* Of a verb that is not about a control service that is named: --url and --token are refused, instead is
 * the end of the sentence. Returns an exit code. */
int praas_cli_here(const struct praas_cli *cli, const char *instead);

/* Turns text into a value of a kind. Returns 0; -EINVAL, and *ret_why says what is
 * wrong. */
int praas_cli_value(enum praas_cli_kind kind, const char *arg, const char *text,
		    void *ret, const char **ret_why);

/* ---- settings
 * -------------------------------------------------------------------------- */

/* Fills what options left open: environment, then the context of the settings file. */
int praas_cli_settings(struct praas_cli *cli);
/* A section of the settings file; NULL: not said. */
struct praas_cli_context {
	const char *url, *token, *ca;
};
/* Finds a context in text, which is cut into strings in place. context NULL: the one that
 * "context = NAME" names. Returns 0; -ENOENT it has no url; -EINVAL, *ret_line is the line. */
int praas_cli_settings_parse(char *text, const char *context,
			     struct praas_cli_context *ret_context, unsigned *ret_line);

/* ---- messages and output
 * --------------------------------------------------------------- */

/* One sentence to stderr: what, why, the next command to try. Returns code. */
__attribute__((format(printf, 2, 3))) int praas_cli_fail(enum praas_exit code,
							 const char *format, ...);
/* To standard output, as it is; praas_cli_flush() tells of errors. */
void praas_cli_write(const void *data, size_t bytes);
/* All that was printed is written, or an error is told: "cannot write WHAT: why", once. main does it at
 * the end. Returns an exit code. */
int praas_cli_flush(const char *what);
/* Called once before an error is told, and then NULL. */
extern void (*praas_cli_before_error)(void);
/* Text of others as a terminal may show it: control characters, which could tell it things, become '?'. */
char *praas_cli_plain(char *text);
/* praas_cli_fail() for a failed call of libpraas: rc is its errno, what says what was tried. */
int praas_cli_fail_call(const struct praas_cli *cli, int rc, const char *what);
/* For an invocation that ended with status != 0; view has the error text. */
int praas_cli_fail_status(const char *function, int status,
			  const struct praas_view *view);

struct praas_cli_column {
	const char *title;
	const char *
		member; /* of each object, "a.b" for one inside; a missing one prints "-" */
	enum {
		PRAAS_COLUMN_PLAIN = 0,
		PRAAS_COLUMN_BYTES,
		PRAAS_COLUMN_NS,
		PRAAS_COLUMN_WHEN /* nanoseconds since 1970, shown as local time */
	} unit;
};
/* Prints an array of objects: as a table, or as it is with --json. */
void praas_cli_table(const struct praas_cli *cli, const json_t *rows,
		     const struct praas_cli_column *columns, size_t columns_count);
/* Prints an answer: with --json as it is, else its members a line each. */
void praas_cli_print(const struct praas_cli *cli, const json_t *answer);
/* A number of bytes or nanoseconds for people: "1.5M", "230us". */
void praas_cli_bytes_text(uint64_t bytes, char ret_text[16]);
void praas_cli_ns_text(uint64_t ns, char ret_text[16]);
/* Who sent a message, for people and programs: a process's number, or "client:" and 16 hex
 * digits of its identity. */
json_t *praas_cli_source_json(praas_pid_t source);
/* Bytes as JSON: {"text": …} when they are UTF-8 without NUL, else {"base64": …}. */
json_t *praas_cli_payload_json(const void *data, size_t bytes);
/* Begins a colour (SGR code), or with NULL ends it; nothing where no terminal reads it, or
 * NO_COLOR is set. */
void praas_cli_colour(FILE *to, const char *code);

/* How far long work is; zeroed at the start, total 0: not known. */
struct praas_cli_progress {
	uint64_t total;
	uint64_t done, bytes;
	uint64_t shown_ns;
	bool asked, terminal, shown;
};
/* So much more is done: shown on standard error where that is a terminal. */
void praas_cli_progress(struct praas_cli_progress *p, uint64_t done, uint64_t bytes);
/* Takes the line away. */
void praas_cli_progress_end(const struct praas_cli_progress *p);

/* ---- requests
 * -------------------------------------------------------------------------- */

/* A REST request. body is taken over (may be NULL). ret_answer may be NULL; else the
 * caller's, JSON null for an empty answer. Returns an exit code; a failure has been
 * told. what: "create x". */
int praas_cli_request(struct praas_cli *cli, const char *method, const char *path,
		      json_t *body, const char *what, json_t **ret_answer);
/* The same for a list, all its pages: the arrays that the answers have as member, joined. */
int praas_cli_list(struct praas_cli *cli, const char *path, const char *member,
		   const char *what, json_t **ret_rows);

/* A GET whose answer is no JSON: *ret_text is malloc'd, with a NUL behind its *ret_bytes; the
 * header's value goes to ret_value. Returns an exit code; a failure has been told. */
int praas_cli_text(struct praas_cli *cli, const char *path, const char *header,
		   const char *what, char **ret_text, size_t *ret_bytes,
		   char *ret_value, size_t value_bytes);

/* W3C Trace Context of who started us, by the convention of the variable TRACEPARENT: trace id, span, flags.
 * false: none, or of another form. */
bool praas_cli_trace(struct praas_trace_context *ret_trace);

/* Connects to a process that exists; a swapped one wakes. Returns an exit code. */
int praas_cli_connect(struct praas_cli *cli, const char *app, const char *process,
		      praas_connection **ret_conn);
/* The same for invocations: a process that does not exist is made, and with process NULL one of
 * the application's is chosen. Its name is written to ret_name (PRAAS_NAME_MAX + 1 bytes). */
int praas_cli_connect_any(struct praas_cli *cli, const char *app, const char *process,
			  const struct praas_connect_config *config, char *ret_name,
			  praas_connection **ret_conn);

/* The data that -d means: text, @FILE, "-" standard input; NULL is empty. Returns an
 * exit code; *ret_data is malloc'd. */
int praas_cli_data(const char *spec, void **ret_data, size_t *ret_bytes);

/* The folder of this program. Returns an exit code. */
int praas_cli_program_folder(char ret_folder[PATH_MAX]);

/* Where a control service of this user keeps its data when nothing else is said. */
void praas_cli_data_folder(char ret_folder[PATH_MAX]);
/* The control service of this user that runs there. 0; -ENOENT. */
int praas_cli_service_own(char ret_url[512], char ret_token[65]);

/* The processes of an application, or of all (NULL), each with "app". Returns an exit code. */
int praas_cli_processes(struct praas_cli *cli, const char *app, json_t **ret_rows);

/* ---- verbs
 * ----------------------------------------------------------------------------- */

struct praas_cli_verb {
	const char *noun;
	const char *verb; /* NULL: the noun alone */
	int (*run)(struct praas_cli *cli, int argc, char **argv);
	const char *arguments;
	const char *summary;
};

/* ---- completion ---------------------------------------------------------------------- */

/* Is v the first of all verbs that have its noun? Those of one noun may stand in several tables. */
bool praas_cli_first_of_noun(const struct praas_cli_verb *const *tables,
			     const struct praas_cli_verb *v);
/* Prints what may stand in the place of the last of argc words. Returns an exit code. */
int praas_cli_complete(struct praas_cli *cli,
		       const struct praas_cli_verb *const *tables, size_t count,
		       int argc, char **argv);
/* The same of one verb: for praas_cli_parse(). */
void praas_cli_complete_verb(struct praas_cli *cli,
			     const struct praas_cli_option *options, int argc,
			     char **argv);

/* Each ends with a zeroed entry. */
extern const struct praas_cli_verb praas_cli_app_verbs[];
extern const struct praas_cli_verb praas_cli_process_verbs[];
extern const struct praas_cli_verb praas_cli_invoke_verbs[];
extern const struct praas_cli_verb praas_cli_state_verbs[];
extern const struct praas_cli_verb praas_cli_snapshot_verbs[];
extern const struct praas_cli_verb praas_cli_msg_verbs[];
extern const struct praas_cli_verb praas_cli_dev_verbs[];
extern const struct praas_cli_verb praas_cli_bench_verbs[];
extern const struct praas_cli_verb praas_cli_doctor_verbs[];
extern const struct praas_cli_verb praas_cli_archive_verbs[];
extern const struct praas_cli_verb praas_cli_up_verbs[];
extern const struct praas_cli_verb praas_cli_logs_verbs[];
extern const struct praas_cli_verb praas_cli_top_verbs[];
extern const struct praas_cli_verb praas_cli_node_verbs[];
extern const struct praas_cli_verb praas_cli_token_verbs[];
extern const struct praas_cli_verb praas_cli_usage_verbs[];

#endif
