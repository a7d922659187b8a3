#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What bash offers after some words of a praas command. Needs no service.
# usage: completion.sh BUILD
set -u
PATH=$1/bin:$PATH
# shellcheck source=../../client/cli/praas.bash
. "$(dirname "$0")/../../client/cli/praas.bash"
failures=0
offers() { # WANTED WORD…: the last word is being written
	local want=$1
	shift
	COMP_WORDS=(praas "$@") COMP_CWORD=$# COMPREPLY=()
	_praas
	[ "${COMPREPLY[*]}" = "$want" ] && return
	echo "praas $* offers '${COMPREPLY[*]}', not '$want'"
	failures=$((failures + 1))
}
offers 'process ps' p
offers 'create ls show rm' app ''
offers 'show swap' process s
offers '--allow-weak-sandbox' app create NAME --a
offers '--concurrency --count' invoke APP FUNCTION --c
offers '--transport' invoke --tr
offers 'state status' help st
exit $failures
