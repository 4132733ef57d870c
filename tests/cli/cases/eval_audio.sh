# stdout: *"mean"*"perplexity"*
# What the codec makes of the playground's sound; what it kept measures alike without it.
$reelm eval audio --world 2 --keep kept --sheet sheet.png --json 2>/dev/null >first.json || exit 1
[ -s sheet.png ] || exit 1
$reelm eval audio kept/originals --against kept/coded --json 2>/dev/null >second.json || exit 1
mel() { sed -n '/"mean":/,/}/s/.*"log_mel":[^0-9]*\([0-9.]*\),/\1/p' "$1" | head -1; }
awk "BEGIN { d = $(mel first.json) - $(mel second.json); exit !(d * d < 0.01) }" || exit 1
cat first.json
