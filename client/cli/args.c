/* SPDX-License-Identifier: Apache-2.0
 *
 * Arguments: each verb describes its options in a table; argp(3) reads them and prints
 * the help. Values are checked here, once, so that a verb sees only what makes sense.
 */
#include "client/cli/cli.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 24
#define KEY_FIRST 0x100  /* keys of options without a letter */
#define SHOWN_BYTES 100u /* of a wrong value that an error repeats */
#define KEY_URL 0x201
#define KEY_TOKEN 0x202
#define KEY_JSON 0x203

struct parse {
	struct praas_cli *cli;
	const struct praas_cli_option *options;
	unsigned positions; /* arguments seen */
};

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "", 1 },           { "B", 1 },          { "K", 1ull << 10 },
	{ "M", 1ull << 20 }, { "G", 1ull << 30 }, { "T", 1ull << 40 },
	{ NULL, 0 },
};

static const struct unit time_units[] = {
	{ "ns", 1 },
	{ "us", 1000 },
	{ "ms", 1000000 },
	{ "s", 1000000000 },
	{ "m", 60000000000 },
	{ "h", 3600000000000 },
	{ "d", 86400000000000 },
	{ NULL, 0 },
};

static const struct unit count_units[] = { { "", 1 }, { NULL, 0 } };

/* A whole number and one of the units, nothing else. */
static int parse_number(const char *text, const struct unit *units,
			uint64_t *ret_number)
{
	char *end;
	uint64_t number;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0)
		return -ERANGE;
	while (units->name && strcmp(units->name, end) != 0)
		units++;
	if (!units->name)
		return -EINVAL;
	return __builtin_mul_overflow(number, units->factor, ret_number) ? -ERANGE : 0;
}

/* "2", "0.5", "0.25", "1.125": at most three digits after the point. */
static int parse_milli(const char *text, uint64_t *ret_milli)
{
	uint64_t whole = 0;
	uint64_t part = 0;
	const char *point = strchr(text, '.');
	char head[24];
	size_t length = point ? (size_t)(point - text) : strlen(text);

	if (length >= sizeof(head))
		return -EINVAL;
	memcpy(head, text, length);
	head[length] = '\0';
	if (parse_number(head, count_units, &whole) != 0 || whole > 1000000)
		return -EINVAL;
	if (point) {
		size_t digits = strlen(point + 1);

		if (digits > 3 || parse_number(point + 1, count_units, &part) != 0)
			return -EINVAL;
		for (; digits < 3; digits++)
			part *= 10;
	}
	*ret_milli = whole * 1000 + part;
	return *ret_milli > 0 ? 0 : -EINVAL;
}

static bool is_name(const char *text)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789._-";
	size_t length = strlen(text);

	return length >= 1 && length <= PRAAS_NAME_MAX &&
	       strspn(text, allowed) == length && strcmp(text, ".") != 0 &&
	       strcmp(text, "..") != 0;
}

static bool is_choice(const char *choices, const char *text)
{
	size_t length = strlen(text);

	while (choices) {
		const char *next = strchr(choices, '|');
		size_t bytes = next ? (size_t)(next - choices) : strlen(choices);

		if (bytes == length && length > 0 && memcmp(choices, text, length) == 0)
			return true;
		choices = next ? next + 1 : NULL;
	}
	return false;
}

static int parse_text(enum praas_cli_kind kind, const char *arg, const char *text,
		      const char **ret_why)
{
	size_t length = strlen(text);

	if (kind == PRAAS_CLI_NAME && !is_name(text))
		*ret_why = "must be 1 to 64 letters, digits, '.', '_' or '-'";
	else if (kind == PRAAS_CLI_KEY && (length == 0 || length > PRAAS_KEY_MAX))
		*ret_why = "must be 1 to 255 bytes long";
	else if (kind == PRAAS_CLI_CHOICE && !is_choice(arg, text))
		*ret_why = arg;
	else
		return 0;
	return -EINVAL;
}

static int parse_quantity(enum praas_cli_kind kind, const char *text, uint64_t *ret,
			  const char **ret_why)
{
	int rc;

	if (kind == PRAAS_CLI_SIZE) {
		*ret_why = "must be a number of bytes like 4096, 64K, 256M or 2G";
		rc = parse_number(text, size_units, ret);
	} else if (kind == PRAAS_CLI_DURATION) {
		*ret_why = "must be a time like 500us, 50ms, 2s, 5m or 1d";
		rc = parse_number(text, time_units, ret);
	} else if (kind == PRAAS_CLI_MILLI) {
		*ret_why = "must be a number above 0 like 1 or 0.5";
		rc = parse_milli(text, ret);
	} else {
		*ret_why = "must be a whole number above 0";
		rc = parse_number(text, count_units, ret);
		if (rc == 0 && *ret == 0)
			rc = -EINVAL;
	}
	if (rc == -ERANGE)
		*ret_why = "is too large";
	return rc == 0 ? 0 : -EINVAL;
}

int praas_cli_value(enum praas_cli_kind kind, const char *arg, const char *text,
		    void *ret, const char **ret_why)
{
	uint64_t number = 0;
	int rc;

	if (kind == PRAAS_CLI_FLAG) {
		*(bool *)ret = true;
		return 0;
	}
	if (kind <= PRAAS_CLI_CHOICE) {
		rc = parse_text(kind, arg, text, ret_why);
		if (rc == 0)
			*(const char **)ret = text;
		return rc;
	}
	rc = parse_quantity(kind, text, &number, ret_why);
	if (rc == 0)
		*(uint64_t *)ret = number;
	return rc;
}

