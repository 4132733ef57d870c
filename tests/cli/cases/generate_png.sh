# stdout: *"effective_frames":	1*
$reelm generate -p "a red ball" -s 2 --json -o out.png && test -s out.png
