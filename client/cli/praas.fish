# SPDX-License-Identifier: Apache-2.0
# Completion of the praas command in fish. It asks praas itself, so it is never out of date.
function __praas_offers
    set -l words (commandline -opc) (commandline -ct)
    praas complete $words[2..-1] 2>/dev/null
end
# Files only where praas has nothing to offer.
complete -c praas -n '__praas_offers | count >/dev/null' -f -a '(__praas_offers)'
