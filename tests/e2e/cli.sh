#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line against a real service: `praas dev` with the examples, every verb, every exit code, Ctrl-C, and a second
# run that finds the state of the first.
# usage: cli.sh BUILD
set -u
build=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/praas-cli.XXXXXX") || exit 1
chmod 755 "$dir"
export PATH=$build/bin:$PATH HOME=$dir
unset PRAAS_URL PRAAS_TOKEN PRAAS_CONTEXT XDG_CONFIG_HOME XDG_STATE_HOME
dev=""
failures=0

fail() { echo "FAILED: $1"; failures=$((failures + 1)); }
# expect CODE OUTPUT COMMAND…: exit code, and standard output as a whole ("*": any)
expect() {
	local code=$1 want=$2 got status
	shift 2
	got=$("$@" 2>"$dir/err") && status=0 || status=$?
	[ "$status" -eq "$code" ] || fail "$* exits $status, not $code: $(cat "$dir/err")"
	[ "$want" = '*' ] || [ "$got" = "$want" ] || fail "$* printed '$got', not '$want'"
	! grep -qE '(GET|POST|PUT|DELETE) (/|…|the )' "$dir/err" || fail "$* speaks of requests: $(cat "$dir/err")"
	if [ "$code" -ne 0 ] && [ "$code" -ne 2 ]; then
		[ "$(grep -c . "$dir/err")" -eq 1 ] || fail "$* tells its error in other than one line: $(cat "$dir/err")"
	fi
}
start_dev() {
	: >"$dir/dev.out"
	praas dev "$build/examples" --data "$dir/data" --allow-weak-sandbox >"$dir/dev.out" 2>"$dir/dev.err" &
	dev=$!
	for _ in $(seq 300); do
		grep -q '^Ctrl-C' "$dir/dev.out" && break
		kill -0 $dev 2>/dev/null || break
		sleep 0.05
	done
	grep -q '^Ctrl-C' "$dir/dev.out" || { cat "$dir/dev.out" "$dir/dev.err"; echo "praas dev did not start"; exit 1; }
	eval "$(sed -n 's/^ *\(export PRAAS_URL=.*\)/\1/p' "$dir/dev.out")"
}
stop_dev() {
	kill -INT $dev
	wait $dev
	status=$?
	[ $status -eq 0 ] || fail "praas dev exits $status after Ctrl-C: $(cat "$dir/dev.err")"
	dev=""
	# Nothing that was started from this folder is left.
	left=$(pgrep -af -- "$dir/data" || true)
	[ -z "$left" ] || fail "left running: $left"
}
trap '[ -z "$dev" ] || kill -INT $dev; [ -z "$dev" ] || wait $dev; rm -rf "$dir"' EXIT
trap 'exit 143' INT TERM

# Without a service
expect 1 '' praas app ls
expect 2 '' praas
expect 2 '' praas nothing
expect 2 '' praas app create
expect 2 '' praas app create a/b --code .
expect 1 '' praas app create ok --code "$dir"
expect 0 '*' praas help
expect 0 "$(praas help)" praas -h
expect 0 '*' praas invoke --help
PRAAS_URL=http://127.0.0.1:1 expect 1 '' praas ps

start_dev
expect 0 '*' praas app ls
praas app ls --json | jq -e 'map(.name) | contains(["counter", "hello", "pipeline", "reduce", "word-count"])' >/dev/null ||
	fail "praas app ls --json does not list the examples"
expect 0 '*' praas app show hello
expect 4 '' praas app show nothing
grep -q 'no such application; praas app ls lists them$' "$dir/err" || fail "the hint is not for people: $(cat "$dir/err")"
expect 4 '' praas process show hello nobody
grep -q 'no such process; praas ps lists them$' "$dir/err" || fail "the hint is not for people: $(cat "$dir/err")"
expect 2 '' praas --json app ls
grep -q 'behind' "$dir/err" || fail "an option before the verb: $(cat "$dir/err")"
expect 1 '' praas invoke hello hello -d @/
grep -qi 'directory' "$dir/err" || fail "a folder as data: $(cat "$dir/err")"
expect 1 '' praas app create hello --code "$build/examples/hello"
expect 5 '' env PRAAS_TOKEN=wrong praas app ls

