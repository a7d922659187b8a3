/* SPDX-License-Identifier: Apache-2.0 */
#include "control/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "control/life/place_node.h"
#include "control/limits.h"
#include "control/names.h"
#include "control/records/records.h"

/* As the text below says. */
#define REJOIN_S_DEFAULT 10u
#define USAGE_S_DEFAULT 300
#define USAGE_DAYS_DEFAULT 400
#define STOP_S_DEFAULT 60u
#define LEASE_S_DEFAULT 15
#define LEASE_S_MIN 2
#define LEASE_S_MAX 300
#define IDLE_S_DEFAULT 60
#define PRESSURE_DEFAULT 90
#define DRAIN_S_DEFAULT 30
#define DRAIN_MOVES_DEFAULT 2
#define BALANCE_PERCENT_DEFAULT 20
#define BALANCE_STAY_S_DEFAULT 600

static const char usage[] =
	"usage: praas-control --data DIR [options]\n"
	"  --data DIR           where records, keys, logs and snapshots live\n"
	"  --listen HOST:PORT   of REST (127.0.0.1:0: a free port); off loopback only "
	"with\n"
	"  --tls-cert FILE, --tls-key FILE  certificate with its chain, and its key "
	"(PEM);\n"
	"                       loaded again when they change, and on SIGHUP; or with\n"
	"  --insecure-listen    without TLS: keys can be read on the way\n"
	"  --token-file FILE    administrator's token (else PRAAS_ADMIN_TOKEN, else\n"
	"                       DIR/admin.token, made on first start)\n"
	"  --records URL        where records and backup queues live: sqlite:///FILE\n"
	"                       (default in DIR), redis://[USER@]HOST[:PORT][/DB],\n"
	"                       rediss:// (TLS), redis+unix:///SOCKET, with "
	"?prefix=NAME&\n"
	"                       password-file=FILE&ca=FILE&cert=FILE&key=FILE; "
	"memory:\n"
	"  --snapshots URL      snapshots and slot logs: s3://BUCKET/PREFIX?endpoint=… "
	"or\n"
	"                       file:///DIR (default in DIR); keys of S3 as AWS tools "
	"find\n"
	"                       them, never here; small ones: redis://… as --records\n"
	"  --controller PATH    praas-controller (default: next to this program)\n"
	"  --worker PATH        praas-worker (default: the controller's own)\n"
	"  --data-host HOST     where data planes listen (127.0.0.1)\n"
	"  --data-tls WHEN      TLS there: auto (off loopback only), on, off\n"
	"  --data-listen LIST   up to 6 more addresses of every process, parted by\n"
	"                       commas: SCHEME://PLACE of a transport over a device,\n"
	"                       left out where it cannot be opened if it ends in ?;\n"
	"                       auto: those of RDMA and EFA devices at --data-host\n"
	"  --node NAME[,netns=NAME][,listen=ADDRESS][,memory=SIZE][,vcpus=N]\n"
	"                       a node that processes run on, up to 32 times: in a "
	"network\n"
	"                       namespace of this machine, with an address and a "
	"capacity\n"
	"                       of its own (one, \"local\")\n"
	"  --placement POLICY   where processes start: neighbours (those of an "
	"application\n"
	"                       together), spread, consolidate (neighbours)\n"
	"  --run DIR            for sockets (DIR/run)\n"
	"  --prewarm N          controllers kept ready in advance (0)\n"
	"  --idle-seconds N     without work: a process is shown as IDLE (60; 0 "
	"never)\n"
	"  --idle-swap-seconds N  without work: it is swapped out (0: never)\n"
	"  --idle-calls N       so many calls within that time count as none (0)\n"
	"  --pressure PERCENT   of a node's memory taken, idle processes make room "
	"above\n"
	"                       it (90; 0 never)\n"
	"  --drain-seconds N    that processes of a drained node may finish what they "
	"do,\n"
	"                       before they are moved nevertheless (30; 0: none)\n"
	"  --drain-moves N      that leave drained nodes at once (2; 1 to 32)\n"
	"  --balance-seconds N  between two looks whether a process that serves is to "
	"move\n"
	"                       to a better node, as --placement says (0: never)\n"
	"  --balance-percent N  of a node, by which the load of two differs before it "
	"is\n"
	"                       spread (20; 1 to 100)\n"
	"  --balance-stay-seconds N  that a process stays where it came to (600)\n";

