# stdout: usage: reelm generate*--prompt TEXT*--seed N*
# stderr: nothing
$reelm generate --help
