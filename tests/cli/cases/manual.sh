# stdout: *.TH REELM 1*.SH VERBS*.SH OPTIONS*cfg*.SH CONFIGURATION*.SH EXIT STATUS*
# stderr: nothing
# Every option of every verb's help stands in the manual.
$reelm manual >page && cat page
sed 's/\\-/-/g' page >plain
for verb in $($reelm completion bash | sed -n 's/^_reelm_verbs() { echo "\(.*\)"; }/\1/p'); do
  $reelm "$verb" --help >help || exit 99
  grep -q "^.TP" page && grep -q "fB$verb" plain || exit 98
  for option in $(grep -o -- '--[a-z][a-z-]*' help); do
    grep -q -- "fB$option" plain || exit 97
  done
done
if command -v groff >/dev/null; then # no warning
  test -z "$(groff -man -Tutf8 -ww -z page 2>&1)" || exit 96
fi
