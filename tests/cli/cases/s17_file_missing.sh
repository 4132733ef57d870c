# exit: 6
# stderr: *none.ini: No such file*
# stderr: one line
$reelm generate --config-file none.ini --dry-run
