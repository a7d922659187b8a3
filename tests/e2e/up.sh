#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A control service in the background: praas up, status, down; that the other verbs find it; praas dev beside it; a library
# that changes on disk is loaded again and the state stays; praas doctor.
# usage: up.sh BUILD
set -u
build=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/praas-up.XXXXXX") || exit 1
chmod 755 "$dir"
export PATH=$build/bin:$PATH HOME=$dir XDG_STATE_HOME=$dir/state
unset PRAAS_URL PRAAS_TOKEN PRAAS_CONTEXT XDG_CONFIG_HOME
dev=""
failures=0
fail() { echo "FAILED: $1"; failures=$((failures + 1)); }
expect() { # CODE OUTPUT COMMAND…: exit code, and standard output as a whole ("*": any)
	local code=$1 want=$2 got status
	shift 2
	got=$("$@" 2>"$dir/err") && status=0 || status=$?
	[ "$status" -eq "$code" ] || fail "$* exits $status, not $code: $(cat "$dir/err")"
	[ "$want" = '*' ] || [ "$got" = "$want" ] || fail "$* printed '$got', not '$want'"
}
# shellcheck disable=SC2317
finish() {
	[ -z "$dev" ] || { kill -INT "$dev"; wait "$dev"; }
	praas down >/dev/null 2>&1
	umount "$dir/small" 2>/dev/null
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 143' INT TERM

# Nothing runs: nothing is made by asking
expect 1 '' praas up "$dir/nothing"
expect 4 '' praas status
expect 4 '' praas down
expect 1 '' praas ps
[ ! -e "$dir/state" ] || fail "asking made a data folder"

# A disk without room is named, also where control.log cannot say it
mkdir "$dir/small"
if mount -t tmpfs -o size=256k praas "$dir/small" 2>/dev/null; then
	head -c 1M /dev/zero >"$dir/small/fill" 2>/dev/null
	expect 1 '' praas up --data "$dir/small/d"
	grep -q "cannot keep data in $dir/small/d: No space left on device" "$dir/err" || fail "a full disk: $(cat "$dir/err")"
	[ ! -e "$dir/small/d/token" ] || fail "half a key is kept"
	rm "$dir/small/fill"
	mkdir -p "$dir/small/d" && head -c 64 /dev/zero | tr '\0' a >"$dir/small/d/token"
	head -c 1M /dev/zero >"$dir/small/fill" 2>/dev/null
	expect 1 '' praas up --data "$dir/small/d"
	grep -q "did not start: no space is left on the disk of $dir/small/d" "$dir/err" || fail "a full disk: $(cat "$dir/err")"
	umount "$dir/small"
else
	echo "SKIPPED: a full disk is made by root"
fi

# On a folder of its own: the line that is printed names it to the others, and does not tell the key
far="$dir/it's elsewhere"
for state in started runs; do
	praas up --data "$far" >"$dir/up.out" || fail "praas up --data exits $?"
	grep -q "($state)" "$dir/up.out" || fail "praas up --data says: $(cat "$dir/up.out")"
	! grep -qF "$(cat "$far/token")" "$dir/up.out" || fail "praas up prints the key"
	expect 1 '' praas app ls
	(
		eval "$(sed -n 's/^ *\(export PRAAS_URL=.*\)/\1/p' "$dir/up.out")"
		[ "$PRAAS_TOKEN" = "$(cat "$far/token")" ] && praas app ls --json >/dev/null
	) || fail "what praas up --data prints leads nowhere: $(cat "$dir/up.out")"
done
[ "$(praas up --data "$far" --json | jq -r .token_file)" = "$far/token" ] || fail "praas up --json does not tell the file of the key"
expect 0 '*' praas down --data "$far"

# In the background, with code; found without being named; again is no error
expect 0 '*' praas up "$build/examples" --allow-weak-sandbox
! praas up | grep export || fail "praas up names what is found by itself"
expect 0 '3' praas invoke counter add -p c1 -k apples -d 3
[ "$(praas status --json | jq -r .processes.ACTIVE)" = 1 ] || fail "praas status does not count the process"
[ "$(stat -c %a "$XDG_STATE_HOME/praas/dev/token")" = 600 ] || fail "others may read the key"
# Who is named comes first
PRAAS_DPDK="dev=net_null0 ip=10.0.0.1/24 mtu=9k" praas doctor --json | jq -e '.[] | select(.about == "dpdk") | .verdict == "note" and (.found | test("mtu=9k")) and (.advice | test("PRAAS_DPDK"))' >/dev/null ||
	fail "praas doctor does not tell what is wrong with PRAAS_DPDK"
PRAAS_DPDK="dev=net_null0 ip=10.0.0.1/24" praas doctor --json | jq -e '.[] | select(.about == "dpdk") | .found | test("net_null0|not installed")' >/dev/null ||
	fail "praas doctor does not tell the DPDK device"
PRAAS_URL=http://127.0.0.1:1 expect 1 '' praas ps
# What cannot be done is said before anything has begun
expect 1 '' praas up --listen 127.0.0.1:1
expect 0 '*' praas up --listen "$(praas status --json | jq -r .url | sed 's|http://||')"
praas up --listen 127.0.0.1:1 2>&1 | grep -q "runs on .* already, at http://.*praas down" || fail "praas up does not say that one runs"
# Not a second one on the same folder, and the first one does not mind
expect 1 '' praas dev
expect 1 '' praas up --data "$dir/state/praas/dev/token"
expect 0 '3' praas invoke counter get -p c1 -k apples

# Down swaps out; the next up finds the state; a killed one is not believed to run
expect 0 '*' praas down
expect 4 '' praas status
expect 0 '*' praas up
expect 0 '3' praas invoke counter get -p c1 -k apples
pid=$(praas status --json | jq -r .os_pid)
kill -9 "$pid"
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
expect 4 '' praas status
expect 0 '*' praas up
expect 0 '3' praas invoke counter get -p c1 -k apples
expect 0 '*' praas down

# A library that changes is loaded again; the state stays
mkdir "$dir/shop"
cp "$build"/examples/counter/* "$dir/shop/"
praas dev "$dir/shop" --allow-weak-sandbox >"$dir/dev.out" 2>"$dir/dev.err" &
dev=$!
for _ in $(seq 300); do grep -q '^Ctrl-C' "$dir/dev.out" && break; sleep 0.05; done
expect 0 '7' praas invoke shop add -p s1 -k pears -d 7
for library in "$dir"/shop/*.so; do
	cp "$library" "$library.new" && mv "$library.new" "$library"
done
for _ in $(seq 200); do grep -q '^reloaded  *shop/s1' "$dir/dev.out" && break; sleep 0.05; done
grep -q '^reloaded  *shop/s1' "$dir/dev.out" || fail "praas dev did not load the changed library: $(cat "$dir/dev.out" "$dir/dev.err")"
expect 0 '7' praas invoke shop get -p s1 -k pears
[ "$(praas ps shop --json | jq -r '.[0].epoch')" = 2 ] || fail "the process was not swapped out and in"
kill -INT $dev
wait $dev || fail "praas dev exits $? after Ctrl-C"
dev=""

# The doctor: everything it needs is here, in both forms; a service that does not answer is bad
expect 0 '*' praas doctor
praas doctor --json | jq -e 'map(.about) | contains(["io_uring", "hugepages", "limits", "clock", "rdma", "ofi", "dpdk", "iommu", "service"])' >/dev/null ||
	fail "praas doctor --json misses something"
praas doctor --json | jq -e 'all(.[]; .verdict != "bad")' >/dev/null || fail "praas doctor finds something bad: $(praas doctor)"
PRAAS_DPDK="dev=net_null0 ip=10.0.0.1/24 mtu=9k" praas doctor --json | jq -e '.[] | select(.about == "dpdk") | .verdict == "note" and (.found | test("mtu=9k")) and (.advice | test("PRAAS_DPDK"))' >/dev/null ||
	fail "praas doctor does not tell what is wrong with PRAAS_DPDK"
PRAAS_DPDK="dev=net_null0 ip=10.0.0.1/24" praas doctor --json | jq -e '.[] | select(.about == "dpdk") | .found | test("net_null0|not installed")' >/dev/null ||
	fail "praas doctor does not tell the DPDK device"
PRAAS_URL=http://127.0.0.1:1 expect 1 '*' praas doctor
left=$(pgrep -af -- "$dir/" || true)
[ -z "$left" ] || fail "left running: $left"
[ $failures -eq 0 ] && echo "all as expected"
exit $failures
