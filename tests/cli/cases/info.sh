# stdout: *parameters*
# stderr: nothing
$reelm info --json | python3 -c 'import json,sys; json.load(sys.stdin)' && $reelm info
