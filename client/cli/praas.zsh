#compdef praas
# SPDX-License-Identifier: Apache-2.0
# Completion of the praas command in zsh. It asks praas itself, so it is never out of date.
_praas()
{
	local -a offers
	offers=("${(@f)$(praas complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n ${offers[1]} ]]; then
		compadd -a offers
	else
		_files
	fi
}
compdef _praas praas
