#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line as a person at a terminal sees it: colours, progress, praas top; and none of it where no terminal is.
# usage: terminal.sh BUILD
set -u
command -v tmux >/dev/null || { echo "SKIPPED: no tmux"; exit 77; }
build=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/praas-terminal.XXXXXX") || exit 1
chmod 755 "$dir"
export PATH=$build/bin:$PATH HOME=$dir XDG_STATE_HOME=$dir/state TMUX_TMPDIR=$dir TERM=xterm-256color
unset PRAAS_URL PRAAS_TOKEN PRAAS_CONTEXT XDG_CONFIG_HOME NO_COLOR TMUX
failures=0
fail() { echo "FAILED: $1"; failures=$((failures + 1)); }
# shellcheck disable=SC2317
finish() {
	tmux kill-server 2>/dev/null
	praas down >/dev/null 2>&1
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 143' INT TERM
keys() { tmux send-keys -t t "$@"; }
sees() { # PATTERN: the screen shows it before long
	for _ in $(seq 200); do
		tmux capture-pane -p -t t 2>/dev/null | grep -qE -- "$1" && return 0
		sleep 0.05
	done
	fail "the terminal does not show '$1' but: $(tmux capture-pane -p -t t)"
	return 1
}
praas up "$build/examples" --allow-weak-sandbox >/dev/null || { echo "no service"; exit 1; }
praas invoke hello noop -p busy >/dev/null || fail "no process"
tmux new-session -d -s t -x 120 -y 24 "bash --norc" || exit 1
keys "PS1='ready> '; clear" Enter
sees '^ready>'

# Colours: on a terminal, not with NO_COLOR, not in a pipe
praas doctor | grep -q $'\033' && fail "praas doctor colours a pipe"
keys "praas doctor | head -1; praas doctor" Enter
sees 'service .* answers'
tmux capture-pane -e -p -t t | grep -q $'\033\[32mok' || fail "praas doctor has no colour on a terminal"
keys "clear; NO_COLOR=1 praas doctor; echo without" Enter
sees '^without'
tmux capture-pane -e -p -t t | grep -q $'\033\[32mok' && fail "praas doctor heeds no NO_COLOR"

# Progress of long work, which goes away; none in a pipe
keys "clear; praas invoke hello noop -p busy -n 3000000 --transport tcp" Enter
sees '^\[#* *\] [0-9]+ of 3000000' || tmux capture-pane -p -t t
keys C-c
sees '^ready>'
keys "clear; praas invoke hello noop -p busy -n 100000" Enter
sees '^100000 calls of noop'
praas invoke hello noop -p busy -n 20000 2>&1 | grep -q ' of 20000' && fail "progress in a pipe"

# praas top: a screen of its own, rates, q ends it, and the screen is as it was
keys "clear; echo as it was" Enter
sees '^as it was'
keys "praas top" Enter
sees '^hello +busy +ACTIVE'
tmux capture-pane -p -t t | grep -q 'as it was' && fail "praas top writes into the screen"
praas invoke hello noop -p busy -n 200000 >/dev/null &
sees '^hello +busy +ACTIVE +[0-9]+ +[1-9][0-9]{2,}'
wait
keys q
sees '^as it was'
keys "praas top" Enter
sees 'q ends'
keys C-c
sees '^as it was'
keys "stty -a | grep -c -- ' -echo '" Enter
sees '^0$'
# Without a terminal one look, as a table and as JSON
praas top | grep -q '^hello  *busy  *ACTIVE' || fail "praas top in a pipe lists nothing"
praas top --json | jq -e '.[0].cpu_percent >= 0' >/dev/null || fail "praas top --json has no rates"

# Ctrl-C while a call waits ends the command
keys "clear; praas msg recv hello busy never --timeout 1h" Enter
sleep 0.3
keys C-c
sees '^ready>'
[ $failures -eq 0 ] && echo "all as expected"
exit $failures
