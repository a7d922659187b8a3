/* SPDX-License-Identifier: Apache-2.0
 *
 * The statements, as SQLite reads them.
 */
#include "control/records/records_sqlite.h"

#define APP_COLUMNS                                                                    \
	"version, created_ns, memory_bytes, bytes_max, vcpu_milli, concurrency, "      \
	"isolation_inline, allow_weak_sandbox, wait, id, name, code, tenant, "         \
	"revision, deployed_ns, digest, checkpoint_ms, state_bytes"
#define PROCESS_COLUMNS                                                                \
	"version, number, created_ns, changed_ns, os_start, slot, os_pid, "            \
	"generation, epoch, lost_epoch, state, app, controller, join_hash, name, "     \
	"endpoints, state_bytes, used_ns, counted_cpu, counted_wall, "                 \
	"counted_calls, counted_in, counted_out, counted_resident, "                   \
	"named_bytes, revision, node"

/* Of the first ?3 processes that have any, the rows that end in ?1 … ?2, without the end. */
#define USAGE_FOLDING                                                                  \
	" WHERE folded=0 AND to_ns>=?1 AND to_ns<?2 AND number IN"                     \
	" (SELECT DISTINCT number FROM usage WHERE folded=0 AND to_ns>=?1"             \
	" AND to_ns<?2 ORDER BY number LIMIT ?3)"
#define USAGE_TOTAL(column) "CAST(min(total(" column "),9e15) AS INTEGER), "
#define USAGE_TOTALS                                                                   \
	USAGE_TOTAL("cpu_ns")                                                          \
	USAGE_TOTAL("wall_ns")                                                         \
	USAGE_TOTAL("calls")                                                           \
	USAGE_TOTAL("bytes_in")                                                        \
	USAGE_TOTAL("bytes_out")
#define USAGE_FOLD                                                                     \
	"INSERT INTO usage SELECT number, min(from_ns), max(to_ns), 1, tenant,"        \
	" app, name, " USAGE_TOTALS                                                    \
	"total(resident), total(stored) FROM usage" USAGE_FOLDING " GROUP BY number"

/* How much of row r lies in ?1 … ?2: as praas_usage_share(). */
#define USAGE_SHARE                                                                    \
	"(CASE WHEN r.from_ns>=?1 AND r.to_ns<=?2 THEN 1.0 ELSE"                       \
	" CAST(min(r.to_ns,?2)-max(r.from_ns,?1) AS REAL)/(r.to_ns-r.from_ns) END)"
#define USAGE_PART(column)                                                             \
	"CAST(r." column "*" USAGE_SHARE " AS INTEGER) AS " column ", "
#define USAGE_PARTS                                                                    \
	USAGE_PART("cpu_ns")                                                           \
	USAGE_PART("wall_ns")                                                          \
	USAGE_PART("calls")                                                            \
	USAGE_PART("bytes_in")                                                         \
	USAGE_PART("bytes_out")
#define USAGE_BAD(column) "typeof(r." column ")<>'integer' OR r." column "<0 OR "
#define USAGE_BADS                                                                     \
	USAGE_BAD("cpu_ns")                                                            \
	USAGE_BAD("wall_ns")                                                           \
	USAGE_BAD("calls")                                                             \
	USAGE_BAD("bytes_in")                                                          \
	USAGE_BAD("bytes_out")
#define USAGE_ROWS                                                                     \
	"SELECT r.number, r.tenant, r.app, r.name, " USAGE_PARTS                       \
	"r.resident*" USAGE_SHARE " AS resident, r.stored*" USAGE_SHARE                \
	" AS stored, " USAGE_BADS "typeof(r.resident)<>'real' OR"                      \
	" typeof(r.stored)<>'real' OR r.resident<0 OR r.stored<0 OR"                   \
	" r.from_ns>=r.to_ns AS bad, 0 AS state, NULL AS slot,"                        \
	" 0 AS state_bytes, 0 AS used_ns FROM usage r"                                 \
	" WHERE r.to_ns>?1 AND r.from_ns<?2"
#define USAGE_PROCESSES                                                                \
	"SELECT p.number, a.tenant, a.name, p.name, 0, 0, 0, 0, 0, 0, 0, 0,"           \
	" p.state, p.slot, p.state_bytes, p.used_ns FROM processes p"                  \
	" JOIN apps a ON a.id=p.app WHERE p.created_ns<?2"
