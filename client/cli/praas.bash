# SPDX-License-Identifier: Apache-2.0
# Completion of the praas command in bash. It asks praas itself for verbs and options, so it is never out of date.
_praas()
{
	local word=${COMP_WORDS[COMP_CWORD]} first=${COMP_WORDS[1]} second=${COMP_WORDS[2]-} words=
	if [ "$COMP_CWORD" -eq 1 ] || { [ "$COMP_CWORD" -eq 2 ] && [ "$first" = help ]; }; then
		words=$(praas help | awk '$1 == "praas" { print $2 }' | sort -u)
		[ "$first" = help ] || words="$words help version"
	elif [ "${word#-}" != "$word" ]; then
		# A noun with verbs answers --help with its verbs; one without takes options at once.
		case $second in
		[a-z]*) words=$(praas "$first" "$second" --help 2>/dev/null) ;;
		esac
		case $words in
		*--*) ;;
		*) words=$(praas "$first" --help 2>/dev/null) ;;
		esac
		words=$(grep -oE -e '--[a-z][a-z-]*' <<<"$words" | sort -u)
	elif [ "$COMP_CWORD" -eq 2 ]; then
		words=$(praas help "$first" 2>/dev/null | awk '$1 == "praas" && $3 ~ /^[a-z]/ { print $3 }')
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _praas praas
