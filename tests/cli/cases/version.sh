# stdout: reelm 0.*
$reelm --version
