# SPDX-License-Identifier: Apache-2.0
# Completion of the praas command in bash. It asks praas itself, so it is never out of date.
_praas()
{
	mapfile -t COMPREPLY < <(praas complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _praas praas
