# exit: 2
# stderr: *generate: has no option --steps; it belongs to train
# stderr: one line
$reelm generate --steps 3
