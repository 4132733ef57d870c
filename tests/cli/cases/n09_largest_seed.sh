# stdout: *"seed":8999999999999999,*
# Every digit of a seed is kept.
printf '{"mode":"generate","seed":8999999999999999}' >old.json
$reelm generate --from-metadata old.json --frames 1 --size 16x16 --no-audio -q -o a.png || exit 99
grep -oa '"seed":[^,]*,' a.png | head -1