/* A string of C has 4,095 characters. */
static const char usage_more[] =
	"  --usage-seconds N    between two rows of usage of a process with calls "
	"(300)\n"
	"  --usage-days N       that usage is kept (400)\n"
	"  --head-seconds N     that a client has to send a request's head (5)\n"
	"  --rejoin-seconds N   after a restart, for controllers that survived (10)\n"
	"  --stop-seconds N     for swapping all out on SIGTERM (60)\n"
	"  --replica            one of several with this data folder and these records "
	"(a\n"
	"                       Redis): one is active, the others pass requests on to "
	"it and\n"
	"                       stand by\n"
	"  --lease-seconds N    after which another takes over from one that stands "
	"still (15;\n"
	"                       2 to 300)\n"
	"  --no-cgroup          make no control groups\n"
	"  --backup TO          copy records and keys to a new folder, and end; the "
	"service\n"
	"                       may run meanwhile\n"
	"  --store-key WHERE    keys that seal snapshots and slot logs: file:PATH or "
	"cmd:COMMAND;\n"
	"                       64 hexadecimal digits a line, the first seals, all "
	"open\n"
	"  --store-clear WHAT   what is stored in clear is read (allow) or not "
	"(refuse)\n"
	"  --check-store URL [--json]  whether all that is stored there is whole, and "
	"end\n"
	"  --collect-seconds N  that what nobody needs in the stores stays at least "
	"(3600;\n"
	"                       10 and up; 0 for ever); a snapshot may take half of "
	"it\n"
	"  --ready-fd N         write the ready line there too\n"
	"  --log FORM           text (for people, on stderr) or json\n"
	"  --log-file FILE      in place of stderr; at 16 MiB it becomes FILE.1, …, "
	"FILE.3\n"
	"  --foreground         accepted; it never goes into the background\n"
	"Prints one line of JSON, {\"url\":…}, when it is ready.\n";

enum kind { TEXT, NUMBER, FLAG, NODE };