# Keys, tenants, limits
token=$(praas token create --scopes invoke,read --label ci --ttl 24h) || fail "praas token create"
[ "${#token}" = 87 ] || fail "praas token create prints '$token'"
expect 0 '*' env "PRAAS_TOKEN=$token" praas app ls
expect 5 '' env "PRAAS_TOKEN=$token" praas app rm hello
expect 5 '' env "PRAAS_TOKEN=$token" praas token ls
[ "$(praas token ls --json | jq -r '.[].label')" = ci ] || fail "praas token ls does not list the key"
praas token ls | grep -q 'ci.*default.*invoke,read' || fail "praas token ls prints $(praas token ls)"
expect 0 '' praas token revoke "${token:6:16}"
expect 4 '' praas token revoke "${token:6:16}"
expect 5 '' env "PRAAS_TOKEN=$token" praas app ls
expect 2 '' praas token create
expect 1 '' praas token create --scopes fly
expect 0 '*' praas tenant create t --apps 1 --memory 1G
token=$(praas token create --tenant t --scopes read,deploy)
[ "$(PRAAS_TOKEN=$token praas app limits --json | jq .limits.memory_bytes)" = 1073741824 ] || fail "praas app limits"
expect 0 '*' env "PRAAS_TOKEN=$token" praas app create one --code "$build/examples/hello"
expect 5 '' env "PRAAS_TOKEN=$token" praas app create two --code "$build/examples/hello"
expect 0 '*' praas tenant limits t --apps 2
expect 0 '*' env "PRAAS_TOKEN=$token" praas app create two --code "$build/examples/hello"
expect 4 '' env "PRAAS_TOKEN=$token" praas ps hello
expect 1 '' praas tenant rm t
expect 0 '*' praas tenant ls
expect 0 '*' env "PRAAS_TOKEN=$token" praas app rm one
expect 0 '*' env "PRAAS_TOKEN=$token" praas app rm two
expect 0 '' praas tenant rm t

# Invocations, both transports
expect 0 'Hello, World!' praas invoke hello hello -p p1 -d World
expect 0 'Hello, World!' praas invoke hello hello -p p1 -d World --transport tcp
expect 0 'Hello, World!' praas invoke hello hello -p p1 -d World --transport shm --timing
grep -Eq '^process p1 over shm, connected in .*s: call .*s = client .*s [+] wire .*s [+] queue .*s [+] run .*s [+] state .*s; payloads copied at this end: 0$' "$dir/err" || fail "--timing says: $(cat "$dir/err")"
# A client that loses its core right behind its send may see no time on the wire: not every time.
for transport in shm tcp; do
	wire=
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		praas invoke hello hello -p p1 -d World --transport $transport --timing --json >"$dir/timing" 2>/dev/null
		jq -e '.timing | .call_ns == .client_ns + .wire_ns + .queue_ns + .run_ns + .state_ns and .run_ns > 0 and (.copies == 0) == ("'"$transport"'" == "shm")' "$dir/timing" >/dev/null ||
			fail "--timing --json over $transport does not add up: $(cat "$dir/timing")"
		jq -e '.timing.wire_ns > 0' "$dir/timing" >/dev/null && wire=1 && break
	done
	[ -n "$wire" ] || fail "--timing --json over $transport never tells of the wire"
done
curl -sS -o /dev/null -D - -H "Authorization: Bearer $PRAAS_TOKEN" -H 'Praas-Pid: p1' -H 'Praas-Timing: 1' -d World "$PRAAS_URL/v1/apps/hello/invoke/hello" |
	sed -n 's/\r$//; s/^[Pp]raas-[Tt]iming: //p' | awk -F '[=,]' '{ exit !(NF == 12 && $2 > 0 && $10 > 0 && $2 == $4 + $6 + $8 + $10 + $12) }' ||
	fail "Praas-Timing does not add up"
