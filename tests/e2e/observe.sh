#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What can be seen of a running system: traces from REST through functions and back, log lines with them, praas logs, metrics
# that promtool accepts, readiness that means something.
# usage: observe.sh BUILD
set -u
build=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/praas-observe.XXXXXX") || exit 1
chmod 755 "$dir"
export PATH=$build/bin:$PATH HOME=$dir XDG_STATE_HOME=$dir/state
unset PRAAS_URL PRAAS_TOKEN PRAAS_CONTEXT XDG_CONFIG_HOME
failures=0
fail() { echo "FAILED: $1"; failures=$((failures + 1)); }
# shellcheck disable=SC2317
finish() {
	praas down >/dev/null 2>&1
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 143' INT TERM
# What a service before has said fills its file: the first line of this one begins another.
mkdir -p "$XDG_STATE_HOME/praas/dev" && truncate -s 16M "$XDG_STATE_HOME/praas/dev/control.log" || exit 1
praas up --allow-weak-sandbox >/dev/null && praas app create fns --code "$build/tests/faultfns" --allow-weak-sandbox >/dev/null &&
	praas app create inl --code "$build/tests/faultfns" --isolation inline >/dev/null &&
	praas process create fns -p p >/dev/null && praas process create inl -p p >/dev/null || exit 1
url=$(praas status --json | jq -r .url)
token=$(cat "$XDG_STATE_HOME/praas/dev/token")
get() { curl -s -H "Authorization: Bearer $token" "$@"; }

# A trace that comes in goes through REST, function and nested function, into their log lines, and back
trace=0af7651916cd43dd8448eb211c80319c
for app in fns inl; do
	for fn in says outer; do
		answer=$(get -D "$dir/head" -H "traceparent: 00-$trace-b7ad6b7169203331-01" -H 'Praas-Pid: p' --data-binary "4$app $fn" "$url/v1/apps/$app/invoke/$fn")
		back=$(tr -d '\r' <"$dir/head" | sed -n 's/^traceparent: //Ip')
		span=$(cut -d- -f3 <<<"$back")
		[ "$back" = "00-$trace-$span-01" ] && [ "$span" != b7ad6b7169203331 ] || fail "$app/$fn: the answer's traceparent is '$back'"
		# What outer calls has outer's own span as its parent
		case $fn in
		says) [ "$answer" = "$trace-$span-01" ] ;;
		outer) [[ $answer = "$trace"-*-01 ]] && [[ $answer != *"$span"* ]] ;;
		esac || fail "$app/$fn: the function saw '$answer', the answer says '$back'"
	done
done
answer=$(get -D "$dir/head" -H 'Praas-Pid: p' --data-binary "4no trace given" "$url/v1/apps/fns/invoke/says")
[ "00-$answer" = "$(tr -d '\r' <"$dir/head" | sed -n 's/^traceparent: //Ip')" ] && [ "${answer%%-*}" != $trace ] || fail "no trace of its own begins: '$answer'"
grep -q "\"trace\":\"$trace\"" "$XDG_STATE_HOME/praas/dev/log/audit.jsonl" || fail "the audit log has no trace"
# …and from the command line
answer=$(TRACEPARENT=00-$trace-00f067aa0ba902b7-01 praas invoke fns says -p p -d '6from a shell')
[ "$answer" = "$trace-00f067aa0ba902b7-01" ] || fail "praas invoke hands on another trace: '$answer'"
TRACEPARENT=nonsense praas invoke fns says -p p -d '6from a shell' >/dev/null || fail "a wrong TRACEPARENT ends praas invoke"

# A message has the trace of who sent it, over swaps, and hands it on: from REST to what a function says in a process that was
# reached by a message alone, with functions in workers and inline
letter() {
	from=$1 to=$2 id=$3
	get -H "traceparent: 00-$id-b7ad6b7169203331-01" -H 'Praas-Pid: a' -H 'Praas-Key: out' --data-binary 'a letter' "$url/v1/apps/$from/invoke/posts" || fail "$from: posts"
	praas process swap "$from" a >/dev/null || fail "$from: a is not swapped"
	[ "$(get -D "$dir/head" "$url/v1/apps/$from/processes/a/messages/out")" = 'a letter' ] || fail "$from: no message in a"
	parent=$(tr -d '\r' <"$dir/head" | sed -n 's/^Praas-Traceparent: //Ip')
	[[ $parent =~ ^00-$id-[0-9a-f]{16}-01$ ]] && [[ $parent != *b7ad6b7169203331* ]] || fail "$from: the message's trace is '$parent'"
	get -H "traceparent: $parent" --data-binary 'a letter' "$url/v1/apps/$to/processes/b/messages/in" || fail "$to: not sent"
	praas process swap "$to" b >/dev/null || fail "$to: b is not swapped"
	[ "$(praas invoke "$to" takes -p b -k in)" = 'a letter' ] || fail "$to: no message in b"
	for _ in $(seq 100); do praas logs "$to" b --json | grep -q letter && break; sleep 0.05; done
	[ "$(praas logs "$to" b --json --trace "$id" | jq -r '"\(.function) \(.msg)"')" = 'takes a letter' ] || fail "$to: the log of b has: $(praas logs "$to" b --json)"
}
for app in fns inl; do praas process create $app -p a >/dev/null && praas process create $app -p b >/dev/null || fail "no processes"; done
letter fns inl 1af7651916cd43dd8448eb211c80319a
letter inl fns 1af7651916cd43dd8448eb211c80319b
# …and by the command line
echo words | TRACEPARENT=00-1af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01 praas msg send fns a k || fail "praas msg send"
[ "$(praas msg recv fns a k --json | jq -r .traceparent)" = 00-1af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01 ] || fail "praas msg recv tells no trace"
echo words | praas msg send fns a k
[ "$(praas msg recv fns a k --json | jq -r .traceparent)" = null ] || fail "a message without a trace has one"
for app in fns inl; do for p in a b; do praas process rm $app $p >/dev/null || fail "$app/$p is not deleted"; done; done

