#!/bin/sh
# Every include of the tree against rooms.txt. Fails naming file and line, and when it saw nothing.
cd "$(dirname "$0")/../.." || exit 1
find src prompts tokenizers model tests -name '*.[ch]' -o -name '*.cc' | sort | awk '
function covers(prefix, path)
{
    return index(path, prefix) == 1 && (prefix !~ /\/$/ || substr(path, length(prefix) + 1) !~ /\//)
}
function allowed(file, name, quoted,    i)
{
    if (name == "src/reelm.h" || covers(folder, name))
        return 1
    if (!quoted && file ~ /\.cc$/ && name !~ /\./) # the C++ library
        return 1
    for (i = 1; i <= rules; i++)
        if (covers(what[i], name) && (who[i] == "system" ? !quoted : covers(who[i], file)))
            return 1
    return 0
}
BEGIN {
    while ((getline line < "tests/lint/rooms.txt") > 0) {
        if (line ~ /^#/ || split(line, half, ":") != 2)
            continue
        n = split(half[1], w, " ")
        m = split(half[2], a, " ")
        for (i = 1; i <= n; i++)
            for (j = 1; j <= m; j++) {
                who[++rules] = w[i]
                what[rules] = a[j]
            }
    }
}
{
    path = $0
    file = path ~ /^tests\// ? "tests/x" : path # tests and their folders are one room
    folder = path
    sub(/[^\/]*$/, "", folder)
    for (number = 1; (getline line < path) > 0; number++) {
        if (line !~ /^[ \t]*#[ \t]*include/)
            continue
        seen++
        quoted = line ~ /"/
        name = line
        gsub(/^[^<"]*[<"]|[>"].*$/, "", name)
        ok = quoted && name !~ /\// ? 0 : allowed(file, name, quoted)
        if (path ~ /^tests\// && quoted && name ~ /^tests\//)
            ok = 1
        if (!ok) {
            printf "%s:%d: may not include %s\n", path, number, name
            bad++
        }
    }
    close(path)
}
END {
    if (rules == 0 || seen == 0)
        print "no rules or no includes seen"
    printf "%d includes of %d files against %d rules, %d not allowed\n", seen, NR, rules, bad
    exit rules == 0 || seen == 0 || bad > 0
}'