expect 2 '' praas invoke hello noop -p p1 --timing --one-way
expect 2 '' praas invoke hello noop -p p1 --timing -n 2
expect 0 'Hello, World!' praas invoke hello hello -p p1 -d World --async
expect 0 '' praas invoke hello noop -p p1 --one-way
expect 0 '*' praas invoke hello noop -p p1 -n 1000 -c 8
expect 3 '' praas invoke hello hello -p p1
expect 4 '' praas invoke hello nothing -p p1
expect 4 '' praas invoke nothing hello
expect 2 '' praas invoke hello hello --transport carrier-pigeon
expect 1 '' praas invoke hello hello -p p1 --transport tls
grep -Eqx "praas: cannot connect to process p1 of application hello: no endpoint of transport 'tls', the process has (shm, tcp|tcp, shm)" "$dir/err" || fail "no such transport: $(cat "$dir/err")"
# What is not about a service that is named does not take a name for it
for verb in 'bench floor --quick' "dev $build/examples" up down status; do
	expect 2 '' praas $verb --url "$PRAAS_URL"
	expect 2 '' praas $verb --token x
	grep -q "^praas: --url and --token name a control service, but praas ${verb%% *} " "$dir/err" || fail "praas $verb --token: $(cat "$dir/err")"
done
expect 0 '*' praas app ls
head -c 3000000 /dev/urandom >"$dir/blob"
praas invoke hello echo -p p1 -d "@$dir/blob" >"$dir/blob.back" && cmp -s "$dir/blob" "$dir/blob.back" || fail "3 MB do not come back as they went"
praas invoke hello echo -p p1 -d - --transport tcp <"$dir/blob" >"$dir/blob.back" && cmp -s "$dir/blob" "$dir/blob.back" ||
	fail "3 MB do not come back over tcp"

# What it used: of all, of one, by what is asked
usage() { praas usage --json "$@" | jq -r '.[] | "\(.app) \(.pid) \(.calls > 0)"'; }
for _ in $(seq 50); do [ "$(usage hello p1)" = 'hello p1 true' ] && break; sleep 0.1; done
[ "$(usage hello p1)" = 'hello p1 true' ] || fail "praas usage hello p1 prints: $(usage hello p1)"
[ "$(usage --app hello --by app)" = 'hello null true' ] || fail "praas usage --by app prints: $(usage --app hello --by app)"
praas usage --by tenant | grep -q '^default  *-  *-  *[0-9]' || fail "praas usage --by tenant prints: $(praas usage --by tenant)"
[ -z "$(usage --since 2h --until 1h)" ] || fail "praas usage of an hour ago prints: $(usage --since 2h --until 1h)"
expect 2 '' praas usage --since 1h --until 2h
expect 2 '' praas usage --by pid

# State, swap, wake
expect 0 '3' praas invoke counter add -p c1 -k apples -d 3
expect 0 '5' praas invoke counter add -p c1 -k apples -d 2
expect 0 '*' praas process swap counter c1
[ "$(praas ps counter --json | jq -r '.[] | select(.pid == "c1") | .state')" = SWAPPED ] || fail "c1 is not SWAPPED after the swap"
expect 0 '6' praas invoke counter add -p c1 -k apples
expect 0 '*' praas process checkpoint counter c1
[ "$(praas state ls counter c1 --json | jq -r '.[].key')" = counter/apples ] || fail "praas state ls does not list counter/apples"
[ "$(praas state get counter c1 counter/apples | od -An -t d8 | tr -d ' ')" = 6 ] || fail "praas state get gives another value"
expect 0 '' praas state put counter c1 note -d 'kept text'
expect 0 'kept text' praas state get counter c1 note
expect 0 '' praas state rm counter c1 note
expect 4 '' praas state get counter c1 note
expect 4 '' praas state get counter nobody note

# What it was, under names
expect 0 'saved as first' praas state snapshot counter c1 first
expect 1 '' praas state snapshot counter c1 first
[ "$(praas state snapshot counter c1 second --json | jq -r .name)" = second ] || fail "praas state snapshot --json does not tell the name"
[ "$(praas state snapshots counter c1 --json | jq -r '.[].name' | tr '\n' ' ')" = 'first second ' ] || fail "praas state snapshots does not list both"
expect 0 '*' praas state snapshots counter c1
expect 0 '' praas state put counter c1 since -d x
expect 0 'rolled back to second' praas state rollback counter c1 second
expect 4 '' praas state get counter c1 since
expect 0 'process forked is SWAPPED' praas process fork counter c1 -p forked -s second
[ "$(praas state ls counter forked --json | jq length)" = "$(praas state ls counter c1 --json | jq length)" ] || fail "a fork has other state"
expect 0 '*' praas process rm counter forked
expect 0 '' praas state forget counter c1 second
expect 4 '' praas state rollback counter c1 second
expect 4 '' praas state forget counter c1 second

