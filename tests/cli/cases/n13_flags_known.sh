# exit: 2
# stderr: *generate: unknown option --nonsense; see reelm generate --help
# stderr: one line
$reelm generate --nonsense=3
