# exit: 2
# stdout: nothing
# stderr: *unknown option --promt; did you mean --prompt?
$reelm generate --promt x
