# stdout: *"clips"*"answers"*"event"*"facts"*
# A clip with facts, one whose file is gone, and a line without facts.
$reelm world -s 4 -c 2 --no-truth -q -o made || exit 1
rm made/000005.mp4
echo '{"file_name":"000004.mp4","text":"waves"}' >>made/metadata.jsonl
$reelm eval world made --json >out.json || exit 1
[ "$(grep -c '"clip"' out.json)" -eq 1 ] || exit 1
cat out.json
$reelm eval world made/000004.mp4 -v -p "a red ball bounces on grass" | grep -q "floor.*said grass"
