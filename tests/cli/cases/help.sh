# stdout: *usage: reelm VERB*generate*encode*exit codes:*
# stderr: nothing
$reelm --help