static int option_key(const struct praas_cli_option *options,
		      const struct praas_cli_option *o)
{
	return o->key ? o->key : KEY_FIRST + (int)(o - options);
}

static bool is_end(const struct praas_cli_option *o)
{
	return !o->name && !o->arg;
}

/* What was given, for an error: short, and nothing that a terminal would heed. */
static const char *show(const char *text, char ret_shown[SHOWN_BYTES])
{
	int cut = snprintf(ret_shown, SHOWN_BYTES, "%s", text) >= (int)SHOWN_BYTES;

	if (cut)
		(void)snprintf(ret_shown + SHOWN_BYTES - 4, 4, "...");
	return praas_cli_plain(ret_shown);
}

static void take(struct argp_state *state, const struct praas_cli_option *o,
		 const char *text)
{
	const char *why = "";
	char shown[SHOWN_BYTES];

	if (praas_cli_value(o->kind, o->arg, text, o->value, &why) == 0) {
		if (!o->above_zero || *(const uint64_t *)o->value != 0)
			return;
		why = "must be above 0";
	}
	text = show(text, shown);
	if (o->kind == PRAAS_CLI_CHOICE)
		argp_error(state, "'%s' is none of %s", text, o->arg);
	else
		argp_error(state, "%s%s %s, not '%s'", o->name ? "--" : "",
			   o->name ? o->name : o->arg, why, text);
}

/* The argument by position number n, or the end of the table. */
static const struct praas_cli_option *position(const struct praas_cli_option *o,
					       unsigned n)
{
	for (; !is_end(o); o++)
		if (!o->name && n-- == 0)
			break;
	return o;
}

static error_t parse_ours(int key, char *text, struct argp_state *state)
{
	struct parse *p = state->input;
	const struct praas_cli_option *o;
	char shown[SHOWN_BYTES];

	switch (key) {
	case KEY_URL:
		p->cli->url = text;
		p->cli->named = true;
		return 0;
	case KEY_TOKEN:
		p->cli->token = text;
		p->cli->named = true;
		return 0;
	case KEY_JSON:
		p->cli->json = true;
		return 0;
	case ARGP_KEY_ARG:
		o = position(p->options, p->positions++);
		if (is_end(o))
			argp_error(state, "'%s' is one argument too many",
				   show(text, shown));
		else
			take(state, o, text);
		return 0;
	case ARGP_KEY_END:
		o = position(p->options, p->positions);
		if (!is_end(o) && !o->optional)
			argp_error(state, "%s is missing", o->arg);
		return 0;
	default:
		break;
	}
	for (o = p->options; !is_end(o); o++) {
		if (o->name && option_key(p->options, o) == key) {
			take(state, o, text);
			return 0;
		}
	}
	return ARGP_ERR_UNKNOWN;
}

int praas_cli_here(const struct praas_cli *cli, const char *instead)
{
	if (!cli->named)
		return PRAAS_EXIT_DONE;
	return praas_cli_fail(PRAAS_EXIT_USAGE,
			      "--url and --token name a control service, but %s %s",
			      cli->command, instead);
}

/* "APP [PID]" from the arguments by position. */
static void describe_positions(const struct praas_cli_option *options, char *ret_text,
			       size_t bytes)
{
	size_t at = 0;

	ret_text[0] = '\0';
	for (const struct praas_cli_option *o = options; !is_end(o); o++) {
		if (o->name || at >= bytes)
			continue;
		at += (size_t)snprintf(ret_text + at, bytes - at,
				       o->optional ? "%s[%s]" : "%s%s", at ? " " : "",
				       o->arg);
	}
}

void praas_cli_parse(struct praas_cli *cli, const char *doc,
		     const struct praas_cli_option *options, int argc, char **argv)
{
	static const struct argp_option common[] = {
		{ "url", KEY_URL, "URL", 0, "Control service (or PRAAS_URL)", 9 },
		{ "token", KEY_TOKEN, "TOKEN", 0, "Its key (or PRAAS_TOKEN)", 9 },
		{ "json", KEY_JSON, NULL, 0, "Print JSON", 9 },
		{ 0 },
	};
	struct argp_option table[OPTIONS_MAX + 4] = { 0 };
	struct parse p = { .cli = cli, .options = options };
	char positions[128];
	struct argp argp = { .options = table, .parser = parse_ours, .doc = doc };
	size_t n = 0;

	if (cli->completing) {
		praas_cli_complete_verb(cli, options, argc, argv);
		exit(fflush(stdout) == 0 ? PRAAS_EXIT_DONE : PRAAS_EXIT_FAILED);
	}
	for (const struct praas_cli_option *o = options; !is_end(o) && n < OPTIONS_MAX;
	     o++)
		if (o->name)
			table[n++] =
				(struct argp_option){ .name = o->name,
						      .key = option_key(options, o),
						      .arg = o->arg,
						      .doc = o->help };
	memcpy(&table[n], common, sizeof(common));
	describe_positions(options, positions, sizeof(positions));
	argp.args_doc = positions;
	argp_err_exit_status = PRAAS_EXIT_USAGE;
	argv[0] = (char *)(uintptr_t)cli->command; /* argp only reads it */
	if (argp_parse(&argp, argc, argv, 0, NULL, &p) != 0)
		exit(PRAAS_EXIT_USAGE);
	if (praas_cli_settings(cli) != 0)
		exit(PRAAS_EXIT_USAGE);
}
