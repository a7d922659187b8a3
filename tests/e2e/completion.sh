#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What bash, zsh and fish offer after some words of a praas command; names of applications and processes when a service runs.
# usage: completion.sh BUILD
set -u
build=$1
cli=$(cd "$(dirname "$0")/../../client/cli" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/praas-complete.XXXXXX") || exit 1
chmod 755 "$dir"
export PATH=$build/bin:$PATH HOME=$dir XDG_STATE_HOME=$dir/state
unset PRAAS_URL PRAAS_TOKEN PRAAS_CONTEXT XDG_CONFIG_HOME
# shellcheck disable=SC2317
finish() {
	praas down >/dev/null 2>&1
	rm -rf "$dir"
}
trap finish EXIT
# shellcheck source=../../client/cli/praas.bash
. "$cli/praas.bash"
failures=0
offers() { # WANTED WORD…: the last word is being written
	local want=$1
	shift
	COMP_WORDS=(praas "$@") COMP_CWORD=$# COMPREPLY=()
	_praas
	[ "${COMPREPLY[*]}" = "$want" ] && return
	echo "bash: praas $* offers '${COMPREPLY[*]}', not '$want'"
	failures=$((failures + 1))
}
in_zsh() { # what the function hands to zsh; its own functions are replaced by ones that print
	local want=$1 got
	shift
	got=$(zsh -f -c '
		compdef() { }
		compadd() { print -r -- "${offers[*]}" }
		_files() { print -r -- "(files)" }
		source "$1"; shift
		words=(praas "$@"); CURRENT=$#words
		_praas' zsh "$cli/praas.zsh" "$@" 2>&1)
	[ "$got" = "$want" ] && return
	echo "zsh: praas $* offers '$got', not '$want'"
	failures=$((failures + 1))
}
in_fish() {
	local want=$1 line=$2 got
	got=$(fish --no-config -c "source '$cli/praas.fish'; complete -C '$line'" 2>/dev/null | tr '\n' ' ')
	[ "$got" = "$want" ] && return
	echo "fish: '$line' offers '$got', not '$want'"
	failures=$((failures + 1))
}
offers 'ps process' p
offers 'create deploy ls show rm limits' app ''
offers 'show swap' process s
offers '--allow-weak-sandbox' app create NAME --a
offers '--count --concurrency' invoke APP FUNCTION --c
offers '--transport' invoke --tr
offers 'auto' invoke APP FUNCTION --transport a
offers 'worker inline' app create NAME --isolation ''
offers 'status state' help st
offers '' invoke --url x
offers '' nothing here
# Names: none without a service, at once; then those that it has
offers '' invoke ''
praas up "$build/examples" --allow-weak-sandbox >/dev/null || failures=$((failures + 1))
offers 'hello' invoke h
offers 'counter' process show c
praas process create counter --pid mine >/dev/null || failures=$((failures + 1))
offers 'mine' process show counter ''
offers 'mine' invoke counter add -p m
if command -v fish >/dev/null; then
	in_fish 'create deploy limits ls rm show ' 'praas app '
	in_fish 'hello ' 'praas invoke h'
else
	echo "SKIPPED: fish is not installed"
fi
if command -v zsh >/dev/null; then
	in_zsh 'hello' invoke h
	in_zsh 'create deploy ls show rm limits' app ''
	in_zsh '(files)' invoke APP FUNCTION -d @
else
	echo "SKIPPED: zsh is not installed"
fi
[ $failures -eq 0 ] && echo "all as expected"
exit $failures
