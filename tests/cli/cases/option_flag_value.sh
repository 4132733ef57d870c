# exit: 2
# stderr: *--json takes no value*
$reelm generate --json=maybe
