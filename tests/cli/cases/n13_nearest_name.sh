# exit: 2
# stderr: *unknown option --seeed; did you mean --seed?
# stderr: one line
$reelm generate --seeed 3
