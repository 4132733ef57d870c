# src/reelm.h -> the manual page reelm.3: the header is its own documentation, section by section.
# awk -v version=0.1.0 -f man3.awk src/reelm.h
function put(text)
{
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/)
        text = "\\&" text
    print text
}
BEGIN {
    print ".TH REELM 3 \"\" \"reelm " version "\" \"Library Functions\""
    print ".SH NAME\nreelm \\- text, images, video and sound in; video with sound out"
    print ".SH SYNOPSIS\n.nf\n\\fB#include <reelm/reelm.h>\\fR\n"
    print "cc program.c $(pkg\\-config \\-\\-cflags \\-\\-libs reelm)\n.fi\n.SH DESCRIPTION\n.nf"
}
/^#ifdef __cplusplus/ { skip = 1 }
NR == 1 { sub(/^\/\* /, "") }
/^#ifndef REELM_H|^#define REELM_H|^#include|^#if defined|^#else|^#define RLM_API/ { next }
/^#endif/ { skip = 0; next }
skip { next }
/^\/\* ---- / {
    title = $0
    gsub(/^\/\* -+ | -+ \*\/$/, "", title)
    print ".fi\n.SH " toupper(title) "\n.nf"
    next
}
{ sub(/^RLM_API /, ""); sub(/^ \* ?/, ""); sub(/^ \*\/$/, ""); put($0) }
END {
    print ".fi\n.SH SEE ALSO\n\\fBreelm\\fR(1), \\fBpkg\\-config\\fR(1)"
}
