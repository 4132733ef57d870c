#!/bin/sh
# Each public header compiles alone, as C99, C11 and C++11, twice included, without a warning; and
# each other header compiles alone as C11.
cd "$(dirname "$0")/../.." || exit 1
cc=${CC:-cc}
cxx=${CXX:-c++}
bad=0
try()
{
    compiler=$1
    language=$2
    shift 2
    for header; do
        printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
            $compiler -x "${language%%:*}" -std="${language##*:}" -Wall -Wextra -Werror -pedantic \
                -I. -fsyntax-only - || {
            echo "$header does not compile alone as ${language##*:}"
            bad=1
        }
    done
}
public="src/reelm.h src/reelm_train.h"
for standard in c99 c11; do
    try "$cc" "c:$standard" $public
done
try "$cxx" "c++:c++11" $public
private=$(find src prompts tokenizers model -name '*.h' ! -name 'avx*' ! -name 'amx*' ! -name 'lanes*' | sort)
[ -n "$private" ] || bad=1
try "$cc" "c:gnu11" $private 2>&1
grep -c . src/reelm.h | awk '{ if ($1 > 450) { print "src/reelm.h: " $1 " lines, at most 450"; exit 1 } }' ||
    bad=1
exit $bad