/* total() of whole numbers below 2^53 is exact, and never fails. */
#define USAGE_EACH                                                                     \
	"SELECT number, tenant, app, name, total(cpu_ns), total(wall_ns),"             \
	" total(calls), total(bytes_in), total(bytes_out), total(resident),"           \
	" total(stored), max(bad), max(state), coalesce(max(slot),-1),"                \
	" max(state_bytes), max(used_ns)"                                              \
	" FROM (" USAGE_ROWS " UNION ALL " USAGE_PROCESSES ")"                         \
	" WHERE (?3 IS NULL OR tenant=?3) AND (?4 IS NULL OR app=?4)"                  \
	" AND (?5 IS NULL OR name=?5) AND (tenant, app, number)>(?6, ?7, ?8)"          \
	" GROUP BY tenant, app, number ORDER BY tenant, app, number"

#define QUEUE_STATE "q.tail, q.trimmed, q.messages, q.bytes"

const char *const praas_sqlite_texts[PRAAS_SQL_STATEMENTS] = {
	[PRAAS_SQL_APP_INSERT] =
		"INSERT INTO apps (" APP_COLUMNS
		") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,"
		"?18)",
	[PRAAS_SQL_APP_UPDATE] =
		"UPDATE apps SET version=?1, created_ns=?2, memory_bytes=?3,"
		" bytes_max=?4, vcpu_milli=?5, concurrency=?6, isolation_inline=?7,"
		" allow_weak_sandbox=?8, wait=?9, name=?11, code=?12, revision=?14,"
		" deployed_ns=?15, digest=?16, checkpoint_ms=?17, state_bytes=?18"
		" WHERE id=?10 AND version=?1-1 AND tenant=?13",
	[PRAAS_SQL_APP_DELETE] = "DELETE FROM apps WHERE id=?1",
	[PRAAS_SQL_PROCESS_INSERT] =
		"INSERT INTO processes (" PROCESS_COLUMNS
		") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,"
		"?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,?27)",
	[PRAAS_SQL_PROCESS_UPDATE] =
		"UPDATE processes SET version=?1, created_ns=?3, changed_ns=?4,"
		" os_start=?5, slot=?6, os_pid=?7, generation=?8, epoch=?9,"
		" lost_epoch=?10, state=?11, app=?12, controller=?13,"
		" join_hash=?14, name=?15, endpoints=?16, state_bytes=?17,"
		" used_ns=?18, counted_cpu=?19, counted_wall=?20,"
		" counted_calls=?21, counted_in=?22, counted_out=?23,"
		" counted_resident=?24, named_bytes=?25, revision=?26,"
		" node=?27"
		" WHERE number=?2 AND version=?1-1",
	[PRAAS_SQL_PROCESS_DELETE] = "DELETE FROM processes WHERE number=?1",
	[PRAAS_SQL_ITEM_INSERT] =
		"INSERT INTO items (version, kind, id, body) VALUES (?1,?2,?3,?4)",
	[PRAAS_SQL_ITEM_UPDATE] =
		"UPDATE items SET version=?1, body=?4 WHERE kind=?2 AND id=?3"
		" AND version=?1-1",
	[PRAAS_SQL_ITEM_DELETE] = "DELETE FROM items WHERE kind=?1 AND id=?2",
	[PRAAS_SQL_MEMO_INSERT] =
		"INSERT INTO memos (made_ns, status, answer, id, request, run, tenant)"
		" VALUES (?1,?2,?3,?4,?5,?6,?7)",
	[PRAAS_SQL_MEMO_UPDATE] =
		"UPDATE memos SET made_ns=?1, status=?2, answer=?3, request=?5, run=?6"
		" WHERE id=?4 AND tenant=?7 AND run=?8",
	[PRAAS_SQL_MEMO_DELETE] = "DELETE FROM memos WHERE id=?1",
	[PRAAS_SQL_MEMO_EXPIRE] = "DELETE FROM memos WHERE made_ns<?1",
	[PRAAS_SQL_USAGE_INSERT] = "INSERT INTO usage VALUES (?1,?2,?3,0,?4,?5,?6,?7,"
				   "?8,?9,?10,?11,?12,?13)",
	[PRAAS_SQL_USAGE_FOLD] = USAGE_FOLD,
	[PRAAS_SQL_USAGE_FOLDED] = "DELETE FROM usage" USAGE_FOLDING,
	[PRAAS_SQL_USAGE_EXPIRE] = "DELETE FROM usage WHERE to_ns<?1",
	[PRAAS_SQL_NUMBERS_KEEP] =
		"UPDATE sqlite_sequence SET seq=?1 WHERE name='processes' AND seq=?2",
	[PRAAS_SQL_QUEUE_WITHIN] =
		"SELECT p.state, " QUEUE_STATE
		" FROM processes p LEFT JOIN queues q ON q.process=p.number"
		" WHERE p.number=?1",
	[PRAAS_SQL_QUEUE_LAST] = "SELECT max(number) FROM queued WHERE process=?1 AND"
				 " source=?2 AND epoch=?3",
	[PRAAS_SQL_QUEUE_INSERT] =
		"INSERT INTO queued (process, position, source, epoch, number,"
		" key_bytes, trace, data) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
	[PRAAS_SQL_QUEUE_SET] =
		"INSERT INTO queues (process, tail, trimmed, messages, bytes)"
		" VALUES (?1,?2,?3,?4,?5) ON CONFLICT (process) DO UPDATE SET tail=?2,"
		" trimmed=?3, messages=?4, bytes=?5",
	[PRAAS_SQL_QUEUE_UP_TO] = "SELECT count(*), coalesce(sum(length(data)),0)"
				  " FROM queued WHERE process=?1 AND position<=?2",
	[PRAAS_SQL_QUEUE_TRIM] = "DELETE FROM queued WHERE process=?1 AND position<=?2",
	[PRAAS_SQL_QUEUE_LIFT] =
		"UPDATE queued SET position=position+?2 WHERE process=?1",
	[PRAAS_SQL_APP_COUNT] = "SELECT count(*) FROM apps",
	[PRAAS_SQL_APP_GET] =
		"SELECT " APP_COLUMNS " FROM apps WHERE tenant=?1 AND name=?2",
	[PRAAS_SQL_APP_LIST] =
		"SELECT " APP_COLUMNS " FROM apps WHERE (?3 IS NULL OR tenant=?3) AND"
		" (tenant, name)>(?1, ?2) ORDER BY tenant, name LIMIT ?4",
	[PRAAS_SQL_PROCESS_COUNT] = "SELECT count(*) FROM processes WHERE app=?1",
	[PRAAS_SQL_PROCESS_GET] =
		"SELECT " PROCESS_COLUMNS " FROM processes WHERE app=?1 AND name=?2",
	[PRAAS_SQL_PROCESS_BY_NUMBER] =
		"SELECT " PROCESS_COLUMNS " FROM processes WHERE number=?1",
	[PRAAS_SQL_NUMBERS_LAST] =
		"SELECT seq FROM sqlite_sequence WHERE name='processes'",
	[PRAAS_SQL_PROCESS_LIST] =
		"SELECT " PROCESS_COLUMNS " FROM processes WHERE app=?3 AND"
		" (?1 IS NULL OR name>?1) ORDER BY name LIMIT ?2",
	[PRAAS_SQL_PROCESS_LIST_ALL] =
		"SELECT " PROCESS_COLUMNS
		" FROM processes WHERE number>?1 ORDER BY number LIMIT ?2",
	[PRAAS_SQL_ITEM_LIST] = "SELECT version, id, body FROM items WHERE kind=?1 AND"
				" id>?2 ORDER BY id LIMIT ?3",
	[PRAAS_SQL_MEMO_GET] =
		"SELECT made_ns, status, answer, id, request, run, tenant FROM memos"
		" WHERE id=?1",
	[PRAAS_SQL_MEMO_SUMS] = "SELECT tenant, sum(512+length(answer)) FROM memos"
				" WHERE status!=0 OR run!=?2 GROUP BY tenant LIMIT ?1",
	[PRAAS_SQL_USAGE_OLDEST] = "SELECT min(to_ns) FROM usage WHERE folded=0",
	[PRAAS_SQL_QUEUE_STATE] =
		"SELECT " QUEUE_STATE " FROM queues q WHERE q.process=?1",
	[PRAAS_SQL_QUEUE_READ] =
		"SELECT position, source, epoch, number, key_bytes, trace, data"
		" FROM queued WHERE process=?1 AND position>?2 ORDER BY position"
		" LIMIT ?3",
	[PRAAS_SQL_USAGE_NOW] = "SELECT min(number) FROM processes",
	[PRAAS_SQL_USAGE_EACH] = USAGE_EACH,
};