# State as an archive, and back into another process; odd names; a file that is none
expect 0 '' praas state put counter c1 'dir/ending in a slash/' -d slash
expect 0 '' praas state put counter c1 '100% ümlaut' -d percent
head -c 3000000 /dev/urandom | tee "$dir/big" | praas state put counter c1 big || fail "3 MB do not become an object"
expect 0 '' praas state export counter c1 "$dir/state.tar"
[ "$(tar tf "$dir/state.tar" | wc -l)" = "$(praas state ls counter c1 --json | jq length)" ] || fail "tar does not list what was exported"
tar xOf "$dir/state.tar" big | cmp -s - "$dir/big" || fail "tar reads another object than was written"
expect 0 '*' praas process create counter -p c2
gzip -k "$dir/state.tar"
expect 0 '4 objects written' praas state import counter c2 "$dir/state.tar.gz"
expect 0 'slash' praas state get counter c2 'dir/ending in a slash/'
expect 0 'percent' praas state get counter c2 '100% ümlaut'
praas state get counter c2 big | cmp -s - "$dir/big" || fail "an object is not what was exported"
praas state export counter c1 --prefix counter/ | praas state import counter c2 >/dev/null || fail "no export into an import"
expect 1 '*' praas state import counter c2 "$dir/big"
expect 1 '*' praas state import counter c2 "$dir/nothing"
expect 1 '' praas state export counter c1 "$dir/nowhere/state.tar"
# A file that was there is replaced by a whole one or not at all; what is no file stays what it is
mkdir "$dir/export"
cp "$dir/state.tar" "$dir/export/old.tar"
ln -s old.tar "$dir/export/to-old.tar"
expect 4 '' praas state export counter nobody "$dir/export/to-old.tar"
cmp -s "$dir/state.tar" "$dir/export/old.tar" || fail "an export that failed spoiled the file that was there"
expect 0 '' praas state export counter c1 "$dir/export/to-old.tar" --prefix counter/
[ "$(tar tf "$dir/export/old.tar")" = counter/apples ] || fail "an export does not replace a file"
ln -s /dev/full "$dir/export/full"
expect 1 '' praas state export counter c1 "$dir/export/full"
[ -e "$dir/export/full" ] || fail "an export removed what is no file of its own"
expect 1 '' praas state export counter c1 "$dir/export"
(failures=0; ulimit -f 8 && expect 1 '' praas state export counter c1 "$dir/export/new.tar"; exit $failures) || fail "an export over the limit of files"
[ "$(ls -A "$dir/export" | tr '\n' ' ')" = 'full old.tar to-old.tar ' ] || fail "an export leaves $(ls -A "$dir/export")"
ln -s nothing "$dir/link" && tar cf "$dir/link.tar" -C "$dir" link
expect 1 '*' praas state import counter c2 "$dir/link.tar"
expect 4 '' praas state export counter nobody "$dir/nobody.tar"
for key in 'dir/ending in a slash/' '100% ümlaut' big; do expect 0 '' praas state rm counter c1 "$key"; done
expect 0 '*' praas process rm counter c2

# What is shown of one is whole, a line for each part; what cannot be done now says which command first
for _ in {1..100}; do # one that has just come back has told no numbers yet
	praas process show counter c1 >"$dir/shown"
	grep -q '^metrics' "$dir/shown" && break
	sleep 0.1
