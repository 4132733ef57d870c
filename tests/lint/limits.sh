#!/bin/sh
# Sizes: file <= 800 lines, function <= 120, line <= 100 columns; 90 % of functions <= 60 lines.
# Functions are found by the house's braces: a definition opens and closes in the first column.
cd "$(dirname "$0")/../.." || exit 1
lengths=$(mktemp) || exit 1
trap 'rm -f "$lengths"' EXIT
find src prompts tokenizers model tests -name '*.[ch]' -o -name '*.cc' | sort |
    LC_ALL=C awk -v lengths="$lengths" '
function complain(text)
{
    print text
    bad++
}
{
    path = $0
    start = 0
    previous = ""
    for (number = 0; (getline line < path) > 0;) {
        number++
        wide = line
        gsub(/[\200-\277]/, "", wide) # UTF-8: count characters, not bytes
        if (length(wide) > 100)
            complain(path ":" number ": " length(wide) " columns, at most 100")
        if (line == "{" && previous ~ /\)$/)
            start = number
        if (line == "}" && start) {
            print number - start + 1 > lengths
            functions++
            if (number - start + 1 > 120)
                complain(path ":" start ": function of " number - start + 1 " lines, at most 120")
            start = 0
        }
        previous = line
    }
    close(path)
    if (number > 800)
        complain(path ": " number " lines, at most 800")
    if (number > 600)
        print path ": " number " lines: more than 600, think of splitting it"
}
END {
    if (functions == 0)
        complain("no functions seen")
    exit bad > 0
}'
bad=$?
sort -n "$lengths" | awk '{ n[NR] = $1 } END {
    p90 = n[int((NR - 1) * 0.9) + 1]
    printf "%d functions, median %d lines, p90 %d, longest %d\n", NR, n[int((NR + 1) / 2)], p90, n[NR]
    exit p90 > 60
}' || bad=1
exit $bad