static const struct row {
	const char *name;
	enum kind kind;
	size_t at;    /* in the options */
	uint64_t max; /* of a number */
} rows[] = {
	{ "data", TEXT, offsetof(struct praas_options, data), 0 },
	{ "listen", TEXT, offsetof(struct praas_options, listen), 0 },
	{ "token-file", TEXT, offsetof(struct praas_options, token_file), 0 },
	{ "controller", TEXT, offsetof(struct praas_options, controller), 0 },
	{ "worker", TEXT, offsetof(struct praas_options, worker), 0 },
	{ "records", TEXT, offsetof(struct praas_options, records), 0 },
	{ "snapshots", TEXT, offsetof(struct praas_options, snapshots), 0 },
	{ "data-host", TEXT, offsetof(struct praas_options, data_host), 0 },
	{ "data-tls", TEXT, offsetof(struct praas_options, data_tls), 0 },
	{ "data-listen", TEXT, offsetof(struct praas_options, data_listen), 0 },
	{ "node", NODE, 0, 0 },
	{ "placement", TEXT, offsetof(struct praas_options, placement), 0 },
	{ "run", TEXT, offsetof(struct praas_options, run), 0 },
	{ "log", TEXT, offsetof(struct praas_options, log), 0 },
	{ "log-file", TEXT, offsetof(struct praas_options, log_file), 0 },
	{ "tls-cert", TEXT, offsetof(struct praas_options, tls_cert), 0 },
	{ "tls-key", TEXT, offsetof(struct praas_options, tls_key), 0 },
	{ "backup", TEXT, offsetof(struct praas_options, backup), 0 },
	{ "store-key", TEXT, offsetof(struct praas_options, store_key), 0 },
	{ "store-clear", TEXT, offsetof(struct praas_options, store_clear), 0 },
	{ "check-store", TEXT, offsetof(struct praas_options, check_store), 0 },
	{ "collect-seconds", NUMBER, offsetof(struct praas_options, collect_s),
	  PRAAS_LIMIT_COLLECT_S },
	{ "ready-fd", NUMBER, offsetof(struct praas_options, ready_fd), 1023 },
	{ "rejoin-seconds", NUMBER, offsetof(struct praas_options, rejoin_s), 3600 },
	{ "stop-seconds", NUMBER, offsetof(struct praas_options, stop_s), 86400 },
	{ "prewarm", NUMBER, offsetof(struct praas_options, prewarm), 64 },
	{ "idle-seconds", NUMBER, offsetof(struct praas_options, idle_s), 86400 },
	{ "idle-swap-seconds", NUMBER, offsetof(struct praas_options, idle_swap_s),
	  31536000 },
	{ "idle-calls", NUMBER, offsetof(struct praas_options, idle_calls),
	  1000000000 },
	{ "pressure", NUMBER, offsetof(struct praas_options, pressure), 100 },
	{ "drain-seconds", NUMBER, offsetof(struct praas_options, drain_s), 3600 },
	{ "drain-moves", NUMBER, offsetof(struct praas_options, drain_moves),
	  PRAAS_LIMIT_DRAIN_MOVES },
	{ "balance-seconds", NUMBER, offsetof(struct praas_options, balance_s), 86400 },
	{ "balance-percent", NUMBER, offsetof(struct praas_options, balance_percent),
	  100 },
	{ "balance-stay-seconds", NUMBER,
	  offsetof(struct praas_options, balance_stay_s), 86400 },
	{ "usage-seconds", NUMBER, offsetof(struct praas_options, usage_s),
	  PRAAS_LIMIT_USAGE_S },
	{ "usage-days", NUMBER, offsetof(struct praas_options, usage_days),
	  PRAAS_LIMIT_USAGE_DAYS },
	{ "head-seconds", NUMBER, offsetof(struct praas_options, head_s), 60 },
	{ "lease-seconds", NUMBER, offsetof(struct praas_options, lease_s),
	  LEASE_S_MAX },
	{ "replica", FLAG, offsetof(struct praas_options, replica), 0 },
	{ "insecure-listen", FLAG, offsetof(struct praas_options, insecure), 0 },
	{ "no-cgroup", FLAG, offsetof(struct praas_options, no_cgroup), 0 },
	{ "json", FLAG, offsetof(struct praas_options, json), 0 },
	{ "foreground", FLAG, offsetof(struct praas_options, foreground), 0 },
	{ "help", FLAG, offsetof(struct praas_options, help), 0 },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static int wrong(const char *what, const char *which)
{
	(void)fprintf(stderr, "praas-control: %s: %s; try praas-control --help\n", what,
		      which);
	return -EINVAL;
}

static int wrong_node(const char *text, const char *why)
{
	(void)fprintf(stderr,
		      "praas-control: --node %.200s: %s; try praas-control --help\n",
		      text, why);
	return -EINVAL;
}

static int take(const struct row *row, const char *text, struct praas_options *o)
{
	void *at = (char *)o + row->at;
	const char *why;

	if (row->kind == NODE)
		return praas_nodes_add(o->nodes, text, &why) ? wrong_node(text, why)
							     : 0;
	if (row->kind == TEXT)
		*(const char **)at = text;
	else if (row->kind == FLAG)
		*(bool *)at = true;
	else if (praas_number_parse(text, row->max, at))
		return wrong("not a number, or too large", row->name);
	return 0;
}

/* Addresses that an item of the list stands for; 0: it is none. */
static unsigned listen_item(const char *at, size_t bytes)
{
	size_t scheme = strcspn(at, ":");

	if (bytes == strlen(PRAAS_DATA_LISTEN_AUTO) &&
	    strncmp(at, PRAAS_DATA_LISTEN_AUTO, bytes) == 0)
		return PRAAS_DATA_LISTEN_AUTOS;
	return scheme > 0 && bytes < PRAAS_DATA_LISTEN_BYTES && scheme + 3 < bytes &&
	       strncmp(at + scheme, "://", 3) == 0;
}

/* Addresses parted by commas; whether a transport knows them is the controllers' business. */
static bool is_listen_list(const char *text)
{
	unsigned count = 0, item = 1;

	for (const char *at = text; item > 0; at++) {
		size_t bytes = strcspn(at, ",");

		item = listen_item(at, bytes);
		count += item;
		at += bytes;
		if (*at == '\0')
			return item > 0 && count <= PRAAS_DATA_LISTEN_MAX;
	}
	return false;
}

/* Several services: what they share must be theirs together. */
static int check_replica(struct praas_options *o)
{
	if (!o->replica)
		return o->lease_s ? wrong("missing", "--replica") : 0;
	if (!o->records || !praas_records_shareable(o->records))
		return wrong("--replica needs records in a Redis (--records "
			     "redis://HOST), not",
			     o->records ? o->records : "a file");
	if (o->lease_s == 0)
		o->lease_s = LEASE_S_DEFAULT;
	return o->lease_s < LEASE_S_MIN ? wrong("must be at least 2", "--lease-seconds")
					: 0;
}

/* What does not fit together. */
static int check(struct praas_options *o)
{
	if (o->store_clear && strcmp(o->store_clear, "allow") != 0 &&
	    strcmp(o->store_clear, "refuse") != 0)
		return wrong("--store-clear is allow or refuse, not", o->store_clear);
	if (o->store_clear && !o->store_key)
		return wrong("missing", "--store-key");
	if (o->check_store)
		return 0;
	if (!o->data || !*o->data)
		return wrong("missing", "--data");
	if (o->collect_s > 0 && o->collect_s < PRAAS_LIMIT_COLLECT_MIN_S)
		return wrong("must be 0 or at least 10:", "--collect-seconds");
	if (o->log && strcmp(o->log, "text") != 0 && strcmp(o->log, "json") != 0)
		return wrong("--log is text or json, not", o->log);
	if (praas_place_policy_parse(o->placement, &(enum praas_place_policy){ 0 }))
		return wrong("--placement is neighbours, spread or consolidate, not",
			     o->placement);
	if (o->drain_moves == 0)
		return wrong("must be at least 1", "--drain-moves");
	if (o->balance_percent == 0)
		return wrong("must be at least 1", "--balance-percent");
	if (o->data_listen && !is_listen_list(o->data_listen))
		return wrong("--data-listen is a list of addresses, not",
			     o->data_listen);
	if (!o->tls_cert != !o->tls_key)
		return wrong("missing", o->tls_cert ? "--tls-key" : "--tls-cert");
	return check_replica(o);
}

void praas_options_defaults(struct praas_options *o)
{
	o->listen = "127.0.0.1:0";
	o->data_host = "127.0.0.1";
	o->data_tls = "auto";
	o->placement = "neighbours";
	o->idle_s = IDLE_S_DEFAULT;
	o->pressure = PRESSURE_DEFAULT;
	o->drain_s = DRAIN_S_DEFAULT;
	o->drain_moves = DRAIN_MOVES_DEFAULT;
	o->balance_percent = BALANCE_PERCENT_DEFAULT;
	o->balance_stay_s = BALANCE_STAY_S_DEFAULT;
	o->stop_s = STOP_S_DEFAULT;
	o->usage_s = USAGE_S_DEFAULT;
	o->usage_days = USAGE_DAYS_DEFAULT;
	o->rejoin_s = REJOIN_S_DEFAULT;
}

int praas_options_parse(int argc, char **argv, struct praas_options *o)
{
	struct option longs[ROWS + 1] = { { NULL, 0, NULL, 0 } };
	int which, rc = 0;

	for (size_t i = 0; i < ROWS; i++)
		longs[i] = (struct option){ rows[i].name, rows[i].kind != FLAG, NULL,
					    (int)i };
	opterr = 0; /* one line of ours */
	while (rc == 0 && (which = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
		if (which == ':')
			return wrong("a value is missing", argv[optind - 1]);
		if (which == '?')
			return wrong("unknown option", argv[optind - 1]);
		rc = take(&rows[which], optarg, o);
	}
	if (rc)
		return rc;
	if (o->help)
		return fputs(usage, stdout) < 0 || fputs(usage_more, stdout) < 0
			       ? -EIO
			       : -ECANCELED;
	if (optind < argc)
		return wrong("too many arguments", argv[optind]);
	return check(o);
}