done
grep -Eq '^endpoints +(shm|tcp)://[^ ]+, (shm|tcp)://[^ ]+$' "$dir/shown" && grep -Eq '^metrics.state_keys +[0-9]+$' "$dir/shown" || fail "praas process show prints: $(cat "$dir/shown")"
grep -Eq '^processes.ACTIVE +[1-9]' <(praas status --data "$dir/data") || fail "praas status prints: $(praas status --data "$dir/data")"
long=$dir/$(printf 'a%.0s' {1..200})
cp -r "$build/examples/hello" "$long"
expect 0 '*' praas app create long --code "$long"
praas app show long | grep -Eq "^code +$long\$" || fail "praas app show cuts: $(praas app show long)"
expect 0 '*' praas app rm long
expect 0 '*' praas process create counter -p dead
expect 0 '*' praas process kill counter dead
expect 1 '' praas process swap counter dead
grep -q 'wake it first: praas process wake$' "$dir/err" || fail "swap of a killed one: $(cat "$dir/err")"
expect 0 '*' praas process rm counter dead
expect 1 '' praas app create many --code "$build/examples/hello" --concurrency 32
grep -q 'at most 16 with .*; see praas app create --help$' "$dir/err" || fail "too many workers: $(cat "$dir/err")"

# Messages
expect 0 '' praas msg send counter c1 mail -d one
expect 0 '' praas msg send counter c1 mail -d two
expect 0 '' praas msg send counter c1 other -d three
[ "$(praas msg ls counter c1 --json | jq -c '[.[] | [.key, .bytes]]')" = '[["mail",3],["mail",3],["other",5]]' ] || fail "praas msg ls lists another mailbox"
[ "$(praas msg ls counter c1 ot --json | jq length)" = 1 ] || fail "praas msg ls PREFIX lists too much"
expect 0 'three' praas msg recv counter c1 other
expect 0 'one' praas msg recv counter c1 mail
expect 0 'two' praas msg recv counter c1 mail -t 5s
expect 4 '' praas msg recv counter c1 mail
expect 6 '' praas msg recv counter c1 mail -t 50ms
# What cannot be written is not taken, and stays first
full() { "$@" >/dev/full; }
for text in four five; do expect 0 '' praas msg send counter c1 mail -d $text; done
expect 1 '' full praas msg recv counter c1 mail
grep -q 'cannot write the message, which stays in the mailbox: No space left' "$dir/err" || fail "a full disk: $(cat "$dir/err")"
expect 1 '' full praas msg recv counter c1 mail --json -t 5s
(trap '' PIPE; while echo there 2>/dev/null; do sleep 0.01; done; exec praas msg recv counter c1 mail) 2>"$dir/err" | true
[ "${PIPESTATUS[0]}" = 1 ] || fail "a reader that has gone: $(cat "$dir/err")"
expect 1 '' bash -c 'exec praas msg recv counter c1 mail >&-'
expect 0 'four' praas msg recv counter c1 mail
expect 0 'five' praas msg recv counter c1 mail
for verb in 'state get counter c1 counter/apples' 'state export counter c1' 'invoke counter get -p c1 -k apples' 'invoke counter get -p c1 -k apples --json' 'ps' 'app ls --json' 'help' 'version' 'ps --help'; do
	expect 1 '' full praas $verb
	grep -q 'cannot write.*No space left' "$dir/err" || fail "praas $verb into a full disk: $(cat "$dir/err")"
done

# The other examples
expect 0 'DDO REVEN' praas invoke pipeline chain -p l1 -d 'never odd'
expect 0 'ABC cba' praas invoke pipeline fork -p l1 -d abc
for text in /usr/share/common-licenses/GPL-3 /usr/share/common-licenses/Apache-2.0; do
	expect 0 '*' praas invoke word-count count -p w1 -k "$(basename $text)" -d "@$text"
done
[ "$(praas invoke word-count top -p w1 -d 1)" = "$(LC_ALL=C tr -cs 'A-Za-z\200-\377' '\n' </usr/share/common-licenses/GPL-3 |
	cat - <(LC_ALL=C tr -cs 'A-Za-z\200-\377' '\n' </usr/share/common-licenses/Apache-2.0) | tr A-Z a-z | grep . | sort | uniq -c |
	sort -k1,1nr -k2,2 | head -1 | awk '{print $1, $2}')" ] || fail "word-count finds another most frequent word than sort and uniq"

# Delete is final; an application with processes is not deleted
expect 1 '' praas app rm counter
expect 0 '*' praas process rm hello p1
expect 4 '' praas process show hello p1
stop_dev

start_dev
expect 0 '6' praas invoke counter get -p c1 -k apples
stop_dev

echo "$failures failures"
[ $failures -eq 0 ]