# praas logs: lines of functions, with level, function and trace; also of a swapped process; -f goes on
lines() { praas logs fns p --json "$@" | jq -r 'select(.function) | "\(.level) \(.function) \(.msg)"'; }
for _ in $(seq 100); do lines | grep -q 'from a shell' && break; sleep 0.05; done
[ "$(lines --trace $trace)" = "warning says fns says
warning says fns outer
info says from a shell" ] || fail "praas logs --trace prints: $(lines --trace $trace)"
praas logs inl p --json | jq -r .msg | grep -qx 'inl outer' || fail "what an inline function said is not in the log"
praas process swap fns p >/dev/null
praas logs fns | grep -qE '^[0-9:.]{12} warning says: fns says$' || fail "praas logs of a swapped process: $(praas logs fns)"
[ "$(praas process show fns p --json | jq -r .state)" = SWAPPED ] || fail "reading its log woke the process"
praas logs fns p -f --json >"$dir/followed" &
follower=$!
sleep 0.5
printf '3bad \033[31m words\n' | praas invoke fns says -p p -d - >/dev/null
for _ in $(seq 100); do grep -q 'bad ' "$dir/followed" && break; sleep 0.05; done
kill $follower
wait $follower 2>/dev/null
grep -q '"level":"error"' "$dir/followed" && ! grep -q $'\033' "$dir/followed" || fail "praas logs -f: $(tail -3 "$dir/followed")"
praas logs fns nobody 2>/dev/null
[ $? -eq 4 ] || fail "the log of a process that is not there"
[ "$(get -o /dev/null -w '%{http_code}' "$url/v1/apps/fns/processes/p/logs?from=nonsense")" = 400 ] || fail "a wrong from is taken"

# Metrics: promtool has nothing to say; what was done is counted
get "$url/metrics" >"$dir/metrics"
if command -v promtool >/dev/null; then
	promtool check metrics <"$dir/metrics" >"$dir/promtool" 2>&1 || fail "promtool: $(cat "$dir/promtool")"
	[ ! -s "$dir/promtool" ] || fail "promtool: $(cat "$dir/promtool")"
else
	echo "SKIPPED: promtool (package prometheus) is not installed: /metrics is not judged by it"
fi
metric() { sed -n "s/^$1 //p" "$dir/metrics"; }
[ "$(metric praas_swaps_total)" -ge 1 ] || fail "no swap is counted"
[ "$(metric 'praas_processes{state="ACTIVE"}')" -ge 1 ] || fail "no process is counted"
[ "$(metric 'praas_request_seconds_count{kind="invoke"}')" -ge 5 ] || fail "no duration of invocations: $(grep request_seconds "$dir/metrics")"
[ "$(sed -n 's/^praas_start_seconds_count{.*} //p' "$dir/metrics" | awk '{ n += $1 } END { print n }')" -ge 3 ] || fail "no duration of activations"

# What the control service says is JSON, as that of controllers
praas process kill fns p >/dev/null
kill -9 "$(praas process show inl p --json | jq .os_pid)"
for _ in $(seq 100); do grep -q 'is lost' "$XDG_STATE_HOME/praas/dev/control.log" && break; sleep 0.05; done
[ "$(stat -c %s "$XDG_STATE_HOME/praas/dev/control.log.1")" = 16777216 ] || fail "control.log was not turned"
jq -es 'all(.[]; .ts > 1600000000 and .service == "control" and (.level | test("^(info|warning|error)$"))) and any(.[]; .msg | test("is lost"))' \
	"$XDG_STATE_HOME/praas/dev/control.log" >/dev/null || fail "control.log: $(cat "$XDG_STATE_HOME/praas/dev/control.log")"

# Ready means that work can be done: not when the store cannot be written
[ "$(get -o /dev/null -w '%{http_code}' "$url/readyz")" = 200 ] || fail "not ready"
[ "$(get "$url/readyz" | jq -r .status)" = ready ] || fail "readyz: $(get "$url/readyz")"
mv "$XDG_STATE_HOME/praas/dev/store" "$dir/store"
[ "$(get -o "$dir/ready" -w '%{http_code}' "$url/readyz")" = 503 ] && grep -q store "$dir/ready" || fail "ready without a store: $(cat "$dir/ready")"
[ "$(get -o /dev/null -w '%{http_code}' "$url/healthz")" = 200 ] || fail "not alive without a store"
praas doctor >"$dir/doctor" && fail "praas doctor finds nothing bad"
grep -q 'answers, but is not ready: .*store' "$dir/doctor" || fail "praas doctor says: $(cat "$dir/doctor")"
mv "$dir/store" "$XDG_STATE_HOME/praas/dev/store"
[ "$(get -o /dev/null -w '%{http_code}' "$url/readyz")" = 200 ] || fail "not ready again"
praas doctor >"$dir/doctor" || fail "praas doctor after that: $(cat "$dir/doctor")"
[ $failures -eq 0 ] && echo "all as expected"
exit $failures
